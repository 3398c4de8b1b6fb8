//! Halts through the library: a broken handler, a mended one, and the logs in between.

use std::path::PathBuf;

use silvertine::{
    engine::{
        bus::{Context, Handler, HandlerError, Priority, decode_state, encode_state},
        clock::VirtualClock,
        codec::decode_entry,
        driver::{End, RunError},
        engine::Engine,
        event::{Body, Event, Signal, System, Topic, TopicSet},
        executor::block_on,
        halt::Halt,
        log::{EventLog, OwnerId, RangeQuery},
        numbers::Ratio,
        pos::Pos,
        recovery::{self, RecordedDeadLetter},
        stop::StopFlag,
        text::{Name, Symbol},
    },
    scenarios::{
        manifest::Manifest,
        registry::Registry,
        runner::{RunReport, Runner, RunnerError},
        scenario::Scenario,
    },
    storage::AnyLog,
};
use tempfile::TempDir;

pub const EVENTS: u64 = 500;
/// The first of two signals: every ten quotes come with two, and two entries of what is booked.
pub const UNBALANCED: u64 = 16 * 14 + 11;

fn scenario(batch_entries: u64, answer: &str) -> Scenario {
    let text = format!(
        r#"
name = "halts"
on_failure = {{ signal = "{answer}" }}
run = {{ batch_entries = {batch_entries}, snapshot_entries = 50 }}
[[source]]
kind = "generator"
name = "generated"
symbols = ["X"]
events = {EVENTS}
[[handler]]
kind = "signaller"
[[handler]]
kind = "booker"
"#
    );
    Scenario::parse(&text, "halts", PathBuf::new()).expect("a good scenario")
}

/// Signals twice on every tenth quote.
struct Signaller(u64);

impl Handler for Signaller {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }
    fn handle(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.0 += 1;
        for strength in [Ratio::ONE, Ratio::ZERO].into_iter().filter(|_| self.0.is_multiple_of(10))
        {
            ctx.emit(Signal { symbol: Symbol::new("X")?, strategy: ctx.handler(), strength });
        }
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.0)
    }
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.0 = decode_state(state)?;
        Ok(())
    }
}

/// Books signals, and says how many. Until it is mended it fails on one of them, with too much booked.
struct Booker {
    booked: u64,
    broken: bool,
}

impl Handler for Booker {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::Signal])
    }
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.booked += 1;
        let reason = format!("{} booked", self.booked);
        ctx.emit(System::Gap { symbol: Symbol::new("X")?, reason });
        if self.broken && event.pos.seq == UNBALANCED {
            self.booked += 1000;
            return Err(HandlerError::new("the books do not balance"));
        }
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.booked)
    }
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.booked = decode_state(state)?;
        Ok(())
    }
}

fn registry(broken: bool) -> Registry {
    Registry::new()
        .handler("signaller", Priority::Normal, |_: toml::Table| Ok(Signaller(0)))
        .handler("booker", Priority::Normal, move |_: toml::Table| Ok(Booker { booked: 0, broken }))
}

fn run(
    log: &AnyLog,
    batch_entries: u64,
    broken: bool,
    past_halt: Option<Pos>,
) -> Result<RunReport, RunnerError> {
    let mut asked = Runner::new(Registry::standard(), OwnerId(1));
    asked.past_halt = past_halt;
    run_as(log, batch_entries, broken, "halt", asked)
}

/// Runs it with a booker that is broken or mended, where failures on signals are answered so.
pub fn run_as(
    log: &AnyLog,
    batch_entries: u64,
    broken: bool,
    answer: &str,
    mut asked: Runner,
) -> Result<RunReport, RunnerError> {
    (asked.registry, asked.resume) = (registry(broken), true);
    let (clock, never) = (VirtualClock::default(), StopFlag::default());
    let scenario = scenario(batch_entries, answer);
    let run = asked.run(&scenario, log.clone(), clock, (), &never);
    block_on(run).map(|(report, ())| report)
}

#[track_caller]
fn halt(ran: Result<RunReport, RunnerError>) -> Halt {
    match ran {
        Err(RunnerError::Run(RunError::Halted(halt))) => *halt,
        other => panic!("it should have halted: {other:?}"),
    }
}

/// The log executed again from its beginning, by a build of this kind.
fn verify(log: &AnyLog, broken: bool) -> Option<Halt> {
    executed_again(log, broken).halted().cloned()
}

/// An engine of this kind that has executed the log from its beginning.
pub fn executed_again(log: &AnyLog, broken: bool) -> Engine {
    block_on(async {
        let head = log.head().await.expect("can be read").expect("is there");
        let manifest = log.manifest().await.expect("can be read").expect("is there");
        let manifest = Manifest::from_bytes(&manifest).expect("a manifest");
        let mut engine = manifest.engine(&registry(broken)).expect("handlers");
        recovery::replay(&mut engine, log, &head, |_| {}).await.expect("entry for entry");
        engine
    })
}

fn last_entry(log: &AnyLog, head: Pos) -> Event {
    let before = Pos { seq: head.seq - 1, ..head };
    let page = block_on(log.range(RangeQuery::all_after(before))).expect("can be read");
    assert_eq!(page.entries.len(), 1);
    decode_entry(page.entries.get(0).bytes).expect("an entry")
}

#[test]
fn a_halted_run_is_resumed_behind_the_event_once_the_handler_is_mended() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut ends = Vec::new();
    for kind in ["memory", "sled", "redb"] {
        for batch in [1, 7, 1000] {
            let address = match kind {
                "memory" => kind.to_owned(),
                _ => format!("{kind}:{}", folder.path().join(format!("{kind}-{batch}")).display()),
            };
            let address = address.parse().expect("an address");
            let log = AnyLog::open(&address, Name::default(), false).expect("opens");

            let halted = halt(run(&log, batch, true, None));
            assert_eq!(
                (halted.handler.to_string().as_str(), halted.topic),
                ("booker", Topic::Signal)
            );
            assert_eq!(halted.reason, "the books do not balance");
            assert_eq!((halted.event.seq, halted.pos.seq), (UNBALANCED, UNBALANCED + 1));
            let head = block_on(log.head()).expect("can be read").expect("is there");
            assert_eq!(head.pos, halted.pos, "committed up to the record of the failure");
            let last = last_entry(&log, head.pos).body;
            assert!(matches!(last, Body::System(System::HandlerFailed { .. })), "{last:?}");
            for broken in [true, false] {
                assert_eq!(verify(&log, broken), Some(halted.clone()), "{address}");
            }

            assert_eq!(halt(run(&log, batch, false, None)), halted, "nobody has let it go on");
            assert_eq!(halt(run(&log, batch, false, Some(halted.event))), halted, "another place");
            let report = run(&log, batch, false, Some(halted.pos)).expect("goes on");
            let outcome = report.outcome;
            assert_eq!(outcome.end, End::Finished);
            assert_eq!(outcome.counts.inputs, EVENTS + 1, "every quote, and the operator");
            for broken in [true, false] {
                assert_eq!(verify(&log, broken), None, "{address}");
            }
            let letters = block_on(recovery::dead_letters(&log, Pos::ZERO, 10)).expect("readable");
            let [RecordedDeadLetter { pos, handler, .. }] = &letters[..] else {
                panic!("{letters:?}")
            };
            assert_eq!((*pos, *handler), (halted.pos, halted.handler));
            ends.push((halted.pos, outcome.head, outcome.digest));
        }
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
}
