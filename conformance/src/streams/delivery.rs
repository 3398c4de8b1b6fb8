//! Who gets a message when, and until when.

use silvertine_engine::span::Span;
use silvertine_streams::{Disposition, Settled, StreamSpec, Streams, Tries, Why};

use super::{
    StreamsFixture,
    harness::{
        ANY, Ask, DEAD_AFTER, LONG, NEW, PAUSE, STARTED, Setup, dead, done, group, outputs, plain,
        retry, shown, stream, texts, workers,
    },
};
use crate::breach::{Must, ensure, ensure_eq};

pub async fn l7_a_message_is_delivered_until_it_is_settled<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    harness.publish(&["1", "2", "3"]).await;
    let first = harness.poll("a", ANY).await;
    let new = |text: &str| (text.to_owned(), Why::New);
    ensure_eq!(shown(&first), [new("1"), new("2"), new("3")]);
    ensure!(first.iter().all(|one| one.deliveries == 1 && one.tries == Tries::default()));
    ensure_eq!(harness.poll("b", ANY).await, []);
    ensure_eq!(harness.poll("a", ANY).await, []);
    harness.restart();
    let own = harness.poll("a", STARTED).await;
    ensure_eq!(texts(&own), ["1", "2", "3"]);
    ensure!(own.iter().all(|one| one.why == Why::Own && one.deliveries == 2));
    harness.done("a", &own[..2]).await;
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.done, counts.accounted()), (1, 2, 3));
    ensure_eq!(texts(&harness.poll("a", STARTED).await), ["3"]);
    ensure_eq!(texts(&harness.drain().await), ["3"]);
}

pub async fn l7_what_is_settled_never_comes_again<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["done", "dead"]).await;
    harness.poll("a", ANY).await;
    ensure_eq!(harness.settle("a", &ids[0], done("k")).await, Settled::Applied);
    ensure_eq!(harness.settle("a", &ids[1], dead(&ids[1])).await, Settled::Applied);
    for id in &ids {
        for disposition in [done("k"), dead(id), retry(1, PAUSE), Disposition::Release] {
            ensure_eq!(harness.settle("a", id, disposition).await, Settled::Lost);
        }
        ensure!(!harness.begin("a", id, 1).await);
    }
    ensure_eq!(harness.extend("a", &ids).await, ids);
    harness.restart();
    ensure_eq!(harness.poll("a", STARTED).await, []);
    ensure_eq!(harness.drain().await, []);
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.dead, counts.accounted()), (1, 1, 2));
    ensure_eq!(counts.oldest, None);
}

pub async fn a_call_whose_answer_was_lost_changes_nothing_when_it_is_made_again<
    F: StreamsFixture,
>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(plain()).await;
    let ids = harness.publish(&["done", "dead", "retry", "release", "held"]).await;
    harness.poll("a", ANY).await;
    ensure!(harness.begin("a", &ids[4], 1).await);
    ensure!(harness.begin("a", &ids[4], 1).await);
    let emit = vec![silvertine_streams::Publication::new(outputs(), super::harness::text("out"))];
    let settlements = [
        (ids[0].clone(), Disposition::Done { key: Some("k".into()), emit }),
        (ids[1].clone(), dead(&ids[1])),
        (ids[2].clone(), retry(1, LONG)),
        (ids[3].clone(), Disposition::Release),
    ];
    let first = harness.try_settle("a", &settlements).await.must("settles");
    ensure_eq!(first, [Settled::Applied; 4]);
    let before = harness.stats_at_rest().await;
    let again = harness.try_settle("a", &settlements).await.must("settles");
    ensure_eq!(again, [Settled::Lost; 4]);
    ensure_eq!(harness.stats_at_rest().await, before);
    ensure_eq!((harness.read(&outputs()).await.len(), harness.letters().await.len()), (1, 1));
    for _ in 0..2 {
        ensure_eq!(harness.extend("a", &ids[4..]).await, []);
    }
    harness.leave("a").await;
    harness.leave("a").await;
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.retrying, counts.accounted()), (0, 3, 5));
}

pub async fn a_retry_waits_survives_a_restart_and_stands_in_nobodys_way<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["bad", "good"]).await;
    let first = harness.poll("a", Ask { limit: 1, ..ANY }).await;
    ensure_eq!(texts(&first), ["bad"]);
    ensure_eq!(harness.settle("a", &ids[0], retry(1, LONG)).await, Settled::Applied);
    let meanwhile = harness.ask("b", ANY).await;
    ensure_eq!(shown(&meanwhile.deliveries), [("good".to_owned(), Why::New)]);
    harness.done("b", &meanwhile.deliveries).await;
    let next_due = harness.ask("b", ANY).await.next_due.must("one waits");
    ensure!(next_due > Span::ZERO && next_due <= LONG, "{next_due}");
    harness.restart();
    harness.pass(Span::from_millis(100)).await;
    ensure_eq!(harness.poll("b", STARTED).await, []);
    harness.pass(LONG).await;
    let due = harness.ask("b", ANY).await;
    ensure_eq!(shown(&due.deliveries), [("bad".to_owned(), Why::Due)]);
    ensure_eq!((due.deliveries[0].tries.attempts, due.deliveries[0].deliveries), (1, 2));
    ensure_eq!(due.next_due, None);
}

pub async fn retries_come_in_the_order_in_which_they_are_due<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["third", "first", "second"]).await;
    harness.poll("a", ANY).await;
    for (id, pause) in ids.iter().zip([150, 50, 100]) {
        harness.settle("a", id, retry(1, Span::from_millis(pause))).await;
    }
    harness.pass(LONG).await;
    ensure_eq!(texts(&harness.poll("b", Ask { limit: 2, ..ANY }).await), ["first", "second"]);
    ensure_eq!(texts(&harness.poll("b", ANY).await), ["third"]);
}

pub async fn what_is_released_is_due_for_anybody_at_once<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let harness = setup.open(plain()).await;
    let ids = harness.publish(&["1"]).await;
    harness.poll("a", ANY).await;
    ensure!(harness.begin("a", &ids[0], 2).await);
    ensure_eq!(harness.settle("a", &ids[0], Disposition::Release).await, Settled::Applied);
    ensure_eq!(harness.poll("b", NEW).await, []);
    let released = harness.poll("b", ANY).await;
    ensure_eq!(shown(&released), [("1".to_owned(), Why::Due)]);
    ensure_eq!(released[0].tries.starts, 2, "what was on record stays");
}

pub async fn a_member_loses_nothing_while_it_shows_signs_of_life<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1", "2", "3"]).await;
    harness.poll("a", Ask { limit: 2, ..ANY }).await;
    let most = Span::from_millis(200);
    harness.pass(most).await;
    ensure_eq!(harness.extend("a", &ids[..1]).await, []);
    harness.pass(most).await;
    ensure!(harness.begin("a", &ids[0], 1).await);
    harness.pass(most).await;
    ensure_eq!(texts(&harness.poll("a", NEW).await), ["3"]);
    harness.pass(most).await;
    ensure_eq!(harness.settle("a", &ids[2], done("k")).await, Settled::Applied);
    harness.pass(most).await;
    ensure_eq!(harness.poll("b", ANY).await, []);
    ensure_eq!(harness.counts().await.held, 2);
}

pub async fn what_a_dead_member_held_goes_to_another<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1", "2", "3"]).await;
    harness.poll("a", ANY).await;
    ensure!(harness.begin("a", &ids[0], 1).await);
    harness.pass(DEAD_AFTER).await;
    ensure_eq!(harness.poll("b", NEW).await, [], "only who tends looks after the dead");
    let reclaimed = harness.poll("b", Ask { limit: 2, ..ANY }).await;
    ensure_eq!(texts(&reclaimed), ["1", "2"]);
    ensure!(reclaimed.iter().all(|one| one.why == Why::Reclaimed && one.deliveries == 2));
    ensure_eq!((reclaimed[0].tries.starts, reclaimed[1].tries.starts), (1, 0));
    harness.restart();
    ensure_eq!(texts(&harness.poll("b", ANY).await), ["3"]);
    // The one that was taken for dead is told.
    ensure_eq!(harness.extend("a", &ids).await, ids);
    ensure!(!harness.begin("a", &ids[0], 2).await);
    ensure_eq!(harness.settle("a", &ids[0], retry(9, PAUSE)).await, Settled::Lost);
    ensure_eq!(harness.settle("a", &ids[0], dead(&ids[0])).await, Settled::Lost);
    ensure_eq!(harness.poll("a", STARTED).await, []);
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.dead, counts.accounted()), (3, 0, 3));
}

pub async fn work_that_a_member_taken_for_dead_has_done_counts_once<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1"]).await;
    harness.poll("a", ANY).await;
    harness.pass(DEAD_AFTER).await;
    ensure_eq!(texts(&harness.poll("b", ANY).await), ["1"]);
    ensure_eq!(harness.settle("a", &ids[0], done("k")).await, Settled::Applied);
    ensure_eq!(harness.settle("b", &ids[0], done("k")).await, Settled::Lost);
    ensure_eq!(harness.drain().await, []);
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.accounted()), (1, 1));
}

pub async fn after_a_restart_come_own_then_reclaimed_then_due_then_new_ones<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["retried", "dead member's", "own"]).await;
    harness.poll("a", Ask { limit: 1, ..ANY }).await;
    harness.settle("a", &ids[0], retry(1, PAUSE)).await;
    harness.poll("b", Ask { limit: 1, ..NEW }).await;
    harness.poll("a", Ask { limit: 1, ..NEW }).await;
    harness.publish(&["new"]).await;
    harness.restart();
    harness.pass(LONG).await;
    let all = harness.poll("a", STARTED).await;
    let expected = [
        ("own", Why::Own),
        ("dead member's", Why::Reclaimed),
        ("retried", Why::Due),
        ("new", Why::New),
    ];
    ensure_eq!(shown(&all), expected.map(|(text, why)| (text.to_owned(), why)));
}

pub async fn a_poll_keeps_its_limit_except_for_what_is_its_own<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    harness.publish(&many).await;
    for _ in 0..4 {
        ensure_eq!(harness.poll("a", Ask { limit: 5, ..ANY }).await.len(), 5);
    }
    let own = harness.poll("a", Ask { limit: 7, ..STARTED }).await;
    ensure_eq!(texts(&own), many[..20]);
    harness.pass(DEAD_AFTER).await;
    let reclaimed = harness.poll("b", Ask { limit: 18, ..ANY }).await;
    ensure_eq!(reclaimed.len(), 18);
    let rest = harness.poll("b", ANY).await;
    ensure_eq!(
        shown(&rest)[..3].iter().map(|one| one.1).collect::<Vec<_>>(),
        [Why::Reclaimed, Why::Reclaimed, Why::New]
    );
    ensure_eq!(rest.len(), 10);
}

pub async fn tries_on_record_come_back_with_the_message<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1"]).await;
    harness.poll("a", ANY).await;
    let tries = Tries {
        attempts: 3,
        starts: 2,
        reclaims: 1,
        first_failed: harness.now(),
        last_failed: harness.now(),
    };
    let begun = [(ids[0].clone(), tries)];
    let ours = harness.streams().begin(&harness.member("a"), &begun, harness.now()).await;
    ensure_eq!(ours, Ok(vec![true]));
    harness.restart();
    ensure_eq!(harness.poll("a", STARTED).await[0].tries, tries);
    let more = Tries { attempts: 4, ..tries };
    harness.settle("a", &ids[0], Disposition::Retry { tries: more, after: PAUSE }).await;
    harness.restart();
    harness.pass(LONG).await;
    ensure_eq!(harness.poll("b", ANY).await[0].tries, more);
    harness.pass(DEAD_AFTER).await;
    ensure_eq!(harness.poll("a", ANY).await[0].tries, more);
}

pub async fn what_a_member_held_when_it_left_is_due_for_others_at_once<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    harness.publish(&["1", "2"]).await;
    harness.poll("a", ANY).await;
    harness.leave("a").await;
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.retrying), (0, 2));
    harness.restart();
    let due = |text: &str| (text.to_owned(), Why::Due);
    ensure_eq!(shown(&harness.poll("b", ANY).await), [due("1"), due("2")]);
}

pub async fn every_group_gets_every_message<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let spec = plain().with_group(silvertine_streams::GroupSpec::new(group("auditors")));
    let mut harness = setup.open(spec).await;
    let ids = harness.publish(&["1", "2"]).await;
    let taken = harness.poll("a", ANY).await;
    harness.done("a", &taken).await;
    harness.member_of = group("auditors");
    ensure_eq!(texts(&harness.poll("a", ANY).await), ["1", "2"]);
    ensure_eq!(harness.settle("a", &ids[0], retry(1, PAUSE)).await, Settled::Applied);
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.retrying, counts.done), (1, 1, 0));
    harness.member_of = group("workers");
    ensure_eq!(harness.drain().await, []);
    ensure_eq!(harness.counts().await.done, 2);
}

pub async fn the_oldest_message_that_is_not_settled_has_an_age<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    ensure_eq!(harness.counts().await.oldest, None);
    let ids = harness.publish(&["1"]).await;
    harness.pass(LONG).await;
    harness.publish(&["2"]).await;
    let oldest = |stats: Option<Span>| stats.must("one waits");
    ensure!(oldest(harness.counts().await.oldest) >= LONG);
    harness.poll("a", ANY).await;
    ensure!(oldest(harness.counts().await.oldest) >= LONG);
    harness.settle("a", &ids[0], retry(1, LONG)).await;
    ensure!(oldest(harness.counts().await.oldest) >= LONG);
    harness.pass(LONG).await;
    let due = harness.poll("a", ANY).await;
    harness.done("a", &due).await;
    ensure!(oldest(harness.counts().await.oldest) < Span::from_millis(1_400));
}

pub async fn members_are_counted_while_they_live<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    harness.poll("a", ANY).await;
    harness.poll("b", ANY).await;
    ensure_eq!(harness.counts().await.members, 2);
    harness.leave("b").await;
    ensure_eq!(harness.counts().await.members, 1);
    harness.pass(DEAD_AFTER).await;
    harness.poll("c", ANY).await;
    ensure_eq!(harness.counts().await.members, 1, "who died and holds nothing is forgotten");
}

pub async fn a_group_starts_where_its_topology_says<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut late = workers();
    late.start = silvertine_streams::Start::End;
    let harness = setup.open(StreamSpec::new(stream()).with_group(late)).await;
    // What is there when it is declared again does not matter: it began at the first time.
    harness.publish(&["1"]).await;
    harness.streams().declare(harness.now()).await.must("declares");
    ensure_eq!(texts(&harness.poll("a", ANY).await), ["1"]);
    harness.streams().declare(harness.now()).await.must("declares");
    ensure_eq!(harness.poll("b", ANY).await, []);
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.accounted()), (1, 1));
}
