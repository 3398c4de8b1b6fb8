//! The connection fails: before, within and after a commit, with and without a word.

use silvertine::engine::log::{Applied, EventLog, LogErrorKind};

use crate::{
    Harness, harness, oracle,
    plan::{self, Fault, Plan},
    proxy::Strike,
    strike, workload,
};

/// Every failed attempt of a harness was one that may or may not have taken effect.
fn assert_unknown(harness: &Harness, attempts: usize) {
    let state = harness.lock();
    assert_eq!(state.retries.len(), attempts, "{:?}", state.retries);
    for error in &state.retries {
        assert_eq!(error.applied, Applied::Maybe, "{error}");
        assert!(matches!(error.kind, LogErrorKind::Unavailable { .. }), "{error}");
    }
}

#[test]
fn a_commit_that_arrives_late_is_waited_for_and_not_repeated() {
    let harness = strike(Fault::Delay);
    assert!(harness.lock().retries.is_empty(), "{:?}", harness.lock().retries);
}

#[test]
fn a_connection_cut_before_a_commit_arrives_is_dialled_again() {
    assert_unknown(&strike(Fault::CutBefore), 4);
}

#[test]
fn half_a_commit_has_no_effect() {
    assert_unknown(&strike(Fault::CutInside), 4);
}

#[test]
fn a_commit_whose_reply_is_cut_off_is_found_to_be_there() {
    assert_unknown(&strike(Fault::CutAfter), 4);
}

#[test]
fn a_commit_whose_reply_is_cut_in_half_is_found_to_be_there() {
    assert_unknown(&strike(Fault::CutInsideReply), 4);
}

#[test]
fn a_half_open_connection_that_swallows_a_commit_is_given_up_and_dialled_again() {
    assert_unknown(&strike(Fault::SwallowRequest), 4);
}

#[test]
fn a_half_open_connection_that_swallows_a_reply_is_given_up_and_the_commit_found_to_be_there() {
    assert_unknown(&strike(Fault::SwallowReply), 4);
}

#[test]
fn a_commit_that_arrives_after_its_own_repetition_and_others_has_no_effect() {
    assert_unknown(&strike(Fault::Hold), 4);
}

#[test]
fn a_reply_that_is_cut_off_and_only_asked_for_the_script_is_no_commit() {
    let scenario = workload::generated(200);
    let harness = Harness::new(plan::once(1, Fault::CutAfter));
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    assert_unknown(&harness, 1);
    assert_eq!(harness.lock().duplicates, 0);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn a_trim_that_fails_or_whose_reply_is_lost_is_made_up_for_by_the_next_one() {
    let scenario = workload::trimming(2_000);
    let strikes = [
        // The first script of its kind only asks for its text.
        None,
        Some(Strike::CutBefore),
        Some(Strike::CutAfter),
        Some(Strike::SwallowRequest),
        Some(Strike::SwallowReply),
        None,
    ];
    let harness = Harness::new(Plan::new());
    harness.lock().trims.extend(strikes);
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    let head = harness::block_on(async { harness.direct_log().head().await });
    let trimmed = head.expect("reads").expect("is there").trimmed;
    let mut state = harness.lock();
    assert_eq!((state.proxy.struck(), state.trims.len()), (4, 0), "every trim was spoilt");
    assert!(ended.report.outcome.head.seq - trimmed.seq < 500 + 2 * 400, "the last one trims");
    state.trims.clear();
    drop(state);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}
