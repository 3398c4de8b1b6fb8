//! Random histories of a group, each step compared with the model, and an audit of every message at the end.
//!
//! A server decides by a clock of its own. Its time is read before and after each step; where a millisecond has passed
//! meanwhile, the step may belong to either, and a model of each is kept until an answer tells them apart.

use std::{collections::BTreeSet, fmt::Debug};

use proptest::prelude::*;
use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Delivery, Disposition, Message, MessageId, StreamSpec, Streams, Tries};

use super::{
    StreamsFixture,
    harness::{
        Ask, DEAD_AFTER, Harness, NANOS_PER_MS, STARTED, Setup, letter, plainly_done, stream, text,
        workers,
    },
    model::{Asked, End, Handed, Model, ModelMessage},
};
use crate::{
    BrokenLaw,
    breach::{Must, ensure, ensure_eq},
    random,
    runtime::run,
};

/// More models than these are not told apart any more.
const MODELS_MAX: usize = 256;

const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// One step of a history. Numbers are taken modulo whatever there is to choose from.
#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<(Option<u8>, Option<u8>)>),
    /// Asks; the answer may be lost.
    Fetch {
        member: u8,
        limit: usize,
        own: bool,
        tend: bool,
    },
    /// Settles what it may have been given and what it surely has not; twice where the first answer was lost.
    Settle {
        member: u8,
        ends: Vec<(usize, u8, u8)>,
        lost: bool,
    },
    Begin {
        member: u8,
        choice: usize,
        starts: u32,
    },
    Extend(u8),
    Leave(u8),
    /// Hundreds of milliseconds. Retries are due between them, so that clocks need not agree to the millisecond.
    Pass(u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let member = 0..3_u8;
    let message = (prop::option::weighted(0.3, 0..4_u8), prop::option::weighted(0.6, 0..3_u8));
    let ends = prop::collection::vec((any::<usize>(), 0..8_u8, 0..4_u8), 1..6);
    prop_oneof![
        4 => prop::collection::vec(message, 1..5).prop_map(Op::Publish),
        6 => (member.clone(), 1..6_usize, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(member, limit, own, tend)| Op::Fetch { member, limit, own, tend }),
        6 => (member.clone(), ends, any::<bool>())
            .prop_map(|(member, ends, lost)| Op::Settle { member, ends, lost }),
        2 => (member.clone(), any::<usize>(), 0..4_u32)
            .prop_map(|(member, choice, starts)| Op::Begin { member, choice, starts }),
        1 => member.clone().prop_map(Op::Extend),
        1 => member.prop_map(Op::Leave),
        2 => (1..5_u8).prop_map(Op::Pass),
        1 => Just(Op::Reopen),
    ]
}

/// Plays random histories, each on fresh streams.
pub fn check<F: StreamsFixture>(
    fresh: &dyn Fn(silvertine_streams::Topology) -> F,
    cases: u32,
) -> Result<(), BrokenLaw> {
    let histories = prop::collection::vec(op(), 1..60);
    random::check(cases, histories, |history, journal| {
        run(play(&Setup::new(fresh, journal), history));
    })
}

async fn play<F: StreamsFixture>(setup: &Setup<'_, F>, history: &[Op]) {
    let mut workers = workers();
    workers.order_by = Some("account".to_owned());
    let harness = setup.open(StreamSpec::new(stream()).with_group(workers)).await;
    let mut player = Player { harness, models: vec![Model::default()] };
    for op in history {
        player.step(op).await;
        player.compare().await;
        // A machine so busy that every step takes long tells nothing.
        if player.models.len() > MODELS_MAX {
            return;
        }
    }
    player.audit().await;
}

struct Player<F> {
    harness: Harness<F>,
    /// What the store may look like by all that it has answered; never none.
    models: Vec<Model>,
}

/// Every time that a store's clock can have shown between these two.
fn moments(from: Nanos, to: Nanos) -> impl Iterator<Item = Nanos> {
    (from.0..=to.0).step_by(NANOS_PER_MS as usize).map(Nanos)
}

fn handed(delivery: &Delivery) -> Handed {
    ensure!(delivery.message.is_some(), "nothing is trimmed");
    let Delivery { why, tries, deliveries, done, .. } = *delivery;
    Handed { id: delivery.id.id, why, tries, deliveries, done }
}

impl<F: StreamsFixture> Player<F> {
    /// Keeps the models that give the answer which was found to what began at `from`.
    fn judge<T: PartialEq + Debug>(
        &mut self,
        from: Nanos,
        found: &T,
        answer: impl Fn(&mut Model, Nanos, bool) -> T,
    ) {
        let to = self.harness.store_time();
        let looks: &[bool] = if F::LOOKS_AT_EVERY_POLL { &[true] } else { &[true, false] };
        let (mut kept, mut expected) = (Vec::new(), Vec::new());
        for model in &self.models {
            let looks = |now| looks.iter().map(move |&look| (now, look));
            for (now, look) in moments(from, to).flat_map(looks) {
                let mut model = model.clone();
                let answer = answer(&mut model, now, look);
                if answer != *found {
                    expected.push(answer);
                } else if !kept.contains(&model) {
                    kept.push(model);
                }
            }
        }
        ensure!(!kept.is_empty(), "found {found:?}, expected one of {expected:?}");
        self.models = kept;
    }

    /// Messages so far; all models agree on them.
    fn messages(&self) -> &[ModelMessage] {
        &self.models[0].messages
    }

    async fn step(&mut self, op: &Op) {
        let from = self.harness.store_time();
        match op {
            Op::Publish(messages) => self.publish(messages).await,
            &Op::Fetch { member, limit, own, tend } => {
                // Who asks for its own asks for everything.
                let tend = own || tend;
                let ask = Ask { limit, own, tend, reverse: false };
                let polled = self.harness.poll(MEMBERS[usize::from(member)], ask).await;
                let polled: Vec<Handed> = polled.iter().map(handed).collect();
                let asked = |look| Asked { limit, own, tend, dead_after: DEAD_AFTER, look };
                self.judge(from, &polled, |model, now, look| model.poll(member, asked(look), now));
            }
            Op::Settle { member, ends, lost } => {
                for _ in 0..=usize::from(*lost) {
                    self.settle(*member, ends).await;
                }
            }
            &Op::Begin { member, choice, starts } => {
                let Some(at) = choice.checked_rem(self.messages().len()) else { return };
                let tries = Tries { starts, ..self.messages()[at].tries };
                let begun = [(self.id(at), tries)];
                let (member_name, now) =
                    (self.harness.member(MEMBERS[usize::from(member)]), self.harness.now());
                let ours = self.harness.streams().begin(&member_name, &begun, now).await;
                let begin =
                    |model: &mut Model, now, _| Ok(vec![model.begin(member, at, tries, now)]);
                self.judge(from, &ours, begin);
            }
            &Op::Extend(member) => {
                let all: Vec<MessageId> =
                    (0..self.messages().len()).map(|at| self.id(at)).collect();
                let lost = self.harness.extend(MEMBERS[usize::from(member)], &all).await;
                self.judge(from, &lost, |model, now, _| {
                    let lost = model.extend(member, now);
                    lost.into_iter().map(|at| all[at].clone()).collect()
                });
            }
            &Op::Leave(member) => {
                self.harness.leave(MEMBERS[usize::from(member)]).await;
                self.judge(from, &(), |model, now, _| model.leave(member, now));
            }
            &Op::Pass(hundreds) => {
                self.harness.pass(Span::from_millis(u64::from(hundreds) * 100)).await;
            }
            Op::Reopen => self.harness.restart(),
        }
    }

    fn id(&self, at: usize) -> MessageId {
        MessageId { stream: stream(), id: self.messages()[at].id }
    }

    async fn publish(&mut self, messages: &[(Option<u8>, Option<u8>)]) {
        let keys = messages.iter().map(|(key, _)| key.map(|key| format!("k{key}")));
        let drafts: Vec<Message> = messages
            .iter()
            .zip(keys.clone())
            .map(|((_, account), key)| {
                let mut message = text("x");
                if let Some(key) = key {
                    message = message.with_key(&key);
                }
                if let Some(account) = account {
                    message = message.with("account", vec![*account]);
                }
                message
            })
            .collect();
        let ids = self.harness.publish_to(&stream(), &drafts).await;
        for ((id, key), (_, account)) in ids.into_iter().zip(keys).zip(messages) {
            self.models.iter_mut().for_each(|model| model.publish(id, key.clone(), *account));
        }
    }

    async fn settle(&mut self, member: u8, ends: &[(usize, u8, u8)]) {
        let (mut settlements, mut modelled) = (Vec::new(), Vec::new());
        for &(choice, end, pause) in ends {
            let Some(at) = choice.checked_rem(self.messages().len()) else { return };
            let id = self.id(at);
            let attempts = self.messages()[at].tries.attempts + 1;
            let tries = Tries { attempts, ..self.messages()[at].tries };
            let after = Span::from_millis(50 + u64::from(pause) * 100);
            let (disposition, end) = match end {
                0..=3 => {
                    let key = self.models[0].key(at);
                    (Disposition::Done { key, emit: Vec::new() }, End::Done)
                }
                4..=5 => (Disposition::Retry { tries, after }, End::Retry(tries, after)),
                6 => (Disposition::Release, End::Release),
                _ => (Disposition::Dead(Box::new(letter(&id, "x"))), End::Dead),
            };
            settlements.push((id, disposition));
            modelled.push((at, end));
        }
        let from = self.harness.store_time();
        let name = MEMBERS[usize::from(member)];
        let settled = self.harness.try_settle(name, &settlements).await.must("settles");
        self.judge(from, &settled, |model, now, _| {
            modelled.iter().map(|&(at, end)| model.settle(member, at, end, now)).collect()
        });
    }

    async fn compare(&mut self) {
        let (stats, counts) = (self.harness.stats().await, self.harness.counts().await);
        let found = [
            counts.waiting,
            counts.held,
            counts.retrying,
            counts.blocked,
            counts.done,
            counts.duplicates,
            counts.dead,
        ];
        let fits = |model: &Model| model.counts() == found;
        ensure!(self.models.iter().any(fits), "{found:?}, not {:?}", self.models[0].counts());
        self.models.retain(fits);
        ensure_eq!(counts.accounted(), stats.added, "every message is in one place");
        ensure_eq!((stats.added, stats.dead), (self.messages().len() as u64, counts.dead));
    }

    /// Takes over everything that is left: each message comes once, and none that was settled.
    async fn audit(&mut self) {
        self.harness.restart();
        let open = self.models[0].open();
        let mut seen: BTreeSet<Pos> = BTreeSet::new();
        loop {
            self.harness.pass(Span::from_secs(1)).await;
            let left = self.harness.poll("undertaker", Ask { limit: 1_000, ..STARTED }).await;
            if left.is_empty() {
                break;
            }
            for delivery in left {
                ensure!(seen.insert(delivery.id.id), "{} came twice", delivery.id);
                let id = delivery.id.clone();
                self.harness.settle("undertaker", &id, plainly_done()).await;
            }
        }
        ensure_eq!(seen, open);
        let (stats, counts) = (self.harness.stats().await, self.harness.counts().await);
        ensure_eq!(counts.done + counts.duplicates + counts.dead, stats.added);
        ensure_eq!(counts.accounted(), stats.added);
        ensure_eq!(self.harness.letters().await.len() as u64, counts.dead);
    }
}
