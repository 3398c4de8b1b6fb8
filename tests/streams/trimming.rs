//! How long a stream gets.

use silvertine::{
    engine::span::Span,
    streams::{Publication, Settled, StoreErrorKind, StreamSpec, Streams, Trim, WhenFull, Why},
};

use crate::{
    beds::Bed,
    desk::{
        ANY, Ask, DEAD_AFTER, Desk, LONG, dead, done, group, kind, plain, said, stream, text, texts,
    },
};

fn short(when_full: WhenFull) -> StreamSpec {
    let mut spec = plain();
    spec.max_len = Some(5);
    spec.when_full = when_full;
    spec
}

async fn publish_many<B: Bed>(desk: &Desk<B>, numbers: std::ops::Range<u32>) {
    let many: Vec<String> = numbers.map(|n| n.to_string()).collect();
    desk.publish(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn handle_all<B: Bed>(desk: &Desk<B>) {
    let all = desk.poll("a", Ask { limit: 1_000, ..ANY }).await;
    desk.done("a", &all).await;
}

pub async fn a_stream_whose_messages_are_handled_keeps_exactly_its_maximum<B: Bed>() {
    let mut desk = Desk::<B>::open(short(WhenFull::Grow)).await;
    for from in [0, 10, 20] {
        for n in from..from + 10 {
            publish_many(&desk, n..n + 1).await;
            handle_all(&desk).await;
            let length = desk.stats().await.length;
            assert_eq!(length, u64::from(n + 1).min(5));
        }
        desk.bed.reopen();
    }
    assert_eq!(desk.read(&stream()).await, ["25", "26", "27", "28", "29"]);
    let stats = desk.stats().await;
    assert_eq!((stats.added, stats.cut), (30, 0));
    let first = desk.streams().read(&stream(), Default::default(), 1).await.expect("reads");
    assert_eq!(stats.first, Some(first[0].0));
}

pub async fn a_stream_that_is_trimmed_approximately_does_not_grow_without_end<B: Bed>() {
    let mut spec = short(WhenFull::Grow);
    spec.trim = Trim::Approximate;
    let desk = Desk::<B>::open(spec).await;
    for n in 0..30 {
        publish_many(&desk, n * 20..n * 20 + 20).await;
        handle_all(&desk).await;
    }
    publish_many(&desk, 0..1).await;
    let length = desk.stats().await.length;
    assert!((5..=205).contains(&length), "{length}");
}

pub async fn a_full_stream_grows_while_messages_are_not_handled<B: Bed>() {
    let desk = Desk::<B>::open(short(WhenFull::Grow)).await;
    publish_many(&desk, 0..12).await;
    assert_eq!(desk.stats().await.length, 12);
    handle_all(&desk).await;
    publish_many(&desk, 12..13).await;
    let stats = desk.stats().await;
    assert_eq!((stats.length, stats.cut), (5, 0));
    assert_eq!(desk.counts().await.accounted(), 13);
}

pub async fn a_full_stream_refuses_until_a_group_has_caught_up<B: Bed>() {
    let desk = Desk::<B>::open(short(WhenFull::Refuse)).await;
    publish_many(&desk, 0..5).await;
    let one = [Publication::new(stream(), text("more"))];
    let refused = desk.streams().publish(&one, desk.now()).await;
    assert!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }));
    assert_eq!(desk.stats().await.length, 5);
    let first = desk.poll("a", Ask { limit: 2, ..ANY }).await;
    desk.done("a", &first[1..]).await;
    let refused = desk.streams().publish(&one, desk.now()).await;
    assert!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }), "the oldest is held");
    desk.done("a", &first[..1]).await;
    for _ in 0..2 {
        desk.streams().publish(&one, desk.now()).await.expect("there is room");
    }
    let two = [one[0].clone(), one[0].clone()];
    let refused = desk.streams().publish(&two, desk.now()).await;
    assert!(matches!(kind(refused), StoreErrorKind::RefusesWrites { .. }));
    let stats = desk.stats().await;
    assert_eq!((stats.length, stats.added, stats.cut), (5, 7, 0));
}

pub async fn a_full_stream_cuts_the_oldest_and_says_how_many<B: Bed>() {
    let mut desk = Desk::<B>::open(short(WhenFull::Cut)).await;
    let ids = desk.publish(&["held", "retried", "new"]).await;
    desk.poll("a", Ask { limit: 2, ..ANY }).await;
    desk.settle("a", &ids[1], crate::desk::retry(1, Span::from_millis(50))).await;
    publish_many(&desk, 0..10).await;
    let stats = desk.stats().await;
    assert_eq!((stats.length, stats.added, stats.cut), (5, 13, 8));
    let counts = desk.counts().await;
    assert_eq!((counts.waiting, counts.held, counts.retrying), (5, 1, 1));
    desk.bed.reopen();
    desk.pass(LONG).await;
    let gone = desk.poll("b", ANY).await;
    let shown: Vec<_> = gone.iter().map(|one| (said(one), one.why, one.id.clone())).collect();
    let gone_one = |why, id: usize| ("-".to_owned(), why, ids[id].clone());
    assert_eq!(shown[..2], [gone_one(Why::Reclaimed, 0), gone_one(Why::Due, 1)]);
    assert_eq!(texts(&gone[2..]), ["5", "6", "7", "8", "9"]);
    assert_eq!(desk.settle("b", &ids[0], dead(&ids[0])).await, Settled::Applied);
    assert_eq!(desk.settle("b", &ids[1], done("k")).await, Settled::Applied);
    desk.done("b", &gone[2..]).await;
    let counts = desk.counts().await;
    let lost_unseen = 6;
    assert_eq!((counts.dead, counts.done), (1, 6));
    assert_eq!(counts.accounted() + lost_unseen, 13);
    assert_eq!(counts.oldest, None);
}

pub async fn old_messages_go_once_they_are_handled<B: Bed>() {
    let mut spec = plain();
    spec.retention = Some(Span::from_millis(300));
    let mut desk = Desk::<B>::open(spec).await;
    publish_many(&desk, 0..3).await;
    desk.poll("a", Ask { limit: 1, ..ANY }).await;
    desk.pass(LONG).await;
    publish_many(&desk, 3..4).await;
    assert_eq!(desk.stats().await.length, 4, "none is handled");
    let all = desk.drain().await;
    assert_eq!(texts(&all), ["0", "1", "2", "3"]);
    desk.done("undertaker", &all[..2]).await;
    publish_many(&desk, 4..5).await;
    assert_eq!(desk.read(&stream()).await, ["2", "3", "4"]);
    desk.done("undertaker", &all[2..]).await;
    publish_many(&desk, 5..6).await;
    assert_eq!(desk.read(&stream()).await, ["4", "5"], "what is young stays");
}

pub async fn the_slowest_group_and_what_is_pending_hold_messages_back<B: Bed>() {
    let spec =
        short(WhenFull::Grow).with_group(silvertine::streams::GroupSpec::new(group("auditors")));
    let mut desk = Desk::<B>::open(spec).await;
    publish_many(&desk, 0..8).await;
    handle_all(&desk).await;
    publish_many(&desk, 8..9).await;
    assert_eq!(desk.stats().await.length, 9, "the auditors have seen none");
    desk.member_of = group("auditors");
    let taken = desk.poll("a", Ask { limit: 4, ..ANY }).await;
    desk.done("a", &taken[..1]).await;
    desk.settle("a", &taken[1].id, crate::desk::retry(1, LONG)).await;
    desk.done("a", &taken[2..]).await;
    publish_many(&desk, 9..10).await;
    assert_eq!(desk.read(&stream()).await[0], "1", "its retry waits");
    desk.pass(DEAD_AFTER).await;
    desk.pass(LONG).await;
    let due = desk.poll("a", Ask { limit: 1, ..ANY }).await;
    assert_eq!(texts(&due), ["1"]);
    desk.done("a", &due).await;
    publish_many(&desk, 10..11).await;
    assert_eq!(desk.read(&stream()).await[0], "4");
}

pub async fn a_stream_without_groups_keeps_its_newest<B: Bed>() {
    let mut spec = StreamSpec::new(stream());
    spec.max_len = Some(5);
    spec.when_full = WhenFull::Refuse;
    let desk = Desk::<B>::open(spec).await;
    publish_many(&desk, 0..20).await;
    assert_eq!(desk.read(&stream()).await, ["15", "16", "17", "18", "19"]);
}
