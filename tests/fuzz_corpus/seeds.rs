//! The seeds: what the codecs themselves write, and edge cases by hand. No recorded data.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use silvertine::{
    engine::{
        codec::{Codec, InputMessage, encode_entry},
        digest::Digest,
        event::{
            Bar, Body, Event, EventId, Fill, Header, Liquidity, OperatorAction, Order, OrderKind,
            OrderStatus, Origin, Quote, Side, Signal, System, Trade,
        },
        log::Batch,
        numbers::{Money, Price, Qty, Ratio},
        pos::Pos,
        source::SourceCursor,
        text::{Name, Symbol},
        time::Nanos,
    },
    scenarios::{manifest::Manifest, registry::Registry, scenario::Scenario},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::bodies;

/// Target, file name, content.
type Seed = (&'static str, String, Vec<u8>);

/// Every seed.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    seeds.extend(numbered("entry", entries()));
    seeds.extend(numbered("message", messages()));
    seeds.extend(numbered("scenario", scenarios()));
    seeds.extend(numbered("manifest", manifests()));
    seeds.extend(numbered("rows", rows()));
    seeds.extend(numbered("files", files()));
    seeds.extend(numbered("records", records()));
    seeds.extend(numbered("names", names()));
    seeds.extend(numbered("numbers", numbers()));
    seeds.extend(numbered("snapshot", snapshots()));
    seeds.extend(numbered("checkpoint", checkpoints()));
    seeds
}

fn numbered(target: &'static str, seeds: Vec<Vec<u8>>) -> impl Iterator<Item = Seed> {
    seeds.into_iter().enumerate().map(move |(at, bytes)| (target, format!("seed-{at:02}"), bytes))
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

/// One body of every kind, and the ends of the numbers.
fn bodies() -> Vec<Body> {
    let (symbol, strategy) = (Symbol::new("X").expect("valid"), name("s"));
    let (price, qty) = (Price::from_units(1), Qty::MAX);
    let order_id = EventId(7);
    let order = |kind, status| -> Body {
        Order { order_id, symbol, strategy, side: Side::Buy, qty, kind, status }.into()
    };
    let reason = || "too large".to_owned();
    vec![
        Quote { symbol, bid: price, bid_qty: qty, ask: Price::MAX, ask_qty: Qty::ZERO }.into(),
        Trade { symbol, trade_id: u64::MAX, price, qty, aggressor: Side::Sell }.into(),
        Trade {
            symbol,
            trade_id: 0,
            price: Price::from_units(i64::MIN),
            qty: Qty::from_units(-1),
            aggressor: Side::Buy,
        }
        .into(),
        Bar {
            symbol,
            interval_ns: 60_000_000_000,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: qty,
        }
        .into(),
        Signal { symbol, strategy, strength: Ratio::MINUS_ONE }.into(),
        order(OrderKind::Market, OrderStatus::Submitted),
        order(OrderKind::Limit { price }, OrderStatus::Denied { reason: reason() }),
        order(
            OrderKind::Stop { stop_price: price },
            OrderStatus::ModifyRequested { qty, kind: OrderKind::Market },
        ),
        order(
            OrderKind::StopLimit { stop_price: price, price },
            OrderStatus::PartiallyFilled { filled: qty },
        ),
        Fill {
            order_id,
            symbol,
            strategy,
            side: Side::Sell,
            qty,
            price,
            commission: Money::from_units(i128::MAX),
            liquidity: Liquidity::Maker,
        }
        .into(),
        System::TimerFired { handler: strategy, key: 7 }.into(),
        System::HandlerFailed { handler: strategy, event: order_id, reason: reason() }.into(),
        System::CircuitOpened { handler: strategy, until: Nanos::MAX }.into(),
        System::Rejected { reason: reason(), line: Some(9), digest: [0xab; 16] }.into(),
        System::Gap { symbol, reason: reason() }.into(),
        System::Operator { action: OperatorAction::Kill, by: strategy }.into(),
    ]
}

fn event(seq: u64, body: Body) -> Event {
    let decided = seq.is_multiple_of(2);
    let (time, id) = (Nanos(1_704_067_200_000_000_000 + seq), EventId(seq.into()));
    let header = Header {
        id,
        event_time: time,
        recv_time: time,
        source: name("seed"),
        source_seq: seq,
        correlation: if decided { EventId(1) } else { id },
        causation: decided.then_some(EventId(1)),
    };
    let origin = if decided { Origin::Decision } else { Origin::Input };
    Event { pos: Pos { ms: time.as_ms(), seq }, time, origin, header, body }
}

fn entries() -> Vec<Vec<u8>> {
    let encode = |(seq, body)| {
        let mut bytes = Vec::new();
        encode_entry(&event(seq, body), &mut bytes);
        bytes
    };
    let mut seeds: Vec<Vec<u8>> = (1..).zip(bodies()).map(encode).collect();
    let mut cut = seeds[0].clone();
    cut.truncate(40);
    seeds.push(cut);
    seeds
}

fn messages() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (seq, body) in (1_u64..).zip(bodies()) {
        let id = seq.is_multiple_of(2).then_some(EventId(seq.into()));
        let message = InputMessage { id, event_time: Nanos(seq), body };
        seeds.push(Codec::Postcard.encode(&message));
        seeds.push(Codec::Json.encode(&message));
    }
    seeds.extend(texts(&[
        "",
        "{}",
        r#"{"event_time":1,"body":{"nonsense\n":1}}"#,
        r#"{"event_time":1,"body":{"system":{"circuit_closed":{"handler":"a\u0000b"}}}}"#,
        r#"{"event_time":1,"body":{"signal":{"symbol":"X","strategy":"s","strength":1}}}"#,
    ]));
    seeds
}

const SCENARIO: &str = r#"name = "seed"
description = "every section"
seed = 7
clock = "virtual"
[engine]
cascade_limit = 8
circuit_failures = 1
circuit_reset_ms = 1
dedup_window_ms = 1
dedup_capacity = 1
[run]
batch_entries = 1
snapshot_entries = 1
snapshot_interval_s = 1
retention_entries = 1
give_up_after_s = 1
[[source]]
kind = "generator"
name = "market"
symbols = ["X", "Y"]
events = 100
seed = 3
start_ns = 5
interval_ns = 1000
start_price = "100"
tick = "0.01"
spread_ticks = 2
trades_per_mille = 500
[[source]]
kind = "binance"
name = "b"
path = "${data}/b.gz"
trades = false
symbols = ["X"]
on_bad_row = "skip"
[[source]]
kind = "bars"
name = "c"
path = "c.csv"
symbol = "X"
interval_s = 60
timestamp = "open"
[[source]]
kind = "histdata"
name = "d"
path = "d.csv"
symbol = "X"
[[source]]
kind = "quotes"
name = "e"
path = "e.csv"
[[handler]]
kind = "risk-limits"
params = { max_position = "1", max_order_qty = 1, max_orders_per_second = 5, max_loss = "10" }
[[handler]]
kind = "target-position"
priority = "high"
params = { unit_qty = "0.2", lot = "0.001", order = "limit" }
[[handler]]
kind = "sim-venue"
params = { latency_us = 20000, maker_fee = "0.0001", taker_fee = "0.0002", limit_to_displayed = true }
[[handler]]
kind = "ema-cross"
name = "fast"
params = { symbol = "X", fast = 2, slow = 5, on = "quote", long_only = true }
[[handler]]
kind = "portfolio"
params = { starting_cash = "100000", curve_every_ms = 1 }
[expect]
digest = "00"
entries = 1
equity = "1.5"
"#;

/// Everything that only the simulator knows.
const FAULTS: &str = r#"name = "faults"
clock = "wall"
[sim]
seed = 9
[[source]]
kind = "workload"
name = "w"
seed = 5
symbols = ["X", "Y"]
events = 40
start_ns = 5
interval_ns = 1000000
price = "12.5"
trades = 100
bars = 200
bursts = 700
late = 150
duplicates = 120
bad = 60
ids = true
publish = true
[[fault]]
kind = "lost_reply"
at = "commit#17"
[[fault]]
kind = "late_effect"
after_events = 10
op = "trim"
for = "40ms"
[[fault]]
kind = "failover"
at = "00:00:10.250"
for = "2s"
lose = 3
[[fault]]
kind = "crash"
at = "01:00:00"
op = "commit"
for = "7m"
request = "late"
[[fault]]
kind = "clock_jump"
after_events = 20
by = "-3600s"
[[fault]]
kind = "flush"
at = "publish#2"
"#;

fn workload(more: &str) -> String {
    format!(
        "name = 'w'\n[[source]]\nkind = 'workload'\nname = 'w'\nseed = 1\nsymbols = ['X']\n{more}\n"
    )
}

fn fault(keys: &str) -> String {
    workload(&format!("events = 3\n[[fault]]\n{keys}"))
}

const INGRESS: &str =
    "name = 'live'\nclock = 'wall'\nsource = [{ kind = 'ingress', name = 'in' }]\n";

fn handler(params: &str) -> String {
    format!("{INGRESS}[[handler]]\nkind = 'mine'\nparams = {params}\n")
}

fn scenarios() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[SCENARIO, INGRESS, "", "name = 'x'", "name = \"a\\nb\"", "[[source]]"]);
    for params in
        ["{ x = nan }", "{ x = 0.1 }", "{ d = 1979-05-27T07:32:00Z }", "{ \"a\\u001b\" = [1] }"]
    {
        seeds.push(handler(params).into_bytes());
    }
    seeds.push(format!("{INGRESS}\"\\u001b\" = 1").into_bytes());
    seeds.push(format!("{INGRESS}[run]\ngive_up_after_s = 9223372036854775807").into_bytes());
    seeds.push(FAULTS.as_bytes().to_vec());
    for more in [
        "events = 9",
        "events = 3\nprice = '1000000000'\nbars = 1000\nlate = 1000",
        "events = 9223372036854775807\ninterval_ns = 1\nbursts = 1000",
        "events = 3\npublish = true",
    ] {
        seeds.push(workload(more).into_bytes());
    }
    for keys in [
        "kind = 'stall'\nafter_events = 1\nfor = '9223372036854775807ns'",
        "kind = 'clock_jump'\nat = '9999:59:59.999999999'\nby = '-9223372036854775807ns'",
        "kind = 'crash'\nat = 'look#1'\nop = 'commit'",
        "kind = 'crash'\nat = 'commit#0'",
        "kind = 'crash'\nat = '1:2:3:4'",
        "kind = 'power_loss'\nat = 'commit#1'\nlose = 4294967295",
        "kind = 'flush'\nafter_events = 1\nlose = 1",
        "kind = 'a\u{1b}'\nafter_events = 1",
        "kind = \"a\\u001b\"\nafter_events = 1",
        "kind = 'slow'",
    ] {
        seeds.push(fault(keys).into_bytes());
    }
    seeds
}

fn parsed(text: &str) -> Manifest {
    Manifest::of(&Scenario::parse(text, "seed", Default::default()).expect("valid"))
}

fn manifests() -> Vec<Vec<u8>> {
    let mut seeds = vec![parsed(SCENARIO).to_bytes(), parsed(INGRESS).to_bytes()];
    for params in ["{ x = 0.1, y = [true] }", "{ d = 1979-05-27T07:32:00Z }"] {
        seeds.push(parsed(&handler(params)).to_bytes());
    }
    seeds.extend(texts(&["", "{\"version\":2}", "{\"version\":1,\"a\\u001b\":0}"]));
    seeds.push(parsed(FAULTS).to_bytes());
    seeds
}

const TICKER: &str = r#"1 {"stream":"x@bookTicker","data":{"e":"bookTicker","u":1,"s":"X","b":"1.5","B":"2","a":"1.6","A":"3","T":17,"E":18}}"#;
const TRADE: &str = r#"2 {"stream":"x@trade","data":{"e":"trade","E":18,"T":17,"s":"X","t":5,"p":"1.5","q":"0.02","X":"MARKET","m":true}}"#;
const BARS: &str = "timestamp,open,high,low,close,volume\n\
    2021-12-31 23:01:00,1,2,0.5,1.5,10.12345678901\n1640991660,1,2,1,2,0\n2021-12-31T23:02:00.5Z,1,1,1,1,x\n";
const HISTDATA: &str =
    "20240102 030405678,1.1,1.2,0\n20240230 000000000,1,1,0\n20240102 030405679,1.2,1.1,0\n";
const QUOTES: &str = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n1,X,1.5,2,1.6,3\n18446744073709551615,Y,1,0,1,0\r\n\n2,X,1,2\n";

fn rows() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[TICKER, TRADE, BARS, HISTDATA, QUOTES, "", "1 ", "\n\n"]);
    seeds.extend(texts(&[
        r#"3 {"stream":"x@trade", "data":{"T":1,"s":"a b","t":5,"p":"1","q":"1","X":"ADL","m":false}}"#,
        r#"3 {"stream":"x@depth@100ms","data":{}}"#,
        r#"3 {"lastUpdateId":1}"#,
        r#"3 {"stream":"x@bookTicker","data":{"s":"\u001b[2J","b":"NaN","B":1,"a":"","A":"1"}}"#,
        "99999999999999999999 {}",
        "close,volume,open,high,low,timestamp,note\n1,2,3,4,5,1640991660000,x\n",
        "2024010\u{e9} 030405678,1,1,0",
        "\u{1b}[31m,,,\n,,,,,\n",
    ]));
    seeds
}

fn gzip(content: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content.as_bytes()).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

fn files() -> Vec<Vec<u8>> {
    let recording = format!("{TICKER}\n{TRADE}\nbad\n");
    let mut seeds = Vec::new();
    for (format, content) in (0..).zip([&recording[..], BARS, HISTDATA, QUOTES]) {
        seeds.push([&[format][..], content.as_bytes()].concat());
        // The third bit asks for the comparison with the compressed file.
        seeds.push([&[format | 4][..], content.as_bytes()].concat());
        seeds.push([&[format][..], &gzip(content)].concat());
    }
    let (whole, members) = (gzip(QUOTES), [gzip(BARS), gzip("1,1,1,1,1,1\n")].concat());
    seeds.push([&[3][..], &whole[..whole.len() - 9]].concat());
    seeds.push([&[1][..], &members].concat());
    seeds.push(vec![3, 0x1f, 0x8b]);
    seeds.push(vec![3]);
    seeds
}

/// A record as the target takes it: length of the key, key, value.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let key_len = u8::try_from(key.len()).expect("short");
    [&[key_len], key, value].concat()
}

fn sealed(content: &[u8]) -> Vec<u8> {
    [&xxh3_64(content).to_le_bytes(), content].concat()
}

fn records() -> Vec<Vec<u8>> {
    let pos_key = |prefix, pos: Pos| [&[prefix][..], &pos.to_be_bytes()].concat();
    let mut entries = Vec::new();
    let mut first = Pos::ZERO;
    for (seq, body) in (1..=3).zip(bodies()) {
        let event = event(seq, body);
        if seq == 1 {
            first = event.pos;
        }
        let mut bytes = Vec::new();
        encode_entry(&event, &mut bytes);
        entries.extend_from_slice(&u32::try_from(bytes.len()).expect("short").to_le_bytes());
        entries.extend_from_slice(&bytes);
    }
    let frame = [b"SF\x01\0\x03\0\0\0", &xxh3_64(&entries).to_le_bytes()[..], &entries].concat();
    // Epoch, owner, head (position, digest, commit, trimmed), checkpoint: see `storage/src/records/meta.rs`.
    let meta = [&[3, 9, 1, 3][..], &Digest::EMPTY.to_bytes(), &[5, 0, 0, 2, 8, 8]].concat();
    let message_key = [&b"iproducer\0"[..], &7_u64.to_be_bytes()].concat();
    vec![
        record(&pos_key(b'f', first), &frame),
        record(&pos_key(b'f', Pos::ZERO), &frame),
        record(b"m", &[&[1][..], &sealed(&meta)].concat()),
        record(b"m", b"\x02"),
        record(b"M", &sealed(b"{}")),
        record(&pos_key(b's', first), &sealed(b"state")),
        record(b"s", &sealed(b"")),
        record(&message_key, &sealed(b"\x01{}")),
        record(b"i", &sealed(b"")),
        record(b"pproducer", &sealed(&7_u64.to_be_bytes())),
        record(b"pproducer", &sealed(b"7")),
        record(b"", b""),
    ]
}

fn names() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "1723161253937-42",
        "18446744073709551615-18446744073709551615",
        "007-+1",
        "memory",
        "sled:/tmp/log",
        "sled:",
        "redis://localhost:6379/0#partition",
        "rediss://user:p@ss@host:1/0#part",
        "redis://user:p/a#s?s@host/0",
        "redis://h#a b",
        "redis://h/?a=b@c",
        "redis://h\n\u{1b}",
        "json",
        "postcard",
        "BTCUSDT",
        "\u{2028}",
        "a name of more than thirty-one bytes",
    ]);
    seeds.push(vec![0, 1, 4, 5, 255]);
    seeds.push((0..16).collect());
    seeds.extend(texts(&["redb:/tmp/log.redb", "redb:", "redb:a b#c@d", "redb:\u{1b}[2J"]));
    seeds
}

fn numbers() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "0",
        "-0",
        "61837.63000000",
        "9223372036.854775807",
        "-9223372036.854775808",
        "9223372036.854775808",
        "170141183460469231731687303715.884105727",
        "-170141183460469231731687303715.884105728",
        ".5",
        "-.5",
        "5.",
        "+1",
        "1.0000000000",
        "0.0000000001",
        "1.00000000001x",
        "1e5",
        "NaN",
        "--1",
        ".",
        "99999999999.x",
    ]);
    // A price, a quantity and an amount of money, little endian.
    for (a, b, money) in [
        (i64::MIN, -1, i128::MIN),
        (1, -1, i128::MIN),
        (i64::MIN, i64::MIN, i128::MAX),
        (i64::MAX, i64::MAX, -1),
        (0, 0, 0),
        (1, 3, 1_000_000_000),
    ] {
        let words = [a.to_le_bytes(), b.to_le_bytes()].concat();
        seeds.push([words, money.to_le_bytes().to_vec()].concat());
    }
    seeds
}

fn snapshots() -> Vec<Vec<u8>> {
    let mut alarm = bodies::alarm_engine();
    let mut seeds = vec![alarm.save().expect("saves")];
    let mut batch = Batch::default();
    for seq in 1..=2 {
        let mut input = bodies::input(seq);
        input.id = Some(EventId(seq.into()));
        alarm.step(input, Nanos(seq), &mut batch);
    }
    seeds.push(alarm.save().expect("saves"));
    batch.clear();
    let scenario =
        Scenario::parse(bodies::STANDARD, "standard", Default::default()).expect("valid");
    let mut standard = Manifest::of(&scenario).engine(&Registry::standard()).expect("valid");
    seeds.push(standard.save().expect("saves"));
    for seq in 1..=6 {
        let mut input = bodies::input(seq);
        let price = Price::from_units(if seq < 4 { 1_000_000 } else { 2_000_000 });
        let symbol = Symbol::new("X").expect("valid");
        let qty = Qty::from_units(1_000_000_000);
        input.body = Quote { symbol, bid: price, bid_qty: qty, ask: price, ask_qty: qty }.into();
        standard.step(input, Nanos(seq * 10_000), &mut batch);
    }
    seeds.push(standard.save().expect("saves"));
    seeds.push(Vec::new());
    seeds
}

fn checkpoints() -> Vec<Vec<u8>> {
    let cursor =
        |offset, line, seq, state| SourceCursor { offset, line, seq, time: Nanos(1), state };
    let (fresh, odd) = (SourceCursor::default(), [u64::MAX; 4]);
    let pairs = [
        [fresh, fresh],
        [cursor(50, 2, 1, [0; 4]), cursor(0, 0, 2, [0; 4])],
        [cursor(50, u64::MAX, u64::MAX, odd), cursor(0, 0, 3, odd)],
        [fresh, cursor(u64::MAX, u64::MAX, u64::MAX, odd)],
    ];
    let mut seeds: Vec<Vec<u8>> = pairs.iter().map(|pair| encode_cursors(pair)).collect();
    seeds.push(encode_cursors(&[fresh]));
    seeds.push(vec![0xff; 10]);
    seeds.push(encode_cursors(&[cursor(2, 2, 2, [0; 4]), cursor(3, 3, 3, [0; 4])]));
    seeds
}

/// Postcard: a count, then every field as a varint.
fn encode_cursors(cursors: &[SourceCursor]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(cursors.len() as u64, &mut bytes);
    for cursor in cursors {
        for field in [cursor.offset, cursor.line, cursor.seq, cursor.time.0] {
            varint(field, &mut bytes);
        }
        cursor.state.iter().for_each(|&word| varint(word, &mut bytes));
    }
    bytes
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
