//! Commands about named streams: `streams`, `work`, `relay`, `dlq`.

pub(crate) mod args;
mod dlq;
mod manage;
mod relay;
mod work;

use std::io::{self, Write};

use silvertine_storage::{LogAddress, streams::AnyStreams};
use silvertine_streams::{StoreError, StoreErrorKind, Topology};
use silvertine_worker::{RelayError, WorkerError, read_topology, reference_topology};

use self::args::Store;
pub(crate) use self::{dlq::dlq, manage::streams, relay::relay, work::work};
use crate::exit::{Exit, Failure};

/// The topology of a command.
fn topology(store: &Store) -> Result<Topology, Failure> {
    match &store.topology {
        Some(path) => {
            read_topology(path).map_err(|why| Failure::new(Exit::Scenario, why.to_string()))
        }
        None => Ok(reference_topology()),
    }
}

/// Opens the store of a command. With `must_exist`, one that is not there is an error.
fn open(store: &Store, must_exist: bool) -> Result<AnyStreams, Failure> {
    if store.store == LogAddress::Memory {
        let why = "streams in memory would be gone with this command; name another store";
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(AnyStreams::open(&store.store, topology(store)?, must_exist)?)
}

/// Writes a line to stdout.
fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{line}").map_err(|why| Failure::unwritable(&why))
}

/// A value as one line of JSON on stdout.
fn say_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let line = serde_json::to_string(value);
    say(&line.map_err(|why| Failure::new(Exit::Unexpected, why.to_string()))?)
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Store(error) => error.into(),
            other => Self::new(Exit::Usage, other.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error.kind {
            StoreErrorKind::Corrupt { .. }
            | StoreErrorKind::TooNew { .. }
            | StoreErrorKind::Foreign { .. } => Exit::LogUnreadable,
            // The address that somebody typed; any other call is ours.
            StoreErrorKind::Invalid { .. } if error.operation == "open" => Exit::Usage,
            StoreErrorKind::Invalid { .. } => Exit::Unexpected,
            _ => Exit::LogUnavailable,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Log(error) => error.into(),
            RelayError::Store(error) => error.into(),
            RelayError::Unreadable { .. } | RelayError::AnotherLog { .. } => {
                Self::new(Exit::LogUnreadable, error.to_string())
            }
            other => Self::new(Exit::Usage, other.to_string()),
        }
    }
}
