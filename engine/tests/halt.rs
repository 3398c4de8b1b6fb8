//! Failures that halt: what is recorded, what waits, how an operator lets it go on, and that replay agrees.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use silvertine_engine::{
    bus::{FailurePolicy, HandlerError, OnFailure, Priority},
    circuit::CircuitConfig,
    engine::{Engine, EngineConfig, EngineError, Stepped},
    event::{
        Body, Event, EventId, Fill, Liquidity, OperatorAction, Order, OrderKind, OrderStatus,
        Origin, Side, Signal, System, Topic, Trade,
    },
    log::{Batch, Head, Page},
    numbers::{Money, Price, Qty, Ratio},
    recovery::{Replay, ReplayError},
    text::Symbol,
    time::Nanos,
};
use silvertine_testkit::{
    events::{entries, input, name},
    probe::{Reaction, probe},
};

const HALT_ON_SIGNALS: FailurePolicy =
    FailurePolicy { signal: OnFailure::Halt, ..FailurePolicy::DEAD_LETTER };

fn symbol() -> Symbol {
    Symbol::new("X").expect("valid")
}

fn body_of(topic: Topic) -> Body {
    let (symbol, strategy, side) = (symbol(), name("s"), Side::Buy);
    let (order_id, qty, price) = (EventId(1), Qty::from_units(1), Price::from_units(1));
    match topic {
        Topic::MarketData => Trade { symbol, trade_id: 1, price, qty, aggressor: side }.into(),
        Topic::Signal => Signal { symbol, strategy, strength: Ratio::ONE }.into(),
        Topic::Order => {
            let (kind, status) = (OrderKind::Market, OrderStatus::Submitted);
            Order { order_id, symbol, strategy, side, qty, kind, status }.into()
        }
        Topic::Fill => {
            let (commission, liquidity) = (Money::ZERO, Liquidity::Taker);
            Fill { order_id, symbol, strategy, side, qty, price, commission, liquidity }.into()
        }
        Topic::System => System::Gap { symbol, reason: "on purpose".to_owned() }.into(),
    }
}

/// What an entry is, in a word.
fn word(event: &Event) -> String {
    match &event.body {
        Body::System(System::HandlerFailed { handler, .. }) => format!("{handler} failed"),
        Body::System(System::Operator { action: OperatorAction::PastHalt, .. }) => {
            "past halt".to_owned()
        }
        body => format!("{} of {}", body.topic(), event.header.source),
    }
}

fn words(batch: &Batch) -> Vec<String> {
    entries(batch).iter().map(word).collect()
}

fn config(on_failure: FailurePolicy) -> EngineConfig {
    let circuit = CircuitConfig::new(1, Duration::from_nanos(100));
    let mut config = EngineConfig::default();
    (config.seed, config.cascade_limit) = (7, 16);
    (config.circuit, config.on_failure) = (circuit, on_failure);
    config
}

/// What was handed to whom.
type Calls = Arc<Mutex<Vec<String>>>;

/// On every trade `maker` signals twice and sets a timer. `before` is handed signals and answers with an order,
/// `bad` fails on the first signal of the trades that `fails_on` names, `after` watches signals, orders and system.
fn engine(fails_on: &'static [u64], calls: &Calls) -> Engine {
    let noted = |handler: &'static str, calls: &Calls| {
        let calls = Arc::clone(calls);
        move |event: &Event| {
            let call = format!("{handler}: {}", word(event));
            calls.lock().expect("unpoisoned").push(call);
        }
    };
    let maker = probe(&[Topic::MarketData], |event, ctx| {
        if event.body.topic() == Topic::MarketData {
            ctx.emit(body_of(Topic::Signal));
            ctx.emit(body_of(Topic::Signal));
            ctx.set_timer(1, Duration::from_nanos(5));
        }
        Ok(())
    });
    let note = noted("before", calls);
    let before = probe(&[Topic::Signal], move |event, ctx| {
        note(event);
        ctx.emit(body_of(Topic::Order));
        Ok(())
    });
    let note = noted("bad", calls);
    let bad = probe(&[Topic::Signal], move |event, ctx| {
        note(event);
        ctx.emit(body_of(Topic::Fill));
        let of_trade = event.time.0 / 10;
        if event.header.source_seq == 0 && fails_on.contains(&of_trade) {
            return Err(HandlerError::new("on purpose"));
        }
        Ok(())
    });
    let note = noted("after", calls);
    let after = probe(&[Topic::Signal, Topic::Order, Topic::System], move |event, _| {
        note(event);
        Ok(())
    });
    Engine::builder(config(HALT_ON_SIGNALS))
        .handler(name("maker"), Priority::Critical, maker)
        .handler(name("before"), Priority::High, before)
        .handler(name("bad"), Priority::Normal, bad)
        .handler(name("after"), Priority::Low, after)
        .build()
        .expect("names differ")
}

/// Hands the engine trades, and lets it go on behind every halt.
fn run(engine: &mut Engine, trades: u64) -> Batch {
    let mut batch = Batch::default();
    for n in 1..=trades {
        let trade = || input(n, body_of(Topic::MarketData));
        while engine.step(trade(), Nanos(n * 10), &mut batch) == Stepped::Halted {
            engine.go_past_halt(engine.time(), &mut batch);
        }
        while engine.halted().is_some() {
            engine.go_past_halt(engine.time(), &mut batch);
        }
    }
    batch
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
fn a_failure_that_halts_is_recorded_and_nothing_later_is_handled() {
    let calls = Calls::default();
    let mut engine = engine(&[1], &calls);
    let mut batch = Batch::default();
    engine.step(input(1, body_of(Topic::MarketData)), Nanos(10), &mut batch);
    // Of two signals the second waits unwritten, and so does the order that the first one caused.
    assert_eq!(words(&batch), ["market_data of feed", "signal of maker", "bad failed"]);
    let signal = "signal of maker";
    let told = [format!("before: {signal}"), format!("bad: {signal}")];
    assert_eq!(*calls.lock().expect("unpoisoned"), told, "not even `after` is handed the signal");
    let halt = engine.halted().expect("stands still").clone();
    let events = entries(&batch);
    assert_eq!((halt.pos, halt.event, halt.handler), (events[2].pos, events[1].pos, name("bad")));
    assert_eq!((halt.topic, halt.reason.as_str()), (Topic::Signal, "on purpose"));
    assert_eq!(events[2].origin, Origin::Outcome);

    let next = || input(2, body_of(Topic::MarketData));
    assert_eq!(engine.step(next(), Nanos(20), &mut batch), Stepped::Halted);
    engine.advance(Nanos::MAX, &mut batch);
    assert_eq!((batch.len(), engine.head()), (3, halt.pos), "neither inputs nor timers");
    assert_eq!(engine.save(), Err(EngineError::Halted(halt)), "no snapshot stands in a halt");
}

#[test]
fn past_a_halt_the_cascade_goes_on_where_it_stood() {
    let calls = Calls::default();
    let mut engine = engine(&[1], &calls);
    let mut batch = Batch::default();
    engine.step(input(1, body_of(Topic::MarketData)), Nanos(10), &mut batch);
    calls.lock().expect("unpoisoned").clear();
    batch.clear();
    engine.go_past_halt(Nanos(77), &mut batch);
    assert_eq!(engine.halted(), None);
    let signal = "signal of maker";
    // What `bad` emitted for the first signal is discarded, what it emits for the second one is not.
    let expected = ["past halt", signal, "order of before", "order of before", "fill of bad"];
    assert_eq!(words(&batch), expected);
    let expected = [
        "after: signal of maker".to_owned(),
        "after: past halt".to_owned(),
        format!("before: {signal}"),
        format!("bad: {signal}"),
        format!("after: {signal}"),
        "after: order of before".to_owned(),
        "after: order of before".to_owned(),
    ];
    assert_eq!(*calls.lock().expect("unpoisoned"), expected, "in the order of positions");
    let operator = &entries(&batch)[0];
    assert_eq!((operator.origin, operator.time), (Origin::Input, Nanos(10)));
    assert_eq!(operator.header.recv_time, Nanos(77), "when the operator acted");
    engine.go_past_halt(Nanos(78), &mut batch);
    assert_eq!(batch.len(), 5, "there is nothing more to go past");
    assert!(engine.save().is_ok());
}

#[test]
fn only_the_operator_lets_it_go_on() {
    let mut engine = engine(&[1], &Calls::default());
    let mut batch = Batch::default();
    let operator =
        |seq, action| input(seq, System::Operator { action, by: name("somebody") }.into());
    // Where nothing is halted it is an entry like any other, and permits nothing later.
    engine.step(operator(1, OperatorAction::PastHalt), Nanos(9), &mut batch);
    engine.step(input(2, body_of(Topic::MarketData)), Nanos(10), &mut batch);
    assert!(engine.halted().is_some());
    for action in [OperatorAction::Kill, OperatorAction::Resume] {
        assert_eq!(engine.step(operator(3, action), Nanos(20), &mut batch), Stepped::Halted);
    }
    let past = engine.step(operator(3, OperatorAction::PastHalt), Nanos(20), &mut batch);
    assert_eq!((past, engine.halted()), (Stepped::Handled, None));
}

#[test]
fn failures_halt_where_the_policy_says_so_and_nowhere_else() {
    let fails = || {
        probe(&Topic::ALL, |event, _| match event.origin {
            Origin::Input => Err(HandlerError::new("on purpose")),
            _ => Ok(()),
        })
    };
    let halts = |policy: FailurePolicy, topic: Topic| {
        let builder = Engine::builder(config(policy));
        let mut engine = builder.handler(name("h"), Priority::Low, fails()).build().expect("one");
        engine.step(input(1, body_of(topic)), Nanos(10), &mut Batch::default());
        engine.halted().is_some()
    };
    let by_default = Topic::ALL.map(|topic| halts(FailurePolicy::default(), topic));
    assert_eq!(by_default, [false, false, true, true, false], "orders and fills");
    for chosen in Topic::ALL {
        let mut policy = FailurePolicy::DEAD_LETTER;
        match chosen {
            Topic::MarketData => policy.market_data = OnFailure::Halt,
            Topic::Signal => policy.signal = OnFailure::Halt,
            Topic::Order => policy.order = OnFailure::Halt,
            Topic::Fill => policy.fill = OnFailure::Halt,
            Topic::System => policy.system = OnFailure::Halt,
        }
        for topic in Topic::ALL {
            assert_eq!(halts(policy, topic), topic == chosen, "{chosen} halts, fails on {topic}");
        }
    }
}

#[test]
fn panics_and_cascades_without_end_halt_like_errors() {
    let reactions: [(&str, Reaction); 3] = [
        ("no", Box::new(|_, _| Err(HandlerError::new("no")))),
        ("panicked: no", Box::new(|_, _| panic!("no"))),
        (
            "more events than",
            Box::new(|_, ctx| {
                ctx.emit(body_of(Topic::Signal));
                Ok(())
            }),
        ),
    ];
    for (why, react) in reactions {
        let builder = Engine::builder(config(HALT_ON_SIGNALS));
        let probe = probe(&[Topic::Signal], react);
        let mut engine = builder.handler(name("h"), Priority::Low, probe).build().expect("one");
        engine.step(input(1, body_of(Topic::Signal)), Nanos(10), &mut Batch::default());
        let halt = engine.halted().expect("stands still");
        assert!(halt.reason.contains(why), "{halt}");
    }
}

#[test]
fn a_timer_that_halts_leaves_the_input_behind_it_unhandled() {
    let fails = probe(&[Topic::MarketData], |event, ctx| match event.body.topic() {
        Topic::System => Err(HandlerError::new("on purpose")),
        _ => {
            ctx.set_timer(event.header.source_seq, Duration::from_nanos(5));
            ctx.set_timer(99, Duration::from_nanos(6));
            Ok(())
        }
    });
    let policy = FailurePolicy { system: OnFailure::Halt, ..FailurePolicy::DEAD_LETTER };
    let builder = Engine::builder(config(policy));
    let mut engine = builder.handler(name("h"), Priority::Low, fails).build().expect("one");
    let mut batch = Batch::default();
    let trade = |n| input(n, body_of(Topic::MarketData));
    engine.step(trade(1), Nanos(10), &mut batch);
    assert_eq!(engine.step(trade(2), Nanos(20), &mut batch), Stepped::Halted);
    let fired = ["market_data of feed", "system of h", "h failed"];
    assert_eq!(words(&batch), fired, "the second timer waits too");
    engine.go_past_halt(engine.time(), &mut batch);
    assert_eq!(engine.step(trade(2), Nanos(20), &mut batch), Stepped::Halted, "the second timer");
    engine.go_past_halt(engine.time(), &mut batch);
    assert_eq!(engine.step(trade(2), Nanos(20), &mut batch), Stepped::Handled);
    assert_eq!(words(&batch).last().map(String::as_str), Some("market_data of feed"));
}

#[test]
fn every_handler_that_fails_on_the_event_halts_it_again() {
    let fails = || probe(&[Topic::Signal], |_, _| Err(HandlerError::new("on purpose")));
    let watches = probe(&[Topic::Signal, Topic::System], |event, ctx| {
        if event.body.topic() == Topic::Signal {
            ctx.emit(body_of(Topic::Fill));
        }
        Ok(())
    });
    let mut engine = Engine::builder(config(HALT_ON_SIGNALS))
        .handler(name("a"), Priority::High, fails())
        .handler(name("b"), Priority::Normal, fails())
        .handler(name("c"), Priority::Low, watches)
        .build()
        .expect("names differ");
    let mut batch = Batch::default();
    engine.step(input(1, body_of(Topic::Signal)), Nanos(10), &mut batch);
    engine.go_past_halt(engine.time(), &mut batch);
    let halt = engine.halted().expect("the second handler");
    assert_eq!((halt.handler, halt.event.seq, halt.pos.seq), (name("b"), 1, 4));
    engine.go_past_halt(engine.time(), &mut batch);
    assert_eq!(engine.halted(), None);
    let expected =
        ["signal of feed", "a failed", "past halt", "b failed", "past halt", "fill of c"];
    assert_eq!(words(&batch), expected);
}

#[test]
fn a_failure_that_halts_opens_no_circuit() {
    let calls = Calls::default();
    // One failure would open it.
    let batch = run(&mut engine(&[1], &calls), 2);
    assert!(
        !entries(&batch)
            .iter()
            .any(|event| { matches!(event.body, Body::System(System::CircuitOpened { .. })) })
    );
    let calls = calls.lock().expect("unpoisoned");
    assert_eq!(calls.iter().filter(|call| call.starts_with("bad: ")).count(), 4);
}

#[test]
fn replay_of_a_log_with_halts_agrees_whatever_the_build_and_the_pages() {
    let mut live = engine(&[1, 3], &Calls::default());
    let log = run(&mut live, 4);
    assert_eq!(words(&log).iter().filter(|word| *word == "past halt").count(), 2);
    let mut states = Vec::new();
    for page in [1, 2, 3, 1000] {
        for fails_on in [&[1, 3][..], &[], &[3]] {
            let mut again = engine(fails_on, &Calls::default());
            replay(&mut again, &log, &live, page).expect("the log, entry for entry");
            assert_eq!(again.counts(), live.counts());
            states.push(again.save().expect("saves"));
        }
    }
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "the state of every build");
    // A failure that the log knows nothing of is none of its entries.
    let mut broken = engine(&[1, 2, 3], &Calls::default());
    let diverged = replay(&mut broken, &log, &live, 1000);
    assert!(matches!(diverged, Err(ReplayError::Diverged(_))), "{diverged:?}");
}

#[test]
fn replay_of_a_halted_log_stands_where_the_run_stopped() {
    let calls = Calls::default();
    let mut live = engine(&[2], &calls);
    let mut log = Batch::default();
    for n in 1..=2 {
        live.step(input(n, body_of(Topic::MarketData)), Nanos(n * 10), &mut log);
    }
    let calls = Calls::default();
    let mut mended = engine(&[], &calls);
    replay(&mut mended, &log, &live, 2).expect("the log, entry for entry");
    assert_eq!(mended.halted(), live.halted());
    let handed = calls.lock().expect("unpoisoned").clone();
    assert_eq!(handed.iter().filter(|call| call.starts_with("bad: ")).count(), 2, "{handed:?}");
    // Both go on alike.
    for engine in [&mut mended, &mut live] {
        engine.go_past_halt(Nanos(20), &mut Batch::default());
    }
    assert_eq!(mended.digest(), live.digest());
}

#[test]
fn an_input_behind_a_halt_that_nobody_lifted_is_a_divergence() {
    let mut live = engine(&[], &Calls::default());
    let mut log = run(&mut live, 1);
    let mut halted = engine(&[1], &Calls::default());
    let mut forged = Batch::default();
    halted.step(input(1, body_of(Topic::MarketData)), Nanos(10), &mut forged);
    // The head of the halted log, and then the entries of one that never halted.
    live.step(input(2, body_of(Topic::MarketData)), Nanos(20), &mut log);
    for at in forged.len()..log.len() {
        forged.push_encoded(log.get(at).bytes).expect("an entry");
    }
    let replayed = replay(&mut engine(&[], &Calls::default()), &forged, &live, 1000);
    assert!(matches!(replayed, Err(ReplayError::Diverged(_))), "{replayed:?}");
}
