//! The network: what becomes of each request on its way to the server, and of each answer on its way back.
//!
//! It calls no client. Whoever it has an answer for is returned by [`Network::answer`], and the world tells them.

use std::collections::{BTreeMap, BTreeSet};

use silvertine_engine::rng::Rng;
use silvertine_streams::{StoreError, StoreErrorKind, Streams};

use super::{
    fault::Fault,
    op::{Answer, Client, OpKind, Request},
    plan::{MS, SECOND},
    promise::Checked,
    server::{Server, Way},
    stage::{Event, Stage},
    trace::What,
};
use crate::kernel::network::{Course, Delays, Fate, Timing, Told};

/// A client gives up on a request that has not been answered for so long (and what a poll asked to wait).
pub(super) const PATIENCE_NS: u64 = SECOND;
/// How much later drawn fates happen.
const DELAYS: Delays = Delays { late_ns: 4 * SECOND, slow_ns: PATIENCE_NS * 9 / 10 };

pub(super) struct Network<'a, S> {
    pub(super) server: Server<'a, S>,
    rng: Rng,
    next_op: u64,
    ops: BTreeMap<u64, Op>,
    /// Polls that the store, or their member, holds until something arrives.
    waiting: Vec<u64>,
    /// Clients that will never ask again.
    gone: BTreeSet<Client>,
}

/// A request under way.
struct Op {
    from: Client,
    request: Request,
    kind: OpKind,
    fate: Fate,
    /// How often it is still to reach the server.
    arrivals: u32,
    /// The client stops waiting for an answer.
    gives_up_ns: u64,
    answer: Option<Result<Answer, StoreError>>,
    /// What the client is told whatever the store says.
    told: Option<Told>,
    /// The client has its answer, or has given up.
    settled: bool,
}

/// What a client is told of its request.
pub(super) struct Answered {
    pub(super) client: Client,
    pub(super) request: Request,
    pub(super) result: Result<Answer, StoreError>,
}

impl<'a, S: Streams> Network<'a, S> {
    pub(super) fn new(server: Server<'a, S>, seed: u64) -> Self {
        Self {
            server,
            rng: Rng::new(seed ^ 0x4e45_5457),
            next_op: 0,
            ops: BTreeMap::new(),
            waiting: Vec::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Whether no request will take effect that nobody waits for.
    pub(super) fn is_quiet(&self) -> bool {
        !self.ops.values().any(|op| op.arrivals > 0 && op.is_late())
    }

    /// Whether only members still wait for answers.
    pub(super) fn only_members_wait(&self) -> bool {
        self.ops.values().all(|op| matches!(op.from, Client::Member(_)))
    }

    /// Sends a request; what becomes of it is drawn here.
    pub(super) fn send(&mut self, from: Client, request: Request, stage: &mut Stage<'_>) {
        self.next_op += 1;
        let (op, kind, now_ns) = (self.next_op, request.kind(), stage.now_ns());
        stage.note(from, What::Asks(kind, op));
        let gives_up_ns = now_ns + request.waits_ns() + PATIENCE_NS;
        let arrives_ns = now_ns + MS / 10 + self.rng.below(MS);
        let timing = Timing { arrives_ns, refused_ns: now_ns + MS, gives_up_ns };
        let fate = match stage.healed {
            true => Fate::Normal,
            false => stage.plan.rates.draw(&mut self.rng, DELAYS),
        };
        if let Some(fault) = Fault::of(fate) {
            stage.strike(from, fault);
        }
        let Course { effects_ns, told } = fate.course(timing);
        if let Some((told_ns, _)) = told {
            stage.at(told_ns, Event::Answer(op));
        }
        for effect_ns in effects_ns.into_iter().flatten() {
            stage.at(effect_ns, Event::Arrive(op));
        }
        let arrivals = effects_ns.iter().flatten().count() as u32;
        let told = told.map(|(_, told)| told);
        let (answer, settled) = (None, false);
        let sent = Op { from, request, kind, fate, arrivals, gives_up_ns, answer, told, settled };
        self.ops.insert(op, sent);
    }

    /// A request reaches the server, or finds that there is none.
    pub(super) fn arrive(&mut self, op: u64, stage: &mut Stage<'_>) -> Checked {
        let Some(data) = self.ops.get_mut(&op) else { return Ok(()) };
        let way = self.server.way(stage.now_ns());
        if let Way::Frozen { until_ns } = way {
            self.wait_for_thaw(op, until_ns, Event::Arrive(op), stage);
            return Ok(());
        }
        data.arrivals -= 1;
        let told = match way {
            Way::Open | Way::Frozen { .. } => return self.take_effect(op, stage),
            // Half of the time the client is told at once. It must not be told for certain what is not.
            Way::Unreachable if data.arrivals == 0 && self.rng.below(2) == 0 => Told::Refused,
            Way::Down if data.arrivals == 0 => Told::Refused,
            Way::Unreachable | Way::Down => Told::TimedOut,
        };
        if data.settled {
            self.forget_if_over(op);
        } else if data.told.is_none() && data.answer.is_none() {
            data.told = Some(told);
            let pause_ns = if told == Told::Refused { MS } else { PATIENCE_NS };
            stage.at(stage.now_ns() + pause_ns, Event::Answer(op));
        }
        Ok(())
    }

    /// What should happen on a frozen server happens when it goes on, unless the client gives up before.
    fn wait_for_thaw(&mut self, op: u64, until_ns: u64, event: Event, stage: &mut Stage<'_>) {
        let data = self.ops.get_mut(&op).expect("what waits is under way");
        if data.told.is_none() && !data.settled && data.gives_up_ns <= until_ns {
            data.told = Some(Told::TimedOut);
            stage.at(data.gives_up_ns, Event::Answer(op));
        }
        stage.at(until_ns, event);
    }

    fn forget_if_over(&mut self, op: u64) {
        if self.ops.get(&op).is_some_and(|data| data.settled && data.arrivals == 0) {
            self.ops.remove(&op);
        }
    }

    fn take_effect(&mut self, op: u64, stage: &mut Stage<'_>) -> Checked {
        let data = self.ops.get_mut(&op).expect("what takes effect is under way");
        let of_dead = self.gone.contains(&data.from);
        if of_dead {
            stage.counts.note(Fault::Ghost);
        }
        let is_poll_again = self.waiting.contains(&op);
        let is_second = data.answer.is_some() && !is_poll_again;
        // Late is also what an earlier process of the same name left on its way.
        let late = of_dead || data.settled || is_second;
        let result = self.server.carry_out(data.from, op, &data.request, late, stage)?;
        let notifies = data.request.notifies() && result.is_ok();
        let empty = matches!(&result, Ok(Answer::Fetched(polled)) if polled.deliveries.is_empty());
        let waits_ns = data.request.waits_ns();
        if !is_second {
            data.answer = Some(result);
        }
        if data.settled {
            self.forget_if_over(op);
        } else if data.told.is_none() && !is_second {
            if !empty || waits_ns == 0 {
                self.waiting.retain(|&waiting| waiting != op);
                self.reply(op, stage);
            } else if !is_poll_again {
                self.waiting.push(op);
                stage.at(stage.now_ns() + waits_ns, Event::WaitOver(op));
            }
        }
        if notifies { self.notify_waiting(stage) } else { Ok(()) }
    }

    /// Something may have arrived: polls that wait look again.
    fn notify_waiting(&mut self, stage: &mut Stage<'_>) -> Checked {
        for op in self.waiting.clone() {
            if !stage.plan.store_waits {
                self.waiting.retain(|&waiting| waiting != op);
                self.reply(op, stage);
            } else if self.waiting.contains(&op) {
                self.take_effect(op, stage)?;
            }
        }
        Ok(())
    }

    /// A poll has waited for as long as it was to: it is answered with nothing.
    pub(super) fn wait_over(&mut self, op: u64, stage: &mut Stage<'_>) {
        if !self.waiting.contains(&op) {
            return;
        }
        if let Way::Frozen { until_ns } = self.server.way(stage.now_ns()) {
            self.wait_for_thaw(op, until_ns, Event::WaitOver(op), stage);
            return;
        }
        self.waiting.retain(|&waiting| waiting != op);
        self.reply(op, stage);
    }

    fn reply(&mut self, op: u64, stage: &mut Stage<'_>) {
        let mut takes_ns = MS / 10 + self.rng.below(MS);
        if !stage.healed && self.rng.below(1000) < stage.plan.rates.slow {
            takes_ns += self.rng.below(PATIENCE_NS / 2);
        }
        stage.at(stage.now_ns() + takes_ns, Event::Answer(op));
    }

    /// Every connection breaks. Whoever waits for an answer that the server has not sent does not get it.
    pub(super) fn reset(&mut self, stage: &mut Stage<'_>) {
        self.waiting.clear();
        for (&op, data) in &mut self.ops {
            let awaited = !data.settled && !self.gone.contains(&data.from);
            if awaited && data.told.is_none() && data.answer.is_some() {
                data.told = Some(Told::Reset);
                stage.at(stage.now_ns() + MS, Event::Answer(op));
            }
        }
    }

    /// A request is answered, or its client gives up. Returns whom to tell what, unless they know already.
    pub(super) fn answer(&mut self, op: u64, stage: &mut Stage<'_>) -> Option<Answered> {
        let data = self.ops.get_mut(&op).filter(|data| !data.settled)?;
        data.settled = true;
        let result = match data.told {
            Some(told) => Err(StoreError {
                kind: StoreErrorKind::Unavailable { why: told.why().to_owned() },
                applied: told.applied(),
                operation: data.kind.name(),
                store: "simulated".to_owned(),
            }),
            None => data.answer.clone().expect("it took effect"),
        };
        stage.note(data.from, What::Answered(data.kind, op, result.is_ok()));
        self.waiting.retain(|&waiting| waiting != op);
        let client = data.from;
        // What is still on its way stays known.
        let request = match data.arrivals {
            0 => self.ops.remove(&op)?.request,
            _ => data.request.clone(),
        };
        Some(Answered { client, request, result })
    }

    /// A client is gone for good. Its requests live on, but a server mostly learns that a connection was closed.
    pub(super) fn hang_up(&mut self, client: Client, stage: &mut Stage<'_>) {
        let ops = &self.ops;
        self.waiting.retain(|op| ops[op].from != client || stage.dice.below(4) == 0);
        self.close(client);
    }

    /// A client will never ask again.
    pub(super) fn close(&mut self, client: Client) {
        self.gone.insert(client);
    }
}

impl Op {
    /// Whether it will take effect when its client does not wait for that any more, or once more.
    const fn is_late(&self) -> bool {
        self.settled || matches!(self.fate, Fate::LateEffect { .. } | Fate::SentTwice { .. })
    }
}
