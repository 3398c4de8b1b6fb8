//! Handlers with the bugs that people write, and the promise that each breaks.

use std::collections::HashMap;

use silvertine::{
    engine::{
        bus::{Context, Handler, HandlerError, Priority, decode_state, encode_state},
        event::{Event, Signal, Topic, TopicSet},
        numbers::Ratio,
        text::Symbol,
    },
    runtime::faults::{CheckError, check_handler},
    scenarios::check::Checked,
    sim::log::{counterexample::Counterexample, oracle::Promise},
};

#[derive(Clone, Copy, PartialEq)]
enum Bug {
    None,
    ForgetsItsCount,
    ForgetsItsState,
    RemembersTooMuch,
    HashedOrder,
    CountsFailures,
}

/// Signals on every fifth event.
struct Fifth {
    bug: Bug,
    count: u64,
    by_symbol: HashMap<Symbol, u64>,
}

impl Fifth {
    const fn forgets(&self) -> bool {
        matches!(self.bug, Bug::ForgetsItsCount)
    }
}

impl Handler for Fifth {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let silvertine::engine::event::Body::MarketData(data) = &event.body else { return Ok(()) };
        self.count += 1;
        *self.by_symbol.entry(data.symbol()).or_default() += 1;
        let strategy = ctx.handler();
        if self.count.is_multiple_of(5) {
            let symbols: Vec<Symbol> = match self.bug {
                Bug::HashedOrder => self.by_symbol.keys().copied().collect(),
                _ => vec![data.symbol()],
            };
            for symbol in symbols {
                ctx.emit(Signal { symbol, strategy, strength: Ratio::ONE });
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        match self.bug {
            Bug::ForgetsItsState => Ok(Vec::new()),
            Bug::RemembersTooMuch => encode_state(&(self.count, self as *const Self as u64)),
            _ => encode_state(&(if self.forgets() { 1 } else { self.count }, 0_u64)),
        }
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        if self.bug != Bug::ForgetsItsState {
            (self.count, _) = decode_state::<(u64, u64)>(state)?;
        }
        if self.bug == Bug::CountsFailures {
            self.count += 1;
        }
        Ok(())
    }
}

fn check(bug: Bug) -> Result<Checked, CheckError> {
    let build = move || Fifth { bug, count: 0, by_symbol: HashMap::new() };
    check_handler("fifth", Priority::Normal, build).expect("can be run").seeds(200).run()
}

fn failure(bug: Bug) -> Box<Counterexample> {
    match check(bug) {
        Err(CheckError::Broken { failure, scenario }) => {
            assert!(
                scenario.contains("[[source]]") && scenario.contains("[[handler]]"),
                "{scenario}"
            );
            failure
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the bug was not found"),
    }
}

#[test]
fn a_handler_without_a_bug_breaks_nothing() {
    let checked = check(Bug::None).expect("breaks nothing");
    assert_eq!(checked.runs, 200);
}

#[test]
fn every_planted_bug_breaks_the_promise_it_should() {
    for (bug, oracles) in [
        (Bug::ForgetsItsCount, &[Promise::Replay, Promise::Transparency][..]),
        (Bug::ForgetsItsState, &[Promise::Replay, Promise::Transparency]),
        (Bug::RemembersTooMuch, &[Promise::Replay, Promise::Transparency]),
        (Bug::HashedOrder, &[Promise::Replay, Promise::Transparency]),
        (Bug::CountsFailures, &[Promise::Replay, Promise::Transparency]),
    ] {
        let failure = failure(bug);
        let violation = failure.violation().expect("the least plan breaks it too");
        assert!(oracles.contains(&violation.promise), "{failure}");
        assert_ne!(violation.expected, violation.actual, "{failure}");
    }
}

#[test]
fn a_failing_plan_is_shrunk_to_little() {
    let failure = failure(Bug::ForgetsItsCount);
    assert!(failure.plan.faults.len() <= 2, "{failure}");
    assert!(failure.plan.events() <= 100 && failure.plan.events() < failure.drawn.events());
    let said = failure.to_string();
    for part in ["expected", "actual", "plan:", "what happened last:"] {
        assert!(said.contains(part), "{said}");
    }
}
