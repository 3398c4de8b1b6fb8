//! Feeds: inputs in the order in which the driver takes them.

mod channel;
mod ingress;
mod merge;

use std::{future::Future, time::Duration};

pub use self::{
    channel::{Backpressure, ChannelFeed, ChannelPolicy, Publisher, QueueFull, channel},
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
/// It is the door of the engine: what breaks a rule of its kind leaves it as a recorded refusal
/// ([`System::Rejected`](crate::event::System::Rejected)) or as an error, never as it came.
pub trait Feed: Send {
    /// The partition is ours now; what is read of its ingress is read with this lease.
    fn acquired(&mut self, _lease: &Lease) {}

    /// Looks at the next input without taking it; waits for it up to `wait`.
    ///
    /// # Errors
    /// The feed ends here; what was taken before stays valid.
    fn poll(&mut self, wait: Duration) -> impl Future<Output = Result<Polled, FeedError>> + Send;

    /// Takes the input that [`poll`](Self::poll) last found ready.
    ///
    /// # Panics
    /// When none was.
    fn take(&mut self) -> Input;

    /// How to continue behind the input last taken, as opaque bytes.
    fn checkpoint(&self) -> Vec<u8>;

    /// Continues where a checkpoint was taken.
    ///
    /// # Errors
    /// The data does not reach that far, or the bytes are no checkpoint of this feed.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError>;

    /// Messages of the partition's ingress that have been taken, where this feed reads it.
    fn ingress_done(&self) -> Option<&IngressCursor> {
        None
    }

    /// How much there is in all and how much was read, in one unit, for a progress bar.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}

/// What a feed has for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// An input received at this time. [`Nanos::ZERO`] when it is to be stamped on arrival.
    Ready(Nanos),
    /// Nothing yet.
    Idle,
    /// Nothing any more.
    End,
}

/// Why a feed cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The partition's ingress cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A queue ran over whose policy is to halt.
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
