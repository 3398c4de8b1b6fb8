//! Dead letters as lines of JSON, out of one system and into another.

use serde::{Deserialize, Serialize};
use silvertine_engine::{pos::Pos, text::one_line};
use silvertine_streams::{DeadLetter, DeadState, Message, StoreError, Story, Streams};

use super::{DeadLetters, Filter, PAGE};
use crate::clock::now;

/// A dead letter as one line of JSON. Fields that are text stand as text, others as lists of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterLine {
    /// The id it had.
    #[serde(default)]
    pub id: Option<String>,
    /// The message's fields in order.
    pub fields: Vec<(FieldBytes, FieldBytes)>,
    /// What happened to it.
    pub story: Story,
    /// What people did about it.
    #[serde(default)]
    pub state: DeadState,
}

/// Bytes, shown as text where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldBytes {
    /// Text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl From<&[u8]> for FieldBytes {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl From<FieldBytes> for Vec<u8> {
    fn from(text: FieldBytes) -> Self {
        match text {
            FieldBytes::Text(text) => text.into_bytes(),
            FieldBytes::Bytes(bytes) => bytes,
        }
    }
}

impl LetterLine {
    /// The line of a letter.
    #[must_use]
    pub fn of(id: Pos, letter: &DeadLetter) -> Self {
        let fields = letter.message.fields().iter();
        let fields = fields.map(|(name, value)| (name.as_slice().into(), value.as_slice().into()));
        let DeadLetter { story, state, .. } = letter.clone();
        Self { id: Some(id.to_string()), fields: fields.collect(), story, state }
    }

    /// The letter of a line.
    #[must_use]
    pub fn letter(self) -> DeadLetter {
        let fields = self.fields.into_iter().map(|(name, value)| (name.into(), value.into()));
        let message = Message::from_fields(fields.collect());
        DeadLetter { message, story: self.story, state: self.state }
    }
}

/// Why lines were not imported. Of those before it, all full batches are in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A line is no dead letter.
    #[error("line {line}: {why}; {imported} letters before it are in")]
    Line {
        /// Which, from one.
        line: u64,
        /// Why.
        why: String,
        /// So many letters had been imported.
        imported: u64,
    },
    /// The lines cannot be read.
    #[error("line {line}: {why}; {imported} letters before it are in")]
    Read {
        /// Which, from one.
        line: u64,
        /// Why.
        why: std::io::Error,
        /// So many letters had been imported.
        imported: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Streams> DeadLetters<S> {
    /// Hands each letter that passes `filter` to `write`, oldest first. Returns how many.
    ///
    /// # Errors
    /// The store or `write` fails.
    pub async fn export<E: From<StoreError>>(
        &self,
        filter: &Filter,
        mut write: impl FnMut(LetterLine) -> Result<(), E>,
    ) -> Result<u64, E> {
        let (mut after, mut count) = (Pos::ZERO, 0);
        loop {
            let page = self.page(filter, after, PAGE).await?;
            for (id, letter) in &page.letters {
                write(LetterLine::of(*id, letter))?;
                count += 1;
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(count),
            }
        }
    }

    /// Puts the letters of these lines on the queue; with `dry_run`, only checks them. Returns how many.
    ///
    /// # Errors
    /// [`ImportError`] says which line, and how many letters are in.
    pub async fn import(
        &self,
        lines: impl Iterator<Item = std::io::Result<String>>,
        dry_run: bool,
    ) -> Result<u64, ImportError> {
        let mut imported = 0;
        let result = self.import_lines(lines, dry_run, &mut imported).await;
        if imported > 0 {
            let counts = std::collections::BTreeMap::from([("count", imported)]);
            self.streams.publish(&self.audit("import", &counts), now()).await?;
        }
        result
    }

    async fn import_lines(
        &self,
        lines: impl Iterator<Item = std::io::Result<String>>,
        dry_run: bool,
        imported: &mut u64,
    ) -> Result<u64, ImportError> {
        let mut batch = Vec::new();
        let mut count = 0;
        for (line, text) in (1..).zip(lines) {
            let in_already = *imported;
            let text = text.map_err(|why| ImportError::Read { line, why, imported: in_already })?;
            if text.trim().is_empty() {
                continue;
            }
            let broken = |why: String| ImportError::Line { line, why, imported: in_already };
            let parsed: LetterLine =
                serde_json::from_str(&text).map_err(|why| broken(json_fault(&why)))?;
            let letter = parsed.letter();
            letter.message.check().map_err(|why| broken(why.to_string()))?;
            batch.push(letter);
            count += 1;
            if batch.len() == PAGE {
                *imported += self.bury(&mut batch, dry_run).await?;
            }
        }
        *imported += self.bury(&mut batch, dry_run).await?;
        Ok(count)
    }

    /// Puts a batch on the queue, if it is meant. Returns how many are in.
    async fn bury(&self, batch: &mut Vec<DeadLetter>, dry_run: bool) -> Result<u64, StoreError> {
        let letters = std::mem::take(batch);
        if dry_run || letters.is_empty() {
            return Ok(0);
        }
        self.streams.bury(&self.stream, &letters, now()).await?;
        Ok(letters.len() as u64)
    }
}

/// What is wrong with a line of JSON, without serde's line number, which is always one.
fn json_fault(why: &serde_json::Error) -> String {
    one_line(&why.to_string()).replace(" at line 1 column", " at column")
}
