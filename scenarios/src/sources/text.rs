//! What every line-based source shares: counting, cursors, skipping, the empty file.

use std::{borrow::Cow, path::Path};

use silvertine_engine::{
    event::Body,
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};

use super::lines::{LINE_LIMIT, Line, Lines};

/// The longest reason for a bad row, in bytes: rows can be hostile, and reasons quote them.
const REASON_LIMIT: usize = 200;

/// How one format turns a line into an event.
pub trait Format: Send {
    /// Looks at the first line. Returns whether it is a header (and no row).
    ///
    /// # Errors
    /// Why this is not a file of this format.
    fn header(&mut self, line: &[u8]) -> Result<bool, BadRow> {
        let _no_header_by_default = line;
        Ok(false)
    }

    /// Turns a line into what it says; `None` for one that is of no interest.
    ///
    /// # Errors
    /// Why it makes no sense, in one line.
    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow>;
}

/// Why a line makes no sense, in one line. It converts from text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRow(String);

impl From<String> for BadRow {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<&str> for BadRow {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// When it happened.
    pub event_time: Nanos,
    /// When it was recorded.
    pub recv_time: Nanos,
    /// What happened.
    pub body: Body,
}

/// A file of lines in some format, as a source.
pub struct TextSource<F> {
    name: Name,
    lines: Lines,
    format: F,
    seq: u64,
    /// How many of `seq` went to bad rows: a file of nothing else holds no event.
    bad: u64,
    time: Nanos,
}

impl<F: Format> TextSource<F> {
    /// Opens a file, plain or gzip, and looks at its first line.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be opened or is not of this format.
    pub fn open(path: &Path, name: Name, format: F) -> Result<Self, SourceError> {
        let lines = Lines::open(path)?;
        let mut source = Self { name, lines, format, seq: 0, bad: 0, time: Nanos::ZERO };
        source.skip_header()?;
        Ok(source)
    }

    /// Reads the first line and, when it is not a header, goes back before it.
    fn skip_header(&mut self) -> Result<(), SourceError> {
        if self.lines.next()? == Line::End {
            return Ok(());
        }
        let is_header = self.format.header(self.lines.text()).map_err(|BadRow(why)| {
            SourceError::BadRow { path: self.lines.shown(), line: 1, why }
        })?;
        if is_header { Ok(()) } else { self.lines.seek(0, 0) }
    }
}

impl<F: Format> Source for TextSource<F> {
    fn name(&self) -> Name {
        self.name
    }

    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        loop {
            let parsed = match self.lines.next()? {
                Line::End if self.seq == self.bad => {
                    return Err(SourceError::Empty { path: self.lines.shown() });
                }
                Line::End => return Ok(None),
                Line::TooLong => Err(format!("longer than {LINE_LIMIT} bytes").into()),
                // Blank lines stand at the end of many files.
                Line::Whole if self.lines.text().is_empty() => continue,
                Line::Whole => self.format.parse(self.lines.text()),
            };
            match parsed {
                Ok(None) => {}
                Ok(Some(Parsed { event_time, recv_time, body })) => {
                    self.seq += 1;
                    self.time = recv_time;
                    return Ok(Some(Row::Event(Input {
                        source: self.name,
                        source_seq: self.seq,
                        id: None,
                        event_time,
                        recv_time,
                        body,
                    })));
                }
                Err(BadRow(why)) => {
                    self.seq += 1;
                    self.bad += 1;
                    return Ok(Some(Row::Bad(shortened(why))));
                }
            }
        }
    }

    fn last_row(&self) -> RowOrigin<'_> {
        RowOrigin { line: self.lines.number, bytes: self.lines.text() }
    }

    fn cursor(&self) -> SourceCursor {
        SourceCursor {
            offset: self.lines.offset,
            line: self.lines.number,
            seq: self.seq,
            time: self.time,
            state: [self.bad, 0, 0, 0],
        }
    }

    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
        let [bad, ..] = cursor.state;
        // A line takes at least the byte that ends it, and gives at most one row.
        if cursor.line > cursor.offset || cursor.seq > cursor.line || bad > cursor.seq {
            let why = "the checkpoint is none of this file".to_owned();
            return Err(SourceError::Read { path: self.lines.shown(), line: cursor.line, why });
        }
        self.lines.seek(cursor.line, cursor.offset)?;
        if cursor.line == 0 {
            // The start of the file is before its header, which is no row.
            self.skip_header()?;
        }
        self.seq = cursor.seq;
        self.bad = bad;
        self.time = cursor.time;
        Ok(())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some(self.lines.progress())
    }
}

fn shortened(mut why: String) -> String {
    if why.len() > REASON_LIMIT {
        why.truncate(why.floor_char_boundary(REASON_LIMIT));
        why.push('…');
    }
    why
}

/// The beginning of what a row says, for quoting in a reason.
pub(super) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
}

/// Reads an instrument.
///
/// # Errors
/// Why it cannot be one.
pub(super) fn symbol(text: &str) -> Result<Symbol, String> {
    Symbol::new(text).map_err(|why| format!("symbol {:?} {why}", shown(text.as_bytes())))
}

/// Splits a line at commas into exactly `N` fields. None of these formats quotes.
///
/// # Errors
/// How many fields there are instead.
pub(super) fn fields<const N: usize>(line: &[u8]) -> Result<[&[u8]; N], String> {
    let mut found = [&line[..0]; N];
    let mut count = 0;
    for field in line.split(|&byte| byte == b',') {
        if let Some(slot) = found.get_mut(count) {
            *slot = field.trim_ascii();
        }
        count += 1;
    }
    if count == N { Ok(found) } else { Err(format!("has {count} columns instead of {N}")) }
}

/// Parses plain digits.
pub(super) fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Parses a number of the engine's types, naming the field when it cannot.
pub(super) fn number<T, E: std::fmt::Display>(
    parse: impl Fn(&[u8]) -> Result<T, E>,
    bytes: &[u8],
    field: &str,
) -> Result<T, String> {
    parse(bytes).map_err(|why| format!("{field} {:?} is {why}", shown(bytes), why = Grammar(why)))
}

/// Makes "is" fit in front of a reason.
struct Grammar<E>(E);

impl<E: std::fmt::Display> std::fmt::Display for Grammar<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        let joined = if text.starts_with("more") { format!("given with {text}") } else { text };
        f.write_str(&joined)
    }
}
