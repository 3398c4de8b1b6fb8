//! The step through its public face: order, isolation, timers, determinism, snapshots.

use std::{sync::Arc, sync::Mutex, time::Duration};

use silvertine_engine::{
    bus::{HandlerError, Priority},
    circuit::CircuitConfig,
    engine::{Engine, EngineConfig, EngineError, Stepped},
    event::{Body, Event, Origin, Side, Signal, System, Topic, Trade},
    log::Batch,
    numbers::{Price, Qty, Ratio},
    source::Input,
    text::Symbol,
    time::Nanos,
};
use silvertine_testkit::{
    events::{entries, name},
    probe::probe,
};

fn trade(source_seq: u64, at: u64) -> Input {
    let body = Trade {
        symbol: Symbol::new("X").expect("valid"),
        trade_id: source_seq,
        price: Price::from_units(1),
        qty: Qty::from_units(1),
        aggressor: Side::Buy,
    };
    Input {
        source: name("feed"),
        source_seq,
        id: None,
        event_time: Nanos(at),
        recv_time: Nanos(at),
        body: body.into(),
    }
}

fn signal() -> Body {
    let symbol = Symbol::new("X").expect("valid");
    Signal { symbol, strategy: name("s"), strength: Ratio::ONE }.into()
}

fn config() -> EngineConfig {
    let circuit = CircuitConfig::new(2, Duration::from_nanos(100));
    let mut config = EngineConfig::default();
    (config.seed, config.cascade_limit, config.circuit) = (7, 16, circuit);
    config
}

#[test]
fn handlers_are_called_by_priority_then_registration() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorder = |label: &'static str| {
        let calls = Arc::clone(&calls);
        probe(&[Topic::MarketData], move |_, _| {
            calls.lock().expect("unpoisoned").push(label);
            Ok(())
        })
    };
    let mut engine = Engine::builder(config())
        .handler(name("low"), Priority::Low, recorder("low"))
        .handler(name("normal-1"), Priority::Normal, recorder("normal-1"))
        .handler(name("normal-2"), Priority::Normal, recorder("normal-2"))
        .handler(name("critical"), Priority::Critical, recorder("critical"))
        .handler(name("high"), Priority::High, recorder("high"))
        .build()
        .expect("names differ");
    engine.step(trade(1, 1), Nanos(1), &mut Batch::default());
    let calls = calls.lock().expect("unpoisoned");
    assert_eq!(*calls, ["critical", "high", "normal-1", "normal-2", "low"]);
}

#[test]
fn a_cascade_runs_first_in_first_out_with_causes_and_gap_free_positions() {
    let mut engine = Engine::builder(config())
        .handler(
            name("a"),
            Priority::Normal,
            probe(&[Topic::MarketData], |_, ctx| {
                ctx.emit(signal());
                ctx.emit(signal());
                Ok(())
            }),
        )
        .handler(
            name("b"),
            Priority::Normal,
            probe(&[Topic::Signal], |_, ctx| {
                let by = ctx.handler();
                let action = silvertine_engine::event::OperatorAction::Kill;
                ctx.emit(System::Operator { action, by });
                Ok(())
            }),
        )
        .build()
        .expect("names differ");
    let mut batch = Batch::default();
    engine.step(trade(1, 5), Nanos(5), &mut batch);
    let events = entries(&batch);
    let topics: Vec<Topic> = events.iter().map(|event| event.body.topic()).collect();
    let (market, signal, system) = (Topic::MarketData, Topic::Signal, Topic::System);
    assert_eq!(topics, [market, signal, signal, system, system]);
    let seqs: Vec<u64> = events.iter().map(|event| event.pos.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    let root = events[0].header.id;
    assert!(events.iter().all(|event| event.header.correlation == root));
    assert_eq!(events[1].header.causation, Some(root));
    assert_eq!(events[4].header.causation, Some(events[2].header.id));
    assert_eq!(events[3].header.source, name("b"));
}

#[test]
fn a_failing_handler_loses_its_output_and_harms_nobody_else() {
    for panics in [false, true] {
        let failing = probe(&[Topic::MarketData], move |_, ctx| {
            ctx.emit(signal());
            ctx.set_timer(1, Duration::from_nanos(1));
            assert!(!panics, "on purpose");
            Err(HandlerError::new("on purpose"))
        });
        let mut engine = Engine::builder(config())
            .handler(name("bad"), Priority::Critical, failing)
            .handler(
                name("good"),
                Priority::Normal,
                probe(&[Topic::MarketData], |_, ctx| {
                    ctx.emit(signal());
                    Ok(())
                }),
            )
            .build()
            .expect("names differ");
        let mut batch = Batch::default();
        engine.step(trade(1, 1), Nanos(1), &mut batch);
        let events = entries(&batch);
        assert_eq!(events.len(), 3);
        let Body::System(System::HandlerFailed { handler, event, reason }) = &events[1].body else {
            panic!("expected the failure, got {:?}", events[1]);
        };
        assert_eq!((*handler, *event), (name("bad"), events[0].header.id));
        assert!(reason.contains("on purpose"), "{reason}");
        assert_eq!(events[1].origin, Origin::Outcome);
        assert_eq!(events[2].header.source, name("good"));
        assert_eq!(engine.next_timer(), None);
    }
}

#[test]
fn the_circuit_opens_passes_the_handler_over_and_closes_again_on_engine_time() {
    let bad = probe(&[Topic::MarketData], |event, _| match event.header.source_seq {
        1 | 2 => Err(HandlerError::new("down")),
        _ => Ok(()),
    });
    let mut engine =
        Engine::builder(config()).handler(name("h"), Priority::Normal, bad).build().expect("one");
    let mut outcomes_at = |seq: u64, at: u64| {
        let mut batch = Batch::default();
        engine.step(trade(seq, at), Nanos(at), &mut batch);
        let of = |event: &Event| match &event.body {
            Body::System(System::HandlerFailed { .. }) => "failed",
            Body::System(System::CircuitOpened { until: Nanos(102), .. }) => "opened",
            Body::System(System::CircuitHalfOpened { .. }) => "half-opened",
            Body::System(System::CircuitClosed { .. }) => "closed",
            other => panic!("unexpected {other:?}"),
        };
        entries(&batch)[1..].iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(outcomes_at(1, 1), ["failed"]);
    assert_eq!(outcomes_at(2, 2), ["failed", "opened"]);
    assert!(outcomes_at(3, 101).is_empty(), "passed over");
    assert_eq!(outcomes_at(4, 102), ["half-opened", "closed"]);
}

#[test]
fn a_cascade_without_end_is_cut_and_recorded() {
    let mut engine = Engine::builder(config())
        .handler(
            name("loop"),
            Priority::Normal,
            probe(&[Topic::MarketData, Topic::Signal], |_, ctx| {
                ctx.emit(signal());
                Ok(())
            }),
        )
        .build()
        .expect("one");
    let mut batch = Batch::default();
    engine.step(trade(1, 1), Nanos(1), &mut batch);
    let events = entries(&batch);
    let signals = events.iter().filter(|event| event.body.topic() == Topic::Signal).count();
    assert_eq!(signals, config().cascade_limit);
    let failed = |event: &&Event| matches!(event.body, Body::System(System::HandlerFailed { .. }));
    assert_eq!(events.iter().filter(failed).count(), 1);
}

#[test]
fn two_handlers_that_fail_on_failures_do_not_feed_each_other_for_ever() {
    let failing =
        || probe(&[Topic::MarketData, Topic::System], |_, _| Err(HandlerError::new("no")));
    let mut tolerant = config();
    tolerant.circuit.failure_threshold = 1000;
    let mut engine = Engine::builder(tolerant)
        .handler(name("a"), Priority::Normal, failing())
        .handler(name("b"), Priority::Normal, failing())
        .build()
        .expect("names differ");
    let mut batch = Batch::default();
    engine.step(trade(1, 1), Nanos(1), &mut batch);
    // The input, two failures on it, and each of those failing twice more, unheard.
    assert_eq!(batch.len(), 1 + 2 + 4);
}

#[test]
fn timers_fire_before_later_inputs_at_their_own_time_and_reach_only_their_owner() {
    let setter = probe(&[Topic::MarketData], |event, ctx| {
        match &event.body {
            Body::MarketData(_) if event.header.source_seq == 1 => {
                ctx.set_timer(1, Duration::from_nanos(20));
                ctx.set_timer(2, Duration::from_nanos(10));
            }
            Body::System(System::TimerFired { .. }) => {
                ctx.emit(signal());
            }
            _ => {}
        }
        Ok(())
    });
    let other = probe(&[Topic::MarketData], |event, _| {
        assert_eq!(event.body.topic(), Topic::MarketData, "not its timer");
        Ok(())
    });
    let mut engine = Engine::builder(config())
        .handler(name("setter"), Priority::Normal, setter)
        .handler(name("other"), Priority::Normal, other)
        .build()
        .expect("names differ");
    let mut batch = Batch::default();
    engine.step(trade(1, 100), Nanos(100), &mut batch);
    engine.step(trade(2, 115), Nanos(115), &mut batch);
    engine.step(trade(3, 500), Nanos(500), &mut batch);
    let seen: Vec<(Topic, u64)> =
        entries(&batch).iter().map(|event| (event.body.topic(), event.time.0)).collect();
    let (market, signal, system) = (Topic::MarketData, Topic::Signal, Topic::System);
    let expected = [
        (market, 100),
        (system, 110),
        (signal, 110),
        (market, 115),
        (system, 120),
        (signal, 120),
        (market, 500),
    ];
    assert_eq!(seen, expected);
    assert_eq!(entries(&batch)[1].origin, Origin::Timer);
}

#[test]
fn a_late_input_is_handled_at_engine_time_and_keeps_its_own() {
    let mut engine = Engine::builder(config()).build().expect("empty");
    let mut batch = Batch::default();
    engine.step(trade(1, 100), Nanos(100), &mut batch);
    engine.step(trade(2, 50), Nanos(50), &mut batch);
    let late = &entries(&batch)[1];
    assert_eq!((late.time, late.header.event_time), (Nanos(100), Nanos(50)));
}

#[test]
fn a_duplicate_leaves_no_entry() {
    let mut engine = Engine::builder(config()).build().expect("empty");
    let mut batch = Batch::default();
    assert_eq!(engine.step(trade(1, 1), Nanos(1), &mut batch), Stepped::Handled);
    let digest = engine.digest();
    assert_eq!(engine.step(trade(1, 1), Nanos(1), &mut batch), Stepped::Duplicate);
    assert_eq!((batch.len(), engine.digest()), (1, digest));
}

/// Emits random numbers and timers, so that anything unsaved shows.
fn lively_engine() -> Engine {
    let lively = || {
        probe(&[Topic::MarketData], |event, ctx| {
            if ctx.random_below(3) == 0 {
                let strength = Ratio::from_units(ctx.random_below(1_000_000) as i64);
                let (symbol, strategy) = (Symbol::new("X")?, ctx.handler());
                ctx.emit(Signal { symbol, strategy, strength });
            }
            if ctx.random_below(4) == 0 {
                let after = Duration::from_nanos(ctx.random_below(40));
                let key = ctx.random_below(3);
                ctx.set_timer(key, after);
            }
            if event.header.source_seq % 11 == 0 {
                return Err(HandlerError::new("every eleventh"));
            }
            Ok(())
        })
    };
    Engine::builder(config())
        .handler(name("l1"), Priority::Normal, lively())
        .handler(name("l2"), Priority::High, lively())
        .build()
        .expect("names differ")
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_another_seed_gives_others() {
    let run = |mut engine: Engine| {
        let mut batch = Batch::default();
        for n in 1..=500 {
            engine.step(trade(n, n * 10), Nanos(n * 10), &mut batch);
        }
        (batch, engine.digest())
    };
    let first = run(lively_engine());
    assert_eq!(first, run(lively_engine()));
    assert!(first.0.len() > 600, "lively indeed");
}

#[test]
fn an_engine_restored_from_a_snapshot_at_any_input_goes_on_byte_for_byte() {
    let mut whole = lively_engine();
    let mut digests = Vec::new();
    let mut snapshots = Vec::new();
    for n in 1..=120 {
        whole.step(trade(n, n * 10), Nanos(n * 10), &mut Batch::default());
        digests.push(whole.digest());
        snapshots.push(whole.save().expect("saves"));
    }
    for (at, snapshot) in snapshots.iter().enumerate() {
        let mut restored = lively_engine();
        restored.load(snapshot).expect("loads");
        assert_eq!(restored.digest(), digests[at]);
        for n in at as u64 + 2..=120 {
            restored.step(trade(n, n * 10), Nanos(n * 10), &mut Batch::default());
        }
        assert_eq!(restored.digest(), whole.digest(), "restored after input {}", at + 1);
        assert_eq!(restored.counts(), whole.counts());
    }
}

#[test]
fn a_snapshot_of_other_handlers_is_refused() {
    let snapshot = lively_engine().save().expect("saves");
    let mut other = Engine::builder(config()).build().expect("empty");
    assert!(matches!(other.load(&snapshot), Err(EngineError::Snapshot(_))));
    assert!(matches!(other.load(b"nonsense"), Err(EngineError::Snapshot(_))));
}

#[test]
fn two_handlers_cannot_share_a_name() {
    let nothing = || probe(&[], |_, _| Ok(()));
    let built = Engine::builder(config())
        .handler(name("same"), Priority::Low, nothing())
        .handler(name("same"), Priority::High, nothing())
        .build();
    assert!(matches!(built.err(), Some(EngineError::DuplicateHandler(_))));
}
