//! Execution: turns signals into orders that move the position to the signal's target.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Handler, HandlerError, decode_state, encode_state},
    event::{
        Body, Event, EventId, Fill, MarketData, Order, OrderKind, OrderStatus, Side, Signal, Topic,
        TopicSet,
    },
    numbers::{Price, Qty},
    params::InvalidParams,
    text::Symbol,
};

use crate::by_symbol::BySymbol;

/// Parameters of the execution handler.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TargetParams {
    /// The position that a signal of strength one asks for.
    pub unit_qty: Qty,
    /// Orders are whole multiples of this.
    #[serde(default = "smallest_lot")]
    pub lot: Qty,
    /// Which kind of orders.
    #[serde(default)]
    pub order: OrderStyle,
}

impl TargetParams {
    /// Market orders towards `unit_qty` at a signal of strength one, in any quantity.
    #[must_use]
    pub const fn new(unit_qty: Qty) -> Self {
        Self { unit_qty, lot: smallest_lot(), order: OrderStyle::Market }
    }
}

const fn smallest_lot() -> Qty {
    Qty::from_units(1)
}

/// Which kind of orders to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStyle {
    /// Market orders.
    #[default]
    Market,
    /// Limit orders at the near side of the touch: buys at the bid, sells at the ask.
    Limit,
}

/// The execution handler.
pub struct TargetPosition {
    params: TargetParams,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    rows: BySymbol<Row>,
    /// The signed open quantity of each of our orders.
    open: BTreeMap<EventId, (Symbol, Qty)>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Row {
    position: Qty,
    bid: Price,
    ask: Price,
}

impl TargetPosition {
    /// An execution handler without positions.
    ///
    /// # Errors
    /// Quantities that are not above zero.
    pub fn new(params: TargetParams) -> Result<Self, InvalidParams> {
        if params.unit_qty <= Qty::ZERO || params.lot <= Qty::ZERO {
            return Err("unit_qty and lot must be above zero".into());
        }
        Ok(Self { params, state: State::default() })
    }

    fn on_signal(&mut self, signal: &Signal, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let row = *self.state.rows.entry(signal.symbol);
        let target = self.params.unit_qty.scaled(signal.strength)?;
        let mut expected = row.position;
        for (symbol, left) in self.state.open.values() {
            if *symbol == signal.symbol {
                expected = expected.checked_add(*left)?;
            }
        }
        let delta = target.checked_sub(expected)?.units();
        let lots = delta.unsigned_abs() / self.params.lot.units().unsigned_abs();
        let qty = Qty::from_units(self.params.lot.units() * i64::try_from(lots)?);
        if qty == Qty::ZERO {
            return Ok(());
        }
        let side = if delta > 0 { Side::Buy } else { Side::Sell };
        let kind = match self.params.order {
            OrderStyle::Market => OrderKind::Market,
            OrderStyle::Limit => {
                let price = if side == Side::Buy { row.bid } else { row.ask };
                if price == Price::ZERO {
                    return Err(HandlerError::new("no market to place a limit order at"));
                }
                OrderKind::Limit { price }
            }
        };
        let order_id = ctx.next_event_id();
        self.state.open.insert(order_id, (signal.symbol, side.signed(qty)));
        ctx.emit(Order {
            order_id,
            symbol: signal.symbol,
            strategy: signal.strategy,
            side,
            qty,
            kind,
            status: OrderStatus::Submitted,
        });
        Ok(())
    }

    fn on_order(&mut self, order: &Order) {
        let ended = matches!(
            order.status,
            OrderStatus::Denied { .. }
                | OrderStatus::Rejected { .. }
                | OrderStatus::Cancelled { .. }
                | OrderStatus::Expired { .. }
                | OrderStatus::Filled
        );
        if ended {
            self.state.open.remove(&order.order_id);
        }
    }

    fn on_fill(&mut self, fill: &Fill) -> Result<(), HandlerError> {
        let Some((_, left)) = self.state.open.get_mut(&fill.order_id) else { return Ok(()) };
        let traded = fill.side.signed(fill.qty);
        *left = left.checked_sub(traded)?;
        let row = self.state.rows.entry(fill.symbol);
        row.position = row.position.checked_add(traded)?;
        Ok(())
    }
}

impl Handler for TargetPosition {
    fn topics(&self) -> TopicSet {
        match self.params.order {
            OrderStyle::Market => TopicSet::of(&[Topic::Signal, Topic::Order, Topic::Fill]),
            OrderStyle::Limit => {
                TopicSet::of(&[Topic::MarketData, Topic::Signal, Topic::Order, Topic::Fill])
            }
        }
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        match &event.body {
            Body::MarketData(MarketData::Quote(quote)) => {
                let row = self.state.rows.entry(quote.symbol);
                (row.bid, row.ask) = (quote.bid, quote.ask);
                Ok(())
            }
            Body::MarketData(MarketData::Trade(trade)) => {
                let row = self.state.rows.entry(trade.symbol);
                if row.bid == row.ask {
                    (row.bid, row.ask) = (trade.price, trade.price);
                }
                Ok(())
            }
            Body::MarketData(MarketData::Bar(bar)) => {
                let row = self.state.rows.entry(bar.symbol);
                (row.bid, row.ask) = (bar.close, bar.close);
                Ok(())
            }
            Body::Signal(signal) => self.on_signal(signal, ctx),
            Body::Order(order) => {
                self.on_order(order);
                Ok(())
            }
            Body::Fill(fill) => self.on_fill(fill),
            Body::System(_) => Ok(()),
        }
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.state = decode_state(state)?;
        Ok(())
    }
}
