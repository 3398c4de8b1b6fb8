//! Random histories, each step compared with the model.

use std::time::Duration;

use proptest::prelude::*;
use silvertine_engine::{
    digest::Digest,
    event::{Topic, TopicSet},
    log::{EventLog, IngressCursor, Lease, LogError, LogErrorKind, OwnerId, Published, RangeQuery},
    pos::Pos,
};

use super::{
    LogFixture,
    draft::{ALICE, BOB, CAROL, Draft, message, name},
    harness::Harness,
    model::{Answer, Model, ModelCommit},
};
use crate::{
    BrokenLaw,
    breach::{Must, broken, ensure, ensure_eq},
    random,
    runtime::run,
};

const OWNERS: [OwnerId; 3] = [ALICE, BOB, CAROL];

/// One step of a history. Numbers are taken modulo whatever there is to choose from.
#[derive(Clone, Debug)]
enum Op {
    Acquire { owner: usize },
    Commit { stale: bool, wrong_head: bool, topics: Vec<usize>, snapshot: bool, done: Option<u64> },
    Resend,
    Trim { stale: bool, choice: usize, off: bool },
    Publish { messages: Vec<(bool, u64)> },
    Ingress { consumed: (u64, u64), limit: usize },
    Range { after: usize, topics: u8, limit: usize },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let commit = (
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
        prop::collection::vec(0..5_usize, 0..12),
        any::<bool>(),
        prop::option::of(1..20_u64),
    )
        .prop_map(|(stale, wrong_head, topics, snapshot, done)| Op::Commit {
            stale,
            wrong_head,
            topics,
            snapshot,
            done,
        });
    prop_oneof![
        1 => (0..3_usize).prop_map(|owner| Op::Acquire { owner }),
        6 => commit,
        1 => Just(Op::Resend),
        1 => (prop::bool::weighted(0.2), 0..8_usize, prop::bool::weighted(0.2))
            .prop_map(|(stale, choice, off)| Op::Trim { stale, choice, off }),
        1 => prop::collection::vec((any::<bool>(), 1..20_u64), 1..5)
            .prop_map(|messages| Op::Publish { messages }),
        1 => ((0..20_u64, 0..20_u64), 1..6_usize)
            .prop_map(|(consumed, limit)| Op::Ingress { consumed, limit }),
        3 => (0..60_usize, 0..32_u8, 1..20_usize)
            .prop_map(|(after, topics, limit)| Op::Range { after, topics, limit }),
        1 => Just(Op::Reopen),
    ]
}

/// Plays random histories, each on a fresh log.
pub fn check<F: LogFixture>(fresh: impl Fn() -> F, cases: u32) -> Result<(), BrokenLaw> {
    let histories = prop::collection::vec(op(), 1..40);
    random::check(cases, histories, |history, journal| {
        run(play(&mut Harness::new(fresh(), journal.clone()), history));
    })
}

/// What both sides have been through.
struct Player {
    model: Model,
    /// All leases ever held, oldest first.
    leases: Vec<Lease>,
    digest: Digest,
    last: Option<(Lease, Draft)>,
    positions: Vec<Pos>,
}

async fn play(harness: &mut Harness<impl LogFixture>, history: &[Op]) {
    let mut player = Player {
        model: Model::default(),
        leases: Vec::new(),
        digest: Digest::EMPTY,
        last: None,
        positions: vec![Pos::ZERO],
    };
    player.acquire(&harness.log(), ALICE).await;
    for op in history {
        if matches!(op, Op::Reopen) {
            harness.reopen();
            continue;
        }
        player.step(&harness.log(), op).await;
        player.compare_heads(&harness.log()).await;
    }
    harness.reopen();
    player.compare_all(&harness.log()).await;
}

/// The content of the snapshot at a position.
fn state_at(pos: Pos) -> Vec<u8> {
    format!("state at {pos}").into_bytes()
}

impl Player {
    async fn step<L: EventLog>(&mut self, log: &L, op: &Op) {
        match op {
            Op::Acquire { owner } => self.acquire(log, OWNERS[*owner]).await,
            Op::Commit { stale, wrong_head, topics, snapshot, done } => {
                let topics: Vec<Topic> = topics.iter().map(|&at| Topic::ALL[at]).collect();
                let lease = self.lease(*stale);
                let mut head = self.model.head();
                if *wrong_head {
                    head.seq += 1;
                }
                let mut draft = Draft::on(head, self.digest, &topics);
                if *snapshot {
                    // The oldest goes once there are four.
                    let kept = self.model.snapshots();
                    let keep_from = if kept.len() < 4 { Pos::ZERO } else { kept[1] };
                    let state = state_at(draft.head());
                    draft = draft.with_snapshot(&state, keep_from);
                }
                draft.ingress_done = done.map(|seq| IngressCursor::from([(name("p"), seq)]));
                self.commit(log, lease, draft).await;
            }
            Op::Resend => {
                if let Some((lease, draft)) = self.last.clone() {
                    self.commit(log, lease, draft).await;
                }
            }
            Op::Trim { stale, choice, off } => {
                let lease = self.lease(*stale);
                let snapshots = self.model.snapshots();
                let mut at = match snapshots {
                    [] => Pos { ms: 1, seq: 1 },
                    some => some[choice % some.len()],
                };
                at.seq += u64::from(*off);
                let expected = self.model.trim((lease.epoch.0, lease.owner.0), at);
                let actual = log.trim(&lease, at).await.map_or_else(refusal, Answer::Removed);
                // Which of two good reasons a stale owner is given first is not laid down.
                let either = expected == Answer::Fenced && actual == Answer::Invalid;
                ensure!(either || actual == expected, "trim {at}: {actual:?} {expected:?}");
            }
            Op::Publish { messages } => {
                let named = |first: bool| if first { "p" } else { "q" };
                let plain: Vec<_> =
                    messages.iter().map(|&(first, seq)| (named(first).to_owned(), seq)).collect();
                let sent: Vec<_> =
                    messages.iter().map(|&(first, seq)| message(named(first), seq)).collect();
                let expected = self.model.publish(&plain);
                let answers = log.publish(&sent).await.must("publishes");
                let stored = answers.iter().map(|&answer| answer == Published::Stored).collect();
                ensure_eq!(Answer::Published(stored), expected);
            }
            Op::Ingress { consumed: (p, q), limit } => {
                let mut cursor = IngressCursor::from([(name("p"), *p), (name("q"), *q)]);
                let expected = self.model.ingress(&cursor);
                let mut read = Vec::new();
                loop {
                    let page =
                        log.ingress(None, &cursor, *limit, Duration::ZERO).await.must("reads");
                    ensure!(page.len() <= *limit, "a page keeps its limit");
                    if page.is_empty() {
                        break;
                    }
                    for got in page {
                        ensure_eq!(got, message(got.producer.as_str(), got.seq));
                        let last = cursor.insert(got.producer, got.seq);
                        ensure!(last < Some(got.seq), "in the producer's order");
                        read.push((got.producer.to_string(), got.seq));
                    }
                }
                read.sort();
                ensure_eq!(Answer::Messages(read), expected);
            }
            Op::Range { after, topics, limit } => {
                let after = self.positions[after % self.positions.len()];
                let chosen: Vec<Topic> =
                    Topic::ALL.into_iter().filter(|&t| topics & 1 << t as u8 != 0).collect();
                let query = RangeQuery { after, topics: TopicSet::of(&chosen), limit: *limit };
                let expected = self.model.range(after, &chosen, *limit);
                let actual = match log.range(query).await {
                    Err(error) => refusal(error),
                    Ok(page) => self.page(log, page, query).await,
                };
                ensure_eq!(actual, expected, "{query:?}");
            }
            Op::Reopen => unreachable!("handled by the caller"),
        }
    }

    async fn compare_heads<L: EventLog>(&self, log: &L) {
        let head = log.head().await.must("reads").must("exists");
        let found = (head.pos, head.trimmed, head.commit.0, head.digest);
        let expected =
            (self.model.head(), self.model.trimmed(), self.model.last_commit(), self.digest);
        ensure_eq!(found, expected, "position, trimmed, commit, digest");
    }

    /// At the end of a history: everything that a recovering owner would read.
    async fn compare_all<L: EventLog>(&mut self, log: &L) {
        self.compare_heads(log).await;
        self.acquire(log, CAROL).await;
        for &pos in self.model.snapshots() {
            let snapshot = log.snapshot(pos).await.must("reads");
            ensure_eq!(snapshot, Some(state_at(pos)), "snapshot {pos}");
        }
        let after = self.model.trimmed();
        let query = RangeQuery { limit: 1_000, ..RangeQuery::all_after(after) };
        let page = log.range(query).await.must("reads");
        let all = self.page(log, page, query).await;
        ensure_eq!(all, self.model.range(after, &Topic::ALL, query.limit));
    }

    /// A page may end early as long as it says so; what it says must then be true.
    async fn page<L: EventLog>(
        &self,
        log: &L,
        page: silvertine_engine::log::Page,
        query: RangeQuery,
    ) -> Answer {
        let mut entries: Vec<Vec<u8>> =
            page.entries.iter().map(|entry| entry.bytes.to_vec()).collect();
        let mut next = page.next;
        while let Some(after) = next
            && entries.len() < query.limit
        {
            let limit = query.limit - entries.len();
            let more = log.range(RangeQuery { after, limit, ..query }).await.must("goes on");
            entries.extend(more.entries.iter().map(|entry| entry.bytes.to_vec()));
            next = more.next;
        }
        let more = match next {
            None => false,
            Some(after) => {
                let rest = log.range(RangeQuery { after, ..query }).await.must("goes on");
                !rest.entries.is_empty()
            }
        };
        Answer::Entries { entries, more }
    }

    fn lease(&self, stale: bool) -> Lease {
        let at = if stale { 0 } else { self.leases.len() - 1 };
        self.leases[at]
    }

    async fn acquire<L: EventLog>(&mut self, log: &L, owner: OwnerId) {
        let expected = self.model.acquire(owner.0);
        let acquired = log.acquire(owner, b"m").await.must("acquires");
        self.leases.push(acquired.lease);
        let actual = Answer::Acquired {
            epoch: acquired.lease.epoch.0,
            head: acquired.head.pos,
            checkpoint: acquired.checkpoint,
            snapshots: acquired.snapshots,
        };
        ensure_eq!(actual, expected);
    }

    async fn commit<L: EventLog>(&mut self, log: &L, lease: Lease, draft: Draft) {
        let commit = draft.commit(&lease);
        let expected = self.model.commit(ModelCommit {
            lease: (lease.epoch.0, lease.owner.0),
            id: commit.id.0,
            expected: commit.expected,
            entries: commit
                .entries
                .iter()
                .map(|entry| (entry.pos, entry.topic, entry.bytes.to_vec()))
                .collect(),
            checkpoint: draft.checkpoint.clone(),
            snapshot: draft.snapshot.as_ref().map(|(_, keep_from)| *keep_from),
            done: draft.ingress_done.clone(),
        });
        let actual = match log.commit(&lease, &commit).await {
            Ok(done) => Answer::Committed { head: done.head, duplicate: done.duplicate },
            Err(error) => refusal(error),
        };
        ensure_eq!(actual, expected);
        if let Answer::Committed { duplicate: false, .. } = actual {
            self.digest = draft.digest;
            self.positions.extend(draft.entries.iter().map(|entry| entry.pos));
            self.last = Some((lease, draft));
        }
    }
}

fn refusal(error: LogError) -> Answer {
    match error.kind {
        LogErrorKind::Fenced { .. } => Answer::Fenced,
        LogErrorKind::Conflict { head, .. } => Answer::Conflict { head },
        LogErrorKind::Invalid { .. } => Answer::Invalid,
        LogErrorKind::Trimmed { through } => Answer::Trimmed { through },
        other => broken!("no operation of a history may fail so: {other}"),
    }
}
