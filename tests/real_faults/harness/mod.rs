//! A server behind a proxy, a plan of faults, and everything that was acknowledged on the way.

mod owner;
mod patience;
mod strikes;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use silvertine::{
    engine::{
        digest::Digest,
        driver::RunError,
        feed::FeedError,
        log::{Applied, Commit, Committed, LogError, LogErrorKind, OwnerId},
        pos::Pos,
        recovery::ReplayError,
        stop::StopFlag,
        text::Name,
    },
    scenarios::{
        registry::Registry,
        runner::{RunReport, Runner, RunnerError},
        scenario::Scenario,
    },
    storage::redis::{RedisConfig, RedisLog},
};

use self::owner::{RealPauses, Watcher};
pub use self::{
    owner::time_of_input,
    patience::{block_on, both},
    strikes::branch_of,
};
use crate::{
    oracle,
    plan::{Fault, Plan},
    proxy::{Proxy, Strike},
    redis_server::RedisServer,
    watched::WatchedLog,
};

/// More owners than any plan can end.
const MOST_OWNERS: u128 = 20;

/// The harness of one test. Clones share it.
#[derive(Clone)]
pub struct Harness(Arc<Mutex<State>>);

/// A commit that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub pos: Pos,
    pub digest: Digest,
    /// Inputs taken up to it.
    inputs: u64,
}

/// What lies in a harness.
pub struct State {
    server: RedisServer,
    pub proxy: Proxy,
    /// Left behind, to take the server's place.
    replica: Option<RedisServer>,
    /// A former primary that still runs.
    deposed: Option<RedisServer>,
    partition: Name,
    /// What was planned, and what of it has not struck yet.
    pub planned: Plan,
    plan: Plan,
    /// A request is held until this commit.
    held_until: Option<u64>,
    /// What the server answered to requests that had been held.
    pub late_answers: Vec<String>,
    /// What is to become of the coming trims.
    pub trims: VecDeque<Option<Strike>>,
    /// A fault that lasts until so many more attempts have failed.
    lasting: Option<(u32, Fault)>,
    /// Faults that have struck, with the commit they struck before.
    pub fired: Vec<(u64, Fault)>,
    /// What was acknowledged and not reported lost since.
    pub acknowledged: Vec<Acknowledged>,
    /// Commits acknowledged in all.
    commits: u64,
    /// Commits that were found to be there already when they were sent again.
    pub duplicates: u64,
    /// Attempts that failed and were repeated.
    pub retries: Vec<LogError>,
    /// Those of the present operation.
    failures: Vec<LogError>,
    inputs: u64,
    owners: u128,
    /// Raised when so many inputs are committed.
    stop_at: Option<(u64, StopFlag)>,
}

/// How a supervised run ended: well, after these errors of earlier owners.
pub struct Supervised {
    pub report: RunReport,
    pub errors: Vec<RunnerError>,
}

impl Harness {
    /// A harness on a server that syncs every write.
    pub fn new(plan: Plan) -> Self {
        Self::on(RedisServer::start_durable(), plan)
    }

    /// A harness on this server.
    pub fn on(server: RedisServer, plan: Plan) -> Self {
        let proxy = Proxy::start(server.port());
        let state = State {
            server,
            proxy,
            replica: None,
            deposed: None,
            partition: Name::new("p").expect("a good name"),
            planned: plan.clone(),
            plan,
            held_until: None,
            late_answers: Vec::new(),
            trims: VecDeque::new(),
            lasting: None,
            fired: Vec::new(),
            acknowledged: Vec::new(),
            commits: 0,
            duplicates: 0,
            retries: Vec::new(),
            failures: Vec::new(),
            inputs: 0,
            owners: 0,
            stop_at: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What lies in it. Not to be held while awaiting.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log as a process sees it whose connections no proxy disturbs.
    pub fn direct_log(&self) -> RedisLog {
        let state = self.lock();
        open(state.server.url(), state.partition)
    }

    /// The log through the proxy, with the harness striking and watching.
    pub fn log(&self) -> WatchedLog {
        let state = self.lock();
        WatchedLog::new(self.clone(), open(state.proxy.url(), state.partition))
    }

    /// The log through the proxy, as another process sees it.
    pub fn proxied_log(&self) -> RedisLog {
        let state = self.lock();
        open(state.proxy.url(), state.partition)
    }

    /// One owner, from acquiring to its end, which must not be one that hides a loss.
    pub async fn own(&self, scenario: &Scenario) -> Result<RunReport, RunnerError> {
        let run = self.try_own(scenario).await;
        oracle::assert_no_silent_loss(self, run.as_ref().err()).await;
        run
    }

    /// One owner, from acquiring to its end.
    pub async fn try_own(&self, scenario: &Scenario) -> Result<RunReport, RunnerError> {
        let stop = StopFlag::default();
        let owner = {
            let mut state = self.lock();
            state.owners += 1;
            state.failures.clear();
            if let Some((_, flag)) = &mut state.stop_at {
                *flag = stop.clone();
            }
            OwnerId(state.owners)
        };
        let mut runner = Runner::new(Registry::standard(), owner);
        runner.resume = true;
        let clock = RealPauses(self.clone());
        let run = runner.run(scenario, self.log(), clock, Watcher(self.clone()), &stop).await;
        let run = run.map(|(report, _)| report);
        {
            let mut state = self.lock();
            state.end_lasting();
            if state.held_until.is_some() {
                state.deliver_held();
            }
        }
        run
    }

    /// Owners one after the other, as a supervisor starts them, until one ends well.
    pub async fn supervise_async(&self, scenario: &Scenario) -> Supervised {
        let mut errors = Vec::new();
        loop {
            match self.own(scenario).await {
                Ok(report) => return Supervised { report, errors },
                Err(error) => errors.push(error),
            }
            assert!(self.lock().owners < MOST_OWNERS, "no owner ends well: {errors:?}");
        }
    }

    /// The same on a runtime of its own.
    pub fn supervise(&self, scenario: &Scenario) -> Supervised {
        block_on(self.supervise_async(scenario))
    }

    /// Has an owner stop when so many inputs are committed.
    pub fn stop_at(&self, inputs: u64) {
        self.lock().stop_at = Some((inputs, StopFlag::default()));
    }

    /// Notes what became of an attempt to commit.
    pub fn after_commit(&self, commit: &Commit<'_>, answer: &Result<Committed, LogError>) {
        let mut state = self.lock();
        let Ok(committed) = answer else { return };
        assert_eq!(committed.head, commit.resulting_pos());
        if committed.duplicate {
            state.duplicates += 1;
            let unknown = |failure: &LogError| failure.applied != Applied::No;
            assert!(
                state.failures.iter().any(unknown),
                "it had taken effect although every error denied it: {:?}",
                state.failures
            );
        }
        state.failures.clear();
        state.commits += 1;
        let (digest, inputs) = (commit.digest, state.inputs);
        state.acknowledged.push(Acknowledged { pos: committed.head, digest, inputs });
    }

    /// Goes on counting inputs where the acquired head stands.
    pub fn after_acquire(&self, head: Pos) {
        let mut state = self.lock();
        let known = state.acknowledged.iter().rfind(|commit| commit.pos == head);
        state.inputs = known.map_or(0, |commit| commit.inputs);
    }
}

impl State {
    /// The newest head that was acknowledged and not reported lost.
    pub fn acknowledged_head(&self) -> Pos {
        self.acknowledged.last().map_or(Pos::ZERO, |commit| commit.pos)
    }

    /// Inputs up to the acknowledged head.
    pub fn committed_inputs(&self) -> u64 {
        self.acknowledged.last().map_or(0, |commit| commit.inputs)
    }

    /// Whether a fault still lasts or a request is still held.
    pub fn is_disturbed(&self) -> bool {
        self.lasting.is_some() || self.held_until.is_some()
    }

    /// Sends a command around the proxy, which must answer like this.
    pub fn expect(&self, command: &str, reply: &str) {
        let answer = self.server.send(command);
        assert!(answer.starts_with(reply), "{command}: {answer}");
    }
}

fn open(url: String, partition: Name) -> RedisLog {
    RedisLog::open(RedisConfig::new(url, partition)).expect("a good URL")
}

/// What was wrong with the log that a run ended on.
pub fn log_error_kind(error: &RunnerError) -> &LogErrorKind {
    kind_of(error).unwrap_or_else(|| panic!("not an error of the log: {error:?}"))
}

/// The same, where the run ended on an error of the log.
pub fn kind_of(error: &RunnerError) -> Option<&LogErrorKind> {
    match error {
        RunnerError::Run(
            RunError::Log(error)
            | RunError::Feed(FeedError::Log(error))
            | RunError::Replay(ReplayError::Log(error)),
        ) => Some(&error.kind),
        _ => None,
    }
}

/// What was acknowledged and what is there, where a run ended on the loss of what lay between.
pub fn lost_tail(error: &RunnerError) -> Option<(Pos, Pos)> {
    match error {
        RunnerError::Run(
            RunError::LostTail { expected, head }
            | RunError::Replay(ReplayError::LostTail { expected, head }),
        ) => Some((*expected, *head)),
        error => match kind_of(error)? {
            LogErrorKind::LostTail { expected, head } => Some((*expected, *head)),
            _ => None,
        },
    }
}
