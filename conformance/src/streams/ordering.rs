//! Which of several messages comes first.

use silvertine_streams::{GroupSpec, Message, Settled, StreamSpec, Why};

use super::{
    StreamsFixture,
    harness::{
        ANY, Ask, DEAD_AFTER, Harness, LONG, NEW, PAUSE, Setup, dead, group, plain, retry, shown,
        stream, text, texts, workers,
    },
};
use crate::breach::{ensure, ensure_eq};

fn ordered() -> StreamSpec {
    let mut workers = workers();
    workers.order_by = Some("account".to_owned());
    StreamSpec::new(stream()).with_group(workers)
}

fn of(account: &str, said: &str) -> Message {
    text(said).with("account", account)
}

async fn open<F: StreamsFixture>(setup: &Setup<'_, F>) -> Harness<F> {
    let harness = setup.open(ordered()).await;
    let messages =
        [of("a", "a1"), of("a", "a2"), of("b", "b1"), of("a", "a3"), text("free"), text("too")];
    harness.publish_to(&stream(), &messages).await;
    harness
}

pub async fn messages_of_one_key_come_one_after_the_other_over_all_members<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = open(setup).await;
    let first = harness.poll("m", Ask { limit: 2, ..ANY }).await;
    ensure_eq!(texts(&first), ["a1", "b1"]);
    ensure_eq!(texts(&harness.poll("n", ANY).await), ["free", "too"]);
    let counts = harness.counts().await;
    ensure_eq!((counts.held, counts.blocked, counts.waiting), (4, 2, 0));
    harness.restart();
    ensure_eq!(harness.poll("n", ANY).await, []);
    harness.done("m", &first[..1]).await;
    let next = harness.poll("n", ANY).await;
    ensure_eq!(shown(&next), [("a2".to_owned(), Why::Due)]);
    ensure_eq!((next[0].deliveries, next[0].tries.attempts), (1, 0));
    harness.publish_to(&stream(), &[of("a", "a4"), of("b", "b2")]).await;
    ensure_eq!(harness.poll("n", ANY).await, []);
    harness.done("n", &next).await;
    let next = harness.poll("m", ANY).await;
    ensure_eq!(texts(&next), ["a3"]);
    harness.done("m", &next).await;
    ensure_eq!(texts(&harness.poll("m", ANY).await), ["a4"]);
    harness.done("m", &first[1..]).await;
    ensure_eq!(texts(&harness.poll("m", ANY).await), ["b2"]);
    let counts = harness.counts().await;
    ensure_eq!((counts.blocked, counts.done, counts.accounted()), (0, 4, 8));
}

pub async fn a_key_stays_taken_while_its_message_waits_for_a_retry_or_changes_hands<
    F: StreamsFixture,
>(
    setup: &Setup<'_, F>,
) {
    let mut harness = open(setup).await;
    let first = harness.poll("m", Ask { limit: 1, ..ANY }).await;
    ensure_eq!(texts(&first), ["a1"]);
    harness.settle("m", &first[0].id, retry(1, PAUSE)).await;
    ensure_eq!(texts(&harness.poll("m", ANY).await), ["b1", "free", "too"]);
    harness.restart();
    harness.pass(LONG).await;
    let again = harness.poll("n", NEW).await;
    ensure_eq!(again, []);
    let again = harness.poll("n", Ask { limit: 10, ..ANY }).await;
    ensure!(texts(&again).contains(&"a1".to_owned()));
    ensure!(!texts(&again).contains(&"a2".to_owned()));
    harness.pass(DEAD_AFTER).await;
    let reclaimed = harness.poll("o", ANY).await;
    ensure!(texts(&reclaimed).contains(&"a1".to_owned()));
    ensure_eq!(harness.counts().await.blocked, 2);
    harness.done("o", &reclaimed).await;
    ensure_eq!(texts(&harness.poll("o", ANY).await), ["a2"]);
}

pub async fn the_next_of_a_key_comes_up_when_the_one_before_is_dead<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = open(setup).await;
    let first = harness.poll("m", Ask { limit: 1, ..ANY }).await;
    let id = &first[0].id;
    ensure_eq!(harness.settle("m", id, dead(id)).await, Settled::Applied);
    ensure_eq!(texts(&harness.poll("m", ANY).await), ["a2", "b1", "free", "too"]);
    let counts = harness.counts().await;
    ensure_eq!((counts.dead, counts.blocked, counts.accounted()), (1, 1, 6));
}

pub async fn a_long_queue_behind_one_key_keeps_its_order<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let harness = setup.open(ordered()).await;
    let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let messages: Vec<Message> = many.iter().map(|said| of("a", said)).collect();
    harness.publish_to(&stream(), &messages).await;
    for expected in &many {
        let next = harness.poll("m", ANY).await;
        ensure_eq!(texts(&next), [expected.as_str()]);
        harness.done("m", &next).await;
    }
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.accounted()), (300, 300));
}

fn with_lanes() -> StreamSpec {
    let mut spec = plain().with_group(GroupSpec::new(group("auditors")));
    spec.lanes = vec!["urgent".to_owned(), "soon".to_owned()];
    spec
}

pub async fn urgent_lanes_come_first_and_last_when_asked_in_reverse<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(with_lanes()).await;
    harness.publish(&["1", "2"]).await;
    harness.publish_to(&stream().lane("soon"), &[text("s1"), text("s2")]).await;
    harness.publish_to(&stream().lane("urgent"), &[text("u1"), text("u2")]).await;
    let reverse = Ask { limit: 3, reverse: true, ..NEW };
    ensure_eq!(texts(&harness.poll("a", Ask { limit: 3, ..NEW }).await), ["u1", "u2", "s1"]);
    ensure_eq!(texts(&harness.poll("a", NEW).await), ["s2", "1", "2"]);
    harness.member_of = group("auditors");
    let last_first = harness.poll("a", reverse).await;
    ensure_eq!(texts(&last_first), ["1", "2", "s1"]);
    ensure_eq!(last_first[2].id.stream, stream().lane("soon"));
    harness.done("a", &last_first).await;
    let soon = harness.stats_of(&stream().lane("soon")).await;
    let counts: Vec<u64> = soon.groups.iter().map(|group| group.accounted()).collect();
    ensure_eq!(counts, [2, 2]);
    ensure_eq!(soon.groups[1].done, 1);
}

pub async fn redriven_letters_reach_their_own_group_alone<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(with_lanes()).await;
    harness.publish_to(&stream().redrives(&group("workers")), &[text("again")]).await;
    harness.member_of = group("auditors");
    ensure_eq!(harness.drain().await, []);
    harness.member_of = group("workers");
    let again = harness.poll("a", ANY).await;
    ensure_eq!(shown(&again), [("again".to_owned(), Why::New)]);
    harness.done("a", &again).await;
    let redrives = harness.stats_of(&stream().redrives(&group("workers"))).await;
    ensure_eq!(redrives.groups.len(), 1);
    ensure_eq!((redrives.groups[0].done, redrives.groups[0].accounted()), (1, 1));
}

pub async fn redriven_letters_keep_the_order_of_their_key<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let harness = open(setup).await;
    let first = harness.poll("m", Ask { limit: 1, ..ANY }).await;
    harness.publish_to(&stream().redrives(&group("workers")), &[of("a", "again")]).await;
    ensure_eq!(texts(&harness.poll("m", ANY).await), ["b1", "free", "too"]);
    harness.done("m", &first).await;
    let mut seen = Vec::new();
    loop {
        let next = harness.poll("m", ANY).await;
        if next.is_empty() {
            break;
        }
        ensure_eq!(next.len(), 1);
        seen.extend(texts(&next));
        harness.done("m", &next).await;
    }
    seen.sort_unstable();
    ensure_eq!(seen, ["a2", "a3", "again"]);
}

pub async fn a_member_that_is_given_nothing_new_shows_a_sign_of_life<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = open(setup).await;
    let held = harness.poll("m", Ask { limit: 1, ..ANY }).await;
    ensure_eq!(texts(&held), ["a1"]);
    ensure_eq!(texts(&harness.poll("n", ANY).await), ["b1", "free", "too"]);
    harness.pass(DEAD_AFTER).await;
    ensure_eq!(harness.poll("m", NEW).await, []);
    ensure!(!texts(&harness.poll("n", ANY).await).contains(&"a1".to_owned()), "m is alive");
}
