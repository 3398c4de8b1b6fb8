//! Files that are damaged, hostile, empty or not there: each is named, and each costs bounded memory.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use silvertine_engine::{
    event::{Body, MarketData},
    source::{Row, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
};
use silvertine_scenarios::sources::{
    Bars, Binance, Format, HistData, LINE_LIMIT, Only, QuoteWriter, Quotes, Stamp, TextSource,
};
use tempfile::TempDir;

const HEADER: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n";
const ALL: Binance = Binance { quotes: true, trades: true };

/// A file with this content; it lives as long as its folder.
fn file(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("rows");
    fs::write(&path, content).expect("can be written");
    (folder, path)
}

fn open<F: Format>(path: &Path, format: F) -> Result<TextSource<F>, SourceError> {
    TextSource::open(path, Name::new("n").expect("valid"), format)
}

/// Rows up to the end or the first error.
fn read(source: &mut impl Source) -> (Vec<Row>, Option<SourceError>) {
    let mut rows = Vec::new();
    loop {
        match source.next_row() {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => return (rows, None),
            Err(why) => return (rows, Some(why)),
        }
    }
}

/// Why the only row of this content is bad.
fn reason(content: &str, format: impl Format) -> String {
    let (_folder, path) = file(content.as_bytes());
    let mut source = open(&path, format).expect("opens");
    match source.next_row() {
        Ok(Some(Row::Bad(why))) => why,
        other => panic!("a bad row, got {other:?} of {content:.200}"),
    }
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).expect("valid")
}

fn trade(fields: &str) -> String {
    format!("1 {{\"stream\":\"x@trade\",\"data\":{{{fields}}}}}\n")
}

#[test]
fn files_that_cannot_be_opened_say_why_in_plain_words() {
    let (folder, _path) = file(b"");
    let why = |path: &Path| match open(path, Quotes) {
        Err(SourceError::Open { why, .. }) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("must not open"),
    };
    assert_eq!(why(&folder.path().join("missing")), "no such file");
    assert_eq!(why(folder.path()), "is a folder, not a file");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = file(HEADER.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("our own file");
    if fs::File::open(&path).is_ok() {
        eprintln!("skipped: a_file_that_may_not_be_read_says_so: this user may read everything");
        return;
    }
    let refused = open(&path, Quotes).err().expect("must not open");
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

#[test]
fn a_file_without_any_event_is_empty_at_its_end() {
    let depth = "1 {\"stream\":\"x@depth\",\"data\":{}}\n";
    for content in ["", depth, "nonsense\n"] {
        let (_folder, path) = file(content.as_bytes());
        let (_rows, why) = read(&mut open(&path, ALL).expect("opens"));
        assert!(matches!(why, Some(SourceError::Empty { .. })), "{content:?}: {why:?}");
    }
}

#[test]
fn nothing_left_behind_events_is_an_end_and_no_empty_file() {
    let (_folder, path) = file(format!("{HEADER}1,X,99,1,100,1\nnonsense\n").as_bytes());
    let mut first = open(&path, Quotes).expect("opens");
    assert_eq!(read(&mut first).0.len(), 2);
    let mut second = open(&path, Quotes).expect("opens");
    second.seek(first.cursor()).expect("seeks");
    assert_eq!(second.next_row(), Ok(None));
}

#[test]
fn the_cursor_of_all_zero_is_the_start_and_the_header_no_row() {
    let (_folder, path) = file(format!("{HEADER}1,X,99,1,100,1\n").as_bytes());
    let mut source = open(&path, Quotes).expect("opens");
    let all = read(&mut source).0;
    source.seek(SourceCursor::default()).expect("seeks");
    assert_eq!(read(&mut source).0, all);
    assert!(matches!(all[..], [Row::Event(_)]), "{all:?}");
}

#[test]
fn a_file_shorter_than_the_cursor_is_refused() {
    let (_folder, path) = file(format!("{HEADER}1,X,99,1,100,1\n").as_bytes());
    let mut source = open(&path, Quotes).expect("opens");
    read(&mut source);
    let cursor = source.cursor();
    fs::write(&path, HEADER).expect("can be written");
    let refused = source.seek(cursor).expect_err("it is shorter");
    assert!(refused.to_string().contains("shorter"), "{refused}");
}

#[test]
fn a_line_at_the_limit_is_read_and_one_past_it_is_one_bad_row() {
    for end in ["\n", "\r\n"] {
        for past in 0..4 {
            let long = "9".repeat(LINE_LIMIT + past);
            let content = format!("{HEADER}{long}{end}2,X,99,1,100,1\n");
            let (_folder, path) = file(content.as_bytes());
            let mut source = open(&path, Quotes).expect("opens");
            let Ok(Some(Row::Bad(why))) = source.next_row() else { panic!("a bad row") };
            assert_eq!(why.contains("longer than"), past > 0, "{past}: {why}");
            assert_eq!(source.last_row().bytes.len(), LINE_LIMIT, "what is kept is bounded");
            let cursor = source.cursor();
            let rest = read(&mut source).0;
            assert!(matches!(&rest[..], [Row::Event(input)] if input.source_seq == 2));
            assert_eq!(source.last_row().line, 3);
            source.seek(cursor).expect("seeks");
            assert_eq!(read(&mut source).0, rest, "the offset counts all of the long line");
        }
    }
}

#[test]
fn a_damaged_gzip_file_is_read_up_to_the_damage_and_the_line_is_named() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(HEADER.as_bytes()).expect("a vector takes all");
    for row in 0..20_000_u64 {
        // Digits that do not compress away, or nothing would be left to cut.
        let price = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        writeln!(encoder, "{row},X,{price},1,2000000,1").expect("a vector takes all");
    }
    let whole = encoder.finish().expect("a vector takes all");
    for (cut, says) in [(whole.len() / 2, "ends early"), (whole.len() - 1, "ends early")] {
        let (_folder, path) = file(&whole[..cut]);
        let (rows, why) = read(&mut open(&path, Quotes).expect("opens"));
        let Some(SourceError::Read { line, why, .. }) = why else { panic!("{why:?}") };
        assert_eq!(line, rows.len() as u64 + 2, "behind the header and the rows");
        assert!(why.contains(says), "{why}");
        assert!(rows.iter().all(|row| matches!(row, Row::Event(_))), "no torn row is invented");
    }
    let mut garbage = whole[..10].to_vec();
    garbage.extend([0xff; 500]);
    let (_folder, path) = file(&garbage);
    let refused = open(&path, Quotes).err().expect("nothing can be read").to_string();
    assert!(refused.contains("line 1") && refused.contains("damaged"), "{refused}");
}

#[test]
fn each_kind_of_malformed_row_has_its_own_reason() {
    let quotes = |row: &str| reason(&format!("{HEADER}{row}\n"), Quotes);
    assert!(quotes("1,X,NaN,1,100,1").contains("bid \"NaN\" is not a decimal number"));
    assert!(quotes("1,X,99,1,100").contains("5 columns instead of 6"));
    assert!(quotes("1,X,99,1,100,1,1").contains("7 columns instead of 6"));
    assert!(quotes("1,X,99.0000000001,1,100,1").contains("more than 9 decimal places"));
    assert!(quotes("1,,99,1,100,1").contains("symbol"));
    assert!(quotes("-1,X,99,1,100,1").contains("time_ns"));

    let bars = |row: &str| {
        let content = format!("Volume,TIMESTAMP,open,high,low,close\n{row}\n");
        reason(&content, Bars::new(symbol("X"), 60, Stamp::Close))
    };
    assert!(bars("1,2021-02-29 00:00:00,1,1,1,1").contains("is not a time"));
    assert!(bars("1,1640991720,1,1,1,nan").contains("close"));
    assert!(bars("1,1640991720,1.0000000001,1,1,1").contains("decimal places"));
    assert!(bars("1,1640991720,1,1,1").contains("5 columns instead of 6"));

    let histdata = |row: &str| reason(row, HistData { symbol: symbol("X") });
    assert!(histdata("20200101 17000006,1,1,0\n").contains("YYYYMMDD HHMMSSmmm"));
    assert!(histdata("20200101 250000065,1,1,0\n").contains("YYYYMMDD HHMMSSmmm"));
    assert!(histdata("20200101 170000065,1,1\n").contains("3 columns instead of 4"));

    let binance = |row: &str| reason(row, ALL);
    assert!(binance("nonsense\n").contains("no receive time"));
    assert!(binance("18446744073709551616 {}\n").contains("receive time in ns"));
    assert!(binance("1 {}\n").contains("not a message of a combined stream"));
    assert!(binance("1 {\"stream\":\"x@nonsense\",\"data\":{}}\n").contains("unknown stream"));
    assert!(binance("1 {\"stream\":\"x@trade\",\"data\":{\"s\":\"X\"").contains("EOF"));
    assert!(binance(&trade("\"s\":\"X\"")).contains("missing field"));
    let priced = |price| format!(r#""s":"X","t":1,"p":"{price}","q":"1","T":1,"m":true"#);
    assert!(binance(&trade(&priced("nan"))).contains("price \"nan\""));
    assert!(binance(&trade(&priced("1.0000000001"))).contains("decimal places"));
}

#[test]
fn the_reason_for_a_hostile_row_stays_short() {
    let long = "é".repeat(200_000);
    for row in [
        format!("1 {{\"stream\":\"x@{long}\"}}\n"),
        trade(&format!(r#""s":"{long}","t":1,"p":"1","q":"1","T":1,"m":true"#)),
        trade(&format!(r#""s":"X","t":"{long}""#)),
    ] {
        let why = reason(&row, ALL);
        assert!(why.len() <= 204, "{} bytes: {why:.300}", why.len());
    }
}

#[test]
fn futures_trades_that_no_order_book_made_are_passed_over() {
    let row = |origin: &str, id: u64, price: &str| {
        trade(&format!(
            r#""T":1,"s":"X","t":{id},"p":"{price}","q":"{price}","X":"{origin}","m":true"#
        ))
    };
    let rows = [
        row("MARKET", 1, "5"),
        row("NA", 2, "0"),
        row("INSURANCE_FUND", 3, "5"),
        row("ADL", 4, "5"),
        row("MARKET", 5, "5"),
    ];
    let (_folder, path) = file(rows.concat().as_bytes());
    let (rows, why) = read(&mut open(&path, ALL).expect("opens"));
    let ids: Vec<(u64, u64)> = rows
        .iter()
        .map(|row| match row {
            Row::Event(input) => match &input.body {
                Body::MarketData(MarketData::Trade(trade)) => (input.source_seq, trade.trade_id),
                other => panic!("a trade, got {other:?}"),
            },
            Row::Bad(why) => panic!("{why}"),
        })
        .collect();
    assert_eq!((ids, why), (vec![(1, 1), (2, 5)], None));
}

#[test]
fn only_the_instruments_asked_for_become_events() {
    let rows = ["1,X,99,1,100,1", "2,Y,99,1,100,1", "3,Z,99,1,100,1", "4,X,99,1,100,1"].join("\n");
    let (_folder, path) = file(format!("{HEADER}{rows}\n").as_bytes());
    for (wanted, count) in [(vec![], 4), (vec!["X"], 2), (vec!["Y", "Z"], 2)] {
        let symbols = wanted.into_iter().map(symbol).collect();
        let mut source = open(&path, Only { format: Quotes, symbols }).expect("opens");
        assert_eq!(read(&mut source).0.len(), count);
        assert_eq!(source.cursor().seq, count as u64, "what is passed over takes no number");
    }
}

#[test]
fn what_the_writer_writes_reads_back_the_same() {
    let content = format!("{HEADER}1,X,99,1,100,1\n2,Y,0.000000001,0,9223372036.854775807,3.5\n");
    let (_folder, path) = file(content.as_bytes());
    let mut written = Vec::new();
    let mut writer = QuoteWriter::new(&mut written).expect("a vector takes all");
    for row in read(&mut open(&path, Quotes).expect("opens")).0 {
        let Row::Event(input) = row else { panic!("an event, got {row:?}") };
        let Body::MarketData(MarketData::Quote(quote)) = &input.body else { panic!("a quote") };
        writer.write(input.recv_time, quote).expect("a vector takes all");
    }
    writer.finish().expect("a vector takes all");
    assert_eq!(String::from_utf8(written).expect("text"), content);
}

#[test]
fn progress_ends_at_the_size_of_the_file() {
    let (_folder, path) = file(format!("{HEADER}1,X,99,1,100,1\n").as_bytes());
    let mut source = open(&path, Quotes).expect("opens");
    read(&mut source);
    let size = fs::metadata(&path).expect("exists").len();
    assert_eq!(source.progress(), Some((size, size)));
}
