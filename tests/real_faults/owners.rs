//! Ownership fails: rivals, late messages of earlier owners, failovers that forget who owns what.

use silvertine::engine::log::{Applied, LogError, LogErrorKind};

use crate::{
    Harness, carry_out, harness,
    oracle::{self, Undisturbed},
    plan::{self, Fault, Plan},
    proxy::{Aim, Strike},
    strike, workload,
};

#[test]
fn an_owner_that_a_rival_has_fenced_writes_nothing_and_says_so() {
    let harness = strike(Fault::Rival);
    assert_eq!(harness.lock().duplicates, 0);
}

#[test]
fn a_commit_of_a_fenced_owner_that_arrives_late_has_no_effect() {
    // The commit is held, and before it is sent again a rival has acquired.
    let scenario = workload::generated(1_000);
    let harness = Harness::new(Plan::from([(6, Fault::Hold), (6, Fault::Rival)]));
    let ended = harness.supervise(&scenario);
    let answers = harness.lock().late_answers.clone();
    assert!(answers.len() == 1 && answers[0].contains("FENCED"), "{answers:?}");
    let [error] = ended.errors.as_slice() else { panic!("{:?}", ended.errors) };
    assert!(matches!(harness::log_error_kind(error), LogErrorKind::Fenced { .. }), "{error}");
    oracle::assert_same_log(&harness, &Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn an_acquisition_whose_reply_is_lost_is_repeated_and_does_not_fence_itself() {
    let scenario = workload::generated(300);
    for strike in [Strike::CutBefore, Strike::CutAfter, Strike::CutInsideReply] {
        let harness = Harness::new(Plan::new());
        // The first script only asks for the text of the script.
        harness.lock().proxy.strike(Aim { command: "EVAL", skip: 1 }, strike);
        let ended = harness.supervise(&scenario);
        assert!(ended.errors.is_empty(), "{strike:?}: {:?}", ended.errors);
        assert_eq!(harness.lock().proxy.struck(), 1);
        oracle::assert_same_log(&harness, &Undisturbed::of(&scenario), &ended.report);
    }
}

/// Stops an owner behind the newest snapshot and has `strike` meet the next owner's first `command`. Returns
/// the error that this owner went over.
fn strike_while_recovering(command: &'static str, strike: Strike) -> LogError {
    let scenario = workload::generated(1_000);
    let harness = Harness::new(plan::once(15, Fault::Rival));
    let fenced = harness::block_on(harness.own(&scenario)).expect_err("a rival has acquired");
    assert!(matches!(harness::log_error_kind(&fenced), LogErrorKind::Fenced { .. }), "{fenced}");
    harness.lock().proxy.strike(Aim::next(command), strike);
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    assert_eq!(harness.lock().proxy.struck(), 1);
    oracle::assert_same_log(&harness, &Undisturbed::of(&scenario), &ended.report);
    let state = harness.lock();
    let [error] = state.retries.as_slice() else { panic!("{:?}", state.retries) };
    error.clone()
}

#[test]
fn a_connection_cut_while_recovering_is_dialled_again_and_recovery_goes_on() {
    for command in ["HGET", "XRANGE"] {
        for strike in [Strike::CutBefore, Strike::CutAfter, Strike::CutInsideReply] {
            let error = strike_while_recovering(command, strike);
            assert!(matches!(error.kind, LogErrorKind::Unavailable { .. }), "{error}");
            assert_eq!(error.applied, Applied::No, "{error}");
        }
    }
}

#[test]
fn an_acquisition_of_an_earlier_owner_that_arrives_late_costs_its_successor_the_partition_and_no_entry()
 {
    let scenario = workload::generated(1_000);
    let harness = Harness::new(Plan::from([(5, Fault::Rival), (9, Fault::Deliver)]));
    harness.lock().proxy.strike(Aim { command: "EVAL", skip: 1 }, Strike::Hold);
    let ended = harness::block_on(async {
        harness.end_patience_when_silent(Strike::Hold, 0);
        harness.supervise_async(&scenario).await
    });
    let [first, second] = ended.errors.as_slice() else { panic!("{:?}", ended.errors) };
    for error in [first, second] {
        assert!(matches!(harness::log_error_kind(error), LogErrorKind::Fenced { .. }), "{error}");
    }
    oracle::assert_same_log(&harness, &Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn a_failover_that_loses_even_the_acquisition_is_reported_as_a_loss_with_positions() {
    let plan = [(8, Fault::Branch), (9, Fault::Rival), (12, Fault::FailOver)];
    carry_out(Plan::from(plan), &workload::generated(1_000));
}
