//! The rules of each kind of event. Feeds check them once; the engine and its handlers rely on them.

use super::{Bar, Body, Fill, MarketData, Order, OrderKind, OrderStatus, Quote, Signal, Trade};
use crate::{
    numbers::{Money, Price, Qty, Ratio},
    text::Symbol,
    time::Nanos,
};

/// The rule that an event breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
#[non_exhaustive]
pub struct Invalid {
    /// The field that breaks it.
    pub field: &'static str,
    /// How it breaks it.
    pub problem: &'static str,
}

/// Checks the rules of an event's kind.
///
/// # Errors
/// [`Invalid`] names the first rule that is broken.
pub fn validate(body: &Body) -> Result<(), Invalid> {
    match body {
        Body::MarketData(MarketData::Quote(quote)) => check_quote(quote),
        Body::MarketData(MarketData::Trade(trade)) => check_trade(trade),
        Body::MarketData(MarketData::Bar(bar)) => check_bar(bar),
        Body::Signal(signal) => check_signal(signal),
        Body::Order(order) => check_order(order),
        Body::Fill(fill) => check_fill(fill),
        Body::System(_) => Ok(()),
    }
}

/// Checks a time that an input carries.
///
/// # Errors
/// [`Invalid`] names `field` when it is later than [`Nanos::LATEST_INPUT`].
pub fn validate_time(time: Nanos, field: &'static str) -> Result<(), Invalid> {
    ensure(time <= Nanos::LATEST_INPUT, field, "is past the year 2499")
}

fn ensure(holds: bool, field: &'static str, problem: &'static str) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid { field, problem }) }
}

fn positive_price(price: Price, field: &'static str) -> Result<(), Invalid> {
    ensure(price > Price::ZERO, field, "must be above zero")
}

fn positive_qty(qty: Qty, field: &'static str) -> Result<(), Invalid> {
    ensure(qty > Qty::ZERO, field, "must be above zero")
}

fn not_negative_qty(qty: Qty, field: &'static str) -> Result<(), Invalid> {
    ensure(qty >= Qty::ZERO, field, "must not be negative")
}

fn present_symbol(symbol: Symbol) -> Result<(), Invalid> {
    ensure(!symbol.as_bytes().is_empty(), "symbol", "must not be empty")
}

fn check_quote(quote: &Quote) -> Result<(), Invalid> {
    present_symbol(quote.symbol)?;
    positive_price(quote.bid, "bid")?;
    positive_price(quote.ask, "ask")?;
    not_negative_qty(quote.bid_qty, "bid_qty")?;
    not_negative_qty(quote.ask_qty, "ask_qty")?;
    ensure(quote.bid <= quote.ask, "bid", "is above the ask (crossed quote)")
}

fn check_trade(trade: &Trade) -> Result<(), Invalid> {
    present_symbol(trade.symbol)?;
    positive_price(trade.price, "price")?;
    positive_qty(trade.qty, "qty")
}

fn check_bar(bar: &Bar) -> Result<(), Invalid> {
    present_symbol(bar.symbol)?;
    ensure(bar.interval_ns > 0, "interval_ns", "must be above zero")?;
    for (price, field) in
        [(bar.open, "open"), (bar.high, "high"), (bar.low, "low"), (bar.close, "close")]
    {
        positive_price(price, field)?;
    }
    ensure(
        bar.high >= bar.open && bar.high >= bar.close && bar.high >= bar.low,
        "high",
        "is below another price of the bar",
    )?;
    ensure(
        bar.low <= bar.open && bar.low <= bar.close,
        "low",
        "is above another price of the bar",
    )?;
    not_negative_qty(bar.volume, "volume")
}

fn check_signal(signal: &Signal) -> Result<(), Invalid> {
    present_symbol(signal.symbol)?;
    ensure(!signal.strategy.as_bytes().is_empty(), "strategy", "must be present")?;
    ensure(
        (Ratio::MINUS_ONE..=Ratio::ONE).contains(&signal.strength),
        "strength",
        "must be within -1 and 1",
    )
}

fn check_order(order: &Order) -> Result<(), Invalid> {
    present_symbol(order.symbol)?;
    ensure(!order.strategy.as_bytes().is_empty(), "strategy", "must be present")?;
    positive_qty(order.qty, "qty")?;
    check_order_kind(order.kind)?;
    if let OrderStatus::ModifyRequested { qty, kind } = &order.status {
        positive_qty(*qty, "status.qty")?;
        check_order_kind(*kind)?;
    }
    Ok(())
}

fn check_order_kind(kind: OrderKind) -> Result<(), Invalid> {
    match kind {
        OrderKind::Market => Ok(()),
        OrderKind::Limit { price } => positive_price(price, "limit price"),
        OrderKind::Stop { stop_price } => positive_price(stop_price, "stop price"),
        OrderKind::StopLimit { stop_price, price } => {
            positive_price(stop_price, "stop price")?;
            positive_price(price, "limit price")
        }
    }
}

fn check_fill(fill: &Fill) -> Result<(), Invalid> {
    present_symbol(fill.symbol)?;
    ensure(!fill.strategy.as_bytes().is_empty(), "strategy", "must be present")?;
    positive_price(fill.price, "price")?;
    positive_qty(fill.qty, "qty")?;
    ensure(fill.commission >= Money::ZERO, "commission", "must not be negative")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Side, Topic};

    fn quote() -> Quote {
        let price = |whole| Price::from_whole(whole).expect("in range");
        Quote {
            symbol: Symbol::new("X").expect("valid"),
            bid: price(99),
            bid_qty: Qty::ZERO,
            ask: price(100),
            ask_qty: Qty::ZERO,
        }
    }

    #[test]
    fn a_good_quote_passes_and_each_broken_rule_is_named() {
        let broken = |change: fn(&mut Quote)| {
            let mut quote = quote();
            change(&mut quote);
            validate(&quote.into()).expect_err("must be refused").field
        };
        assert_eq!(validate(&quote().into()), Ok(()));
        assert_eq!(broken(|q| q.symbol = Symbol::default()), "symbol");
        assert_eq!(broken(|q| q.bid = Price::ZERO), "bid");
        assert_eq!(broken(|q| q.ask = Price::from_units(-1)), "ask");
        assert_eq!(broken(|q| q.bid_qty = Qty::from_units(-1)), "bid_qty");
        assert_eq!(broken(|q| q.bid = Price::MAX), "bid");
    }

    #[test]
    fn a_locked_quote_is_valid() {
        let mut locked = quote();
        locked.bid = locked.ask;
        assert_eq!(validate(&locked.into()), Ok(()));
    }

    #[test]
    fn a_bar_must_span_its_prices() {
        let price = |whole| Price::from_whole(whole).expect("in range");
        let bar = Bar {
            symbol: Symbol::new("X").expect("valid"),
            interval_ns: 1,
            open: price(10),
            high: price(12),
            low: price(9),
            close: price(11),
            volume: Qty::ZERO,
        };
        assert_eq!(validate(&bar.into()), Ok(()));
        assert_eq!(validate(&Bar { high: price(10), ..bar }.into()).unwrap_err().field, "high");
        assert_eq!(validate(&Bar { low: price(11), ..bar }.into()).unwrap_err().field, "low");
        let negative = Bar { volume: Qty::from_units(-1), ..bar };
        assert_eq!(validate(&negative.into()).unwrap_err().field, "volume");
    }

    #[test]
    fn orders_fills_and_signals_keep_their_rules() {
        let order = Order {
            order_id: Default::default(),
            symbol: Symbol::new("X").expect("valid"),
            strategy: crate::text::Name::new("s").expect("valid"),
            side: Side::Buy,
            qty: Qty::from_units(1),
            kind: OrderKind::Market,
            status: OrderStatus::Submitted,
        };
        let field = |body: Body| validate(&body).expect_err("must be refused").field;
        assert_eq!(validate(&order.clone().into()), Ok(()));
        assert_eq!(field(Order { qty: Qty::ZERO, ..order.clone() }.into()), "qty");
        let limit = OrderKind::Limit { price: Price::ZERO };
        assert_eq!(field(Order { kind: limit, ..order.clone() }.into()), "limit price");
        let stop = OrderKind::Stop { stop_price: Price::ZERO };
        assert_eq!(field(Order { kind: stop, ..order.clone() }.into()), "stop price");
        let signal =
            Signal { symbol: order.symbol, strategy: order.strategy, strength: Ratio::ONE };
        assert_eq!(validate(&signal.into()), Ok(()));
        let strong = Ratio::from_units(Ratio::ONE.units() + 1);
        assert_eq!(field(Signal { strength: strong, ..signal }.into()), "strength");
        assert_eq!(field(Signal { strategy: Default::default(), ..signal }.into()), "strategy");
        let fill = Fill {
            order_id: order.order_id,
            symbol: order.symbol,
            strategy: order.strategy,
            side: Side::Sell,
            qty: Qty::from_units(1),
            price: Price::from_units(1),
            commission: Money::from_units(-1),
            liquidity: crate::event::Liquidity::Taker,
        };
        assert_eq!(field(fill.into()), "commission");
        assert_eq!(Body::from(fill).topic(), Topic::Fill);
    }
}
