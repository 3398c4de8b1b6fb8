//! Exhaustive plans: a crash at every operation of a run, and every plan of up to two faults over a tiny run.
//!
//! Random plans find bugs that are likely; these find all that need few steps. Most bugs of crash consistency show with
//! few operations and few faults (Mohan et al., *Finding crash-consistency bugs with bounded black-box crash
//! testing*, OSDI 2018).

use silvertine_engine::text::{Name, Symbol};

use crate::log::{
    fault::{CrashedRequest, Fault, FaultKind, OpKind, Scope, When},
    plan::{EngineKnobs, Knobs, Plan, Shape},
    report::Report,
    workload::Workload,
};

/// What is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhaustive {
    /// The owner dies at every operation and between any two inputs, and the server loses its power there.
    Crashes,
    /// Every plan of one or two faults over runs of one to three inputs.
    Pairs,
}

/// Inputs of the run that is crashed at every step.
const CRASHED_INPUTS: u64 = 24;
/// Operations that the second run of a plan may have more than its first.
const MARGIN: u64 = 2;

/// The fault-free plans that faults are then put into.
#[must_use]
pub fn bases(mode: Exhaustive, shape: &Shape) -> Vec<Plan> {
    let sizes = match mode {
        Exhaustive::Crashes => CRASHED_INPUTS..=CRASHED_INPUTS,
        Exhaustive::Pairs => 1..=3,
    };
    let settings = [(1, 1), (2, 3)];
    let base = |events, publish, (batch_entries, snapshot_entries)| Plan {
        seed: events,
        workloads: vec![(lane(), workload(shape, events, publish))],
        knobs: Knobs {
            batch_entries,
            snapshot_entries,
            retention_entries: Some(events / 2),
            give_up_after_s: 3,
            engine: EngineKnobs {
                // Any will do: what handlers draw is not what is tried out.
                seed: 11,
                dedup_window_ms: 300_000,
                dedup_capacity: 100_000,
                circuit_failures: 2,
                circuit_reset_ms: 50,
                on_failure: None,
                park_capacity: 4096,
            },
        },
        faults: Vec::new(),
        without_handlers: Vec::new(),
    };
    let mut bases = Vec::new();
    for events in sizes {
        for publish in [false, true] {
            bases.extend(settings.map(|setting| base(events, publish, setting)));
        }
    }
    bases
}

fn lane() -> Name {
    Name::new("lane").expect("a short name")
}

fn workload(shape: &Shape, events: u64, publish: bool) -> Workload {
    let (_, price) = shape.symbols[0];
    let symbols: Vec<Symbol> = shape.symbols.iter().map(|&(symbol, _)| symbol).collect();
    Workload {
        seed: 3,
        symbols,
        events,
        start_ns: 1_704_067_200_000_000_000,
        interval_ns: 10_000_000,
        price,
        trades: if shape.trades { 300 } else { 0 },
        bars: if shape.bars { 300 } else { 0 },
        bursts: 200,
        late: 100,
        duplicates: 150,
        bad: 100,
        releases: 0,
        handlers: Vec::new(),
        ids: true,
        publish,
    }
}

/// Every plan of a mode over one base, by its number.
#[derive(Clone, Debug)]
pub struct Plans {
    base: Plan,
    singles: Vec<Fault>,
    /// Where the plans begin whose first fault is this single; empty when there are no pairs.
    pairs_begin: Vec<u64>,
    count: u64,
}

impl Plans {
    /// The plans over `base`, given what its fault-free run did.
    #[must_use]
    pub fn new(mode: Exhaustive, base: &Plan, fault_free: &Report) -> Self {
        let singles = match mode {
            Exhaustive::Crashes => crashes(base, fault_free),
            Exhaustive::Pairs => singles(base, fault_free),
        };
        let mut count = singles.len() as u64;
        let mut pairs_begin = Vec::new();
        if mode == Exhaustive::Pairs {
            for first in 0..singles.len() {
                pairs_begin.push(count);
                // With itself and every later one.
                count += (singles.len() - first) as u64;
            }
        }
        Self { base: base.clone(), singles, pairs_begin, count }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The plan of this number, from zero.
    #[must_use]
    pub fn nth(&self, number: u64) -> Option<Plan> {
        if number >= self.count {
            return None;
        }
        let faults = match self.pairs_begin.partition_point(|&begin| begin <= number) {
            0 => vec![*self.singles.get(usize::try_from(number).ok()?)?],
            behind => {
                let first = behind - 1;
                let second = first + usize::try_from(number - self.pairs_begin[first]).ok()?;
                vec![self.singles[first], self.singles[second]]
            }
        };
        Some(Plan { faults, ..self.base.clone() })
    }
}

/// All places between operations and inputs of a run, and a little beyond: recovery adds operations.
fn places(base: &Plan, fault_free: &Report) -> Vec<When> {
    let of_kind = |kind: OpKind| {
        let happened = fault_free.operations[kind as usize];
        let last = if happened == 0 { 0 } else { happened + MARGIN };
        (1..=last).map(move |n| When::Op(kind, n))
    };
    let operations = OpKind::ALL.iter().copied().flat_map(of_kind);
    operations.chain((1..=base.events()).map(When::Events)).collect()
}

fn crashes(base: &Plan, fault_free: &Report) -> Vec<Fault> {
    let mut crashes = Vec::new();
    for at in places(base, fault_free) {
        for request in [CrashedRequest::Lost, CrashedRequest::Applied, CrashedRequest::Late] {
            crashes.push(Fault { request, ..Fault::new(at, FaultKind::Crash) });
        }
        for kind in [FaultKind::PowerLoss, FaultKind::Restart, FaultKind::Failover] {
            crashes.extend((1..=3).map(|lose| Fault { lose, ..Fault::new(at, kind) }));
        }
    }
    crashes
}

/// Every kind of fault at every place, with its usual parameters.
fn singles(base: &Plan, fault_free: &Report) -> Vec<Fault> {
    let live = base.workloads.iter().any(|(_, workload)| workload.publish);
    let felt = |scope: Scope| live || !matches!(scope, Scope::Clock | Scope::Producer);
    let kinds = FaultKind::ALL.iter().copied().filter(|kind| felt(kind.scope()));
    let places = places(base, fault_free);
    kinds.flat_map(|kind| places.iter().map(move |&at| Fault::new(at, kind))).collect()
}
