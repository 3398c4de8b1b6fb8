//! Several sources merged into one stream, ordered by (time, source order, order within the source).

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Feed, FeedError, Polled};
use crate::{
    digest::fingerprint,
    event::{System, validate_time},
    source::{Input, Row, Source, SourceCursor, SourceError},
    time::Nanos,
};

/// What to do about a row that is no valid event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Stop the run there.
    #[default]
    Stop,
    /// Record the refusal and continue.
    Skip,
}

/// A source as part of a merge.
pub struct MergedSource {
    source: Box<dyn Source>,
    /// Its name in messages: the file as the user named it.
    label: String,
    on_bad_row: OnBadRow,
    pending: Option<Input>,
    ended: bool,
    /// The cursor after the input last taken.
    taken: SourceCursor,
}

impl MergedSource {
    /// A source with its policy for bad rows; `label` is its name in error messages.
    #[must_use]
    pub fn new(source: Box<dyn Source>, label: impl Into<String>, on_bad_row: OnBadRow) -> Self {
        let taken = source.cursor();
        Self { source, label: label.into(), on_bad_row, pending: None, ended: false, taken }
    }

    /// Makes sure that the next input is pending, unless the source has ended.
    #[inline]
    fn fill(&mut self) -> Result<(), SourceError> {
        if self.pending.is_some() || self.ended {
            return Ok(());
        }
        let why = match self.source.next_row()? {
            Some(Row::Event(input)) => match input.check() {
                Ok(()) => {
                    // Written to its place at once: inputs are not small.
                    self.pending = Some(input);
                    return Ok(());
                }
                Err(invalid) => invalid.to_string(),
            },
            Some(Row::Bad(why)) => why,
            None => {
                self.ended = true;
                return Ok(());
            }
        };
        self.pending = Some(self.refuse(why)?);
        Ok(())
    }

    /// Turns the row just read into a recorded refusal, or stops.
    #[cold]
    fn refuse(&self, why: String) -> Result<Input, SourceError> {
        let origin = self.source.last_row();
        if self.on_bad_row == OnBadRow::Stop {
            return Err(SourceError::BadRow { path: self.label.clone(), line: origin.line, why });
        }
        tracing::warn!(source = %self.label, line = origin.line, %why, "row refused");
        let cursor = self.source.cursor();
        // The time in a bad row cannot be trusted: it may be what is wrong with the row.
        let trusted = validate_time(cursor.time, "recv_time").is_ok();
        let time = if trusted { cursor.time } else { Nanos::ZERO };
        let reason = why[..why.floor_char_boundary(1024)].to_owned();
        let digest = fingerprint(origin.bytes);
        Ok(Input {
            source: self.source.name(),
            source_seq: cursor.seq,
            id: None,
            event_time: time,
            recv_time: time,
            body: System::Rejected { reason, line: Some(origin.line), digest }.into(),
        })
    }
}

/// The cursors after the inputs last taken, serialized as a list.
struct Taken<'a>(&'a [MergedSource]);

impl Serialize for Taken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|lane| lane.taken))
    }
}

/// Sources merged into one feed.
pub struct Merge {
    lanes: Vec<MergedSource>,
    /// The lane that `poll` found first.
    ready: Option<usize>,
}

impl Merge {
    /// Merges sources; at equal times the earlier one in the list goes first.
    #[must_use]
    pub fn new(lanes: Vec<MergedSource>) -> Self {
        Self { lanes, ready: None }
    }

    fn find_next(&mut self) -> Result<Polled, SourceError> {
        self.ready = None;
        let mut first = None;
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            lane.fill()?;
            let Some(pending) = &lane.pending else { continue };
            if first.is_none_or(|earliest| pending.recv_time < earliest) {
                first = Some(pending.recv_time);
                self.ready = Some(at);
            }
        }
        Ok(first.map_or(Polled::End, Polled::Ready))
    }
}

impl Feed for Merge {
    async fn poll(&mut self, _wait: Duration) -> Result<Polled, FeedError> {
        Ok(self.find_next()?)
    }

    fn take(&mut self) -> Input {
        let lane = self.ready.take().map(|at| &mut self.lanes[at]);
        let lane = lane.expect("poll must have found an input");
        lane.taken = lane.source.cursor();
        lane.pending.take().expect("a ready lane has an input")
    }

    fn checkpoint(&self) -> Vec<u8> {
        // A cursor takes about thirty bytes.
        let buffer = Vec::with_capacity(8 + 32 * self.lanes.len());
        postcard::to_extend(&Taken(&self.lanes), buffer).expect("cursors are plain numbers")
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError> {
        let cursors: Vec<SourceCursor> = postcard::from_bytes(checkpoint)
            .map_err(|why| FeedError::Checkpoint(why.to_string()))?;
        if cursors.len() != self.lanes.len() {
            let why =
                format!("it is of {} sources, this run has {}", cursors.len(), self.lanes.len());
            return Err(FeedError::Checkpoint(why));
        }
        for (lane, cursor) in self.lanes.iter_mut().zip(cursors) {
            lane.source.seek(cursor)?;
            lane.taken = cursor;
            lane.pending = None;
            lane.ended = false;
        }
        Ok(())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let add = |sum: (u64, u64), (read, all): (u64, u64)| (sum.0 + read, sum.1 + all);
        self.lanes
            .iter()
            .map(|lane| lane.source.progress())
            .try_fold((0, 0), |sum, progress| progress.map(|progress| add(sum, progress)))
    }
}
