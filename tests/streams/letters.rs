//! Dead letters, and what people do about them.

use silvertine::{
    engine::{pos::Pos, span::Span},
    streams::{
        Amendment, DeadChange, DeadLetter, DeadState, GroupSpec, MessageId, Publication, Status,
        Streams, Why,
    },
};

use crate::{
    beds::Bed,
    desk::{ANY, Desk, LONG, group, letter, outputs, plain, shown, spoken, stream, text},
};

async fn bury<B: Bed>(desk: &Desk<B>, said: &[&str]) -> Vec<Pos> {
    let id = MessageId { stream: stream(), id: Pos { ms: 1, seq: 2 } };
    let letters: Vec<DeadLetter> = said.iter().map(|said| letter(&id, said)).collect();
    desk.streams().bury(&stream(), &letters, desk.now()).await.expect("buries")
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

impl<B: Bed> Desk<B> {
    async fn amend(&self, amendments: &[Amendment]) -> Vec<bool> {
        let amended = self.streams().amend(&stream(), amendments, &audit(), self.now()).await;
        amended.expect("amends")
    }
}

pub async fn dead_letters_are_read_in_pages<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = bury(&desk, &["1", "2", "3", "4", "5"]).await;
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    desk.bed.reopen();
    let (mut after, mut seen) = (Pos::ZERO, Vec::new());
    loop {
        let page = desk.streams().dead_letters(&stream(), after, 2).await.expect("reads");
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 2);
        after = *last;
        seen.extend(page.into_iter().map(|(id, letter)| (id, spoken(&letter.message))));
    }
    let expected = ids.into_iter().zip(["1", "2", "3", "4", "5"].map(str::to_owned));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    assert_eq!(desk.stats().await.dead, 5);
}

pub async fn of_two_people_who_change_a_letter_one_is_told_that_it_was_too_late<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = bury(&desk, &["1", "2"]).await;
    assert_eq!(desk.amend(&[mark(ids[0], Status::New, Status::Held)]).await, [true]);
    let second = [
        mark(ids[0], Status::New, Status::Discarded),
        mark(ids[1], Status::New, Status::Discarded),
        mark(Pos { ms: 1, seq: 1 }, Status::New, Status::Held),
    ];
    assert_eq!(desk.amend(&second).await, [false, true, false]);
    desk.bed.reopen();
    let states: Vec<Status> =
        desk.letters().await.iter().map(|(_, letter)| letter.state.status).collect();
    assert_eq!(states, [Status::Held, Status::Discarded]);
}

pub async fn an_audit_is_published_only_when_something_changed<B: Bed>() {
    let desk = Desk::<B>::open(plain()).await;
    let ids = bury(&desk, &["1"]).await;
    assert_eq!(desk.amend(&[mark(ids[0], Status::Held, Status::New)]).await, [false]);
    assert_eq!(desk.amend(&[]).await, [false; 0]);
    assert_eq!(desk.read(&outputs()).await, [""; 0]);
    assert_eq!(desk.amend(&[mark(ids[0], Status::New, Status::Held)]).await, [true]);
    assert_eq!(desk.read(&outputs()).await, ["audit"]);
}

pub async fn a_letter_is_sent_back_to_its_own_group_once<B: Bed>() {
    let mut desk = Desk::<B>::open(plain().with_group(GroupSpec::new(group("auditors")))).await;
    let ids = bury(&desk, &["1"]).await;
    let (_, dead) = desk.letters().await.remove(0);
    let again = Publication::new(dead.redrive_stream(&stream()), dead.redrive());
    let replayed = DeadState { redrives: 1, ..state(Status::Redriven) };
    let change = DeadChange::Send(replayed.clone(), again);
    let send = [Amendment { id: ids[0], expected: DeadState::default(), change }];
    assert_eq!(desk.amend(&send).await, [true]);
    assert_eq!(desk.amend(&send).await, [false]);
    desk.bed.reopen();
    assert_eq!(desk.letters().await[0].1.state, replayed);
    assert_eq!(shown(&desk.poll("a", ANY).await), [("1".to_owned(), Why::New)]);
    desk.member_of = group("auditors");
    assert_eq!(desk.poll("a", ANY).await, []);
}

pub async fn a_letter_that_is_removed_is_gone<B: Bed>() {
    let mut desk = Desk::<B>::open(plain()).await;
    let ids = bury(&desk, &["1", "2"]).await;
    let remove =
        Amendment { id: ids[0], expected: DeadState::default(), change: DeadChange::Remove };
    assert_eq!(desk.amend(std::slice::from_ref(&remove)).await, [true]);
    assert_eq!(desk.amend(&[remove]).await, [false]);
    desk.bed.reopen();
    let left: Vec<Pos> = desk.letters().await.into_iter().map(|(id, _)| id).collect();
    assert_eq!((left.as_slice(), desk.stats().await.dead), (&ids[1..], 1));
    assert!(bury(&desk, &["3"]).await[0] > ids[1]);
}

pub async fn old_letters_go_when_new_ones_come<B: Bed>() {
    let mut spec = plain();
    spec.dead_retention = Some(Span::from_millis(300));
    let mut desk = Desk::<B>::open(spec).await;
    bury(&desk, &["1", "2"]).await;
    desk.pass(LONG).await;
    bury(&desk, &["3"]).await;
    let left: Vec<String> =
        desk.letters().await.iter().map(|(_, letter)| spoken(&letter.message)).collect();
    assert_eq!(left, ["3"]);
    assert_eq!(desk.stats().await.dead, 1);
}
