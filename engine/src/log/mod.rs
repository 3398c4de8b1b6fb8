//! The log: the trait that backends implement, and the laws on which the engine relies.
//!
//! # The laws
//! Every backend keeps these laws; one conformance suite checks them all.
//! - **L1** Positions strictly increase over all topics of a partition.
//! - **L2** A merged [`range`](EventLog::range) is in commit order and has no hole; it ends at the committed head.
//! - **L3** A commit is all or nothing.
//! - **L4** Sending a commit again (same commit id, same expected head) changes nothing and answers
//!   `duplicate` with the same head.
//! - **L5** After [`acquire`](EventLog::acquire), every earlier owner gets [`LogErrorKind::Fenced`]; nothing it
//!   writes becomes visible.
//! - **L6** A crash between any two steps leaves L1–L5 true after restart.
//! - **L8** Trimming never passes the floor (the newest snapshot); a reader that asks for trimmed entries gets
//!   [`LogErrorKind::Trimmed`], not an empty page.
//! - **L9** The same inputs and seed give a byte-identical log, hence the same digest, on every backend.
//!
//! (L7 is a law of consumer groups, which have a trait of their own.)

mod batch;
mod error;

use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    batch::{Batch, EntryRef},
    error::{Advice, Applied, LogError, LogErrorKind},
};
use crate::{codec::Codec, digest::Digest, event::TopicSet, pos::Pos, text::Name};

/// One partition of a log.
///
/// A handle is cheap to clone and may be shared; the [`Lease`] protects what is written, not the handle. Futures of embedded
/// logs are ready at once, so that simulation needs no runtime.
///
/// A commit and a read, as the [driver](crate::driver) does them, on any log:
/// ```
/// use silvertine_engine::{
///     codec::decode_entry,
///     digest::Digest,
///     executor::block_on,
///     log::{Batch, Commit, CommitId, EventLog, OwnerId, RangeQuery},
/// };
/// # use silvertine_engine::{
/// #     engine::{Engine, EngineConfig},
/// #     event::{Side, Trade},
/// #     numbers::{Price, Qty},
/// #     source::Input,
/// #     text::{Name, Symbol},
/// #     time::Nanos,
/// # };
/// use silvertine_storage::memory::MemoryLog;
///
/// async fn write_and_read(
///     log: &impl EventLog,
///     entries: &Batch,
///     digest: Digest,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     // Whoever owned the partition before is fenced from here on (L5).
///     let acquired = log.acquire(OwnerId(1), b"what this partition is for").await?;
///     let (lease, expected) = (acquired.lease, acquired.head.pos);
///     let commit = Commit {
///         id: CommitId::derive(&lease, expected, digest),
///         expected,
///         entries,
///         digest,
///         checkpoint: b"",
///         snapshot: None,
///         ingress_done: None,
///     };
///     let committed = log.commit(&lease, &commit).await?;
///     assert!(!committed.duplicate);
///     // After an unknown outcome the same commit is sent again, which is safe (L4).
///     assert!(log.commit(&lease, &commit).await?.duplicate);
///
///     let page = log.range(RangeQuery::all_after(expected)).await?;
///     for entry in page.entries.iter() {
///         println!("{} {:?}", entry.pos, decode_entry(entry.bytes)?.body);
///     }
///     assert_eq!(page.entries.last_pos(), Some(committed.head));
///     Ok(())
/// }
/// # let mut engine = Engine::builder(EngineConfig::default()).build()?;
/// # let mut batch = Batch::default();
/// # let body = Trade {
/// #     symbol: Symbol::new("BTCUSDT")?,
/// #     trade_id: 1,
/// #     price: Price::from_whole(61_837)?,
/// #     qty: Qty::from_whole(1)?,
/// #     aggressor: Side::Buy,
/// # };
/// # let (source, time) = (Name::new("market")?, Nanos(1));
/// # let input = Input {
/// #     source, source_seq: 1, id: None, event_time: time, recv_time: time, body: body.into(),
/// # };
/// # engine.step(input, time, &mut batch);
/// # block_on(write_and_read(&MemoryLog::new(), &batch, engine.digest()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Becomes the partition's owner: raises the epoch, so that every earlier owner is fenced, and
    /// returns what recovery needs. A partition that does not exist yet is created with `manifest`.
    ///
    /// # Errors
    /// Nothing was acquired unless [`Applied`] says so; acquiring again is always safe.
    fn acquire(
        &self,
        owner: OwnerId,
        manifest: &[u8],
    ) -> impl Future<Output = Result<Acquired, LogError>> + Send;

    /// Appends a batch of whole cascades together with the checkpoint, the digest and optionally a snapshot: all of it or
    /// nothing (L3).
    ///
    /// # Errors
    /// [`LogErrorKind::Fenced`] when the lease is no longer the newest, [`LogErrorKind::Conflict`] when
    /// the head is not the expected one. After [`Applied::Maybe`] send the same commit again (L4).
    fn commit(
        &self,
        lease: &Lease,
        commit: &Commit<'_>,
    ) -> impl Future<Output = Result<Committed, LogError>> + Send;

    /// The committed head, or `None` while the partition does not exist.
    ///
    /// # Errors
    /// The backend cannot be read, or it holds something else than a log of this software.
    fn head(&self) -> impl Future<Output = Result<Option<Head>, LogError>> + Send;

    /// Entries of `query.topics` after `query.after` up to the committed head, merged by position.
    ///
    /// # Errors
    /// [`LogErrorKind::Trimmed`] when entries after `after` are trimmed (L8), [`LogErrorKind::Corrupt`] when
    /// a record does not check out.
    fn range(&self, query: RangeQuery) -> impl Future<Output = Result<Page, LogError>> + Send;

    /// The stored manifest, or `None` while the partition does not exist. Needs no lease.
    ///
    /// # Errors
    /// The backend cannot be read.
    fn manifest(&self) -> impl Future<Output = Result<Option<Vec<u8>>, LogError>> + Send;

    /// Positions of all kept snapshots, oldest first.
    ///
    /// # Errors
    /// The backend cannot be read.
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Pos>, LogError>> + Send;

    /// The snapshot taken at `pos`.
    ///
    /// # Errors
    /// The backend cannot be read, or the snapshot does not check out.
    fn snapshot(&self, pos: Pos) -> impl Future<Output = Result<Option<Vec<u8>>, LogError>> + Send;

    /// Publishes messages to the partition's ingress. Idempotent by (producer, sequence): a sequence number
    /// not above the producer's last one is a duplicate and changes nothing.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] publish the same messages again.
    fn publish(
        &self,
        messages: &[IngressMessage],
    ) -> impl Future<Output = Result<Vec<Published>, LogError>> + Send;

    /// Messages of every producer after `cursor`, at most `limit`, in sequence order for each producer.
    /// Waits up to `wait` for the first one; an empty answer is no error.
    ///
    /// An owner reads with its `lease`; other readers, such as a monitor, read without one. A fenced owner must not read the
    /// ingress: its successor may have consumed messages it never saw, and it would miss them if a failover made its lease
    /// the newest again.
    ///
    /// # Errors
    /// The backend cannot be read, or [`LogErrorKind::Fenced`] when the lease is no longer the newest.
    fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<IngressMessage>, LogError>> + Send;

    /// Removes entries up to and including `at`, the position of a kept snapshot, and the snapshots
    /// before it. Removes nothing when `at` is not a kept snapshot (L8). Returns the number of entries
    /// that are gone.
    ///
    /// # Errors
    /// [`LogErrorKind::Fenced`] when the lease is no longer the newest; [`LogErrorKind::Invalid`] when `at` is
    /// above the floor.
    fn trim(&self, lease: &Lease, at: Pos) -> impl Future<Output = Result<u64, LogError>> + Send;

    /// Numbers of entries, bytes, snapshots and waiting messages.
    ///
    /// # Errors
    /// The backend cannot be read.
    fn stats(&self) -> impl Future<Output = Result<Stats, LogError>> + Send;

    /// What a crash of the process, of the server or of the machine can lose, in one line for people.
    ///
    /// # Errors
    /// The backend cannot be asked for its settings.
    fn durability_note(&self) -> impl Future<Output = Result<String, LogError>> + Send;
}

/// The id of an owner: a value that no two processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerId(pub u128);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The number of times that the partition was acquired. Compared for equality only: after a failover that lost writes, an
/// epoch can occur again with another owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The right to commit, until another owner acquires the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The epoch that acquiring began.
    pub epoch: Epoch,
    /// The owner that acquired.
    pub owner: OwnerId,
}

/// The answer of [`EventLog::acquire`].
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The right to commit.
    pub lease: Lease,
    /// The committed head.
    pub head: Head,
    /// The checkpoint of the newest commit; empty when there is none.
    pub checkpoint: Vec<u8>,
    /// The manifest that the partition was created with.
    pub manifest: Vec<u8>,
    /// Positions of the kept snapshots, oldest first.
    pub snapshots: Vec<Pos>,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Position of the newest committed entry; [`Pos::ZERO`] when there is none.
    pub pos: Pos,
    /// Digest over all entries ever committed.
    pub digest: Digest,
    /// Id of the newest commit.
    pub commit: CommitId,
    /// Entries up to here have been trimmed; [`Pos::ZERO`] when none were.
    pub trimmed: Pos,
}

/// Identifies a commit, so that sending it again is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitId(pub u128);

impl CommitId {
    /// The id of the commit that an owner makes on top of `expected`, leading to `digest`. It is derived, so that a retry
    /// has the same id.
    #[must_use]
    pub fn derive(lease: &Lease, expected: Pos, digest: Digest) -> Self {
        let mut bytes = [0; 56];
        bytes[..8].copy_from_slice(&lease.epoch.0.to_le_bytes());
        bytes[8..24].copy_from_slice(&lease.owner.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&expected.ms.to_le_bytes());
        bytes[32..40].copy_from_slice(&expected.seq.to_le_bytes());
        bytes[40..].copy_from_slice(&digest.to_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&bytes))
    }

    /// The id of a commit with this content besides its entries. Commits without entries have the same head and digest; only
    /// their content distinguishes them.
    #[must_use]
    pub fn with_content(self, checkpoint: &[u8], has_snapshot: bool) -> Self {
        let mut bytes = [0; 33];
        bytes[..16].copy_from_slice(&self.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&crate::digest::fingerprint(checkpoint));
        bytes[32] = u8::from(has_snapshot);
        Self(xxhash_rust::xxh3::xxh3_128(&bytes))
    }
}

/// One atomic write.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// Its id, by which a repeated commit is recognised.
    pub id: CommitId,
    /// The head that this commit builds on; anything else is a conflict.
    pub expected: Pos,
    /// Whole cascades, in order. Empty when only a snapshot or checkpoint is written.
    pub entries: &'a Batch,
    /// Digest over the log once these entries are in it.
    pub digest: Digest,
    /// Opaque state of the driver and its feed: it continues with the next input.
    pub checkpoint: &'a [u8],
    /// The engine's state once these entries are in the log.
    pub snapshot: Option<Snapshot<'a>>,
    /// Ingress messages up to here are consumed by this commit and may be discarded.
    pub ingress_done: Option<&'a IngressCursor>,
}

impl Commit<'_> {
    /// The head once this commit is in the log.
    #[must_use]
    pub fn resulting_pos(&self) -> Pos {
        self.entries.last_pos().unwrap_or(self.expected)
    }
}

/// A snapshot to be stored with a commit.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Opaque state of the engine.
    pub bytes: &'a [u8],
    /// Older snapshots before this position are no longer wanted.
    pub keep_from: Pos,
}

/// The answer to a commit that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The head after it.
    pub head: Pos,
    /// It was already there; nothing changed.
    pub duplicate: bool,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct RangeQuery {
    /// Start after this position.
    pub after: Pos,
    /// Which topics.
    pub topics: TopicSet,
    /// The most entries to return, at least one.
    pub limit: usize,
}

impl RangeQuery {
    /// All topics after `after`, in pages of a size that suits every backend.
    #[must_use]
    pub const fn all_after(after: Pos) -> Self {
        Self { after, topics: TopicSet::ALL, limit: 4096 }
    }
}

/// Entries in position order, and where the next page starts.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries.
    pub entries: Batch,
    /// Continue after this position; `None` at the committed head.
    pub next: Option<Pos>,
}

/// A message of an outside producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressMessage {
    /// The producer.
    pub producer: Name,
    /// The producer's own number for it: strictly increasing from one, gaps allowed.
    pub seq: u64,
    /// How the payload is written.
    pub codec: Codec,
    /// The event, encoded.
    pub payload: Vec<u8>,
}

/// The result of publishing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is in the ingress.
    Stored,
    /// The producer had already published this or a later sequence number.
    Duplicate,
}

/// Per producer, the last sequence number consumed.
pub type IngressCursor = BTreeMap<Name, u64>;

/// Numbers of entries, bytes, snapshots and waiting messages of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Entries kept.
    pub entries: u64,
    /// Bytes of kept entries as the backend counts them.
    pub bytes: u64,
    /// Snapshots kept.
    pub snapshots: u64,
    /// Messages waiting in the ingress.
    pub ingress: u64,
}
