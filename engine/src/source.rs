//! Where inputs come from: files, generators, anything that can be read again from a cursor.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Body, EventId, Invalid, validate, validate_time},
    text::Name,
    time::Nanos,
};

/// An event on its way in, before it has a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Who says it.
    pub source: Name,
    /// The producer's own number for it: strictly increasing from one.
    pub source_seq: u64,
    /// An id of the producer's own. Without it, the id derives from source and number.
    pub id: Option<EventId>,
    /// When it happened, where it happened.
    pub event_time: Nanos,
    /// When it was received: what inputs merge by and what moves a virtual clock.
    pub recv_time: Nanos,
    /// What it says.
    pub body: Body,
}

impl Input {
    /// Checks what an input must keep before the engine may have it: its times, and the rules of its kind.
    ///
    /// # Errors
    /// [`Invalid`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), Invalid> {
        validate_time(self.event_time, "event_time")?;
        validate_time(self.recv_time, "recv_time")?;
        validate(&self.body)
    }
}

/// A stream of recorded or generated rows. It is read row by row and never held whole.
pub trait Source: Send {
    /// The name that its events carry.
    fn name(&self) -> Name;

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// The data cannot be read any further. A single row that makes no sense is no error but
    /// [`Row::Bad`]; the reader goes on behind it if asked again.
    fn next_row(&mut self) -> Result<Option<Row>, SourceError>;

    /// Where the row that [`next_row`](Self::next_row) last returned came from, for messages.
    fn last_row(&self) -> RowOrigin<'_>;

    /// How to continue behind the row last returned.
    fn cursor(&self) -> SourceCursor;

    /// Continues behind the row that `cursor` was taken at.
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
    /// It is not; the reason in one line.
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

/// How to continue a source. What the fields mean is the source's own affair; all zero is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCursor {
    /// Bytes (of the decompressed data) or rows behind us.
    pub offset: u64,
    /// Lines behind us.
    pub line: u64,
    /// The last sequence number given to an event.
    pub seq: u64,
    /// The receive time of the last event.
    pub time: Nanos,
    /// Private state, such as a generator's.
    pub state: [u64; 4],
}

/// Why a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("{path}: {why}")]
    Open {
        /// The file as the user named it.
        path: String,
        /// Why.
        why: String,
    },
    /// Reading failed on the way.
    #[error("{path}: line {line}: {why}")]
    Read {
        /// The file as the user named it.
        path: String,
        /// The line behind which it failed, counted from one.
        line: u64,
        /// Why.
        why: String,
    },
    /// There is nothing in it.
    #[error("{path}: holds no event")]
    Empty {
        /// The file as the user named it.
        path: String,
    },
    /// A row makes no sense and the policy is to stop.
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
