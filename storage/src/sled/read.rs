//! Reading: every record is checked, every gap is noticed.

use silvertine_engine::{
    log::{Head, IngressCursor, IngressMessage, Lease, LogError, Page, RangeQuery, Stats},
    pos::Pos,
};
use sled::IVec;

use super::SledLog;
use crate::records::{
    self, MANIFEST_KEY, corrupt,
    paging::{Paging, check_kept},
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
        let sealed = self.get(operation, MANIFEST_KEY)?;
        let missing = || self.error(operation, corrupt("manifest", "the record is missing"));
        let sealed = sealed.ok_or_else(missing)?;
        let content = records::content("manifest", b"", &sealed);
        content.map(<[u8]>::to_vec).map_err(|kind| self.error(operation, kind))
    }

    pub(super) fn snapshot_positions(&self, operation: &'static str) -> Result<Vec<Pos>, LogError> {
        let keys = self.inner.db.scan_prefix([records::SNAPSHOT_PREFIX]).keys();
        keys.map(|key| {
            let key = key.map_err(|why| self.classify(operation, &why))?;
            let odd = || self.error(operation, corrupt("a snapshot", "odd key"));
            records::snapshot_pos(&key).ok_or_else(odd)
        })
        .collect()
    }

    pub(super) fn read_snapshot(&self, pos: Pos) -> Result<Option<Vec<u8>>, LogError> {
        let Some(sealed) = self.get("snapshot", &records::snapshot_key(pos))? else {
            return Ok(None);
        };
        let content = records::content(records::snapshot_name(pos), b"", &sealed);
        content.map(|content| Some(content.to_vec())).map_err(|kind| self.error("snapshot", kind))
    }

    pub(super) fn committed(&self) -> Option<Head> {
        self.lock().as_ref().map(|meta| meta.head)
    }

    pub(super) fn read_range(&self, query: &RangeQuery) -> Result<Page, LogError> {
        let Some(head) = self.committed() else { return Ok(Page::default()) };
        check_kept(query, head).map_err(|kind| self.error("range", kind))?;
        if query.after >= head.pos {
            return Ok(Page::default());
        }
        self.read_up_to(head.pos, query).map_err(|error| {
            // Entries that the owner trimmed while we read are missing, and nothing is damaged.
            match check_kept(query, self.committed().unwrap_or_default()) {
                Err(trimmed) => self.error("range", trimmed),
                Ok(()) => error,
            }
        })
    }

    fn read_up_to(&self, head: Pos, query: &RangeQuery) -> Result<Page, LogError> {
        let mut paging = Paging::new(query);
        let end = records::frame_key(head);
        for record in self.inner.db.range(self.frame_with(query.after)?..=IVec::from(&end[..])) {
            let (key, value) = record.map_err(|why| self.classify("range", &why))?;
            let taken = paging.take(&key, &value).map_err(|kind| self.error("range", kind))?;
            if taken.is_break() {
                return Ok(paging.into_full());
            }
        }
        paging.finish(head).map_err(|kind| self.error("range", kind))
    }

    /// The key to begin at: the frame that `after` stands in begins at or before it.
    fn frame_with(&self, after: Pos) -> Result<IVec, LogError> {
        let from = records::frame_key(Pos::ZERO);
        let up_to = records::frame_key(after);
        let before = self.inner.db.range(&from[..]..=&up_to[..]).next_back().transpose();
        let before = before.map_err(|why| self.classify("range", &why))?;
        Ok(before.map_or(IVec::from(&up_to[..]), |(key, _)| key))
    }

    pub(super) fn read_ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
    ) -> Result<Vec<IngressMessage>, LogError> {
        // Held while reading: nobody takes the partition over meanwhile.
        let meta = self.lock();
        if let Some(lease) = lease {
            self.check_lease("ingress", &meta, lease)?;
        }
        let mut messages = Vec::new();
        for record in self.inner.db.scan_prefix([records::MESSAGE_PREFIX]) {
            if messages.len() == limit {
                break;
            }
            let (key, value) = record.map_err(|why| self.classify("ingress", &why))?;
            let message = records::decode_message(b"", &key, &value)
                .map_err(|why| self.error("ingress", corrupt("a message", why)))?;
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
