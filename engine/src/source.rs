//! Sources of inputs: files, generators, anything that can be read again from a cursor.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Body, EventId, Invalid, validate, validate_time},
    text::Name,
    time::Nanos,
};

/// An event that enters the engine and has no position yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The producer.
    pub source: Name,
    /// The producer's own number for it: strictly increasing from one.
    pub source_seq: u64,
    /// An id of the producer's own. Without it, the id derives from source and number.
    pub id: Option<EventId>,
    /// When it happened, where it happened.
    pub event_time: Nanos,
    /// When it was received. Inputs are merged by this time, and it moves a virtual clock.
    pub recv_time: Nanos,
    /// The event's content.
    pub body: Body,
}

impl Input {
    /// Checks the times and the rules of the event's kind. A feed hands only checked inputs to the engine.
    ///
    /// # Errors
    /// [`Invalid`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), Invalid> {
        validate_time(self.event_time, "event_time")?;
        validate_time(self.recv_time, "recv_time")?;
        validate(&self.body)
    }
}

/// A stream of recorded or generated rows, read row by row and never held in memory as a whole.
pub trait Source: Send {
    /// The name that its events carry.
    fn name(&self) -> Name;

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// The data cannot be read any further. A single row that does not parse is no error but [`Row::Bad`]; the next call
    /// continues with the row after it.
    fn next_row(&mut self) -> Result<Option<Row>, SourceError>;

    /// Where the row that [`next_row`](Self::next_row) last returned came from, for messages.
    fn last_row(&self) -> RowOrigin<'_>;

    /// The cursor from which reading continues with the row after the last one returned.
    fn cursor(&self) -> SourceCursor;

    /// Continues with the row after the one at which `cursor` was taken.
    ///
    /// # Errors
    /// The data does not reach that far any more.
    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError>;

    /// How much there is in all and how much of it has been read, in the same unit (bytes of the
    /// file, rows), for a progress bar. `None` where nobody knows.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}

/// One row of a source.
#[expect(
    clippy::large_enum_variant,
    reason = "events are the rule; boxing them would cost an allocation each"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It is an event.
    Event(Input),
    /// It is not an event; the reason in one line.
    Bad(String),
}

/// Where a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrigin<'a> {
    /// Line (or record number), counted from one.
    pub line: u64,
    /// The row's bytes as they came, as far as they were read.
    pub bytes: &'a [u8],
}

/// A point in a source from which reading continues. Each source defines what the fields mean; all zero is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCursor {
    /// Bytes (of the decompressed data) or rows read so far.
    pub offset: u64,
    /// Lines read so far.
    pub line: u64,
    /// The last sequence number given to an event.
    pub seq: u64,
    /// The receive time of the last event.
    pub time: Nanos,
    /// State of the source's own, such as a generator's.
    pub state: [u64; 4],
}

/// Why a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be opened.
    #[error("{path}: {why}")]
    Open {
        /// The file as the user named it.
        path: String,
        /// Why.
        why: String,
    },
    /// Reading failed after the source was opened.
    #[error("{path}: line {line}: {why}")]
    Read {
        /// The file as the user named it.
        path: String,
        /// The last line that was read, counted from one.
        line: u64,
        /// Why.
        why: String,
    },
    /// It holds no event.
    #[error("{path}: holds no event")]
    Empty {
        /// The file as the user named it.
        path: String,
    },
    /// A row is no valid event and the policy is to stop.
    #[error("{path}: line {line}: {why}")]
    BadRow {
        /// The file as the user named it.
        path: String,
        /// The line, counted from one.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}
