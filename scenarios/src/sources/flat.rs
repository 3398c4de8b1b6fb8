//! A scanner for the one shape that nearly every line of a recording has: `{"stream":"…","data":{…}}`, where
//! the inner object holds plain texts, whole numbers and truth values.
//!
//! It accepts less than JSON and nothing that is not JSON: no white space, escapes, nesting, signs,
//! fractions or characters outside ASCII. It never says why; that is the JSON parser's part.

use super::text::digits;

/// A value of the inner object.
pub(super) enum Value<'a> {
    /// A text without escapes.
    Text(&'a str),
    /// A whole number without a sign.
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
}

/// Hands each key and value of the inner object to `field`, which answers `None` to give up.
///
/// `None` when the message has another shape; some fields may have been handed out by then.
pub(super) fn data_fields<'a>(
    json: &'a [u8],
    mut field: impl FnMut(&'a str, Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut scanner = Scanner { rest: json };
    scanner.literal(br#"{"stream":"#)?;
    scanner.text()?;
    scanner.literal(br#","data":{"#)?;
    loop {
        let key = scanner.text()?;
        scanner.literal(b":")?;
        let value = scanner.value()?;
        field(key, value)?;
        match scanner.rest {
            [b',', rest @ ..] => scanner.rest = rest,
            b"}}" => return Some(()),
            _ => return None,
        }
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        self.literal(b"\"")?;
        let special = |&byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..);
        let end = self.rest.iter().position(special)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.literal(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.rest.first()? {
            b'"' => self.text().map(Value::Text),
            b't' => self.literal(b"true").map(|()| Value::Flag(true)),
            b'f' => self.literal(b"false").map(|()| Value::Flag(false)),
            _ => self.number().map(Value::Number),
        }
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (number, rest) = self.rest.split_at(end);
        if number.len() > 1 && number[0] == b'0' {
            return None;
        }
        self.rest = rest;
        digits(number)
    }
}
