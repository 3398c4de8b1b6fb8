//! What each of the five kinds of events says.

use serde::{Deserialize, Serialize};

use super::{EventId, Topic};
use crate::{
    numbers::{Money, Price, Qty, Ratio},
    park::Release,
    text::{Name, Symbol},
    time::Nanos,
};

/// What an event says. The variants' order is part of the wire format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The market moved.
    MarketData(MarketData),
    /// A strategy has an opinion.
    Signal(Signal),
    /// An order, at one point of its life.
    Order(Order),
    /// An order traded.
    Fill(Fill),
    /// The machinery itself: timers, failures, circuits, refusals, operators.
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

/// The market moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketData {
    /// The best bid and offer changed.
    Quote(Quote),
    /// Somebody traded.
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

/// A strategy's opinion of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The instrument.
    pub symbol: Symbol,
    /// Who thinks so.
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

/// An order at one point of its life. Every event of an order repeats the whole order, so each
/// stands alone in an audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's identity through its life: the id of the event that submitted it.
    pub order_id: EventId,
    /// The instrument.
    pub symbol: Symbol,
    /// On whose behalf.
    pub strategy: Name,
    /// Buy or sell.
    pub side: Side,
    /// Whole quantity, above zero.
    pub qty: Qty,
    /// How it is to be executed.
    pub kind: OrderKind,
    /// What has just become of it.
    pub status: OrderStatus,
}

impl Order {
    /// The same order, at another point of its life.
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

/// What has become of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// A strategy or an execution handler wants it.
    Submitted,
    /// Its sender wants another quantity or kind.
    ModifyRequested {
        /// The wanted whole quantity.
        qty: Qty,
        /// The wanted kind.
        kind: OrderKind,
    },
    /// Its sender wants it gone.
    CancelRequested,
    /// Risk lets it pass; the only status a venue accepts orders in.
    Approved,
    /// Risk refused it; it never reached a venue.
    Denied {
        /// Which limit, and by how much.
        reason: String,
    },
    /// The venue has it.
    Accepted,
    /// The venue refused it.
    Rejected {
        /// The venue's word.
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
    /// It was taken back before all of it traded.
    Cancelled {
        /// Quantity that had traded.
        filled: Qty,
    },
    /// Its time ran out before all of it traded.
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
    /// On whose behalf.
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

/// Whether an execution gave or took liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liquidity {
    /// The order was resting in the book.
    Maker,
    /// The order took what was there.
    Taker,
}

/// The machinery itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// A timer came due.
    TimerFired {
        /// Who set it; only this handler is handed the event unless others subscribe to `system`.
        handler: Name,
        /// The key it was set with.
        key: u64,
    },
    /// A handler returned an error, panicked or emitted without end; what it emitted for that
    /// event was discarded.
    HandlerFailed {
        /// Which handler.
        handler: Name,
        /// While handling which event.
        event: EventId,
        /// Why, at most 1 KiB.
        reason: String,
    },
    /// A handler failed too often in a row and is passed over until the circuit half-opens.
    CircuitOpened {
        /// Which handler.
        handler: Name,
        /// Engine time from which it is tried again.
        until: Nanos,
    },
    /// A handler behind an open circuit is handed one event to try.
    CircuitHalfOpened {
        /// Which handler.
        handler: Name,
    },
    /// The try went well; the handler is back.
    CircuitClosed {
        /// Which handler.
        handler: Name,
    },
    /// Something from outside was refused at the door.
    Rejected {
        /// Why, at most 1 KiB.
        reason: String,
        /// Line of the file, counted from one, where it came from a file.
        line: Option<u64>,
        /// XXH3-128 of the refused bytes, little endian.
        digest: [u8; 16],
    },
    /// A feed skipped something.
    Gap {
        /// The instrument.
        symbol: Symbol,
        /// What was missed.
        reason: String,
    },
    /// An operator did something.
    Operator {
        /// What.
        action: OperatorAction,
        /// Who.
        by: Name,
    },
}

/// What an operator can do to a running partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAction {
    /// Throw the kill switch: no order passes risk any more.
    Kill,
    /// Take the kill switch back.
    Resume,
    /// Let an engine that stands still since a handler failed go on behind the failed event. Anywhere else it
    /// changes nothing.
    PastHalt,
    /// Hand out what is parked under a key.
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
