//! Somebody damages the log behind its owner's back. What is gone is reported with the place where it is
//! missing, and nothing is built over it unseen.

use silvertine::{
    engine::{
        event::{Topic, TopicSet},
        log::{Applied, EventLog, LogErrorKind, OwnerId, RangeQuery},
        pos::Pos,
        recovery::ReplayError,
    },
    scenarios::runner::RunnerError,
};

use crate::{
    Harness, carry_out, harness, oracle,
    plan::{self, Fault, Plan},
    workload,
};

const DELETED: &str = "DEL sv:{p}:s:market_data";
const ALL_DELETED: &str = "DEL sv:{p}:s:market_data sv:{p}:s:signal sv:{p}:s:order sv:{p}:s:fill \
     sv:{p}:s:system";
const TRIMMED: &str = "XTRIM sv:{p}:s:market_data MAXLEN 10";
const EMPTIED: &str = "XTRIM sv:{p}:s:order MAXLEN 0";

/// The record at which reading found that something is missing.
fn corrupt_at(kind: &LogErrorKind) -> Pos {
    let LogErrorKind::Corrupt { at, why } = kind else { panic!("not reported corrupt: {kind}") };
    assert!(why.contains("missing"), "{why}");
    at.parse().unwrap_or_else(|_| panic!("no position: {at}"))
}

#[test]
fn streams_deleted_or_trimmed_behind_our_back_are_reported_by_reading_and_by_verifying() {
    for command in [DELETED, ALL_DELETED, TRIMMED, EMPTIED] {
        let scenario = workload::generated(1_000);
        let harness = Harness::new(plan::once(25, Fault::Meddle(command)));
        // Whether the owner itself notices is another question.
        let _ended = harness::block_on(harness.own(&scenario));
        oracle::assert_every_fault_struck(&harness.lock());
        let (read, verified) = harness::block_on(async {
            let log = harness.direct_log();
            (oracle::entries(&log).await, oracle::verify(&log).await)
        });
        let at = corrupt_at(&read.expect_err(command).kind);
        let verified = verified.expect_err(command);
        let ReplayError::Log(error) = verified else { panic!("{command}: {verified}") };
        assert_eq!(corrupt_at(&error.kind), at, "{command}");
        assert!(at <= harness.lock().acknowledged_head(), "{command}");
    }
}

#[test]
fn an_owner_that_needs_the_missing_entries_to_recover_reports_them_and_writes_nothing() {
    for command in [DELETED, ALL_DELETED, TRIMMED] {
        // The newest snapshot is older than what is damaged when a rival has ended the owner.
        let scenario = workload::generated(1_000);
        let harness = Harness::new(plan::once(18, Fault::Rival));
        harness::block_on(async {
            harness.own(&scenario).await.expect_err("a rival has acquired");
            harness.lock().expect(command, ":");
            let head = harness.direct_log().head().await.expect("reads");
            for _ in 0..2 {
                let error = harness.own(&scenario).await.expect_err(command);
                let at = corrupt_at(harness::log_error_kind(&error));
                assert!(at <= harness.lock().acknowledged_head(), "{command}");
            }
            assert_eq!(harness.direct_log().head().await.expect("reads"), head, "{command}");
        });
        oracle::assert_every_fault_struck(&harness.lock());
    }
}

#[test]
fn an_owner_under_whom_a_stream_is_deleted_or_trimmed_says_so_and_writes_nothing_over_it() {
    for command in [DELETED, ALL_DELETED, TRIMMED, EMPTIED] {
        let harness = Harness::new(plan::once(15, Fault::Meddle(command)));
        let ended = harness::block_on(harness.own(&workload::generated(1_000)));
        let error = ended.map(|report| report.outcome).expect_err(command);
        let at = corrupt_at(harness::log_error_kind(&error));
        assert_eq!(at, harness.lock().acknowledged_head(), "{command}");
        let head = harness::block_on(async { harness.direct_log().head().await });
        assert_eq!(head.expect("reads").expect("is there").pos, at, "{command}");
    }
}

#[test]
fn an_owner_whose_log_was_damaged_before_its_newest_snapshot_says_so_before_it_writes() {
    // Nothing that recovery reads is missing.
    let scenario = workload::generated(1_000);
    let harness = Harness::new(plan::once(15, Fault::Rival));
    harness::block_on(async {
        harness.own(&scenario).await.expect_err("a rival has acquired");
        harness.lock().expect("XTRIM sv:{p}:s:market_data MAXLEN 150", ":");
        let head = harness.direct_log().head().await.expect("reads");
        let error = harness.own(&scenario).await.expect_err("entries are missing");
        corrupt_at(harness::log_error_kind(&error));
        assert_eq!(harness.direct_log().head().await.expect("reads"), head);
    });
}

#[test]
fn an_owner_does_not_trim_a_log_that_lacks_entries() {
    let harness = Harness::new(Plan::new());
    harness::block_on(async {
        harness.own(&workload::generated(1_000)).await.expect("nothing goes wrong");
        let log = harness.direct_log();
        let acquired = log.acquire(OwnerId(1 << 100), b"").await.expect("acquires");
        let oldest = acquired.snapshots[0];
        harness.lock().expect("XTRIM sv:{p}:s:market_data MAXLEN 999", ":1");
        let before = log.stats().await.expect("reads");
        let error = log.trim(&acquired.lease, oldest).await.expect_err("an entry is missing");
        assert_eq!(corrupt_at(&error.kind), acquired.head.pos);
        assert_eq!(error.applied, Applied::No);
        assert_eq!(log.stats().await.expect("reads"), before);
        assert_eq!(log.head().await, Ok(Some(acquired.head)));
    });
}

#[test]
fn a_reader_of_one_topic_is_told_that_its_stream_was_trimmed_behind_our_back() {
    let harness = Harness::new(plan::once(25, Fault::Meddle(TRIMMED)));
    let _ended = harness::block_on(harness.own(&workload::generated(1_000)));
    let topics = TopicSet::of(&[Topic::MarketData]);
    let query = RangeQuery { topics, ..RangeQuery::all_after(Pos::ZERO) };
    let page = harness::block_on(async { harness.direct_log().range(query).await });
    let error = page.map(|page| page.entries.len()).expect_err("hundreds of entries are missing");
    assert_eq!(corrupt_at(&error.kind), harness.lock().acknowledged_head());
}

#[test]
fn a_partition_whose_meta_record_is_deleted_is_reported_and_its_remains_are_not_overwritten() {
    let scenario = workload::generated(1_000);
    let harness = Harness::new(plan::once(8, Fault::Meddle("DEL sv:{p}:meta")));
    harness::block_on(async {
        let error = harness.own(&scenario).await.expect_err("the partition is gone");
        assert_eq!(*harness::log_error_kind(&error), LogErrorKind::Gone);
        let error = harness.own(&scenario).await.expect_err("there are remains");
        let kind = harness::log_error_kind(&error);
        assert!(matches!(kind, LogErrorKind::Foreign { .. }), "{error}");
        assert_eq!(harness.direct_log().head().await.expect("reads"), None);
    });
}

#[test]
fn a_meta_record_without_a_head_is_reported_corrupt() {
    for (command, field) in [
        ("HDEL sv:{p}:meta head", "head"),
        ("HSET sv:{p}:meta head 17-", "head"),
        ("HSET sv:{p}:meta head 99999999999999999999-1", "head"),
        ("HDEL sv:{p}:meta trimmed", "trimmed"),
        ("HDEL sv:{p}:meta commit", "commit"),
        ("HDEL sv:{p}:meta owner", "owner"),
    ] {
        let harness = Harness::new(plan::once(8, Fault::Meddle(command)));
        let run = harness::block_on(harness.try_own(&workload::generated(1_000)));
        let error = run.map(|report| report.outcome).expect_err(command);
        let (at, why) = ("sv:{p}:meta".to_owned(), field.to_owned());
        assert_eq!(
            *harness::log_error_kind(&error),
            LogErrorKind::Corrupt { at, why },
            "{command}"
        );
        assert!(harness.lock().retries.is_empty(), "{command}");
    }
}

#[test]
fn an_entry_of_somebody_else_in_our_stream_is_reported_and_nothing_is_committed_behind_it() {
    let foreign = "XADD sv:{p}:s:market_data 99999999999999-1 who me";
    let harness = Harness::new(plan::once(8, Fault::Meddle(foreign)));
    harness::block_on(async {
        let error = harness.own(&workload::generated(1_000)).await.expect_err("a stranger");
        let LogErrorKind::Foreign { why } = harness::log_error_kind(&error) else {
            panic!("{error}")
        };
        assert!(why.contains("99999999999999-1"), "{why}");
        let head = harness.direct_log().head().await.expect("reads").expect("is there");
        assert_eq!(head.pos, harness.lock().acknowledged_head());
    });
}

#[test]
fn an_entry_of_somebody_else_in_a_stream_that_no_commit_touches_is_reported_too() {
    // The first signals come much later; this id is below theirs.
    let foreign = "XADD sv:{p}:s:signal 1-1 who me";
    let harness = Harness::new(plan::once(1, Fault::Meddle(foreign)));
    let run = harness::block_on(harness.own(&workload::generated(1_000)));
    let error = run.map(|report| report.outcome).expect_err("a stranger");
    let kind = harness::log_error_kind(&error);
    assert!(matches!(kind, LogErrorKind::Foreign { .. }), "{error}");
    assert_eq!(harness.lock().acknowledged_head(), Pos::ZERO);
}

#[test]
fn deleted_snapshots_cost_time_and_nothing_else() {
    let plan = [(17, Fault::Meddle("DEL sv:{p}:snap")), (18, Fault::Rival)];
    carry_out(Plan::from(plan), &workload::generated(1_000));
}

#[test]
fn deleted_snapshots_of_a_trimmed_log_are_reported_with_where_the_log_begins() {
    let scenario = workload::trimming(1_500);
    let plan = [(35, Fault::Meddle("DEL sv:{p}:snap")), (36, Fault::Rival)];
    let harness = Harness::new(Plan::from(plan));
    harness::block_on(async {
        harness.own(&scenario).await.expect_err("a rival has acquired");
        let trimmed = harness.direct_log().head().await.expect("reads").expect("is there").trimmed;
        assert_ne!(trimmed, Pos::ZERO, "nothing was trimmed");
        let error =
            harness.try_own(&scenario).await.expect_err("nothing stands in for the beginning");
        let RunnerError::Run(silvertine::engine::driver::RunError::Replay(error)) = error else {
            panic!("{error}");
        };
        let ReplayError::NoSnapshot { through } = error else { panic!("{error}") };
        assert_eq!(through, trimmed);
    });
}
