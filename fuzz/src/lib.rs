//! What must hold for any bytes at every door of Silvertine, one function per door.
//!
//! libFuzzer calls them with bytes it has bred (`fuzz_targets/`), and an ordinary test on stable calls them with every
//! file of `corpus/` and `crashes/` (`tests/fuzz_corpus/` of the root package, which includes this file). Each asserts
//! more than the absence of a panic: what is accepted comes back the same, what is refused is refused in one line.

use std::{fmt, io::Write, path::PathBuf, sync::LazyLock, time::Duration};

use flate2::{Compression, write::GzEncoder};
use silvertine_engine::executor::block_on;
use silvertine_engine::{
    bus::{Context, Handler, HandlerError, Priority, decode_state, encode_state},
    codec::{Codec, decode_entry, encode_entry, peek_entry},
    engine::{Engine, EngineConfig, EngineError},
    event::{Event, EventId, Quote, Topic, TopicSet, validate},
    feed::{Feed, Merge, MergedSource, OnBadRow, Polled},
    log::Batch,
    numbers::{Money, ParseNumberError, Price, Qty, Ratio},
    params::InvalidParams,
    pos::Pos,
    source::{Input, Row, Source, SourceError},
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_scenarios::{
    manifest::{Manifest, ManifestError},
    registry::Registry,
    scenario::Scenario,
    sources::{
        BadRow, Bars, Binance, Format, HistData, Parsed, QuoteWriter, Quotes, SourceSpec, Stamp,
        TextSource,
    },
};
use silvertine_sim::log::workload::{Workload, WorkloadSource};
use silvertine_storage::{EmbeddedStore, LogAddress, check_record};
use silvertine_trading::generator::{Market, QuoteGenerator};
use xxhash_rust::xxh3::Xxh3;

/// What must hold for any bytes; panics where it does not.
pub type Promise = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Promise); 11] = [
    ("entry", entry),
    ("message", message),
    ("scenario", scenario),
    ("manifest", manifest),
    ("rows", rows),
    ("files", files),
    ("records", records),
    ("names", names),
    ("numbers", numbers),
    ("snapshot", snapshot),
    ("checkpoint", checkpoint),
];

/// What is said to people and written into logs is one line, and nothing in it steers a terminal.
fn assert_one_line(said: &impl fmt::Display) {
    let said = said.to_string();
    assert!(!said.is_empty() && !said.contains(char::is_control), "not one plain line: {said:?}");
}

/// Canonical bytes of an entry have one spelling: whatever decodes encodes to the same bytes.
pub fn entry(bytes: &[u8]) {
    let event = match decode_entry(bytes) {
        Ok(event) => event,
        Err(why) => return assert_one_line(&why),
    };
    let mut again = Vec::new();
    encode_entry(&event, &mut again);
    assert_eq!(again, bytes, "{event:?}");
    let peek = peek_entry(bytes).expect("what decodes has a header");
    let seen = (event.pos, event.time, event.body.topic(), event.origin);
    assert_eq!((peek.pos, peek.time, peek.topic, peek.origin), seen);
    // JSON is what people are shown of an entry.
    let json = serde_json::to_string(&event).expect("an event is plain data");
    assert_eq!(serde_json::from_str::<Event>(&json).expect(&json), event);
    refused_in_one_line(&event.body);
}

fn refused_in_one_line(body: &silvertine_engine::event::Body) {
    if let Err(invalid) = validate(body) {
        assert_one_line(&invalid);
    }
}

/// A message that decodes from one codec survives both.
pub fn message(bytes: &[u8]) {
    let codecs = [Codec::Postcard, Codec::Json];
    for codec in codecs {
        match codec.decode(bytes) {
            Err(why) => assert_one_line(&why),
            Ok(message) => {
                for codec in codecs {
                    assert_eq!(codec.decode(&codec.encode(&message)), Ok(message.clone()));
                }
                refused_in_one_line(&message.body);
            }
        }
    }
}

/// A scenario that parses has a manifest that keeps it and a file that says it, and its generators and workloads either
/// make sense or say what does not.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let scenario = match Scenario::parse(text, "fuzz.toml", PathBuf::new()) {
        Ok(scenario) => scenario,
        Err(why) => return assert_one_line(&why),
    };
    let _limits = scenario.run.driver();
    check_manifest(&Manifest::of(&scenario));
    for source in &scenario.sources {
        if let Some(made) = generator(source.name, &source.spec) {
            check_generator(made);
        }
        if let SourceSpec::Workload(workload) = &source.spec {
            check_workload(source.name, workload);
        }
    }
    scenario.faults.iter().for_each(assert_one_line);
    check_file_of(&scenario);
}

/// What is written of a scenario is read as the same scenario.
fn check_file_of(scenario: &Scenario) {
    let text = match scenario.to_toml() {
        Ok(text) => text,
        Err(why) => return assert_one_line(&why),
    };
    let back = Scenario::parse(&text, "fuzz.toml", PathBuf::new()).expect(&text);
    assert_eq!(back.faults, scenario.faults, "{text}");
    assert_eq!(back.run, scenario.run, "{text}");
    assert_eq!(Manifest::of(&back).to_bytes(), Manifest::of(scenario).to_bytes(), "{text}");
    assert_eq!(back.to_toml().as_ref(), Ok(&text));
}

fn check_workload(name: Name, workload: &Workload) {
    let mut source = match WorkloadSource::new(name, workload.clone()) {
        Ok(source) => source,
        Err(why) => return assert_one_line(&why),
    };
    let mut rows = 0;
    for _ in 0..64 {
        let cursor = source.cursor();
        let Some(row) = source.next_row().expect("nothing to fail") else { break };
        match &row {
            Row::Event(input) => validate(&input.body).expect("workloads keep the rules"),
            Row::Bad(why) => assert_one_line(why),
        }
        let mut again = source.clone();
        again.seek(cursor).expect("its own cursor");
        assert_eq!(again.next_row().as_ref(), Ok(&Some(row)));
        rows += 1;
    }
    // All of them are made at once, so only of a few rows.
    if workload.events == rows {
        let messages = workload.messages(name);
        assert_eq!(messages.len() as u64, rows);
        for message in &messages {
            if let Ok(message) = message.codec.decode(&message.payload) {
                validate(&message.body).expect("workloads keep the rules");
            }
        }
    }
}

/// A manifest that decodes is stored again in the same bytes that it was last stored in.
pub fn manifest(bytes: &[u8]) {
    match Manifest::from_bytes(bytes) {
        Ok(manifest) => check_manifest(&manifest),
        Err(why) => assert_one_line(&why),
    }
}

fn check_manifest(manifest: &Manifest) {
    let stored = manifest.to_bytes();
    let back = Manifest::from_bytes(&stored).expect("reads what it wrote");
    // A log is continued only with the very bytes it was created with.
    assert_eq!(back.to_bytes(), stored, "{}", String::from_utf8_lossy(&stored));
    let registry = Registry::standard();
    match (manifest.engine(&registry), back.engine(&registry)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(saved(&ours), saved(&theirs)),
        (Err(ours), Err(theirs)) => {
            assert_one_line(&ours);
            assert_eq!(ours.to_string(), theirs.to_string());
        }
        (ours, theirs) => {
            let why = |built: Result<Engine, ManifestError>| built.err().map(|why| why.to_string());
            panic!("an engine comes of one only: {:?}, {:?}", why(ours), why(theirs));
        }
    }
}

fn saved(engine: &Engine) -> Vec<u8> {
    engine.save().expect("what was built or loaded can be saved")
}

fn generator(name: Name, spec: &SourceSpec) -> Option<Result<QuoteGenerator, InvalidParams>> {
    let SourceSpec::Generator {
        symbols,
        events,
        seed,
        start_ns,
        interval_ns,
        start_price,
        tick,
        spread_ticks,
        trades_per_mille,
    } = spec
    else {
        return None;
    };
    let mut market = Market::new(seed.unwrap_or_default(), symbols.clone(), *events);
    market.start = Nanos(*start_ns);
    market.interval_ns = *interval_ns;
    market.start_price = *start_price;
    market.tick = *tick;
    market.spread_ticks = *spread_ticks;
    let made = QuoteGenerator::new(name, market);
    Some(made.and_then(|generator| generator.with_trades(*trades_per_mille)))
}

fn check_generator(made: Result<QuoteGenerator, InvalidParams>) {
    let mut generator = match made {
        Ok(generator) => generator,
        Err(why) => return assert_one_line(&why),
    };
    let mut time = Nanos::ZERO;
    for _ in 0..64 {
        let Some(row) = generator.next_row().expect("nothing to fail") else { break };
        let Row::Event(input) = row else { panic!("a generated row is bad: {row:?}") };
        validate(&input.body).expect("generated markets keep the rules");
        assert!(input.recv_time >= time, "time goes back");
        time = input.recv_time;
    }
}

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

/// A file reads the same plain and compressed, and from any of its cursors on as it did the first time. The first byte
/// chooses format and compression.
pub fn files(bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let symbol = Symbol::new("X").expect("valid");
    match choice & 3 {
        0 => check_file(choice >> 2, content, || Binance { quotes: true, trades: true }),
        1 => check_file(choice >> 2, content, || Bars::new(symbol, 60_000_000_000, Stamp::Close)),
        2 => check_file(choice >> 2, content, || HistData { symbol }),
        _ => check_file(choice >> 2, content, || Quotes),
    }
}

fn check_file<F: Format + 'static>(choice: u8, content: &[u8], format: impl Fn() -> F) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("writes");
    let plain = check_reading(&|| open(file.path(), format()));
    if choice & 1 == 1 && !content.starts_with(&[0x1f, 0x8b]) {
        file.as_file().set_len(0).expect("truncates");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(content).expect("memory takes it");
        std::fs::write(file.path(), gzip.finish().expect("memory takes it")).expect("writes");
        assert_eq!(check_reading(&|| open(file.path(), format())), plain, "compressed");
    }
}

type Rows = (Vec<Row>, Option<SourceError>);

fn open<F: Format + 'static>(
    path: &std::path::Path,
    format: F,
) -> Result<Box<dyn Source>, SourceError> {
    let source = TextSource::open(path, Name::new("fuzz").expect("valid"), format)?;
    Ok(Box::new(source))
}

fn check_reading(open: &dyn Fn() -> Result<Box<dyn Source>, SourceError>) -> Rows {
    let mut source = match open() {
        Ok(source) => source,
        Err(why) => {
            assert_one_line(&why);
            return (Vec::new(), Some(why));
        }
    };
    let mut cursors = vec![source.cursor()];
    let (mut rows, mut end) = (Vec::new(), None);
    loop {
        match source.next_row() {
            Ok(None) => break,
            Err(why) => {
                assert_one_line(&why);
                end = Some(why);
                break;
            }
            Ok(Some(row)) => {
                if let Row::Bad(why) = &row {
                    assert_one_line(why);
                }
                rows.push(row);
                cursors.push(source.cursor());
                assert_eq!(cursors.last().map(|cursor| cursor.seq), Some(rows.len() as u64));
            }
        }
    }
    for at in [0, cursors.len() / 2, cursors.len() - 1] {
        let mut resumed = open().expect("it opened before");
        resumed.seek(cursors[at]).expect("the file is as long as it was");
        for row in &rows[at..] {
            assert_eq!(resumed.next_row().as_ref(), Ok(&Some(row.clone())), "behind row {at}");
        }
        assert_eq!(resumed.next_row().err(), end, "behind row {at}");
    }
    (rows, end)
}

/// One record of an embedded log: what is accepted is stored in those very bytes. The first byte is the length of the
/// key.
pub fn records(bytes: &[u8]) {
    let Some((&key_len, rest)) = bytes.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(key_len.into()) else { return };
    for store in [EmbeddedStore::Redb, EmbeddedStore::Sled] {
        check_stored(store, key, value);
        // Nobody guesses a checksum, so what lies behind it is tried with the right one too.
        let (checksum_at, under) = match (key.first(), store) {
            (Some(b'f'), _) => (8, &b""[..]),
            (Some(b'm'), _) => (1, &b""[..]),
            (_, EmbeddedStore::Redb) => (0, key),
            (_, EmbeddedStore::Sled) => (0, &b""[..]),
        };
        let mut sealed = value.to_vec();
        if let Some((head, content)) = sealed.split_at_mut_checked(checksum_at + 8) {
            let mut hash = Xxh3::new();
            hash.update(under);
            hash.update(content);
            head[checksum_at..].copy_from_slice(&hash.digest().to_le_bytes());
            check_stored(store, key, &sealed);
        }
    }
}

fn check_stored(store: EmbeddedStore, key: &[u8], value: &[u8]) {
    match check_record(store, key, value) {
        Ok(again) => assert_eq!(again, value),
        Err(why) => assert_one_line(&why),
    }
}

/// Positions, topics, names and addresses: what parses is shown in a form that parses to the same.
pub fn names(bytes: &[u8]) {
    let topics: Vec<Topic> = bytes.iter().filter_map(|&code| Topic::from_code(code)).collect();
    let set = TopicSet::of(&topics);
    assert!(Topic::ALL.iter().all(|topic| set.contains(*topic) == topics.contains(topic)));
    assert_eq!(TopicSet::of(&set.iter().collect::<Vec<_>>()), set);
    if let Ok(bytes) = bytes.try_into() {
        assert_eq!(Pos::from_be_bytes(bytes).to_be_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Pos>() {
        Ok(pos) => {
            assert_eq!(pos.to_string().parse(), Ok(pos));
            assert_eq!(Pos::from_be_bytes(pos.to_be_bytes()), pos);
        }
        Err(why) => assert_one_line(&why),
    }
    match Name::new(text) {
        Ok(name) => assert_eq!((name.as_str(), name.to_string().parse()), (text, Ok(name))),
        Err(why) => assert_one_line(&why),
    }
    match Symbol::new(text) {
        Ok(symbol) => assert_eq!((symbol.as_str(), symbol.to_string().parse()), (text, Ok(symbol))),
        Err(why) => assert_one_line(&why),
    }
    match text.parse::<LogAddress>() {
        Ok(address) => check_address(text, &address),
        Err(why) => {
            assert_one_line(&why);
            let secret = text.split_once('@').is_some() && text.contains("://");
            assert!(!secret || !why.to_string().contains('@'), "shows a password: {why}");
        }
    }
    assert!(Codec::from_name(text).is_none_or(|codec| codec.as_str() == text));
}

fn check_address(text: &str, address: &LogAddress) {
    let shown = address.to_string();
    assert_eq!(format!("{address:?}"), shown);
    assert_one_line(&shown);
    match address {
        // Whatever stands before an @ may be a password.
        LogAddress::Redis { .. } => assert!(!shown.contains('@'), "shows a password: {shown}"),
        LogAddress::Memory | LogAddress::Redb(_) | LogAddress::Sled(_) => assert_eq!(shown, text),
    }
    let again: LogAddress = shown.parse().expect("what is shown parses");
    assert_eq!(again.to_string(), shown);
}

/// Decimals: the four types agree on what a number is, every value is shown so that it parses back, and arithmetic ends
/// in a value or in an error.
pub fn numbers(bytes: &[u8]) {
    check_decimal(bytes);
    if let Some((words, rest)) = bytes.split_first_chunk::<16>()
        && let Some((wide, _)) = rest.split_first_chunk::<16>()
    {
        let both = i128::from_le_bytes(*words);
        check_values(both as i64, (both >> 64) as i64, i128::from_le_bytes(*wide));
    }
}

fn check_decimal(text: &[u8]) {
    let price = Price::parse(text);
    assert_eq!(Qty::parse(text).map(Qty::units), price.map(Price::units));
    if let Err(why) = price {
        assert_one_line(&why);
    }
    match (price, Qty::parse_truncating(text)) {
        (Ok(exact), cut) => assert_eq!(cut, Ok(Qty::from_units(exact.units()))),
        // The excess may be cut, and something else be wrong behind it.
        (Err(ParseNumberError::TooPrecise), _) => {}
        (Err(why), cut) => assert_eq!(cut, Err(why)),
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    assert_eq!(text.parse(), price);
    assert_eq!(text.parse::<Ratio>().map(Ratio::units), price.map(Price::units));
    let money = text.parse::<Money>();
    match (price, money) {
        // Money reaches further; otherwise the two are spelled the same.
        (Err(ParseNumberError::OutOfRange), Ok(money)) => {
            assert!(i64::try_from(money.units()).is_err(), "{text}");
        }
        // A number that is wrong twice is refused for either reason.
        (Err(_), Err(why)) => assert_one_line(&why),
        (price, money) => {
            assert_eq!(money, price.map(|price| Money::from_units(price.units().into())), "{text}");
        }
    }
    if let Ok(money) = money {
        assert_eq!(money.to_string().parse(), Ok(money));
    }
}

fn check_values(a: i64, b: i64, wide: i128) {
    let (price, qty, ratio) = (Price::from_units(a), Qty::from_units(b), Ratio::from_units(b));
    let money = Money::from_units(wide);
    assert_eq!(price.to_string().parse(), Ok(price));
    assert_eq!(money.to_string().parse(), Ok(money));
    let json = serde_json::to_string(&(price, qty, ratio, money)).expect("plain data");
    assert_eq!(serde_json::from_str::<(Price, Qty, Ratio, Money)>(&json).expect(&json), {
        (price, qty, ratio, money)
    });
    // Only that they end: what they compute has tests of its own.
    let notional = price.notional(qty);
    let _ends = (price.midpoint(Price::from_units(b)), qty.abs(), qty.negated());
    let _ends = (qty.scaled(ratio), money.scaled(ratio), money.per_unit(qty));
    let _ends = (money.pro_rata(Qty::from_units(a), qty), notional.pro_rata(qty, qty));
    let sums = [money.checked_add(notional), money.checked_sub(notional)];
    for sum in sums.into_iter().flatten() {
        assert_eq!(sum.to_string().parse(), Ok(sum));
    }
}

/// A snapshot that loads is an engine that goes on, and that its own snapshot equals.
pub fn snapshot(bytes: &[u8]) {
    // Parsed once: that takes longer than all the rest.
    static PARSED: LazyLock<(Manifest, Registry)> = LazyLock::new(|| {
        let scenario = Scenario::parse(STANDARD, "standard.toml", PathBuf::new()).expect("valid");
        (Manifest::of(&scenario), Registry::standard())
    });
    let standard = || {
        let (manifest, registry) = &*PARSED;
        manifest.engine(registry).expect("valid")
    };
    if let Some((loaded, _)) = check_load(bytes, &standard) {
        let _what_handlers_report = loaded.figures();
    }
    // Standard handlers may fail at a state that no handler ever saved, and are isolated then, but libFuzzer takes
    // any panic for a crash. So only a handler without arithmetic is handed events.
    if let Some((mut loaded, mut again)) = check_load(bytes, &alarm_engine) {
        let (mut ours, mut theirs) = (Batch::default(), Batch::default());
        let at = loaded.time().saturating_add(Duration::from_secs(1));
        for seq in 1..=3 {
            let input = Input { id: Some(EventId(seq.into())), ..input(seq) };
            loaded.step(input.clone(), at, &mut ours);
            again.step(input, at, &mut theirs);
        }
        loaded.advance(Nanos::MAX, &mut ours);
        again.advance(Nanos::MAX, &mut theirs);
        assert_eq!(ours, theirs);
        assert_eq!((loaded.head(), loaded.digest()), (again.head(), again.digest()));
        let kept = saved(&loaded);
        assert_eq!(kept, saved(&again));
        if let Err(why) = alarm_engine().load(&kept) {
            // Who begins at the end of positions or timers gets behind it; nobody else does.
            let why = why.to_string();
            assert!(why.contains("(position)") || why.contains("(timers)"), "{why}");
        }
    }
}

/// A scenario with every standard handler.
pub const STANDARD: &str = r#"
    name = "standard"
    source = [{ kind = "ingress", name = "in" }]
    clock = "wall"
    handler = [
        { kind = "risk-limits" },
        { kind = "target-position", params = { unit_qty = 1 } },
        { kind = "sim-venue", params = { latency_us = 5 } },
        { kind = "ema-cross", params = { symbol = "X", fast = 1, slow = 2 } },
        { kind = "portfolio" },
    ]
"#;

/// Loads the snapshot and what comes of saving it again.
fn check_load(bytes: &[u8], fresh: &dyn Fn() -> Engine) -> Option<(Engine, Engine)> {
    let (mut loaded, mut again) = (fresh(), fresh());
    if let Err(why) = loaded.load(bytes) {
        assert_one_line(&why);
        return None;
    }
    let longer = [bytes, &[0]].concat();
    assert!(fresh().load(&longer).is_err(), "a byte that belongs to nothing");
    let kept = saved(&loaded);
    let reloaded: Result<(), EngineError> = again.load(&kept);
    reloaded.expect("loads what it saved");
    assert_eq!(saved(&again), kept);
    Some((loaded, again))
}

/// An engine with one handler that sets timers.
pub fn alarm_engine() -> Engine {
    let name = Name::new("alarm").expect("valid");
    let builder = Engine::builder(EngineConfig::default());
    builder.handler(name, Priority::Normal, Alarm { heard: 0 }).build().expect("one handler")
}

/// An event for [`alarm_engine`].
pub fn input(source_seq: u64) -> Input {
    let price = Price::from_units(1);
    let symbol = Symbol::new("X").expect("valid");
    let qty = Qty::ZERO;
    Input {
        source: Name::new("fuzz").expect("valid"),
        source_seq,
        id: None,
        event_time: Nanos::ZERO,
        recv_time: Nanos::ZERO,
        body: Quote { symbol, bid: price, bid_qty: qty, ask: price, ask_qty: qty }.into(),
    }
}

/// Sets a timer per event.
struct Alarm {
    heard: u64,
}

impl Handler for Alarm {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.heard = self.heard.saturating_add(1);
        // Not when a timer fires: at the end of time that would go on for ever.
        if event.body.topic() == Topic::MarketData {
            ctx.set_timer(self.heard % 2, Duration::from_secs(1));
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.heard)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.heard = decode_state(state)?;
        Ok(())
    }
}

/// A feed continues from any checkpoint or says in one line why it cannot.
pub fn checkpoint(bytes: &[u8]) {
    check_checkpoint(bytes, read_and_generated());
    check_checkpoint(bytes, awkward());
}

fn read_and_generated() -> Merge {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let rows = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n1,X,1,0,2,0\nbad\n3,X,2,0,3,0\n";
    file.write_all(rows.as_bytes()).expect("writes");
    let quotes = open(file.path(), Quotes).expect("a recording of quotes");
    let mut market = Market::new(1, vec![Symbol::new("X").expect("valid")], 5);
    market.start = Nanos(1);
    market.interval_ns = 2;
    market.start_price = Price::from_units(1000);
    market.tick = Price::from_units(1);
    let name = Name::new("generator").expect("valid");
    let generator = QuoteGenerator::new(name, market).expect("valid");
    let generator = generator.with_trades(500).expect("valid");
    Merge::new(vec![
        MergedSource::new(quotes, "quotes.csv", OnBadRow::Skip),
        MergedSource::new(Box::new(generator), "generator", OnBadRow::Stop),
    ])
}

fn awkward() -> Merge {
    let lane = |name: &str, ids| {
        let workload = Workload {
            seed: 1,
            symbols: vec![Symbol::new("X").expect("valid")],
            events: 4,
            start_ns: 1,
            interval_ns: 2,
            price: Price::from_units(1_000_000_000),
            trades: 300,
            bars: 300,
            bursts: 300,
            late: 300,
            duplicates: 300,
            bad: 300,
            releases: 0,
            handlers: Vec::new(),
            ids,
            publish: false,
        };
        let name = Name::new(name).expect("valid");
        let source = WorkloadSource::new(name, workload).expect("makes sense");
        MergedSource::new(Box::new(source), "workload", OnBadRow::Skip)
    };
    Merge::new(vec![lane("with-ids", true), lane("without", false)])
}

fn check_checkpoint(bytes: &[u8], mut merge: Merge) {
    if let Err(why) = merge.restore(bytes) {
        return assert_one_line(&why);
    }
    // There are eight inputs in all; a checkpoint of another run may end anywhere, but it ends.
    for _ in 0..16 {
        match block_on(merge.poll(Duration::ZERO)) {
            Ok(Polled::Ready(_)) => {
                validate(&merge.take().body).expect("a feed is the door");
            }
            Ok(Polled::Idle | Polled::End) => break,
            Err(why) => return assert_one_line(&why),
        }
        let _continues = merge.checkpoint();
    }
}
