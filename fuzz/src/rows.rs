//! Rows of every text format.

use silvertine_engine::text::Symbol;
use silvertine_scenarios::sources::{
    BadRow, Bars, Binance, Format, HistData, Parsed, QuoteWriter, Quotes, Stamp,
};

use super::{assert_one_line, refused_in_one_line};

/// Every format reads any line or says in one line why not, and what it reads comes back the same.
pub fn rows(bytes: &[u8]) {
    let symbol = Symbol::new("X").expect("valid");
    let mut bars = Bars::new(symbol, 60_000_000_000, Stamp::Open);
    let mut has_header = false;
    for line in bytes.split(|&byte| byte == b'\n') {
        check_binance(line);
        check_row(HistData { symbol }.parse(line));
        if let Some(parsed) = check_row(Quotes.parse(line)) {
            check_quote(&parsed);
        }
        if let Err(why) = Quotes.header(line) {
            assert_one_line(&why);
        }
        if has_header {
            check_row(bars.parse(line));
        } else {
            has_header = bars.header(line).inspect_err(assert_one_line).is_ok();
        }
    }
}

fn check_row(parsed: Result<Option<Parsed>, BadRow>) -> Option<Parsed> {
    let parsed = parsed.inspect_err(assert_one_line).ok()??;
    refused_in_one_line(&parsed.body);
    Some(parsed)
}

fn check_binance(line: &[u8]) {
    let mut format = Binance { quotes: true, trades: true };
    let parsed = check_row(format.parse(line));
    // A space at the end is nothing to the JSON parser, and the scanner of plain messages does not know it: so the
    // two are compared.
    let spaced = format.parse(&[line, b" "].concat());
    if parsed.is_some() {
        assert_eq!(spaced, Ok(parsed), "{}", String::from_utf8_lossy(line));
    }
    let mut neither = Binance { quotes: false, trades: false };
    assert!(!matches!(neither.parse(line), Ok(Some(_))), "an event that nobody asked for");
}

fn check_quote(parsed: &Parsed) {
    let silvertine_engine::event::Body::MarketData(silvertine_engine::event::MarketData::Quote(
        quote,
    )) = &parsed.body
    else {
        panic!("a recording of quotes holds {:?}", parsed.body)
    };
    let mut file = Vec::new();
    let mut writer = QuoteWriter::new(&mut file).expect("memory takes it");
    writer.write(parsed.recv_time, quote).expect("memory takes it");
    writer.finish().expect("memory takes it");
    let row = file.split(|&byte| byte == b'\n').nth(1).expect("a row behind the header");
    assert_eq!(Quotes.parse(row).expect("reads what it wrote").as_ref(), Some(parsed));
}
