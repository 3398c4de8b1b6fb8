//! The log on Redis Streams, for live trading: Redis 7.0 and newer, one server (primary).
//!
//! Law-keeping: every write that matters is one Lua script, so it is all or nothing (L3) and compares
//! owner, epoch, commit id, head and number of entries in the same atomic step (L4, L5). Entries carry explicit stream ids,
//! their positions (L1); readers see nothing past the head that the same script moved last (L2).
//!
//! Keys of a partition share a hash tag, so they live in one slot: `sv:{p}:meta`, `sv:{p}:snap`,
//! `sv:{p}:s:<topic>` (five streams), `sv:{p}:producers`, `sv:{p}:in:<producer>` (streams).

mod classify;
mod ingress;
mod keys;
mod link;
mod read;
mod scripts;
mod streams;
mod transaction;
mod values;
mod write;

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, ServerError, Value};
use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, EventLog, Head, IngressCursor, IngressMessage, Lease,
        LogError, LogErrorKind, OwnerId, Page, Published, RangeQuery, Stats,
    },
    pos::Pos,
    text::Name,
};

pub use self::streams::RedisStreams;
use self::{
    keys::Keys,
    link::{Failed, Link, WaitingLink},
    scripts::Scripts,
};
use crate::address::without_credentials;

/// Where a partition lives.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port[/db]` or `rediss://…` for TLS.
    url: String,
    partition: Name,
}

impl RedisConfig {
    /// A partition on the server at `url`.
    #[must_use]
    pub const fn new(url: String, partition: Name) -> Self {
        Self { url, partition }
    }
}

/// A partition on a Redis server. Clones share the connections.
#[derive(Clone)]
pub struct RedisLog {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keys,
    scripts: Scripts,
    /// For everything that is answered at once.
    commands: Link,
    /// For reads that wait.
    waiting: WaitingLink,
    /// What error messages call this log.
    shown: String,
}

impl RedisLog {
    /// A log at that place. The server is first contacted by the first operation.
    ///
    /// # Errors
    /// [`LogErrorKind::Invalid`] when the URL makes no sense.
    pub fn open(config: RedisConfig) -> Result<Self, LogError> {
        let shown = format!("{}#{}", without_credentials(&config.url), config.partition);
        let invalid = |why: String| LogError {
            kind: LogErrorKind::Invalid { why },
            applied: Applied::No,
            operation: "open",
            log: shown.clone(),
        };
        let client = link::client(&config.url).map_err(invalid)?;
        let inner = Inner {
            keys: Keys::new(config.partition),
            scripts: Scripts::new(),
            commands: Link::new(client.clone()),
            waiting: WaitingLink::new(client),
            shown,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn error(&self, operation: &'static str, kind: LogErrorKind, applied: Applied) -> LogError {
        LogError { kind, applied, operation, log: self.inner.shown.clone() }
    }

    fn corrupt(&self, operation: &'static str, at: &str, why: &str) -> LogError {
        let kind = LogErrorKind::Corrupt { at: at.to_owned(), why: why.to_owned() };
        self.error(operation, kind, Applied::No)
    }

    /// So many entries are not in their streams, somewhere up to a position.
    fn missing(&self, operation: &'static str, up_to: &str, entries: u64) -> LogError {
        let why = match entries {
            1 => "an entry is missing up to it".to_owned(),
            _ => format!("{entries} entries are missing up to it"),
        };
        self.corrupt(operation, up_to, &why)
    }

    /// A write that failed.
    fn failed(&self, operation: &'static str, failed: Failed) -> LogError {
        classify::to_log_error(failed, operation, &self.inner.shown)
    }

    /// A read that failed. It changes nothing, so it did not take effect even where no answer came.
    fn unread(&self, operation: &'static str, failed: Failed) -> LogError {
        LogError { applied: Applied::No, ..self.failed(operation, failed) }
    }

    /// One command that reads.
    async fn read(&self, operation: &'static str, command: &Cmd) -> Result<Value, LogError> {
        let answer = self.inner.commands.call(command).await;
        answer.map_err(|failed| self.unread(operation, failed))
    }

    /// Several commands that read, in one round trip; any error among the answers is an error of the
    /// whole.
    async fn read_all(
        &self,
        operation: &'static str,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, LogError> {
        let answers = self.inner.commands.call_all(commands).await;
        let answers = answers.map_err(|failed| self.unread(operation, failed))?;
        match answers.iter().find_map(refusal) {
            Some(error) => Err(self.unread(operation, Failed::calling(error.clone().into()))),
            None => Ok(answers),
        }
    }
}

/// The error that an answer is, where it is one.
fn refusal(answer: &Value) -> Option<&ServerError> {
    match answer {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

impl EventLog for RedisLog {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        self.acquire_partition(owner, manifest).await
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        self.commit_batch(lease, commit).await
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        self.read_head().await
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        self.read_range(&query).await
    }

    async fn manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        self.read_manifest().await
    }

    async fn snapshots(&self) -> Result<Vec<Pos>, LogError> {
        self.read_snapshot_positions().await
    }

    async fn snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        self.read_snapshot(pos).await
    }

    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        self.publish_messages(messages).await
    }

    async fn ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        self.read_ingress(lease, cursor, limit, wait).await
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        self.trim_entries(lease, at).await
    }

    async fn stats(&self) -> Result<Stats, LogError> {
        self.read_stats().await
    }

    async fn durability_note(&self) -> Result<String, LogError> {
        self.read_durability().await
    }
}
