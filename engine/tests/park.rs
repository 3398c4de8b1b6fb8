//! Failures that park: what is held back and for whom, in which order it is released, and that snapshots and replay agree.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use silvertine_engine::{
    bus::{FailurePolicy, HandlerError, OnFailure, Priority},
    circuit::CircuitConfig,
    engine::{Engine, EngineConfig},
    event::{Body, Event, OperatorAction, Origin, Side, Signal, System, Topic, Trade},
    log::{Batch, Head, Page},
    numbers::{Price, Qty, Ratio},
    park::{ParkedKey, Release},
    recovery::{Replay, ReplayError},
    text::Symbol,
    time::Nanos,
};
use silvertine_testkit::{
    events::{entries, input, name},
    probe::probe,
};

const PARK_TRADES: FailurePolicy =
    FailurePolicy { market_data: OnFailure::ParkKey, ..FailurePolicy::DEAD_LETTER };

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).expect("valid symbol")
}

fn key(text: &str) -> ParkedKey {
    text.parse().expect("a key")
}

fn release(text: &str) -> Release {
    Release { key: key(text), past: false }
}

fn release_past(text: &str) -> Release {
    Release { key: key(text), past: true }
}

fn trade(of: &str, trade_id: u64) -> Body {
    let (price, qty) = (Price::from_units(1), Qty::from_units(1));
    Trade { symbol: symbol(of), trade_id, price, qty, aggressor: Side::Buy }.into()
}

/// What an entry is, in a word.
fn word(event: &Event) -> String {
    match &event.body {
        Body::MarketData(data) => format!("{}{}", data.symbol(), event.header.source_seq),
        Body::System(System::HandlerFailed { handler, .. }) => format!("{handler} failed"),
        Body::System(System::Operator { action: OperatorAction::Release(_), .. }) => {
            "release".to_owned()
        }
        Body::System(System::Operator { .. }) => "operator".to_owned(),
        body => format!("{} of {}", body.topic(), event.header.source),
    }
}

fn words(batch: &Batch) -> String {
    entries(batch).iter().map(word).collect::<Vec<_>>().join(" ")
}

fn config(on_failure: FailurePolicy) -> EngineConfig {
    let circuit = CircuitConfig::new(1, Duration::from_secs(9));
    let mut config = EngineConfig::default();
    (config.seed, config.cascade_limit) = (7, 16);
    (config.circuit, config.on_failure) = (circuit, on_failure);
    config
}

/// What was handed to whom, in order.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, call: String) {
        self.0.lock().expect("unpoisoned").push(call);
    }
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("unpoisoned")).join(" ")
    }
}

/// Trades that `bad` fails on now, by number. What is mended is taken out.
type Faults = Arc<Mutex<BTreeSet<u64>>>;

fn faults(of: impl IntoIterator<Item = u64>) -> Faults {
    Arc::new(Mutex::new(of.into_iter().collect()))
}

/// `bad` signals each trade, with the number of its calls, and sets a timer; `good` watches trades.
fn engine_with(config: EngineConfig, faults: &Faults, calls: &Calls) -> Engine {
    let (faults, noted) = (Arc::clone(faults), calls.clone());
    let bad = probe(&[Topic::MarketData], move |event, ctx| {
        let strategy = ctx.handler();
        if let Body::MarketData(data) = &event.body {
            noted.note(format!("bad:{}", word(event)));
            ctx.emit(Signal { symbol: data.symbol(), strategy, strength: Ratio::ONE });
            ctx.set_timer(1, Duration::from_nanos(25));
            if faults.lock().expect("unpoisoned").contains(&event.header.source_seq) {
                return Err(HandlerError::new("on purpose"));
            }
        }
        Ok(())
    });
    let noted = calls.clone();
    let good = probe(&[Topic::MarketData], move |event, _| {
        noted.note(format!("good:{}", word(event)));
        Ok(())
    });
    Engine::builder(config)
        .handler(name("bad"), Priority::High, bad)
        .handler(name("good"), Priority::Low, good)
        .build()
        .expect("names differ")
}

fn engine(faults: &Faults, calls: &Calls) -> Engine {
    engine_with(config(PARK_TRADES), faults, calls)
}

/// Hands it trades of these instruments, numbered from one.
fn trades(engine: &mut Engine, from: u64, symbols: &[&str], batch: &mut Batch) {
    for (n, of) in (from..).zip(symbols) {
        engine.step(input(n, trade(of, n)), Nanos(n * 10), batch);
    }
}

/// Executes a log again, in pages of so many entries.
fn replay(engine: &mut Engine, log: &Batch, of: &Engine, page: usize) -> Result<(), ReplayError> {
    let head = Head { pos: of.head(), digest: of.digest(), ..Head::default() };
    let mut replay = Replay::begin(engine, &head)?;
    while let Some(query) = replay.wanted() {
        let mut entries = Batch::default();
        for at in (log.first_after(query.after)..log.len()).take(page) {
            entries.push_encoded(log.get(at).bytes).expect("an entry");
        }
        let next = entries.last_pos().filter(|last| *last < head.pos);
        replay.absorb(engine, &Page { entries, next })?;
    }
    replay.finish(engine).map(|_| ())
}

#[test]
fn a_failure_holds_back_the_later_events_of_its_key_for_its_handler_alone() {
    let (faults, calls) = (faults([1]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X", "X", "Y", "X"], &mut batch);
    assert_eq!(calls.take(), "bad:X1 good:X1 good:X2 bad:Y3 good:Y3 good:X4");
    assert_eq!(words(&batch), "X1 bad failed X2 Y3 signal of bad X4");
    let [parked] = &engine.parked()[..] else { panic!("{:?}", engine.parked()) };
    assert_eq!((parked.key, parked.events, parked.first.seq), (key("bad:X"), 3, 1));
    let line = "bad:X: 3 events parked, bad failed on the market_data event at 0-1: on purpose";
    assert_eq!(parked.to_string(), line);
    assert_eq!(engine.given_up(), 0, "nothing is lost so far");
}

#[test]
fn a_release_tries_the_failed_event_first_and_hands_out_the_rest_in_order() {
    let (faults, calls) = (faults([1]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X", "X", "Y", "X"], &mut batch);
    faults.lock().expect("unpoisoned").clear();
    batch.clear();
    calls.take();
    engine.release(release("bad:X"), Nanos(77), &mut batch);
    assert_eq!(calls.take(), "bad:X1 bad:X2 bad:X4", "back to back, to nobody else");
    assert_eq!(words(&batch), "release signal of bad signal of bad signal of bad");
    let events = entries(&batch);
    assert_eq!((events[0].origin, events[0].header.recv_time), (Origin::Input, Nanos(77)));
    assert_eq!(engine.parked(), []);
    // The key is free again.
    trades(&mut engine, 5, &["X"], &mut batch);
    assert_eq!(calls.take(), "bad:X5 good:X5");
    engine.release(release("bad:X"), Nanos(78), &mut batch);
    assert_eq!(entries(&batch).iter().filter(|event| word(event) == "release").count(), 1);
}

#[test]
fn what_fails_again_stays_the_first_and_holds_the_rest_back() {
    let (faults, calls) = (faults([1, 3]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X", "X", "X", "X"], &mut batch);
    for _ in 0..2 {
        calls.take();
        engine.release(release("bad:X"), Nanos(77), &mut batch);
        assert_eq!(calls.take(), "bad:X1");
    }
    faults.lock().expect("unpoisoned").remove(&1);
    engine.release(release("bad:X"), Nanos(77), &mut batch);
    assert_eq!(calls.take(), "bad:X1 bad:X2 bad:X3", "the third fails now");
    assert_eq!((engine.parked()[0].events, engine.parked()[0].first.seq), (2, 4));
    engine.release(release_past("bad:X"), Nanos(78), &mut batch);
    assert_eq!((calls.take().as_str(), engine.given_up()), ("bad:X4", 1));
    assert_eq!(engine.parked(), []);
    let ids: BTreeSet<_> = entries(&batch).iter().map(|event| event.header.id).collect();
    assert_eq!(ids.len(), batch.len(), "no two entries share an id, however often an event fails");
}

#[test]
fn a_failed_call_leaves_no_trace_in_the_state() {
    let (faults, calls) = (faults([2]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X", "X"], &mut batch);
    engine.release(release("bad:X"), Nanos(77), &mut batch);
    let mut never_asked = engine_with(config(PARK_TRADES), &faults, &Calls::default());
    replay(&mut never_asked, &batch, &engine, 9).expect("the failures are the log's to tell");
    assert_eq!(never_asked.save(), engine.save());
}

#[test]
fn what_is_released_is_handled_now_so_that_no_timer_is_set_in_the_past() {
    let (faults, calls) = (faults([1]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X"], &mut batch);
    trades(&mut engine, 100, &["Y"], &mut batch);
    engine.advance(Nanos(5000), &mut batch);
    faults.lock().expect("unpoisoned").clear();
    engine.release(release("bad:X"), Nanos(0), &mut batch);
    assert_eq!(engine.next_timer(), Some(Nanos(1025 + 25)), "{}", words(&batch));
}

#[test]
fn operators_reach_handlers_whatever_is_parked() {
    let calls = Calls::default();
    let noted = calls.clone();
    let policy = FailurePolicy { system: OnFailure::ParkKey, ..FailurePolicy::DEAD_LETTER };
    let handler = probe(&[Topic::System], move |event, ctx| {
        noted.note(word(event));
        if matches!(event.body, Body::System(System::Gap { .. })) {
            ctx.set_timer(1, Duration::from_nanos(1));
            return Ok(());
        }
        Err(HandlerError::new("on purpose"))
    });
    let builder = Engine::builder(config(policy));
    let mut engine = builder.handler(name("h"), Priority::Low, handler).build().expect("one");
    let mut batch = Batch::default();
    let kill: Body = System::Operator { action: OperatorAction::Kill, by: name("ann") }.into();
    let gap = |of: &str| System::Gap { symbol: symbol(of), reason: String::new() }.into();
    engine.step(input(1, gap("X")), Nanos(10), &mut batch);
    engine.advance(Nanos(20), &mut batch);
    // The timer has no instrument, and neither has the record of its failure: they wait under the common key.
    assert_eq!(engine.parked()[0].key, key("h"));
    calls.take();
    engine.step(input(2, kill), Nanos(30), &mut batch);
    assert_eq!(calls.take(), "operator", "the switch is no parked key's to hold back");
    let keys: Vec<_> = engine.parked().iter().map(|parked| parked.key.to_string()).collect();
    assert_eq!(keys, ["h"], "and what fails on it is given up");
    assert_eq!(engine.given_up(), 1);
}

#[test]
fn circuits_know_nothing_of_what_is_parked_or_released() {
    let (faults, calls) = (faults([1, 2]), Calls::default());
    let mut engine = engine(&faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["X", "Y", "Z"], &mut batch);
    engine.release(release("bad:X"), Nanos(77), &mut batch);
    trades(&mut engine, 4, &["Z"], &mut batch);
    // One failure would open it.
    assert!(calls.take().ends_with("bad:X1 bad:Z4 good:Z4"));
    assert!(!words(&batch).contains("circuit"));
}

#[test]
fn a_handler_cannot_release_what_is_parked() {
    let faults = faults([1]);
    let fails = Arc::clone(&faults);
    let bad = probe(&[Topic::MarketData], move |event, ctx| {
        if fails.lock().expect("unpoisoned").contains(&event.header.source_seq) {
            return Err(HandlerError::new("on purpose"));
        }
        let action = OperatorAction::Release(release("bad:X"));
        ctx.emit(System::Operator { action, by: ctx.handler() });
        Ok(())
    });
    let builder = Engine::builder(config(PARK_TRADES));
    let mut engine = builder.handler(name("bad"), Priority::Low, bad).build().expect("one");
    trades(&mut engine, 1, &["X"], &mut Batch::default());
    faults.lock().expect("unpoisoned").clear();
    trades(&mut engine, 2, &["Y"], &mut Batch::default());
    assert_eq!(engine.parked().len(), 1, "a release would have gone well");
}

#[test]
fn a_full_park_halts_and_drops_nothing() {
    let (faults, calls) = (faults([2]), Calls::default());
    let mut config = config(PARK_TRADES);
    config.park_capacity = 2;
    let mut engine = engine_with(config, &faults, &calls);
    let mut batch = Batch::default();
    trades(&mut engine, 1, &["Y", "X", "X"], &mut batch);
    assert!(engine.halted().is_none());
    calls.take();
    trades(&mut engine, 4, &["X"], &mut batch);
    let halt = engine.halted().expect("there is no room").clone();
    assert!(halt.parked && halt.reason.contains("not called"), "{halt}");
    assert_eq!(calls.take(), "", "nobody is handed the event");
    engine.release(release("bad:X"), Nanos(0), &mut batch);
    assert_eq!(engine.parked()[0].events, 3, "first it must go on");
    engine.go_past_halt(Nanos(50), &mut batch);
    assert_eq!((calls.take().as_str(), engine.parked()[0].events), ("good:X4", 3));
    faults.lock().expect("unpoisoned").clear();
    engine.release(release("bad:X"), Nanos(60), &mut batch);
    assert_eq!(calls.take(), "bad:X2 bad:X3 bad:X4");
    assert_eq!(engine.given_up(), 0);
    let mut again = engine_with(config, &faults, &calls);
    replay(&mut again, &batch, &engine, 3).expect("entry for entry");
    assert_eq!(again.save(), engine.save());
}

#[test]
fn a_snapshot_with_an_impossible_park_is_refused() {
    let (faults, calls) = (faults([1]), Calls::default());
    let mut parked = engine(&faults, &calls);
    trades(&mut parked, 1, &["X", "X"], &mut Batch::default());
    let good = parked.save().expect("saves");
    let mut other = engine(&faults, &calls);
    assert_eq!(other.load(&good), Ok(()));
    assert_eq!(other.parked(), parked.parked());
    for end in 0..good.len() {
        assert!(other.load(&good[..end]).is_err(), "cut at {end}");
    }
    let mut plain = engine_with(config(FailurePolicy::DEAD_LETTER), &faults, &calls);
    let why = plain.load(&good).expect_err("of another policy").to_string();
    assert!(why.contains("bytes follow it"), "{why}");
}

/// What is done to an engine, step by step.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Trade {
        x: bool,
    },
    Release {
        x: bool,
        past: bool,
    },
    /// A later build fails on other trades.
    Mend {
        trade: u64,
    },
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => any::<bool>().prop_map(|x| Deed::Trade { x }),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(x, past)| Deed::Release { x, past }),
        2 => (1..30_u64).prop_map(|trade| Deed::Mend { trade }),
        1 => Just(Deed::Restart),
    ];
    proptest::collection::vec(deed, 1..60)
}

/// Does it all, and goes past every halt. Returns the log and the calls of `bad`, by instrument.
fn act(
    deeds: &[Deed],
    failing: &BTreeSet<u64>,
    capacity: usize,
    restart: bool,
) -> (Engine, Batch, String) {
    let (faults, calls) = (faults(failing.iter().copied()), Calls::default());
    let mut config = config(PARK_TRADES);
    config.park_capacity = capacity;
    let mut engine = engine_with(config, &faults, &calls);
    let (mut batch, mut n) = (Batch::default(), 0);
    for deed in deeds {
        match *deed {
            Deed::Trade { x } => {
                n += 1;
                trades(&mut engine, n, &[if x { "X" } else { "Y" }], &mut batch);
            }
            Deed::Release { x, past } => {
                let key = key(if x { "bad:X" } else { "bad:Y" });
                engine.release(Release { key, past }, Nanos(0), &mut batch);
            }
            Deed::Mend { trade } => {
                faults.lock().expect("unpoisoned").remove(&trade);
            }
            Deed::Restart if restart => {
                let saved = engine.save().expect("saves");
                engine = engine_with(config, &faults, &calls);
                engine.load(&saved).expect("loads");
            }
            Deed::Restart => {}
        }
        while engine.halted().is_some() {
            engine.go_past_halt(Nanos(0), &mut batch);
        }
    }
    let calls = calls.take();
    (engine, batch, calls)
}

proptest! {
    #[test]
    fn restarts_and_later_builds_give_the_same_log_and_state(
        deeds in deeds(),
        failing in proptest::collection::btree_set(1..30_u64, 0..8),
        capacity in 1..6_usize,
        page in 1..9_usize,
    ) {
        let (whole, log, calls) = act(&deeds, &failing, capacity, false);
        let (restarted, of_restarted, same_calls) = act(&deeds, &failing, capacity, true);
        prop_assert_eq!(&calls, &same_calls);
        prop_assert_eq!((log.len(), whole.digest()), (of_restarted.len(), restarted.digest()));
        prop_assert_eq!(whole.save(), restarted.save());
        let mut config = config(PARK_TRADES);
    config.park_capacity = capacity;
        // The last build that ran, and one without a fault.
        let mended = |trade: &u64| deeds.iter().any(|deed| matches!(deed, Deed::Mend { trade: of } if of == trade));
        let last = failing.into_iter().filter(|trade| !mended(trade)).collect();
        for fails in [BTreeSet::new(), last] {
            let mut again = engine_with(config, &faults(fails), &Calls::default());
            replay(&mut again, &log, &whole, page).expect("entry for entry");
            prop_assert_eq!(again.save(), whole.save());
        }
        let ids: BTreeSet<_> = entries(&log).iter().map(|event| event.header.id).collect();
        prop_assert_eq!(ids.len(), log.len());
    }

    #[test]
    fn no_event_is_handled_before_an_earlier_one_of_its_key(
        deeds in deeds(),
        failing in proptest::collection::btree_set(1..30_u64, 0..8),
    ) {
        let (engine, log, calls) = act(&deeds, &failing, 3, false);
        for of in ["X", "Y"] {
            let prefix = format!("bad:{of}");
            let called = calls.split(' ').filter_map(|call| call.strip_prefix(&prefix));
            let called: Vec<u64> = called.map(|n| n.parse().expect("a number")).collect();
            prop_assert!(called.is_sorted(), "{called:?}");
            // Every trade was handed out or is parked; operators give up only what was tried.
            let handed: BTreeSet<u64> = called.into_iter().collect();
            let parked = engine.parked_events(key(&prefix)).map(|event| event.header.source_seq);
            let accounted: BTreeSet<u64> = handed.into_iter().chain(parked).collect();
            let is_trade = |event: &&Event| word(event).starts_with(of) && event.origin == Origin::Input;
            let there = entries(&log).iter().filter(is_trade).map(|event| event.header.source_seq).collect();
            prop_assert_eq!(accounted, there);
        }
    }
}
