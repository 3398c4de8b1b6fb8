//! Reading: head, ranges, snapshots, ingress, statistics.

use std::time::Duration;

use redis::Value;
use silvertine_engine::{
    codec::{Codec, peek_entry},
    digest::Digest,
    event::{Topic, TopicSet},
    log::{
        Applied, CommitId, Epoch, Head, IngressCursor, Lease, LogError, LogErrorKind, Message,
        Page, RangeQuery, Stats,
    },
    pos::Pos,
    text::Name,
};
use xxhash_rust::xxh3::xxh3_64;

use super::{RedisLog, scripts::FORMAT_VERSION};

/// A value as bytes, where it is bytes.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A value as text, where it is text.
pub(super) fn text(value: &Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
}

/// Bytes with their checksum in front.
pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    let mut sealed = xxh3_64(content).to_le_bytes().to_vec();
    sealed.extend_from_slice(content);
    sealed
}

/// What [`sealed`] sealed, if the checksum agrees.
fn unsealed(sealed: &[u8]) -> Option<&[u8]> {
    let (checksum, content) = sealed.split_first_chunk::<8>()?;
    (xxh3_64(content).to_le_bytes() == *checksum).then_some(content)
}

/// An entry of a stream: its id and its fields.
fn stream_entry(value: &Value) -> Option<(&[u8], &[Value])> {
    match value {
        Value::Array(parts) => match parts.as_slice() {
            [id, Value::Array(fields)] => Some((bytes(id)?, fields)),
            _ => None,
        },
        _ => None,
    }
}

fn parse_pos(bytes: &[u8]) -> Option<Pos> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

impl RedisLog {
    pub(super) fn parse_head(
        &self,
        operation: &'static str,
        head: &Value,
        trimmed: &Value,
        digest: &Value,
        commit: &Value,
    ) -> Result<Head, LogError> {
        let meta = &self.inner.keys.meta;
        let pos = |value: &Value, field: &str| {
            bytes(value).and_then(parse_pos).ok_or_else(|| self.corrupt(operation, meta, field))
        };
        let digest = match bytes(digest) {
            Some([]) => Digest::EMPTY,
            Some(digest) => {
                let digest = digest.try_into();
                Digest::from_bytes(digest.map_err(|_| self.corrupt(operation, meta, "digest"))?)
            }
            None => return Err(self.corrupt(operation, meta, "digest")),
        };
        let commit = match text(commit).as_deref() {
            Some("") => CommitId::default(),
            Some(commit) => u128::from_str_radix(commit, 16)
                .map(CommitId)
                .map_err(|_| self.corrupt(operation, meta, "commit"))?,
            None => return Err(self.corrupt(operation, meta, "commit")),
        };
        Ok(Head { pos: pos(head, "head")?, digest, commit, trimmed: pos(trimmed, "trimmed")? })
    }

    /// The meta fields of a head, or `None` when the partition does not exist.
    fn parse_meta(
        &self,
        operation: &'static str,
        answer: &Value,
    ) -> Result<Option<Head>, LogError> {
        let Value::Array(fields) = answer else {
            return Err(self.corrupt(operation, &self.inner.keys.meta, "not a list of fields"));
        };
        let [version, head, trimmed, digest, commit] = fields.as_slice() else {
            return Err(self.corrupt(operation, &self.inner.keys.meta, "fields are missing"));
        };
        let Some(version) = text(version) else { return Ok(None) };
        let found: u64 = version.parse().unwrap_or(u64::MAX);
        if found != FORMAT_VERSION {
            let kind = LogErrorKind::TooNew { found, known: FORMAT_VERSION };
            return Err(self.error(operation, kind, Applied::No));
        }
        self.parse_head(operation, head, trimmed, digest, commit).map(Some)
    }

    pub(super) fn parse_snapshot_positions(
        &self,
        operation: &'static str,
        fields: &[Value],
    ) -> Result<Vec<Pos>, LogError> {
        let parse = |field: &Value| {
            let pos = bytes(field).and_then(parse_pos);
            pos.ok_or_else(|| self.corrupt(operation, &self.inner.keys.snapshots, "position"))
        };
        let mut positions = fields.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        positions.sort_unstable();
        Ok(positions)
    }

    pub(super) async fn read_head(&self) -> Result<Option<Head>, LogError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.inner.keys.meta).arg(META_FIELDS);
        let answer = self.read("head", &command).await?;
        self.parse_meta("head", &answer)
    }

    pub(super) async fn read_manifest(&self) -> Result<Option<Vec<u8>>, LogError> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.inner.keys.meta).arg("manifest");
        let answer = self.read("manifest", &command).await?;
        Ok(bytes(&answer).map(<[u8]>::to_vec))
    }

    pub(super) async fn read_snapshot_positions(&self) -> Result<Vec<Pos>, LogError> {
        let mut command = redis::cmd("HKEYS");
        command.arg(&self.inner.keys.snapshots);
        match self.read("snapshots", &command).await? {
            Value::Array(fields) | Value::Set(fields) => {
                self.parse_snapshot_positions("snapshots", &fields)
            }
            _ => Err(self.corrupt("snapshots", &self.inner.keys.snapshots, "not a list")),
        }
    }

    pub(super) async fn read_snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.inner.keys.snapshots).arg(pos.to_string());
        let answer = self.read("snapshot", &command).await?;
        let Some(stored) = bytes(&answer) else { return Ok(None) };
        match unsealed(stored) {
            Some(content) => Ok(Some(content.to_vec())),
            None => Err(self.corrupt("snapshot", &format!("snapshot {pos}"), "checksum differs")),
        }
    }

    /// The head and all wanted topics in one round trip. The head is read first: whatever a commit
    /// adds meanwhile stands above it and is left for the next page.
    pub(super) async fn read_range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        let keys = &self.inner.keys;
        let mut commands = redis::pipe();
        commands.cmd("HMGET").arg(&keys.meta).arg(META_FIELDS);
        let after = format!("({}", query.after);
        let topics: Vec<Topic> = query.topics.iter().collect();
        for topic in &topics {
            let range = commands.cmd("XRANGE").arg(&keys.topics[topic.index()]);
            range.arg(&after).arg("+").arg("COUNT").arg(query.limit);
        }
        // All topics together show by their numbers where an entry is missing; some alone do not.
        let counted = query.topics != TopicSet::ALL;
        if counted {
            for topic in &keys.topics {
                commands.cmd("XLEN").arg(topic);
            }
            commands.cmd("HMGET").arg(&keys.meta).arg(META_FIELDS);
        }
        let answers = self.read_all("range", &commands).await?;
        let (meta, answers) = (&answers[0], &answers[1..]);
        let (streams, counts) = answers.split_at(topics.len());
        let Some(head) = self.parse_meta("range", meta)? else { return Ok(Page::default()) };
        self.check_not_trimmed(query.after, &head)?;
        if counted && !self.check_count(query.after, &head, counts)? {
            return Ok(Page::default());
        }
        // Past this position some topic may hold more than its answer showed.
        let mut complete_to = head.pos;
        let mut entries = Vec::new();
        for stream in streams {
            let Value::Array(rows) = stream else { continue };
            for row in rows {
                entries.push(self.parse_entry(row)?);
            }
            if rows.len() == query.limit
                && let Some(&(last, _)) = entries.last()
            {
                complete_to = complete_to.min(last);
            }
        }
        entries.retain(|&(pos, _)| pos <= complete_to);
        entries.sort_unstable_by_key(|&(pos, _)| pos);
        let more = complete_to < head.pos || entries.len() > query.limit;
        entries.truncate(query.limit);
        if query.topics == TopicSet::ALL {
            self.check_gap_free(query.after, &entries, (!more).then_some(head.pos))?;
        }
        let mut page = Page::default();
        for (pos, canonical) in entries {
            page.entries
                .push_encoded(canonical)
                .map_err(|why| self.corrupt("range", &pos.to_string(), &why.to_string()))?;
        }
        page.next = if more { page.entries.last_pos() } else { None };
        Ok(page)
    }

    fn check_not_trimmed(&self, after: Pos, head: &Head) -> Result<(), LogError> {
        if after.seq >= head.trimmed.seq {
            return Ok(());
        }
        let kind = LogErrorKind::Trimmed { through: head.trimmed };
        Err(self.error("range", kind, Applied::No))
    }

    /// Checks that the streams hold at least as many entries as must have been there all the time between
    /// two looks at the meta record; their lengths and the second look are in `answers`. False when the
    /// partition has gone meanwhile.
    fn check_count(&self, after: Pos, head: &Head, answers: &[Value]) -> Result<bool, LogError> {
        let Some((meta, lengths)) = answers.split_last() else { return Ok(true) };
        let Some(later) = self.parse_meta("range", meta)? else { return Ok(false) };
        self.check_not_trimmed(after, &later)?;
        let length = |answer: &Value| match answer {
            Value::Int(length) => length.unsigned_abs(),
            _ => 0,
        };
        let found: u64 = lengths.iter().map(length).sum();
        match head.pos.seq.saturating_sub(later.trimmed.seq).checked_sub(found) {
            None | Some(0) => Ok(true),
            Some(missing) => Err(self.missing("range", &head.pos.to_string(), missing)),
        }
    }

    fn parse_entry<'a>(&self, row: &'a Value) -> Result<(Pos, &'a [u8]), LogError> {
        let unreadable = || self.corrupt("range", "a stream", "not an entry of a stream");
        let (id, fields) = stream_entry(row).ok_or_else(unreadable)?;
        let id = parse_pos(id).ok_or_else(unreadable)?;
        let corrupt = |why: &str| self.corrupt("range", &id.to_string(), why);
        let [_, canonical] = fields else { return Err(corrupt("not one field")) };
        let canonical = bytes(canonical).ok_or_else(|| corrupt("not bytes"))?;
        let peek = peek_entry(canonical).map_err(|why| corrupt(&why.to_string()))?;
        if peek.pos != id {
            return Err(corrupt("the entry says that it stands elsewhere"));
        }
        Ok((id, canonical))
    }

    fn check_gap_free(
        &self,
        after: Pos,
        entries: &[(Pos, &[u8])],
        up_to: Option<Pos>,
    ) -> Result<(), LogError> {
        let mut expected = after.seq + 1;
        for (pos, _) in entries {
            if pos.seq != expected {
                let why = format!("entry number {expected} is missing before it");
                return Err(self.corrupt("range", &pos.to_string(), &why));
            }
            expected += 1;
        }
        match up_to {
            Some(head) if head.seq >= expected => {
                let why = format!("entry number {expected} is missing below the head");
                Err(self.corrupt("range", &head.to_string(), &why))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn read_ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, LogError> {
        let producers = self.read_producers().await?;
        let after = |producer: &Name| cursor.get(producer).copied().unwrap_or(0);
        let reads: Vec<(Name, u64)> = producers.iter().map(|name| (*name, after(name))).collect();
        let messages = self.read_messages(lease, &reads, limit).await?;
        if !messages.is_empty() || wait < Duration::from_millis(1) {
            return Ok(messages);
        }
        if reads.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(messages);
        }
        // What wakes us is read again together with the lease: one command cannot do both.
        let mut wake = redis::cmd("XREAD");
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        wake.arg("COUNT").arg(1).arg("BLOCK").arg(wait_ms);
        self.add_streams(&mut wake, &reads);
        let woken = self.inner.waiting.call(&wake, wait).await;
        match woken.map_err(|failed| self.unread("ingress", failed))? {
            Value::Nil => Ok(messages),
            _ => self.read_messages(lease, &reads, limit).await,
        }
    }

    async fn read_producers(&self) -> Result<Vec<Name>, LogError> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(&self.inner.keys.producers);
        let mut producers = match self.read("ingress", &members).await? {
            Value::Array(names) | Value::Set(names) => {
                let name = |value: &Value| text(value).and_then(|name| Name::new(&name).ok());
                names.iter().filter_map(name).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        producers.sort_unstable();
        Ok(producers)
    }

    fn add_streams(&self, read: &mut redis::Cmd, reads: &[(Name, u64)]) {
        read.arg("STREAMS");
        for (producer, _) in reads {
            read.arg(self.inner.keys.ingress(producer));
        }
        for (_, after) in reads {
            read.arg(format!("{after}-0"));
        }
    }

    /// Reads what is there now, and then the lease: what a former owner is given would lack what its
    /// successor has consumed, and who owns the partition afterwards has owned it all the time. No
    /// transaction, because a server that is out of memory refuses to queue even what only reads.
    async fn read_messages(
        &self,
        lease: Option<&Lease>,
        reads: &[(Name, u64)],
        limit: usize,
    ) -> Result<Vec<Message>, LogError> {
        let mut commands = redis::pipe();
        if !reads.is_empty() {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(limit);
            self.add_streams(&mut read, reads);
            commands.add_command(read);
        }
        commands.cmd("HMGET").arg(&self.inner.keys.meta).arg("epoch").arg("owner");
        let answers = self.read_all("ingress", &commands).await?;
        let [streams @ .., owner] = answers.as_slice() else { return Ok(Vec::new()) };
        if let Some(lease) = lease {
            self.check_owner(lease, owner)?;
        }
        let mut messages = Vec::new();
        let Some(Value::Array(streams)) = streams.first() else { return Ok(messages) };
        for stream in streams {
            let Value::Array(parts) = stream else { continue };
            let [key, Value::Array(rows)] = parts.as_slice() else { continue };
            let producer = bytes(key).and_then(|key| self.inner.keys.producer_of(key));
            let Some(producer) = producer else { continue };
            for row in rows {
                messages.push(self.parse_message(producer, row)?);
            }
        }
        messages.sort_by_key(|message| (message.producer, message.seq));
        messages.truncate(limit);
        Ok(messages)
    }

    fn check_owner(&self, lease: &Lease, found: &Value) -> Result<(), LogError> {
        let refused = |kind| Err(self.error("ingress", kind, Applied::No));
        let Value::Array(found) = found else { return refused(LogErrorKind::Gone) };
        let found: Vec<Option<String>> = found.iter().map(text).collect();
        let (epoch, owner) = match found.as_slice() {
            [Some(epoch), Some(owner)] => (epoch, owner),
            [None, None] => return refused(LogErrorKind::Gone),
            _ => return Err(self.corrupt("ingress", &self.inner.keys.meta, "epoch or owner")),
        };
        if *epoch == lease.epoch.0.to_string() && *owner == lease.owner.to_string() {
            return Ok(());
        }
        let current = Epoch(epoch.parse().unwrap_or_default());
        refused(LogErrorKind::Fenced { ours: lease.epoch, current })
    }

    fn parse_message(&self, producer: Name, row: &Value) -> Result<Message, LogError> {
        let parse = || {
            let (id, fields) = stream_entry(row)?;
            let [_, codec, _, payload] = fields else { return None };
            let codec = text(codec).and_then(|name| Codec::from_name(&name))?;
            let payload = bytes(payload)?.to_vec();
            Some(Message { producer, seq: parse_pos(id)?.ms, codec, payload })
        };
        let key = self.inner.keys.ingress(&producer);
        parse().ok_or_else(|| self.corrupt("ingress", &key, "not a message"))
    }

    pub(super) async fn read_stats(&self) -> Result<Stats, LogError> {
        let keys = &self.inner.keys;
        let mut commands = redis::pipe();
        commands.cmd("HLEN").arg(&keys.snapshots);
        commands.cmd("SMEMBERS").arg(&keys.producers);
        for topic in &keys.topics {
            commands.cmd("XLEN").arg(topic);
            commands.cmd("MEMORY").arg("USAGE").arg(topic);
        }
        let answers = self.read_all("stats", &commands).await?;
        let count = |at: usize| match answers.get(at) {
            Some(Value::Int(count)) => count.unsigned_abs(),
            _ => 0,
        };
        let mut ingress = 0;
        if let Some(Value::Array(names) | Value::Set(names)) = answers.get(1) {
            for name in names.iter().filter_map(text).filter_map(|name| Name::new(&name).ok()) {
                let mut length = redis::cmd("XLEN");
                length.arg(keys.ingress(&name));
                if let Value::Int(count) = self.read("stats", &length).await? {
                    ingress += count.unsigned_abs();
                }
            }
        }
        Ok(Stats {
            entries: (1..=5).map(|n| count(2 * n)).sum(),
            bytes: (1..=5).map(|n| count(2 * n + 1)).sum(),
            snapshots: count(0),
            ingress,
        })
    }

    pub(super) async fn read_durability(&self) -> Result<String, LogError> {
        let mut commands = redis::pipe();
        for setting in ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"] {
            commands.cmd("CONFIG").arg("GET").arg(setting);
        }
        // Where CONFIG is not permitted, the note says so.
        let answers = self.inner.commands.call_all(&commands).await;
        let answers = answers.map_err(|failed| self.unread("durability", failed))?;
        let setting = |at: usize| match &answers[at] {
            Value::Array(pair) => pair.get(1).and_then(text),
            Value::Map(pairs) => pairs.first().and_then(|(_, value)| text(value)),
            _ => None,
        };
        let loses = match (setting(0).as_deref(), setting(1).as_deref()) {
            (Some("no"), _) => "a crash of the server loses everything since its last RDB file",
            (Some("yes"), Some("always")) => "a crash of the server loses nothing acknowledged",
            (Some("yes"), Some("everysec")) => "a crash of the server loses up to a second",
            (Some("yes"), Some("no")) => {
                "a crash of the server loses what the system had not written"
            }
            _ => "what a crash of the server loses is unknown (CONFIG is not permitted)",
        };
        let evicts = match (setting(2).as_deref(), setting(3).as_deref()) {
            (Some("0"), _) | (_, Some("noeviction") | None) => "",
            _ => "; its maxmemory-policy may evict the log, set noeviction",
        };
        Ok(format!("redis: a crash of this process loses nothing; {loses}{evicts}"))
    }
}

const META_FIELDS: &[&str] = &["v", "head", "trimmed", "digest", "commit"];
