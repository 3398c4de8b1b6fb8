//! Silvertine's own recording of quotes: CSV with the header `time_ns,symbol,bid,bid_qty,ask,ask_qty`.

use std::io::{self, Write};

use silvertine_engine::{
    event::Quote,
    numbers::{Price, Qty},
    time::Nanos,
};

use super::text::{self, BadRow, Format, Parsed, digits, fields, number};

const HEADER: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty";

/// The format of quote recordings.
#[derive(Clone, Copy, Debug)]
pub struct Quotes;

impl Format for Quotes {
    fn header(&mut self, line: &[u8]) -> Result<bool, BadRow> {
        if line.trim_ascii() == HEADER.as_bytes() {
            return Ok(true);
        }
        let found: String = String::from_utf8_lossy(line).chars().take(100).collect();
        Err(format!("the header must be {HEADER:?}, found {found:?}").into())
    }

    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let [time, symbol, bid, bid_qty, ask, ask_qty] = fields(line)?;
        let time = digits(time).map(Nanos).ok_or("time_ns is not a number of nanoseconds")?;
        let symbol = std::str::from_utf8(symbol).map_err(|_| "symbol is not UTF-8".to_owned())?;
        let quote = Quote {
            symbol: text::symbol(symbol)?,
            bid: number(Price::parse, bid, "bid")?,
            bid_qty: number(Qty::parse, bid_qty, "bid_qty")?,
            ask: number(Price::parse, ask, "ask")?,
            ask_qty: number(Qty::parse, ask_qty, "ask_qty")?,
        };
        Ok(Some(Parsed { event_time: time, recv_time: time, body: quote.into() }))
    }
}

/// Writes a recording that [`Quotes`] reads.
pub struct QuoteWriter<W> {
    out: W,
}

impl<W: Write> QuoteWriter<W> {
    /// Begins a recording with its header.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        writeln!(out, "{HEADER}")?;
        Ok(Self { out })
    }

    /// Writes one quote.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn write(&mut self, time: Nanos, quote: &Quote) -> io::Result<()> {
        let Quote { symbol, bid, bid_qty, ask, ask_qty } = quote;
        writeln!(self.out, "{},{symbol},{bid},{bid_qty},{ask},{ask_qty}", time.0)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}
