//! Named streams on Redis Streams, Redis 7.0 and newer: a stream is the key of its name, a message an entry with
//! its fields as they are, so a producer in any language takes part with a plain `XADD`.
//!
//! Law-keeping: whatever changes more than one thing is one Lua script. A message that was delivered stays in its
//! group's list of pending entries until the script that settles it: held by its member, or by one of two consumers that
//! nobody is, `~waiting` (for its retry) and `~parked` (behind another with its ordering key). Redis itself so
//! keeps count of everything unfinished, and a crash at any point leaves it there (L7). Times are the server's.

mod answers;
mod call;
mod dead;
mod fetch;
mod groups;
mod keys;
mod lua;
mod publish;
mod settle;
mod stats;

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, pending},
    sync::{Arc, Mutex, PoisonError},
};

use redis::{Cmd, Value};
use silvertine_engine::{log::Applied, pos::Pos, time::Nanos};
use silvertine_streams::{
    Amendment, ConsumerName, DeadLetter, Fetch, Fetched, GroupName, GroupSpec, Member, Message,
    MessageId, Publication, Regrouped, Settled, Settlement, StoreError, StoreErrorKind, StreamName,
    StreamSpec, StreamStats, Streams, Topology, Tries,
};

use self::{
    call::Call,
    keys::{GroupKeys, StreamKeys},
    lua::Scripts,
};
use super::{
    classify,
    link::{self, Failed, Link, WaitingLink},
    scripts::{self, Lua},
};
use crate::address::without_credentials;

/// Named streams on a Redis server. Clones share the connections.
#[derive(Clone)]
pub struct RedisStreams {
    inner: Arc<Inner>,
}

struct Inner {
    topology: Topology,
    keys: Keys,
    scripts: Scripts,
    /// For everything that is answered at once.
    commands: Link,
    /// For fetches that wait.
    waiting: WaitingLink,
    /// What error messages call these streams.
    shown: String,
    /// Groups that were created again and not reported yet.
    regrouped: Mutex<Vec<(StreamName, GroupName, Regrouped)>>,
}

/// The keys of every stream of the topology.
type Keys = BTreeMap<StreamName, StreamKeys>;

/// A member with what is known of its stream and group.
#[derive(Clone, Copy)]
struct Place<'a> {
    stream: &'a StreamSpec,
    spec: &'a GroupSpec,
    stream_keys: &'a StreamKeys,
    keys: &'a GroupKeys,
    group: &'a GroupName,
    me: &'a ConsumerName,
}

impl Place<'_> {
    /// A call that begins with the group.
    fn call(&self) -> Call {
        let mut call = Call::default();
        let by = self.spec.order_by.as_deref();
        call.group(self.keys, self.group.as_str(), self.me.as_str(), by);
        call
    }

    /// A stream's number among the group's lanes, from one.
    fn lane(&self, stream: &StreamName) -> Option<usize> {
        self.keys.lanes.iter().position(|lane| lane.stream == *stream).map(|at| at + 1)
    }
}

impl fmt::Debug for RedisStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStreams({})", self.inner.shown)
    }
}

impl RedisStreams {
    /// Streams of this topology on the server at `url` (`redis://[user:password@]host:port[/db]`, or `rediss://…`
    /// for TLS), which is first contacted by the first operation.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when the URL makes no sense.
    pub fn open(url: &str, topology: Topology) -> Result<Self, StoreError> {
        let shown = without_credentials(url);
        let client = link::client(url).map_err(|why| StoreError {
            kind: StoreErrorKind::Invalid { why },
            applied: Applied::No,
            operation: "open",
            store: shown.clone(),
        })?;
        let keys = topology.streams.iter().map(|spec| (spec.name.clone(), StreamKeys::of(spec)));
        let inner = Inner {
            keys: keys.collect(),
            scripts: Scripts::new(),
            commands: Link::new(client.clone()),
            waiting: WaitingLink::new(client),
            shown,
            regrouped: Mutex::default(),
            topology,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn error(&self, operation: &'static str, kind: StoreErrorKind, applied: Applied) -> StoreError {
        StoreError { kind, applied, operation, store: self.inner.shown.clone() }
    }

    fn invalid(&self, operation: &'static str, why: String) -> StoreError {
        self.error(operation, StoreErrorKind::Invalid { why }, Applied::No)
    }

    /// An answer of another form than was asked for.
    fn odd(&self, operation: &'static str, why: &str) -> StoreError {
        let why = format!("the server answered in another form than expected: {why}");
        self.error(operation, StoreErrorKind::Unavailable { why }, Applied::Maybe)
    }

    fn failed(&self, operation: &'static str, failed: Failed) -> StoreError {
        if failed.error.code() == Some("FULL") {
            let why = failed.error.detail().unwrap_or("a stream is full").to_owned();
            return self.error(operation, StoreErrorKind::RefusesWrites { why }, Applied::No);
        }
        classify::to_log_error(failed, operation, &self.inner.shown).into()
    }

    /// One command that reads.
    async fn read_only(&self, operation: &'static str, command: &Cmd) -> Result<Value, StoreError> {
        let answer = self.inner.commands.call(command).await;
        answer
            .map_err(|failed| StoreError { applied: Applied::No, ..self.failed(operation, failed) })
    }

    async fn run(
        &self,
        operation: &'static str,
        script: &Lua,
        call: &Call,
    ) -> Result<Value, StoreError> {
        let answer = scripts::run(&self.inner.commands, script, |command| call.fill(command)).await;
        answer.map_err(|failed| self.failed(operation, failed))
    }

    /// The same for a group's script. Where somebody has removed the group, it is created again, and the script
    /// runs once more: it writes nothing before it has seen that the group is there.
    async fn run_in_group<'a>(
        &self,
        operation: &'static str,
        place: Place<'a>,
        script: &Lua,
        call: &Call,
        ids: impl Iterator<Item = &'a MessageId>,
    ) -> Result<Value, StoreError> {
        let run = || scripts::run(&self.inner.commands, script, |command| call.fill(command));
        match run().await {
            Err(failed) if is_group_missing(&failed) => {
                self.regroup(operation, place, ids).await?;
                run().await.map_err(|failed| self.failed(operation, failed))
            }
            answer => answer.map_err(|failed| self.failed(operation, failed)),
        }
    }

    fn spec(
        &self,
        operation: &'static str,
        stream: &StreamName,
    ) -> Result<(&StreamSpec, &StreamKeys), StoreError> {
        let spec = self.inner.topology.stream(stream);
        let known = spec.zip(self.inner.keys.get(stream));
        known.ok_or_else(|| self.unknown(operation, stream))
    }

    fn unknown(&self, operation: &'static str, stream: &StreamName) -> StoreError {
        self.invalid(operation, format!("there is no stream {stream} in this topology"))
    }

    /// What the topology says about a member's stream and group.
    fn place<'a>(
        &'a self,
        operation: &'static str,
        member: &'a Member,
    ) -> Result<Place<'a>, StoreError> {
        let Member { stream: name, group, consumer: me } = member;
        let (stream, stream_keys) = self.spec(operation, name)?;
        let known = stream.group(group).zip(stream_keys.groups.get(group));
        let (spec, keys) = known.ok_or_else(|| {
            self.invalid(operation, format!("{name} has no group {group} in this topology"))
        })?;
        if me.as_str().starts_with('~') {
            let why = format!("no member is called {me}: such names are the store's own");
            return Err(self.invalid(operation, why));
        }
        Ok(Place { stream, spec, stream_keys, keys, group, me })
    }

    fn note_regrouped(&self, place: Place<'_>, regrouped: impl Iterator<Item = Regrouped>) {
        let mut noted = self.inner.regrouped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, group) = (&place.stream.name, place.group);
        noted.extend(regrouped.map(|one| (stream.clone(), group.clone(), one)));
    }

    /// The groups that were created again since this was asked last.
    fn take_regrouped(&self, place: Place<'_>) -> Vec<Regrouped> {
        let mut noted = self.inner.regrouped.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |(stream, group, _): &mut (StreamName, GroupName, _)| {
            *stream == place.stream.name && group == place.group
        };
        noted.extract_if(.., mine).map(|(_, _, regrouped)| regrouped).collect()
    }
}

/// Whether a group, or the stream that it consumes, is not there.
fn is_group_missing(failed: &Failed) -> bool {
    failed.error.code() == Some("NOGROUP")
}

impl Streams for RedisStreams {
    fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    async fn declare(&self, _now: Nanos) -> Result<(), StoreError> {
        self.declare_all().await
    }

    async fn publish(
        &self,
        publications: &[Publication],
        _now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        self.publish_messages(publications).await
    }

    async fn relay(&self, messages: &[(Pos, Publication)], _now: Nanos) -> Result<u64, StoreError> {
        self.relay_messages(messages).await
    }

    async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        self.fetch_messages(fetch).await
    }

    fn arrival(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        _now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        self.begin_messages(member, tries).await
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        _now: Nanos,
    ) -> Result<Vec<Settled>, StoreError> {
        self.settle_messages(member, settlements).await
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        _now: Nanos,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.extend_messages(member, held).await
    }

    async fn leave(&self, member: &Member, _now: Nanos) -> Result<(), StoreError> {
        self.leave_group(member).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        self.read_messages(stream, after, limit).await
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        _now: Nanos,
    ) -> Result<Option<StreamStats>, StoreError> {
        self.read_stream_stats(stream).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        self.read_dead_letters(stream, after, limit).await
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        _now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        self.bury_letters(stream, letters).await
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        _now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        self.amend_letters(stream, amendments, audit).await
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_record(stream, name).await
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.replace_record(stream, name, expected, new).await
    }
}
