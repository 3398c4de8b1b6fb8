//! The simulated venue: fills approved orders against the recorded market.
//!
//! The market is what the feed says: quotes set both sides of the touch; an instrument without quotes
//! trades at its last price (trades, bar closes) on both sides. An order arrives a constant latency of
//! engine time after its approval. Market orders and marketable limits take the touch as takers;
//! limits that rest fill as makers at their own price once the opposite side of the touch reaches it;
//! stops become market (or limit) orders once the opposite side reaches the stop price. The venue
//! never moves the market, and unless told to heed displayed quantities it fills whole orders.

mod book;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Handler, HandlerError},
    event::{
        Body, Event, Fill, Liquidity, MarketData, Order, OrderStatus, System, Topic, TopicSet,
    },
    numbers::{Money, Ratio},
    params::InvalidParams,
};

use self::book::{Book, Execution};

use crate::{
    by_symbol::BySymbol,
    state::{self, Sound},
};

/// How a venue behaves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VenueParams {
    /// Engine time from an order's approval (or a cancel request) to its arrival, in microseconds.
    pub latency_us: u64,
    /// Fee on what rested, as a share of the notional.
    pub maker_fee: Ratio,
    /// Fee on what took liquidity, as a share of the notional.
    pub taker_fee: Ratio,
    /// Whether a quote's displayed quantity bounds what trades against it.
    pub limit_to_displayed: bool,
}

/// A venue as a handler: approved orders in, fills and order statuses out.
pub struct SimVenue {
    params: VenueParams,
    state: State,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    books: BySymbol<Book>,
    /// What is on its way here, by timer key.
    arriving: BTreeMap<u64, Order>,
    next_key: u64,
}

impl Sound for State {
    fn flaw(&self) -> Option<&'static str> {
        self.books.iter().find_map(|(_, book)| book.flaw())
    }
}

impl SimVenue {
    /// A venue without orders.
    ///
    /// # Errors
    /// A negative fee: commissions are never negative.
    pub fn new(params: VenueParams) -> Result<Self, InvalidParams> {
        if params.maker_fee < Ratio::ZERO || params.taker_fee < Ratio::ZERO {
            return Err("maker_fee and taker_fee must not be negative".into());
        }
        Ok(Self { params, state: State::default() })
    }

    fn on_market(&mut self, data: &MarketData, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let book = self.state.books.entry(data.symbol());
        if !book.update(data) || book.is_idle() {
            return Ok(());
        }
        let executions = book.match_resting(self.params.limit_to_displayed);
        self.report(executions, ctx)
    }

    /// Sends an order on its way; without latency it is here at once.
    fn send(&mut self, order: &Order, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        if self.params.latency_us == 0 {
            return self.arrive(order, ctx);
        }
        let key = self.state.next_key;
        self.state.next_key += 1;
        self.state.arriving.insert(key, order.clone());
        ctx.set_timer(key, Duration::from_micros(self.params.latency_us));
        Ok(())
    }

    fn arrive(&mut self, order: &Order, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let book = self.state.books.entry(order.symbol);
        if order.status == OrderStatus::CancelRequested {
            let answer = match book.cancel(order.order_id) {
                Some((order, filled)) => order.with_status(OrderStatus::Cancelled { filled }),
                None => rejected(order, "no such order is working"),
            };
            ctx.emit(answer);
            return Ok(());
        }
        if book.is_working(order.order_id) {
            let answer = match book.replace(order) {
                Ok(()) => order.with_status(OrderStatus::Modified),
                Err(why) => rejected(order, why),
            };
            ctx.emit(answer);
        } else if book.touch().is_none() {
            ctx.emit(rejected(order, "there is no market in this instrument yet"));
            return Ok(());
        } else {
            book.add(order.clone());
            ctx.emit(order.with_status(OrderStatus::Accepted));
        }
        let executions = book.match_arrival(order.order_id, self.params.limit_to_displayed);
        self.report(executions, ctx)
    }

    fn report(
        &self,
        executions: Vec<Execution>,
        ctx: &mut Context<'_>,
    ) -> Result<(), HandlerError> {
        for execution in executions {
            let Execution { order, qty, price, liquidity, filled } = execution;
            let rate = match liquidity {
                Liquidity::Maker => self.params.maker_fee,
                Liquidity::Taker => self.params.taker_fee,
            };
            let commission: Money = price.notional(qty).scaled(rate)?;
            ctx.emit(Fill {
                order_id: order.order_id,
                symbol: order.symbol,
                strategy: order.strategy,
                side: order.side,
                qty,
                price,
                commission,
                liquidity,
            });
            let status = if filled == order.qty {
                OrderStatus::Filled
            } else {
                OrderStatus::PartiallyFilled { filled }
            };
            ctx.emit(order.with_status(status));
        }
        Ok(())
    }
}

fn rejected(order: &Order, why: &str) -> Order {
    order.with_status(OrderStatus::Rejected { reason: why.to_owned() })
}

impl Handler for SimVenue {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData, Topic::Order])
    }

    #[inline]
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        match &event.body {
            Body::MarketData(data) => self.on_market(data, ctx),
            Body::Order(order) => match order.status {
                OrderStatus::Approved | OrderStatus::CancelRequested => self.send(order, ctx),
                _ => Ok(()),
            },
            Body::System(System::TimerFired { key, .. }) => match self.state.arriving.remove(key) {
                Some(order) => self.arrive(&order, ctx),
                None => Ok(()),
            },
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
}
