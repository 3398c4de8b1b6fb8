//! The portfolio: positions, profit and loss, fees, the equity curve.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Figure, Handler, HandlerError},
    event::{Body, Event, MarketData, Topic, TopicSet},
    numbers::{Money, Overflow, Price, Qty},
    params::InvalidParams,
    text::Symbol,
    time::{NANOS_PER_MS, Nanos},
};

use crate::{
    by_symbol::BySymbol,
    position::Position,
    state::{self, Sound},
};

/// The most points of the equity curve. When it is full, every second point is dropped and the distance doubles.
const CURVE_LIMIT: usize = 1024;

/// Parameters of the portfolio.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PortfolioParams {
    /// Cash at the start.
    pub starting_cash: Money,
    /// Engine time between points of the equity curve, in milliseconds, until it is thinned.
    pub curve_every_ms: u64,
}

impl Default for PortfolioParams {
    fn default() -> Self {
        Self { starting_cash: Money::ZERO, curve_every_ms: 1000 }
    }
}

/// The portfolio.
pub struct Portfolio {
    params: PortfolioParams,
    state: State,
    /// Equity with the last marks, kept so that one event costs one holding and not all of them. `None` where it has
    /// to be summed up again.
    equity: Option<Money>,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    holdings: BySymbol<Holding>,
    curve: Vec<(Nanos, Money)>,
    curve_every_ns: u64,
    next_point: Nanos,
    /// Highest equity at any event.
    peak: Option<Money>,
    max_drawdown: Money,
}

#[derive(Default, Serialize, Deserialize)]
struct Holding {
    position: Position,
    /// Last mid, trade price or close; bars and trades count only until there are quotes.
    mark: Price,
    quoted: bool,
}

impl Holding {
    /// What it has added to the equity: realised and unrealised, less fees.
    fn value(&self) -> Result<Money, Overflow> {
        let Position { realised, fees, .. } = self.position;
        realised.checked_add(self.position.unrealised(self.mark)?)?.checked_sub(fees)
    }
}

impl Sound for State {
    fn flaw(&self) -> Option<&'static str> {
        if self.max_drawdown < Money::ZERO {
            return Some("the maximum drawdown is negative");
        }
        self.holdings.iter().find_map(|(_, holding)| holding.position.flaw())
    }
}

impl Portfolio {
    /// A portfolio without positions.
    ///
    /// # Errors
    /// `curve_every_ms` is zero or out of range.
    pub fn new(params: PortfolioParams) -> Result<Self, InvalidParams> {
        let curve_every_ns = params
            .curve_every_ms
            .checked_mul(NANOS_PER_MS)
            .filter(|&every| every > 0)
            .ok_or("curve_every_ms must be at least 1 and in range")?;
        let state = State { curve_every_ns, ..State::default() };
        Ok(Self { params, state, equity: None })
    }

    fn sum(&self, part: impl Fn(&Holding) -> Result<Money, Overflow>) -> Result<Money, Overflow> {
        self.state
            .holdings
            .iter()
            .try_fold(Money::ZERO, |sum, (_, holding)| sum.checked_add(part(holding)?))
    }

    fn realised(&self) -> Result<Money, Overflow> {
        self.sum(|holding| Ok(holding.position.realised))
    }

    fn unrealised(&self) -> Result<Money, Overflow> {
        self.sum(|holding| holding.position.unrealised(holding.mark))
    }

    fn fees(&self) -> Result<Money, Overflow> {
        self.sum(|holding| Ok(holding.position.fees))
    }

    fn equity(&self) -> Result<Money, Overflow> {
        let gains = self.realised()?.checked_add(self.unrealised()?)?.checked_sub(self.fees()?)?;
        self.params.starting_cash.checked_add(gains)
    }

    /// Takes the price of market data as the mark of its instrument.
    #[inline]
    fn mark(&mut self, data: &MarketData) -> Result<(), Overflow> {
        let holding = self.state.holdings.entry(data.symbol());
        let mark = match data {
            MarketData::Quote(quote) => {
                holding.quoted = true;
                quote.bid.midpoint(quote.ask)
            }
            MarketData::Trade(trade) if !holding.quoted => trade.price,
            MarketData::Bar(bar) if !holding.quoted => bar.close,
            MarketData::Trade(_) | MarketData::Bar(_) => return Ok(()),
        };
        if holding.position.qty == Qty::ZERO {
            holding.mark = mark;
            return Ok(());
        }
        self.change(data.symbol(), |holding| {
            holding.mark = mark;
            Ok(())
        })
    }

    /// Changes a holding and, with it, the equity and what depends on it.
    fn change(
        &mut self,
        symbol: Symbol,
        change: impl FnOnce(&mut Holding) -> Result<(), Overflow>,
    ) -> Result<(), Overflow> {
        // Whatever fails on the way, the equity is then summed up again.
        let equity = self.current_equity()?;
        self.equity = None;
        let holding = self.state.holdings.entry(symbol);
        let before = holding.value()?;
        change(holding)?;
        let gain = holding.value()?.checked_sub(before)?;
        self.equity = Some(equity.checked_add(gain)?);
        self.note_equity()
    }

    fn current_equity(&mut self) -> Result<Money, Overflow> {
        if self.equity.is_none() {
            self.equity = Some(self.equity()?);
            self.note_equity()?;
        }
        Ok(self.equity.unwrap_or_default())
    }

    /// Takes the equity into account for peak and drawdown.
    fn note_equity(&mut self) -> Result<(), Overflow> {
        let Some(equity) = self.equity else { return Ok(()) };
        let peak = self.state.peak.map_or(equity, |peak| peak.max(equity));
        self.state.peak = Some(peak);
        self.state.max_drawdown = self.state.max_drawdown.max(peak.checked_sub(equity)?);
        Ok(())
    }

    #[cold]
    fn add_point(&mut self, now: Nanos) -> Result<(), Overflow> {
        let equity = self.current_equity()?;
        let state = &mut self.state;
        if state.curve.len() == CURVE_LIMIT {
            let mut odd = false;
            state.curve.retain(|_| {
                odd = !odd;
                odd
            });
            state.curve_every_ns = state.curve_every_ns.saturating_mul(2);
        }
        state.curve.push((now, equity));
        state.next_point = Nanos(now.0.saturating_add(state.curve_every_ns));
        Ok(())
    }
}

impl Handler for Portfolio {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData, Topic::Fill])
    }

    #[inline]
    fn handle(&mut self, event: &Event, _ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        match &event.body {
            Body::MarketData(data) => {
                self.mark(data)?;
                if event.time >= self.state.next_point {
                    self.add_point(event.time)?;
                }
            }
            Body::Fill(fill) => {
                self.change(fill.symbol, |holding| {
                    holding.position.apply(fill)?;
                    if holding.mark == Price::ZERO {
                        holding.mark = fill.price;
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        state::save(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.state = state::load(state)?;
        self.equity = None;
        Ok(())
    }

    fn figures(&self) -> Vec<(&'static str, Figure)> {
        let amount = |amount: Result<Money, Overflow>| match amount {
            Ok(amount) => Figure::Amount(amount),
            Err(overflow) => Figure::Text(overflow.to_string()),
        };
        let held = self.state.holdings.iter().filter(|(_, h)| h.position.qty.units() != 0);
        let held: Vec<String> = held
            .map(|(symbol, holding)| {
                let average = holding.position.average_price().unwrap_or_default();
                format!("{symbol} {} @ {average}", holding.position.qty)
            })
            .collect();
        let held = if held.is_empty() { "flat".to_owned() } else { held.join(", ") };
        vec![
            ("realised_pnl", amount(self.realised())),
            ("unrealised_pnl", amount(self.unrealised())),
            ("fees", amount(self.fees())),
            ("equity", amount(self.equity())),
            ("max_drawdown", Figure::Amount(self.state.max_drawdown)),
            ("positions", Figure::Text(held)),
            ("equity_points", Figure::Count(self.state.curve.len() as u64)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::bus::encode_state;

    use super::*;

    #[test]
    fn a_position_whose_cost_does_not_fit_its_quantity_is_neither_saved_nor_loaded() {
        let mut portfolio = Portfolio::new(PortfolioParams::default()).expect("the defaults");
        let symbol = Symbol::new("X").expect("valid");
        portfolio.state.holdings.entry(symbol).position.cost = Money::from_units(1);
        let damaged = encode_state(&portfolio.state).expect("encodes");
        let said = portfolio.save().expect_err("is refused").to_string();
        assert!(said.contains("cost does not fit"), "{said}");
        let mut other = Portfolio::new(PortfolioParams::default()).expect("the defaults");
        assert!(other.load(&damaged).is_err());

        portfolio.state.holdings.entry(symbol).position.qty = Qty::from_units(1);
        let sound = portfolio.save().expect("is sound");
        other.load(&sound).expect("is sound");
    }
}
