//! The wire format, byte for byte. A file that has to change means a new format version.
//!
//! `SILVERTINE_BLESS=1 cargo test -p silvertine-engine --test golden` writes the files of a new one.

use std::{fs, path::PathBuf};

use silvertine_engine::{
    codec::{
        Codec, DecodeError, InputMessage, InputMessageError, decode_entry, encode_entry, peek_entry,
    },
    event::{
        Bar, Body, Event, EventId, Fill, Header, Liquidity, OperatorAction, Order, OrderKind,
        OrderStatus, Origin, Quote, Side, Signal, System, Trade, validate,
    },
    numbers::{Money, Price, Qty, Ratio},
    park::{ParkedKey, Release},
    pos::Pos,
    text::{Name, Symbol},
    time::Nanos,
};

fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

/// One event of every kind, with every part of the header in use somewhere.
fn events() -> Vec<(&'static str, Event)> {
    let (symbol, strategy) = (Symbol::new("BTCUSDT").expect("valid"), name("ema-cross"));
    let (price, qty) = ("61837.63".parse().expect("valid"), "0.02".parse().expect("valid"));
    let root = EventId::of_input(&name("binance-spot"), 42);
    let cause = EventId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let key = ParkedKey { handler: strategy, symbol: Some(symbol) };
    let bodies: [(&str, Origin, Body); 9] = [
        (
            "quote",
            Origin::Input,
            Quote { symbol, bid: price, bid_qty: qty, ask: Price::MAX, ask_qty: Qty::MAX }.into(),
        ),
        (
            "trade",
            Origin::Input,
            Trade { symbol, trade_id: 3_735_683_259, price, qty, aggressor: Side::Sell }.into(),
        ),
        (
            "bar",
            Origin::Input,
            Bar {
                symbol,
                interval_ns: 60_000_000_000,
                open: price,
                high: price,
                low: price,
                close: price,
                volume: Qty::ZERO,
            }
            .into(),
        ),
        (
            "signal",
            Origin::Decision,
            Signal { symbol, strategy, strength: Ratio::MINUS_ONE }.into(),
        ),
        (
            "order",
            Origin::Decision,
            Order {
                order_id: cause,
                symbol,
                strategy,
                side: Side::Buy,
                qty,
                kind: OrderKind::StopLimit { stop_price: price, price },
                status: OrderStatus::Denied { reason: "too large".to_owned() },
            }
            .into(),
        ),
        (
            "fill",
            Origin::Decision,
            Fill {
                order_id: cause,
                symbol,
                strategy,
                side: Side::Sell,
                qty,
                price,
                commission: Money::from_units(247_350_520),
                liquidity: Liquidity::Maker,
            }
            .into(),
        ),
        ("system", Origin::Timer, System::TimerFired { handler: strategy, key: 7 }.into()),
        (
            "rejected",
            Origin::Input,
            System::Rejected { reason: "crossed".to_owned(), line: Some(9), digest: [0xab; 16] }
                .into(),
        ),
        (
            "release",
            Origin::Input,
            System::Operator {
                action: OperatorAction::Release(Release { key, past: true }),
                by: name("operator"),
            }
            .into(),
        ),
    ];
    let time = Nanos(1_723_161_254_087_891_268);
    let event = |(label, origin, body)| {
        let is_input = origin == Origin::Input;
        let id = if is_input { root } else { EventId::of_emitted(cause, &strategy, 3) };
        let header = Header {
            id,
            event_time: Nanos(1_723_161_255_342_000_000),
            recv_time: time,
            source: if is_input { name("binance-spot") } else { strategy },
            source_seq: 42,
            correlation: root,
            causation: (!is_input).then_some(cause),
        };
        let pos = Pos { ms: time.as_ms(), seq: 77 };
        (label, Event { pos, time, origin, header, body })
    };
    bodies.map(event).into()
}

fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Compares with the file, or writes it when asked to.
#[expect(clippy::disallowed_methods, reason = "a test may read files; the engine may not")]
fn assert_golden(file: &str, actual: &str) {
    let path = golden(file);
    if std::env::var_os("SILVERTINE_BLESS").is_some() {
        fs::write(&path, actual).expect("can be written");
    }
    let expected = fs::read_to_string(&path).expect("a golden file");
    assert_eq!(actual.trim_end(), expected.trim_end(), "{file}");
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn every_kind_of_entry_is_written_as_version_1_writes_it_and_read_back() {
    for (label, event) in events() {
        let mut bytes = Vec::new();
        encode_entry(&event, &mut bytes);
        assert_golden(&format!("{label}.v1.hex"), &hex(&bytes));
        assert_eq!(decode_entry(&bytes), Ok(event.clone()), "{label}");
        let peek = peek_entry(&bytes).expect("whole");
        assert_eq!((peek.pos, peek.topic), (event.pos, event.body.topic()), "{label}");
    }
}

#[test]
fn every_kind_of_event_is_written_in_json_as_documented_and_read_back() {
    for (label, event) in events() {
        let json = serde_json::to_string_pretty(&event).expect("serializes");
        assert_golden(&format!("{label}.json"), &json);
        assert_eq!(serde_json::from_str::<Event>(&json).expect("parses"), event, "{label}");
    }
}

#[test]
fn messages_of_both_codecs_are_written_as_documented_and_read_back() {
    let (_, event) = events().remove(1);
    let message = InputMessage {
        id: Some(event.header.id),
        event_time: event.header.event_time,
        body: event.body,
    };
    let postcard = Codec::Postcard.encode(&message);
    assert_golden("message.v1.hex", &hex(&postcard));
    let json = Codec::Json.encode(&message);
    assert_golden("message.json", &String::from_utf8(json.clone()).expect("JSON is UTF-8"));
    assert_eq!(Codec::Postcard.decode(&postcard), Ok(message.clone()));
    assert_eq!(Codec::Json.decode(&json), Ok(message));
}

#[test]
fn the_messages_that_are_documented_are_read() {
    let page = include_str!("../../docs/wire-format.md");
    let messages: Vec<&str> =
        page.lines().filter(|line| line.starts_with("{\"event_time\"")).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    for message in messages {
        let read = Codec::Json.decode(message.as_bytes());
        let read = read.unwrap_or_else(|why| panic!("{message}: {why}"));
        assert_eq!(validate(&read.body), Ok(()), "{message}");
    }
}

#[test]
fn a_newer_version_is_told_apart_from_damage() {
    let mut bytes = Vec::new();
    encode_entry(&events()[0].1, &mut bytes);
    bytes[0] = 2;
    assert_eq!(decode_entry(&bytes), Err(DecodeError::TooNew { found: 2 }));
    let unknown = [9_u8, 1, 2, 3];
    assert_eq!(Codec::Postcard.decode(&unknown), Err(InputMessageError::UnknownVersion(9)));
}

#[test]
fn cut_or_damaged_bytes_never_pass_for_the_entry_and_never_panic() {
    for (label, event) in events() {
        let mut bytes = Vec::new();
        encode_entry(&event, &mut bytes);
        for end in 0..bytes.len() {
            assert!(decode_entry(&bytes[..end]).is_err(), "{label} cut at {end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_ne!(
                    decode_entry(&damaged),
                    Ok(event.clone()),
                    "{label} byte {at} bit {bit}"
                );
            }
        }
        bytes.push(0);
        assert!(decode_entry(&bytes).is_err(), "{label} with a byte too many");
    }
}
