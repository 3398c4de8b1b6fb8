//! Which of several messages comes first.

use silvertine::streams::{GroupSpec, Message, Settled, StreamSpec, Why};

use crate::{
    beds::Bed,
    desk::{
        ANY, Ask, DEAD_AFTER, Desk, LONG, NEW, PAUSE, dead, group, plain, retry, shown, stream,
        text, texts, workers,
    },
};

fn ordered() -> StreamSpec {
    let mut workers = workers();
    workers.order_by = Some("account".to_owned());
    StreamSpec::new(stream()).with_group(workers)
}

fn of(account: &str, said: &str) -> Message {
    text(said).with("account", account)
}

async fn open<B: Bed>() -> Desk<B> {
    let desk = Desk::<B>::open(ordered()).await;
    let messages =
        [of("a", "a1"), of("a", "a2"), of("b", "b1"), of("a", "a3"), text("free"), text("too")];
    desk.publish_to(&stream(), &messages).await;
    desk
}

pub async fn messages_of_one_key_come_one_after_the_other_over_all_members<B: Bed>() {
    let mut desk = open::<B>().await;
    let first = desk.poll("m", Ask { limit: 2, ..ANY }).await;
    assert_eq!(texts(&first), ["a1", "b1"]);
    assert_eq!(texts(&desk.poll("n", ANY).await), ["free", "too"]);
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.blocked, counts.waiting), (4, 2, 0));
    desk.bed.reopen();
    assert_eq!(desk.poll("n", ANY).await, []);
    desk.done("m", &first[..1]).await;
    let next = desk.poll("n", ANY).await;
    assert_eq!(shown(&next), [("a2".to_owned(), Why::Due)]);
    assert_eq!((next[0].deliveries, next[0].tries.attempts), (1, 0));
    desk.publish_to(&stream(), &[of("a", "a4"), of("b", "b2")]).await;
    assert_eq!(desk.poll("n", ANY).await, []);
    desk.done("n", &next).await;
    let next = desk.poll("m", ANY).await;
    assert_eq!(texts(&next), ["a3"]);
    desk.done("m", &next).await;
    assert_eq!(texts(&desk.poll("m", ANY).await), ["a4"]);
    desk.done("m", &first[1..]).await;
    assert_eq!(texts(&desk.poll("m", ANY).await), ["b2"]);
    let counts = desk.counts().await;
    assert_eq!((counts.blocked, counts.done, counts.accounted()), (0, 4, 8));
}

pub async fn a_key_stays_taken_while_its_message_waits_for_a_retry_or_changes_hands<B: Bed>() {
    let mut desk = open::<B>().await;
    let first = desk.poll("m", Ask { limit: 1, ..ANY }).await;
    assert_eq!(texts(&first), ["a1"]);
    desk.settle("m", &first[0].id, retry(1, PAUSE)).await;
    assert_eq!(texts(&desk.poll("m", ANY).await), ["b1", "free", "too"]);
    desk.bed.reopen();
    desk.pass(LONG).await;
    let again = desk.poll("n", NEW).await;
    assert_eq!(again, []);
    let again = desk.poll("n", Ask { limit: 10, ..ANY }).await;
    assert!(texts(&again).contains(&"a1".to_owned()));
    assert!(!texts(&again).contains(&"a2".to_owned()));
    desk.pass(DEAD_AFTER).await;
    let reclaimed = desk.poll("o", ANY).await;
    assert!(texts(&reclaimed).contains(&"a1".to_owned()));
    assert_eq!(desk.counts().await.blocked, 2);
    desk.done("o", &reclaimed).await;
    assert_eq!(texts(&desk.poll("o", ANY).await), ["a2"]);
}

pub async fn the_next_of_a_key_comes_up_when_the_one_before_is_dead<B: Bed>() {
    let desk = open::<B>().await;
    let first = desk.poll("m", Ask { limit: 1, ..ANY }).await;
    let id = &first[0].id;
    assert_eq!(desk.settle("m", id, dead(id)).await, Settled::Applied);
    assert_eq!(texts(&desk.poll("m", ANY).await), ["a2", "b1", "free", "too"]);
    let counts = desk.counts().await;
    assert_eq!((counts.dead, counts.blocked, counts.accounted()), (1, 1, 6));
}

pub async fn a_long_queue_behind_one_key_keeps_its_order<B: Bed>() {
    let desk = Desk::<B>::open(ordered()).await;
    let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let messages: Vec<Message> = many.iter().map(|said| of("a", said)).collect();
    desk.publish_to(&stream(), &messages).await;
    for expected in &many {
        let next = desk.poll("m", ANY).await;
        assert_eq!(texts(&next), [expected.as_str()]);
        desk.done("m", &next).await;
    }
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.accounted()), (300, 300));
}

fn with_lanes() -> StreamSpec {
    let mut spec = plain().with_group(GroupSpec::new(group("auditors")));
    spec.lanes = vec!["urgent".to_owned(), "soon".to_owned()];
    spec
}

pub async fn urgent_lanes_come_first_and_last_when_asked_in_reverse<B: Bed>() {
    let mut desk = Desk::<B>::open(with_lanes()).await;
    desk.publish(&["1", "2"]).await;
    desk.publish_to(&stream().lane("soon"), &[text("s1"), text("s2")]).await;
    desk.publish_to(&stream().lane("urgent"), &[text("u1"), text("u2")]).await;
    let reverse = Ask { limit: 3, reverse: true, ..NEW };
    assert_eq!(texts(&desk.poll("a", Ask { limit: 3, ..NEW }).await), ["u1", "u2", "s1"]);
    assert_eq!(texts(&desk.poll("a", NEW).await), ["s2", "1", "2"]);
    desk.member_of = group("auditors");
    let last_first = desk.poll("a", reverse).await;
    assert_eq!(texts(&last_first), ["1", "2", "s1"]);
    assert_eq!(last_first[2].id.stream, stream().lane("soon"));
    desk.done("a", &last_first).await;
    let soon = desk.stats_of(&stream().lane("soon")).await;
    let counts: Vec<u64> = soon.groups.iter().map(|group| group.accounted()).collect();
    assert_eq!(counts, [2, 2]);
    assert_eq!(soon.groups[1].done, 1);
}

pub async fn replays_reach_their_own_group_alone<B: Bed>() {
    let mut desk = Desk::<B>::open(with_lanes()).await;
    desk.publish_to(&stream().redrives(&group("workers")), &[text("again")]).await;
    desk.member_of = group("auditors");
    assert_eq!(desk.drain().await, []);
    desk.member_of = group("workers");
    let again = desk.poll("a", ANY).await;
    assert_eq!(shown(&again), [("again".to_owned(), Why::New)]);
    desk.done("a", &again).await;
    let replays = desk.stats_of(&stream().redrives(&group("workers"))).await;
    assert_eq!(replays.groups.len(), 1);
    assert_eq!((replays.groups[0].done, replays.groups[0].accounted()), (1, 1));
}

pub async fn replays_keep_the_order_of_their_key<B: Bed>() {
    let desk = open::<B>().await;
    let first = desk.poll("m", Ask { limit: 1, ..ANY }).await;
    desk.publish_to(&stream().redrives(&group("workers")), &[of("a", "again")]).await;
    assert_eq!(texts(&desk.poll("m", ANY).await), ["b1", "free", "too"]);
    desk.done("m", &first).await;
    let mut seen = Vec::new();
    loop {
        let next = desk.poll("m", ANY).await;
        if next.is_empty() {
            break;
        }
        assert_eq!(next.len(), 1);
        seen.extend(texts(&next));
        desk.done("m", &next).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, ["a2", "a3", "again"]);
}

pub async fn a_member_that_is_given_nothing_new_shows_a_sign_of_life<B: Bed>() {
    let mut desk = open::<B>().await;
    let held = desk.poll("m", Ask { limit: 1, ..ANY }).await;
    assert_eq!(texts(&held), ["a1"]);
    assert_eq!(texts(&desk.poll("n", ANY).await), ["b1", "free", "too"]);
    desk.pass(DEAD_AFTER).await;
    assert_eq!(desk.poll("m", NEW).await, []);
    assert!(!texts(&desk.poll("n", ANY).await).contains(&"a1".to_owned()), "m is alive");
}
