//! What each of the five kinds of events says.

use serde::{Deserialize, Serialize};

use super::{EventId, Topic};
use crate::{
    numbers::{Money, Price, Qty, Ratio},
    park::Release,
    text::{Name, Symbol},
    time::Nanos,
};

/// The content of an event. The order of the variants is part of the wire format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Market data.
    MarketData(MarketData),
    /// A strategy's target.
    Signal(Signal),
    /// An order, at one point of its life cycle.
    Order(Order),
    /// An order traded.
    Fill(Fill),
    /// The engine's own events: timers, failures, circuits, refusals, operators.
    System(System),
}

impl Body {
    /// The topic whose stream carries this event.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::MarketData(_) => Topic::MarketData,
            Self::Signal(_) => Topic::Signal,
            Self::Order(_) => Topic::Order,
            Self::Fill(_) => Topic::Fill,
            Self::System(_) => Topic::System,
        }
    }
}

/// Market data: quotes, trades, bars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketData {
    /// The best bid and offer changed.
    Quote(Quote),
    /// A trade was executed.
    Trade(Trade),
    /// A period of trading ended.
    Bar(Bar),
}

impl MarketData {
    /// The instrument it is about.
    #[must_use]
    pub const fn symbol(&self) -> Symbol {
        match self {
            Self::Quote(quote) => quote.symbol,
            Self::Trade(trade) => trade.symbol,
            Self::Bar(bar) => bar.symbol,
        }
    }
}

/// The best bid and offer of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The instrument.
    pub symbol: Symbol,
    /// Best bid, above zero and not above `ask`.
    pub bid: Price,
    /// Quantity at the best bid; zero where the feed does not tell.
    pub bid_qty: Qty,
    /// Best offer.
    pub ask: Price,
    /// Quantity at the best offer; zero where the feed does not tell.
    pub ask_qty: Qty,
}

/// One trade of the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The instrument.
    pub symbol: Symbol,
    /// The venue's own number of the trade.
    pub trade_id: u64,
    /// Price, above zero.
    pub price: Price,
    /// Quantity, above zero.
    pub qty: Qty,
    /// Which side took liquidity.
    pub aggressor: Side,
}

/// The open, high, low, close and volume of one period, known at the period's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// The instrument.
    pub symbol: Symbol,
    /// Length of the period in nanoseconds; the event time is its end.
    pub interval_ns: u64,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Traded volume, zero or more.
    pub volume: Qty,
}

/// The position that a strategy wants in an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The instrument.
    pub symbol: Symbol,
    /// The strategy.
    pub strategy: Name,
    /// From -1 (as short as allowed) through 0 (flat) to +1 (as long as allowed).
    pub strength: Ratio,
}

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Buys.
    Buy,
    /// Sells.
    Sell,
}

impl Side {
    /// `qty` with the sign it gives a position: positive when bought.
    #[must_use]
    pub const fn signed(self, qty: Qty) -> Qty {
        match self {
            Self::Buy => qty,
            Self::Sell => qty.negated(),
        }
    }
}

/// An order at one point of its life cycle. Every event of an order repeats the whole order, so that an audit needs no
/// other event to understand it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The id of the event that submitted it; all later events of the order carry it.
    pub order_id: EventId,
    /// The instrument.
    pub symbol: Symbol,
    /// The strategy that it belongs to.
    pub strategy: Name,
    /// Buy or sell.
    pub side: Side,
    /// Whole quantity, above zero.
    pub qty: Qty,
    /// How it is to be executed.
    pub kind: OrderKind,
    /// Its status after this event.
    pub status: OrderStatus,
}

impl Order {
    /// The same order with another status.
    #[must_use]
    pub fn with_status(&self, status: OrderStatus) -> Self {
        Self { status, ..self.clone() }
    }
}

/// How an order is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    /// At once, at the best price there is.
    Market,
    /// At this price or better.
    Limit {
        /// The worst acceptable price, above zero.
        price: Price,
    },
    /// As a market order once the market trades through the stop price.
    Stop {
        /// The price that triggers it, above zero.
        stop_price: Price,
    },
    /// As a limit order once the market trades through the stop price.
    StopLimit {
        /// The price that triggers it, above zero.
        stop_price: Price,
        /// The worst acceptable price, above zero.
        price: Price,
    },
}

/// The status of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// A strategy or an execution handler submitted it.
    Submitted,
    /// Its sender requests another quantity or kind.
    ModifyRequested {
        /// The wanted whole quantity.
        qty: Qty,
        /// The wanted kind.
        kind: OrderKind,
    },
    /// Its sender requests to cancel it.
    CancelRequested,
    /// Risk approved it. A venue accepts orders in this status only.
    Approved,
    /// Risk denied it; it never reached a venue.
    Denied {
        /// Which limit, and by how much.
        reason: String,
    },
    /// The venue accepted it.
    Accepted,
    /// The venue rejected it.
    Rejected {
        /// The venue's reason.
        reason: String,
    },
    /// The venue changed it as asked.
    Modified,
    /// Part of it traded.
    PartiallyFilled {
        /// Quantity traded so far.
        filled: Qty,
    },
    /// All of it traded.
    Filled,
    /// It was cancelled before all of it traded.
    Cancelled {
        /// Quantity that had traded.
        filled: Qty,
    },
    /// It expired before all of it traded.
    Expired {
        /// Quantity that had traded.
        filled: Qty,
    },
}

/// One execution of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The order that traded.
    pub order_id: EventId,
    /// The instrument.
    pub symbol: Symbol,
    /// The strategy that it belongs to.
    pub strategy: Name,
    /// Bought or sold.
    pub side: Side,
    /// Quantity, above zero.
    pub qty: Qty,
    /// Price, above zero.
    pub price: Price,
    /// What the venue charged, zero or more.
    pub commission: Money,
    /// Whether the order was resting.
    pub liquidity: Liquidity,
}

/// Whether an execution provided or took liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liquidity {
    /// The order was resting in the book.
    Maker,
    /// The order took resting liquidity.
    Taker,
}

/// The engine's own events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// A timer fired.
    TimerFired {
        /// The handler that set it. It receives the event, and so do handlers that subscribe to `system`.
        handler: Name,
        /// The key it was set with.
        key: u64,
    },
    /// A handler returned an error, panicked or emitted too many events. What it emitted for that event was discarded.
    HandlerFailed {
        /// Which handler.
        handler: Name,
        /// While handling which event.
        event: EventId,
        /// Why, at most 1 KiB.
        reason: String,
    },
    /// A handler failed too often in a row and is skipped until the circuit half-opens.
    CircuitOpened {
        /// Which handler.
        handler: Name,
        /// Engine time from which it receives events again.
        until: Nanos,
    },
    /// The open circuit of a handler lets one event through, as a trial.
    CircuitHalfOpened {
        /// Which handler.
        handler: Name,
    },
    /// The trial succeeded; the handler receives all events again.
    CircuitClosed {
        /// Which handler.
        handler: Name,
    },
    /// An input broke a rule and was refused.
    Rejected {
        /// Why, at most 1 KiB.
        reason: String,
        /// Line of the file, counted from one, where it came from a file.
        line: Option<u64>,
        /// XXH3-128 of the refused bytes, little endian.
        digest: [u8; 16],
    },
    /// Market data is missing: a feed has a gap.
    Gap {
        /// The instrument.
        symbol: Symbol,
        /// What was missed.
        reason: String,
    },
    /// An operator's action.
    Operator {
        /// What.
        action: OperatorAction,
        /// Who.
        by: Name,
    },
}

/// The actions of an operator on a running partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAction {
    /// Activate the kill switch: risk approves no more orders.
    Kill,
    /// Deactivate the kill switch.
    Resume,
    /// Continue a halted engine after the event on which a handler failed. Changes nothing when the engine is not halted.
    PastHalt,
    /// Release the events that are parked under a key.
    Release(Release),
}

macro_rules! body_from {
    ($($variant:ident($inner:ty)),*) => {$(
        impl From<$inner> for Body {
            fn from(inner: $inner) -> Self {
                Self::$variant(inner)
            }
        }
    )*};
}

body_from!(MarketData(MarketData), Signal(Signal), Order(Order), Fill(Fill), System(System));

impl From<Quote> for Body {
    fn from(quote: Quote) -> Self {
        Self::MarketData(MarketData::Quote(quote))
    }
}

impl From<Trade> for Body {
    fn from(trade: Trade) -> Self {
        Self::MarketData(MarketData::Trade(trade))
    }
}

impl From<Bar> for Body {
    fn from(bar: Bar) -> Self {
        Self::MarketData(MarketData::Bar(bar))
    }
}
