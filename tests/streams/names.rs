//! Streams and their edges: declaring, publishing, relaying, reading, small records, what is refused.

use silvertine::{
    engine::{log::Applied, pos::Pos},
    streams::{
        Member, Message, Publication, StoreError, StoreErrorKind, Streams,
        message::{BYTES_MAX, FIELDS_MAX},
    },
};

use crate::{
    beds::Bed,
    desk::{ANY, Desk, group, kind, letter, name, outputs, plain, spoken, stream, text, texts},
};

pub async fn declaring_again_changes_nothing<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    desk.publish(&["1", "2"]).await;
    let first = desk.poll("a", crate::desk::Ask { limit: 1, ..ANY }).await;
    assert_eq!(texts(&first), ["1"]);
    let before = desk.stats_at_rest().await;
    desk.streams().declare(desk.now()).await.expect("declares");
    desk.bed.reopen();
    desk.streams().declare(desk.now()).await.expect("declares");
    let after = desk.stats_at_rest().await;
    assert_eq!((after.groups[0].held, after.groups[0].waiting), (1, 1));
    assert_eq!((after.added, after.length, after.last), (before.added, before.length, before.last));
}

pub async fn ids_rise_and_reading_pages_through_them<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let mut ids = desk.publish(&["1", "2", "3"]).await;
    desk.bed.reopen();
    ids.extend(desk.publish(&["4", "5"]).await);
    assert!(ids.windows(2).all(|pair| pair[0].id < pair[1].id));
    let (mut after, mut seen) = (Pos::ZERO, Vec::new());
    loop {
        let page = desk.streams().read(&stream(), after, 2).await.expect("reads");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        seen.extend(page.iter().map(|(id, message)| (*id, spoken(message))));
    }
    let expected = ids.iter().zip(["1", "2", "3", "4", "5"]);
    assert_eq!(seen, expected.map(|(id, said)| (id.id, said.to_owned())).collect::<Vec<_>>());
    let stats = desk.stats().await;
    assert_eq!((stats.last, stats.first), (ids[4].id, Some(ids[0].id)));
    let end = Pos { ms: u64::MAX, seq: u64::MAX };
    assert_eq!(desk.streams().read(&stream(), end, 2).await, Ok(vec![]));
}

pub async fn a_message_comes_as_it_was_published<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let odd = Message::from_fields(vec![
        (b"data".to_vec(), vec![0, 255, 10]),
        (vec![], vec![]),
        (b"data".to_vec(), b"twice".to_vec()),
        (b"large".to_vec(), vec![7; 300_000]),
    ]);
    desk.publish_to(&stream(), std::slice::from_ref(&odd)).await;
    desk.bed.reopen();
    assert_eq!(desk.poll("a", ANY).await[0].message.as_ref(), Some(&odd));
    let read = desk.streams().read(&stream(), Pos::ZERO, 1).await.expect("reads");
    assert_eq!(read[0].1, odd);
}

pub async fn relaying_again_adds_nothing<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let at = |ms, seq| (Pos { ms, seq }, Publication::new(stream(), text(&format!("{ms}-{seq}"))));
    let first = [at(5, 1), at(5, 2), at(9, 0)];
    assert_eq!(desk.streams().relay(&first, desk.now()).await, Ok(3));
    assert_eq!(desk.streams().relay(&first, desk.now()).await, Ok(0));
    desk.bed.reopen();
    let more = [at(5, 2), at(9, 0), at(9, 1)];
    assert_eq!(desk.streams().relay(&more, desk.now()).await, Ok(1));
    assert_eq!(desk.read(&stream()).await, ["5-1", "5-2", "9-0", "9-1"]);
    let taken = desk.poll("a", ANY).await;
    assert_eq!(taken[3].id.id, Pos { ms: 9, seq: 1 });
    let counts = desk.counts().await;
    assert_eq!((counts.held, counts.accounted(), desk.stats().await.added), (4, 4, 4));
}

pub async fn a_record_is_replaced_only_where_it_is_as_expected<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let swap = async |desk: &Desk<B>, name: &str, expected: Option<&str>, new: Option<&str>| {
        let (expected, new) = (expected.map(str::as_bytes), new.map(str::as_bytes));
        desk.streams().swap_record(&stream(), name, expected, new).await.expect("writes")
    };
    assert!(!swap(&desk, "r", Some("x"), Some("y")).await);
    assert!(swap(&desk, "r", None, Some("1")).await);
    assert!(!swap(&desk, "r", None, Some("2")).await);
    assert!(swap(&desk, "other", None, Some("")).await);
    desk.bed.reopen();
    assert!(swap(&desk, "r", Some("1"), Some("2")).await);
    let read = async |name: &str| desk.streams().record(&stream(), name).await;
    assert_eq!(read("r").await, Ok(Some(b"2".to_vec())));
    assert_eq!(read("other").await, Ok(Some(Vec::new())));
    assert!(swap(&desk, "r", Some("2"), None).await);
    assert_eq!(read("r").await, Ok(None));
}

pub async fn names_that_the_topology_does_not_have_are_refused<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    let (streams, now, unknown) = (desk.streams(), desk.now(), name("no:such:stream"));
    let publication = Publication::new(unknown.clone(), text("x"));
    let good = Publication::new(stream(), text("x"));
    let invalid = |what: &str, error: Option<StoreError>| {
        let error = error.unwrap_or_else(|| panic!("{what} must be refused"));
        assert!(matches!(error.kind, StoreErrorKind::Invalid { .. }), "{what}: {error}");
        assert_eq!(error.applied, Applied::No, "{what}");
    };
    let published = streams.publish(&[good, publication.clone()], now).await;
    invalid("publish", published.err());
    assert_eq!(desk.stats().await.added, 0, "all or none");
    invalid("relay", streams.relay(&[(Pos { ms: 1, seq: 1 }, publication)], now).await.err());
    invalid("read", streams.read(&unknown, Pos::ZERO, 1).await.err());
    invalid("dead letters", streams.dead_letters(&unknown, Pos::ZERO, 1).await.err());
    let id = desk.publish(&["1"]).await.remove(0);
    let letters = [letter(&id, "x")];
    invalid("bury", streams.bury(&unknown, &letters, now).await.err());
    invalid("amend", streams.amend(&unknown, &[], &[], now).await.err());
    invalid("record", streams.record(&unknown, "r").await.err());
    invalid("swap", streams.swap_record(&unknown, "r", None, None).await.err());
    assert_eq!(streams.stream_stats(&unknown, now).await, Ok(None));
    let strangers = [
        Member { stream: unknown, ..desk.member("a") },
        Member { group: group("strangers"), ..desk.member("a") },
    ];
    for member in strangers {
        invalid("begin", streams.begin(&member, &[], now).await.err());
        invalid("settle", streams.settle(&member, &[], now).await.err());
        invalid("extend", streams.extend(&member, &[], now).await.err());
        invalid("leave", streams.leave(&member, now).await.err());
    }
}

pub async fn messages_beyond_the_limits_are_refused<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    let mut wide = Message::default();
    for _ in 0..=FIELDS_MAX {
        wide = wide.with("a", "b");
    }
    let large = Message::default().with("data", vec![0; BYTES_MAX - 3]);
    for message in [Message::default(), wide, large] {
        let both = [text("good"), message].map(|one| Publication::new(outputs(), one));
        let refused = kind(desk.streams().publish(&both, desk.now()).await);
        assert!(matches!(refused, StoreErrorKind::Invalid { .. }));
    }
    assert_eq!(desk.read(&outputs()).await, [""; 0]);
    desk.publish_to(&outputs(), &[Message::default().with("data", vec![0; BYTES_MAX - 4])]).await;
}
