//! The simulated server: it carries requests out on a real log, asks the witness about every answer, and refuses requests while it is
//! in a state that refuses them.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use silvertine_engine::{
    log::{Applied, EventLog, LogError, LogErrorKind},
    pos::Pos,
};

use crate::log::op::{Answer, Request, execute};
use crate::{
    kernel::states::States,
    log::{
        fault::FaultKind,
        oracle::{Promise, Violation, witness::Witness},
    },
};

pub(crate) struct Server<L> {
    log: L,
    pub(crate) witness: Witness,
    /// Every write carried out, kept where a fault may lose some of them.
    history: Option<Vec<Arc<Request>>>,
    states: States<FaultKind>,
    damage: Option<(FaultKind, Pos)>,
    /// A reader has met the damaged record.
    damage_read: bool,
    /// A record was damaged at some time.
    pub(crate) was_damaged: bool,
    /// Permission was withdrawn at some time.
    pub(crate) denied: bool,
    /// Writes were lost at some time.
    pub(crate) lost_writes: bool,
}

pub(crate) fn error(operation: &'static str, kind: LogErrorKind, applied: Applied) -> LogError {
    LogError { kind, applied, operation, log: "simulated".to_owned() }
}

impl<L: EventLog + Default> Server<L> {
    pub(crate) fn new(may_lose: bool) -> Self {
        Self {
            log: L::default(),
            witness: Witness::default(),
            history: may_lose.then(Vec::new),
            states: States::default(),
            damage: None,
            damage_read: false,
            was_damaged: false,
            denied: false,
            lost_writes: false,
        }
    }

    pub(crate) const fn log(&self) -> &L {
        &self.log
    }

    pub(crate) fn enter(&mut self, state: FaultKind, until: u64) {
        self.denied |= state == FaultKind::Denied;
        self.states.enter(state, until);
    }

    pub(crate) fn end_faults(&mut self) {
        self.states.end_all_but(|state| state == FaultKind::Stall);
        self.damage = None;
    }

    /// Whether nothing can be sent to it.
    pub(crate) fn is_away(&self, now: u64) -> bool {
        self.states.is_in(FaultKind::Disconnect, now) || self.is_gone(now)
    }

    /// Whether there is no server.
    pub(crate) fn is_gone(&self, now: u64) -> bool {
        self.states.is_in(FaultKind::Restart, now)
    }

    /// Until when it is frozen.
    pub(crate) fn frozen_until(&self, now: u64) -> Option<u64> {
        self.states.ends_ns(FaultKind::Stall, now)
    }

    /// What it answers instead of carrying a request out. The words and their meaning are those of a real
    /// server and of the adapter that classifies them.
    pub(crate) fn refusal(&mut self, now: u64, request: &Request) -> Option<LogError> {
        let writes = request.kind().writes();
        let kind = self.states.lasting(now).find_map(|state| state.refusal(writes));
        let kind = kind.or_else(|| {
            let damaged = self.damaged(request);
            self.damage_read |= damaged.is_some();
            damaged
        })?;
        Some(error(request.name(), kind, Applied::No))
    }

    fn damaged(&self, request: &Request) -> Option<LogErrorKind> {
        let (damage, at) = self.damage?;
        match (damage, request) {
            (FaultKind::TornSnapshot, Request::Snapshot(pos)) if *pos == at => {
                let why = "checksum differs".to_owned();
                Some(LogErrorKind::Corrupt { at: format!("snapshot {at}"), why })
            }
            (FaultKind::CorruptEntry, Request::Range(query)) if query.after < at => {
                let why = "checksum differs".to_owned();
                Some(LogErrorKind::Corrupt { at: at.to_string(), why })
            }
            (FaultKind::TrimmedAway, Request::Range(query)) if query.after < at => {
                Some(LogErrorKind::Trimmed { through: at })
            }
            _ => None,
        }
    }

    /// Damages what the next recovery will read: the newest snapshot, or the entry at the head.
    pub(crate) fn damage(&mut self, kind: FaultKind) {
        let at = match kind {
            FaultKind::TornSnapshot | FaultKind::LostSnapshot => self.witness.newest_snapshot(),
            _ => Some(self.witness.head.pos),
        };
        self.damage = at.filter(|&at| at > Pos::ZERO).map(|at| (kind, at));
        self.was_damaged |= self.damage.is_some();
    }

    /// Called at a commit: whether its owner met the damage and recovered in spite of it. Then the damage is over.
    pub(crate) fn recovered_from_damage(&mut self) -> bool {
        let recovered = self.damage_read && self.damage.is_some();
        if recovered {
            self.repair();
        }
        recovered
    }

    /// An operator restores the damaged record.
    pub(crate) fn repair(&mut self) {
        self.damage = None;
        self.damage_read = false;
    }

    /// Carries a request out on the log and asks the witness about the answer.
    pub(crate) fn carry_out(
        &mut self,
        request: &Arc<Request>,
    ) -> (Result<Answer, LogError>, Result<(), Violation>) {
        // A log that panics breaks a promise; the simulator goes on to say which plan made it.
        let answered = panic::catch_unwind(AssertUnwindSafe(|| execute(&self.log, request)));
        let Ok(mut answer) = answered else {
            let what = format!("the log panics at {}", request.name());
            let violation = Violation::new(Promise::NoPanic, what, "an answer", "a panic");
            let why = "the server crashed".to_owned();
            let error = error(request.name(), LogErrorKind::Unavailable { why }, Applied::Maybe);
            return (Err(error), Err(violation));
        };
        let checked = self.witness.observe(request, &answer);
        if let (Some(history), Ok(_)) = (&mut self.history, &answer)
            && request.kind().writes()
        {
            history.push(Arc::clone(request));
        }
        if let (Some((FaultKind::LostSnapshot, at)), Request::Snapshot(pos)) =
            (self.damage, &**request)
            && *pos == at
        {
            self.damage_read = true;
            answer = Ok(Answer::Bytes(None));
        }
        (answer, checked)
    }

    /// A server takes over that lacks the newest `writes` writes.
    pub(crate) fn lose_newest(&mut self, writes: usize) -> Result<(), Violation> {
        let history = self.history.take().unwrap_or_default();
        let kept = history.len().saturating_sub(writes);
        self.lost_writes = true;
        self.restart_with(&history[..kept])
    }

    /// Everything is gone.
    pub(crate) fn flush(&mut self) {
        self.lost_writes = true;
        self.damage = None;
        self.log = L::default();
        self.witness = Witness::default();
        self.history = Some(Vec::new());
    }

    fn restart_with(&mut self, history: &[Arc<Request>]) -> Result<(), Violation> {
        self.flush();
        for request in history {
            self.carry_out(request).1?;
        }
        Ok(())
    }
}

impl FaultKind {
    /// What a server in this state answers to a request that writes, or to one that only reads, instead of
    /// carrying it out. It must refuse whatever a real server refuses; a test compares the two.
    #[must_use]
    pub fn refusal(self, writes: bool) -> Option<LogErrorKind> {
        let unavailable = |why: &str| Some(LogErrorKind::Unavailable { why: why.to_owned() });
        let refuses = |why: &str| Some(LogErrorKind::RefusesWrites { why: why.to_owned() });
        match self {
            Self::Loading => unavailable("LOADING Redis is loading the dataset in memory"),
            Self::Busy => unavailable("BUSY Redis is busy running a script"),
            Self::ClusterDown => unavailable("CLUSTERDOWN The cluster is down"),
            // The connection is dropped, and dialling does not take a replica for the log.
            Self::ReadOnly => refuses("READONLY You can't write against a read only replica"),
            Self::OutOfMemory if writes => {
                refuses("OOM command not allowed when used memory > 'maxmemory'")
            }
            Self::Misconf if writes => refuses("MISCONF Errors writing to the AOF file"),
            Self::NoReplicas if writes => refuses("NOREPLICAS Not enough good replicas to write"),
            Self::Denied => {
                let why = "NOPERM this user has no permissions to run the command".to_owned();
                Some(LogErrorKind::Denied { why })
            }
            _ => None,
        }
    }
}
