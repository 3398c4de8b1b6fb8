//! A market generated from a seed: random-walk quotes, and trades if asked for, of any number of symbols, in integers
//! only.

use silvertine_engine::{
    event::{Body, Quote, Side, Trade},
    numbers::{Price, Qty},
    params::InvalidParams,
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};

use silvertine_engine::rng::Rng;

/// The parameters of a generated market.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Market {
    /// The seed of all its randomness.
    pub seed: u64,
    /// The instruments; at least one.
    pub symbols: Vec<Symbol>,
    /// Time of the first quote.
    pub start: Nanos,
    /// How many events in all.
    pub events: u64,
    /// Mean time between quotes, in nanoseconds, at least one; each gap lies between half and one and a half of it.
    pub interval_ns: u64,
    /// The price at which every symbol's random walk starts.
    pub start_price: Price,
    /// The smallest price step.
    pub tick: Price,
    /// Distance of bid and ask, in ticks, at least one.
    pub spread_ticks: i64,
}

impl Market {
    /// So many events of these instruments out of a seed: from 2024-01-01T00:00:00Z on, one a millisecond, around 100.00
    /// in ticks of 0.01 with a spread of two.
    #[must_use]
    pub const fn new(seed: u64, symbols: Vec<Symbol>, events: u64) -> Self {
        Self {
            seed,
            symbols,
            start: Nanos(1_704_067_200_000_000_000),
            events,
            interval_ns: 1_000_000,
            start_price: Price::from_units(100_000_000_000),
            tick: Price::from_units(10_000_000),
            spread_ticks: 2,
        }
    }
}

/// Bits of a draw that choose the gap to the next event.
const GAP_BITS: u32 = 10;

/// Events of which [`QuoteGenerator::with_trades`] gives the share of trades.
const PER_MILLE: u64 = 1000;

/// Generates a [`Market`], quote by quote.
///
/// The mid moves by -1, 0 or +1 tick per quote and stops at half and twice the start price, so that any
/// length of run stays in range.
#[derive(Clone, Debug)]
pub struct QuoteGenerator {
    name: Name,
    market: Market,
    rng: Rng,
    /// Mid of each symbol, in ticks.
    mids: Vec<i64>,
    bounds: (i64, i64),
    trades_per_mille: u64,
    /// The number of the last trade.
    trade_id: u64,
    cursor: SourceCursor,
}

impl QuoteGenerator {
    /// A generator whose events carry `name`.
    ///
    /// # Errors
    /// One line naming the parameter that makes no sense.
    pub fn new(name: Name, market: Market) -> Result<Self, InvalidParams> {
        let tick = market.tick.units();
        if tick <= 0 {
            return Err("tick must be above zero".into());
        }
        if market.symbols.is_empty() {
            return Err("symbols must name at least one".into());
        }
        if market.interval_ns == 0 {
            return Err("interval_ns must be at least 1".into());
        }
        let longest_gap = u128::from(market.interval_ns) * 3 / 2 + 1;
        let end = longest_gap
            .checked_mul(market.events.into())
            .and_then(|span| span.checked_add(market.start.0.into()));
        if market.interval_ns > u64::MAX >> GAP_BITS
            || end.is_none_or(|end| end > Nanos::LATEST_INPUT.0.into())
        {
            return Err("start, events and interval_ns lead past the year 2499".into());
        }
        let start = market.start_price.units() / tick;
        if market.spread_ticks < 1 || market.spread_ticks > start / 2 {
            return Err("spread_ticks must be at least 1 and small beside the price".into());
        }
        if start > i64::MAX / 4 / tick {
            return Err("start_price is too large to walk from".into());
        }
        let mut generator = Self {
            name,
            rng: Rng::new(market.seed),
            mids: vec![start; market.symbols.len()],
            bounds: (start / 2 + market.spread_ticks, start * 2),
            trades_per_mille: 0,
            trade_id: 0,
            market,
            cursor: SourceCursor::default(),
        };
        generator.restart();
        Ok(generator)
    }

    /// The same market with so many trades among a thousand events. A trade prints at the bid or the ask
    /// and leaves the mid where it is. With zero, nothing changes.
    ///
    /// # Errors
    /// One line when that is more than a thousand.
    pub fn with_trades(mut self, per_mille: u16) -> Result<Self, InvalidParams> {
        self.trades_per_mille = per_mille.into();
        if self.trades_per_mille > PER_MILLE {
            return Err(format!("trades_per_mille must be at most {PER_MILLE}").into());
        }
        self.restart();
        Ok(self)
    }

    fn restart(&mut self) {
        let start = self.market.start_price.units() / self.market.tick.units();
        self.rng = Rng::new(self.market.seed);
        self.mids.fill(start);
        self.trade_id = 0;
        self.cursor = SourceCursor { time: self.market.start, ..SourceCursor::default() };
    }

    /// Which side the next event trades on, if it is a trade. Not asked in a market without trades, whose
    /// walk must not depend on the draw.
    #[inline]
    fn next_aggressor(&mut self) -> Option<Side> {
        let choice = self.rng.below(2 * PER_MILLE);
        let side = if choice & 1 == 0 { Side::Buy } else { Side::Sell };
        (choice / 2 < self.trades_per_mille).then_some(side)
    }

    /// The next quote and its time, or `None` when all were generated; for a trade, the mid rests.
    #[inline]
    fn next_quote(&mut self, trades: bool) -> Option<(Nanos, Quote)> {
        if self.cursor.seq == self.market.events {
            return None;
        }
        // One draw serves all choices: they use different bits of it.
        let draw = self.rng.next_u64();
        let at = ((u128::from(draw >> 32) * self.mids.len() as u128) >> 32) as usize;
        let step = if trades { 0 } else { [-1, 0, 1, 0][(draw & 3) as usize] };
        let (low, high) = self.bounds;
        self.mids[at] = (self.mids[at] + step).clamp(low, high);
        let half = self.market.interval_ns / 2;
        let gap =
            half + (((draw >> 2 & ((1 << GAP_BITS) - 1)) * self.market.interval_ns) >> GAP_BITS);
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

    /// The next row of a market with trades.
    fn next_quote_or_trade(&mut self) -> Option<Row> {
        let aggressor = self.next_aggressor();
        let (time, quote) = self.next_quote(aggressor.is_some())?;
        let Some(aggressor) = aggressor else { return Some(self.row(time, quote.into())) };
        self.trade_id += 1;
        let (price, qty) = match aggressor {
            Side::Buy => (quote.ask, quote.ask_qty),
            Side::Sell => (quote.bid, quote.bid_qty),
        };
        let trade = Trade { symbol: quote.symbol, trade_id: self.trade_id, price, qty, aggressor };
        Some(self.row(time, trade.into()))
    }

    #[inline]
    fn row(&self, time: Nanos, body: Body) -> Row {
        Row::Event(Input {
            source: self.name,
            source_seq: self.cursor.seq,
            id: None,
            event_time: time,
            recv_time: time,
            body,
        })
    }
}

impl Source for QuoteGenerator {
    fn name(&self) -> Name {
        self.name
    }

    #[inline]
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        if self.trades_per_mille > 0 {
            return Ok(self.next_quote_or_trade());
        }
        Ok(self.next_quote(false).map(|(time, quote)| self.row(time, quote.into())))
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
        if cursor.seq > self.market.events {
            return Err(SourceError::Read {
                path: format!("generator {}", self.name),
                line: cursor.seq,
                why: format!("generates no more than {} events", self.market.events),
            });
        }
        self.restart();
        while self.cursor.seq < cursor.seq {
            let trades = self.trades_per_mille > 0 && self.next_aggressor().is_some();
            self.next_quote(trades);
            self.trade_id += u64::from(trades);
        }
        Ok(())
    }

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.cursor.seq, self.market.events))
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::event::{MarketData, validate};

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
        assert!(refused(Market { interval_ns: u64::MAX / 2, ..market(1) }));
        assert!(refused(Market { start: Nanos::MAX, ..market(1) }));
        assert!(refused(market(u64::MAX)));
        assert!(generator(1).with_trades(1001).is_err());
    }

    fn trading(per_mille: u16) -> QuoteGenerator {
        generator(10_000).with_trades(per_mille).expect("makes sense")
    }

    fn bodies(generator: &mut QuoteGenerator) -> Vec<Body> {
        let body = |row| match row {
            Row::Event(input) => input.body,
            Row::Bad(why) => panic!("a generator has no bad rows: {why}"),
        };
        rest(generator).into_iter().map(body).collect()
    }

    #[test]
    fn the_share_of_trades_is_kept_and_their_ids_have_no_gap() {
        for (per_mille, expected) in [(0, 0..=0), (200, 1_800..=2_200), (1000, 10_000..=10_000)] {
            let mut ids = Vec::new();
            for body in bodies(&mut trading(per_mille)) {
                assert_eq!(validate(&body), Ok(()));
                if let Body::MarketData(MarketData::Trade(trade)) = body {
                    ids.push(trade.trade_id);
                }
            }
            assert!(expected.contains(&ids.len()), "{per_mille}: {}", ids.len());
            assert!(ids.iter().zip(1..).all(|(&id, expected)| id == expected), "{per_mille}");
        }
    }

    #[test]
    fn a_trade_prints_at_the_touch_quoted_before_it() {
        let mut touches = std::collections::BTreeMap::new();
        let mut sides = std::collections::BTreeSet::new();
        for body in bodies(&mut trading(300)) {
            match body {
                Body::MarketData(MarketData::Quote(quote)) => {
                    touches.insert(quote.symbol, (quote.bid, quote.ask));
                }
                Body::MarketData(MarketData::Trade(trade)) => {
                    let Some(&(bid, ask)) = touches.get(&trade.symbol) else { continue };
                    let touch = if trade.aggressor == Side::Buy { ask } else { bid };
                    assert_eq!(trade.price, touch);
                    sides.insert(trade.aggressor == Side::Buy);
                }
                other => panic!("neither quote nor trade: {other:?}"),
            }
        }
        assert_eq!(sides.len(), 2, "both sides trade");
    }

    #[test]
    fn seeking_restores_trades_too_and_refuses_what_lies_past_the_end() {
        let all = rest(&mut trading(300));
        let mut first = trading(300);
        for _ in 0..5_000 {
            first.next_row().expect("generates");
        }
        let mut second = trading(300);
        second.seek(first.cursor()).expect("in range");
        assert_eq!(rest(&mut second), all[5_000..]);
        let beyond = SourceCursor { seq: 10_001, ..SourceCursor::default() };
        assert!(second.seek(beyond).is_err());
        second.seek(SourceCursor::default()).expect("all zero is the start");
        assert_eq!(rest(&mut second), all);
    }
}
