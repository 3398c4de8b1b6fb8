//! Raw recordings of Binance's combined websocket streams: `<local receive time, ns> <the JSON as it came>`.
//!
//! Quotes (`bookTicker`) and trades become events. Order book diffs (`depth…`) and REST snapshots are
//! passed over: the engine has no depth yet. Inputs are ordered by the recorder's clock; the
//! exchange's own time is kept as event time where the message has one (spot quotes have none).
//!
//! The futures' trade stream also reports what no order book traded: `X` is then `INSURANCE_FUND`, `ADL` or
//! `NA` instead of `MARKET`, the last with price and quantity zero. They are passed over too: nobody
//! could have traded at those prices. A trade without `X`, as on spot, is one of the market.
//!
//! Nearly every line has one plain shape, which [`flat`](super::flat) reads in a fraction of the time a JSON
//! parser takes. Lines of any other shape go to `serde_json`, which decides what is malformed.

use serde::Deserialize;
use silvertine_engine::{
    event::{Quote, Side, Trade},
    numbers::{Price, Qty},
    time::Nanos,
};

use super::{
    flat::{Value, data_fields},
    text::{BadRow, Format, Parsed, digits, number, shown, symbol},
};

/// The format of raw Binance recordings, spot and USD-M futures alike.
#[derive(Clone, Copy, Debug)]
pub struct Binance {
    /// Whether quotes become events.
    pub quotes: bool,
    /// Whether trades become events.
    pub trades: bool,
}

#[derive(Deserialize)]
struct Message<T> {
    data: T,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct BookTicker<'a> {
    s: &'a str,
    b: &'a str,
    #[serde(rename = "B")]
    bid_qty: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    ask_qty: &'a str,
    /// Transaction time; futures only.
    #[serde(rename = "T")]
    time_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct RawTrade<'a> {
    s: &'a str,
    t: u64,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    time_ms: u64,
    /// The buyer was resting, so the aggressor sold.
    m: bool,
    /// What kind of trade it was; futures only.
    #[serde(rename = "X")]
    origin: Option<&'a str>,
}

/// The value of a field that must come no more than once; `None` where it came before.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

impl<'a> BookTicker<'a> {
    /// Reads a message of the usual shape. Returns `None` for any other, well-formed or not.
    fn scan(json: &'a [u8]) -> Option<Self> {
        let (mut s, mut b, mut bid_qty, mut a, mut ask_qty) = (None, None, None, None, None);
        let mut time_ms = None;
        data_fields(json, |key, value| match (key, value) {
            ("s", Value::Text(text)) => once(&mut s, text),
            ("b", Value::Text(text)) => once(&mut b, text),
            ("B", Value::Text(text)) => once(&mut bid_qty, text),
            ("a", Value::Text(text)) => once(&mut a, text),
            ("A", Value::Text(text)) => once(&mut ask_qty, text),
            ("T", Value::Number(number)) => once(&mut time_ms, number),
            ("s" | "b" | "B" | "a" | "A" | "T", _) => None,
            _ => Some(()),
        })?;
        Some(Self { s: s?, b: b?, bid_qty: bid_qty?, a: a?, ask_qty: ask_qty?, time_ms })
    }
}

impl<'a> RawTrade<'a> {
    /// Reads a message of the usual shape. Returns `None` for any other, well-formed or not.
    fn scan(json: &'a [u8]) -> Option<Self> {
        let (mut s, mut t, mut p, mut q) = (None, None, None, None);
        let (mut time_ms, mut m, mut origin) = (None, None, None);
        data_fields(json, |key, value| match (key, value) {
            ("s", Value::Text(text)) => once(&mut s, text),
            ("t", Value::Number(number)) => once(&mut t, number),
            ("p", Value::Text(text)) => once(&mut p, text),
            ("q", Value::Text(text)) => once(&mut q, text),
            ("T", Value::Number(number)) => once(&mut time_ms, number),
            ("m", Value::Flag(flag)) => once(&mut m, flag),
            ("X", Value::Text(text)) => once(&mut origin, text),
            ("s" | "t" | "p" | "q" | "T" | "m" | "X", _) => None,
            _ => Some(()),
        })?;
        Some(Self { s: s?, t: t?, p: p?, q: q?, time_ms: time_ms?, m: m?, origin })
    }
}

impl Format for Binance {
    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let space = line.iter().position(|&byte| byte == b' ');
        let (stamp, json) = line.split_at(space.ok_or("has no receive time in front")?);
        let recv_time =
            digits(stamp).map(Nanos).ok_or("does not begin with a receive time in ns")?;
        let json = &json[1..];
        match stream_kind(json)? {
            Kind::BookTicker if self.quotes => Ok(Some(quote(json, recv_time)?)),
            Kind::Trade if self.trades => Ok(trade(json, recv_time)?),
            Kind::BookTicker | Kind::Trade | Kind::Depth => Ok(None),
        }
    }
}

enum Kind {
    BookTicker,
    Trade,
    Depth,
}

/// The kind of a message by the name of its stream, which comes first in every message.
fn stream_kind(json: &[u8]) -> Result<Kind, String> {
    if json.starts_with(br#"{"lastUpdateId""#) {
        return Ok(Kind::Depth);
    }
    let name = json
        .strip_prefix(br#"{"stream":""#)
        .and_then(|rest| rest.split(|&byte| byte == b'"').next())
        .ok_or("is not a message of a combined stream")?;
    let kind = name.split(|&byte| byte == b'@').nth(1).unwrap_or_default();
    match kind {
        b"bookTicker" => Ok(Kind::BookTicker),
        b"trade" => Ok(Kind::Trade),
        kind if kind.starts_with(b"depth") => Ok(Kind::Depth),
        _ => Err(format!("comes from an unknown stream {:?}", shown(name))),
    }
}

fn decode<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let message: Message<T> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    Ok(message.data)
}

fn from_ms(ms: u64) -> Result<Nanos, String> {
    Nanos::from_ms(ms).ok_or_else(|| format!("time {ms} ms is out of range"))
}

fn quote(json: &[u8], recv_time: Nanos) -> Result<Parsed, String> {
    let raw = BookTicker::scan(json).map_or_else(|| decode(json), Ok)?;
    let event_time = raw.time_ms.map_or(Ok(recv_time), from_ms)?;
    let quote = Quote {
        symbol: symbol(raw.s)?,
        bid: number(Price::parse, raw.b.as_bytes(), "bid")?,
        bid_qty: number(Qty::parse, raw.bid_qty.as_bytes(), "bid quantity")?,
        ask: number(Price::parse, raw.a.as_bytes(), "ask")?,
        ask_qty: number(Qty::parse, raw.ask_qty.as_bytes(), "ask quantity")?,
    };
    Ok(Parsed { event_time, recv_time, body: quote.into() })
}

fn trade(json: &[u8], recv_time: Nanos) -> Result<Option<Parsed>, String> {
    let raw = RawTrade::scan(json).map_or_else(|| decode(json), Ok)?;
    if raw.origin.is_some_and(|origin| origin != "MARKET") {
        return Ok(None);
    }
    let event_time = from_ms(raw.time_ms)?;
    let trade = Trade {
        symbol: symbol(raw.s)?,
        trade_id: raw.t,
        price: number(Price::parse, raw.p.as_bytes(), "price")?,
        qty: number(Qty::parse, raw.q.as_bytes(), "quantity")?,
        aggressor: if raw.m { Side::Sell } else { Side::Buy },
    };
    Ok(Some(Parsed { event_time, recv_time, body: trade.into() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKER: &str = r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"61837.63","B":"3.7","a":"61837.64","A":"1.5","T":17,"E":18}}"#;
    const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":18,"T":17,"s":"BTCUSDT","t":5,"p":"61837.63","q":"0.02","X":"MARKET","m":true}}"#;

    #[test]
    fn messages_of_the_usual_shape_need_no_json_parser() {
        assert!(BookTicker::scan(TICKER.as_bytes()).is_some());
        assert!(RawTrade::scan(TRADE.as_bytes()).is_some());
    }

    proptest! {
        /// Both parsers give the same result for every message that the fast one accepts.
        #[test]
        fn what_the_scanner_accepts_the_json_parser_reads_the_same(
            is_trade: bool,
            edits in proptest::collection::vec(
                (any::<prop::sample::Index>(), 0..3_u8, prop::sample::select(b"\"\\{}:,0159eTtmXsn.- \x01\xc3".to_vec())),
                0..4,
            ),
        ) {
            let mut json = if is_trade { TRADE } else { TICKER }.as_bytes().to_vec();
            for (at, kind, byte) in edits {
                let at = at.index(json.len());
                match kind {
                    0 => json[at] = byte,
                    1 => json.insert(at, byte),
                    _ => drop(json.remove(at)),
                }
            }
            if let Some(scanned) = BookTicker::scan(&json) {
                prop_assert_eq!(Ok(scanned), decode(&json));
            }
            if let Some(scanned) = RawTrade::scan(&json) {
                prop_assert_eq!(Ok(scanned), decode(&json));
            }
        }
    }
}
