//! Real recordings, where they are at hand: nothing lost, nothing invented, nothing out of order.

use std::path::{Path, PathBuf};

use silvertine_engine::{
    event::{Body, MarketData},
    source::{Input, Row, Source},
    text::{Name, Symbol},
};
use silvertine_scenarios::sources::{Bars, Binance, Format, HistData, Stamp, TextSource};

/// The recording called `file`, or `None` with a loud word that `test` is skipped.
fn recording(test: &str, file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("SILVERTINE_DATA").map_or(beside, PathBuf::from);
    let path = folder.join(file);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {test}: no recorded data at {} (set SILVERTINE_DATA)", path.display());
    None
}

fn read<F: Format + 'static>(path: &Path, format: F) -> Vec<Input> {
    let name = Name::new("recording").expect("valid");
    let mut source = TextSource::open(path, name, format).expect("opens");
    let mut inputs = Vec::new();
    while let Some(row) = source.next_row().expect("reads") {
        match row {
            Row::Event(input) => inputs.push(input),
            Row::Bad(why) => panic!("line {}: {why}", source.last_row().line),
        }
    }
    inputs
}

/// Quotes and trades, after checking order and trade numbers.
fn check_binance(inputs: &[Input]) -> (usize, usize) {
    assert!(inputs.windows(2).all(|pair| pair[0].recv_time < pair[1].recv_time));
    let trade_id = |input: &Input| match &input.body {
        Body::MarketData(MarketData::Trade(trade)) => Some(trade.trade_id),
        _ => None,
    };
    let trades: Vec<u64> = inputs.iter().filter_map(trade_id).collect();
    assert!(trades.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no trade is missing");
    (inputs.len() - trades.len(), trades.len())
}

const ALL: Binance = Binance { quotes: true, trades: true };

#[test]
fn the_spot_recording_holds_every_quote_and_trade_in_order() {
    let test = "the_spot_recording_holds_every_quote_and_trade_in_order";
    let Some(path) = recording(test, "binance_spot_btcusdt_20240808.raw.gz") else { return };
    assert_eq!(check_binance(&read(&path, ALL)), (28_040, 9_757));
    assert_eq!(read(&path, Binance { quotes: false, trades: true }).len(), 9_757);
}

#[test]
fn the_futures_recording_is_in_order_of_receipt_though_not_of_exchange_time() {
    let test = "the_futures_recording_is_in_order_of_receipt_though_not_of_exchange_time";
    let Some(path) = recording(test, "binance_usdm_btcusdt_20240808.raw.gz") else { return };
    let inputs = read(&path, ALL);
    assert_eq!(check_binance(&inputs), (66_089, 21_313));
    let backward = inputs.windows(2).filter(|pair| pair[0].event_time > pair[1].event_time).count();
    assert_eq!(backward, 785, "of quotes and trades; counted apart from this parser");
}

#[test]
fn every_bar_and_every_tick_is_read() {
    let test = "every_bar_and_every_tick_is_read";
    let symbol = Symbol::new("X").expect("valid");
    let Some(bars) = recording(test, "btc_perp_1m_202201.csv") else { return };
    let bars = read(&bars, Bars::new(symbol, 60_000_000_000, Stamp::Close));
    assert_eq!(bars.len(), 45_031);
    let Some(ticks) = recording(test, "histdata_eurusd_ticks_20200101.csv") else { return };
    assert_eq!(read(&ticks, HistData { symbol }).len(), 9_500);
}
