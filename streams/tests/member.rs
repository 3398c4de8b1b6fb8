//! A member of a group, told what happened step by step.

use std::time::Duration;

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    Action, Applied, Class, ConsumerName, Delivery, Disposition, Fetched, GroupName, GroupSpec,
    HandlerFailure, HandlerOutcome, Member, MemberConfig, MemberMachine, Message, MessageId,
    Reason, RetryPolicy, Settled, Settlement, StoreError, StoreErrorKind, StreamName, Tries, Why,
    Work,
};

const START: Nanos = Nanos(1_700_000_000_000_000_000);

fn stream() -> StreamName {
    StreamName::new("mgmt:trading:commands").expect("a name")
}

fn id(seq: u64) -> MessageId {
    MessageId { stream: stream(), id: Pos { ms: START.as_ms(), seq } }
}

fn delivery(seq: u64, why: Why) -> Delivery {
    let message = Some(Message::default().with("data", seq.to_string()));
    let tries = Tries::default();
    Delivery { id: id(seq), message, why, tries, deliveries: 1, done: false }
}

fn keyed(seq: u64, why: Why, key: &str) -> Delivery {
    let message = Some(Message::default().with_key(key));
    Delivery { message, ..delivery(seq, why) }
}

fn started(seq: u64, starts: u32) -> Delivery {
    let tries = Tries { starts, ..Tries::default() };
    Delivery { tries, ..delivery(seq, Why::Reclaimed) }
}

fn failed(kind: StoreErrorKind) -> StoreError {
    StoreError { kind, applied: Applied::Maybe, operation: "test", store: "store".to_owned() }
}

fn unavailable() -> StoreError {
    failed(StoreErrorKind::Unavailable { why: "away".to_owned() })
}

fn transient() -> HandlerOutcome {
    HandlerOutcome::Failed(HandlerFailure::new(Class::Transient, "timeout", "no answer"))
}

/// A member and its time.
struct Bench {
    machine: MemberMachine,
    now: Nanos,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut GroupSpec)) -> Self {
        let name = GroupName::new("workers").expect("a name");
        let mut group = GroupSpec::new(name.clone());
        change(&mut group);
        let consumer = ConsumerName::new("a").expect("a name");
        let member = Member { stream: stream(), group: name, consumer };
        let config =
            MemberConfig::new(member, group, RetryPolicy::default()).with_handler("handler", "1");
        Self { machine: MemberMachine::new(config, START), now: START }
    }

    /// A member that has been handed these after its start.
    fn given(deliveries: Vec<Delivery>) -> Self {
        let mut bench = Self::new();
        bench.poll();
        bench.polled(Vec::new());
        bench.hand(deliveries);
        bench
    }

    fn pass(&mut self, pause: Duration) {
        self.now = self.now.saturating_add(pause);
    }

    fn next(&mut self) -> Option<Action> {
        self.machine.next(self.now)
    }

    /// Everything to do now.
    fn all(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.next()).collect()
    }

    #[track_caller]
    fn poll(&mut self) -> (usize, bool) {
        match self.next() {
            Some(Action::Fetch { limit, scope, .. }) => (limit, scope.includes_own()),
            other => panic!("{other:?}"),
        }
    }

    fn polled(&mut self, deliveries: Vec<Delivery>) {
        self.machine.fetched(Ok(Fetched { deliveries, ..Fetched::default() }), self.now);
    }

    fn hand(&mut self, deliveries: Vec<Delivery>) {
        self.poll();
        self.polled(deliveries);
    }

    /// The next message for the handler; a poll may go out before.
    #[track_caller]
    fn work(&mut self) -> Work {
        match self.next() {
            Some(Action::Handle(work)) => work,
            Some(Action::Fetch { .. }) => match self.next() {
                Some(Action::Handle(work)) => work,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn begin(&mut self) -> (MessageId, Tries) {
        match self.next() {
            Some(Action::Begin(mut begun)) if begun.len() == 1 => begun.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn begun(&mut self) -> Work {
        let (id, _) = self.begin();
        let mut work = self.machine.began(&[id], Ok(vec![true]), self.now);
        assert_eq!(work.len(), 1);
        work.remove(0)
    }

    fn handled(&mut self, seq: u64, outcome: HandlerOutcome) {
        self.machine.handled(&id(seq), outcome, self.now);
    }

    #[track_caller]
    fn settle(&mut self) -> Vec<Settlement> {
        match self.next() {
            Some(Action::Settle(settlements)) => settlements,
            other => panic!("{other:?}"),
        }
    }

    /// Settles everything that is to be settled.
    #[track_caller]
    fn settled(&mut self) -> Vec<Settlement> {
        let sent = self.settle();
        self.machine.settled(sent.clone(), Ok(vec![Settled::Applied; sent.len()]), self.now);
        sent
    }
}

fn is_poll(action: &Action) -> bool {
    matches!(action, Action::Fetch { .. })
}

fn handles(actions: &[Action]) -> Vec<MessageId> {
    let work = actions.iter().filter_map(|action| match action {
        Action::Handle(work) => Some(work.id.clone()),
        _ => None,
    });
    work.collect()
}

#[test]
fn it_asks_for_its_own_first_and_handles_what_comes_side_by_side() {
    let mut bench = Bench::new();
    assert_eq!(bench.poll(), (32, true));
    bench.polled(Vec::new());
    assert_eq!(bench.poll(), (32, false), "half of what it may have in hand");
    bench.polled(vec![delivery(1, Why::New), delivery(2, Why::New)]);
    let actions = bench.all();
    assert!(is_poll(&actions[0]), "the store is asked on while the handlers work");
    assert_eq!(handles(&actions), [id(1), id(2)]);
    bench.handled(2, HandlerOutcome::Done(Vec::new()));
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    let sent = bench.settled();
    assert_eq!(sent.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [id(2), id(1)]);
    assert_eq!((bench.machine.stats().done, bench.machine.in_flight()), (2, 0));
}

#[test]
fn suspects_are_handled_alone_and_their_start_is_on_record_first() {
    let mut bench = Bench::given(vec![started(1, 0), delivery(2, Why::New), started(3, 1)]);
    let (first, tries) = bench.begin();
    assert_eq!((first.clone(), tries.starts, tries.reclaims), (id(1), 1, 1));
    assert_eq!(handles(&bench.all()), [], "nothing beside it, not even before it starts");
    assert_eq!(bench.machine.began(&[first], Ok(vec![true]), bench.now)[0].id, id(1));
    assert_eq!(handles(&bench.all()), []);
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    bench.settled();
    let (second, tries) = bench.begin();
    assert_eq!((second.clone(), tries.starts), (id(3), 2));
    let lost = bench.machine.began(&[second], Ok(vec![false]), bench.now);
    assert_eq!((lost, bench.machine.stats().lost), (Vec::new(), 1));
    assert_eq!(handles(&bench.all()), [id(2)]);
}

#[test]
fn after_three_starts_without_an_end_a_message_is_dead() {
    let mut bench = Bench::given(vec![started(1, 3), started(2, 2)]);
    let sent = bench.settled();
    let Disposition::Dead(letter) = &sent[0].disposition else { panic!("{sent:?}") };
    assert_eq!((letter.story.reason, letter.story.reclaims), (Reason::Crashed, 1));
    assert_eq!(bench.begin().1.starts, 3, "the other one has a last try");
}

#[test]
fn messages_that_were_only_held_by_a_member_that_died_are_never_blamed() {
    // Held, unstarted, by ten members that died one after the other.
    let mut tries = Tries::default();
    for n in 1..=10 {
        let again = Delivery { tries, ..delivery(1, Why::Reclaimed) };
        let mut bench = Bench::given(vec![again, started(2, 0)]);
        let (suspect, begun) = bench.begin();
        assert_eq!((suspect, begun.starts), (id(1), 1));
        // The handler of the first runs; only its start is on record when this member dies too, unless it ends.
        let work = bench.machine.began(&[id(1)], Ok(vec![true]), bench.now);
        assert_eq!(work.len(), 1);
        assert!(bench.all().iter().all(is_poll), "the second is not begun beside it");
        tries = Tries { reclaims: n, ..Tries::default() };
    }
}

#[test]
fn a_failure_ends_a_suspicion() {
    let mut bench = Bench::given(vec![started(1, 2)]);
    bench.begun();
    bench.handled(1, transient());
    let sent = bench.settled();
    let Disposition::Retry { tries, .. } = sent[0].disposition else { panic!("{sent:?}") };
    assert_eq!((tries.starts, tries.attempts), (0, 1));
}

#[test]
fn the_circuit_opens_and_one_message_decides_when_it_closes() {
    let mut bench = Bench::given((1..=5).map(|n| delivery(n, Why::New)).collect());
    assert_eq!(handles(&bench.all()).len(), 5);
    bench.polled(vec![delivery(6, Why::New), delivery(7, Why::New)]);
    (1..=5).for_each(|n| bench.handled(n, transient()));
    assert!(!bench.machine.circuit_is_closed());
    bench.settled();
    assert_eq!(bench.all(), [], "what it holds waits, and it asks for no more");
    assert_eq!(bench.machine.stats().circuit_opened, 1);
    bench.pass(Duration::from_secs(60));
    // Sixty seconds without a sign of life are too many.
    assert!(matches!(bench.next(), Some(Action::Extend(held)) if held.len() == 2));
    bench.machine.extended(Ok(Vec::new()), bench.now);
    assert_eq!(handles(&bench.all()), [id(6)], "one is tried");
    bench.handled(6, transient());
    assert!(!bench.machine.circuit_is_closed());
    bench.settled();
    assert_eq!(bench.all(), []);
    bench.pass(Duration::from_secs(61));
    bench.next();
    bench.machine.extended(Ok(Vec::new()), bench.now);
    assert_eq!(handles(&bench.all()), [id(7)]);
    bench.handled(7, HandlerOutcome::Done(Vec::new()));
    assert!(bench.machine.circuit_is_closed());
}

#[test]
fn behind_an_open_circuit_it_asks_for_one_message_and_does_not_spin() {
    let mut bench = Bench::given((1..=5).map(|n| delivery(n, Why::New)).collect());
    bench.all();
    bench.polled(Vec::new());
    (1..=5).for_each(|n| bench.handled(n, transient()));
    bench.settled();
    assert_eq!(bench.all(), []);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.poll().0, 1);
    assert_eq!(bench.next(), None);
    assert!(bench.machine.wake_at(bench.now) > bench.now);
}

#[test]
fn draining_releases_what_waits_lets_what_runs_end_and_leaves() {
    let mut bench = Bench::given(vec![delivery(1, Why::New), delivery(2, Why::New)]);
    assert_eq!(bench.work().id, id(1));
    bench.machine.drain(bench.now.saturating_add(Duration::from_secs(10)));
    let sent = bench.settled();
    assert_eq!(sent, [Settlement { id: id(2), disposition: Disposition::Release }]);
    bench.polled(Vec::new());
    assert_eq!(bench.all(), [], "no poll, no work");
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    assert!(matches!(bench.settled()[0].disposition, Disposition::Done { .. }));
    assert_eq!(bench.next(), Some(Action::Leave));
    bench.machine.left(Ok(()), bench.now);
    assert_eq!((bench.next(), bench.next()), (Some(Action::Stop), None));
}

#[test]
fn past_the_deadline_what_runs_is_abandoned_and_its_end_means_nothing() {
    let mut bench = Bench::given(vec![delivery(1, Why::New)]);
    bench.work();
    bench.polled(Vec::new());
    bench.machine.drain(bench.now.saturating_add(Duration::from_secs(1)));
    assert_eq!(bench.all(), []);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.next(), Some(Action::Abandon(vec![id(1)])));
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    assert_eq!(bench.settled(), [Settlement { id: id(1), disposition: Disposition::Release }]);
    assert_eq!(bench.next(), Some(Action::Leave));
}

#[test]
fn what_a_store_does_not_settle_ends_the_polling() {
    let mut bench = Bench::with(|group| group.in_flight = 4);
    bench.poll();
    let mut seq = 0;
    while seq < 8 {
        bench.polled(vec![delivery(seq + 1, Why::New), delivery(seq + 2, Why::New)]);
        let actions = bench.all();
        assert_eq!(handles(&actions), [id(seq + 1), id(seq + 2)]);
        bench.handled(seq + 1, HandlerOutcome::Done(Vec::new()));
        bench.handled(seq + 2, HandlerOutcome::Done(Vec::new()));
        seq += 2;
    }
    assert_eq!(bench.machine.in_flight(), 8, "twice as many as it may work on");
    assert!(!bench.all().iter().any(is_poll));
}

#[test]
fn past_the_deadline_nobody_waits_for_a_store_that_is_away() {
    let mut bench = Bench::given(vec![delivery(1, Why::New)]);
    bench.machine.drain(bench.now);
    let sent = bench.settle();
    bench.machine.settled(sent, Err(unavailable()), bench.now);
    assert_eq!(bench.next(), Some(Action::Stop));
}

#[test]
fn a_start_that_a_drain_cuts_short_does_not_count() {
    let mut bench = Bench::given(vec![started(1, 2)]);
    bench.begun();
    bench.machine.drain(bench.now);
    assert_eq!(bench.next(), Some(Action::Abandon(vec![id(1)])));
    let sent = bench.settled();
    let Disposition::Retry { tries, after } = sent[0].disposition else { panic!("{sent:?}") };
    assert_eq!((tries.starts, after), (2, Span::ZERO));
    assert_eq!(bench.machine.stats().retried, 0);
}

#[test]
fn a_store_that_fails_is_asked_again_after_a_pause_and_for_what_was_handed_over_unseen() {
    let mut bench = Bench::given(Vec::new());
    bench.poll();
    bench.machine.fetched(Err(unavailable()), bench.now);
    assert_eq!(bench.next(), None);
    let wake = bench.machine.wake_at(bench.now);
    assert!(wake > bench.now);
    bench.now = wake;
    assert_eq!(bench.poll(), (32, true));
    // Nobody died, so nobody is blamed.
    bench.polled(vec![delivery(1, Why::Own)]);
    assert_eq!(bench.work().id, id(1));
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    let sent = bench.settle();
    bench.machine.settled(sent.clone(), Err(unavailable()), bench.now);
    bench.now = bench.machine.wake_at(bench.now);
    let again = std::iter::from_fn(|| bench.next()).find(|action| !is_poll(action));
    assert_eq!(again, Some(Action::Settle(sent.clone())));
    bench.machine.settled(sent, Ok(vec![Settled::Lost]), bench.now);
    assert_eq!((bench.machine.stats().store_errors, bench.machine.stats().lost), (2, 1));
    assert_eq!(bench.machine.in_flight(), 0);
}

#[test]
fn what_is_given_back_while_a_poll_hands_it_over_is_not_handled_but_asked_for() {
    let mut bench = Bench::given(vec![delivery(1, Why::New)]);
    assert_eq!(bench.work().id, id(1));
    bench.handled(1, transient());
    // A poll is under way: somebody else had the message meanwhile, and the store hands it to this member anew, before it
    // takes the retry.
    assert!(matches!(bench.settled()[0].disposition, Disposition::Retry { .. }));
    bench.polled(vec![delivery(1, Why::Due)]);
    assert_eq!(bench.machine.in_flight(), 0);
    assert!(bench.poll().1, "it asks what it holds");
    assert_eq!(handles(&bench.all()), []);
    // The store had taken the retry first: then the message is this member's.
    bench.polled(vec![delivery(1, Why::Own)]);
    assert_eq!(bench.work().id, id(1));
}

#[test]
fn a_start_that_could_not_be_put_on_record_is_tried_again_and_counted_once() {
    let mut bench = Bench::given(vec![started(1, 0)]);
    for _ in 0..5 {
        let (suspect, tries) = bench.begin();
        assert_eq!(tries.starts, 1);
        assert_eq!(bench.machine.began(&[suspect], Err(unavailable()), bench.now), Vec::new());
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.begun().id, id(1));
}

#[test]
fn a_settlement_that_is_refused_keeps_no_other_back() {
    let refusals = [
        StoreErrorKind::Invalid { why: "no such stream".to_owned() },
        StoreErrorKind::RefusesWrites { why: "an output stream is full".to_owned() },
    ];
    for refusal in refusals {
        let mut bench = Bench::given((1..=4).map(|n| delivery(n, Why::New)).collect());
        bench.all();
        bench.polled(Vec::new());
        (1..=4).for_each(|n| bench.handled(n, HandlerOutcome::Done(Vec::new())));
        // The store never takes the first.
        let mut settled = Vec::new();
        for _ in 0..12 {
            bench.pass(Duration::from_secs(1));
            let sent = bench.all().into_iter().find_map(|action| match action {
                Action::Settle(sent) => Some(sent),
                _ => None,
            });
            let Some(sent) = sent else { continue };
            let refused = sent.iter().any(|one| one.id == id(1));
            let result = if refused {
                Err(failed(refusal.clone()))
            } else {
                settled.extend(sent.iter().map(|one| one.id.id.seq));
                Ok(vec![Settled::Applied; sent.len()])
            };
            bench.machine.settled(sent, result, bench.now);
        }
        assert_eq!(settled, [2, 3, 4], "{refusal}");
        assert_eq!(bench.machine.in_flight(), 1);
    }
}

#[test]
fn messages_with_one_key_never_run_together_and_the_second_needs_no_handler() {
    let twins = [keyed(1, Why::New, "k"), keyed(2, Why::New, "k"), keyed(3, Why::New, "l")];
    let mut bench = Bench::given(twins.to_vec());
    assert_eq!(handles(&bench.all()), [id(1), id(3)]);
    bench.polled(Vec::new());
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    let sent = bench.settle();
    assert_eq!(handles(&bench.all()), [], "not before it is settled");
    bench.machine.settled(sent, Ok(vec![Settled::Applied]), bench.now);
    let sent = bench.settled();
    assert_eq!(sent[0].id, id(2));
    assert!(
        matches!(&sent[0].disposition, Disposition::Done { key: Some(key), emit } if &**key == "k" && emit.is_empty())
    );
}

#[test]
fn a_twin_of_a_suspect_waits_too() {
    let mut bench = Bench::given(vec![keyed(1, Why::Reclaimed, "k"), keyed(2, Why::New, "k")]);
    bench.begun();
    bench.handled(1, transient());
    let sent = bench.settle();
    assert_eq!(handles(&bench.all()), [], "not before it is settled");
    bench.machine.settled(sent, Ok(vec![Settled::Applied]), bench.now);
    assert_eq!(handles(&bench.all()), [id(2)], "the first did not do it");
}

#[test]
fn what_is_gone_from_its_stream_and_what_was_done_before_need_no_handler() {
    let gone = Delivery { message: None, ..delivery(1, Why::Due) };
    let known = Delivery { done: true, ..keyed(2, Why::New, "k") };
    let mut bench = Bench::given(vec![gone, known]);
    let sent = bench.settled();
    let Disposition::Dead(letter) = &sent[0].disposition else { panic!("{sent:?}") };
    assert_eq!(letter.story.reason, Reason::Trimmed);
    assert!(
        matches!(&sent[1].disposition, Disposition::Done { key: Some(key), .. } if &**key == "k")
    );
}

#[test]
fn a_member_shows_signs_of_life_and_lets_go_of_what_it_lost() {
    let mut bench = Bench::given(vec![delivery(1, Why::New), keyed(2, Why::New, "k")]);
    bench.work();
    bench.machine.fetched(Ok(Fetched::default()), bench.now);
    bench.pass(Duration::from_secs(10));
    let extend = bench.all().into_iter().find(|action| matches!(action, Action::Extend(_)));
    assert_eq!(extend, Some(Action::Extend(vec![id(1), id(2)])));
    bench.machine.extended(Err(unavailable()), bench.now);
    bench.pass(Duration::from_secs(1));
    let extend = bench.all().into_iter().find(|action| matches!(action, Action::Extend(_)));
    assert!(extend.is_some(), "it tries again");
    bench.machine.extended(Ok(vec![id(1), id(2)]), bench.now);
    // What runs comes to its end, whether or not it still counts.
    bench.handled(1, HandlerOutcome::Done(Vec::new()));
    bench.handled(2, HandlerOutcome::Done(Vec::new()));
    assert_eq!(bench.settle().len(), 2);
}
