//! Operations under way: what each client waits for, and what travels to the server.

use std::sync::Arc;

use silvertine_engine::log::{LogError, LogErrorKind};

use super::server;
use crate::{
    kernel::network::Told,
    log::{
        fault::OpKind,
        op::{Answer, Request},
    },
};

/// How long a client waits for an answer, in nanoseconds.
pub(super) const TIMEOUT_NS: u64 = 1_000_000_000;

/// The client's side of an operation.
pub(super) struct Pending {
    pub(super) process: usize,
    pub(super) kind: OpKind,
    /// Its name as errors give it.
    pub(super) operation: &'static str,
    pub(super) n: u64,
    pub(super) asked_at: u64,
    pub(super) answer: Option<Result<Answer, LogError>>,
    /// The answer has reached the client.
    pub(super) delivered: bool,
}

/// The server's side of an operation: what is on its way there.
pub(super) struct Travelling {
    pub(super) op: u64,
    pub(super) kind: OpKind,
    pub(super) n: u64,
    pub(super) request: Arc<Request>,
}

/// The error of a client that gets no answer from the server.
pub(super) fn failure(operation: &'static str, told: Told) -> LogError {
    let why = told.why().to_owned();
    server::error(operation, LogErrorKind::Unavailable { why }, told.applied())
}
