//! Acquiring, committing, trimming, publishing.

use std::{
    collections::BTreeMap,
    fmt::Write,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use redis::{Cmd, Pipeline, ServerError, Value};
use silvertine_engine::{
    event::Topic,
    log::{
        Acquired, Applied, Commit, Committed, Epoch, IngressMessage, Lease, LogError, LogErrorKind,
        OwnerId, Published,
    },
    pos::Pos,
    text::Name,
};

use super::{
    RedisLog, classify, refusal,
    scripts::{self, FORMAT_VERSION, Lua},
    transaction::{kind_of_answer, transact},
    values,
};

/// Commands sent at once; more only grow the buffers on both sides.
const PIPELINE_COMMANDS: usize = 256;
/// Bytes of payload sent at once.
const PIPELINE_BYTES: usize = 64 * 1024;

impl RedisLog {
    /// Runs a script whose answer is a list.
    async fn run_script(
        &self,
        operation: &'static str,
        script: &Lua,
        fill: impl Fn(&mut Cmd),
    ) -> Result<Vec<Value>, LogError> {
        match scripts::run(&self.inner.commands, script, fill).await {
            Ok(Value::Array(parts)) => Ok(parts),
            Ok(other) => {
                let why = format!("a script answered {}", kind_of_answer(&other));
                Err(self.error(operation, LogErrorKind::Unavailable { why }, Applied::Maybe))
            }
            Err(failed) => Err(self.failed(operation, failed)),
        }
    }

    /// The errors that scripts answer with a word.
    fn refused(&self, operation: &'static str, ours: Epoch, answer: &[Value]) -> LogError {
        let text = |at: usize| answer.get(at).and_then(values::text).unwrap_or_default();
        let kind = match text(0).as_str() {
            "GONE" => LogErrorKind::Gone,
            "FENCED" => {
                LogErrorKind::Fenced { ours, current: Epoch(text(1).parse().unwrap_or_default()) }
            }
            "BROKEN" => return self.corrupt(operation, &self.inner.keys.meta, &text(1)),
            // With a position that is none.
            "CONFLICT" | "DUPLICATE" => {
                return self.corrupt(operation, &self.inner.keys.meta, "head");
            }
            "MISCOUNTED" => match (text(2).parse::<u64>(), text(3).parse::<u64>()) {
                (Ok(expected), Ok(found)) if found > expected => {
                    let extra = found - expected;
                    let why = format!("somebody else wrote {extra} entries below {}", text(1));
                    LogErrorKind::Foreign { why }
                }
                (Ok(expected), Ok(found)) => {
                    return self.missing(operation, &text(1), expected - found);
                }
                _ => return self.corrupt(operation, &self.inner.keys.meta, "head"),
            },
            "FOREIGN" => {
                let why = format!("somebody else wrote {} into {}", text(2), text(1));
                LogErrorKind::Foreign { why }
            }
            "WRONGKEY" => {
                let why = format!("the key {} is of another kind: {}", text(1), text(2));
                LogErrorKind::Foreign { why }
            }
            "VERSION" => LogErrorKind::TooNew {
                found: text(1).parse().unwrap_or_default(),
                known: FORMAT_VERSION,
            },
            other => LogErrorKind::Unavailable { why: format!("a script answered {other:?}") },
        };
        self.error(operation, kind, Applied::No)
    }

    pub(super) async fn acquire_partition(
        &self,
        owner: OwnerId,
        manifest: &[u8],
    ) -> Result<Acquired, LogError> {
        let keys = &self.inner.keys;
        let answer = self
            .run_script("acquire", &self.inner.scripts.acquire, |cmd| {
                cmd.arg(8).arg(&keys.meta).arg(&keys.snapshots).arg(&keys.topics[..]);
                cmd.arg(&keys.producers);
                cmd.arg(owner.to_string()).arg(manifest).arg(FORMAT_VERSION);
            })
            .await?;
        let [status, Value::Array(meta), Value::Array(snapshots)] = answer.as_slice() else {
            return Err(self.refused("acquire", Epoch(0), &answer));
        };
        debug_assert_eq!(values::text(status).as_deref(), Some("OK"));
        let [epoch, head, trimmed, digest, commit, checkpoint, manifest] = meta.as_slice() else {
            return Err(self.corrupt("acquire", &keys.meta, "fields are missing"));
        };
        let epoch = values::text(epoch).and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.ok_or_else(|| self.corrupt("acquire", &keys.meta, "epoch"))?;
        Ok(Acquired {
            lease: Lease { epoch: Epoch(epoch), owner },
            head: self.parse_head("acquire", head, trimmed, digest, commit)?,
            checkpoint: values::bytes(checkpoint).unwrap_or_default().to_vec(),
            manifest: values::bytes(manifest).unwrap_or_default().to_vec(),
            snapshots: self.parse_snapshot_positions("acquire", snapshots)?,
        })
    }

    pub(super) async fn commit_batch(
        &self,
        lease: &Lease,
        commit: &Commit<'_>,
    ) -> Result<Committed, LogError> {
        if commit.entries.first_pos().is_some_and(|first| first <= commit.expected) {
            let why = format!("entries must stand above the head {}", commit.expected);
            return Err(self.error("commit", LogErrorKind::Invalid { why }, Applied::No));
        }
        let new_head = commit.resulting_pos();
        // The script tells by the numbers how many entries there are.
        let numbered = new_head.seq.saturating_sub(commit.expected.seq);
        if numbered != commit.entries.len() as u64 {
            let why = format!("entries must be numbered on without gaps from {}", commit.expected);
            return Err(self.error("commit", LogErrorKind::Invalid { why }, Applied::No));
        }
        let keys = &self.inner.keys;
        let snapshot = commit.snapshot.map(|snapshot| values::sealed(snapshot.bytes));
        let dropped = match commit.snapshot {
            Some(snapshot) => {
                let kept = self.read_snapshot_positions().await?;
                kept.into_iter().filter(|&pos| pos < snapshot.keep_from).collect::<Vec<_>>()
            }
            None => Vec::new(),
        };
        let done = commit.ingress_done.into_iter().flatten();
        let done: Vec<(String, u64)> =
            done.map(|(producer, &seq)| (keys.ingress(producer), seq)).collect();
        let mut per_topic = [0_usize; Topic::ALL.len()];
        for entry in commit.entries.iter() {
            per_topic[entry.topic.index()] += 1;
        }
        let fill = |cmd: &mut Cmd| {
            cmd.arg(7 + done.len()).arg(&keys.meta).arg(&keys.snapshots).arg(&keys.topics[..]);
            for (key, _) in &done {
                cmd.arg(key);
            }
            cmd.arg(lease.epoch.0).arg(lease.owner.to_string());
            cmd.arg(format!("{:032x}", commit.id.0));
            cmd.arg(commit.expected.to_string()).arg(new_head.to_string());
            cmd.arg(&commit.digest.to_bytes()[..]).arg(commit.checkpoint);
            cmd.arg(snapshot.as_deref().unwrap_or_default()).arg(dropped.len());
            cmd.arg(&per_topic[..]);
            for pos in &dropped {
                cmd.arg(pos.to_string());
            }
            for (_, seq) in &done {
                cmd.arg(format!("{}-0", seq.saturating_add(1)));
            }
            for topic in Topic::ALL {
                if per_topic[topic.index()] == 0 {
                    continue;
                }
                for entry in commit.entries.iter().filter(|entry| entry.topic == topic) {
                    cmd.arg(entry.pos.to_string()).arg(entry.bytes);
                }
            }
        };
        let answer = self.run_script("commit", &self.inner.scripts.commit, fill).await?;
        let pos = answer.get(1).and_then(values::text).and_then(|text| text.parse::<Pos>().ok());
        match (answer.first().and_then(values::text).as_deref(), pos) {
            (Some("OK"), Some(head)) => Ok(Committed { head, duplicate: false }),
            (Some("DUPLICATE"), Some(head)) => Ok(Committed { head, duplicate: true }),
            (Some("CONFLICT"), Some(head)) => {
                let kind = LogErrorKind::Conflict { expected: commit.expected, head };
                Err(self.error("commit", kind, Applied::No))
            }
            _ => Err(self.refused("commit", lease.epoch, &answer)),
        }
    }

    pub(super) async fn trim_entries(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        let kept = self.read_snapshot_positions().await?;
        if kept.last().is_none_or(|&newest| at > newest) {
            let why = format!("{at} is above the newest snapshot, the floor of trimming");
            return Err(self.error("trim", LogErrorKind::Invalid { why }, Applied::No));
        }
        let keys = &self.inner.keys;
        let first_kept = Pos { ms: at.ms, seq: at.seq + 1 };
        let answer = self
            .run_script("trim", &self.inner.scripts.trim, |cmd| {
                cmd.arg(7).arg(&keys.meta).arg(&keys.snapshots).arg(&keys.topics[..]);
                cmd.arg(lease.epoch.0).arg(lease.owner.to_string());
                cmd.arg(at.to_string()).arg(first_kept.to_string());
                for pos in kept.iter().filter(|&&pos| pos < at) {
                    cmd.arg(pos.to_string());
                }
            })
            .await?;
        match answer.as_slice() {
            [_, Value::Int(removed)] => Ok(removed.unsigned_abs()),
            _ => Err(self.refused("trim", lease.epoch, &answer)),
        }
    }

    /// Appends whose explicit ids are the producers' own numbers, so Redis itself refuses what is not
    /// above the last one. A chunk is one transaction, and the next is sent only when it is in: were a
    /// message refused (out of memory, say) and a later one of its producer accepted, sending it again
    /// would be refused as a duplicate and it would be lost.
    pub(super) async fn publish_messages(
        &self,
        messages: &[IngressMessage],
    ) -> Result<Vec<Published>, LogError> {
        if messages.iter().any(|message| message.seq == 0) {
            let why = "a producer counts from one".to_owned();
            return Err(self.error("publish", LogErrorKind::Invalid { why }, Applied::No));
        }
        let mut published = Vec::with_capacity(messages.len());
        match self.publish_chunks(messages, &mut published).await {
            Ok(()) => Ok(published),
            // What is in stays in, whatever became of the others.
            Err(error) if published.contains(&Published::Stored) => {
                Err(LogError { applied: Applied::Maybe, ..error })
            }
            Err(error) => Err(error),
        }
    }

    async fn publish_chunks(
        &self,
        messages: &[IngressMessage],
        published: &mut Vec<Published>,
    ) -> Result<(), LogError> {
        let mut rest = messages;
        let mut sent: Option<(&[IngressMessage], InFlight<'_>)> = None;
        loop {
            let count = chunk_len(rest);
            let (chunk, later) = rest.split_at(count);
            // Packed while the chunk before it is being executed.
            let commands = (count > 0).then(|| self.pack_chunk(chunk));
            if let Some((chunk, sent)) = sent.take() {
                self.take_answers(chunk, &sent.finish().await?, published)?;
            }
            let Some(commands) = commands else { return Ok(()) };
            sent = Some((chunk, InFlight::start(self.transact("publish", commands)).await));
            rest = later;
        }
    }

    /// A transaction that registers the producers and appends one message per command.
    fn pack_chunk(&self, chunk: &[IngressMessage]) -> Pipeline {
        let keys = &self.inner.keys;
        let mut streams: BTreeMap<Name, String> = BTreeMap::new();
        for message in chunk {
            let producer = message.producer;
            streams.entry(producer).or_insert_with_key(|producer| keys.ingress(producer));
        }
        let mut commands = redis::pipe();
        commands.cmd("MULTI");
        // Registered first: a reader must find the producer once the message is there.
        let register = commands.cmd("SADD").arg(&keys.producers);
        for producer in streams.keys() {
            register.arg(producer.as_str());
        }
        let mut id = String::new();
        for message in chunk {
            id.clear();
            write!(id, "{}-0", message.seq).expect("text takes all");
            let append = commands.cmd("XADD").arg(&streams[&message.producer]).arg(&id);
            append.arg("c").arg(message.codec.as_str()).arg("e").arg(&message.payload);
        }
        commands.cmd("EXEC");
        commands
    }

    async fn transact(
        &self,
        operation: &'static str,
        commands: Pipeline,
    ) -> Result<Vec<Value>, LogError> {
        transact(&self.inner.commands, &self.inner.shown, operation, &commands).await
    }

    /// What became of the messages of a chunk; those beside a refused one are in all the same.
    fn take_answers(
        &self,
        chunk: &[IngressMessage],
        answers: &[Value],
        published: &mut Vec<Published>,
    ) -> Result<(), LogError> {
        let mut answers = answers.iter().map(refusal);
        let registering = answers.next().flatten();
        let mut refused = registering.map(|error| (error, self.inner.keys.producers.clone()));
        for (message, answer) in chunk.iter().zip(answers) {
            match answer {
                None => published.push(Published::Stored),
                Some(error) if is_duplicate(error) => published.push(Published::Duplicate),
                Some(error) => {
                    let named = || format!("message {} of {}", message.seq, message.producer);
                    refused.get_or_insert_with(|| (error, named()));
                }
            }
        }
        let Some((error, what)) = refused else { return Ok(()) };
        let kind = classify::kind_of(&error.clone().into(), &format!("{what}: "));
        Err(self.error("publish", kind, Applied::No))
    }
}

/// Whether a message was refused because its producer's number is not above the last one.
fn is_duplicate(error: &ServerError) -> bool {
    error.details().is_some_and(|text| text.contains("equal or smaller"))
}

/// How many messages go into one transaction.
fn chunk_len(messages: &[IngressMessage]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&IngressMessage| {
        bytes += message.payload.len();
        bytes <= PIPELINE_BYTES
    };
    let count = messages.iter().take(PIPELINE_COMMANDS).take_while(fits).count();
    // One that is larger than a chunk goes alone.
    count.max(messages.len().min(1))
}

type Answers = Result<Vec<Value>, LogError>;

/// A request that is on its way while this task does something else.
enum InFlight<'a> {
    Running(Pin<Box<dyn Future<Output = Answers> + Send + 'a>>),
    Done(Answers),
}

impl<'a> InFlight<'a> {
    /// Hands the request to the connection and lets the connection send it.
    async fn start(request: impl Future<Output = Answers> + Send + 'a) -> Self {
        let mut running = Box::pin(request);
        let first = poll_fn(|context| match running.as_mut().poll(context) {
            Poll::Ready(answers) => Poll::Ready(Some(answers)),
            Poll::Pending => Poll::Ready(None),
        });
        match first.await {
            Some(answers) => Self::Done(answers),
            None => {
                tokio::task::yield_now().await;
                Self::Running(running)
            }
        }
    }

    async fn finish(self) -> Answers {
        match self {
            Self::Running(running) => running.await,
            Self::Done(answers) => answers,
        }
    }
}
