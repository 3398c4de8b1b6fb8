//! One instrument at the venue: the touch, and the orders that work against it.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    event::{EventId, Liquidity, MarketData, Order, OrderKind, Side},
    numbers::{Price, Qty},
};

/// The best price on each side, and how much of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Touch {
    bid: Price,
    bid_qty: Qty,
    ask: Price,
    ask_qty: Qty,
}

impl Touch {
    /// The price at which an order of `side` trades at once.
    const fn opposite(&self, side: Side) -> Price {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }
}

/// An execution of an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Execution {
    pub(super) order: Order,
    pub(super) qty: Qty,
    pub(super) price: Price,
    pub(super) liquidity: Liquidity,
    /// Traded in all, this execution included.
    pub(super) filled: Qty,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Book {
    touch: Option<Touch>,
    /// Once an instrument has quotes, its trades and bars no longer set the touch.
    quoted: bool,
    /// In order of time priority.
    working: Vec<Working>,
}

#[derive(Serialize, Deserialize)]
struct Working {
    order: Order,
    filled: Qty,
    /// A stop whose price was reached; always true for orders without a stop price.
    triggered: bool,
    /// It rested in the book before the market reached its price, so it adds liquidity.
    resting: bool,
}

impl Book {
    /// The first invariant that is broken, if any: an order that works has something left to trade.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        let over =
            |working: &Working| working.filled < Qty::ZERO || working.filled >= working.order.qty;
        self.working.iter().any(over).then_some("a working order has traded its whole quantity")
    }
}

impl Working {
    /// The limit price, where there is one.
    const fn limit(&self) -> Option<Price> {
        match self.order.kind {
            OrderKind::Limit { price } | OrderKind::StopLimit { price, .. } => Some(price),
            OrderKind::Market | OrderKind::Stop { .. } => None,
        }
    }

    fn trigger(&mut self, touch: &Touch) {
        if let OrderKind::Stop { stop_price } | OrderKind::StopLimit { stop_price, .. } =
            self.order.kind
        {
            let market = touch.opposite(self.order.side);
            self.triggered |= match self.order.side {
                Side::Buy => market >= stop_price,
                Side::Sell => market <= stop_price,
            };
        }
    }

    /// At which price and in which role it trades against `touch`, if it does.
    fn price_against(&self, touch: &Touch) -> Option<(Price, Liquidity)> {
        if !self.triggered {
            return None;
        }
        let market = touch.opposite(self.order.side);
        let Some(limit) = self.limit() else { return Some((market, Liquidity::Taker)) };
        let reached = match self.order.side {
            Side::Buy => market <= limit,
            Side::Sell => market >= limit,
        };
        match (reached, self.resting) {
            (false, _) => None,
            (true, true) => Some((limit, Liquidity::Maker)),
            (true, false) => Some((market, Liquidity::Taker)),
        }
    }

    /// Smaller trades first: market orders, then by better price. Ties keep time priority, because sorting
    /// is stable.
    fn price_rank(&self) -> i64 {
        match (self.limit(), self.order.side) {
            (None, _) => i64::MIN,
            (Some(limit), Side::Buy) => -limit.units(),
            (Some(limit), Side::Sell) => limit.units(),
        }
    }
}

impl Book {
    pub(super) const fn touch(&self) -> Option<Touch> {
        self.touch
    }

    pub(super) fn is_idle(&self) -> bool {
        self.working.is_empty()
    }

    /// Applies market data; `true` when the touch may have moved.
    #[inline]
    pub(super) fn update(&mut self, data: &MarketData) -> bool {
        let last = |price, qty| Touch { bid: price, bid_qty: qty, ask: price, ask_qty: qty };
        let touch = match data {
            MarketData::Quote(quote) => {
                self.quoted = true;
                Touch {
                    bid: quote.bid,
                    bid_qty: quote.bid_qty,
                    ask: quote.ask,
                    ask_qty: quote.ask_qty,
                }
            }
            MarketData::Trade(_) | MarketData::Bar(_) if self.quoted => return false,
            MarketData::Trade(trade) => last(trade.price, trade.qty),
            MarketData::Bar(bar) => last(bar.close, bar.volume),
        };
        self.touch = Some(touch);
        true
    }

    pub(super) fn is_working(&self, id: EventId) -> bool {
        self.working.iter().any(|working| working.order.order_id == id)
    }

    pub(super) fn add(&mut self, order: Order) {
        let stops = matches!(order.kind, OrderKind::Stop { .. } | OrderKind::StopLimit { .. });
        let triggered = !stops;
        self.working.push(Working { order, filled: Qty::ZERO, triggered, resting: false });
    }

    /// Removes an order; returns it and its traded quantity.
    pub(super) fn cancel(&mut self, id: EventId) -> Option<(Order, Qty)> {
        let at = self.working.iter().position(|working| working.order.order_id == id)?;
        let working = self.working.remove(at);
        Some((working.order, working.filled))
    }

    /// Puts another quantity or kind in an order's place. It keeps its time priority only when nothing
    /// but its quantity shrinks.
    pub(super) fn replace(&mut self, order: &Order) -> Result<(), &'static str> {
        let at = self.working.iter().position(|working| working.order.order_id == order.order_id);
        let at = at.ok_or("no such order is working")?;
        let old = &mut self.working[at];
        if order.qty <= old.filled {
            return Err("more than the new quantity has traded already");
        }
        if order.kind == old.order.kind && order.qty <= old.order.qty {
            old.order.qty = order.qty;
            return Ok(());
        }
        let filled = old.filled;
        self.working.remove(at);
        self.add(order.clone());
        if let Some(replaced) = self.working.last_mut() {
            replaced.filled = filled;
        }
        Ok(())
    }

    /// Trades what the market has come to.
    pub(super) fn match_resting(&mut self, limit_to_displayed: bool) -> Vec<Execution> {
        let every = |_: &Working| true;
        self.execute(every, limit_to_displayed)
    }

    /// Trades an order that has just arrived or changed.
    pub(super) fn match_arrival(
        &mut self,
        id: EventId,
        limit_to_displayed: bool,
    ) -> Vec<Execution> {
        self.execute(|working| working.order.order_id == id, limit_to_displayed)
    }

    fn execute(
        &mut self,
        concerned: impl Fn(&Working) -> bool,
        limit_to_displayed: bool,
    ) -> Vec<Execution> {
        let Some(touch) = self.touch else { return Vec::new() };
        let mut turn: Vec<usize> =
            (0..self.working.len()).filter(|&at| concerned(&self.working[at])).collect();
        turn.sort_by_key(|&at| self.working[at].price_rank());
        let (mut shown_bid, mut shown_ask) = (touch.bid_qty, touch.ask_qty);
        let mut executions = Vec::new();
        for at in turn {
            let working = &mut self.working[at];
            working.trigger(&touch);
            let priced = working.price_against(&touch);
            // Whatever does not trade now waits for the market to come to it.
            working.resting = working.triggered && working.limit().is_some();
            let Some((price, liquidity)) = priced else { continue };
            // Both quantities are positive and the first is the larger: this cannot overflow.
            let left = Qty::from_units(working.order.qty.units() - working.filled.units());
            let shown = match working.order.side {
                Side::Buy => &mut shown_ask,
                Side::Sell => &mut shown_bid,
            };
            let qty = if limit_to_displayed { left.min(*shown) } else { left };
            if qty <= Qty::ZERO {
                continue;
            }
            if limit_to_displayed {
                *shown = Qty::from_units(shown.units() - qty.units());
            }
            working.filled = Qty::from_units(working.filled.units() + qty.units());
            let (order, filled) = (working.order.clone(), working.filled);
            executions.push(Execution { order, qty, price, liquidity, filled });
        }
        self.working.retain(|working| working.filled < working.order.qty);
        executions
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::{
        event::{OrderStatus, Quote},
        text::{Name, Symbol},
    };

    use super::*;

    fn price(whole: i64) -> Price {
        Price::from_whole(whole).expect("in range")
    }

    fn qty(whole: i64) -> Qty {
        Qty::from_whole(whole).expect("in range")
    }

    fn order(id: u128, side: Side, whole: i64, kind: OrderKind) -> Order {
        Order {
            order_id: EventId(id),
            symbol: Symbol::new("X").expect("valid"),
            strategy: Name::new("s").expect("valid"),
            side,
            qty: qty(whole),
            kind,
            status: OrderStatus::Approved,
        }
    }

    fn quote(bid: i64, ask: i64) -> MarketData {
        MarketData::Quote(Quote {
            symbol: Symbol::new("X").expect("valid"),
            bid: price(bid),
            bid_qty: qty(3),
            ask: price(ask),
            ask_qty: qty(3),
        })
    }

    fn book_at(bid: i64, ask: i64) -> Book {
        let mut book = Book::default();
        book.update(&quote(bid, ask));
        book
    }

    fn place(book: &mut Book, order: Order) -> Vec<Execution> {
        let id = order.order_id;
        book.add(order);
        book.match_arrival(id, false)
    }

    fn facts(executions: &[Execution]) -> Vec<(u128, Price, Liquidity)> {
        executions.iter().map(|e| (e.order.order_id.0, e.price, e.liquidity)).collect()
    }

    #[test]
    fn a_market_order_takes_the_touch() {
        let mut book = book_at(99, 101);
        let bought = place(&mut book, order(1, Side::Buy, 5, OrderKind::Market));
        assert_eq!(facts(&bought), [(1, price(101), Liquidity::Taker)]);
        let sold = place(&mut book, order(2, Side::Sell, 5, OrderKind::Market));
        assert_eq!(facts(&sold), [(2, price(99), Liquidity::Taker)]);
        assert!(book.is_idle());
    }

    #[test]
    fn a_limit_rests_until_the_market_comes_and_fills_at_its_price_as_maker() {
        let mut book = book_at(99, 101);
        let limit = OrderKind::Limit { price: price(100) };
        assert!(place(&mut book, order(1, Side::Buy, 1, limit)).is_empty());
        book.update(&quote(98, 100));
        assert_eq!(facts(&book.match_resting(false)), [(1, price(100), Liquidity::Maker)]);
    }

    #[test]
    fn a_marketable_limit_takes_the_better_touch() {
        let mut book = book_at(99, 101);
        let limit = OrderKind::Limit { price: price(105) };
        let bought = place(&mut book, order(1, Side::Buy, 1, limit));
        assert_eq!(facts(&bought), [(1, price(101), Liquidity::Taker)]);
    }

    #[test]
    fn resting_orders_trade_by_price_then_time() {
        let mut book = book_at(99, 101);
        let limit = |whole| OrderKind::Limit { price: price(whole) };
        for (id, at) in [(1, 97), (2, 98), (3, 98)] {
            place(&mut book, order(id, Side::Buy, 1, limit(at)));
        }
        book.update(&quote(95, 96));
        let ids: Vec<u128> = facts(&book.match_resting(false)).iter().map(|f| f.0).collect();
        assert_eq!(ids, [2, 3, 1]);
    }

    #[test]
    fn a_stop_waits_for_its_price_and_then_takes_the_touch() {
        let mut book = book_at(99, 101);
        let stop = OrderKind::Stop { stop_price: price(95) };
        assert!(place(&mut book, order(1, Side::Sell, 1, stop)).is_empty());
        book.update(&quote(96, 98));
        assert!(book.match_resting(false).is_empty());
        book.update(&quote(94, 96));
        assert_eq!(facts(&book.match_resting(false)), [(1, price(94), Liquidity::Taker)]);
    }

    #[test]
    fn a_stop_limit_that_triggers_beyond_its_limit_rests() {
        let mut book = book_at(99, 101);
        let kind = OrderKind::StopLimit { stop_price: price(103), price: price(104) };
        assert!(place(&mut book, order(1, Side::Buy, 1, kind)).is_empty());
        book.update(&quote(105, 106));
        assert!(book.match_resting(false).is_empty());
        book.update(&quote(102, 103));
        assert_eq!(facts(&book.match_resting(false)), [(1, price(104), Liquidity::Maker)]);
    }

    #[test]
    fn displayed_quantity_bounds_fills_when_heeded() {
        let mut book = book_at(99, 101);
        book.add(order(1, Side::Buy, 5, OrderKind::Market));
        let first = book.match_arrival(EventId(1), true);
        assert_eq!((first[0].qty, first[0].filled), (qty(3), qty(3)));
        book.update(&quote(99, 101));
        let second = book.match_resting(true);
        assert_eq!((second[0].qty, second[0].filled), (qty(2), qty(5)));
        assert!(book.is_idle());
    }

    #[test]
    fn a_cancelled_order_is_gone_and_says_what_had_traded() {
        let mut book = book_at(99, 101);
        let limit = OrderKind::Limit { price: price(98) };
        place(&mut book, order(1, Side::Buy, 1, limit));
        assert_eq!(book.cancel(EventId(1)).map(|(_, filled)| filled), Some(Qty::ZERO));
        assert!(book.cancel(EventId(1)).is_none());
    }

    #[test]
    fn shrinking_keeps_time_priority_and_growing_loses_it() {
        let limit = OrderKind::Limit { price: price(98) };
        for (new_qty, first) in [(1, 1), (9, 2)] {
            let mut book = book_at(99, 101);
            place(&mut book, order(1, Side::Buy, 2, limit));
            place(&mut book, order(2, Side::Buy, 2, limit));
            book.replace(&order(1, Side::Buy, new_qty, limit)).expect("it works");
            book.update(&quote(97, 98));
            assert_eq!(facts(&book.match_resting(false))[0].0, first);
        }
    }

    #[test]
    fn trades_set_the_touch_only_where_there_are_no_quotes() {
        let mut book = book_at(99, 101);
        let trade = MarketData::Trade(silvertine_engine::event::Trade {
            symbol: Symbol::new("X").expect("valid"),
            trade_id: 1,
            price: price(50),
            qty: qty(1),
            aggressor: Side::Sell,
        });
        assert!(!book.update(&trade));
        let mut quoteless = Book::default();
        assert!(quoteless.update(&trade));
        let bought = place(&mut quoteless, order(1, Side::Buy, 1, OrderKind::Market));
        assert_eq!(bought[0].price, price(50));
    }
}
