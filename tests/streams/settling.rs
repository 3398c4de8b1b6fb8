//! What happens together with the end of a message.

use silvertine::{
    engine::span::Span,
    streams::{Disposition, Message, Publication, Settled, StoreErrorKind, StreamSpec, WhenFull},
};

use crate::{
    beds::Bed,
    desk::{
        ANY, Ask, Desk, LONG, STARTED, done, kind, letter, name, outputs, plain, plainly_done,
        stream, text, texts, workers,
    },
};

fn done_and(key: &str, emit: &[Publication]) -> Disposition {
    Disposition::Done { key: Some(key.into()), emit: emit.to_vec() }
}

fn out(said: &str) -> Publication {
    Publication::new(outputs(), text(said))
}

fn keyed(said: &str, key: &str) -> Message {
    text(said).with_key(key)
}

pub async fn what_a_handler_emits_is_published_in_the_same_step<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1", "2"]).await;
    desk.poll("a", ANY).await;
    let emit = [out("x"), Publication::new(stream(), text("back")), out("y")];
    let settlements = [(ids[0].clone(), done_and("1", &emit)), (ids[1].clone(), done("2"))];
    let settled = desk.try_settle("a", &settlements).await.expect("settles");
    assert_eq!(settled, [Settled::Applied; 2]);
    desk.bed.reopen();
    assert_eq!(desk.read(&outputs()).await, ["x", "y"]);
    assert_eq!(texts(&desk.poll("a", STARTED).await), ["back"]);
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.held, counts.accounted()), (2, 1, 3));
}

pub async fn a_step_that_is_refused_leaves_nothing<B: Bed>() {
    let mut narrow = StreamSpec::new(name("mgmt:narrow:results")).with_group(workers());
    narrow.max_len = Some(1);
    narrow.when_full = WhenFull::Refuse;
    let full = narrow.name.clone();
    let specs = vec![plain(), StreamSpec::new(outputs()), narrow];
    let mut desk = Desk::<B>::open_all(specs).await;
    desk.publish_to(&full, &[text("occupied")]).await;
    let ids = desk.publish(&["1", "2"]).await;
    desk.poll("a", ANY).await;
    let before = desk.stats_at_rest().await;
    let unknown = Publication::new(name("no:such:stream"), text("z"));
    for (bad, is_full) in [(unknown, false), (Publication::new(full, text("z")), true)] {
        let settlements =
            [(ids[0].clone(), done("1")), (ids[1].clone(), done_and("2", &[out("x"), bad]))];
        let refused = kind(desk.try_settle("a", &settlements).await);
        match refused {
            StoreErrorKind::RefusesWrites { .. } => assert!(is_full),
            StoreErrorKind::Invalid { .. } => assert!(!is_full),
            other => panic!("{other}"),
        }
        desk.bed.reopen();
        assert_eq!(desk.stats_at_rest().await, before);
        assert_eq!(desk.read(&outputs()).await, [""; 0]);
    }
    assert_eq!(texts(&desk.poll("a", STARTED).await), ["1", "2"]);
    assert_eq!(desk.settle("a", &ids[1], done("2")).await, Settled::Applied);
}

pub async fn a_message_that_comes_again_is_settled_and_its_outputs_are_dropped<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    desk.publish_to(&stream(), &[keyed("1", "k")]).await;
    let first = desk.poll("a", ANY).await;
    assert!(!first[0].done);
    assert_eq!(desk.settle("a", &first[0].id, done_and("k", &[out("x")])).await, Settled::Applied);
    desk.publish_to(&stream(), &[keyed("again", "k"), keyed("other", "l")]).await;
    desk.bed.reopen();
    let second = desk.poll("b", STARTED).await;
    assert_eq!(second.iter().map(|one| one.done).collect::<Vec<_>>(), [true, false]);
    let settled = desk.settle("b", &second[0].id, done_and("k", &[out("y")])).await;
    assert_eq!(settled, Settled::Duplicate);
    let again = desk.settle("b", &second[0].id, done_and("k", &[out("y")])).await;
    assert_eq!(again, Settled::Lost);
    assert_eq!(desk.read(&outputs()).await, ["x"]);
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.duplicates, counts.held), (1, 1, 1));
    assert_eq!(counts.accounted(), 3);
}

pub async fn of_two_messages_with_one_key_settled_together_one_counts<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    desk.publish_to(&stream(), &[keyed("1", "k"), keyed("2", "k")]).await;
    let both = desk.poll("a", ANY).await;
    assert!(both.iter().all(|one| !one.done));
    let settlements = [
        (both[0].id.clone(), done_and("k", &[out("x")])),
        (both[1].id.clone(), done_and("k", &[out("y")])),
    ];
    let settled = desk.try_settle("a", &settlements).await.expect("settles");
    assert_eq!(settled, [Settled::Applied, Settled::Duplicate]);
    assert_eq!(desk.read(&outputs()).await, ["x"]);
}

pub async fn a_place_is_no_key_that_somebody_else_could_have<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    desk.publish_to(&stream(), &[text("1")]).await;
    let first = desk.poll("a", ANY).await;
    let place = first[0].id.to_string();
    assert_eq!(desk.settle("a", &first[0].id, plainly_done()).await, Settled::Applied);
    desk.publish_to(&stream(), &[keyed("2", &place)]).await;
    let second = desk.poll("a", ANY).await;
    assert!(!second[0].done);
    let settled = desk.settle("a", &second[0].id, done_and(&place, &[out("x")])).await;
    assert_eq!(settled, Settled::Applied);
    let counts = desk.counts().await;
    assert_eq!((counts.done, counts.duplicates), (2, 0));
}

pub async fn a_key_is_forgotten_when_its_window_is_over<B: Bed>() {
    let mut workers = workers();
    workers.idempotency_window = Span::from_millis(300);
    let spec = StreamSpec::new(stream()).with_group(workers);
    let mut desk = Desk::<B>::open(spec).await;
    let handle = async |desk: &Desk<B>, known: bool| {
        desk.publish_to(&stream(), &[keyed("1", "k")]).await;
        let one = desk.poll("a", ANY).await;
        assert_eq!(one[0].done, known);
        let settled = desk.settle("a", &one[0].id, done("k")).await;
        assert_eq!(settled, if known { Settled::Duplicate } else { Settled::Applied });
    };
    handle(&desk, false).await;
    handle(&desk, true).await;
    desk.pass(LONG).await;
    handle(&desk, false).await;
    handle(&desk, true).await;
    desk.pass(LONG).await;
    desk.bed.reopen();
    handle(&desk, false).await;
}

pub async fn so_many_keys_are_remembered_and_the_oldest_go_first<B: Bed>() {
    let mut workers = workers();
    workers.idempotency_entries = 20;
    let spec = StreamSpec::new(stream()).with_group(workers);
    let mut desk = Desk::<B>::open(spec).await;
    for n in 0..100 {
        desk.publish_to(&stream(), &[keyed("x", &n.to_string())]).await;
        let one = desk.poll("a", ANY).await;
        desk.settle("a", &one[0].id, done(&n.to_string())).await;
        desk.pass(Span::from_millis(1)).await;
    }
    desk.bed.reopen();
    let again: Vec<Message> = (0..100).map(|n| keyed("x", &n.to_string())).collect();
    desk.publish_to(&stream(), &again).await;
    let known = desk.poll("a", Ask { limit: 100, ..ANY }).await;
    let known: Vec<bool> = known.iter().map(|one| one.done).collect();
    assert_eq!(known, (0..100).map(|n| n >= 80).collect::<Vec<_>>());
}

pub async fn without_a_window_no_key_is_remembered<B: Bed>() {
    let mut workers = workers();
    workers.idempotency_window = Span::ZERO;
    let desk = Desk::<B>::open(StreamSpec::new(stream()).with_group(workers)).await;
    for _ in 0..2 {
        desk.publish_to(&stream(), &[keyed("1", "k")]).await;
        let one = desk.poll("a", ANY).await;
        assert!(!one[0].done);
        assert_eq!(desk.settle("a", &one[0].id, done("k")).await, Settled::Applied);
    }
}

pub async fn a_dead_letter_is_written_in_the_same_step<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = desk.publish(&["1"]).await;
    desk.poll("a", ANY).await;
    let given_up = letter(&ids[0], "1");
    let disposition = Disposition::Dead(Box::new(given_up.clone()));
    assert_eq!(desk.settle("a", &ids[0], disposition).await, Settled::Applied);
    desk.bed.reopen();
    let letters: Vec<_> = desk.letters().await.into_iter().map(|(_, letter)| letter).collect();
    assert_eq!(letters, [given_up]);
    let counts = desk.counts().await;
    assert_eq!((counts.dead, counts.accounted(), desk.stats().await.dead), (1, 1, 1));
    assert_eq!(desk.drain().await, []);
}
