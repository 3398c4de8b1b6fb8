//! A faster encoder for the most frequent bodies: quotes, trades and signals.
//!
//! It writes the same bytes as postcard, which a test compares. It builds them on the stack and copies them once, where
//! serde appends field by field.

use crate::event::{Body, MarketData, Quote, Side, Signal, Trade};

/// The longest of them: two tags, two texts of at most 31 bytes and five numbers.
const LONGEST: usize = 2 + 2 * 32 + 5 * 10;

/// Appends the body to `out`, if it is one of these.
#[inline]
pub(super) fn encode(body: &Body, out: &mut Vec<u8>) -> bool {
    let mut written = Written { bytes: [0; LONGEST], len: 0 };
    match body {
        Body::MarketData(MarketData::Quote(quote)) => written.quote(quote),
        Body::MarketData(MarketData::Trade(trade)) => written.trade(trade),
        Body::Signal(signal) => written.signal(signal),
        _ => return false,
    }
    out.extend_from_slice(&written.bytes[..written.len]);
    true
}

struct Written {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Written {
    fn quote(&mut self, quote: &Quote) {
        let Quote { symbol, bid, bid_qty, ask, ask_qty } = quote;
        self.byte(0);
        self.byte(0);
        self.text(symbol.as_bytes());
        for units in [bid.units(), bid_qty.units(), ask.units(), ask_qty.units()] {
            self.signed(units);
        }
    }

    fn trade(&mut self, trade: &Trade) {
        let Trade { symbol, trade_id, price, qty, aggressor } = trade;
        self.byte(0);
        self.byte(1);
        self.text(symbol.as_bytes());
        self.unsigned(*trade_id);
        self.signed(price.units());
        self.signed(qty.units());
        self.byte(match aggressor {
            Side::Buy => 0,
            Side::Sell => 1,
        });
    }

    fn signal(&mut self, signal: &Signal) {
        let Signal { symbol, strategy, strength } = signal;
        self.byte(1);
        self.text(symbol.as_bytes());
        self.text(strategy.as_bytes());
        self.signed(strength.units());
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// The length, then the text: at most 31 bytes, as symbols and names are.
    #[inline]
    fn text(&mut self, text: &[u8]) {
        self.byte(text.len() as u8);
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    /// A varint: seven bits a byte, lowest first; the highest bit says that another byte follows.
    #[inline]
    fn unsigned(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// A zigzag varint, in which small numbers of either sign are short: 0, -1, 1, -2 become 0, 1, 2, 3.
    #[inline]
    fn signed(&mut self, number: i64) {
        self.unsigned((number << 1 ^ number >> 63) as u64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        numbers::{Price, Qty, Ratio},
        text::{Name, Symbol},
    };

    /// Numbers of every length, and both ends.
    fn units() -> impl Strategy<Value = i64> {
        prop_oneof![
            (any::<i64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift),
            Just(i64::MIN),
            Just(i64::MAX),
        ]
    }

    fn bodies() -> impl Strategy<Value = Body> {
        let symbol = "[!-~]{1,15}".prop_map(|text| Symbol::new(&text).expect("short"));
        let name = "[!-~]{1,31}".prop_map(|text| Name::new(&text).expect("short"));
        let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
        let numbers = (units(), units(), units(), units());
        (0..3, symbol, name, numbers, side).prop_map(|(kind, symbol, strategy, numbers, side)| {
            let (a, b, c, d) = numbers;
            let (price, qty) = (Price::from_units, Qty::from_units);
            match kind {
                0 => {
                    Quote { symbol, bid: price(a), bid_qty: qty(b), ask: price(c), ask_qty: qty(d) }
                        .into()
                }
                1 => {
                    let (price, qty) = (price(a), qty(b));
                    Trade { symbol, trade_id: c as u64, price, qty, aggressor: side }.into()
                }
                _ => Signal { symbol, strategy, strength: Ratio::from_units(a) }.into(),
            }
        })
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_postcard(body in bodies()) {
            let mut written = vec![7];
            prop_assert!(encode(&body, &mut written));
            let expected = postcard::to_extend(&body, vec![7_u8]).expect("it is plain data");
            prop_assert_eq!(written, expected);
        }
    }

    #[test]
    fn other_bodies_are_left_alone() {
        let handler = Name::new("h").expect("short");
        let mut written = Vec::new();
        assert!(!encode(
            &crate::event::System::TimerFired { handler, key: 1 }.into(),
            &mut written
        ));
        assert!(written.is_empty());
    }
}
