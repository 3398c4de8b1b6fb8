//! Shrinking: from a plan that breaks a promise to the smallest that still breaks it.
//!
//! A plan says which parts of it can be left out or made plainer, in order; round and round until nothing more
//! can be. Lists are shortened by delta debugging (Zeller and Hildebrandt, 2002). Every candidate is a whole run, so
//! the result needs no proof beyond itself.

/// Runs spent on one plan at most, unless told otherwise.
pub const RUNS_MAX: u32 = 3_000;

/// A plan that can be shrunk.
pub trait Shrink: Clone + PartialEq {
    /// What shrinking must know besides the plan.
    type Context: ?Sized;

    /// Tries everything that may make the best plan smaller, the most promising first.
    fn simplify(shrinking: &mut Shrinking<'_, Self>, context: &Self::Context);
}

/// How long plans are tried.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    /// Runs at most.
    pub runs_max: u32,
    /// Asked before every run: whether what was found by now must do.
    pub stop: &'a dyn Fn() -> bool,
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Self { runs_max: RUNS_MAX, stop: &|| false }
    }
}

/// The smallest plan that was found for which `breaks` still holds.
#[must_use]
pub fn shrink<P: Shrink>(
    plan: &P,
    context: &P::Context,
    budget: Budget<'_>,
    breaks: &mut dyn FnMut(&P) -> bool,
) -> P {
    let mut shrinking = Shrinking { best: plan.clone(), budget, breaks };
    loop {
        let before = shrinking.best.clone();
        P::simplify(&mut shrinking, context);
        if shrinking.best == before || shrinking.is_over() {
            return shrinking.best;
        }
    }
}

/// Shrinking under way: the best plan so far, and what tries others.
pub struct Shrinking<'a, P> {
    best: P,
    budget: Budget<'a>,
    breaks: &'a mut dyn FnMut(&P) -> bool,
}

impl<P: Shrink> Shrinking<'_, P> {
    /// The smallest plan that breaks the promise so far.
    #[must_use]
    pub const fn best(&self) -> &P {
        &self.best
    }

    fn is_over(&self) -> bool {
        self.budget.runs_max == 0 || (self.budget.stop)()
    }

    /// Tries the best plan with a change. Whether that is another plan, still breaks the promise, and so is the best now.
    pub fn with(&mut self, change: impl FnOnce(&mut P)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        if candidate == self.best || self.is_over() {
            return false;
        }
        self.budget.runs_max -= 1;
        let breaks = (self.breaks)(&candidate);
        if breaks {
            self.best = candidate;
        }
        breaks
    }

    /// Leaves out what can be of a list: all of it, halves, quarters, down to single items.
    pub fn leave_out<T>(&mut self, list: impl Fn(&mut P) -> &mut Vec<T>) {
        self.leave_out_down_to(0, list);
    }

    /// As [`leave_out`](Self::leave_out), for a list that must keep so many items.
    pub fn leave_out_down_to<T>(&mut self, least: usize, list: impl Fn(&mut P) -> &mut Vec<T>) {
        let mut size = list(&mut self.best).len();
        while size > 0 {
            let mut at = 0;
            loop {
                let len = list(&mut self.best).len();
                if at >= len {
                    break;
                }
                let end = (at + size).min(len);
                let left_out = len - (end - at) >= least
                    && self.with(|plan| {
                        list(plan).drain(at..end);
                    });
                if !left_out {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    /// Lowers a number towards `least`, by half of it, a quarter, down to one.
    pub fn lower(&mut self, least: u64, number: impl Fn(&mut P) -> &mut u64) {
        let mut step = *number(&mut self.best) / 2;
        while step > 0 {
            let lower = self.with(|plan| {
                let number = number(plan);
                *number = number.saturating_sub(step).max(least);
            });
            if !lower {
                step /= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Numbers {
        list: Vec<u64>,
        size: u64,
    }

    impl Shrink for Numbers {
        type Context = ();

        fn simplify(shrinking: &mut Shrinking<'_, Self>, (): &()) {
            shrinking.leave_out(|plan| &mut plan.list);
            shrinking.lower(1, |plan| &mut plan.size);
            for at in 0..shrinking.best().list.len() {
                shrinking.lower(0, |plan| &mut plan.list[at]);
            }
        }
    }

    #[test]
    fn only_what_breaks_the_promise_is_left() {
        let plan = Numbers { list: (0..100).collect(), size: 1000 };
        let least = shrink(&plan, &(), Budget::default(), &mut |plan| {
            plan.list.iter().any(|&n| n >= 17) && plan.list.contains(&3) && plan.size > 6
        });
        assert_eq!(least, Numbers { list: vec![3, 17], size: 7 });
    }

    #[test]
    fn no_run_is_tried_beyond_the_budget_or_after_a_stop() {
        let plan = Numbers { list: (0..100).collect(), size: 1000 };
        let mut runs = 0;
        let budget = Budget { runs_max: 5, ..Budget::default() };
        let _ = shrink(&plan, &(), budget, &mut |_| {
            runs += 1;
            true
        });
        assert!(runs <= 5, "{runs}");
        let budget = Budget { stop: &|| true, ..Budget::default() };
        assert_eq!(shrink(&plan, &(), budget, &mut |_| unreachable!("was stopped")), plan);
    }
}
