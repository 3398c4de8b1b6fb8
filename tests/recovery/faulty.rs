//! A log whose commits meet a stated fate.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use silvertine::engine::{
    log::{Applied, Commit, Committed, EventLog, Head, Lease, LogError, LogErrorKind},
    pos::Pos,
};

/// What becomes of a commit.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It never arrives; the sender cannot know.
    LostRequest,
    /// It takes effect and the answer is lost.
    LostReply,
    /// It is refused for good.
    Refused(LogErrorKind),
    /// A failover has lost the tail: the head is lower than it was.
    TailLost,
}

/// A log around another one.
#[derive(Clone)]
pub struct FaultyLog<L> {
    inner: L,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    fate: Option<Fate>,
    at: When,
    seen: Mutex<(u64, u64)>,
    /// A failover loses the tail, and the newest snapshots with it, before the first trim.
    loses_tail_at_trim: bool,
    lost_tail: AtomicBool,
}

#[derive(Default)]
enum When {
    #[default]
    Never,
    /// At this commit only.
    Once(u64),
    /// At every n-th commit.
    Every(u64),
    /// From this commit on.
    From(u64),
}

impl<L: EventLog> FaultyLog<L> {
    pub fn new(inner: L) -> Self {
        Self { inner, plan: Arc::default() }
    }

    pub fn with_fate(self, commit: u64, fate: Fate) -> Self {
        self.planned(When::Once(commit), fate)
    }

    pub fn with_fate_every(self, n: u64, fate: Fate) -> Self {
        self.planned(When::Every(n), fate)
    }

    pub fn with_fates_from(self, commit: u64, fate: Fate) -> Self {
        self.planned(When::From(commit), fate)
    }

    pub fn losing_its_tail_at_a_trim(self) -> Self {
        Self { plan: Arc::new(Plan { loses_tail_at_trim: true, ..Plan::default() }), ..self }
    }

    fn planned(self, at: When, fate: Fate) -> Self {
        Self { plan: Arc::new(Plan { fate: Some(fate), at, ..Plan::default() }), ..self }
    }

    /// How often the fate struck.
    pub fn fired(&self) -> u64 {
        self.plan.seen.lock().expect("unpoisoned").1
    }

    /// The fate of the next commit.
    fn next_fate(&self) -> Option<Fate> {
        let mut seen = self.plan.seen.lock().expect("unpoisoned");
        seen.0 += 1;
        let strikes = match self.plan.at {
            When::Never => false,
            When::Once(commit) => seen.0 == commit,
            When::Every(n) => seen.0.is_multiple_of(n),
            When::From(commit) => seen.0 >= commit,
        };
        seen.1 += u64::from(strikes);
        self.plan.fate.clone().filter(|_| strikes)
    }
}

fn error(kind: LogErrorKind, applied: Applied) -> LogError {
    LogError { kind, applied, operation: "commit", log: "faulty".to_owned() }
}

impl<L: EventLog> EventLog for FaultyLog<L> {
    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let silent = || LogErrorKind::Unavailable { why: "no answer".to_owned() };
        match self.next_fate() {
            None => self.inner.commit(lease, commit).await,
            Some(Fate::LostRequest) => Err(error(silent(), Applied::Maybe)),
            Some(Fate::LostReply) => {
                self.inner.commit(lease, commit).await?;
                Err(error(silent(), Applied::Maybe))
            }
            Some(Fate::Refused(kind)) => Err(error(kind, Applied::No)),
            Some(Fate::TailLost) => {
                let head = Pos { seq: commit.expected.seq - 5, ..commit.expected };
                let expected = commit.expected;
                Err(error(LogErrorKind::Conflict { expected, head }, Applied::No))
            }
        }
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        let head = self.inner.head().await?;
        Ok(head.map(|head| match self.plan.lost_tail.load(Ordering::Relaxed) {
            false => head,
            true => Head { pos: Pos { seq: head.pos.seq - 50, ..head.pos }, ..head },
        }))
    }

    async fn trim(&self, lease: &Lease, at: Pos) -> Result<u64, LogError> {
        if self.plan.loses_tail_at_trim {
            self.plan.lost_tail.store(true, Ordering::Relaxed);
            let why = format!("{at} is above the newest snapshot, the floor of trimming");
            return Err(error(LogErrorKind::Invalid { why }, Applied::No));
        }
        self.inner.trim(lease, at).await
    }

    silvertine_conformance::forward_log!(inner: acquire, range, manifest, snapshots, snapshot, publish, ingress, stats, durability_note);
}
