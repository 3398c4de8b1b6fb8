//! Any bytes as a row of every format: an error or an event, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use silvertine_engine::text::Symbol;
use silvertine_scenarios::sources::{Bars, Binance, Format, HistData, Quotes, Stamp};

fuzz_target!(|bytes: &[u8]| {
    let symbol = Symbol::new("X").expect("valid");
    let _any_result = Binance { quotes: true, trades: true }.parse(bytes);
    let _any_result = HistData { symbol }.parse(bytes);
    let _any_result = Quotes.parse(bytes);
    let mut bars = Bars::new(symbol, 60_000_000_000, Stamp::Open);
    if bars.header(b"timestamp,open,high,low,close,volume").is_ok() {
        let _any_result = bars.parse(bytes);
    }
    let _any_result = bars.header(bytes);
});
