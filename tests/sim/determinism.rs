//! The same plan gives the same trace; and leaks that are planted show.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use silvertine::{
    engine::{
        bus::{Context, Handler, HandlerError, Priority},
        event::{Event, Signal, Topic, TopicSet},
        numbers::Ratio,
        text::Symbol,
    },
    scenarios::under_faults::UnderFaults,
    storage::memory::MemoryLog,
};

use crate::{cli, probes};

#[test]
fn every_seed_gives_the_same_trace_twice() {
    let (first, second) = (probes(), probes());
    for seed in 0..300 {
        let hash = |subject: &UnderFaults<MemoryLog>| {
            subject.run(&subject.plan(seed), false).expect("runs").trace.hash()
        };
        assert_eq!(hash(&first), hash(&second), "seed {seed}");
    }
}

#[test]
fn two_processes_give_the_same_traces() {
    let run = cli::silvertine(&["sim", "--seeds", "200", "--check-determinism", "--jobs", "2"]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// Emits what only this process, or this moment, can know.
struct Leak(fn() -> u64);

impl Handler for Leak {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    fn handle(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let strength = Ratio::from_units(((self.0)() % 1_000_000_000) as i64);
        ctx.emit(Signal { symbol: Symbol::new("A")?, strategy: ctx.handler(), strength });
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &[u8]) -> Result<(), HandlerError> {
        Ok(())
    }
}

fn traces_part(leak: fn() -> u64) -> bool {
    let subject =
        UnderFaults::<MemoryLog>::of_handler("leak", Priority::Normal, move || Leak(leak))
            .expect("can be run");
    let run = || subject.run(&subject.plan(1), true).expect("runs").trace;
    let (first, second) = (run(), run());
    let parted = first.hash() != second.hash();
    assert!(!parted || !first.first_difference(&second).is_empty());
    parted
}

#[test]
fn a_planted_hash_order_turns_the_check_red() {
    assert!(traces_part(|| RandomState::new().hash_one(1)));
}

#[test]
fn a_planted_clock_turns_the_check_red() {
    use std::time::{SystemTime, UNIX_EPOCH};
    assert!(traces_part(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").as_nanos() as u64
    }));
}

#[test]
fn a_planted_counter_of_the_process_turns_the_check_red() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    assert!(traces_part(|| CALLS.fetch_add(1, Ordering::Relaxed)));
}

#[test]
fn nothing_planted_leaves_the_check_green() {
    assert!(!traces_part(|| 7));
}
