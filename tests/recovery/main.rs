//! Recovery by replay, and the driver's way with unknown outcomes, through the library alone.

mod faulty;
mod halts;
mod parks;

use std::path::PathBuf;

use faulty::{Fate, FaultyLog};
use silvertine::{
    engine::{
        bus::{Context, Handler, HandlerError, Priority, decode_state, encode_state},
        clock::VirtualClock,
        driver::{End, RunError},
        event::{Event, Signal, Topic, TopicSet},
        executor::block_on,
        log::{Applied, EventLog, LogErrorKind, OwnerId, RangeQuery},
        numbers::Ratio,
        recovery::ReplayError,
        stop::StopFlag,
        text::Symbol,
    },
    scenarios::{
        registry::Registry,
        runner::{RunReport, Runner, RunnerError},
        scenario::Scenario,
    },
    storage::memory::MemoryLog,
};

/// A run of generated quotes through a handler of this kind.
fn scenario(kind: &str, events: u64) -> Scenario {
    let text = format!(
        r#"
name = "recovery"
seed = 5
[run]
batch_entries = 10
snapshot_entries = 100
[[source]]
kind = "generator"
name = "generated"
symbols = ["X"]
events = {events}
[[handler]]
kind = "{kind}"
name = "subject"
"#
    );
    Scenario::parse(&text, "recovery", PathBuf::new()).expect("a good scenario")
}

/// Signals on every `every`-th quote it has counted.
struct Counter {
    every: u64,
    count: u64,
    saves_its_count: bool,
}

impl Handler for Counter {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }
    fn handle(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.count += 1;
        if self.count.is_multiple_of(self.every) {
            let symbol = Symbol::new("X")?;
            ctx.emit(Signal { symbol, strategy: ctx.handler(), strength: Ratio::ONE });
        }
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        // One, not zero: a counter lost on a multiple of `every` would be right by chance.
        encode_state(&if self.saves_its_count { self.count } else { 1 })
    }
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.count = decode_state(state)?;
        Ok(())
    }
}

fn registry(every: u64, saves_its_count: bool) -> Registry {
    let new = move |_: toml::Table| Ok(Counter { every, count: 0, saves_its_count });
    Registry::new().handler("counter", Priority::Normal, new)
}

fn run<L: EventLog>(
    log: &L,
    registry: Registry,
    events: u64,
    resume: bool,
) -> Result<RunReport, RunnerError> {
    let mut runner = Runner::new(registry, OwnerId(events.into()));
    runner.resume = resume;
    let (clock, never) = (VirtualClock::default(), StopFlag::default());
    let scenario = scenario("counter", events);
    let run = runner.run(&scenario, log.clone(), clock, (), &never);
    block_on(run).map(|(report, ())| report)
}

/// The manifest names the number of events, so a shorter run is made by stopping a longer one early.
fn run_until<L: EventLog>(log: &L, registry: Registry, inputs: u64) -> RunReport {
    struct StopAfter(u64, StopFlag);
    impl silvertine::engine::driver::Observer for StopAfter {
        fn taken(&mut self) {
            self.0 -= 1;
            if self.0 == 0 {
                self.1.request();
            }
        }
    }
    let mut runner = Runner::new(registry, OwnerId(1));
    runner.resume = true;
    let stop = StopFlag::default();
    let observer = StopAfter(inputs, stop.clone());
    let scenario = scenario("counter", 1_000);
    let run = runner.run(&scenario, log.clone(), VirtualClock::default(), observer, &stop);
    block_on(run).expect("runs").0
}

#[test]
fn a_run_stopped_at_any_input_and_resumed_ends_like_an_undisturbed_one() {
    let undisturbed = run(&MemoryLog::new(), registry(7, true), 1_000, false).expect("runs");
    for stops in [[1, 1], [9, 10], [10, 11], [99, 1], [100, 100], [333, 555]] {
        let log = MemoryLog::new();
        for inputs in stops {
            let stopped = run_until(&log, registry(7, true), inputs);
            assert_eq!((stopped.outcome.end, stopped.outcome.inputs_here), (End::Stopped, inputs));
        }
        let resumed = run(&log, registry(7, true), 1_000, true).expect("resumes");
        assert_eq!(resumed.outcome.end, End::Finished);
        assert_eq!(resumed.outcome.digest, undisturbed.outcome.digest, "stopped at {stops:?}");
        assert_eq!(resumed.outcome.counts, undisturbed.outcome.counts);
    }
}

#[test]
fn state_that_is_missing_in_the_snapshot_is_found_with_the_position_it_first_shows_at() {
    let log = MemoryLog::new();
    // A crash, not a stop: entries behind the newest snapshot have to be re-executed.
    let crashing = FaultyLog::new(log.clone()).with_fate(67, Fate::Refused(LogErrorKind::Gone));
    let crashed = run(&crashing, registry(7, false), 1_000, false);
    assert!(matches!(crashed, Err(RunnerError::Run(RunError::Log(_)))), "{crashed:?}");
    let resumed = run(&log, registry(7, false), 1_000, true);
    let Err(RunnerError::Run(RunError::Replay(ReplayError::Diverged(divergence)))) = resumed else {
        panic!("the lost counter must show: {resumed:?}");
    };
    assert_ne!(divergence.logged, divergence.produced);
    assert!(divergence.to_string().contains(&divergence.pos.to_string()), "{divergence}");
}

#[test]
fn a_handler_that_changed_its_mind_is_found_at_the_first_difference() {
    let log = MemoryLog::new();
    let crashing = FaultyLog::new(log.clone()).with_fate(8, Fate::Refused(LogErrorKind::Gone));
    assert!(run(&crashing, registry(7, true), 1_000, false).is_err());
    let resumed = run(&log, registry(8, true), 1_000, true);
    let Err(RunnerError::Run(RunError::Replay(ReplayError::Diverged(divergence)))) = resumed else {
        panic!("the change must show: {resumed:?}");
    };
    // The seventh quote is entry 7; its signal was entry 8.
    assert_eq!(divergence.pos.seq, 8);
    assert!(divergence.logged.is_some() && divergence.produced.is_none(), "{divergence}");
}

#[test]
fn outcomes_that_stay_unknown_are_resolved_by_sending_the_same_commit_again() {
    let undisturbed = run(&MemoryLog::new(), registry(7, true), 1_000, false).expect("runs");
    for fate in [Fate::LostRequest, Fate::LostReply] {
        let log = FaultyLog::new(MemoryLog::new()).with_fate_every(3, fate.clone());
        let run = run(&log, registry(7, true), 1_000, false).expect("runs");
        assert!(log.fired() > 20, "{fate:?} fired {} times", log.fired());
        assert_eq!(run.outcome.digest, undisturbed.outcome.digest, "{fate:?}");
        let entries = block_on(log.range(RangeQuery { limit: 10_000, ..all() })).expect("reads");
        assert_eq!(entries.entries.len() as u64, undisturbed.outcome.counts.entries);
    }
}

fn all() -> RangeQuery {
    RangeQuery::all_after(silvertine::engine::pos::Pos::ZERO)
}

#[test]
fn a_log_that_never_answers_is_given_up_and_everything_acknowledged_stays() {
    let inner = MemoryLog::new();
    let log = FaultyLog::new(inner.clone()).with_fates_from(20, Fate::LostRequest);
    let failed = run(&log, registry(7, true), 1_000, false);
    let Err(RunnerError::Run(RunError::Log(error))) = failed else {
        panic!("must give up: {failed:?}");
    };
    assert_eq!(error.applied, Applied::Maybe);
    let resumed = run(&inner, registry(7, true), 1_000, true).expect("resumes");
    let undisturbed = run(&MemoryLog::new(), registry(7, true), 1_000, false).expect("runs");
    assert_eq!(resumed.outcome.digest, undisturbed.outcome.digest);
}

#[test]
fn a_lost_tail_is_reported_with_both_positions_and_nothing_is_overwritten() {
    let log = FaultyLog::new(MemoryLog::new()).with_fate(30, Fate::TailLost);
    let failed = run(&log, registry(7, true), 1_000, false);
    let Err(RunnerError::Run(RunError::Log(error))) = failed else {
        panic!("must be reported: {failed:?}");
    };
    let LogErrorKind::LostTail { expected, head } = error.kind else { panic!("{error}") };
    assert!(head < expected);
    assert!(error.to_string().contains(&expected.to_string()), "{error}");
}

#[test]
fn a_tail_lost_before_a_trim_is_reported_and_not_the_refusal_of_the_trim() {
    let log = FaultyLog::new(MemoryLog::new()).losing_its_tail_at_a_trim();
    let mut scenario = scenario("counter", 1_000);
    scenario.run.retention_entries = Some(150);
    let runner = Runner::new(registry(7, true), OwnerId(1));
    let (clock, never) = (VirtualClock::default(), StopFlag::default());
    let failed = block_on(runner.run(&scenario, log, clock, (), &never)).map(|(report, ())| report);
    let Err(RunnerError::Run(RunError::LostTail { expected, head })) = failed else {
        panic!("must be reported: {failed:?}");
    };
    assert_eq!(expected.seq - head.seq, 50);
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let log = MemoryLog::new();
    let first = run(&log, registry(7, true), 1_000, false).expect("runs");
    let again = run(&log, registry(7, true), 1_000, true).expect("resumes");
    assert_eq!((again.outcome.digest, again.outcome.inputs_here), (first.outcome.digest, 0));
    assert_eq!(again.outcome.head, first.outcome.head);
}

#[test]
fn a_log_that_holds_a_run_is_not_continued_unasked() {
    let log = MemoryLog::new();
    run(&log, registry(7, true), 1_000, false).expect("runs");
    let again = run(&log, registry(7, true), 1_000, false);
    assert!(matches!(again, Err(RunnerError::Run(RunError::NotEmpty { .. }))), "{again:?}");
    let other = run(&log, registry(7, true), 999, true);
    assert!(matches!(other, Err(RunnerError::Run(RunError::OtherManifest { .. }))), "{other:?}");
}
