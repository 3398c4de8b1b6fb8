//! What of a plan can be left out or made plainer: faults first, then inputs, handlers and settings.

use crate::{
    kernel::shrink::{Shrink, Shrinking},
    log::{
        fault::{CrashedRequest, Fault, FaultKind, When},
        plan::{EngineKnobs, Knobs, Plan},
    },
};

impl Shrink for Plan {
    /// The handlers that may be left out, by name.
    type Context = [String];

    fn simplify(shrinking: &mut Shrinking<'_, Self>, handlers: &[String]) {
        shrinking.leave_out(|plan| &mut plan.faults);
        shorten(shrinking);
        leave_out_handlers(shrinking, handlers);
        simplify_inputs(shrinking);
        simplify_settings(shrinking);
        simplify_faults(shrinking);
    }
}

fn shorten(shrinking: &mut Shrinking<'_, Plan>) {
    while shrinking.best().workloads.len() > 1 {
        let lanes = shrinking.best().workloads.len();
        let left_out = (0..lanes).any(|lane| {
            shrinking.with(|plan| {
                plan.workloads.remove(lane);
            })
        });
        if !left_out {
            break;
        }
    }
    for lane in 0..shrinking.best().workloads.len() {
        shrinking.lower(1, |plan| &mut plan.workloads[lane].1.events);
    }
}

fn leave_out_handlers(shrinking: &mut Shrinking<'_, Plan>, handlers: &[String]) {
    for handler in handlers {
        if !shrinking.best().without_handlers.contains(handler) {
            shrinking.with(|plan| plan.without_handlers.push(handler.clone()));
        }
    }
}

fn simplify_inputs(shrinking: &mut Shrinking<'_, Plan>) {
    for lane in 0..shrinking.best().workloads.len() {
        shrinking.with(|plan| plan.workloads[lane].1.bad = 0);
        shrinking.with(|plan| {
            plan.workloads[lane].1.releases = 0;
            plan.workloads[lane].1.handlers.clear();
        });
        shrinking.with(|plan| plan.workloads[lane].1.duplicates = 0);
        shrinking.with(|plan| plan.workloads[lane].1.late = 0);
        shrinking.with(|plan| plan.workloads[lane].1.bursts = 0);
        shrinking.with(|plan| plan.workloads[lane].1.trades = 0);
        shrinking.with(|plan| plan.workloads[lane].1.bars = 0);
        shrinking.with(|plan| plan.workloads[lane].1.ids = false);
        shrinking.with(|plan| plan.workloads[lane].1.symbols.truncate(1));
    }
}

fn simplify_settings(shrinking: &mut Shrinking<'_, Plan>) {
    let usual = Knobs {
        batch_entries: 10,
        snapshot_entries: 100_000,
        retention_entries: None,
        give_up_after_s: 60,
        engine: EngineKnobs {
            // Handlers' luck is part of the inputs.
            seed: shrinking.best().knobs.engine.seed,
            dedup_window_ms: 300_000,
            dedup_capacity: 100_000,
            circuit_failures: 5,
            circuit_reset_ms: 60_000,
            on_failure: None,
            park_capacity: 4096,
        },
    };
    if shrinking.with(|plan| plan.knobs = usual) {
        return;
    }
    shrinking.with(|plan| plan.knobs.retention_entries = usual.retention_entries);
    shrinking.with(|plan| plan.knobs.snapshot_entries = usual.snapshot_entries);
    shrinking.with(|plan| plan.knobs.batch_entries = usual.batch_entries);
    shrinking.with(|plan| plan.knobs.give_up_after_s = usual.give_up_after_s);
    shrinking.with(|plan| plan.knobs.engine.dedup_window_ms = usual.engine.dedup_window_ms);
    shrinking.with(|plan| plan.knobs.engine.dedup_capacity = usual.engine.dedup_capacity);
    shrinking.with(|plan| plan.knobs.engine.circuit_failures = usual.engine.circuit_failures);
    shrinking.with(|plan| plan.knobs.engine.circuit_reset_ms = usual.engine.circuit_reset_ms);
    shrinking.with(|plan| plan.knobs.engine.on_failure = usual.engine.on_failure);
    shrinking.with(|plan| plan.knobs.engine.park_capacity = usual.engine.park_capacity);
}

fn simplify_faults(shrinking: &mut Shrinking<'_, Plan>) {
    for at in 0..shrinking.best().faults.len() {
        let Fault { at: when, kind, .. } = shrinking.best().faults[at];
        shrinking.with(|plan| plan.faults[at] = Fault::new(when, kind));
        shrinking.with(|plan| plan.faults[at].request = CrashedRequest::Lost);
        shrinking.with(|plan| plan.faults[at].lose = 1);
        // The plainest way to die.
        shrinking.with(|plan| plan.faults[at] = Fault::new(when, FaultKind::Crash));
        if shrinking.best().faults[at].at != When::Idle {
            shrinking.lower(1, |plan| plan.faults[at].at.count_mut().expect("not idle"));
        }
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::{numbers::Price, text::Symbol};

    use super::*;
    use crate::{
        kernel::shrink::{Budget, shrink},
        log::plan::Shape,
    };

    #[test]
    fn what_does_not_matter_is_left_out() {
        let symbol = Symbol::new("A").expect("short");
        let symbols = vec![(symbol, Price::from_units(100_000_000_000))];
        let shape =
            Shape { symbols, trades: true, bars: true, handlers: Vec::new(), events: (200, 320) };
        for seed in 0..50 {
            let mut plan = Plan::draw(seed, &shape);
            plan.faults.push(Fault::new(When::Events(77), FaultKind::Flush));
            let handlers = ["a".to_owned(), "b".to_owned()];
            // Broken whenever the log is flushed and there are at least seven inputs and handler b.
            let least = shrink(&plan, &handlers, Budget::default(), &mut |plan| {
                plan.faults.iter().any(|fault| fault.kind == FaultKind::Flush)
                    && plan.events() >= 7
                    && !plan.without_handlers.contains(&handlers[1])
            });
            assert_eq!(least.faults.len(), 1, "seed {seed}");
            assert_eq!(least.events(), 7, "seed {seed}");
            assert_eq!(least.without_handlers, handlers[..1]);
        }
    }
}
