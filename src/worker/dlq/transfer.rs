//! Dead letters as lines of JSON, out of one system and into another.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    log::{LogError, Pos},
    text::one_line,
    worker::{DeadLetter, DeadState, Message, Story, Streams},
};

use super::{DeadLetters, Filter, PAGE};
use crate::worker::now;

/// A dead letter as one line of JSON. Fields that are text stand as text, others as lists of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The id it had.
    #[serde(default)]
    pub id: Option<String>,
    /// The message's fields in order.
    pub fields: Vec<(Text, Text)>,
    /// What happened to it.
    pub story: Story,
    /// What people did about it.
    #[serde(default)]
    pub state: DeadState,
}

/// Bytes, shown as text where they are text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// Text.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl From<Text> for Vec<u8> {
    fn from(text: Text) -> Self {
        match text {
            Text::Text(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }
}

impl Line {
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

/// Why lines were not imported. Lines before it were.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is no dead letter.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from one.
        line: u64,
        /// Why.
        why: String,
    },
    /// The lines cannot be read.
    #[error("line {line}: {why}")]
    Read {
        /// Which, from one.
        line: u64,
        /// Why.
        why: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] LogError),
}

impl<S: Streams> DeadLetters<S> {
    /// Hands each letter that passes `filter` to `write`, oldest first. Returns how many.
    ///
    /// # Errors
    /// The store or `write` fails.
    pub async fn export<E: From<LogError>>(
        &self,
        filter: &Filter,
        mut write: impl FnMut(Line) -> Result<(), E>,
    ) -> Result<u64, E> {
        let (mut after, mut count) = (Pos::ZERO, 0);
        loop {
            let page = self.page(filter, after, PAGE).await?;
            for (id, letter) in &page.letters {
                write(Line::of(*id, letter))?;
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
    /// [`ImportError`] says which line; those before its batch of 256 are in.
    pub async fn import(
        &self,
        lines: impl Iterator<Item = std::io::Result<String>>,
        dry_run: bool,
    ) -> Result<u64, ImportError> {
        let mut batch = Vec::new();
        let mut count = 0;
        for (line, text) in (1..).zip(lines) {
            let text = text.map_err(|why| ImportError::Read { line, why })?;
            if text.trim().is_empty() {
                continue;
            }
            let parsed: Line = serde_json::from_str(&text)
                .map_err(|why| ImportError::Line { line, why: one_line(&why.to_string()) })?;
            let letter = parsed.letter();
            let broken = |why: String| ImportError::Line { line, why };
            letter.message.check().map_err(|why| broken(why.to_string()))?;
            batch.push(letter);
            count += 1;
            if batch.len() == PAGE {
                self.bury(&mut batch, dry_run).await?;
            }
        }
        self.bury(&mut batch, dry_run).await?;
        if count > 0 && !dry_run {
            let audit = self.audit("import", &std::collections::BTreeMap::from([("count", count)]));
            self.streams.publish(&audit, now()).await?;
        }
        Ok(count)
    }

    async fn bury(&self, batch: &mut Vec<DeadLetter>, dry_run: bool) -> Result<(), LogError> {
        if !dry_run && !batch.is_empty() {
            self.streams.bury(&self.stream, batch, now()).await?;
        }
        batch.clear();
        Ok(())
    }
}
