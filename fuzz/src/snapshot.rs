//! Snapshots of engines.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use silvertine_engine::{
    bus::{Context, Handler, HandlerError, Priority, decode_state, encode_state},
    engine::{Engine, EngineConfig, EngineError},
    event::{Event, EventId, Quote, Topic, TopicSet},
    log::Batch,
    numbers::{Price, Qty},
    source::Input,
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_scenarios::{manifest::Manifest, registry::Registry, scenario::Scenario};

use super::{assert_one_line, manifest::saved};

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
