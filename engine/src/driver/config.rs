//! How a driver works, and what is asked of one run.

use std::time::Duration;

use crate::{log::OwnerId, park::Release, pos::Pos};

/// How a driver commits, snapshots, trims and retries. Nothing here changes what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Entries after which a batch is committed, at least one. A cascade is never split, so a batch may
    /// end longer.
    pub batch_entries: usize,
    /// Entries after which a snapshot is taken, at least one.
    pub snapshot_entries: u64,
    /// Engine time after which a snapshot is taken.
    pub snapshot_interval: Duration,
    /// The newest entries that are kept; `None` keeps all.
    pub retention_entries: Option<u64>,
    /// When to stop retrying.
    pub retry: RetryConfig,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            batch_entries: 256,
            snapshot_entries: 250_000,
            snapshot_interval: Duration::MAX,
            retention_entries: None,
            retry: RetryConfig::default(),
        }
    }
}

/// How long a log that cannot be reached or refuses writes is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// The first pause; each further one is twice as long, less a jitter of up to half.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Pauses in all after which the driver gives up, while running.
    pub give_up_after: Duration,
    /// The same while acquiring: a wrong address should be told soon.
    pub give_up_acquiring_after: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
            give_up_after: Duration::from_secs(60),
            give_up_acquiring_after: Duration::from_secs(2),
        }
    }
}

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Who owns the partition meanwhile.
    pub owner: OwnerId,
    /// What the partition is created with, and what it must have been created with.
    pub manifest: Vec<u8>,
    /// Go on with a log that is not empty.
    pub resume: bool,
    /// The halt that a resumed run may go on behind, by the position of its record. It says so in the log; it
    /// lets no other halt pass.
    pub past_halt: Option<Pos>,
    /// What a resumed run releases before it takes any input, but behind the halt if it goes on behind one. All must be
    /// parked, or none is released. Each says so in the log.
    pub releases: Vec<Release>,
}
