//! Failures of handlers: their class decides what becomes of the message.

use std::{borrow::Cow, error::Error, io};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use silvertine_engine::{span::Span, text::one_line};

/// The longest reason kept, in bytes.
const TEXT_MAX: usize = 1024;
/// The most causes kept behind a reason.
const CHAIN_MAX: usize = 8;

/// The class of a failure, which decides what becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It may pass, such as a time-out, a lost connection or an overloaded service. The message is tried again.
    Transient,
    /// It will not pass: the message asks for something impossible. The message becomes a dead letter.
    Permanent,
    /// The message itself does harm: it does not decode, makes the handler panic, or kills its process. The message
    /// becomes a dead letter at once.
    Poison,
}

impl Class {
    /// The name used in files, fields and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Poison => "poison",
        }
    }
}

/// Says what an error means for the message. By default an error is transient, because one more attempt does less harm
/// than giving up a message that might have been handled.
pub trait Classify: Error {
    /// What becomes of the message.
    fn class(&self) -> Class {
        Class::Transient
    }

    /// A short stable name for this kind of error, by which dead letters are counted.
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed("unknown")
    }

    /// The pause that the failed service asked for, such as by `Retry-After`; replaces a shorter backoff.
    fn retry_after(&self) -> Option<Span> {
        None
    }
}

impl Classify for io::Error {
    fn class(&self) -> Class {
        match self.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied => Class::Permanent,
            _ => Class::Transient,
        }
    }

    fn code(&self) -> Cow<'static, str> {
        Cow::Owned(format!("io_{:?}", self.kind()).to_ascii_lowercase())
    }
}

/// A failure of a handler, as dead letters record it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerFailure {
    /// What becomes of the message.
    pub class: Class,
    /// A short stable name for this kind of failure.
    pub code: String,
    /// One line for people, at most a kibibyte.
    pub text: String,
    /// What caused it, nearest cause first.
    pub chain: Vec<String>,
    /// The pause that the failed service asked for.
    pub retry_after: Option<Span>,
}

impl HandlerFailure {
    /// A failure of this class with a text of one line.
    #[must_use]
    pub fn new(class: Class, code: &str, text: &str) -> Self {
        Self { class, code: short(code), text: short(text), chain: Vec::new(), retry_after: None }
    }

    /// The failure that `error` and its causes describe.
    #[must_use]
    pub fn of<E: Classify>(error: &E) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let chain = causes.take(CHAIN_MAX).map(|cause| short(&cause.to_string())).collect();
        let retry_after = error.retry_after();
        let failure = Self::new(error.class(), &error.code(), &error.to_string());
        Self { chain, retry_after, ..failure }
    }

    /// A number that failures of the same kind share: class, code, handler, and the text without its numbers.
    #[must_use]
    pub fn fingerprint(&self, handler: &str) -> u64 {
        let digits_gone = self.text.chars().filter(|c| !c.is_ascii_digit());
        let text: String = digits_gone.collect();
        xxh3_64([self.class.as_str(), &self.code, handler, &text].join("\0").as_bytes())
    }
}

/// One line of at most a kibibyte.
fn short(said: &str) -> String {
    let mut line = one_line(said);
    if line.len() > TEXT_MAX {
        let cut = (0..=TEXT_MAX - 3).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the broker did not answer")]
    struct Silent(#[source] io::Error);

    impl Classify for Silent {}

    #[test]
    fn an_error_that_says_nothing_of_itself_is_transient_and_keeps_its_causes() {
        let cause = io::Error::new(io::ErrorKind::TimedOut, "10 s are over");
        let failure = HandlerFailure::of(&Silent(cause));
        assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "unknown"));
        assert_eq!(failure.chain, ["10 s are over"]);
    }

    #[test]
    fn failures_that_differ_in_numbers_alone_share_a_fingerprint() {
        let failure =
            |text| HandlerFailure::new(Class::Permanent, "rejected", text).fingerprint("broker");
        assert_eq!(failure("order 17 refused"), failure("order 4711 refused"));
        assert_ne!(failure("order 17 refused"), failure("order 17 unknown"));
        let other =
            HandlerFailure::new(Class::Permanent, "rejected", "order 17 refused").fingerprint("x");
        assert_ne!(failure("order 17 refused"), other);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = HandlerFailure::new(Class::Poison, "x", &"é".repeat(2000)).text;
        assert!(long.len() <= TEXT_MAX && long.ends_with('…'), "{}", long.len());
    }
}
