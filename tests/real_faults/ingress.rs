//! A producer publishes while everything between it, the server and the owner fails: each message is
//! handled once, in order.

use std::time::Duration;

use silvertine::{
    engine::{
        clock::Clock,
        codec::Codec,
        driver::{Observer, Progress},
        executor,
        log::{Advice, Applied, EventLog, IngressMessage, LogError, OwnerId, Published},
        stop::StopFlag,
        text::Name,
        time::Nanos,
    },
    scenarios::{registry::Registry, runner::Runner},
    storage::{memory::MemoryLog, redis::RedisLog},
};

use crate::{
    Harness,
    harness::{self, block_on, time_of_input},
    oracle::{self, Undisturbed},
    plan::{Fault, Plan},
    proxy::{Aim, Strike},
    workload,
};

/// Messages published at once.
const ROUND: u64 = 40;

/// The messages of a round, from zero.
fn messages(round: u64) -> Vec<IngressMessage> {
    let message = |seq: u64| {
        let mid = 100 + (seq * seq / 7) % 23;
        let body = format!(
            r#"{{"event_time":{seq},"body":{{"market_data":{{"quote":{{"symbol":"A","bid":"{}","bid_qty":"1","ask":"{}","ask_qty":"1"}}}}}}}}"#,
            mid - 1,
            mid + 1
        );
        let producer = Name::new("feed").expect("a good name");
        IngressMessage { producer, seq, codec: Codec::Json, payload: body.into_bytes() }
    };
    (round * ROUND + 1..=(round + 1) * ROUND).map(message).collect()
}

/// Publishes as a producer has to: again, as long as the error says so. Returns what became of the messages
/// and the errors on the way.
async fn publish(
    harness: &Harness,
    log: &RedisLog,
    messages: &[IngressMessage],
) -> (Vec<Published>, Vec<LogError>) {
    let mut errors: Vec<LogError> = Vec::new();
    while errors.len() < 1_000 {
        match log.publish(messages).await {
            Ok(published) => return (published, errors),
            Err(error) => {
                assert_eq!(error.advice(), Advice::Retry, "{error}");
                harness.lock().attempt_failed(&error);
                errors.push(error);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no end of errors: {:?}", errors.last());
}

/// An undisturbed run in memory over so many rounds.
fn undisturbed(rounds: u64) -> Undisturbed {
    struct Numbering(u64);
    impl Clock for Numbering {
        fn stamp(&mut self, _: Nanos) -> Nanos {
            self.0 += 1;
            time_of_input(self.0)
        }
        fn hold_back(&mut self, _: Nanos) -> Duration {
            Duration::ZERO
        }
        fn idle_time(&mut self) -> Option<Nanos> {
            None
        }
        async fn sleep(&mut self, _: Duration) {}
    }
    struct StopAt(u64, StopFlag);
    impl Observer for StopAt {
        fn committed(&mut self, progress: Progress) {
            if progress.counts.inputs >= self.0 {
                self.1.request();
            }
        }
    }
    let log = MemoryLog::new();
    for round in 0..rounds {
        executor::block_on(log.publish(&messages(round))).expect("memory takes all");
    }
    let (stop, runner) = (StopFlag::default(), Runner::new(Registry::standard(), OwnerId(1)));
    let observer = StopAt(rounds * ROUND, stop.clone());
    let scenario = workload::live();
    let run = runner.run(&scenario, log.clone(), Numbering(0), observer, &stop);
    let (report, _) = executor::block_on(run).expect("nothing goes wrong in memory");
    Undisturbed::from(report, 0, &log)
}

/// Runs an owner while each fault meets one round of messages, and checks that nothing shows.
fn disturb_rounds(faults: &[impl Fn(&Harness)]) -> Harness {
    let rounds = faults.len() as u64 + 1;
    let harness = Harness::new(Plan::new());
    harness.stop_at(rounds * ROUND);
    let ended = block_on(async {
        let (producing, producer) = (harness.clone(), harness.proxied_log());
        let disturbing = async {
            publish(&producing, &producer, &messages(0)).await;
            for (round, strike) in (1..rounds).zip(faults) {
                // The owner waits for messages now.
                producing.until(move |state| state.committed_inputs() == round * ROUND).await;
                strike(&producing);
                publish(&producing, &producer, &messages(round)).await;
            }
        };
        let scenario = workload::live();
        let owning = harness.supervise_async(&scenario);
        harness::both(disturbing, owning).await.1
    });
    assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    assert_eq!(ended.report.outcome.duplicates, 0);
    oracle::assert_same_log(&harness, &undisturbed(rounds), &ended.report);
    harness
}

#[test]
fn messages_published_into_broken_connections_are_stored_once() {
    let rounds = [
        (Strike::CutBefore, Published::Stored),
        (Strike::CutInside, Published::Stored),
        (Strike::CutAfter, Published::Duplicate),
        (Strike::CutInsideReply, Published::Duplicate),
        (Strike::SwallowRequest, Published::Stored),
        (Strike::SwallowReply, Published::Duplicate),
    ];
    let harness = Harness::new(Plan::new());
    block_on(async {
        let log = harness.proxied_log();
        for (round, (strike, becomes)) in (0..).zip(rounds) {
            let struck = harness.lock().proxy.struck();
            harness.lock().proxy.strike(Aim::next("EXEC"), strike);
            harness.end_patience_when_silent(strike, struck);
            let (published, errors) = publish(&harness, &log, &messages(round)).await;
            assert!(published.iter().all(|&became| became == becomes), "{strike:?}");
            let [error] = errors.as_slice() else { panic!("{strike:?}: {errors:?}") };
            assert_eq!(error.applied, Applied::Maybe, "{strike:?}: {error}");
            assert_eq!(harness.lock().proxy.struck(), struck + 1);
        }
        harness.stop_at(rounds.len() as u64 * ROUND);
        let ended = harness.supervise_async(&workload::live()).await;
        assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    });
}

#[test]
fn messages_that_a_server_refuses_are_not_stored_and_can_be_published_again() {
    let refusing = [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ];
    let harness = Harness::new(Plan::new());
    block_on(async {
        let log = harness.proxied_log();
        for (round, (refuse, accept)) in (0..).zip(refusing) {
            harness.lock().expect(refuse, "+OK");
            for _ in 0..2 {
                let error = log.publish(&messages(round)).await.expect_err(refuse);
                assert_eq!(
                    (error.advice(), error.applied),
                    (Advice::Retry, Applied::No),
                    "{error}"
                );
            }
            harness.lock().expect(accept, "+OK");
            let (published, errors) = publish(&harness, &log, &messages(round)).await;
            assert!(errors.is_empty(), "{errors:?}");
            assert!(published.iter().all(|&became| became == Published::Stored));
        }
    });
}

#[test]
fn a_producer_leaves_a_server_that_was_deposed_and_keeps_its_connections() {
    let harness = Harness::new(Plan::new());
    block_on(async {
        let log = harness.proxied_log();
        publish(&harness, &log, &messages(0)).await;
        harness.strike(Fault::Branch);
        harness.strike(Fault::Depose);
        let (published, errors) = publish(&harness, &log, &messages(1)).await;
        assert!(published.iter().all(|&became| became == Published::Stored));
        let [error] = errors.as_slice() else { panic!("{} errors", errors.len()) };
        assert_eq!((error.advice(), error.applied), (Advice::Retry, Applied::No), "{error}");
        harness.stop_at(2 * ROUND);
        let ended = harness.supervise_async(&workload::live()).await;
        assert!(ended.errors.is_empty(), "{:?}", ended.errors);
    });
}

#[test]
fn reading_the_ingress_over_broken_connections_neither_loses_nor_repeats_a_message() {
    let strikes = [
        Strike::Delay(Duration::from_millis(30)),
        Strike::CutBefore,
        Strike::CutAfter,
        Strike::CutInsideReply,
        Strike::SwallowRequest,
        Strike::SwallowReply,
    ];
    let faults: Vec<_> = strikes
        .iter()
        .flat_map(|&strike| ["SMEMBERS", "XREAD"].map(|command| (command, strike)))
        .map(|(command, strike)| {
            move |harness: &Harness| {
                let struck = harness.lock().proxy.struck();
                harness.lock().proxy.strike(Aim::next(command), strike);
                harness.end_patience_when_silent(strike, struck);
            }
        })
        .collect();
    let harness = disturb_rounds(&faults);
    assert_eq!(harness.lock().proxy.struck(), faults.len() as u64);
}

#[test]
fn an_owner_that_waits_for_messages_survives_what_happens_to_the_server() {
    let faults =
        [Fault::KillClients, Fault::Demote, Fault::Kill, Fault::Freeze, Fault::ForgetScripts];
    let strikes = faults.map(|fault| {
        move |harness: &Harness| {
            harness.strike(fault);
        }
    });
    let harness = disturb_rounds(&strikes);
    let state = harness.lock();
    assert!(!state.is_disturbed());
    assert!(state.retries.len() >= 1 + 2 + 2 + 2, "{}", state.retries.len());
}
