//! A market out of a seed: random-walk quotes for any number of symbols, in integers only.

use silvertine_engine::{
    event::Quote,
    numbers::{Price, Qty},
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};

use crate::rng::Rng;

/// What a generated market looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Market {
    /// Root of all its randomness.
    pub seed: u64,
    /// The instruments; at least one.
    pub symbols: Vec<Symbol>,
    /// Time of the first quote.
    pub start: Nanos,
    /// How many quotes in all.
    pub events: u64,
    /// Mean time between quotes, in nanoseconds, at least one; each gap lies between half and one and a half of it.
    pub interval_ns: u64,
    /// Where every walk begins.
    pub start_price: Price,
    /// The smallest price step.
    pub tick: Price,
    /// Distance of bid and ask, in ticks, at least one.
    pub spread_ticks: i64,
}

/// Generates a [`Market`], quote by quote.
///
/// The mid moves by -1, 0 or +1 tick per quote and is reflected at half and twice the start price, so
/// that any length of run stays in range.
#[derive(Clone, Debug)]
pub struct QuoteGenerator {
    name: Name,
    market: Market,
    rng: Rng,
    /// Mid of each symbol, in ticks.
    mids: Vec<i64>,
    bounds: (i64, i64),
    cursor: SourceCursor,
}

impl QuoteGenerator {
    /// A generator whose events carry `name`.
    ///
    /// # Errors
    /// One line naming the parameter that makes no sense.
    pub fn new(name: Name, market: Market) -> Result<Self, String> {
        let tick = market.tick.units();
        if tick <= 0 {
            return Err("tick must be above zero".to_owned());
        }
        if market.symbols.is_empty() {
            return Err("symbols must name at least one".to_owned());
        }
        if market.interval_ns == 0 {
            return Err("interval_ns must be at least 1".to_owned());
        }
        let start = market.start_price.units() / tick;
        if market.spread_ticks < 1 || market.spread_ticks > start / 2 {
            return Err("spread_ticks must be at least 1 and small beside the price".to_owned());
        }
        if start > i64::MAX / 4 / tick {
            return Err("start_price is too large to walk from".to_owned());
        }
        let mut generator = Self {
            name,
            rng: Rng::new(market.seed),
            mids: vec![start; market.symbols.len()],
            bounds: (start / 2 + market.spread_ticks, start * 2),
            market,
            cursor: SourceCursor::default(),
        };
        generator.restart();
        Ok(generator)
    }

    fn restart(&mut self) {
        let start = self.market.start_price.units() / self.market.tick.units();
        self.rng = Rng::new(self.market.seed);
        self.mids.fill(start);
        self.cursor = SourceCursor { time: self.market.start, ..SourceCursor::default() };
    }

    /// The next quote and its time, or `None` when all were generated.
    #[inline]
    fn next_quote(&mut self) -> Option<(Nanos, Quote)> {
        if self.cursor.seq == self.market.events {
            return None;
        }
        // One draw serves all choices: they use different bits of it.
        let draw = self.rng.next_u64();
        let at = ((u128::from(draw >> 32) * self.mids.len() as u128) >> 32) as usize;
        let step = [-1, 0, 1, 0][(draw & 3) as usize];
        let (low, high) = self.bounds;
        self.mids[at] = (self.mids[at] + step).clamp(low, high);
        let half = self.market.interval_ns / 2;
        let gap = half + (((draw >> 2 & 0x3ff) * self.market.interval_ns) >> 10);
        let first = self.cursor.seq == 0;
        let time = Nanos(self.cursor.time.0 + if first { 0 } else { gap.max(1) });
        self.cursor.seq += 1;
        self.cursor.time = time;

        let tick = self.market.tick.units();
        let bid = (self.mids[at] - self.market.spread_ticks / 2) * tick;
        let lots = |bits: u64| Qty::from_units(((bits & 0xff) as i64 + 1) * 10_000_000);
        let quote = Quote {
            symbol: self.market.symbols[at],
            bid: Price::from_units(bid),
            bid_qty: lots(draw >> 12),
            ask: Price::from_units(bid + self.market.spread_ticks * tick),
            ask_qty: lots(draw >> 20),
        };
        Some((time, quote))
    }
}

impl Source for QuoteGenerator {
    fn name(&self) -> Name {
        self.name
    }

    #[inline]
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let Some((time, quote)) = self.next_quote() else { return Ok(None) };
        Ok(Some(Row::Event(Input {
            source: self.name,
            source_seq: self.cursor.seq,
            id: None,
            event_time: time,
            recv_time: time,
            body: quote.into(),
        })))
    }

    fn last_row(&self) -> RowOrigin<'_> {
        RowOrigin { line: self.cursor.seq, bytes: &[] }
    }

    fn cursor(&self) -> SourceCursor {
        self.cursor
    }

    /// Generates again from the start: at a few nanoseconds a quote that is cheaper than carrying the
    /// price of every symbol in every checkpoint.
    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
        self.restart();
        while self.cursor.seq < cursor.seq && self.next_quote().is_some() {}
        Ok(())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.cursor.seq, self.market.events))
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::event::validate;

    use super::*;

    fn market(events: u64) -> Market {
        Market {
            seed: 1,
            symbols: ["A", "B", "C"].map(|s| Symbol::new(s).expect("valid")).to_vec(),
            start: Nanos(1_000),
            events,
            interval_ns: 1_000,
            start_price: Price::from_whole(100).expect("in range"),
            tick: Price::from_units(10_000_000),
            spread_ticks: 2,
        }
    }

    fn generator(events: u64) -> QuoteGenerator {
        QuoteGenerator::new(Name::new("gen").expect("valid"), market(events)).expect("makes sense")
    }

    fn rest(generator: &mut QuoteGenerator) -> Vec<Row> {
        std::iter::from_fn(|| generator.next_row().expect("generates")).collect()
    }

    #[test]
    fn every_quote_is_valid_later_than_the_one_before_and_all_symbols_appear() {
        let rows = rest(&mut generator(10_000));
        assert_eq!(rows.len(), 10_000);
        let mut last = Nanos::ZERO;
        let mut symbols = std::collections::BTreeSet::new();
        for row in rows {
            let Row::Event(input) = row else { panic!("a generator has no bad rows") };
            assert_eq!(validate(&input.body), Ok(()));
            assert!(input.recv_time > last);
            last = input.recv_time;
            if let silvertine_engine::event::Body::MarketData(data) = input.body {
                symbols.insert(data.symbol());
            }
        }
        assert_eq!(symbols.len(), 3);
    }

    #[test]
    fn seeking_gives_exactly_the_remaining_quotes() {
        let all = rest(&mut generator(300));
        for cut in (0..=300).step_by(37) {
            let mut first = generator(300);
            for _ in 0..cut {
                first.next_row().expect("generates");
            }
            let mut second = generator(300);
            second.seek(first.cursor()).expect("in range");
            assert_eq!(rest(&mut second), all[cut..]);
        }
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let name = Name::new("gen").expect("valid");
        let refused = |market| QuoteGenerator::new(name, market).is_err();
        assert!(refused(Market { tick: Price::ZERO, ..market(1) }));
        assert!(refused(Market { symbols: vec![], ..market(1) }));
        assert!(refused(Market { spread_ticks: 0, ..market(1) }));
        assert!(refused(Market { interval_ns: 0, ..market(1) }));
        assert!(refused(Market { start_price: Price::MAX, ..market(1) }));
    }
}
