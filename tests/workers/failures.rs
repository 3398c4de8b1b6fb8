//! What becomes of messages whose handlers fail.

use std::time::{Duration, Instant};

use silvertine::{
    engine::{pos::Pos, span::Span, stop::StopFlag},
    storage::streams::AnyStreams,
    streams::{Class, DeadLetter, Message, Reason, Streams},
    worker::{Handled, MessageContext, Typed, handler, handler_with},
};

use crate::fixture::{
    Broken, Calls, Counter, counts, eventually, on_every_store, publish, stream, text, topology,
    work, worker,
};

async fn dead(streams: &AnyStreams) -> Vec<DeadLetter> {
    let commands = stream("mgmt:trading:commands");
    let letters = streams.dead_letters(&commands, Pos::ZERO, 1000).await.expect("reads");
    letters.into_iter().map(|(_, letter)| letter).collect()
}

#[test]
fn a_transient_failure_is_tried_again_until_it_succeeds() {
    on_every_store(&topology(), async |streams| {
        publish(&streams, ["a".to_owned()]).await;
        let calls = Calls::default();
        let began = Instant::now();
        let broker =
            handler_with(calls.clone(), async |calls, message: Message, cx: MessageContext| {
                let attempt = calls.count(&text(&message));
                assert_eq!(u64::from(cx.attempt()), attempt);
                if attempt < 3 { Err(Broken(Class::Transient)) } else { Ok(Handled::done()) }
            });
        let stats = work(&streams, broker).await;
        assert_eq!((stats.done, stats.retried, stats.dead), (1, 2, 0));
        // 20 and 40 ms of backoff.
        assert!(began.elapsed() >= Duration::from_millis(60));
    });
}

#[test]
fn after_the_last_attempt_a_message_is_a_dead_letter_that_tells_everything() {
    on_every_store(&topology(), async |streams| {
        let ids = publish(&streams, ["a".to_owned()]).await;
        let broker = handler(async |_: Message, _: MessageContext| {
            Err::<Handled, _>(Broken(Class::Transient))
        });
        let worker = worker(&streams, "worker-1", broker).version("1.2.3").until_idle();
        let stats = worker.run().await.expect("works");
        assert_eq!((stats.retried, stats.dead), (3, 1));
        let letters = dead(&streams).await;
        let [letter] = letters.as_slice() else { panic!("one letter: {letters:?}") };
        assert_eq!(letter.message, Message::default().with("data", "a"));
        let story = &letter.story;
        assert_eq!(story.origin.id, ids[0]);
        assert_eq!((story.attempts, story.deliveries, story.reclaims), (4, 4, 0));
        assert_eq!((story.reason, story.failure.class), (Reason::MaxAttempts, Class::Transient));
        assert_eq!(story.failure.code, "broken");
        assert_eq!(story.failure.text, "the broker is broken (transient)");
        assert_eq!((story.consumer.as_str(), story.build.as_str()), ("worker-1", "1.2.3"));
        assert!(story.published <= story.first_failed && story.first_failed < story.last_failed);
    });
}

#[test]
fn permanent_failures_panics_and_what_does_not_decode_are_dead_at_once() {
    on_every_store(&topology(), async |streams| {
        let payloads = ["\"permanent\"", "\"panic\"", "{no json", "\"good\""];
        publish(&streams, payloads.map(str::to_owned)).await;
        let broker = handler(async |Typed(what): Typed<String>, _: MessageContext| {
            assert_ne!(what, "panic", "a bug");
            if what == "permanent" { Err(Broken(Class::Permanent)) } else { Ok(Handled::done()) }
        });
        let stats = work(&streams, broker).await;
        assert_eq!((stats.done, stats.retried, stats.dead), (1, 0, 3));
        let letters = dead(&streams).await;
        let mut reasons: Vec<Reason> = letters.iter().map(|letter| letter.story.reason).collect();
        reasons.sort();
        assert_eq!(reasons, [Reason::Permanent, Reason::Undecodable, Reason::Panicked]);
        assert!(letters.iter().all(|letter| letter.story.deliveries == 1));
    });
}

#[test]
fn a_handler_that_takes_too_long_has_failed_for_now() {
    on_every_store(&topology(), async |streams| {
        publish(&streams, ["a".to_owned()]).await;
        let calls = Calls::default();
        let broker =
            handler_with(calls.clone(), async |calls, message: Message, _: MessageContext| {
                if calls.count(&text(&message)) == 1 {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
                Ok::<_, Broken>(Handled::done())
            });
        let stats = work(&streams, broker).await;
        assert_eq!((stats.done, stats.retried), (1, 1));
    });
}

#[test]
fn failing_messages_do_not_keep_back_the_healthy_ones_behind_them() {
    let mut patient = topology();
    patient.streams[0].retry.base = Span::from_secs(3600);
    on_every_store(&patient, async |streams| {
        publish(&streams, (0..200).map(|n| n.to_string())).await;
        let broker = handler(async |message: Message, _: MessageContext| {
            let fails = text(&message).parse::<u64>().expect("a number") < 100;
            if fails { Err(Broken(Class::Transient)) } else { Ok(Handled::done()) }
        });
        let stop = StopFlag::default();
        let worker = worker(&streams, "w", broker).stop_on(&stop, Duration::from_secs(1));
        let worker = tokio::spawn(worker.run());
        eventually("the healthy ones are done", async || counts(&streams).await.done == 100).await;
        let counts = counts(&streams).await;
        assert_eq!((counts.retrying, counts.held), (100, 0), "the others wait for their retry");
        stop.request();
        worker.await.expect("ends").expect("works");
    });
}

#[test]
fn while_a_circuit_is_open_messages_wait_and_afterwards_none_is_lost() {
    let mut fragile = topology();
    fragile.streams[0].groups[0].circuit.failure_threshold = 5;
    fragile.streams[0].retry.attempts = 1000;
    on_every_store(&fragile, async |streams| {
        publish(&streams, (0..50).map(|n| n.to_string())).await;
        let (healthy, calls) = (Counter::default(), Counter::default());
        let state = (healthy.clone(), calls.clone());
        let broker =
            handler_with(state, async |(healthy, calls), _: Message, _: MessageContext| {
                calls.add(1);
                if healthy.get() == 0 { Err(Broken(Class::Transient)) } else { Ok(Handled::done()) }
            });
        let stop = StopFlag::default();
        let worker = worker(&streams, "w", broker).stop_on(&stop, Duration::from_secs(1));
        let worker = tokio::spawn(worker.run());
        tokio::time::sleep(Duration::from_millis(700)).await;
        let calls_while_broken = calls.get();
        // The first 16 in flight, then one try every 200 ms.
        assert!((5..40).contains(&calls_while_broken), "{calls_while_broken} calls");
        healthy.add(1);
        eventually("all are done", async || counts(&streams).await.done == 50).await;
        stop.request();
        let stats = worker.await.expect("ends").expect("works");
        assert!(stats.circuit_opened >= 1 && stats.circuit_closed == 1, "{stats:?}");
    });
}
