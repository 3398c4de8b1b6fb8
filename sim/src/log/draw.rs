//! Drawing: the plan of a seed.
//!
//! Each part draws from a stream of its own, so that one more draw in one part shifts nothing in another. Faults are a
//! random subset of the kinds (swarm testing): a run with few kinds goes deeper than one with all of them.

use silvertine_engine::{
    bus::{FailurePolicy, OnFailure},
    rng::Rng,
    text::Name,
};

use super::{
    fault::{CrashedRequest, Fault, FaultKind, OpKind, Scope, When},
    plan::{EngineKnobs, Knobs, Plan, SEEDS_OF_FAMILY, Shape},
    workload::Workload,
};

const MS: u64 = 1_000_000;
/// Faults of a plan that come after a number of inputs, so that they strike in every run. The others wait
/// for operations that a run may never get to.
const SURE_FAULTS: u64 = 6;

impl Plan {
    /// The plan of a seed. Seeds of one [family](SEEDS_OF_FAMILY) have their inputs and the engine's settings in common.
    #[must_use]
    pub fn draw(seed: u64, shape: &Shape) -> Self {
        let family = seed / SEEDS_OF_FAMILY;
        let of_family = |part: u64| Rng::new(family ^ part);
        let mut workloads = draw_workloads(&mut of_family(0x5749_524b_4c4f_4144), shape);
        let mut knobs =
            draw_knobs(&mut of_family(0x454e_4749_4e45), &mut Rng::new(seed ^ 0x4b4e_4f42));
        let mut fault_rng = Rng::new(seed ^ 0x4641_554c_5453);
        let engine = &mut knobs.engine;
        engine.on_failure = draw_policy(&mut of_family(0x4841_4c54));
        draw_parking(&mut of_family(0x5041_524b), shape, engine, &mut workloads);
        let live = workloads.iter().any(|(_, workload)| workload.publish);
        let events = workloads.iter().map(|(_, workload)| workload.events).sum();
        let mut faults = draw_faults(&mut fault_rng, live, events, &knobs);
        if live {
            faults.extend(draw_idle_faults(&mut Rng::new(seed ^ 0x4944_4c45)));
        }
        Self { seed, workloads, knobs, faults, without_handlers: Vec::new() }
    }
}

/// Half of the time nothing, else up to `most` of a thousand.
fn share(rng: &mut Rng, most: u64) -> u16 {
    if rng.below(2) == 0 { 0 } else { rng.below(most + 1) as u16 }
}

fn draw_workloads(rng: &mut Rng, shape: &Shape) -> Vec<(Name, Workload)> {
    let publish = rng.below(5) == 0;
    let lanes = 1 + rng.below(3);
    let (least, most) = shape.events;
    let events = least + rng.below(most - least + 1);
    let of_lane = |lane: u64, rng: &mut Rng| {
        let (_, price) = rng.pick(&shape.symbols);
        let symbols = shape.symbols.iter().map(|&(symbol, _)| symbol).collect();
        // The remainder goes to the first lane, so that the sum is what was drawn.
        let events = events / lanes + if lane == 0 { events % lanes } else { 0 };
        Workload {
            seed: rng.next_u64() >> 1,
            symbols,
            events,
            start_ns: 1_704_067_200_000_000_000 + lane * MS,
            interval_ns: rng.pick(&[MS, 10 * MS, 50 * MS, 1000 * MS]),
            price,
            trades: if shape.trades { share(rng, 600) } else { 0 },
            bars: if shape.bars { 200 + share(rng, 400) } else { 0 },
            bursts: share(rng, 700),
            late: share(rng, 150),
            duplicates: share(rng, 120),
            bad: share(rng, 60),
            releases: 0,
            handlers: Vec::new(),
            ids: rng.below(2) == 0,
            publish,
        }
    };
    (0..lanes)
        .map(|lane| {
            let name = Name::new(&format!("lane-{lane}")).expect("a short name");
            (name, of_lane(lane, rng))
        })
        .collect()
}

fn draw_knobs(engine_rng: &mut Rng, rng: &mut Rng) -> Knobs {
    // A snapshot with every commit is worth a try, but costs more than all else.
    let often = rng.below(16) == 0;
    let snapshot_entries =
        if often { rng.pick(&[1, 5, 100_000]) } else { rng.pick(&[20, 40, 60, 80]) };
    let trims = rng.below(3) == 0;
    Knobs {
        batch_entries: rng.pick(&[1, 2, 4, 7, 10, 16, 20, 32, 48, 64]),
        snapshot_entries,
        retention_entries: trims.then(|| rng.pick(&[1, 20, 80])),
        give_up_after_s: rng.pick(&[3, 60]),
        engine: draw_engine_knobs(engine_rng),
    }
}

fn draw_engine_knobs(rng: &mut Rng) -> EngineKnobs {
    EngineKnobs {
        seed: rng.next_u64() >> 1,
        dedup_window_ms: rng.pick(&[20, 500, 300_000]),
        dedup_capacity: rng.pick(&[3, 50, 100_000]),
        circuit_failures: rng.pick(&[1, 2, 5]),
        circuit_reset_ms: rng.pick(&[10, 100, 60_000]),
        on_failure: None,
        park_capacity: 4096,
    }
}

/// One time in ten failures halt: on some topics, so that both kinds meet in one run, or on all.
fn draw_policy(rng: &mut Rng) -> Option<FailurePolicy> {
    if rng.below(10) > 0 {
        return None;
    }
    let mut draw = || rng.pick(&[OnFailure::Halt, OnFailure::DeadLetter]);
    let (market_data, signal, system) = (draw(), draw(), draw());
    Some(FailurePolicy { market_data, signal, system, ..FailurePolicy::default() })
}

/// One time in ten failures park, on some topics or on all, beside those that halt; and now and then operators release
/// what may be parked.
fn draw_parking(
    rng: &mut Rng,
    shape: &Shape,
    engine: &mut EngineKnobs,
    workloads: &mut [(Name, Workload)],
) {
    if rng.below(10) > 0 {
        return;
    }
    let others = engine.on_failure.unwrap_or(FailurePolicy::DEAD_LETTER);
    let mut draw = |other| rng.pick(&[OnFailure::ParkKey, OnFailure::ParkKey, other]);
    engine.on_failure = Some(FailurePolicy {
        market_data: draw(others.market_data),
        signal: draw(others.signal),
        order: draw(others.order),
        fill: draw(others.fill),
        system: draw(others.system),
    });
    // Each event for which there is no room stops the run, which is soon enough seen.
    engine.park_capacity = if rng.below(8) == 0 { 90 } else { 4096 };
    let releases = rng.pick(&[0, 40, 120, 250]);
    for (_, workload) in workloads.iter_mut().filter(|_| !shape.handlers.is_empty()) {
        workload.releases = releases;
        workload.handlers.clone_from(&shape.handlers);
        // An id that comes again beyond its window names two events, and a release may hand out both: which of them an
        // entry was caused by, no reader of the log can tell.
        workload.ids &= releases == 0;
    }
}

/// A random subset of the kinds of faults (swarm testing: a run with few kinds goes deeper than one with
/// all of them), each at random places.
fn draw_faults(rng: &mut Rng, live: bool, events: u64, knobs: &Knobs) -> Vec<Fault> {
    let felt = |kind: &FaultKind| match kind.scope() {
        Scope::Clock | Scope::Producer => live,
        // Emptying the server under producers that will not send again is a loss, not a recovery.
        Scope::Loss => !(live && *kind == FaultKind::Flush),
        _ => true,
    };
    let kinds: Vec<FaultKind> = FaultKind::ALL.iter().copied().filter(felt).collect();
    let wanted = 1 + rng.below(7) as usize;
    let mut chosen: Vec<FaultKind> = (0..wanted).map(|_| rng.pick(&kinds)).collect();
    chosen.dedup();
    let commits = (events / knobs.batch_entries as u64).max(2);
    let sure = (0..SURE_FAULTS).map(|_| When::Events(1 + rng.below(events * 3 / 4)));
    let mut places: Vec<(When, Option<OpKind>)> = sure.map(|at| (at, None)).collect();
    for _ in 0..1 + rng.below(3) {
        let op = draw_op(rng, live);
        let n = 1 + match op {
            OpKind::Commit => rng.below(commits),
            OpKind::Ingress | OpKind::Publish => rng.below(events / 8 + 2),
            _ => rng.below(4),
        };
        places.push(match rng.below(3) {
            0 => (When::Events(1 + rng.below(events)), Some(op)),
            _ => (When::Op(op, n), None),
        });
    }
    places
        .into_iter()
        .map(|(at, op)| {
            let kind = rng.pick(&chosen);
            draw_fault(rng, kind, at, op)
        })
        .collect()
}

/// One time in two the log loses its tail while its owner waits for messages, and then producers send their last ones
/// again: whoever does not look what was lost waits for ever.
fn draw_idle_faults(rng: &mut Rng) -> Vec<Fault> {
    if rng.below(2) > 0 {
        return Vec::new();
    }
    let loss = rng.pick(&[FaultKind::Failover, FaultKind::PowerLoss]);
    [loss, FaultKind::ProducerRestart].map(|kind| draw_fault(rng, kind, When::Idle, None)).into()
}

fn draw_fault(rng: &mut Rng, kind: FaultKind, at: When, op: Option<OpKind>) -> Fault {
    let mut fault = Fault::new(at, kind);
    if kind.keys().contains(&"op") {
        fault.op = op;
    }
    fault.for_ns = MS * rng.pick(&[1, 5, 40, 300, 1500, 7000]);
    fault.lose = 1 + rng.below(6) as u32;
    fault.request =
        rng.pick(&[CrashedRequest::Lost, CrashedRequest::Applied, CrashedRequest::Late]);
    fault.by_ns = rng.pick(&[-3_600_000, -2000, -10, 10, 2000, 3_600_000]) * MS as i64;
    fault
}

fn draw_op(rng: &mut Rng, live: bool) -> OpKind {
    match rng.below(if live { 12 } else { 9 }) {
        0 => OpKind::Acquire,
        1 => OpKind::Range,
        2 => OpKind::Snapshot,
        3 => OpKind::Trim,
        4..=8 => OpKind::Commit,
        9 => OpKind::Ingress,
        _ => OpKind::Publish,
    }
}
