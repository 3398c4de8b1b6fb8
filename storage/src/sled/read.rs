//! Reading: every record is checked, every gap is noticed.

use std::ops::ControlFlow;

use silvertine_engine::log::{
    Batch, Head, IngressCursor, LogError, LogErrorKind, Message, Page, Pos, RangeQuery, Stats,
};
use sled::IVec;

use super::{
    SledLog, frame,
    records::{self, MANIFEST_KEY},
};

impl SledLog {
    pub(super) fn get(
        &self,
        operation: &'static str,
        key: &[u8],
    ) -> Result<Option<IVec>, LogError> {
        self.inner.db.get(key).map_err(|why| self.classify(operation, &why))
    }

    /// The manifest of a partition that exists: it was written together with the first meta record.
    pub(super) fn read_manifest(&self, operation: &'static str) -> Result<Vec<u8>, LogError> {
        let corrupt = |why| self.corrupt(operation, "manifest", why);
        let sealed = self.get(operation, MANIFEST_KEY)?;
        let sealed = sealed.ok_or_else(|| corrupt("the record is missing"))?;
        let content = records::unseal(&sealed).ok_or_else(|| corrupt("checksum differs"))?;
        Ok(content.to_vec())
    }

    pub(super) fn snapshot_positions(&self, operation: &'static str) -> Result<Vec<Pos>, LogError> {
        let keys = self.inner.db.scan_prefix([records::SNAPSHOT_PREFIX]).keys();
        keys.map(|key| {
            let key = key.map_err(|why| self.classify(operation, &why))?;
            records::pos_of(&key).ok_or_else(|| self.corrupt(operation, "a snapshot", "odd key"))
        })
        .collect()
    }

    pub(super) fn read_snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        let Some(sealed) = self.get("snapshot", &records::snapshot_key(pos))? else {
            return Ok(None);
        };
        let at = format!("snapshot {pos}");
        let content = records::unseal(&sealed);
        let content = content.ok_or_else(|| self.corrupt("snapshot", &at, "checksum differs"))?;
        Ok(Some(content.to_vec()))
    }

    pub(super) fn committed(&self) -> Option<Head> {
        self.lock().as_ref().map(|meta| meta.head)
    }

    pub(super) fn read_range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        let Some(head) = self.committed() else { return Ok(Page::default()) };
        self.check_kept(query, head)?;
        if query.after >= head.pos {
            return Ok(Page::default());
        }
        self.read_up_to(head.pos, query).or_else(|error| {
            // Entries that the owner trimmed while we read are missing, and nothing is damaged.
            self.check_kept(query, self.committed().unwrap_or_default())?;
            Err(error)
        })
    }

    fn check_kept(&self, query: &RangeQuery, head: Head) -> Result<(), LogError> {
        if query.after.seq < head.trimmed.seq {
            let kind = LogErrorKind::Trimmed { through: head.trimmed };
            return Err(self.error("range", kind));
        }
        Ok(())
    }

    /// Reads frame by frame, from the one that holds the first wanted entry to the one that fills the page.
    fn read_up_to(&self, head: Pos, query: &RangeQuery) -> Result<Page, LogError> {
        let mut page = Page::default();
        let mut last_seq = None;
        let end = records::frame_key(head);
        for record in self.inner.db.range(self.frame_with(query.after)?..=IVec::from(&end[..])) {
            let (key, value) = record.map_err(|why| self.classify("range", &why))?;
            let frame = self.decode_frame(&key, &value)?;
            self.check_adjoins(&frame, last_seq, query.after)?;
            last_seq = frame.last_pos().map(|last| last.seq);
            if self.copy_wanted(&frame, query, &mut page)?.is_break() {
                return Ok(page);
            }
        }
        if last_seq != Some(head.seq) {
            return Err(self.corrupt(
                "range",
                &head.to_string(),
                "entries below the head are missing",
            ));
        }
        Ok(page)
    }

    /// The key to begin at: the frame that `after` stands in begins at or before it.
    fn frame_with(&self, after: Pos) -> Result<IVec, LogError> {
        let from = records::frame_key(Pos::ZERO);
        let up_to = records::frame_key(after);
        let before = self.inner.db.range(&from[..]..=&up_to[..]).next_back().transpose();
        let before = before.map_err(|why| self.classify("range", &why))?;
        Ok(before.map_or(IVec::from(&up_to[..]), |(key, _)| key))
    }

    fn decode_frame(&self, key: &[u8], value: &[u8]) -> Result<Batch, LogError> {
        let first = records::pos_of(key);
        let first = first.ok_or_else(|| self.corrupt("range", "a frame", "odd key"))?;
        let at = first.to_string();
        let frame = frame::decode(value).map_err(|why| self.corrupt("range", &at, &why))?;
        if frame.first_pos() != Some(first) {
            return Err(self.corrupt("range", &at, "the frame here begins elsewhere"));
        }
        Ok(frame)
    }

    /// No entry is missing between this frame and the one before it, or between `after` and the first one.
    fn check_adjoins(
        &self,
        frame: &Batch,
        last_seq: Option<u64>,
        after: Pos,
    ) -> Result<(), LogError> {
        let first = frame.first_pos().unwrap_or_default();
        let adjoins = match last_seq {
            Some(last) => first.seq == last + 1,
            None => first.seq <= after.seq + 1,
        };
        if adjoins {
            return Ok(());
        }
        let missing = last_seq.unwrap_or(after.seq) + 1;
        let why = format!("entries from number {missing} on are missing");
        Err(self.corrupt("range", &first.to_string(), &why))
    }

    /// Copies what was asked for; breaks when the page is full and says where to go on.
    fn copy_wanted(
        &self,
        frame: &Batch,
        query: &RangeQuery,
        page: &mut Page,
    ) -> Result<ControlFlow<()>, LogError> {
        for at in frame.first_after(query.after)..frame.len() {
            let entry = frame.get(at);
            if !query.topics.contains(entry.topic) {
                continue;
            }
            if page.entries.len() == query.limit {
                page.next = page.entries.last_pos();
                return Ok(ControlFlow::Break(()));
            }
            page.entries
                .push_encoded(entry.bytes)
                .map_err(|why| self.corrupt("range", &entry.pos.to_string(), &why.to_string()))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn read_ingress(
        &self,
        cursor: &IngressCursor,
        limit: usize,
    ) -> Result<Vec<Message>, LogError> {
        let mut messages = Vec::new();
        for record in self.inner.db.scan_prefix([records::MESSAGE_PREFIX]) {
            if messages.len() == limit {
                break;
            }
            let (key, value) = record.map_err(|why| self.classify("ingress", &why))?;
            let message = records::decode_message(&key, &value)
                .map_err(|why| self.corrupt("ingress", "a message", &why))?;
            if message.seq > cursor.get(&message.producer).copied().unwrap_or(0) {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    pub(super) fn read_stats(&self) -> Result<Stats, LogError> {
        let head = self.committed().unwrap_or_default();
        let bytes = self.inner.db.size_on_disk().map_err(|why| self.classify("stats", &why))?;
        let mut ingress = 0;
        for key in self.inner.db.scan_prefix([records::MESSAGE_PREFIX]).keys() {
            key.map_err(|why| self.classify("stats", &why))?;
            ingress += 1;
        }
        Ok(Stats {
            entries: head.pos.seq - head.trimmed.seq,
            bytes,
            snapshots: self.snapshot_positions("stats")?.len() as u64,
            ingress,
        })
    }
}
