//! Every source: its rows, its cursor, and several of them merged.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use silvertine_engine::executor::block_on;
use silvertine_engine::{
    event::{Body, MarketData, System},
    feed::{Feed, Merge, MergedSource, OnBadRow, Polled},
    source::{Input, Row, Source, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_scenarios::sources::{Bars, Binance, HistData, Quotes, Stamp, TextSource};
use tempfile::TempDir;

const BINANCE: &str = r#"1723161253937085768 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate"}}
1723161254087891268 {"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}
1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}
1723161254206652067 {"lastUpdateId":50093239218,"bids":[],"asks":[]}
nonsense
1723161254300000000 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":3735683260,"p":"61837.64","q":"0.5","T":1723161255400,"m":false}}
"#;
const BARS: &str = "timestamp,open,high,low,close,volume
2021-12-31 23:01:00.000000,46319.0,46385.0,46319.0,46377.0,2300413.7295
1640991720,46377.0,46411.0,46377.0,46411.0,1829623.1938
2021-12-31T23:03:00Z,46411.0,46425.0,46411.0,nan,466452.1722
2021-12-31 23:04:00,46411.0,46425.0,46411.0,46425.0,218102.59507500002
";
const HISTDATA: &str = "20200101 170000065,1.121200,1.121720,0\r
20200101 170010447,1.121200,1.121920,0\r
20201301 170010498,1.121170,1.121610,0\r
20200101 170010498,1.121170,1.121610,0\r
";
const QUOTES: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty
1,X,99,1,100,1
2,X,98.5,1,100.5,2
3,X,98.5,1,100.5
4,X,98.5,1,100.5,2
";

fn write(folder: &TempDir, file: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(file);
    fs::write(&path, content).expect("can be written");
    path
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_bytes()).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn open(kind: &str, path: &Path) -> Box<dyn Source> {
    let (name, symbol) = (Name::new("n").expect("valid"), Symbol::new("X").expect("valid"));
    let opened: Result<Box<dyn Source>, SourceError> = match kind {
        "binance" => TextSource::open(path, name, Binance { quotes: true, trades: true })
            .map(|source| Box::new(source) as _),
        "bars" => TextSource::open(path, name, Bars::new(symbol, 60_000_000_000, Stamp::Close))
            .map(|source| Box::new(source) as _),
        "histdata" => {
            TextSource::open(path, name, HistData { symbol }).map(|source| Box::new(source) as _)
        }
        "quotes" => TextSource::open(path, name, Quotes).map(|source| Box::new(source) as _),
        _ => unreachable!("a kind of this file"),
    };
    opened.expect("opens")
}

fn rest(source: &mut dyn Source) -> Vec<Row> {
    std::iter::from_fn(|| source.next_row().expect("reads")).collect()
}

const FILES: [(&str, &str, usize); 4] =
    [("binance", BINANCE, 4), ("bars", BARS, 4), ("histdata", HISTDATA, 4), ("quotes", QUOTES, 4)];

#[test]
fn every_row_is_an_event_or_bad_and_numbers_never_repeat() {
    let folder = TempDir::new().expect("a temporary folder");
    for (kind, content, count) in FILES {
        let mut source = open(kind, &write(&folder, kind, content.as_bytes()));
        let rows = rest(&mut *source);
        assert_eq!(rows.len(), count, "{kind}");
        let bad = rows.iter().filter(|row| matches!(row, Row::Bad(_))).count();
        assert_eq!(bad, 1, "{kind}");
        let numbers: Vec<u64> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Event(input) => Some(input.source_seq),
                Row::Bad(_) => None,
            })
            .collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{kind}: {numbers:?}");
        assert_eq!(source.cursor().seq, count as u64, "a bad row takes a number too");
    }
}

#[test]
fn seeking_gives_exactly_the_remaining_rows_of_plain_and_gzipped_files() {
    let folder = TempDir::new().expect("a temporary folder");
    for (kind, content, count) in FILES {
        for zipped in [false, true] {
            let bytes = if zipped { gzip(content) } else { content.as_bytes().to_vec() };
            let path = write(&folder, &format!("{kind}-{zipped}"), &bytes);
            let all = rest(&mut *open(kind, &path));
            for cut in 0..=count {
                let mut first = open(kind, &path);
                for _ in 0..cut {
                    first.next_row().expect("reads");
                }
                let mut second = open(kind, &path);
                second.seek(first.cursor()).expect("seeks");
                assert_eq!(rest(&mut *second), all[cut..], "{kind} {zipped} cut at {cut}");
            }
        }
    }
}

fn events(kind: &str, content: &str) -> Vec<Input> {
    let folder = TempDir::new().expect("a temporary folder");
    let rows = rest(&mut *open(kind, &write(&folder, kind, content.as_bytes())));
    let event = |row| match row {
        Row::Event(input) => Some(input),
        Row::Bad(_) => None,
    };
    rows.into_iter().filter_map(event).collect()
}

#[test]
fn times_and_numbers_are_read_exactly() {
    let binance = events("binance", BINANCE);
    let trade = &binance[1];
    assert_eq!(trade.recv_time, Nanos(1_723_161_254_087_896_568));
    assert_eq!(trade.event_time, Nanos(1_723_161_255_342_000_000));
    let Body::MarketData(MarketData::Trade(data)) = &trade.body else { panic!("a trade") };
    assert_eq!((data.trade_id, data.price.to_string().as_str()), (3_735_683_259, "61837.63"));
    assert_eq!(data.aggressor, silvertine_engine::event::Side::Sell, "the buyer was resting");
    assert_eq!(binance[0].event_time, binance[0].recv_time, "spot quotes have no other time");

    let bars = events("bars", BARS);
    assert_eq!(bars[0].recv_time.to_string(), "2021-12-31T23:01:00.000000000Z");
    assert_eq!(bars[1].recv_time.to_string(), "2021-12-31T23:02:00.000000000Z");

    let ticks = events("histdata", HISTDATA);
    assert_eq!(ticks[0].recv_time.to_string(), "2020-01-01T22:00:00.065000000Z", "EST is UTC-5");
}

#[test]
fn bars_stamped_at_their_opening_are_known_one_interval_later() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = write(&folder, "bars", BARS.as_bytes());
    let (name, symbol) = (Name::new("n").expect("valid"), Symbol::new("X").expect("valid"));
    let format = Bars::new(symbol, 60_000_000_000, Stamp::Open);
    let mut source = TextSource::open(&path, name, format).expect("opens");
    let Ok(Some(Row::Event(first))) = source.next_row() else { panic!("an event") };
    assert_eq!(first.recv_time.to_string(), "2021-12-31T23:02:00.000000000Z");
}

#[test]
fn a_bar_file_without_a_column_is_refused_with_both_headers() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = write(&folder, "bars", b"timestamp,open,high,low,close\n1,2,3,4,5\n");
    let (name, symbol) = (Name::new("n").expect("valid"), Symbol::new("X").expect("valid"));
    let refused = TextSource::open(&path, name, Bars::new(symbol, 1, Stamp::Close)).err();
    let message = refused.expect("must be refused").to_string();
    assert!(message.contains("volume") && message.contains("expected"), "{message}");
}

fn merged(folder: &TempDir, files: &[(&str, &str)], on_bad_row: OnBadRow) -> Merge {
    let lane = |(file, content): &(&str, &str)| {
        let path = write(folder, file, content.as_bytes());
        let name = Name::new(file).expect("valid");
        let source = TextSource::open(&path, name, Quotes).expect("opens");
        MergedSource::new(Box::new(source), *file, on_bad_row)
    };
    Merge::new(files.iter().map(lane).collect())
}

fn take_all(feed: &mut Merge) -> Vec<Input> {
    let mut taken = Vec::new();
    while let Polled::Ready(_) = block_on(feed.poll(std::time::Duration::ZERO)).expect("reads") {
        taken.push(feed.take());
    }
    taken
}

const HEADER: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n";

#[test]
fn sources_merge_by_time_then_their_order_and_continue_from_any_checkpoint() {
    let folder = TempDir::new().expect("a temporary folder");
    let rows = |times: &[u64]| -> String {
        let row = |time: &u64| format!("{time},X,1,1,2,1\n");
        HEADER.to_owned() + &times.iter().map(row).collect::<String>()
    };
    let (a, b) = (rows(&[1, 3, 3, 7]), rows(&[1, 2, 3, 9]));
    let files = [("a", a.as_str()), ("b", b.as_str())];
    let fresh = || merged(&folder, &files, OnBadRow::Stop);
    let all = take_all(&mut fresh());
    let order: Vec<String> =
        all.iter().map(|input| format!("{}{}", input.source, input.recv_time.0)).collect();
    assert_eq!(order, ["a1", "b1", "b2", "a3", "a3", "b3", "a7", "b9"]);
    for cut in 0..=all.len() {
        let mut first = fresh();
        for _ in 0..cut {
            block_on(first.poll(std::time::Duration::ZERO)).expect("reads");
            first.take();
        }
        // A row looked at and not taken must come again.
        block_on(first.poll(std::time::Duration::ZERO)).expect("reads");
        let mut second = fresh();
        second.restore(&first.checkpoint()).expect("its own checkpoint");
        assert_eq!(take_all(&mut second), all[cut..], "cut at {cut}");
    }
}

#[test]
fn a_row_that_breaks_a_rule_stops_or_is_recorded_as_refused() {
    let folder = TempDir::new().expect("a temporary folder");
    for (row, why) in [("2,X,101,1,100,1\n", "crossed"), ("2,X,-1,1,100,1\n", "above zero")] {
        let content = format!("{HEADER}1,X,99,1,100,1\n{row}3,X,99,1,100,1\n");
        let files = [("q", content.as_str())];
        let taken = take_all(&mut merged(&folder, &files, OnBadRow::Skip));
        assert_eq!(taken.len(), 3);
        let Body::System(System::Rejected { reason, line, digest }) = &taken[1].body else {
            panic!("a refusal, got {:?}", taken[1]);
        };
        assert!(reason.contains(why), "{reason}");
        assert_eq!(*line, Some(3));
        let raw = row.trim_end().as_bytes();
        assert_eq!(*digest, silvertine_engine::digest::fingerprint(raw));
        let mut stopping = merged(&folder, &files, OnBadRow::Stop);
        block_on(stopping.poll(std::time::Duration::ZERO)).expect("the first row is good");
        stopping.take();
        let stopped = block_on(stopping.poll(std::time::Duration::ZERO)).expect_err("must stop");
        assert!(stopped.to_string().contains("line 3"), "{stopped}");
    }
}
