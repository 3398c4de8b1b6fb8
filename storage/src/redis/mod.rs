//! The log on Redis Streams, for live trading: Redis 7.0 and newer, one server (primary).
//!
//! Law-keeping: every write that matters is one Lua script, so it is all or nothing (L3) and compares
//! owner, epoch, commit id and head in the same atomic step (L4, L5). Entries carry explicit stream ids,
//! their positions (L1); readers see nothing past the head that the same script moved last (L2).
//!
//! Keys of a partition share a hash tag, so they live in one slot: `sv:{p}:meta`, `sv:{p}:snap`,
//! `sv:{p}:s:<topic>` (five streams), `sv:{p}:producers`, `sv:{p}:in:<producer>` (streams).

mod classify;
mod keys;
mod link;
mod read;
mod scripts;
mod write;

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Value};
use silvertine_engine::{
    log::{
        Acquired, Applied, Commit, Committed, EventLog, Head, IngressCursor, Lease, LogError,
        LogErrorKind, Message, OwnerId, Page, Pos, Published, RangeQuery, Stats,
    },
    text::Name,
};

use self::{keys::Keys, link::Link, scripts::Scripts};
use crate::any::without_credentials;

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
    /// For reads that wait: a waiting read stalls whatever shares its connection.
    waiting: Link,
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
            kind: LogErrorKind::Denied { why },
            applied: Applied::No,
            operation: "open",
            log: shown.clone(),
        };
        let client = link::client(&config.url).map_err(invalid)?;
        let inner = Inner {
            keys: Keys::new(config.partition),
            scripts: Scripts::new(),
            commands: Link::new(client.clone()),
            waiting: Link::new(client),
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

    /// One command on the command connection.
    async fn call(&self, operation: &'static str, command: &Cmd) -> Result<Value, LogError> {
        let answer = self.inner.commands.call(command).await;
        answer.map_err(|failed| classify::to_log_error(failed, operation, &self.inner.shown))
    }

    /// Several commands in one round trip; answers in order, errors among them.
    async fn call_all(
        &self,
        operation: &'static str,
        commands: &redis::Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, LogError> {
        let answers = self.inner.commands.call_all(commands, count).await;
        answers.map_err(|failed| classify::to_log_error(failed, operation, &self.inner.shown))
    }

    /// Several commands as one transaction; the answers of each, or why none took effect.
    async fn transact(
        &self,
        operation: &'static str,
        commands: redis::Pipeline,
    ) -> Result<Vec<Value>, LogError> {
        let shown = &self.inner.shown;
        let answer = self.inner.commands.transact(&commands).await;
        match answer.map_err(|failed| classify::to_log_error(failed, operation, shown))? {
            Value::Array(answers) => Ok(answers),
            other => {
                let why = format!("a transaction answered {other:?}");
                Err(self.error(operation, LogErrorKind::Unavailable { why }, Applied::Maybe))
            }
        }
    }

    /// The same, where any error among the answers is an error of the whole.
    async fn call_all_well(
        &self,
        operation: &'static str,
        commands: &redis::Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, LogError> {
        let answers = self.call_all(operation, commands, count).await?;
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                let failed = link::Failed::answered(error.clone().into());
                return Err(classify::to_log_error(failed, operation, &self.inner.shown));
            }
        }
        Ok(answers)
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

    async fn publish(&self, messages: &[Message]) -> Result<Vec<Published>, LogError> {
        self.publish_messages(messages).await
    }

    async fn ingress(
        &self,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, LogError> {
        self.read_ingress(cursor, limit, wait).await
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
