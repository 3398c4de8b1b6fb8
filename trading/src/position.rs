//! A position in one instrument: quantity, cost, and what closing parts of it realised.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    event::Fill,
    numbers::{Money, Overflow, Price, Qty},
};

/// A position kept at average cost.
///
/// Two sums stay exact to 1e-9 whatever the order of fills: `realised - cost` is the cash that the
/// fills brought in, so equity never drifts; only the split between the two rounds, once per close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Held quantity; negative when short.
    pub qty: Qty,
    /// What the held quantity cost; negative when short (what it brought in).
    pub cost: Money,
    /// Profit and loss of what was closed, before fees.
    pub realised: Money,
    /// Commissions paid.
    pub fees: Money,
}

impl Position {
    /// Applies a fill. On an error nothing has changed.
    ///
    /// # Errors
    /// [`Overflow`] when a number leaves its range.
    pub fn apply(&mut self, fill: &Fill) -> Result<(), Overflow> {
        let change = fill.side.signed(fill.qty);
        let mut next = *self;
        next.fees = next.fees.checked_add(fill.commission)?;
        let opposite = (self.qty.units() < 0) != (change.units() < 0) && self.qty != Qty::ZERO;
        let closing = if opposite { change.abs().min(self.qty.abs()) } else { Qty::ZERO };
        // The parts of the fill that close and open, with the fill's sign.
        let closed = fill.side.signed(closing);
        let opened = change.checked_sub(closed)?;
        if closing != Qty::ZERO {
            let cost_closed = if closing == self.qty.abs() {
                self.cost
            } else {
                self.cost.pro_rata(closing, self.qty.abs())?
            };
            next.cost = next.cost.checked_sub(cost_closed)?;
            let proceeds = Money::ZERO.checked_sub(fill.price.notional(closed))?;
            next.realised = next.realised.checked_add(proceeds.checked_sub(cost_closed)?)?;
        }
        next.cost = next.cost.checked_add(fill.price.notional(opened))?;
        next.qty = next.qty.checked_add(change)?;
        debug_assert_eq!(next.flaw(), self.flaw(), "a fill keeps a position sound");
        *self = next;
        Ok(())
    }

    /// The first invariant that is broken, if any: a flat position has no cost, cost has the sign of the quantity, fees are
    /// not negative.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let cost = self.cost.cmp(&Money::ZERO);
        let sides_differ = match self.qty.cmp(&Qty::ZERO) {
            Ordering::Equal => cost != Ordering::Equal,
            side => cost == side.reverse(),
        };
        if sides_differ {
            return Some("a position's cost does not fit its quantity");
        }
        (self.fees < Money::ZERO).then_some("a position's fees are negative")
    }

    /// What closing everything at `mark` would realise, before fees.
    ///
    /// # Errors
    /// [`Overflow`] when it leaves the range of money.
    pub fn unrealised(&self, mark: Price) -> Result<Money, Overflow> {
        mark.notional(self.qty).checked_sub(self.cost)
    }

    /// Average price of what is held; `None` when flat.
    #[must_use]
    pub fn average_price(&self) -> Option<Price> {
        self.cost.per_unit(self.qty).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use silvertine_engine::{
        event::{EventId, Liquidity, Side},
        text::{Name, Symbol},
    };

    use super::*;

    fn fill(side: Side, qty: i64, price: i64) -> Fill {
        Fill {
            order_id: EventId(0),
            symbol: Symbol::new("X").expect("valid"),
            strategy: Name::new("s").expect("valid"),
            side,
            qty: Qty::from_units(qty),
            price: Price::from_units(price),
            commission: Money::from_units(1),
            liquidity: Liquidity::Taker,
        }
    }

    const UNIT: i64 = 1_000_000_000;

    #[test]
    fn a_long_position_averages_its_cost_and_realises_on_the_way_out() {
        let mut position = Position::default();
        position.apply(&fill(Side::Buy, UNIT, 100 * UNIT)).expect("in range");
        position.apply(&fill(Side::Buy, UNIT, 110 * UNIT)).expect("in range");
        assert_eq!(position.average_price(), Some(Price::from_units(105 * UNIT)));
        position.apply(&fill(Side::Sell, UNIT, 120 * UNIT)).expect("in range");
        assert_eq!(position.realised.to_string(), "15");
        let mark = Price::from_units(100 * UNIT);
        assert_eq!(position.unrealised(mark).expect("in range").to_string(), "-5");
    }

    #[test]
    fn a_fill_larger_than_the_position_turns_it_around_at_the_fills_price() {
        let mut position = Position::default();
        position.apply(&fill(Side::Sell, UNIT, 100 * UNIT)).expect("in range");
        position.apply(&fill(Side::Buy, 3 * UNIT, 90 * UNIT)).expect("in range");
        assert_eq!(position.realised.to_string(), "10");
        assert_eq!(position.qty, Qty::from_units(2 * UNIT));
        assert_eq!(position.average_price(), Some(Price::from_units(90 * UNIT)));
    }

    #[test]
    fn a_closed_position_holds_no_cost() {
        let mut position = Position::default();
        position.apply(&fill(Side::Buy, 3, 100 * UNIT)).expect("in range");
        position.apply(&fill(Side::Sell, 1, 101 * UNIT)).expect("in range");
        position.apply(&fill(Side::Sell, 2, 102 * UNIT)).expect("in range");
        assert_eq!((position.qty, position.cost), (Qty::ZERO, Money::ZERO));
        assert_eq!(position.average_price(), None);
    }

    proptest! {
        #[test]
        fn equity_equals_cash_flow_accounting_to_the_last_unit(
            fills in prop::collection::vec((any::<bool>(), 1..10_000_000_000_i64, 1..10_000_000_000_i64), 1..60),
            mark in 1..10_000_000_000_i64,
        ) {
            let mut position = Position::default();
            let mut cash = 0_i128;
            let mut held = 0_i64;
            let mut roundings = 0;
            for (buys, qty, price) in fills {
                let side = if buys { Side::Buy } else { Side::Sell };
                let fill = fill(side, qty, price);
                // A fill that turns the position around is booked in two parts, each rounded.
                roundings += 1;
                position.apply(&fill).expect("in range");
                prop_assert_eq!(position.flaw(), None);
                cash -= fill.price.notional(side.signed(fill.qty)).units();
                held += side.signed(fill.qty).units();
            }
            let mark = Price::from_units(mark);
            let by_cash = cash + mark.notional(Qty::from_units(held)).units();
            let by_position =
                position.realised.units() + position.unrealised(mark).expect("in range").units();
            prop_assert_eq!(position.qty.units(), held);
            prop_assert!((by_cash - by_position).abs() <= roundings, "{} {}", by_cash, by_position);
        }
    }
}
