//! Feeds: streams of checked inputs, in the order in which the driver takes them.

mod channel;
mod ingress;
mod merge;

use std::{future::Future, time::Duration};

pub use self::{
    channel::{
        Backpressure, ChannelFeed, ChannelPolicy, InvalidPolicy, Publisher, QueueFull, channel,
    },
    ingress::IngressFeed,
    merge::{Merge, MergedSource, OnBadRow},
};
use crate::{
    event::Topic,
    log::{IngressCursor, Lease, LogError},
    source::{Input, SourceError},
    time::Nanos,
};

/// A stream of valid inputs that can be continued from a checkpoint.
///
/// A feed checks what it reads. An input that breaks a rule of its kind becomes a recorded refusal
/// ([`System::Rejected`](crate::event::System::Rejected)) or an error; it never reaches the engine.
pub trait Feed: Send {
    /// Tells the feed that the partition is acquired. A feed that reads the ingress reads with this lease.
    fn acquired(&mut self, _lease: &Lease) {}

    /// Looks at the next input without taking it; waits for it up to `wait`.
    ///
    /// # Errors
    /// The feed cannot continue; inputs taken before stay valid.
    fn poll(&mut self, wait: Duration) -> impl Future<Output = Result<Polled, FeedError>> + Send;

    /// Takes the input that [`poll`](Self::poll) last found ready.
    ///
    /// # Panics
    /// When `poll` found none.
    fn take(&mut self) -> Input;

    /// The state from which the feed continues after the input last taken, as opaque bytes.
    fn checkpoint(&self) -> Vec<u8>;

    /// Continues from a checkpoint.
    ///
    /// # Errors
    /// The data does not reach that far, or the bytes are no checkpoint of this feed.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError>;

    /// Per producer, the last message of the ingress that was taken; `None` where this feed does not read the ingress.
    fn ingress_done(&self) -> Option<&IngressCursor> {
        None
    }

    /// How much there is in all and how much was read, in one unit, for a progress bar.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The result of polling a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// An input received at this time. [`Nanos::ZERO`] when it is to be stamped on arrival.
    Ready(Nanos),
    /// No input yet.
    Idle,
    /// The feed has ended.
    End,
}

/// Why a feed cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The partition's ingress cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A queue overflowed whose policy is to halt.
    #[error("the queue for {topic} is full ({capacity} events) and its policy is to halt")]
    QueueFull {
        /// Whose queue.
        topic: Topic,
        /// How many events it holds.
        capacity: usize,
    },
    /// The checkpoint is not one of this feed.
    #[error("the checkpoint does not fit these inputs: {0}")]
    Checkpoint(String),
}
