//! A strategy: long while the fast average is above the slow one, short (or flat) while it is below.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Handler, HandlerError, decode_state, encode_state},
    event::{Body, Event, MarketData, Signal, Topic, TopicSet},
    numbers::Ratio,
    params::InvalidParams,
    text::Symbol,
};

/// Parameters of the strategy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EmaCrossParams {
    /// The instrument.
    pub symbol: Symbol,
    /// Samples of the fast average.
    #[serde(default = "default_fast")]
    pub fast: u32,
    /// Samples of the slow average; also how many it warms up on.
    #[serde(default = "default_slow")]
    pub slow: u32,
    /// Which market data are samples.
    #[serde(default)]
    pub on: SampleKind,
    /// Flat instead of short.
    #[serde(default)]
    pub long_only: bool,
}

impl EmaCrossParams {
    /// Averages over 12 and 26 samples of any market data of this instrument, long and short.
    #[must_use]
    pub const fn new(symbol: Symbol) -> Self {
        let (fast, slow) = (default_fast(), default_slow());
        Self { symbol, fast, slow, on: SampleKind::Any, long_only: false }
    }
}

const fn default_fast() -> u32 {
    12
}

const fn default_slow() -> u32 {
    26
}

/// Which market data are samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleKind {
    /// All of them.
    #[default]
    Any,
    /// The mid of quotes.
    Quote,
    /// The price of trades.
    Trade,
    /// The close of bars.
    Bar,
}

/// The strategy.
pub struct EmaCross {
    params: EmaCrossParams,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    fast: Ema,
    slow: Ema,
    samples: u32,
    /// Whether the fast average was above the slow one at the last crossing.
    above: Option<bool>,
}

/// An exponential moving average in units of 1e-9 / 2^16: the extra bits keep slow averages from
/// stalling on steps smaller than their period.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Ema(i128);

const EXTRA_BITS: u32 = 16;

impl Ema {
    const fn begin(units: i64) -> Self {
        Self((units as i128) << EXTRA_BITS)
    }

    /// `ema += (sample - ema) * 2 / (period + 1)`, truncated toward zero.
    #[inline]
    fn update(&mut self, units: i64, period: u32) {
        let distance = (i128::from(units) << EXTRA_BITS) - self.0;
        // Dividing 128 bits is many times slower than 64, and distances are small beside prices.
        let step = match i64::try_from(distance * 2) {
            Ok(twice) => i128::from(twice / (i64::from(period) + 1)),
            Err(_) => distance * 2 / (i128::from(period) + 1),
        };
        self.0 += step;
    }
}

impl EmaCross {
    /// A strategy that has seen no market data.
    ///
    /// # Errors
    /// `fast` is zero or not below `slow`.
    pub fn new(params: EmaCrossParams) -> Result<Self, InvalidParams> {
        if params.fast == 0 || params.fast >= params.slow {
            return Err("fast must be at least 1 and below slow".into());
        }
        Ok(Self { params, state: State::default() })
    }

    #[inline]
    fn sample(&self, data: &MarketData) -> Option<i64> {
        if data.symbol() != self.params.symbol {
            return None;
        }
        match (data, self.params.on) {
            (MarketData::Quote(quote), SampleKind::Any | SampleKind::Quote) => {
                Some(quote.bid.midpoint(quote.ask).units())
            }
            (MarketData::Trade(trade), SampleKind::Any | SampleKind::Trade) => {
                Some(trade.price.units())
            }
            (MarketData::Bar(bar), SampleKind::Any | SampleKind::Bar) => Some(bar.close.units()),
            _ => None,
        }
    }
}

impl Handler for EmaCross {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    #[inline]
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let Body::MarketData(data) = &event.body else { return Ok(()) };
        let Some(price) = self.sample(data) else { return Ok(()) };
        let state = &mut self.state;
        if state.samples == 0 {
            (state.fast, state.slow) = (Ema::begin(price), Ema::begin(price));
        } else {
            state.fast.update(price, self.params.fast);
            state.slow.update(price, self.params.slow);
        }
        state.samples = state.samples.saturating_add(1);
        if state.samples < self.params.slow || state.fast.0 == state.slow.0 {
            return Ok(());
        }
        let above = state.fast.0 > state.slow.0;
        if state.above == Some(above) {
            return Ok(());
        }
        state.above = Some(above);
        let strength = match above {
            true => Ratio::ONE,
            false if self.params.long_only => Ratio::ZERO,
            false => Ratio::MINUS_ONE,
        };
        let (symbol, strategy) = (self.params.symbol, ctx.handler());
        ctx.emit(Signal { symbol, strategy, strength });
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.state = decode_state(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_price_leaves_the_average_where_it_is_and_a_step_is_approached() {
        let mut ema = Ema::begin(1_000);
        ema.update(1_000, 10);
        assert_eq!(ema.0, 1_000 << EXTRA_BITS);
        for _ in 0..200 {
            ema.update(2_000, 10);
        }
        let reached = ema.0 >> EXTRA_BITS;
        assert!((1_999..=2_000).contains(&reached), "{reached}");
    }

    #[test]
    fn the_slow_path_of_huge_distances_agrees_with_the_fast_one() {
        let mut ema = Ema::begin(0);
        ema.update(i64::MAX, 3);
        assert_eq!(ema.0, (i128::from(i64::MAX) << EXTRA_BITS) * 2 / 4);
    }

    #[test]
    fn periods_that_make_no_cross_are_refused() {
        let params = |fast, slow| EmaCrossParams {
            symbol: Symbol::new("X").expect("valid"),
            fast,
            slow,
            on: SampleKind::Any,
            long_only: false,
        };
        assert!(EmaCross::new(params(0, 5)).is_err());
        assert!(EmaCross::new(params(5, 5)).is_err());
        assert!(EmaCross::new(params(5, 6)).is_ok());
    }
}
