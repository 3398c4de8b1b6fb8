//! Who gets a message when, and until when.

use silvertine::{
    engine::span::Span,
    streams::{Disposition, Settled, StreamSpec, Streams, Tries, Why},
};

use crate::{
    beds::Bed,
    desk::{
        ANY, Ask, DEAD_AFTER, Desk, LONG, NEW, PAUSE, STARTED, dead, done, group, outputs, plain,
        retry, shown, stream, texts, workers,
    },
};

pub async fn l7_a_message_is_delivered_until_it_is_settled<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    desk.publish(&["1", "2", "3"]).await;
    let first = desk.poll("a", ANY).await;
    let new = |text: &str| (text.to_owned(), Why::New);
    assert_eq!(shown(&first), [new("1"), new("2"), new("3")]);
    assert!(first.iter().all(|one| one.deliveries == 1 && one.tries == Tries::default()));
    assert_eq!(desk.poll("b", ANY).await, []);
    assert_eq!(desk.poll("a", ANY).await, []);
    desk.bed.reopen();
    let own = desk.poll("a", STARTED).await;
    assert_eq!(texts(&own), ["1", "2", "3"]);
    assert!(own.iter().all(|one| one.why == Why::Own && one.deliveries == 2));
    desk.done("a", &own[..2]).await;
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.done, counts.accounted()), (1, 2, 3));
    assert_eq!(texts(&desk.poll("a", STARTED).await), ["3"]);
    assert_eq!(texts(&desk.drain().await), ["3"]);
}

pub async fn l7_what_is_settled_never_comes_again<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["done", "dead"]).await;
    desk.poll("a", ANY).await;
    assert_eq!(desk.settle("a", &ids[0], done("k")).await, Settled::Applied);
    assert_eq!(desk.settle("a", &ids[1], dead(&ids[1])).await, Settled::Applied);
    for id in &ids {
        for disposition in [done("k"), dead(id), retry(1, PAUSE), Disposition::Release] {
            assert_eq!(desk.settle("a", id, disposition).await, Settled::Lost);
        }
        assert!(!desk.begin("a", id, 1).await);
    }
    assert_eq!(desk.extend("a", &ids).await, ids);
    desk.bed.reopen();
    assert_eq!(desk.poll("a", STARTED).await, []);
    assert_eq!(desk.drain().await, []);
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.dead, counts.accounted()), (1, 1, 2));
    assert_eq!(counts.oldest, None);
}

pub async fn a_call_whose_answer_was_lost_changes_nothing_when_it_is_made_again<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["done", "dead", "retry", "release", "held"]).await;
    desk.poll("a", ANY).await;
    assert!(desk.begin("a", &ids[4], 1).await);
    assert!(desk.begin("a", &ids[4], 1).await);
    let emit = vec![silvertine::streams::Publication::new(outputs(), crate::desk::text("out"))];
    let settlements = [
        (ids[0].clone(), Disposition::Done { key: Some("k".into()), emit }),
        (ids[1].clone(), dead(&ids[1])),
        (ids[2].clone(), retry(1, LONG)),
        (ids[3].clone(), Disposition::Release),
    ];
    let first = desk.try_settle("a", &settlements).await.expect("settles");
    assert_eq!(first, [Settled::Applied; 4]);
    let before = desk.stats_at_rest().await;
    let again = desk.try_settle("a", &settlements).await.expect("settles");
    assert_eq!(again, [Settled::Lost; 4]);
    assert_eq!(desk.stats_at_rest().await, before);
    assert_eq!((desk.read(&outputs()).await.len(), desk.letters().await.len()), (1, 1));
    for _ in 0..2 {
        assert_eq!(desk.extend("a", &ids[4..]).await, []);
    }
    desk.leave("a").await;
    desk.leave("a").await;
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.retrying, counts.accounted()), (0, 3, 5));
}

pub async fn a_retry_waits_survives_a_restart_and_stands_in_nobodys_way<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["bad", "good"]).await;
    let first = desk.poll("a", Ask { limit: 1, ..ANY }).await;
    assert_eq!(texts(&first), ["bad"]);
    assert_eq!(desk.settle("a", &ids[0], retry(1, LONG)).await, Settled::Applied);
    let meanwhile = desk.ask("b", ANY).await;
    assert_eq!(shown(&meanwhile.deliveries), [("good".to_owned(), Why::New)]);
    desk.done("b", &meanwhile.deliveries).await;
    let next_due = desk.ask("b", ANY).await.next_due.expect("one waits");
    assert!(next_due > Span::ZERO && next_due <= LONG, "{next_due}");
    desk.bed.reopen();
    desk.pass(Span::from_millis(100)).await;
    assert_eq!(desk.poll("b", STARTED).await, []);
    desk.pass(LONG).await;
    let due = desk.ask("b", ANY).await;
    assert_eq!(shown(&due.deliveries), [("bad".to_owned(), Why::Due)]);
    assert_eq!((due.deliveries[0].tries.attempts, due.deliveries[0].deliveries), (1, 2));
    assert_eq!(due.next_due, None);
}

pub async fn retries_come_in_the_order_in_which_they_are_due<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["third", "first", "second"]).await;
    desk.poll("a", ANY).await;
    for (id, pause) in ids.iter().zip([150, 50, 100]) {
        desk.settle("a", id, retry(1, Span::from_millis(pause))).await;
    }
    desk.pass(LONG).await;
    assert_eq!(texts(&desk.poll("b", Ask { limit: 2, ..ANY }).await), ["first", "second"]);
    assert_eq!(texts(&desk.poll("b", ANY).await), ["third"]);
}

pub async fn what_is_released_is_due_for_anybody_at_once<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1"]).await;
    desk.poll("a", ANY).await;
    assert!(desk.begin("a", &ids[0], 2).await);
    assert_eq!(desk.settle("a", &ids[0], Disposition::Release).await, Settled::Applied);
    assert_eq!(desk.poll("b", NEW).await, []);
    let released = desk.poll("b", ANY).await;
    assert_eq!(shown(&released), [("1".to_owned(), Why::Due)]);
    assert_eq!(released[0].tries.starts, 2, "what was on record stays");
}

pub async fn a_member_loses_nothing_while_it_shows_signs_of_life<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1", "2", "3"]).await;
    desk.poll("a", Ask { limit: 2, ..ANY }).await;
    let most = Span::from_millis(200);
    desk.pass(most).await;
    assert_eq!(desk.extend("a", &ids[..1]).await, []);
    desk.pass(most).await;
    assert!(desk.begin("a", &ids[0], 1).await);
    desk.pass(most).await;
    assert_eq!(texts(&desk.poll("a", NEW).await), ["3"]);
    desk.pass(most).await;
    assert_eq!(desk.settle("a", &ids[2], done("k")).await, Settled::Applied);
    desk.pass(most).await;
    assert_eq!(desk.poll("b", ANY).await, []);
    assert_eq!(desk.counts().await.held, 2);
}

pub async fn what_a_dead_member_held_goes_to_another<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1", "2", "3"]).await;
    desk.poll("a", ANY).await;
    assert!(desk.begin("a", &ids[0], 1).await);
    desk.pass(DEAD_AFTER).await;
    assert_eq!(desk.poll("b", NEW).await, [], "only who tends looks after the dead");
    let reclaimed = desk.poll("b", Ask { limit: 2, ..ANY }).await;
    assert_eq!(texts(&reclaimed), ["1", "2"]);
    assert!(reclaimed.iter().all(|one| one.why == Why::Reclaimed && one.deliveries == 2));
    assert_eq!((reclaimed[0].tries.starts, reclaimed[1].tries.starts), (1, 0));
    desk.bed.reopen();
    assert_eq!(texts(&desk.poll("b", ANY).await), ["3"]);
    // The one that was taken for dead is told.
    assert_eq!(desk.extend("a", &ids).await, ids);
    assert!(!desk.begin("a", &ids[0], 2).await);
    assert_eq!(desk.settle("a", &ids[0], retry(9, PAUSE)).await, Settled::Lost);
    assert_eq!(desk.settle("a", &ids[0], dead(&ids[0])).await, Settled::Lost);
    assert_eq!(desk.poll("a", STARTED).await, []);
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.dead, counts.accounted()), (3, 0, 3));
}

pub async fn work_that_a_member_taken_for_dead_has_done_counts_once<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1"]).await;
    desk.poll("a", ANY).await;
    desk.pass(DEAD_AFTER).await;
    assert_eq!(texts(&desk.poll("b", ANY).await), ["1"]);
    assert_eq!(desk.settle("a", &ids[0], done("k")).await, Settled::Applied);
    assert_eq!(desk.settle("b", &ids[0], done("k")).await, Settled::Lost);
    assert_eq!(desk.drain().await, []);
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.accounted()), (1, 1));
}

pub async fn after_a_restart_come_own_then_reclaimed_then_due_then_new_ones<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["retried", "dead member's", "own"]).await;
    desk.poll("a", Ask { limit: 1, ..ANY }).await;
    desk.settle("a", &ids[0], retry(1, PAUSE)).await;
    desk.poll("b", Ask { limit: 1, ..NEW }).await;
    desk.poll("a", Ask { limit: 1, ..NEW }).await;
    desk.publish(&["new"]).await;
    desk.bed.reopen();
    desk.pass(LONG).await;
    let all = desk.poll("a", STARTED).await;
    let expected = [
        ("own", Why::Own),
        ("dead member's", Why::Reclaimed),
        ("retried", Why::Due),
        ("new", Why::New),
    ];
    assert_eq!(shown(&all), expected.map(|(text, why)| (text.to_owned(), why)));
}

pub async fn a_poll_keeps_its_limit_except_for_what_is_its_own<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    desk.publish(&many).await;
    for _ in 0..4 {
        assert_eq!(desk.poll("a", Ask { limit: 5, ..ANY }).await.len(), 5);
    }
    let own = desk.poll("a", Ask { limit: 7, ..STARTED }).await;
    assert_eq!(texts(&own), many[..20]);
    desk.pass(DEAD_AFTER).await;
    let reclaimed = desk.poll("b", Ask { limit: 18, ..ANY }).await;
    assert_eq!(reclaimed.len(), 18);
    let rest = desk.poll("b", ANY).await;
    assert_eq!(
        shown(&rest)[..3].iter().map(|one| one.1).collect::<Vec<_>>(),
        [Why::Reclaimed, Why::Reclaimed, Why::New]
    );
    assert_eq!(rest.len(), 10);
}

pub async fn tries_on_record_come_back_with_the_message<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1"]).await;
    desk.poll("a", ANY).await;
    let tries = Tries {
        attempts: 3,
        starts: 2,
        reclaims: 1,
        first_failed: desk.now(),
        last_failed: desk.now(),
    };
    let begun = [(ids[0].clone(), tries)];
    let ours = desk.streams().begin(&desk.member("a"), &begun, desk.now()).await;
    assert_eq!(ours, Ok(vec![true]));
    desk.bed.reopen();
    assert_eq!(desk.poll("a", STARTED).await[0].tries, tries);
    let more = Tries { attempts: 4, ..tries };
    desk.settle("a", &ids[0], Disposition::Retry { tries: more, after: PAUSE }).await;
    desk.bed.reopen();
    desk.pass(LONG).await;
    assert_eq!(desk.poll("b", ANY).await[0].tries, more);
    desk.pass(DEAD_AFTER).await;
    assert_eq!(desk.poll("a", ANY).await[0].tries, more);
}

pub async fn what_a_member_held_when_it_left_is_due_for_others_at_once<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    desk.publish(&["1", "2"]).await;
    desk.poll("a", ANY).await;
    desk.leave("a").await;
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.retrying), (0, 2));
    desk.bed.reopen();
    let due = |text: &str| (text.to_owned(), Why::Due);
    assert_eq!(shown(&desk.poll("b", ANY).await), [due("1"), due("2")]);
}

pub async fn every_group_gets_every_message<B: Bed>() {
    let spec = plain().with_group(silvertine::streams::GroupSpec::new(group("auditors")));
    let mut desk = Desk::<B>::open(spec).await;
    let ids = desk.publish(&["1", "2"]).await;
    let taken = desk.poll("a", ANY).await;
    desk.done("a", &taken).await;
    desk.member_of = group("auditors");
    assert_eq!(texts(&desk.poll("a", ANY).await), ["1", "2"]);
    assert_eq!(desk.settle("a", &ids[0], retry(1, PAUSE)).await, Settled::Applied);
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.retrying, counts.done), (1, 1, 0));
    desk.member_of = group("workers");
    assert_eq!(desk.drain().await, []);
    assert_eq!(desk.counts().await.done, 2);
}

pub async fn the_oldest_message_that_is_not_settled_has_an_age<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    assert_eq!(desk.counts().await.oldest, None);
    let ids = desk.publish(&["1"]).await;
    desk.pass(LONG).await;
    desk.publish(&["2"]).await;
    let oldest = |stats: Option<Span>| stats.expect("one waits");
    assert!(oldest(desk.counts().await.oldest) >= LONG);
    desk.poll("a", ANY).await;
    assert!(oldest(desk.counts().await.oldest) >= LONG);
    desk.settle("a", &ids[0], retry(1, LONG)).await;
    assert!(oldest(desk.counts().await.oldest) >= LONG);
    desk.pass(LONG).await;
    let due = desk.poll("a", ANY).await;
    desk.done("a", &due).await;
    assert!(oldest(desk.counts().await.oldest) < Span::from_millis(1_400));
}

pub async fn members_are_counted_while_they_live<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    desk.poll("a", ANY).await;
    desk.poll("b", ANY).await;
    assert_eq!(desk.counts().await.members, 2);
    desk.leave("b").await;
    assert_eq!(desk.counts().await.members, 1);
    desk.pass(DEAD_AFTER).await;
    desk.poll("c", ANY).await;
    assert_eq!(desk.counts().await.members, 1, "who died and holds nothing is forgotten");
}

pub async fn a_group_starts_where_its_topology_says<B: Bed>() {
    let mut late = workers();
    late.start = silvertine::streams::Start::End;
    let desk = Desk::<B>::open(StreamSpec::new(stream()).with_group(late)).await;
    // What is there when it is declared again does not matter: it began at the first time.
    desk.publish(&["1"]).await;
    desk.streams().declare(desk.now()).await.expect("declares");
    assert_eq!(texts(&desk.poll("a", ANY).await), ["1"]);
    desk.streams().declare(desk.now()).await.expect("declares");
    assert_eq!(desk.poll("b", ANY).await, []);
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.accounted()), (1, 1));
}
