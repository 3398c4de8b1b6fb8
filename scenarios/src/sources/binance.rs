//! Raw recordings of Binance's combined websocket streams: `<local receive time, ns> <the JSON as it came>`.
//!
//! Quotes (`bookTicker`) and trades become events. Order book diffs (`depth…`) and REST snapshots are
//! passed over: the engine has no depth yet. Inputs are ordered by the recorder's clock; the
//! exchange's own time is kept as event time where the message has one (spot quotes have none).

use serde::Deserialize;
use silvertine_engine::{
    event::{Quote, Side, Trade},
    numbers::{Price, Qty},
    text::Symbol,
    time::Nanos,
};

use super::text::{Format, Parsed, digits, number};

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

#[derive(Deserialize)]
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

#[derive(Deserialize)]
struct RawTrade<'a> {
    s: &'a str,
    t: u64,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    time_ms: u64,
    /// The buyer was resting, so the aggressor sold.
    m: bool,
}

impl Format for Binance {
    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, String> {
        let space = line.iter().position(|&byte| byte == b' ');
        let (stamp, json) = line.split_at(space.ok_or("has no receive time in front")?);
        let recv_time =
            digits(stamp).map(Nanos).ok_or("does not begin with a receive time in ns")?;
        let json = &json[1..];
        match stream_kind(json)? {
            Kind::BookTicker if self.quotes => quote(json, recv_time).map(Some),
            Kind::Trade if self.trades => trade(json, recv_time).map(Some),
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
        _ => Err(format!("comes from an unknown stream {:?}", String::from_utf8_lossy(name))),
    }
}

fn decode<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let message: Message<T> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    Ok(message.data)
}

fn symbol(text: &str) -> Result<Symbol, String> {
    Symbol::new(text).map_err(|why| format!("symbol {text:?} {why}"))
}

fn from_ms(ms: u64) -> Result<Nanos, String> {
    Nanos::from_ms(ms).ok_or_else(|| format!("time {ms} ms is out of range"))
}

fn quote(json: &[u8], recv_time: Nanos) -> Result<Parsed, String> {
    let raw: BookTicker<'_> = decode(json)?;
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

fn trade(json: &[u8], recv_time: Nanos) -> Result<Parsed, String> {
    let raw: RawTrade<'_> = decode(json)?;
    let event_time = from_ms(raw.time_ms)?;
    let trade = Trade {
        symbol: symbol(raw.s)?,
        trade_id: raw.t,
        price: number(Price::parse, raw.p.as_bytes(), "price")?,
        qty: number(Qty::parse, raw.q.as_bytes(), "quantity")?,
        aggressor: if raw.m { Side::Sell } else { Side::Buy },
    };
    Ok(Parsed { event_time, recv_time, body: trade.into() })
}
