//! Short names held inline. Events on the hot path need no allocation for them, and no global table of interned strings,
//! whose order would depend on the run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not a [`Symbol`] or a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// Longer than the type holds.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// A control character or a space, which logs and keys cannot carry safely.
    #[error("holds a space or a control character")]
    Unprintable,
}

/// Makes foreign text, such as a parser's message about a hostile file, safe for one line of a log or a terminal: white
/// space becomes single spaces, and other control characters are escaped.
#[must_use]
pub fn one_line(said: &str) -> String {
    let mut line = String::with_capacity(said.len());
    for word in said.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if c.is_control() {
                line.extend(c.escape_debug());
            } else {
                line.push(c);
            }
        }
    }
    line
}

/// Whether these are ASCII letters, digits and signs alone, as nearly every name is.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

macro_rules! inline_text {
    ($name:ident, $capacity:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// Never empty (except for [`Default`], which no parser produces), no spaces, no control
        /// characters. Compared and ordered as bytes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            bytes: [u8; $capacity],
            len: u8,
        }

        impl $name {
            /// The most bytes it holds.
            pub const CAPACITY: usize = $capacity;

            /// The name spelled `text`.
            ///
            /// # Errors
            /// [`TextError`] when it is empty, too long or holds a space or control character.
            pub fn new(text: &str) -> Result<Self, TextError> {
                if text.is_empty() {
                    return Err(TextError::Empty);
                }
                if text.len() > Self::CAPACITY {
                    return Err(TextError::TooLong(Self::CAPACITY));
                }
                if !is_plain(text.as_bytes())
                    && text.chars().any(|c| c.is_control() || c.is_whitespace())
                {
                    return Err(TextError::Unprintable);
                }
                let mut bytes = [0; $capacity];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                // The capacity is below 256, so the length always fits.
                Ok(Self { bytes, len: text.len() as u8 })
            }

            /// The name that these untrusted bytes spell.
            pub(crate) fn from_bytes(text: &[u8]) -> Result<Self, TextError> {
                if text.is_empty() || text.len() > Self::CAPACITY || !is_plain(text) {
                    let text = std::str::from_utf8(text).map_err(|_| TextError::Unprintable)?;
                    return Self::new(text);
                }
                let mut bytes = [0; $capacity];
                bytes[..text.len()].copy_from_slice(text);
                Ok(Self { bytes, len: text.len() as u8 })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(self.as_bytes()).unwrap_or_default()
            }

            /// The text as bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes[..usize::from(self.len)]
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { bytes: [0; $capacity], len: 0 }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(self.as_str())
                } else {
                    // Postcard writes text and bytes alike; bytes need not be looked through as text again.
                    serializer.serialize_bytes(self.as_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a name of 1 to {} bytes without spaces", $capacity)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(|why| E::custom(format!("{text:?} {why}")))
                    }
                    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<$name, E> {
                        $name::from_bytes(text).map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    deserializer.deserialize_bytes(Visitor)
                }
            }
        }
    };
}

inline_text!(
    Symbol,
    23,
    "The symbol of an instrument, such as `BTCUSDT`; 23 bytes hold an OCC option symbol."
);
inline_text!(Name, 31, "The name of a handler, a strategy, a producer or a source.");

impl Name {
    /// The text as bytes, padded with zeros to the full capacity. Copying a fixed size is faster.
    pub(crate) const fn padded(&self) -> &[u8; Self::CAPACITY] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_short_printable_and_never_empty() {
        assert_eq!(Symbol::new("BTCUSDT").expect("valid").as_str(), "BTCUSDT");
        assert_eq!(Symbol::new(""), Err(TextError::Empty));
        assert_eq!(Symbol::new(&"x".repeat(24)), Err(TextError::TooLong(23)));
        assert_eq!(Symbol::new("A B"), Err(TextError::Unprintable));
        assert_eq!(Symbol::new("A\n"), Err(TextError::Unprintable));
    }

    #[test]
    fn foreign_words_neither_break_the_line_nor_steer_the_terminal() {
        assert_eq!(one_line(" a\r\n  b\u{1b}[2J\0c\u{85}"), "a b\\u{1b}[2J\\0c");
    }

    #[test]
    fn decoding_checks_what_new_checks() {
        let too_long = postcard::to_stdvec(&"x".repeat(24)).expect("serializes");
        assert!(postcard::from_bytes::<Symbol>(&too_long).is_err());
        let empty = postcard::to_stdvec("").expect("serializes");
        assert!(postcard::from_bytes::<Name>(&empty).is_err());
    }
}
