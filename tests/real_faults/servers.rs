//! The server fails and comes back: stopped, killed, demoted, out of memory, forgetful, replaced.

use silvertine::engine::log::{Applied, LogErrorKind};

use crate::{
    Harness, carry_out, oracle,
    plan::{self, Fault, Plan},
    redis_server::RedisServer,
    strike,
    workload::{self, COMMITS_PER_SNAPSHOT},
};

/// How many failed attempts were refusals to write.
fn refusals(harness: &Harness) -> usize {
    let refuses = |kind: &LogErrorKind| matches!(kind, LogErrorKind::RefusesWrites { .. });
    harness.lock().retries.iter().filter(|error| refuses(&error.kind)).count()
}

#[test]
fn a_commit_that_a_stopped_server_executes_after_the_client_gave_up_is_found_to_be_there() {
    let harness = strike(Fault::Freeze);
    // The commit that brings a snapshot was stopped at the question that comes before it.
    assert_eq!(harness.lock().duplicates, 3);
}

#[test]
fn a_server_killed_before_a_commit_loses_nothing_acknowledged() {
    let harness = strike(Fault::Kill);
    assert!(harness.lock().retries.len() >= 4 * 2);
}

#[test]
fn a_server_killed_between_a_commit_and_its_reply_has_kept_the_commit() {
    strike(Fault::KillAfter);
}

#[test]
fn a_server_that_becomes_a_replica_is_waited_for_until_it_is_a_primary_again() {
    // The first refusal is the server's, the second one the role that dialling again finds.
    assert_eq!(refusals(&strike(Fault::Demote)), 4 * 2);
}

#[test]
fn a_server_that_is_out_of_memory_is_waited_for_and_has_written_nothing() {
    let harness = strike(Fault::OutOfMemory);
    assert_eq!(refusals(&harness), 4 * 2);
    assert!(harness.lock().retries.iter().all(|error| error.applied == Applied::No));
}

#[test]
fn a_server_that_misses_its_replicas_is_waited_for_and_has_written_nothing() {
    let harness = strike(Fault::NoReplicas);
    assert_eq!(refusals(&harness), 4 * 2);
    assert!(harness.lock().retries.iter().all(|error| error.applied == Applied::No));
}

#[test]
fn a_server_that_comes_back_without_what_it_wrote_last_is_reported_with_both_positions() {
    carry_out(plan::once(15, Fault::LosePower), &workload::generated(1_000));
}

#[test]
fn a_server_that_stays_out_of_memory_is_given_up_and_a_later_owner_goes_on() {
    let mut scenario = workload::generated(1_000);
    scenario.run.give_up_after_s = 0;
    let harness = Harness::new(plan::once(7, Fault::OutOfMemory));
    let ended = harness.supervise(&scenario);
    let [error] = ended.errors.as_slice() else { panic!("{:?}", ended.errors) };
    let refused =
        matches!(crate::harness::log_error_kind(error), LogErrorKind::RefusesWrites { .. });
    assert!(refused, "{error}");
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn disconnected_clients_dial_again() {
    assert!(strike(Fault::KillClients).lock().retries.len() >= 4);
}

#[test]
fn a_server_that_forgot_its_scripts_is_sent_their_text() {
    let harness = strike(Fault::ForgetScripts);
    let state = harness.lock();
    assert!(state.retries.is_empty(), "{:?}", state.retries);
    // Acquiring and the first commit, then one for each time they were forgotten.
    assert_eq!(state.proxy.forwarded("EVAL"), 2 + 4);
}

#[test]
fn a_flushed_server_is_reported_gone_and_a_later_owner_begins_again() {
    let plan = [(6, Fault::Flush), (COMMITS_PER_SNAPSHOT + 8, Fault::Flush)];
    carry_out(Plan::from(plan), &workload::generated(1_000));
}

#[test]
fn a_server_that_keeps_nothing_on_disk_is_reported_gone_when_it_comes_back_empty() {
    let scenario = workload::generated(1_000);
    let harness = Harness::on(RedisServer::start(), plan::once(6, Fault::Kill));
    let ended = harness.supervise(&scenario);
    let [error] = ended.errors.as_slice() else { panic!("{:?}", ended.errors) };
    assert_eq!(*crate::harness::log_error_kind(error), LogErrorKind::Gone);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn a_failover_that_loses_the_tail_is_reported_with_both_positions_and_nothing_is_overwritten() {
    for branch in [3, COMMITS_PER_SNAPSHOT, COMMITS_PER_SNAPSHOT + 3] {
        let plan = [(branch, Fault::Branch), (branch + 3, Fault::FailOver)];
        carry_out(Plan::from(plan), &workload::generated(1_000));
    }
}

#[test]
fn a_failover_that_loses_nothing_is_not_reported() {
    let scenario = workload::generated(1_000);
    let plan = Plan::from([(5, Fault::Branch), (5, Fault::FailOver)]);
    let harness = Harness::new(plan);
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn an_owner_leaves_a_server_that_was_deposed_and_keeps_its_connections() {
    let scenario = workload::generated(1_000);
    let harness = Harness::new(Plan::from([(5, Fault::Branch), (5, Fault::Depose)]));
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    assert_eq!(refusals(&harness), 1);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}

#[test]
fn a_failover_that_loses_only_what_was_never_acknowledged_is_not_reported() {
    // The commit after the copy takes effect on the server that is lost; its owner never hears of it.
    let scenario = workload::generated(1_000);
    let plan = [(5, Fault::Branch), (5, Fault::CutAfter), (5, Fault::FailOver)];
    let harness = Harness::new(Plan::from(plan));
    let ended = harness.supervise(&scenario);
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    assert_eq!(harness.lock().duplicates, 0);
    oracle::assert_same_log(&harness, &oracle::Undisturbed::of(&scenario), &ended.report);
}
