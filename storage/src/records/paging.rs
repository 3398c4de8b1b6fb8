//! A page out of the frames that a store hands out: every record is checked, every gap is noticed.

use std::ops::ControlFlow;

use silvertine_engine::{
    log::{Batch, Head, LogErrorKind, Page, RangeQuery},
    pos::Pos,
};

use super::{corrupt, frame};

/// Entries from `after` on are kept, or the reader must be told (L8).
pub(crate) fn check_kept(query: &RangeQuery, head: Head) -> Result<(), LogErrorKind> {
    if query.after.seq < head.trimmed.seq {
        return Err(LogErrorKind::Trimmed { through: head.trimmed });
    }
    Ok(())
}

/// Takes frames in order, from the one that holds the first wanted entry to the one that fills the page.
pub(crate) struct Paging<'q> {
    query: &'q RangeQuery,
    page: Page,
    last_seq: Option<u64>,
}

impl<'q> Paging<'q> {
    pub(crate) fn new(query: &'q RangeQuery) -> Self {
        Self { query, page: Page::default(), last_seq: None }
    }

    /// Takes the next frame; breaks when the page is full.
    pub(crate) fn take(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<ControlFlow<()>, LogErrorKind> {
        let frame = frame::decode_at(key, value)?;
        self.check_adjoins(&frame)?;
        self.last_seq = frame.last_pos().map(|last| last.seq);
        self.copy_wanted(&frame)
    }

    /// The page that [`Self::take`] filled.
    pub(crate) fn into_full(self) -> Page {
        self.page
    }

    /// The page once there is no further frame up to the head.
    pub(crate) fn finish(self, head: Pos) -> Result<Page, LogErrorKind> {
        if self.last_seq == Some(head.seq) {
            return Ok(self.page);
        }
        Err(corrupt(head, "entries below the head are missing"))
    }

    /// No entry is missing between this frame and the one before it, or between `after` and the first one.
    fn check_adjoins(&self, frame: &Batch) -> Result<(), LogErrorKind> {
        let first = frame.first_pos().unwrap_or_default();
        let adjoins = match self.last_seq {
            Some(last) => last.checked_add(1) == Some(first.seq),
            None => first.seq <= self.query.after.seq.saturating_add(1),
        };
        if adjoins {
            return Ok(());
        }
        let missing = self.last_seq.unwrap_or(self.query.after.seq).saturating_add(1);
        Err(corrupt(first, format!("entries from number {missing} on are missing")))
    }

    /// Copies what was asked for; breaks when the page is full and says where to go on.
    fn copy_wanted(&mut self, frame: &Batch) -> Result<ControlFlow<()>, LogErrorKind> {
        let page = &mut self.page;
        for at in frame.first_after(self.query.after)..frame.len() {
            let entry = frame.get(at);
            if !self.query.topics.contains(entry.topic) {
                continue;
            }
            if page.entries.len() == self.query.limit {
                page.next = page.entries.last_pos();
                return Ok(ControlFlow::Break(()));
            }
            page.entries.push_encoded(entry.bytes).map_err(|why| corrupt(entry.pos, why))?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
