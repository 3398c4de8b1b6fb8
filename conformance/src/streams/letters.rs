//! Dead letters, and what people do about them.

use silvertine_engine::{pos::Pos, span::Span};
use silvertine_streams::{
    Amendment, DeadChange, DeadLetter, DeadState, GroupSpec, MessageId, Publication, Status,
    Streams, Why,
};

use super::{
    StreamsFixture,
    harness::{
        ANY, Harness, LONG, Setup, group, letter, outputs, plain, shown, spoken, stream, text,
    },
};
use crate::breach::{Must, ensure, ensure_eq};

async fn bury<F: StreamsFixture>(harness: &Harness<F>, said: &[&str]) -> Vec<Pos> {
    let id = MessageId { stream: stream(), id: Pos { ms: 1, seq: 2 } };
    let letters: Vec<DeadLetter> = said.iter().map(|said| letter(&id, said)).collect();
    harness.streams().bury(&stream(), &letters, harness.now()).await.must("buries")
}

fn state(status: Status) -> DeadState {
    DeadState { status, ..DeadState::default() }
}

fn mark(id: Pos, from: Status, to: Status) -> Amendment {
    Amendment { id, expected: state(from), change: DeadChange::Mark(state(to)) }
}

fn audit() -> [Publication; 1] {
    [Publication::new(outputs(), text("audit"))]
}

impl<F: StreamsFixture> Harness<F> {
    async fn amend(&self, amendments: &[Amendment]) -> Vec<bool> {
        let amended = self.streams().amend(&stream(), amendments, &audit(), self.now()).await;
        amended.must("amends")
    }
}

pub async fn dead_letters_are_read_in_pages<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = bury(&harness, &["1", "2", "3", "4", "5"]).await;
    ensure!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    harness.restart();
    let (mut after, mut seen) = (Pos::ZERO, Vec::new());
    loop {
        let page = harness.streams().dead_letters(&stream(), after, 2).await.must("reads");
        let Some((last, _)) = page.last() else { break };
        ensure!(page.len() <= 2);
        after = *last;
        seen.extend(page.into_iter().map(|(id, letter)| (id, spoken(&letter.message))));
    }
    let expected = ids.into_iter().zip(["1", "2", "3", "4", "5"].map(str::to_owned));
    ensure_eq!(seen, expected.collect::<Vec<_>>());
    ensure_eq!(harness.stats().await.dead, 5);
}

pub async fn of_two_people_who_change_a_letter_one_is_told_that_it_was_too_late<
    F: StreamsFixture,
>(
    setup: &Setup<'_, F>,
) {
    let mut harness = setup.open(plain()).await;
    let ids = bury(&harness, &["1", "2"]).await;
    ensure_eq!(harness.amend(&[mark(ids[0], Status::New, Status::Held)]).await, [true]);
    let second = [
        mark(ids[0], Status::New, Status::Discarded),
        mark(ids[1], Status::New, Status::Discarded),
        mark(Pos { ms: 1, seq: 1 }, Status::New, Status::Held),
    ];
    ensure_eq!(harness.amend(&second).await, [false, true, false]);
    harness.restart();
    let states: Vec<Status> =
        harness.letters().await.iter().map(|(_, letter)| letter.state.status).collect();
    ensure_eq!(states, [Status::Held, Status::Discarded]);
}

pub async fn an_audit_is_published_only_when_something_changed<F: StreamsFixture>(
    setup: &Setup<'_, F>,
) {
    let harness = setup.open(plain()).await;
    let ids = bury(&harness, &["1"]).await;
    ensure_eq!(harness.amend(&[mark(ids[0], Status::Held, Status::New)]).await, [false]);
    ensure_eq!(harness.amend(&[]).await, [false; 0]);
    ensure_eq!(harness.read(&outputs()).await, [""; 0]);
    ensure_eq!(harness.amend(&[mark(ids[0], Status::New, Status::Held)]).await, [true]);
    ensure_eq!(harness.read(&outputs()).await, ["audit"]);
}

pub async fn a_letter_is_sent_back_to_its_own_group_once<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain().with_group(GroupSpec::new(group("auditors")))).await;
    let ids = bury(&harness, &["1"]).await;
    let (_, dead) = harness.letters().await.remove(0);
    let again = Publication::new(dead.redrive_stream(&stream()), dead.redrive());
    let replayed = DeadState { redrives: 1, ..state(Status::Redriven) };
    let change = DeadChange::Send(replayed.clone(), again);
    let send = [Amendment { id: ids[0], expected: DeadState::default(), change }];
    ensure_eq!(harness.amend(&send).await, [true]);
    ensure_eq!(harness.amend(&send).await, [false]);
    harness.restart();
    ensure_eq!(harness.letters().await[0].1.state, replayed);
    ensure_eq!(shown(&harness.poll("a", ANY).await), [("1".to_owned(), Why::New)]);
    harness.member_of = group("auditors");
    ensure_eq!(harness.poll("a", ANY).await, []);
}

pub async fn a_letter_that_is_removed_is_gone<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut harness = setup.open(plain()).await;
    let ids = bury(&harness, &["1", "2"]).await;
    let remove =
        Amendment { id: ids[0], expected: DeadState::default(), change: DeadChange::Remove };
    ensure_eq!(harness.amend(std::slice::from_ref(&remove)).await, [true]);
    ensure_eq!(harness.amend(&[remove]).await, [false]);
    harness.restart();
    let left: Vec<Pos> = harness.letters().await.into_iter().map(|(id, _)| id).collect();
    ensure_eq!((left.as_slice(), harness.stats().await.dead), (&ids[1..], 1));
    ensure!(bury(&harness, &["3"]).await[0] > ids[1]);
}

pub async fn old_letters_go_when_new_ones_come<F: StreamsFixture>(setup: &Setup<'_, F>) {
    let mut spec = plain();
    spec.dead_retention = Some(Span::from_millis(300));
    let mut harness = setup.open(spec).await;
    bury(&harness, &["1", "2"]).await;
    harness.pass(LONG).await;
    bury(&harness, &["3"]).await;
    let left: Vec<String> =
        harness.letters().await.iter().map(|(_, letter)| spoken(&letter.message)).collect();
    ensure_eq!(left, ["3"]);
    ensure_eq!(harness.stats().await.dead, 1);
}
