//! Reading: head, ranges, snapshots, statistics.

use redis::Value;
use silvertine_engine::{
    codec::peek_entry,
    digest::Digest,
    event::{Topic, TopicSet},
    log::{Applied, CommitId, Head, LogError, LogErrorKind, Page, RangeQuery, Stats},
    pos::Pos,
    text::Name,
};

use super::{
    RedisLog,
    scripts::FORMAT_VERSION,
    values::{bytes, parse_pos, stream_entry, text, unsealed},
};

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
