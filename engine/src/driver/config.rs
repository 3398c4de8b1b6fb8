//! The parameters of a driver, and the request for one run.

use std::time::Duration;

use crate::{log::OwnerId, park::Release, pos::Pos};

/// How a driver commits, snapshots, trims and retries. No field changes what the engine computes.
///
/// Start from the default and set fields:
/// ```
/// # use silvertine_engine::driver::DriverConfig;
/// let mut config = DriverConfig::default();
/// config.batch_entries = 1;
/// config.retention_entries = Some(1_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// How long the driver waits for a log that cannot be reached or refuses writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryConfig {
    /// The first pause; each further one is twice as long, less a jitter of up to half.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The sum of the pauses after which the driver gives up, while running.
    pub give_up_after: Duration,
    /// The same while acquiring. It is shorter, so that a wrong address is reported soon.
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

/// The request for one run.
///
/// ```
/// # use silvertine_engine::{driver::RunRequest, log::OwnerId};
/// let mut request = RunRequest::new(OwnerId(7), b"my strategy, version 1");
/// request.resume = true;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunRequest {
    /// The owner of the partition during the run.
    pub owner: OwnerId,
    /// The manifest that an empty partition is created with. An existing partition must have been created with the same.
    pub manifest: Vec<u8>,
    /// Whether a log that already holds entries may be continued.
    pub resume: bool,
    /// The halt after which a resumed run continues, by the position of its record. The run records this in the log; it
    /// stops at any other halt.
    pub past_halt: Option<Pos>,
    /// Keys to release on resume, before the first input (and after `past_halt`, if set). All must be parked, or none is
    /// released. Each release is recorded in the log.
    pub releases: Vec<Release>,
}

impl RunRequest {
    /// A run of `owner` on an empty partition, which is created with `manifest`.
    #[must_use]
    pub fn new(owner: OwnerId, manifest: impl Into<Vec<u8>>) -> Self {
        let manifest = manifest.into();
        Self { owner, manifest, resume: false, past_halt: None, releases: Vec::new() }
    }
}
