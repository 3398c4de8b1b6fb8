//! Bars in CSV with a header naming `timestamp`, `open`, `high`, `low`, `close` and `volume` in any order.
//!
//! Digits of a volume behind the ninth decimal are cut: they are noise of floating point. Those of a price
//! are not: a price that cannot be held exactly is a bad row.

use silvertine_engine::{
    event::Bar,
    numbers::{Price, Qty},
    text::Symbol,
    time::{NANOS_PER_MS, NANOS_PER_SECOND, Nanos, from_civil},
};

use serde::{Deserialize, Serialize};

use super::text::{BadRow, Format, Parsed, digits, number, shown};

const COLUMNS: [&str; 6] = ["timestamp", "open", "high", "low", "close", "volume"];

/// Which end of its period a bar's timestamp names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stamp {
    /// The end: the bar is known from then on.
    #[default]
    Close,
    /// The beginning: the bar is known one interval later, and not a moment earlier.
    Open,
}

/// The format of bar files.
#[derive(Clone, Debug)]
pub struct Bars {
    symbol: Symbol,
    interval_ns: u64,
    stamp: Stamp,
    /// Where each of [`COLUMNS`] stands.
    places: [usize; COLUMNS.len()],
    columns: usize,
}

impl Bars {
    /// Bars of one instrument and period length in nanoseconds.
    #[must_use]
    pub const fn new(symbol: Symbol, interval_ns: u64, stamp: Stamp) -> Self {
        Self { symbol, interval_ns, stamp, places: [0; COLUMNS.len()], columns: 0 }
    }
}

impl Format for Bars {
    fn header(&mut self, line: &[u8]) -> Result<bool, BadRow> {
        let text = String::from_utf8_lossy(line);
        let names: Vec<String> =
            text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        self.columns = names.len();
        for (place, wanted) in self.places.iter_mut().zip(COLUMNS) {
            *place = names.iter().position(|name| name == wanted).ok_or_else(|| {
                let found: String = text.chars().take(100).collect();
                format!(
                    "the header names no column {wanted:?}; expected {}, found {found:?}",
                    COLUMNS.join(",")
                )
            })?;
        }
        Ok(true)
    }

    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let mut cells = [&line[..0]; COLUMNS.len()];
        let mut count = 0;
        for (at, cell) in line.split(|&byte| byte == b',').enumerate() {
            count += 1;
            for (slot, &place) in cells.iter_mut().zip(&self.places) {
                if place == at {
                    *slot = cell.trim_ascii();
                }
            }
        }
        if count != self.columns {
            return Err(format!("has {count} columns instead of {}", self.columns).into());
        }
        let [stamp, open, high, low, close, volume] = cells;
        let stamp = timestamp(stamp)?;
        let end = match self.stamp {
            Stamp::Close => Some(stamp.0),
            Stamp::Open => stamp.0.checked_add(self.interval_ns),
        };
        let time = end.map(Nanos).ok_or("time is out of range")?;
        let bar = Bar {
            symbol: self.symbol,
            interval_ns: self.interval_ns,
            open: number(Price::parse, open, "open")?,
            high: number(Price::parse, high, "high")?,
            low: number(Price::parse, low, "low")?,
            close: number(Price::parse, close, "close")?,
            volume: number(Qty::parse_truncating, volume, "volume")?,
        };
        Ok(Some(Parsed { event_time: time, recv_time: time, body: bar.into() }))
    }
}

/// Reads `2021-12-31 23:01:00[.ffffff]` (also with `T` and `Z`, always UTC) or epoch seconds, milli-, micro- or
/// nanoseconds, told apart by their size.
pub(super) fn timestamp(text: &[u8]) -> Result<Nanos, String> {
    let unreadable = || {
        let shown = shown(text);
        format!("timestamp {shown:?} is not a time")
    };
    if let Some(epoch) = digits(text) {
        let unit_ns = match epoch {
            0..100_000_000_000 => NANOS_PER_SECOND,
            100_000_000_000..100_000_000_000_000 => NANOS_PER_MS,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return epoch.checked_mul(unit_ns).map(Nanos).ok_or_else(unreadable);
    }
    civil(text).ok_or_else(unreadable)
}

fn civil(text: &[u8]) -> Option<Nanos> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let shaped = whole.len() == 19
        && (whole[4], whole[7], whole[13], whole[16]) == (b'-', b'-', b':', b':')
        && matches!(whole[10], b' ' | b'T');
    if !shaped || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let part = |from: usize, to: usize| digits(&whole[from..to]);
    let missing_digits = 9 - u32::try_from(fraction.len()).ok()?;
    let nanos = digits(fraction)? * 10_u64.pow(missing_digits);
    from_civil(
        (part(0, 4)?, part(5, 7)?, part(8, 10)?),
        (part(11, 13)?, part(14, 16)?, part(17, 19)?),
        nanos,
    )
}
