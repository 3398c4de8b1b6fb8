//! HISTDATA tick files: `YYYYMMDD HHMMSSmmm,bid,ask,volume`, no header.
//!
//! Their times are Eastern Standard Time all year round, without daylight saving: UTC is five hours on.

use silvertine_engine::{
    event::Quote,
    numbers::{Price, Qty},
    text::Symbol,
    time::{NANOS_PER_MS, NANOS_PER_SECOND, Nanos, from_civil},
};

use super::text::{BadRow, Format, Parsed, digits, fields, number, shown};

const EST_BEHIND_UTC_NS: u64 = 5 * 3600 * NANOS_PER_SECOND;

/// The format of HISTDATA tick files of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct HistData {
    /// The instrument.
    pub symbol: Symbol,
}

impl Format for HistData {
    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let [stamp, bid, ask, _volume] = fields(line)?;
        let time = est_time(stamp).ok_or_else(|| {
            let shown = shown(stamp);
            format!("timestamp {shown:?} is not of the form YYYYMMDD HHMMSSmmm")
        })?;
        let quote = Quote {
            symbol: self.symbol,
            bid: number(Price::parse, bid, "bid")?,
            bid_qty: Qty::ZERO,
            ask: number(Price::parse, ask, "ask")?,
            ask_qty: Qty::ZERO,
        };
        Ok(Some(Parsed { event_time: time, recv_time: time, body: quote.into() }))
    }
}

fn est_time(stamp: &[u8]) -> Option<Nanos> {
    if stamp.len() != 18 || stamp[8] != b' ' {
        return None;
    }
    let part = |from: usize, to: usize| digits(&stamp[from..to]);
    let local = from_civil(
        (part(0, 4)?, part(4, 6)?, part(6, 8)?),
        (part(9, 11)?, part(11, 13)?, part(13, 15)?),
        part(15, 18)? * NANOS_PER_MS,
    )?;
    local.0.checked_add(EST_BEHIND_UTC_NS).map(Nanos)
}
