//! The network: what becomes of each request on its way to the server, and of each answer on its way back.
//!
//! It calls no client. Whoever it has an answer for is returned by [`Network::answer`], and the world tells them.

use std::collections::{BTreeMap, BTreeSet};

use silvertine_engine::{
    log::{Applied, LogError, LogErrorKind},
    rng::Rng,
};
use silvertine_streams::Streams;

use super::{
    fault::Fault,
    op::{Answer, Client, OpKind, Request},
    plan::{MS, SECOND},
    promise::Checked,
    server::Server,
    stage::{Event, Stage},
    trace::What,
};

/// A client gives up on a request that has not been answered for so long (and what a poll asked to wait).
pub(super) const PATIENCE_NS: u64 = SECOND;
/// A request that comes late does so within this time.
const LATE_MAX_NS: u64 = 4 * SECOND;

pub(super) struct Network<'a, S> {
    pub(super) server: Server<'a, S>,
    rng: Rng,
    next_op: u64,
    ops: BTreeMap<u64, Op>,
    /// Polls that the store, or their member, holds until something arrives.
    waiting: Vec<u64>,
    /// Requests that will take effect after their client has given up.
    late: u32,
    /// Clients that will never ask again.
    gone: BTreeSet<Client>,
}

/// A request under way.
struct Op {
    from: Client,
    request: Request,
    kind: OpKind,
    answer: Option<Result<Answer, LogError>>,
    /// What the client gets whatever the store says.
    instead: Option<LogError>,
    /// Its effect comes after its client has given up.
    late: bool,
    /// The client has its answer, or has given up.
    settled: bool,
}

/// What a client is told of its request.
pub(super) struct Answered {
    pub(super) client: Client,
    pub(super) request: Request,
    pub(super) result: Result<Answer, LogError>,
}

fn error(operation: &'static str, applied: Applied, why: &str) -> LogError {
    let kind = LogErrorKind::Unavailable { why: why.to_owned() };
    LogError { kind, applied, operation, log: "simulated".to_owned() }
}

impl<'a, S: Streams> Network<'a, S> {
    pub(super) fn new(server: Server<'a, S>, seed: u64) -> Self {
        Self {
            server,
            rng: Rng::new(seed ^ 0x4e45_5457),
            next_op: 0,
            ops: BTreeMap::new(),
            waiting: Vec::new(),
            late: 0,
            gone: BTreeSet::new(),
        }
    }

    /// Whether no request will take effect that nobody waits for.
    pub(super) const fn is_quiet(&self) -> bool {
        self.late == 0
    }

    /// Whether only members still wait for answers.
    pub(super) fn only_members_wait(&self) -> bool {
        self.ops.values().all(|op| matches!(op.from, Client::Member(_)))
    }

    /// Sends a request; what becomes of it is drawn here.
    pub(super) fn send(&mut self, from: Client, request: Request, stage: &mut Stage<'_>) {
        self.next_op += 1;
        let (op, kind) = (self.next_op, request.kind());
        stage.note(from, What::Asks(kind, op));
        let fates = stage.plan.fates;
        let give_up_ns = stage.now_ns + request.waits_ns() + PATIENCE_NS;
        let mut arrives_ns = stage.now_ns + MS / 10 + self.rng.below(MS);
        let (mut instead, mut late, mut takes_effect) = (None, false, true);
        if !stage.healed {
            let mut draw = self.rng.below(1000);
            let mut falls = |rate: u64| {
                let falls = draw < rate;
                draw = draw.wrapping_sub(rate);
                if !falls && draw > 1000 {
                    draw = 1000;
                }
                falls
            };
            let maybe = || Some(error(kind.name(), Applied::Maybe, "no answer"));
            if falls(fates.lost_request) {
                stage.strike(from, Fault::LostRequest);
                (instead, takes_effect) = (maybe(), false);
            } else if falls(fates.lost_reply) {
                stage.strike(from, Fault::LostReply);
                instead = maybe();
            } else if falls(fates.late) {
                stage.strike(from, Fault::Late);
                (instead, late) = (maybe(), true);
                arrives_ns = give_up_ns + self.rng.below(LATE_MAX_NS);
            } else if falls(fates.refused) {
                stage.strike(from, Fault::Refused);
                instead = Some(error(kind.name(), Applied::No, "refused"));
                takes_effect = false;
            } else if falls(fates.slow) {
                stage.strike(from, Fault::Slow);
                arrives_ns += self.rng.below(PATIENCE_NS * 9 / 10);
            }
        }
        let refused = instead.as_ref().is_some_and(|error| error.applied == Applied::No);
        if instead.is_some() {
            let told_ns = if refused { stage.now_ns + MS } else { give_up_ns };
            stage.at(told_ns, Event::Answer(op));
        }
        if takes_effect {
            stage.at(arrives_ns, Event::Arrive(op));
        }
        self.late += u32::from(late);
        let op_data = Op { from, request, kind, answer: None, instead, late, settled: false };
        self.ops.insert(op, op_data);
    }

    /// A request reaches the server.
    pub(super) fn arrive(&mut self, op: u64, stage: &mut Stage<'_>) -> Checked {
        let Some(data) = self.ops.get_mut(&op) else { return Ok(()) };
        self.late -= u32::from(data.late);
        if !self.server.is_away(stage.now_ns) {
            return self.take_effect(op, stage);
        }
        if data.instead.is_none() {
            // Half of the time the client is told at once.
            let (applied, pause_ns) = match self.rng.below(2) {
                0 => (Applied::No, MS),
                _ => (Applied::Maybe, PATIENCE_NS),
            };
            data.instead = Some(error(data.kind.name(), applied, "outage"));
            stage.at(stage.now_ns + pause_ns, Event::Answer(op));
        } else if data.settled {
            self.ops.remove(&op);
        }
        Ok(())
    }

    fn take_effect(&mut self, op: u64, stage: &mut Stage<'_>) -> Checked {
        let data = self.ops.get_mut(&op).expect("what takes effect is under way");
        let of_dead = self.gone.contains(&data.from);
        if of_dead {
            stage.counts.note(Fault::Ghost);
        }
        // Late is also what an earlier process of the same name left on its way.
        let late = data.late || of_dead || data.settled;
        let result = self.server.carry_out(data.from, op, &data.request, late, stage)?;
        let empty = matches!(&result, Ok(Answer::Polled(polled)) if polled.deliveries.is_empty());
        let waits_ns = data.request.waits_ns();
        let notifies = data.request.notifies() && result.is_ok();
        let first_time = data.answer.is_none();
        data.answer = Some(result);
        if data.settled {
            self.ops.remove(&op);
        } else if data.instead.is_none() {
            if !empty || waits_ns == 0 {
                self.waiting.retain(|&waiting| waiting != op);
                self.reply(op, stage);
            } else if first_time {
                self.waiting.push(op);
                stage.at(stage.now_ns + waits_ns, Event::WaitOver(op));
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
        if let Some(at) = self.waiting.iter().position(|&waiting| waiting == op) {
            self.waiting.remove(at);
            self.reply(op, stage);
        }
    }

    fn reply(&mut self, op: u64, stage: &mut Stage<'_>) {
        let mut takes_ns = MS / 10 + self.rng.below(MS);
        if !stage.healed && self.rng.below(1000) < stage.plan.fates.slow {
            takes_ns += self.rng.below(PATIENCE_NS / 2);
        }
        stage.at(stage.now_ns + takes_ns, Event::Answer(op));
    }

    /// A request is answered, or its client gives up. Returns whom to tell what, unless they know already.
    pub(super) fn answer(&mut self, op: u64, stage: &mut Stage<'_>) -> Option<Answered> {
        let data = self.ops.get_mut(&op).filter(|data| !data.settled)?;
        data.settled = true;
        let result = match &data.instead {
            Some(error) => Err(error.clone()),
            None => data.answer.clone().expect("it took effect"),
        };
        stage.note(data.from, What::Answered(data.kind, op, result.is_ok()));
        let client = data.from;
        // What is still on its way stays known.
        let request = if data.late && data.answer.is_none() {
            data.request.clone()
        } else {
            self.waiting.retain(|&waiting| waiting != op);
            self.ops.remove(&op)?.request
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
