//! What happens together with the end of a message.

use silvertine_engine::span::Span;
use silvertine_streams::{
    Disposition, Message, Publication, Settled, StoreErrorKind, StreamSpec, WhenFull,
};

use super::{
    StreamsFixture,
    harness::{
        ANY, Ask, Harness, LONG, STARTED, Setup, done, kind, letter, name, outputs, plain,
        plainly_done, stream, text, texts, workers,
    },
};
use crate::breach::{Must, broken, ensure, ensure_eq};

fn done_and(key: &str, emit: &[Publication]) -> Disposition {
    Disposition::Done { key: Some(key.into()), emit: emit.to_vec() }
}

fn out(said: &str) -> Publication {
    Publication::new(outputs(), text(said))
}

fn keyed(said: &str, key: &str) -> Message {
    text(said).with_key(key)
}

pub async fn what_a_handler_emits_is_published_in_the_same_step<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1", "2"]).await;
    harness.poll("a", ANY).await;
    let emit = [out("x"), Publication::new(stream(), text("back")), out("y")];
    let settlements = [(ids[0].clone(), done_and("1", &emit)), (ids[1].clone(), done("2"))];
    let settled = harness.try_settle("a", &settlements).await.must("settles");
    ensure_eq!(settled, [Settled::Applied; 2]);
    harness.restart();
    ensure_eq!(harness.read(&outputs()).await, ["x", "y"]);
    ensure_eq!(texts(&harness.poll("a", STARTED).await), ["back"]);
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.held, counts.accounted()), (2, 1, 3));
}

pub async fn a_step_that_is_refused_leaves_nothing<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut narrow = StreamSpec::new(name("mgmt:narrow:results")).with_group(workers());
    narrow.max_len = Some(1);
    narrow.when_full = WhenFull::Refuse;
    let full = narrow.name.clone();
    let specs = vec![plain(), StreamSpec::new(outputs()), narrow];
    let mut harness = setup.open_all(specs).await;
    harness.publish_to(&full, &[text("occupied")]).await;
    let ids = harness.publish(&["1", "2"]).await;
    harness.poll("a", ANY).await;
    let before = harness.stats_at_rest().await;
    let unknown = Publication::new(name("no:such:stream"), text("z"));
    for (bad, is_full) in [(unknown, false), (Publication::new(full, text("z")), true)] {
        let settlements =
            [(ids[0].clone(), done("1")), (ids[1].clone(), done_and("2", &[out("x"), bad]))];
        let refused = kind(harness.try_settle("a", &settlements).await);
        match refused {
            StoreErrorKind::RefusesWrites { .. } => ensure!(is_full),
            StoreErrorKind::Invalid { .. } => ensure!(!is_full),
            other => broken!("{other}"),
        }
        harness.restart();
        ensure_eq!(harness.stats_at_rest().await, before);
        ensure_eq!(harness.read(&outputs()).await, [""; 0]);
    }
    ensure_eq!(texts(&harness.poll("a", STARTED).await), ["1", "2"]);
    ensure_eq!(harness.settle("a", &ids[1], done("2")).await, Settled::Applied);
}

pub async fn a_message_that_comes_again_is_settled_and_its_outputs_are_dropped<
    F: StreamsFixture,
>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    harness.publish_to(&stream(), &[keyed("1", "k")]).await;
    let first = harness.poll("a", ANY).await;
    ensure!(!first[0].done);
    ensure_eq!(
        harness.settle("a", &first[0].id, done_and("k", &[out("x")])).await,
        Settled::Applied
    );
    harness.publish_to(&stream(), &[keyed("again", "k"), keyed("other", "l")]).await;
    harness.restart();
    let second = harness.poll("b", STARTED).await;
    ensure_eq!(second.iter().map(|one| one.done).collect::<Vec<_>>(), [true, false]);
    let settled = harness.settle("b", &second[0].id, done_and("k", &[out("y")])).await;
    ensure_eq!(settled, Settled::Duplicate);
    let again = harness.settle("b", &second[0].id, done_and("k", &[out("y")])).await;
    ensure_eq!(again, Settled::Lost);
    ensure_eq!(harness.read(&outputs()).await, ["x"]);
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.duplicates, counts.held), (1, 1, 1));
    ensure_eq!(counts.accounted(), 3);
}

pub async fn of_two_messages_with_one_key_settled_together_one_counts<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(plain()).await;
    harness.publish_to(&stream(), &[keyed("1", "k"), keyed("2", "k")]).await;
    let both = harness.poll("a", ANY).await;
    ensure!(both.iter().all(|one| !one.done));
    let settlements = [
        (both[0].id.clone(), done_and("k", &[out("x")])),
        (both[1].id.clone(), done_and("k", &[out("y")])),
    ];
    let settled = harness.try_settle("a", &settlements).await.must("settles");
    ensure_eq!(settled, [Settled::Applied, Settled::Duplicate]);
    ensure_eq!(harness.read(&outputs()).await, ["x"]);
}

pub async fn a_place_is_no_key_that_somebody_else_could_have<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(plain()).await;
    harness.publish_to(&stream(), &[text("1")]).await;
    let first = harness.poll("a", ANY).await;
    let place = first[0].id.to_string();
    ensure_eq!(harness.settle("a", &first[0].id, plainly_done()).await, Settled::Applied);
    harness.publish_to(&stream(), &[keyed("2", &place)]).await;
    let second = harness.poll("a", ANY).await;
    ensure!(!second[0].done);
    let settled = harness.settle("a", &second[0].id, done_and(&place, &[out("x")])).await;
    ensure_eq!(settled, Settled::Applied);
    let counts = harness.counts().await;
    ensure_eq!((counts.done, counts.duplicates), (2, 0));
}

pub async fn a_key_is_forgotten_when_its_window_is_over<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut workers = workers();
    workers.idempotency_window = Span::from_millis(300);
    let spec = StreamSpec::new(stream()).with_group(workers);
    let mut harness = setup.open(spec).await;
    let handle = async |harness: &Harness<F>, known: bool| {
        harness.publish_to(&stream(), &[keyed("1", "k")]).await;
        let one = harness.poll("a", ANY).await;
        ensure_eq!(one[0].done, known);
        let settled = harness.settle("a", &one[0].id, done("k")).await;
        ensure_eq!(settled, if known { Settled::Duplicate } else { Settled::Applied });
    };
    handle(&harness, false).await;
    handle(&harness, true).await;
    harness.pass(LONG).await;
    handle(&harness, false).await;
    handle(&harness, true).await;
    harness.pass(LONG).await;
    harness.restart();
    handle(&harness, false).await;
}

pub async fn so_many_keys_are_remembered_and_the_oldest_go_first<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let mut workers = workers();
    workers.idempotency_entries = 20;
    let spec = StreamSpec::new(stream()).with_group(workers);
    let mut harness = setup.open(spec).await;
    for n in 0..100 {
        harness.publish_to(&stream(), &[keyed("x", &n.to_string())]).await;
        let one = harness.poll("a", ANY).await;
        harness.settle("a", &one[0].id, done(&n.to_string())).await;
        harness.pass(Span::from_millis(1)).await;
    }
    harness.restart();
    let again: Vec<Message> = (0..100).map(|n| keyed("x", &n.to_string())).collect();
    harness.publish_to(&stream(), &again).await;
    let known = harness.poll("a", Ask { limit: 100, ..ANY }).await;
    let known: Vec<bool> = known.iter().map(|one| one.done).collect();
    ensure_eq!(known, (0..100).map(|n| n >= 80).collect::<Vec<_>>());
}

pub async fn without_a_window_no_key_is_remembered<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut workers = workers();
    workers.idempotency_window = Span::ZERO;
    let harness = setup.open(StreamSpec::new(stream()).with_group(workers)).await;
    for _ in 0..2 {
        harness.publish_to(&stream(), &[keyed("1", "k")]).await;
        let one = harness.poll("a", ANY).await;
        ensure!(!one[0].done);
        ensure_eq!(harness.settle("a", &one[0].id, done("k")).await, Settled::Applied);
    }
}

pub async fn a_dead_letter_is_written_in_the_same_step<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = harness.publish(&["1"]).await;
    harness.poll("a", ANY).await;
    let given_up = letter(&ids[0], "1");
    let disposition = Disposition::Dead(Box::new(given_up.clone()));
    ensure_eq!(harness.settle("a", &ids[0], disposition).await, Settled::Applied);
    harness.restart();
    let letters: Vec<_> = harness.letters().await.into_iter().map(|(_, letter)| letter).collect();
    ensure_eq!(letters, [given_up]);
    let counts = harness.counts().await;
    ensure_eq!((counts.dead, counts.accounted(), harness.stats().await.dead), (1, 1, 1));
    ensure_eq!(harness.drain().await, []);
}
