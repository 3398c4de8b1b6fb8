//! What must hold whatever went wrong: everything acknowledged is there or was reported lost, and in the
//! end the log is the one that an undisturbed run writes.

use silvertine::{
    engine::{
        clock::VirtualClock,
        digest::Digest,
        driver::{End, Observer, Progress},
        executor::block_on,
        log::{EventLog, LogErrorKind, OwnerId, RangeQuery},
        pos::Pos,
        recovery::{self, ReplayError, Replayed},
        stop::StopFlag,
    },
    scenarios::{
        manifest::Manifest,
        registry::Registry,
        runner::{RunReport, Runner, RunnerError},
        scenario::Scenario,
    },
    storage::memory::MemoryLog,
};

use crate::{
    harness::{Harness, State, Supervised, kind_of, lost_tail},
    plan::Fault,
};

/// A run in memory in which nothing went wrong.
pub struct Undisturbed {
    pub report: RunReport,
    /// Commits it took.
    pub commits: u64,
    entries: Vec<(Pos, Vec<u8>)>,
}

impl Undisturbed {
    /// Runs a scenario in memory.
    pub fn of(scenario: &Scenario) -> Self {
        #[derive(Default)]
        struct Counting(u64);
        impl Observer for Counting {
            fn committed(&mut self, _: Progress) {
                self.0 += 1;
            }
        }
        let mut scenario = scenario.clone();
        scenario.run.retention_entries = None;
        let (log, clock, never) = (MemoryLog::new(), VirtualClock::default(), StopFlag::default());
        let runner = Runner::new(Registry::standard(), OwnerId(1));
        let run = runner.run(&scenario, log.clone(), clock, Counting::default(), &never);
        let (report, Counting(commits)) = block_on(run).expect("nothing goes wrong in memory");
        Self::from(report, commits, &log)
    }

    /// What a run left in memory.
    pub fn from(report: RunReport, commits: u64, log: &MemoryLog) -> Self {
        assert_ne!(report.outcome.counts.fills, 0, "a workload without fills proves little");
        let entries = block_on(entries(log)).expect("memory can be read");
        Self { report, commits, entries }
    }
}

/// Every kept entry.
pub async fn entries<L: EventLog>(
    log: &L,
) -> Result<Vec<(Pos, Vec<u8>)>, silvertine::engine::log::LogError> {
    let head = log.head().await?.unwrap_or_default();
    let mut query = RangeQuery::all_after(head.trimmed);
    let mut found = Vec::new();
    loop {
        let page = log.range(query).await?;
        found.extend(page.entries.iter().map(|entry| (entry.pos, entry.bytes.to_vec())));
        match page.next {
            Some(next) => query.after = next,
            None => return Ok(found),
        }
    }
}

/// Re-executes a whole log from its manifest alone, as `silvertine verify` does.
pub async fn verify<L: EventLog>(log: &L) -> Result<Replayed, ReplayError> {
    let head = log.head().await?.expect("a log is there");
    let manifest = log.manifest().await?.expect("a log has a manifest");
    let manifest = Manifest::from_bytes(&manifest).expect("our manifest");
    let mut engine = manifest.engine(&Registry::standard()).expect("our handlers");
    if head.trimmed != Pos::ZERO {
        let oldest = log.snapshots().await?.into_iter().find(|pos| *pos >= head.trimmed);
        let oldest = oldest.ok_or(ReplayError::NoSnapshot { through: head.trimmed })?;
        recovery::load_snapshot(&mut engine, log, oldest).await?;
    }
    recovery::replay(&mut engine, log, &head, |_| {}).await
}

/// Called at the end of every owner: what was acknowledged is there, or the owner said what is gone, and
/// between which positions, and has written nothing over it.
pub async fn assert_no_silent_loss(harness: &Harness, error: Option<&RunnerError>) {
    let stored = harness.direct_log().head().await.expect("the server can be read");
    let head = stored.map_or(Pos::ZERO, |head| head.pos);
    let mut state = harness.lock();
    let acknowledged = state.acknowledged_head();
    match (error.and_then(lost_tail), error.and_then(kind_of)) {
        (Some(positions), _) => {
            assert_eq!(positions, (acknowledged, head), "the positions of the loss");
            assert!(head < acknowledged, "a false alarm at {head}");
        }
        (None, Some(LogErrorKind::Gone)) => assert_eq!(stored, None, "a false alarm"),
        (None, Some(LogErrorKind::Conflict { .. })) => panic!("nobody else writes: {error:?}"),
        _ => assert!(
            head >= acknowledged,
            "silent loss: {acknowledged} was acknowledged, the log ends at {head}, and the owner \
             ended with {error:?}"
        ),
    }
    state.acknowledged.retain(|commit| commit.pos <= head);
}

/// Called at the end: every planned fault struck, each owner that had to end ended for its reason, and
/// nothing else shows that anything went wrong.
pub fn assert_as_if_undisturbed(harness: &Harness, undisturbed: &Undisturbed, ended: &Supervised) {
    assert_plan_carried_out(harness, ended);
    assert_same_log(harness, undisturbed, &ended.report);
}

/// What was computed and what is stored are what an undisturbed run computes and stores.
pub fn assert_same_log(harness: &Harness, undisturbed: &Undisturbed, report: &RunReport) {
    assert_every_fault_struck(&harness.lock());
    let (ours, theirs) = (report, &undisturbed.report);
    assert_eq!(ours.outcome.digest, theirs.outcome.digest);
    assert_eq!(ours.outcome.counts, theirs.outcome.counts);
    assert_eq!(ours.outcome.head, theirs.outcome.head);
    assert_eq!(ours.figures, theirs.figures);
    crate::harness::block_on(assert_whole(harness, undisturbed));
}

/// Every planned fault has struck once, before the commit it was planned before.
pub fn assert_every_fault_struck(state: &State) {
    assert_eq!(state.fired, Vec::from(state.planned.clone()));
    assert!(!state.is_disturbed(), "a fault still lasts");
}

fn assert_plan_carried_out(harness: &Harness, ended: &Supervised) {
    let state = harness.lock();
    let spoilt = state.fired.iter().filter(|(_, fault)| fault.is_on_the_way()).count();
    assert_eq!(state.proxy.struck(), spoilt as u64, "the proxy spoils what it is told to");
    let ending: Vec<Fault> = state
        .fired
        .iter()
        .map(|&(_, fault)| fault)
        .filter(|fault| fault.ends_the_owner())
        .collect();
    assert_eq!(ended.errors.len(), ending.len(), "{:?} after {:?}", ended.errors, state.fired);
    for (error, fault) in ended.errors.iter().zip(ending) {
        let expected = match fault {
            Fault::Rival => matches!(kind_of(error), Some(LogErrorKind::Fenced { .. })),
            Fault::Flush => matches!(kind_of(error), Some(LogErrorKind::Gone)),
            _ => lost_tail(error).is_some(),
        };
        assert!(expected, "{fault:?} ended the owner with {error:?}");
    }
    // What a stopped server had been sent it may have executed when it went on.
    let sure = state.fired.iter().filter(|(_, fault)| fault.hides_an_effect()).count() as u64;
    let perhaps = state.fired.iter().filter(|&&(_, fault)| fault == Fault::Freeze).count() as u64;
    let range = sure..=sure + perhaps;
    assert!(range.contains(&state.duplicates), "{} of {range:?} duplicates", state.duplicates);
}

/// The stored log is, byte by byte, the undisturbed one, without gaps, and everything acknowledged and not
/// reported lost is in it.
async fn assert_whole(harness: &Harness, undisturbed: &Undisturbed) {
    let log = harness.direct_log();
    let head = log.head().await.expect("reads").expect("a log is there");
    let found = entries(&log).await.expect("reads");
    let mut expected = head.trimmed.seq;
    for (pos, _) in &found {
        expected += 1;
        assert_eq!(pos.seq, expected, "a gap");
    }
    let theirs = undisturbed.entries.iter().filter(|(pos, _)| *pos > head.trimmed);
    assert!(found.iter().eq(theirs), "the entries are not those of an undisturbed run");
    let replayed = verify(&log).await.expect("the log verifies");
    assert_eq!(replayed.entries, found.len() as u64);

    let mut digest = Digest::EMPTY;
    let chained: Vec<(Pos, Digest)> = undisturbed
        .entries
        .iter()
        .map(|(pos, bytes)| {
            digest = digest.chain(bytes);
            (*pos, digest)
        })
        .collect();
    for commit in &harness.lock().acknowledged {
        let there = chained.binary_search_by_key(&commit.pos, |&(pos, _)| pos);
        let there = there.map(|at| chained[at].1);
        assert_eq!(there, Ok(commit.digest), "{} was acknowledged", commit.pos);
    }
}

/// A run that was to finish has.
pub fn assert_finished(report: &RunReport) {
    assert_eq!(report.outcome.end, End::Finished);
}
