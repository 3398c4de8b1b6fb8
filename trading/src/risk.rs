//! Risk: no order reaches a venue that this handler has not approved.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Figure, Handler, HandlerError},
    event::{
        Body, Event, EventId, Fill, OperatorAction, Order, OrderStatus, System, Topic, TopicSet,
    },
    numbers::{Money, Overflow, Qty},
    params::InvalidParams,
    text::Symbol,
    time::Nanos,
};

use crate::{
    by_symbol::BySymbol,
    position::Position,
    state::{self, Sound},
};

/// The limits; one that is absent does not limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RiskParams {
    /// Largest position per instrument, long or short, open orders included.
    pub max_position: Option<Qty>,
    /// Largest quantity of one order.
    pub max_order_qty: Option<Qty>,
    /// Most orders within any second of engine time.
    pub max_orders_per_second: Option<u32>,
    /// Realised loss, fees included, at which the kill switch is thrown.
    pub max_loss: Option<Money>,
}

/// The risk handler.
pub struct RiskLimits {
    params: RiskParams,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    positions: BySymbol<Position>,
    /// Orders approved and not ended, with what of each has not traded.
    open: BTreeMap<EventId, (Order, Qty)>,
    /// When the orders of the last second were approved, oldest first.
    recent: VecDeque<Nanos>,
    killed: bool,
    approved: u64,
    denied: u64,
}

impl Sound for State {
    fn flaw(&self) -> Option<&'static str> {
        let overfilled = |(order, left): &(Order, Qty)| *left < Qty::ZERO || *left > order.qty;
        if self.open.values().any(overfilled) {
            return Some("the open quantity of an order is negative or above its quantity");
        }
        self.positions.iter().find_map(|(_, position)| position.flaw())
    }
}

impl RiskLimits {
    /// A risk handler without open orders.
    ///
    /// # Errors
    /// A limit that is not above zero.
    pub fn new(params: RiskParams) -> Result<Self, InvalidParams> {
        let not_positive = |limit: Option<Qty>| limit.is_some_and(|limit| limit <= Qty::ZERO);
        if not_positive(params.max_position) || not_positive(params.max_order_qty) {
            return Err("max_position and max_order_qty must be above zero".into());
        }
        if params.max_orders_per_second == Some(0) {
            return Err("max_orders_per_second must be at least 1".into());
        }
        if params.max_loss.is_some_and(|limit| limit <= Money::ZERO) {
            return Err("max_loss must be above zero".into());
        }
        Ok(Self { params, state: State::default() })
    }

    fn on_order(&mut self, order: &Order, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        match &order.status {
            OrderStatus::Submitted => {
                let objection = self.objection(order, ctx.now())?;
                self.answer(order.clone(), objection, ctx);
            }
            OrderStatus::ModifyRequested { qty, kind } => {
                let wanted = Order { qty: *qty, kind: *kind, ..order.clone() };
                let objection = self.objection(&wanted, ctx.now())?;
                self.answer(wanted, objection, ctx);
            }
            OrderStatus::Rejected { .. }
            | OrderStatus::Filled
            | OrderStatus::Cancelled { .. }
            | OrderStatus::Expired { .. } => {
                self.state.open.remove(&order.order_id);
            }
            // Requests to cancel always pass; every other status comes from this handler or the venue.
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, order: Order, objection: Option<String>, ctx: &mut Context<'_>) {
        if let Some(reason) = objection {
            self.state.denied += 1;
            ctx.emit(order.with_status(OrderStatus::Denied { reason }));
            return;
        }
        self.state.approved += 1;
        self.state.recent.push_back(ctx.now());
        ctx.emit(order.with_status(OrderStatus::Approved));
        self.state.open.insert(order.order_id, (order.clone(), order.qty));
    }

    /// The first limit that an order breaks, if any.
    fn objection(&mut self, order: &Order, now: Nanos) -> Result<Option<String>, Overflow> {
        if self.state.killed {
            return Ok(Some("the kill switch is thrown".to_owned()));
        }
        if let Some(limit) = self.params.max_order_qty
            && order.qty > limit
        {
            return Ok(Some(format!("quantity {} is above max_order_qty {limit}", order.qty)));
        }
        if let Some(limit) = self.params.max_position {
            let worst = self.worst_position(order)?;
            if worst.abs() > limit {
                return Ok(Some(format!(
                    "position could reach {worst}, past max_position {limit}"
                )));
            }
        }
        let second_ago = |then: &Nanos| now.since(*then) >= Duration::from_secs(1);
        while self.state.recent.front().is_some_and(second_ago) {
            self.state.recent.pop_front();
        }
        if let Some(limit) = self.params.max_orders_per_second
            && self.state.recent.len() >= limit as usize
        {
            return Ok(Some(format!("max_orders_per_second is {limit}")));
        }
        Ok(None)
    }

    /// The position if this order and every open one on its side traded in full.
    fn worst_position(&self, order: &Order) -> Result<Qty, Overflow> {
        let held = self.state.positions.get(order.symbol).map_or(Qty::ZERO, |held| held.qty);
        let mut worst = held.checked_add(order.side.signed(order.qty))?;
        for (open, left) in self.state.open.values() {
            let adds = open.symbol == order.symbol
                && open.side == order.side
                && open.order_id != order.order_id;
            if adds {
                worst = worst.checked_add(open.side.signed(*left))?;
            }
        }
        Ok(worst)
    }

    fn on_fill(&mut self, fill: &Fill, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.state.positions.entry(fill.symbol).apply(fill)?;
        if let Some((_, left)) = self.state.open.get_mut(&fill.order_id) {
            *left = left.checked_sub(fill.qty)?;
        }
        if let Some(limit) = self.params.max_loss
            && !self.state.killed
        {
            let realised = |sum: Money, (_, held): (Symbol, &Position)| {
                sum.checked_add(held.realised)?.checked_sub(held.fees)
            };
            let result = self.state.positions.iter().try_fold(Money::ZERO, realised)?;
            if Money::ZERO.checked_sub(result)? >= limit {
                self.kill(ctx);
            }
        }
        Ok(())
    }

    /// Throws the kill switch: every later order is denied, and open orders are cancelled.
    fn kill(&mut self, ctx: &mut Context<'_>) {
        self.state.killed = true;
        for (order, _) in self.state.open.values() {
            ctx.emit(order.with_status(OrderStatus::CancelRequested));
        }
    }
}

impl Handler for RiskLimits {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::Order, Topic::Fill, Topic::System])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        match &event.body {
            Body::Order(order) => self.on_order(order, ctx),
            Body::Fill(fill) => self.on_fill(fill, ctx),
            Body::System(System::Operator { action: OperatorAction::Kill, .. }) => {
                self.kill(ctx);
                Ok(())
            }
            Body::System(System::Operator { action: OperatorAction::Resume, .. }) => {
                self.state.killed = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        state::save(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.state = state::load(state)?;
        Ok(())
    }

    fn figures(&self) -> Vec<(&'static str, Figure)> {
        let switch = if self.state.killed { "thrown" } else { "ready" };
        vec![
            ("orders_approved", Figure::Count(self.state.approved)),
            ("orders_denied", Figure::Count(self.state.denied)),
            ("kill_switch", Figure::Text(switch.to_owned())),
        ]
    }
}
