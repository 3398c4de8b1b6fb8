//! The standard handlers as one chain, through the engine.

use proptest::prelude::*;
use silvertine_engine::{
    codec::decode_entry,
    engine::{Engine, EngineConfig},
    event::{
        Body, Event, Fill, Liquidity, OperatorAction, Order, OrderKind, OrderStatus, Quote, Side,
        Signal, System,
    },
    log::Batch,
    numbers::{Price, Qty, Ratio},
    source::Input,
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_scenarios::registry::Registry;

fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

fn symbol() -> Symbol {
    Symbol::new("X").expect("valid")
}

fn whole(units: i64) -> Price {
    Price::from_whole(units).expect("in range")
}

fn qty(text: &str) -> Qty {
    text.parse().expect("a number")
}

/// The chain with these parameters of venue and risk.
fn engine(venue: &str, risk: &str) -> Engine {
    let registry = Registry::standard();
    let mut builder = Engine::builder(EngineConfig::default());
    for (kind, params) in [
        ("target-position", "unit_qty = '2'"),
        ("risk-limits", risk),
        ("sim-venue", venue),
        ("ema-cross", "symbol = 'X'\nfast = 2\nslow = 4"),
        ("portfolio", "starting_cash = '1000'"),
    ] {
        let (handler, priority) =
            registry.build_handler(kind, params.parse().expect("TOML")).expect("good parameters");
        builder = builder.boxed_handler(name(kind), priority, handler);
    }
    builder.build().expect("names differ")
}

/// Feeds an engine and collects what comes of it.
struct Rig {
    engine: Engine,
    seq: u64,
    time: u64,
}

impl Rig {
    fn new(venue: &str, risk: &str) -> Self {
        Self { engine: engine(venue, risk), seq: 0, time: 1_000_000_000 }
    }

    /// An input a millisecond after the last one.
    fn feed(&mut self, body: impl Into<Body>) -> Vec<Event> {
        self.seq += 1;
        self.time += 1_000_000;
        let (time, source) = (Nanos(self.time), name("test"));
        let input = Input {
            source,
            source_seq: self.seq,
            id: None,
            event_time: time,
            recv_time: time,
            body: body.into(),
        };
        let mut batch = Batch::default();
        self.engine.step(input, time, &mut batch);
        batch.iter().map(|entry| decode_entry(entry.bytes).expect("decodes")).collect()
    }

    fn quote(&mut self, bid: i64, ask: i64) -> Vec<Event> {
        let (bid, ask) = (whole(bid), whole(ask));
        let size = qty("3");
        self.feed(Quote { symbol: symbol(), bid, bid_qty: size, ask, ask_qty: size })
    }

    fn signal(&mut self, strength: Ratio) -> Vec<Event> {
        self.feed(Signal { symbol: symbol(), strategy: name("me"), strength })
    }

    fn figure(&self, wanted: &str) -> String {
        let figures = self.engine.figures();
        let found = figures.iter().find(|(_, figure, _)| *figure == wanted);
        serde_json::to_value(&found.expect("reported").2).expect("serializes").to_string()
    }
}

/// Statuses of orders, and fills, in order.
fn life(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match &event.body {
        Body::Order(order) => Some(match &order.status {
            OrderStatus::Denied { reason } => format!("denied: {reason}"),
            OrderStatus::Rejected { reason } => format!("rejected: {reason}"),
            status => {
                format!("{status:?}").split([' ', '{']).next().unwrap_or_default().to_lowercase()
            }
        }),
        Body::Fill(fill) => Some(format!("fill {} @ {}", fill.qty, fill.price)),
        Body::System(System::HandlerFailed { reason, .. }) => panic!("handler failed: {reason}"),
        _ => None,
    };
    events.iter().filter_map(word).collect()
}

#[test]
fn a_signal_becomes_a_fill_within_one_step_where_there_is_no_latency() {
    let mut rig = Rig::new("taker_fee = '0.001'", "");
    rig.quote(99, 101);
    let bought = rig.signal(Ratio::ONE);
    assert_eq!(life(&bought), ["submitted", "approved", "accepted", "fill 2 @ 101", "filled"]);
    assert!(bought.iter().all(|event| event.header.correlation == bought[0].header.id));
    // From two long to two short.
    let sold = rig.signal(Ratio::MINUS_ONE);
    assert_eq!(life(&sold)[3], "fill 4 @ 99");
    assert_eq!(rig.figure("realised_pnl"), "\"-4\"");
    assert_eq!(rig.figure("fees"), "\"0.598\"");
    assert_eq!(
        rig.figure("equity"),
        "\"993.402\"",
        "two short at 99, marked at 100: two more lost"
    );
}

#[test]
fn with_latency_the_order_arrives_later_and_meets_the_market_of_then() {
    let mut rig = Rig::new("latency_us = 1500", "");
    rig.quote(99, 101);
    assert_eq!(life(&rig.signal(Ratio::ONE)), ["submitted", "approved"]);
    assert!(life(&rig.quote(199, 201)).is_empty(), "one millisecond is too early");
    assert_eq!(life(&rig.quote(99, 101)), ["accepted", "fill 2 @ 201", "filled"]);
}

#[test]
fn a_repeated_signal_orders_nothing_more_even_while_the_order_is_open() {
    let mut rig = Rig::new("latency_us = 5000", "");
    rig.quote(99, 101);
    rig.signal(Ratio::ONE);
    assert!(life(&rig.signal(Ratio::ONE)).is_empty());
}

#[test]
fn an_order_without_a_market_is_rejected() {
    let mut rig = Rig::new("", "");
    let events = rig.signal(Ratio::ONE);
    assert_eq!(life(&events)[2], "rejected: there is no market in this instrument yet");
    rig.quote(99, 101);
    assert_eq!(life(&rig.signal(Ratio::ONE))[3], "fill 2 @ 101", "it is free to try again");
}

#[test]
fn each_risk_limit_denies_with_its_reason() {
    for (risk, reason) in [
        ("max_order_qty = '1.5'", "denied: quantity 2 is above max_order_qty 1.5"),
        ("max_position = '1'", "denied: position could reach 2, past max_position 1"),
    ] {
        let mut rig = Rig::new("", risk);
        rig.quote(99, 101);
        assert_eq!(life(&rig.signal(Ratio::ONE)), ["submitted", reason]);
    }
    let mut rig = Rig::new("", "max_orders_per_second = 2");
    rig.quote(99, 101);
    rig.signal(Ratio::ONE);
    rig.signal(Ratio::MINUS_ONE);
    assert_eq!(life(&rig.signal(Ratio::ONE))[1], "denied: max_orders_per_second is 2");
    rig.time += 1_000_000_000;
    assert_eq!(life(&rig.signal(Ratio::ONE))[1], "approved", "a second later there is room");
}

#[test]
fn the_kill_switch_takes_open_orders_back_and_lets_nothing_pass_until_resumed() {
    let mut rig = Rig::new("", "");
    rig.quote(99, 101);
    let resting = order(&rig, Side::Buy, "1", OrderKind::Limit { price: whole(90) });
    assert_eq!(life(&rig.feed(resting)), ["submitted", "approved", "accepted"]);
    let operator = |action| System::Operator { action, by: name("me") };
    let killed = life(&rig.feed(operator(OperatorAction::Kill)));
    assert_eq!(killed, ["cancelrequested", "cancelled"]);
    assert_eq!(life(&rig.signal(Ratio::ONE))[1], "denied: the kill switch is thrown");
    rig.feed(operator(OperatorAction::Resume));
    assert_eq!(life(&rig.signal(Ratio::ONE))[1], "approved");
}

#[test]
fn a_realised_loss_throws_the_kill_switch() {
    let mut rig = Rig::new("", "max_loss = '3'");
    rig.quote(99, 101);
    rig.signal(Ratio::ONE);
    rig.signal(Ratio::MINUS_ONE);
    assert_eq!(rig.figure("kill_switch"), "\"thrown\"");
    assert_eq!(life(&rig.signal(Ratio::ONE))[1], "denied: the kill switch is thrown");
}

/// An order from outside, as another process would send it.
fn order(rig: &Rig, side: Side, quantity: &str, kind: OrderKind) -> Order {
    Order {
        order_id: silvertine_engine::event::EventId(u128::from(rig.seq) + 1),
        symbol: symbol(),
        strategy: name("me"),
        side,
        qty: qty(quantity),
        kind,
        status: OrderStatus::Submitted,
    }
}

#[test]
fn a_modified_order_passes_risk_again_and_works_on() {
    let mut rig = Rig::new("", "max_order_qty = '5'");
    rig.quote(99, 101);
    let limit = OrderKind::Limit { price: whole(90) };
    let resting = order(&rig, Side::Buy, "1", limit);
    rig.feed(resting.clone());
    let modify = |quantity: &str, price: i64| {
        let (qty, kind) = (qty(quantity), OrderKind::Limit { price: whole(price) });
        resting.with_status(OrderStatus::ModifyRequested { qty, kind })
    };
    let denied = life(&rig.feed(modify("6", 90)));
    assert!(denied[1].starts_with("denied"), "{denied:?}");
    assert_eq!(life(&rig.feed(modify("4", 95)))[1..], ["approved", "modified"]);
    let filled = rig.quote(93, 95);
    assert_eq!(life(&filled), ["fill 4 @ 95", "filled"]);
    let Body::Fill(Fill { liquidity, .. }) = filled[1].body else { panic!("a fill") };
    assert_eq!(liquidity, Liquidity::Maker);
}

/// One random act.
#[derive(Clone, Debug)]
enum Act {
    Quote(i64, i64),
    Order { buys: bool, qty: i64, limit: Option<i64> },
    Signal(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (50..150_i64, 0..5_i64).prop_map(|(bid, spread)| Act::Quote(bid, bid + spread)),
        2 => (any::<bool>(), 1..9_i64, prop::option::of(50..150_i64))
            .prop_map(|(buys, qty, limit)| Act::Order { buys, qty, limit }),
        1 => (-1..=1_i64).prop_map(Act::Signal),
    ]
}

fn perform(rig: &mut Rig, act: &Act) -> Vec<Event> {
    match act {
        Act::Quote(bid, ask) => rig.quote(*bid, *ask),
        Act::Order { buys, qty, limit } => {
            let side = if *buys { Side::Buy } else { Side::Sell };
            let limit = limit.map(|price| OrderKind::Limit { price: whole(price) });
            let kind = limit.unwrap_or(OrderKind::Market);
            let order = order(rig, side, &qty.to_string(), kind);
            rig.feed(order)
        }
        Act::Signal(strength) => rig.signal(Ratio::from_whole(*strength).expect("in range")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn fills_never_exceed_an_order_nor_break_its_limit(
        acts in prop::collection::vec(act(), 1..120),
        displayed: bool,
        latency in 0..3000_u64,
    ) {
        let venue = format!("limit_to_displayed = {displayed}\nlatency_us = {latency}");
        let mut rig = Rig::new(&venue, "");
        let mut orders = std::collections::BTreeMap::new();
        for act in &acts {
            for event in perform(&mut rig, act) {
                match event.body {
                    Body::Order(order) => {
                        orders.entry(order.order_id).or_insert((order, 0));
                    }
                    Body::Fill(fill) => {
                        let (order, filled) = orders.get_mut(&fill.order_id).expect("an order");
                        *filled += fill.qty.units();
                        prop_assert!(*filled <= order.qty.units());
                        if let OrderKind::Limit { price } = order.kind {
                            match order.side {
                                Side::Buy => prop_assert!(fill.price <= price),
                                Side::Sell => prop_assert!(fill.price >= price),
                            }
                        }
                    }
                    Body::System(System::HandlerFailed { reason, .. }) => {
                        prop_assert!(false, "handler failed: {}", reason);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_chain_saved_and_loaded_anywhere_goes_on_byte_for_byte(
        acts in prop::collection::vec(act(), 2..80),
        cut in 0..80_usize,
    ) {
        let venue = "latency_us = 1500\nlimit_to_displayed = true\ntaker_fee = '0.001'";
        let risk = "max_position = '20'\nmax_orders_per_second = 100";
        let mut whole_run = Rig::new(venue, risk);
        let cut = cut % acts.len();
        let mut saved = None;
        for (at, act) in acts.iter().enumerate() {
            if at == cut {
                let state = whole_run.engine.save().expect("saves");
                saved = Some((state, whole_run.seq, whole_run.time));
            }
            perform(&mut whole_run, act);
        }
        let (state, seq, time) = saved.expect("the cut lies within");
        let mut restored = Rig { engine: engine(venue, risk), seq, time };
        restored.engine.load(&state).expect("loads");
        for act in &acts[cut..] {
            perform(&mut restored, act);
        }
        prop_assert_eq!(restored.engine.digest(), whole_run.engine.digest());
        prop_assert_eq!(restored.engine.figures(), whole_run.engine.figures());
    }

    #[test]
    fn equity_is_cash_plus_what_is_held_at_the_mark(acts in prop::collection::vec(act(), 1..120)) {
        let mut rig = Rig::new("taker_fee = '0.0003'\nmaker_fee = '0.0001'", "");
        let (mut cash, mut held, mut mid, mut fills) = (1_000_000_000_000_i128, 0_i64, 0, 0_i128);
        for act in &acts {
            if let Act::Quote(bid, ask) = act {
                mid = whole(*bid).midpoint(whole(*ask)).units();
            }
            for event in perform(&mut rig, act) {
                if let Body::Fill(fill) = event.body {
                    let signed = fill.side.signed(fill.qty);
                    cash -= fill.price.notional(signed).units() + fill.commission.units();
                    held += signed.units();
                    fills += 1;
                }
            }
        }
        let expected = cash + Price::from_units(mid).notional(Qty::from_units(held)).units();
        let reported = rig.figure("equity");
        let reported: silvertine_engine::numbers::Money =
            reported.trim_matches('"').parse().expect("an amount");
        prop_assert!((reported.units() - expected).abs() <= fills, "{} {}", reported, expected);
    }
}
