//! The suite finds a broken law and names it: the same log with one bug for each law.

mod support;

use std::sync::{Arc, Mutex};

use custom_log::FileLog;
use silvertine_conformance::log::{LogFixture, check, check_law};
use silvertine_engine::{
    digest::Digest,
    log::{
        Acquired, Batch, Commit, CommitId, Committed, EventLog, Head, Lease, LogError,
        LogErrorKind, OwnerId, Page, RangeQuery,
    },
};
use support::TempPath;

#[derive(Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// L1: says that it took entries which stand below the head.
    TakesLowPositions,
    /// L2: loses every seventh entry on the way to its readers.
    LeavesHoles,
    /// L3: discards what a commit has consumed although it then refuses the commit.
    ConsumesBeforeItRefuses,
    /// L4: does not recognise a commit that is sent again.
    ForgetsTheLastCommit,
    /// L5: looks only at the newest lease, whoever commits.
    LetsEverybodyCommit,
    /// L6: answers before the bytes are on disk; a crash takes the last ones.
    LosesTheEnd,
    /// L8: goes on behind what was trimmed as if nothing were missing.
    HidesWhatWasTrimmed,
    /// L9: makes up digests of its own.
    ChangesTheDigest,
}

#[derive(Clone)]
struct Broken {
    log: FileLog,
    bug: Bug,
    newest: Arc<Mutex<Option<Lease>>>,
}

struct Fixture {
    file: TempPath,
    log: Option<FileLog>,
    bug: Bug,
    newest: Arc<Mutex<Option<Lease>>>,
}

fn fresh(bug: Bug) -> impl Fn() -> Fixture {
    move || {
        let (file, newest) = (TempPath::new(), Arc::default());
        let log = Some(FileLog::open(file.path()).expect("opens"));
        Fixture { file, log, bug, newest }
    }
}

impl LogFixture for Fixture {
    type Log = Broken;

    fn log(&self) -> Broken {
        let log = self.log.clone().expect("open");
        Broken { log, bug: self.bug, newest: Arc::clone(&self.newest) }
    }

    fn restart(&mut self) {
        self.log = None;
        if self.bug == Bug::LosesTheEnd {
            let file = std::fs::OpenOptions::new().write(true).open(self.file.path());
            let file = file.expect("opens");
            let length = file.metadata().expect("is there").len();
            file.set_len(length - 1).expect("is cut");
        }
        self.log = Some(FileLog::open(self.file.path()).expect("opens"));
    }
}

impl EventLog for Broken {
    async fn acquire(&self, owner: OwnerId, manifest: &[u8]) -> Result<Acquired, LogError> {
        let acquired = self.log.acquire(owner, manifest).await?;
        *self.newest.lock().expect("not poisoned") = Some(acquired.lease);
        Ok(acquired)
    }

    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let newest = self.newest.lock().expect("not poisoned").unwrap_or(*lease);
        let lease = if self.bug == Bug::LetsEverybodyCommit { newest } else { *lease };
        match self.log.commit(&lease, commit).await {
            Ok(Committed { head, duplicate: true }) if self.bug == Bug::ForgetsTheLastCommit => {
                let kind = LogErrorKind::Conflict { expected: commit.expected, head };
                let (applied, operation) = (silvertine_engine::log::Applied::No, "commit");
                Err(LogError { kind, applied, operation, log: "broken".to_owned() })
            }
            Err(LogError { kind: LogErrorKind::Invalid { .. }, .. })
                if self.bug == Bug::TakesLowPositions =>
            {
                Ok(Committed { head: commit.resulting_pos(), duplicate: false })
            }
            Err(error) if self.bug == Bug::ConsumesBeforeItRefuses => {
                let head = self.log.head().await?.expect("exists");
                let consumed = Commit {
                    id: CommitId(head.commit.0 ^ 1),
                    expected: head.pos,
                    entries: &Batch::default(),
                    digest: head.digest,
                    snapshot: None,
                    ..*commit
                };
                self.log.commit(&lease, &consumed).await?;
                Err(error)
            }
            answer => answer,
        }
    }

    async fn head(&self) -> Result<Option<Head>, LogError> {
        let head = self.log.head().await?;
        let wrong = self.bug == Bug::ChangesTheDigest;
        Ok(head.map(|head| if wrong { Head { digest: Digest::EMPTY, ..head } } else { head }))
    }

    async fn range(&self, query: RangeQuery) -> Result<Page, LogError> {
        let page = match self.log.range(query).await {
            Err(LogError { kind: LogErrorKind::Trimmed { through }, .. })
                if self.bug == Bug::HidesWhatWasTrimmed =>
            {
                return self.log.range(RangeQuery { after: through, ..query }).await;
            }
            answer => answer?,
        };
        if self.bug != Bug::LeavesHoles {
            return Ok(page);
        }
        let mut entries = Batch::default();
        for entry in page.entries.iter().filter(|entry| entry.pos.seq % 7 != 0) {
            entries.push_encoded(entry.bytes).expect("an entry");
        }
        Ok(Page { entries, ..page })
    }

    silvertine_conformance::forward_log!(log: manifest, snapshots, snapshot, publish, ingress, trim, stats, durability_note);
}

/// Checks everything; the first law that is broken must be this one.
fn breaks(bug: Bug, law: u8) {
    let broken = check(fresh(bug)).expect_err("it is broken");
    assert_eq!(broken.number(), Some(law), "{broken}");
}

#[test]
fn the_wrapper_itself_breaks_nothing() {
    check(fresh(Bug::None)).expect("keeps all laws");
}

#[test]
fn a_log_that_takes_low_positions_breaks_l1() {
    breaks(Bug::TakesLowPositions, 1);
}

#[test]
fn a_log_that_leaves_holes_breaks_l2() {
    breaks(Bug::LeavesHoles, 2);
}

#[test]
fn a_log_that_consumes_before_it_refuses_breaks_l3() {
    breaks(Bug::ConsumesBeforeItRefuses, 3);
}

#[test]
fn a_log_that_forgets_the_last_commit_breaks_l4() {
    breaks(Bug::ForgetsTheLastCommit, 4);
}

#[test]
fn a_log_that_lets_everybody_commit_breaks_l5() {
    breaks(Bug::LetsEverybodyCommit, 5);
}

#[test]
fn a_log_that_loses_its_end_in_a_crash_breaks_l6() {
    let law = "l6_a_restart_between_any_two_operations_loses_nothing";
    let broken = check_law(law, fresh(Bug::LosesTheEnd)).expect_err("it is broken");
    assert_eq!((broken.number(), broken.law()), (Some(6), law));
}

#[test]
fn a_log_that_hides_what_was_trimmed_breaks_l8() {
    breaks(Bug::HidesWhatWasTrimmed, 8);
}

#[test]
fn a_log_that_changes_the_digest_breaks_l9() {
    let law = "l9_a_fixed_history_leaves_exactly_the_bytes_that_were_committed";
    let broken = check_law(law, fresh(Bug::ChangesTheDigest)).expect_err("it is broken");
    assert_eq!((broken.number(), broken.law()), (Some(9), law));
}
