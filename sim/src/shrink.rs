//! Shrinking: from a plan that breaks a promise to the least plan that still breaks it.
//!
//! Faults first (delta debugging after Zeller and Hildebrandt, 2002), then inputs, handlers and settings; round
//! and round until nothing more can be left out. Every candidate is a whole run, so the result needs no
//! proof beyond itself.

use crate::{
    fault::{CrashedRequest, Fault, FaultKind, When},
    plan::{EngineKnobs, Knobs, Plan},
};

/// Runs spent on one plan at most.
const RUNS_MAX: u32 = 3_000;

/// The least plan for which `breaks` still holds. `handlers` may be left out one by one.
#[must_use]
pub fn shrink(plan: &Plan, handlers: &[String], breaks: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut shrinking = Shrinking { best: plan.clone(), runs_left: RUNS_MAX, breaks };
    loop {
        let before = shrinking.best.clone();
        shrinking.leave_out_faults();
        shrinking.shorten();
        shrinking.leave_out_handlers(handlers);
        shrinking.plainer_inputs();
        shrinking.plainer_settings();
        shrinking.plainer_faults();
        if shrinking.best == before || shrinking.runs_left == 0 {
            return shrinking.best;
        }
    }
}

struct Shrinking<'a> {
    best: Plan,
    runs_left: u32,
    breaks: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Shrinking<'_> {
    /// Takes the candidate when it is another plan and still breaks the promise.
    fn try_out(&mut self, candidate: Plan) -> bool {
        if candidate == self.best || self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        let taken = (self.breaks)(&candidate);
        if taken {
            self.best = candidate;
        }
        taken
    }

    fn with(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.try_out(candidate)
    }

    fn leave_out_faults(&mut self) {
        let mut size = self.best.faults.len();
        while size > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let end = (at + size).min(self.best.faults.len());
                let left_out = self.with(|plan| {
                    plan.faults.drain(at..end);
                });
                if !left_out {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn shorten(&mut self) {
        while self.best.workloads.len() > 1 {
            let lanes = self.best.workloads.len();
            let left_out = (0..lanes).any(|lane| {
                self.with(|plan| {
                    plan.workloads.remove(lane);
                })
            });
            if !left_out {
                break;
            }
        }
        for lane in 0..self.best.workloads.len() {
            let mut step = self.best.workloads[lane].1.events / 2;
            while step > 0 {
                let shorter = self.with(|plan| {
                    let events = &mut plan.workloads[lane].1.events;
                    *events = events.saturating_sub(step).max(1);
                });
                if !shorter {
                    step /= 2;
                }
            }
        }
    }

    fn leave_out_handlers(&mut self, handlers: &[String]) {
        for handler in handlers {
            if !self.best.without_handlers.contains(handler) {
                self.with(|plan| plan.without_handlers.push(handler.clone()));
            }
        }
    }

    fn plainer_inputs(&mut self) {
        for lane in 0..self.best.workloads.len() {
            self.with(|plan| plan.workloads[lane].1.bad = 0);
            self.with(|plan| {
                plan.workloads[lane].1.releases = 0;
                plan.workloads[lane].1.handlers.clear();
            });
            self.with(|plan| plan.workloads[lane].1.duplicates = 0);
            self.with(|plan| plan.workloads[lane].1.late = 0);
            self.with(|plan| plan.workloads[lane].1.bursts = 0);
            self.with(|plan| plan.workloads[lane].1.trades = 0);
            self.with(|plan| plan.workloads[lane].1.bars = 0);
            self.with(|plan| plan.workloads[lane].1.ids = false);
            self.with(|plan| plan.workloads[lane].1.symbols.truncate(1));
        }
    }

    fn plainer_settings(&mut self) {
        let usual = Knobs {
            batch_entries: 10,
            snapshot_entries: 100_000,
            retention_entries: None,
            give_up_after_s: 60,
            engine: EngineKnobs {
                // Handlers' luck is part of the inputs.
                seed: self.best.knobs.engine.seed,
                dedup_window_ms: 300_000,
                dedup_capacity: 100_000,
                circuit_failures: 5,
                circuit_reset_ms: 60_000,
                on_failure: None,
                park_capacity: 4096,
            },
        };
        if self.with(|plan| plan.knobs = usual) {
            return;
        }
        self.with(|plan| plan.knobs.retention_entries = usual.retention_entries);
        self.with(|plan| plan.knobs.snapshot_entries = usual.snapshot_entries);
        self.with(|plan| plan.knobs.batch_entries = usual.batch_entries);
        self.with(|plan| plan.knobs.give_up_after_s = usual.give_up_after_s);
        self.with(|plan| plan.knobs.engine.dedup_window_ms = usual.engine.dedup_window_ms);
        self.with(|plan| plan.knobs.engine.dedup_capacity = usual.engine.dedup_capacity);
        self.with(|plan| plan.knobs.engine.circuit_failures = usual.engine.circuit_failures);
        self.with(|plan| plan.knobs.engine.circuit_reset_ms = usual.engine.circuit_reset_ms);
        self.with(|plan| plan.knobs.engine.on_failure = usual.engine.on_failure);
        self.with(|plan| plan.knobs.engine.park_capacity = usual.engine.park_capacity);
    }

    fn plainer_faults(&mut self) {
        for at in 0..self.best.faults.len() {
            let Fault { at: when, kind, .. } = self.best.faults[at];
            self.with(|plan| plan.faults[at] = Fault::new(when, kind));
            self.with(|plan| plan.faults[at].request = CrashedRequest::Lost);
            self.with(|plan| plan.faults[at].lose = 1);
            // The plainest way to die.
            self.with(|plan| plan.faults[at] = Fault::new(when, FaultKind::Crash));
            self.earlier(at);
        }
    }

    /// Moves a fault towards the beginning.
    fn earlier(&mut self, at: usize) {
        let place = |when: When| match when {
            When::Op(_, n) | When::Events(n) | When::Time(n) => n,
            When::Idle => 0,
        };
        let mut step = place(self.best.faults[at].at) / 2;
        while step > 0 {
            let moved = self.with(|plan| {
                let when = &mut plan.faults[at].at;
                let n = place(*when).saturating_sub(step).max(1);
                *when = match *when {
                    When::Op(op, _) => When::Op(op, n),
                    When::Events(_) => When::Events(n),
                    When::Time(_) => When::Time(n),
                    When::Idle => When::Idle,
                };
            });
            if !moved {
                step /= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::{numbers::Price, text::Symbol};

    use super::*;
    use crate::plan::Shape;

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
            let least = shrink(&plan, &handlers, &mut |plan| {
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
