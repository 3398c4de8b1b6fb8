//! Operating on dead letters.

use silvertine::{
    engine::pos::Pos,
    storage::streams::AnyStreams,
    streams::{Class, Message, Status, Streams},
    worker::{
        Handled, MessageContext,
        dlq::{Act, Actor, DeadLetters, Filter, LetterLine, RedriveEnd, RedriveOptions, Redriver},
        handler, handler_with,
    },
};

use crate::fixture::{
    Broken, Calls, Counter, group, on_every_store, publish, stream, text, topology, work,
};

fn letters(streams: &AnyStreams) -> DeadLetters<AnyStreams> {
    let actor = Actor { who: "ann".to_owned(), why: "the broker is back".to_owned() };
    DeadLetters::new(streams.clone(), stream("mgmt:trading:commands"), actor)
}

/// Has `count` commands die, half of them transient failures, half permanent.
async fn with_dead(streams: &AnyStreams, count: u64) {
    publish(streams, (0..count).map(|n| n.to_string())).await;
    let broken = handler(async |message: Message, _: MessageContext| {
        let even = text(&message).parse::<u64>().expect("a number").is_multiple_of(2);
        Err::<Handled, _>(Broken(if even { Class::Transient } else { Class::Permanent }))
    });
    assert_eq!(work(streams, broken).await.dead, count);
}

fn everything() -> Filter {
    Filter::default()
}

#[test]
fn a_redriven_letter_comes_back_to_its_group_with_its_key_and_is_done() {
    on_every_store(&topology(), async |streams| {
        with_dead(&streams, 4).await;
        let letters = letters(&streams);
        let transient = Filter { class: Some(Class::Transient), ..everything() };
        let planned = letters.act(&Act::Redrive(None), &transient, 10, 10, true, async || {}).await;
        assert_eq!(planned.expect("reads").changed, 2);
        let done = letters.act(&Act::Redrive(None), &transient, 10, 10, false, async || {}).await;
        assert_eq!(done.expect("redrives").changed, 2);
        let again = letters.act(&Act::Redrive(None), &transient, 10, 10, false, async || {}).await;
        let again = again.expect("reads");
        assert_eq!((again.changed, again.refused), (0, 2), "a redriven one is not redriven twice");

        let calls = Calls::default();
        let mended =
            handler_with(calls.clone(), async |calls, message: Message, cx: MessageContext| {
                assert_eq!(message.fields().len(), 1, "nothing was added to the message");
                assert!(cx.key().starts_with("mgmt:trading:commands/"), "{}", cx.key());
                assert_eq!(cx.redrives(), 1);
                calls.count(&text(&message));
                Ok::<_, Broken>(Handled::done())
            });
        assert_eq!(work(&streams, mended).await.done, 2);
        assert_eq!(calls.all().into_keys().collect::<Vec<_>>(), ["0", "2"]);
        let audit = streams.read(&stream("audit:events"), Pos::ZERO, 10).await.expect("reads");
        let [(_, event)] = audit.as_slice() else { panic!("one event: {audit:?}") };
        let event: serde_json::Value = serde_json::from_slice(event.payload()).expect("JSON");
        assert_eq!((&event["action"], &event["who"]), (&"redrive".into(), &"ann".into()));
        assert_eq!(event["why"], "the broker is back");
        assert_eq!(event["ids"].as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn held_letters_stay_until_they_are_released_and_discarded_ones_for_good() {
    on_every_store(&topology(), async |streams| {
        with_dead(&streams, 3).await;
        let letters = letters(&streams);
        let page = letters.page(&everything(), Pos::ZERO, 10).await.expect("reads");
        let only = |at: usize| Filter { ids: Some(vec![page.letters[at].0]), ..everything() };
        let act = async |act: &Act, filter: &Filter| {
            let done = letters.act(act, filter, 10, 10, false, async || {}).await.expect("acts");
            (done.changed, done.refused)
        };
        assert_eq!(act(&Act::Hold, &only(0)).await, (1, 0));
        assert_eq!(act(&Act::Discard, &only(1)).await, (1, 0));
        assert_eq!(act(&Act::Redrive(None), &everything()).await, (1, 2));
        assert_eq!(act(&Act::Release, &only(0)).await, (1, 0));
        assert_eq!(act(&Act::Redrive(None), &everything()).await, (1, 2));
        let discarded = Filter { status: Some(Status::Discarded), ..everything() };
        assert_eq!(act(&Act::Purge, &discarded).await, (1, 0));
        let left = letters.page(&everything(), Pos::ZERO, 10).await.expect("reads").letters;
        assert!(left.iter().all(|(_, letter)| letter.state.status == Status::Redriven));
        assert_eq!(left[0].1.state.note, "the broker is back");
        assert_eq!(left.len(), 2);
        let fine = handler(async |_: Message, _: MessageContext| Ok::<_, Broken>(Handled::done()));
        assert_eq!(work(&streams, fine).await.done, 2);
    });
}

#[test]
fn letters_are_listed_in_pages_and_counted() {
    on_every_store(&topology(), async |streams| {
        with_dead(&streams, 25).await;
        let letters = letters(&streams);
        let (mut after, mut sizes, mut ids) = (Pos::ZERO, Vec::new(), Vec::new());
        loop {
            let page = letters.page(&everything(), after, 10).await.expect("reads");
            sizes.push(page.letters.len());
            ids.extend(page.letters.iter().map(|(id, _)| *id));
            let Some(next) = page.next else { break };
            after = next;
        }
        assert_eq!(sizes, [10, 10, 5]);
        assert!(ids.is_sorted());
        let found = letters.letter(ids[7]).await.expect("reads");
        assert_eq!(
            found,
            letters
                .page(&everything(), ids[6], 1)
                .await
                .expect("reads")
                .letters
                .pop()
                .map(|(_, letter)| letter)
        );
        let stats = letters.stats(&everything()).await.expect("counts");
        assert_eq!((stats.total, stats.last_minute), (25, 25));
        assert_eq!(stats.by_class["transient"], 13);
        assert_eq!(stats.by_reason["permanent"], 12);
        let [(_, first), (_, second)] = stats.top()[..] else { panic!("two kinds of failure") };
        assert_eq!((first.count, second.count), (13, 12));
        let mut limits = silvertine::streams::Alerts::default();
        limits.depth = Some(24);
        assert_eq!(stats.alerts(&limits), ["25 dead letters, more than 24"]);
    });
}

#[test]
fn exported_letters_are_imported_as_they_were() {
    on_every_store(&topology(), async |streams| {
        with_dead(&streams, 5).await;
        let letters = letters(&streams);
        let mut lines = Vec::new();
        let write = |line: LetterLine| {
            lines.push(serde_json::to_string(&line).expect("serializes"));
            Ok::<_, silvertine::streams::StoreError>(())
        };
        assert_eq!(letters.export(&everything(), write).await.expect("exports"), 5);
        let before = letters.page(&everything(), Pos::ZERO, 10).await.expect("reads").letters;
        let purged = letters.act(&Act::Purge, &everything(), 10, 10, false, async || {}).await;
        assert_eq!(purged.expect("purges").changed, 5);
        let text = || lines.iter().cloned().map(Ok);
        assert_eq!(letters.import(text(), true).await.expect("checks"), 5);
        assert_eq!(letters.import(text(), false).await.expect("imports"), 5);
        let after = letters.page(&everything(), Pos::ZERO, 10).await.expect("reads").letters;
        let bare =
            |letters: Vec<(Pos, _)>| letters.into_iter().map(|(_, one)| one).collect::<Vec<_>>();
        assert_eq!(bare(after), bare(before));
        let broken = letters.import([Ok("{}".to_owned())].into_iter(), false).await;
        assert!(broken.expect_err("refused").to_string().starts_with("line 1: "));
    });
}

#[test]
fn an_automatic_redrive_sends_transient_failures_back_and_stops_when_they_fail_again() {
    let mut hasty = topology();
    hasty.streams[0].retry.attempts = 0;
    on_every_store(&hasty, async |streams| {
        with_dead(&streams, 60).await;
        let options = RedriveOptions::default().with_rate(1000);
        let redriver = Redriver::new(letters(&streams), group(), options);
        let healthy = Counter::default();
        let broker =
            handler_with(healthy.clone(), async |healthy, _: Message, _: MessageContext| {
                if healthy.get() == 0 { Err(Broken(Class::Transient)) } else { Ok(Handled::done()) }
            });
        let stop = silvertine::engine::stop::StopFlag::default();
        let worker = crate::fixture::worker(&streams, "w", broker);
        let worker = worker.stop_on(&stop, std::time::Duration::from_secs(1));
        let worker = tokio::spawn(worker.run());

        let failing =
            redriver.run(|| false).await.expect("redrives").expect("nobody else redrives");
        assert_eq!(failing.end, Some(RedriveEnd::Failing), "{failing:?}");
        assert!(failing.sent < 30, "it stopped by itself: {failing:?}");
        healthy.add(1);
        let ended = redriver.run(|| false).await.expect("redrives").expect("nobody else redrives");
        assert_eq!(ended.end, Some(RedriveEnd::Empty), "{ended:?}");
        assert_eq!(ended.failed, 0);
        assert_eq!(redriver.state().await.expect("reads"), Some(ended));
        let transient =
            Filter { class: Some(Class::Transient), status: Some(Status::New), ..everything() };
        let left = letters(&streams).page(&transient, Pos::ZERO, 100).await.expect("reads");
        assert_eq!(left.letters.len(), 0);
        stop.request();
        worker.await.expect("ends").expect("works");
    });
}

#[test]
fn there_is_one_automatic_redrive_at_a_time_and_it_can_be_cancelled() {
    on_every_store(&topology(), async |streams| {
        with_dead(&streams, 10).await;
        let options = RedriveOptions::default().with_rate(20);
        let redriver = Redriver::new(letters(&streams), group(), options);
        // Nobody handles what it sends back, so it goes on until it is cancelled.
        let running = tokio::spawn({
            let redriver = redriver.clone();
            async move { redriver.run(|| false).await }
        });
        crate::fixture::eventually("the redrive runs", async || {
            redriver.state().await.expect("reads").is_some_and(|state| state.sent > 0)
        })
        .await;
        assert_eq!(redriver.run(|| false).await.expect("reads"), None, "a second one is refused");
        assert!(redriver.cancel().await.expect("cancels"));
        let ended = running.await.expect("ends").expect("redrives").expect("ran");
        assert_eq!(ended.end, Some(RedriveEnd::Cancelled));
        assert!(!redriver.cancel().await.expect("reads"), "nothing is running any more");
        let fine = handler(async |_: Message, _: MessageContext| Ok::<_, Broken>(Handled::done()));
        work(&streams, fine).await;
    });
}
