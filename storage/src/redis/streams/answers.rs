//! Reading what Redis answers.

use redis::Value;
use silvertine_engine::pos::Pos;
use silvertine_streams::Message;

pub(super) use super::super::values::{bytes, text};

/// What is not as it should be, for messages.
pub(super) type Parsed<T> = Result<T, &'static str>;

pub(super) fn array(value: Value) -> Parsed<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        _ => Err("a list is missing"),
    }
}

/// A list of so many parts.
pub(super) fn parts<const N: usize>(value: Value) -> Parsed<[Value; N]> {
    array(value)?.try_into().map_err(|_| "a list has another length")
}

pub(super) fn id(value: &Value) -> Parsed<Pos> {
    let text = bytes(value).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).ok_or("an id is missing")
}

pub(super) fn number(value: &Value) -> Parsed<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        other => text(other).and_then(|text| text.parse().ok()).ok_or("a number is missing"),
    }
}

/// A count; those that a foreign hand made negative are none.
pub(super) fn count(value: &Value) -> Parsed<u64> {
    Ok(u64::try_from(number(value)?).unwrap_or(0))
}

pub(super) fn owned(value: Value) -> Parsed<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err("a text is missing"),
    }
}

/// A message's fields; `None` where it is gone.
pub(super) fn message(value: Value) -> Parsed<Option<Message>> {
    if value == Value::Nil {
        return Ok(None);
    }
    let fields = array(value)?;
    let mut read = Vec::with_capacity(fields.len() / 2);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        read.push((owned(name)?, owned(value)?));
    }
    Ok(Some(Message::from_fields(read)))
}

/// Entries of one stream.
pub(super) fn entries(value: Value) -> Parsed<Vec<(Pos, Option<Message>)>> {
    let entry = |entry| {
        let [at, fields] = parts(entry)?;
        Ok((id(&at)?, message(fields)?))
    };
    array(value)?.into_iter().map(entry).collect()
}

/// Entries of several streams with the streams' names, as `XREADGROUP` answers; none for nothing.
pub(super) fn streams(value: Value) -> Parsed<Vec<(Vec<u8>, Value)>> {
    let pairs = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Map(pairs) => pairs,
        value => {
            let pair = |pair| parts(pair).map(|[name, entries]| (name, entries));
            array(value)?.into_iter().map(pair).collect::<Parsed<_>>()?
        }
    };
    pairs.into_iter().map(|(name, entries)| Ok((owned(name)?, entries))).collect()
}
