//! What a check says about a log that breaks a law.

use std::sync::atomic::AtomicUsize;

use silvertine_conformance::{
    BrokenLaw,
    log::{LogFixture, check, check_histories, check_law},
};
use silvertine_engine::log::{
    Commit, Committed, EventLog, IngressMessage, Lease, LogError, Published, Stats,
};
use silvertine_storage::memory::MemoryLog;

/// How a log in memory is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// It does not say that a commit is a repetition.
    NoDuplicate,
    /// Its statistics panic.
    Panics,
    /// It counts messages as stored that were there already.
    AlwaysStored,
}

#[derive(Clone)]
struct Broken(MemoryLog, Bug);

impl LogFixture for Broken {
    type Log = Self;

    fn log(&self) -> Self {
        self.clone()
    }

    fn restart(&mut self) {}
}

impl EventLog for Broken {
    async fn commit(&self, lease: &Lease, commit: &Commit<'_>) -> Result<Committed, LogError> {
        let mut committed = self.0.commit(lease, commit).await?;
        committed.duplicate &= self.1 != Bug::NoDuplicate;
        Ok(committed)
    }
    async fn publish(&self, messages: &[IngressMessage]) -> Result<Vec<Published>, LogError> {
        let mut published = self.0.publish(messages).await?;
        if self.1 == Bug::AlwaysStored {
            published.fill(Published::Stored);
        }
        Ok(published)
    }
    async fn stats(&self) -> Result<Stats, LogError> {
        assert!(self.1 != Bug::Panics, "no statistics today");
        self.0.stats().await
    }

    silvertine_conformance::forward_log!(0: acquire, head, range, manifest, snapshots, snapshot, ingress, trim, durability_note);
}

fn broken(bug: Bug) -> BrokenLaw {
    check(|| Broken(MemoryLog::new(), bug)).expect_err("it is broken")
}

#[test]
fn a_log_that_keeps_all_laws_is_told_so() {
    let checked = check(|| Broken(MemoryLog::new(), Bug::None)).expect("keeps them");
    assert_eq!((checked.laws.len(), checked.skipped.len(), checked.histories), (22, 0, 128));
}

#[test]
fn a_broken_law_is_named_with_what_was_expected_what_came_and_after_what() {
    let found = broken(Bug::NoDuplicate);
    assert_eq!(found.law(), "l4_the_same_commit_again_is_a_duplicate_and_changes_nothing");
    assert_eq!(found.number(), Some(4));
    let [.., before, last] = found.operations() else { panic!("{:?}", found.operations()) };
    assert!(last.starts_with("commit(epoch 1, expected 0-0, 5 entries"), "{last}");
    assert!(before.starts_with("stats()"), "{before}");
    let text = found.to_string();
    for part in ["law L4 is broken", "expected: (", "came: (", "laws.rs:", "1. acquire("] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_log_that_panics_is_reported_and_not_passed_on() {
    let found = broken(Bug::Panics);
    assert_eq!((found.number(), found.what()), (Some(4), "panicked: no statistics today"));
}

#[test]
fn a_random_history_is_shrunk_and_told_with_its_seed() {
    let fresh = || Broken(MemoryLog::new(), Bug::AlwaysStored);
    let found = check_histories(fresh, 128).expect_err("differs");
    assert_eq!((found.law(), found.number()), ("random_histories_match_the_model", None));
    let text = found.to_string();
    assert!(text.contains("the shortest history that shows it: [Publish"), "{text}");
    assert!(text.contains("PROPTEST_RNG_SEED="), "{text}");
    let publishes = found.operations().iter().filter(|line| line.starts_with("publish"));
    assert!((1..=2).contains(&publishes.count()), "shrunk: {text}");
}

/// A log that is gone after a restart.
struct Forgetful(MemoryLog);

impl LogFixture for Forgetful {
    type Log = MemoryLog;
    const SURVIVES_RESTART: bool = false;

    fn log(&self) -> MemoryLog {
        self.0.clone()
    }

    fn restart(&mut self) {
        self.0 = MemoryLog::new();
    }
}

#[test]
fn a_log_that_cannot_survive_a_restart_says_so_and_keeps_the_other_laws() {
    let checked = check(|| Forgetful(MemoryLog::new())).expect("keeps them");
    assert_eq!((checked.laws.len(), checked.skipped.len()), (20, 2));
}

#[test]
fn each_law_gets_a_fresh_log() {
    let made = AtomicUsize::new(0);
    let fresh = || {
        made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Broken(MemoryLog::new(), Bug::None)
    };
    check_law("stats_count_what_is_kept", fresh).expect("holds");
    assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 1);
}
