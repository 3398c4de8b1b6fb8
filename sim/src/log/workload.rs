//! Inputs drawn from a seed, with everything that real ones do wrong: bursts at one instant, late rows, duplicates, rows that make no
//! sense.
//!
//! Row `n` depends on the seed and on `n` alone, so reading can begin anywhere.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    codec::{Codec, InputMessage},
    digest::fingerprint,
    event::{Bar, Body, EventId, OperatorAction, Quote, Side, System, Trade},
    log::IngressMessage,
    numbers::{Price, Qty},
    params::InvalidParams,
    park::{ParkedKey, Release},
    rng::mix,
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};
use thiserror::Error;

/// What a stream of awkward inputs looks like. Shares are given in events of a thousand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Root of all its randomness.
    pub seed: u64,
    /// The instruments; at least one.
    pub symbols: Vec<Symbol>,
    /// Rows in all, whatever becomes of them.
    pub events: u64,
    /// Time of the first row in nanoseconds since the epoch.
    #[serde(default = "new_year_2024")]
    pub start_ns: u64,
    /// Mean time between rows, in nanoseconds.
    #[serde(default = "ten_ms")]
    pub interval_ns: u64,
    /// The price that everything moves around.
    #[serde(default = "hundred")]
    pub price: Price,
    /// Trades.
    #[serde(default)]
    pub trades: u16,
    /// Bars of one second.
    #[serde(default)]
    pub bars: u16,
    /// Rows that carry the time of the row before.
    #[serde(default)]
    pub bursts: u16,
    /// Rows that come late: older than the row before.
    #[serde(default)]
    pub late: u16,
    /// Rows that repeat an earlier one, by its number or by its id.
    #[serde(default)]
    pub duplicates: u16,
    /// Rows that make no sense.
    #[serde(default)]
    pub bad: u16,
    /// Rows in which an operator releases what is parked for one of `handlers`; one time in four behind the event that
    /// it failed on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub releases: u16,
    /// The handlers for whom `releases` are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<Name>,
    /// Rows bring ids of their own.
    #[serde(default)]
    pub ids: bool,
    /// Rows are published to the ingress instead of read.
    #[serde(default)]
    pub publish: bool,
}

/// A field of a [`Workload`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// There are no instruments.
    #[error("symbols must name at least one")]
    NoSymbols,
    /// Prices swing by a few per cent, and every one of them must be a price.
    #[error("price must be at least 0.001 and at most 1000000000")]
    Price,
    /// A share is more than the whole.
    #[error("{field} must be at most 1000 of a thousand rows")]
    Share {
        /// The field.
        field: &'static str,
    },
    /// There is nobody for whom anything could be released.
    #[error("releases need handlers: what is parked is parked for one")]
    NoHandlers,
    /// More is published than is made at once.
    #[error("what is published is made at once: events must be at most {PUBLISH_LIMIT}")]
    TooManyPublished,
    /// The last row is later than any input may be.
    #[error("start_ns, events and interval_ns lead past the year 2499")]
    TooLate,
}

impl From<WorkloadError> for InvalidParams {
    fn from(error: WorkloadError) -> Self {
        Self::new(error.to_string())
    }
}

fn is_zero(share: &u16) -> bool {
    *share == 0
}

const fn new_year_2024() -> u64 {
    1_704_067_200_000_000_000
}

const fn ten_ms() -> u64 {
    10_000_000
}

const fn hundred() -> Price {
    Price::from_units(100_000_000_000)
}

/// How far back a duplicate reaches, in rows.
const DUPLICATE_REACH: u64 = 24;
/// The most that a workload's price may be, in units.
const PRICE_LIMIT: i64 = 1_000_000_000_000_000_000;
/// The most messages that are made at once.
const PUBLISH_LIMIT: u64 = 1_000_000;
/// Of so many published rows one is JSON, which takes several times as long to write and read as the other codec.
const JSON_EVERY: u64 = 16;
/// Rows in which the price goes once up and down.
const SWING: u64 = 64;

/// What is drawn for a row; each draws from a stream of its own, so that none shifts another.
#[derive(Clone, Copy)]
enum Draw {
    Kind,
    Time,
    Fate,
    Reach,
    Noise,
    Qty,
    Symbol,
    Release,
    Released,
}

/// What becomes of a row.
enum Fate {
    /// It makes no sense.
    Bad,
    /// It says what this row says: itself, or an earlier one that it repeats.
    Says(u64),
}

impl Workload {
    fn draw(&self, what: Draw, row: u64, bound: u64) -> u64 {
        self.drawn(what, row) % bound.max(1)
    }

    fn drawn(&self, what: Draw, row: u64) -> u64 {
        mix(mix(self.seed, what as u64), row)
    }

    /// Checks what the fields must keep.
    ///
    /// # Errors
    /// The field that makes no sense.
    pub fn check(&self) -> Result<(), WorkloadError> {
        if self.symbols.is_empty() {
            return Err(WorkloadError::NoSymbols);
        }
        // Prices swing by a few per cent, and every one of them must be a price.
        if !(1_000_000..=PRICE_LIMIT).contains(&self.price.units()) {
            return Err(WorkloadError::Price);
        }
        for (field, share) in [
            ("trades", self.trades),
            ("bars", self.bars),
            ("bursts", self.bursts),
            ("late", self.late),
            ("duplicates", self.duplicates),
            ("bad", self.bad),
            ("releases", self.releases),
        ] {
            if share > 1000 {
                return Err(WorkloadError::Share { field });
            }
        }
        if self.releases > 0 && self.handlers.is_empty() {
            return Err(WorkloadError::NoHandlers);
        }
        if self.publish && self.events > PUBLISH_LIMIT {
            return Err(WorkloadError::TooManyPublished);
        }
        let end = self.interval_ns.checked_mul(self.events.saturating_add(2));
        let end = end.and_then(|span| span.checked_add(self.start_ns));
        if end.is_none_or(|end| end > Nanos::LATEST_INPUT.0) {
            return Err(WorkloadError::TooLate);
        }
        Ok(())
    }

    fn time(&self, row: u64) -> u64 {
        let drawn = self.drawn(Draw::Time, row);
        // Rows of a burst stand where the burst began; where all are of one, nobody need look for it.
        let (mut first, mut of_first) = (if self.bursts < 1000 { row } else { 0 }, drawn);
        while first > 0 && of_first % 1000 < u64::from(self.bursts) {
            first -= 1;
            of_first = self.drawn(Draw::Time, first);
        }
        let late = ((drawn % (1 << 32)) >> 10) % 1000 < u64::from(self.late);
        let time = self.start_ns + first * self.interval_ns;
        if late {
            time.saturating_sub(self.interval_ns.saturating_mul(5)).max(self.start_ns)
        } else {
            time
        }
    }

    fn id(&self, row: u64) -> EventId {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&row.to_le_bytes());
        bytes[16] = b'i';
        EventId(u128::from_le_bytes(fingerprint(&bytes)))
    }

    fn fate(&self, row: u64) -> Fate {
        let fate = self.draw(Draw::Fate, row, 1000);
        if fate >= 1000 - u64::from(self.bad.min(1000)) {
            Fate::Bad
        } else if row > 0 && fate < u64::from(self.duplicates) {
            Fate::Says(row - 1 - self.draw(Draw::Reach, row, DUPLICATE_REACH.min(row)))
        } else {
            Fate::Says(row)
        }
    }

    fn body(&self, row: u64) -> Body {
        let at = self.draw(Draw::Symbol, row, self.symbols.len() as u64) as usize;
        let symbol = self.symbols[at];
        if self.draw(Draw::Release, row, 1000) < u64::from(self.releases) {
            return self.release(symbol, row);
        }
        // A slow swing of four per cent with noise on it, so that averages cross now and then.
        let step = self.price.units() / 1000;
        let phase = row % SWING;
        let swing = phase.min(SWING - phase) as i64 * 40 / SWING as i64;
        let noise = self.draw(Draw::Noise, row, 7) as i64 - 3;
        let mid = self.price.units() + (swing + noise) * step;
        let qty = Qty::from_units((1 + self.draw(Draw::Qty, row, 50) as i64) * 100_000_000);
        let kind = self.draw(Draw::Kind, row, 1000);
        let price = Price::from_units;
        if kind < u64::from(self.trades) {
            let aggressor = if noise < 0 { Side::Sell } else { Side::Buy };
            Trade { symbol, trade_id: row + 1, price: price(mid), qty, aggressor }.into()
        } else if kind < u64::from(self.trades) + u64::from(self.bars) {
            let (low, high) = (price(mid - step), price(mid + step));
            let close = price(mid + noise.signum() * step);
            let interval_ns = 1_000_000_000;
            Bar { symbol, interval_ns, open: price(mid), high, low, close, volume: qty }.into()
        } else {
            let (bid, ask) = (price(mid - step / 2), price(mid + step / 2));
            Quote { symbol, bid, bid_qty: qty, ask, ask_qty: qty }.into()
        }
    }

    /// An operator's release of this symbol, or of what has none.
    fn release(&self, symbol: Symbol, row: u64) -> Body {
        let draw = self.drawn(Draw::Released, row);
        let handler = self.handlers[draw as usize % self.handlers.len()];
        let symbol = (!(draw >> 32).is_multiple_of(4)).then_some(symbol);
        let past = (draw >> 40).is_multiple_of(4);
        let key = ParkedKey { handler, symbol };
        let action = OperatorAction::Release(Release { key, past });
        System::Operator { action, by: handler }.into()
    }

    /// Everything as messages that the producer `name` publishes.
    #[must_use]
    pub fn messages(&self, name: Name) -> Vec<IngressMessage> {
        let message = |row: u64| {
            let codec = if row.is_multiple_of(JSON_EVERY) { Codec::Json } else { Codec::Postcard };
            let payload = match self.fate(row) {
                Fate::Bad => format!("row {row} makes no sense").into_bytes(),
                Fate::Says(original) => {
                    let id = self.ids.then(|| self.id(original));
                    let event_time = Nanos(self.time(row));
                    codec.encode(&InputMessage { id, event_time, body: self.body(original) })
                }
            };
            IngressMessage { producer: name, seq: row + 1, codec, payload }
        };
        (0..self.events).map(message).collect()
    }
}

/// Workloads for property tests: proptest shrinks each field towards plain and short.
#[cfg(feature = "proptest")]
pub fn strategy(symbols: Vec<Symbol>) -> impl proptest::strategy::Strategy<Value = Workload> {
    use proptest::prelude::*;
    let shares = (0..600_u16, 0..400_u16, 0..700_u16, 0..150_u16, 0..120_u16, 0..60_u16);
    let intervals = prop_oneof![Just(1_000_000), Just(10_000_000), Just(1_000_000_000)];
    (any::<u32>(), 1..300_u64, intervals, shares, any::<bool>()).prop_map(
        move |(seed, events, interval_ns, shares, ids)| {
            let (trades, bars, bursts, late, duplicates, bad) = shares;
            Workload {
                seed: seed.into(),
                symbols: symbols.clone(),
                events,
                start_ns: new_year_2024(),
                interval_ns,
                price: hundred(),
                trades,
                bars,
                bursts,
                late,
                duplicates,
                bad,
                releases: 0,
                handlers: Vec::new(),
                ids,
                publish: false,
            }
        },
    )
}

/// Reads a [`Workload`] row by row.
#[derive(Clone, Debug)]
pub struct WorkloadSource {
    name: Name,
    workload: Workload,
    cursor: SourceCursor,
}

impl WorkloadSource {
    /// A source whose events carry `name`.
    ///
    /// # Errors
    /// Those of [`Workload::check`].
    pub fn new(name: Name, workload: Workload) -> Result<Self, WorkloadError> {
        workload.check()?;
        Ok(Self { name, workload, cursor: SourceCursor::default() })
    }
}

impl Source for WorkloadSource {
    fn name(&self) -> Name {
        self.name
    }

    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let (row, workload) = (self.cursor.offset, &self.workload);
        if row >= workload.events {
            return Ok(None);
        }
        let time = Nanos(workload.time(row));
        self.cursor.offset += 1;
        self.cursor.line += 1;
        self.cursor.seq = row + 1;
        self.cursor.time = time;
        let Fate::Says(original) = workload.fate(row) else {
            return Ok(Some(Row::Bad(format!("row {} makes no sense", row + 1))));
        };
        // Without ids of its own, a repetition is known by its number.
        let source_seq = if workload.ids { row } else { original } + 1;
        Ok(Some(Row::Event(Input {
            source: self.name,
            source_seq,
            id: workload.ids.then(|| workload.id(original)),
            event_time: time,
            recv_time: time,
            body: workload.body(original),
        })))
    }

    fn last_row(&self) -> RowOrigin<'_> {
        RowOrigin { line: self.cursor.line, bytes: b"makes no sense" }
    }

    fn cursor(&self) -> SourceCursor {
        self.cursor
    }

    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
        let SourceCursor { offset, line, seq, .. } = cursor;
        if offset > self.workload.events || line != offset || seq != offset {
            return Err(SourceError::Read {
                path: format!("workload {}", self.name),
                line,
                why: "the checkpoint is none of this workload".to_owned(),
            });
        }
        self.cursor = cursor;
        Ok(())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.cursor.offset, self.workload.events))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workload(seed: u64) -> Workload {
        Workload {
            seed,
            symbols: vec![Symbol::new("A").expect("short"), Symbol::new("B").expect("short")],
            events: 300,
            start_ns: new_year_2024(),
            interval_ns: ten_ms(),
            price: hundred(),
            trades: 300,
            bars: 100,
            bursts: 300,
            late: 100,
            duplicates: 50,
            bad: 50,
            releases: 30,
            handlers: vec![Name::new("h").expect("short")],
            ids: seed.is_multiple_of(2),
            publish: false,
        }
    }

    fn rows(source: &mut WorkloadSource) -> Vec<Row> {
        std::iter::from_fn(|| source.next_row().expect("never fails")).collect()
    }

    #[test]
    fn what_no_row_could_be_made_of_is_refused() {
        let said = |change: fn(&mut Workload)| {
            let mut workload = workload(1);
            change(&mut workload);
            workload.check()
        };
        assert_eq!(said(|workload| workload.price = Price::from_units(PRICE_LIMIT)), Ok(()));
        let price = said(|workload| workload.price = Price::MAX);
        assert_eq!(price, Err(WorkloadError::Price));
        assert_eq!(said(|workload| workload.late = 1000), Ok(()));
        let late = said(|workload| workload.late = 1001);
        assert_eq!(late, Err(WorkloadError::Share { field: "late" }));
        assert_eq!(said(|workload| workload.events = PUBLISH_LIMIT + 1), Ok(()));
        let many = said(|workload| {
            workload.events = PUBLISH_LIMIT + 1;
            workload.publish = true;
        });
        assert_eq!(many, Err(WorkloadError::TooManyPublished));
    }

    #[test]
    fn a_cursor_of_something_else_is_refused() {
        let name = Name::new("w").expect("short");
        let mut source = WorkloadSource::new(name, workload(1)).expect("makes sense");
        let at = |offset, line, seq| SourceCursor { offset, line, seq, ..SourceCursor::default() };
        assert_eq!(source.seek(at(300, 300, 300)), Ok(()));
        for other in [at(301, 301, 301), at(3, u64::MAX, 3), at(3, 3, 2)] {
            assert!(source.seek(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn rows_of_one_endless_burst_cost_no_more_than_others() {
        let mut workload = Workload { bursts: 1000, late: 0, ..workload(1) };
        (workload.events, workload.interval_ns) = (1 << 50, 1);
        assert_eq!(workload.time((1 << 50) - 1), workload.start_ns);
    }

    proptest! {
        #[test]
        fn reading_can_go_on_anywhere(seed: u64, at in 0_usize..300) {
            let name = Name::new("w").expect("short");
            let mut source = WorkloadSource::new(name, workload(seed)).expect("makes sense");
            let whole = rows(&mut source.clone());
            prop_assert_eq!(whole.len(), 300);
            for _ in 0..at {
                source.next_row().expect("never fails");
            }
            let cursor = source.cursor();
            source.seek(SourceCursor::default()).expect("never fails");
            source.seek(cursor).expect("never fails");
            prop_assert_eq!(&rows(&mut source), &whole[at..]);
        }

        #[test]
        fn every_row_that_is_not_bad_keeps_the_rules(seed: u64) {
            let name = Name::new("w").expect("short");
            let mut source = WorkloadSource::new(name, workload(seed)).expect("makes sense");
            for row in rows(&mut source) {
                if let Row::Event(input) = row {
                    prop_assert_eq!(silvertine_engine::event::validate(&input.body), Ok(()));
                }
            }
        }
    }
}
