//! Stores with the bugs that people write, and the seeds until each is found.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use silvertine::{
    engine::{pos::Pos, span::Span, time::Nanos},
    sim::{
        kernel::shrink::Budget,
        streams::{Counterexample, Plan, Subject, promise::Promise, shrink_failure, simulate},
    },
    storage::streams::MemoryStreams,
    streams::{
        Amendment, DeadLetter, Delivery, Disposition, Fetch, Fetched, Member, Message, MessageId,
        Publication, Settled, Settlement, StoreError, StreamName, StreamStats, Streams, Topology,
        Tries, Why,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Every key looks new.
    DropsIdempotency,
    /// Acknowledges, then publishes what was emitted, and dies in between now and then.
    AcknowledgesFirst,
    /// Says that a message was released and does nothing.
    ForgetsToRelease,
    /// A message that was settled comes once more.
    DeliversSettledAgain,
    /// Retries come after half of their pause.
    RetriesEarly,
    /// Messages of one ordering key go to several members at once.
    IgnoresOrder,
    /// A poll hands over more than was asked for.
    HandsOverTooMuch,
    /// Now and then the last of several messages is acknowledged and not kept.
    LosesPublished,
    /// Changes dead letters that somebody else has changed meanwhile.
    AmendsBlindly,
    /// Takes messages from members that are alive.
    ReclaimsEarly,
    /// Starts are not put on record.
    ForgetsStarts,
    /// What a member held when it left stays with it.
    LeavesWithAll,
    /// Dead letters are acknowledged and not kept.
    LosesLetters,
}

#[derive(Clone)]
struct Planted {
    inner: MemoryStreams,
    bug: Bug,
    calls: Arc<AtomicU64>,
    settled: Arc<Mutex<Vec<Delivery>>>,
}

impl Planted {
    fn new(topology: &Topology, bug: Bug) -> Self {
        let mut topology = topology.clone();
        if bug == Bug::IgnoresOrder {
            let groups = topology.streams.iter_mut().flat_map(|stream| &mut stream.groups);
            groups.for_each(|group| group.order_by = None);
        }
        let inner = MemoryStreams::in_memory(topology);
        Self { inner, bug, calls: Arc::default(), settled: Arc::default() }
    }

    fn every(&self, nth: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }
}

impl Streams for Planted {
    fn topology(&self) -> &Topology {
        self.inner.topology()
    }

    async fn declare(&self, now: Nanos) -> Result<(), StoreError> {
        self.inner.declare(now).await
    }

    async fn publish(&self, all: &[Publication], now: Nanos) -> Result<Vec<Pos>, StoreError> {
        if self.bug == Bug::LosesPublished && all.len() > 1 && self.every(5) {
            let mut ids = self.inner.publish(&all[..all.len() - 1], now).await?;
            let last = ids.last().expect("one or more");
            ids.push(Pos { ms: last.ms, seq: last.seq + 1 });
            return Ok(ids);
        }
        self.inner.publish(all, now).await
    }

    async fn relay(&self, all: &[(Pos, Publication)], now: Nanos) -> Result<u64, StoreError> {
        self.inner.relay(all, now).await
    }

    async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        let mut fetch = *fetch;
        match self.bug {
            Bug::HandsOverTooMuch => fetch.limit += 3,
            Bug::ReclaimsEarly => {
                fetch.reclaim_after = Span::from_nanos(fetch.reclaim_after.as_nanos() / 10);
            }
            _ => {}
        }
        let mut fetched = self.inner.fetch(&fetch).await?;
        if self.bug == Bug::DeliversSettledAgain {
            let mut settled = self.settled.lock().expect("one thread");
            if fetched.deliveries.is_empty() && !settled.is_empty() && self.every(7) {
                fetched.deliveries.push(settled.remove(0));
            }
            settled.extend(fetched.deliveries.iter().filter(|one| one.why == Why::New).cloned());
        }
        Ok(fetched)
    }

    fn arrival(&self) -> impl Future<Output = ()> + Send {
        self.inner.arrival()
    }

    async fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        if self.bug == Bug::ForgetsStarts {
            let forgotten: Vec<_> = tries
                .iter()
                .map(|(id, tries)| (id.clone(), Tries { starts: 0, ..*tries }))
                .collect();
            return self.inner.begin(member, &forgotten, now).await;
        }
        self.inner.begin(member, tries, now).await
    }

    async fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> Result<Vec<Settled>, StoreError> {
        let mut changed = settlements.to_vec();
        let mut later = Vec::new();
        for settlement in &mut changed {
            match (&mut settlement.disposition, self.bug) {
                (Disposition::Done { key: Some(key), .. }, Bug::DropsIdempotency) => {
                    let other = format!("{key}#{}", self.calls.fetch_add(1, Ordering::Relaxed));
                    *key = other.into();
                }
                (Disposition::Done { emit, .. }, Bug::AcknowledgesFirst) => later.append(emit),
                (Disposition::Retry { after, .. }, Bug::RetriesEarly) => {
                    *after = Span::from_nanos(after.as_nanos() / 2);
                }
                _ => {}
            }
        }
        let kept: Vec<_> = changed
            .into_iter()
            .filter(|one| {
                !matches!(
                    (&one.disposition, self.bug),
                    (Disposition::Release, Bug::ForgetsToRelease)
                        | (Disposition::Dead(_), Bug::LosesLetters)
                )
            })
            .collect();
        let all = kept.len() == settlements.len();
        let mut answers = self.inner.settle(member, &kept, now).await?.into_iter();
        if !later.is_empty() && !self.every(5) {
            self.inner.publish(&later, now).await?;
        }
        let answer = |one: &Settlement| match &one.disposition {
            _ if all => answers.next(),
            Disposition::Release if self.bug == Bug::ForgetsToRelease => Some(Settled::Applied),
            Disposition::Dead(_) if self.bug == Bug::LosesLetters => Some(Settled::Applied),
            _ => answers.next(),
        };
        Ok(settlements.iter().filter_map(answer).collect())
    }

    async fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.inner.extend(member, held, now).await
    }

    async fn leave(&self, member: &Member, now: Nanos) -> Result<(), StoreError> {
        if self.bug == Bug::LeavesWithAll {
            return Ok(());
        }
        self.inner.leave(member, now).await
    }

    async fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        self.inner.read(stream, after, limit).await
    }

    async fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> Result<Option<StreamStats>, StoreError> {
        self.inner.stream_stats(stream, now).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        self.inner.dead_letters(stream, after, limit).await
    }

    async fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> Result<Vec<Pos>, StoreError> {
        self.inner.bury(stream, letters, now).await
    }

    async fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> Result<Vec<bool>, StoreError> {
        let mut amendments = amendments.to_vec();
        if self.bug == Bug::AmendsBlindly {
            let letters = self.inner.dead_letters(stream, Pos::ZERO, usize::MAX).await?;
            for amendment in &mut amendments {
                if let Some((_, letter)) = letters.iter().find(|(id, _)| *id == amendment.id) {
                    amendment.expected = letter.state.clone();
                }
            }
        }
        self.inner.amend(stream, &amendments, audit, now).await
    }

    async fn record(&self, stream: &StreamName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.record(stream, name).await
    }

    async fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.inner.swap_record(stream, name, expected, new).await
    }
}

/// Runs of one plan at most while it is shrunk; more would find hardly anything smaller.
const SHRINKING: u32 = 600;

fn open(bug: Bug) -> impl Fn(&Plan) -> Planted {
    move |plan| Planted::new(&plan.topology, bug)
}

fn delete(store: &Planted, id: &MessageId) {
    store.inner.delete(id).expect("memory can be written");
}

/// Runs seeds until one breaks a promise: how many it took, and what the plan does.
fn seeds_until_found(bug: Bug, most: u64) -> Option<(u64, Counterexample)> {
    let open = open(bug);
    (0..most).find_map(|seed| {
        let plan = Plan::draw(seed);
        let report = simulate(&plan, Subject { open: &open, delete: &delete });
        report.violation.as_ref()?;
        Some((seed + 1, Counterexample { drawn: plan.clone(), plan, report }))
    })
}

#[test]
fn a_store_without_a_bug_breaks_nothing() {
    let found = seeds_until_found(Bug::None, 100);
    assert!(found.is_none(), "{}", found.expect("something").1);
}

#[test]
fn every_planted_bug_breaks_a_promise_that_it_should() {
    use Promise::{Account, Bounded, Durable, Effect, InOrder, Live, Model, Punctual, Settled};
    let bugs: [(Bug, &[Promise]); 13] = [
        (Bug::DropsIdempotency, &[Effect, Settled]),
        (Bug::AcknowledgesFirst, &[Effect]),
        (Bug::ForgetsToRelease, &[Account, Model, Live, Settled]),
        (Bug::DeliversSettledAgain, &[Settled, Model]),
        (Bug::RetriesEarly, &[Punctual]),
        (Bug::IgnoresOrder, &[InOrder]),
        (Bug::HandsOverTooMuch, &[Bounded]),
        (Bug::LosesPublished, &[Durable, Model]),
        (Bug::AmendsBlindly, &[Effect]),
        (Bug::ReclaimsEarly, &[Model]),
        (Bug::ForgetsStarts, &[Model]),
        (Bug::LeavesWithAll, &[Account, Model, Live]),
        (Bug::LosesLetters, &[Account, Model, Settled]),
    ];
    for (bug, promises) in bugs {
        let (seeds, found) = seeds_until_found(bug, 500).expect("the bug is found");
        let promise = found.violation().expect("it breaks one").promise;
        println!("{bug:?}: {promise} after {seeds} seeds");
        assert!(promises.contains(&promise), "{bug:?}: {found}");
        let said = found.to_string();
        for part in ["plan:", "what happened last:", promise.meaning()] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_plan_that_finds_a_bug_is_shrunk_and_finds_the_same_bug_from_its_file() {
    for bug in [Bug::AcknowledgesFirst, Bug::IgnoresOrder, Bug::ForgetsStarts, Bug::LosesLetters] {
        let (_, found) = seeds_until_found(bug, 500).expect("the bug is found");
        let promise = found.violation().expect("it breaks one").promise;
        let open = open(bug);
        let subject = Subject { open: &open, delete: &delete };
        let budget = Budget { runs_max: SHRINKING, ..Budget::default() };
        let shrunk = shrink_failure(&found.drawn, subject, promise, budget);
        let (strikes, messages) = shrunk.plan.size();
        let members: u64 = shrunk.plan.members.iter().sum();
        println!("{bug:?}: {strikes} strikes, {messages} messages, {members} members");
        assert_eq!(shrunk.violation().map(|broken| broken.promise), Some(promise), "{shrunk}");
        assert!(strikes <= 2 && messages <= 5 && members <= 3, "{bug:?}: {shrunk}");
        let text = toml::to_string(&shrunk.plan).expect("a plan is written");
        let read: Plan = toml::from_str(&text).expect("a plan is read");
        assert_eq!((read.check(), &read), (Ok(()), &shrunk.plan), "{text}");
        let again = simulate(&read, subject);
        assert_eq!(again.violation, shrunk.report.violation);
        assert_eq!(again.hash(), shrunk.report.hash());
    }
}
