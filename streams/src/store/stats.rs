//! Lengths and counts of a stream and of its groups.

use serde::Serialize;

use crate::GroupName;
use silvertine_engine::{pos::Pos, span::Span};

/// Length and counts of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamStats {
    /// Messages kept.
    pub length: u64,
    /// Messages ever added.
    pub added: u64,
    /// The newest id ever given.
    pub last: Pos,
    /// The oldest id kept.
    pub first: Option<Pos>,
    /// Unhandled messages that were cut off because the stream was full.
    pub cut: u64,
    /// Dead letters.
    pub dead: u64,
    /// Its groups.
    pub groups: Vec<GroupStats>,
}

/// Counts of a group on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStats {
    /// Its name.
    pub group: GroupName,
    /// Messages not delivered yet.
    pub waiting: u64,
    /// Messages that members hold.
    pub held: u64,
    /// Messages waiting for a retry.
    pub retrying: u64,
    /// Messages waiting behind another with the same ordering key.
    pub blocked: u64,
    /// Messages done.
    pub done: u64,
    /// Messages that came again after they were done.
    pub duplicates: u64,
    /// Messages given up.
    pub dead: u64,
    /// How long the oldest message that is not done or dead has waited, by its id.
    pub oldest: Option<Span>,
    /// Members that hold something or have asked lately.
    pub members: u64,
}

impl GroupStats {
    /// All messages that the group knows of, wherever they are.
    #[must_use]
    pub const fn accounted(&self) -> u64 {
        self.waiting
            + self.held
            + self.retrying
            + self.blocked
            + self.done
            + self.duplicates
            + self.dead
    }
}
