//! The simulated server: the store, the witness that is told everything in the order of effect, and the states that the
//! server is in for a while.

use silvertine_engine::{executor::block_on, time::Nanos};
use silvertine_streams::{MessageId, StoreError, Streams};

use super::{
    Subject,
    fault::Fault,
    op::{Answer, Client, Request, execute},
    plan::Plan,
    promise::{Checked, Violation, ensure},
    stage::{EPOCH_NS, Stage},
    trace::{What, Who},
    witness::Witness,
};
use crate::kernel::{states::States, wall_clock::WallClock};

/// Effects between two comparisons of all counts.
const ACCOUNT_EVERY: u64 = 32;

pub(super) struct Server<'a, S> {
    pub(super) store: S,
    subject: Subject<'a, S>,
    pub(super) witness: Witness,
    effects: u64,
    states: States<Fault>,
    /// All that has changed the store, where a failover may lose the newest of it.
    history: Option<Vec<Write>>,
}

/// Whether a request gets through to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// It is carried out later.
    Frozen {
        until_ns: u64,
    },
    /// Nothing gets there.
    Unreachable,
    /// There is no server.
    Down,
}

/// Something that has changed the store.
enum Write {
    Request { from: Client, request: Request, late: bool, at: Nanos, changes: bool },
    Deleted(MessageId),
}

impl<'a, S: Streams> Server<'a, S> {
    pub(super) fn new(plan: &Plan, subject: Subject<'a, S>) -> Self {
        Self {
            store: (subject.open)(plan),
            subject,
            witness: Witness::new(plan),
            effects: 0,
            states: States::default(),
            history: plan.has_losses().then(Vec::new),
        }
    }

    pub(super) fn declare(&self) -> Checked {
        let declared = block_on(self.store.declare(Nanos(EPOCH_NS)));
        let why = declared.err().map(|error| error.to_string());
        ensure!(why.is_none(), Model, "declare fails: {}", why.unwrap_or_default());
        Ok(())
    }

    /// Puts the server into a state.
    pub(super) fn enter(&mut self, state: Fault, until_ns: u64) {
        self.states.enter(state, until_ns);
    }

    pub(super) fn way(&self, now_ns: u64) -> Way {
        let is_in = |state| self.states.is_in(state, now_ns);
        if is_in(Fault::Restart) || is_in(Fault::Failover) {
            Way::Down
        } else if is_in(Fault::Outage) {
            Way::Unreachable
        } else if let Some(until_ns) = self.states.ends_ns(Fault::Stall, now_ns) {
            Way::Frozen { until_ns }
        } else {
            Way::Open
        }
    }

    /// Faults end. A server that is frozen or down still needs its time.
    pub(super) fn heal(&mut self) {
        self.states.end_all_but(|state| state != Fault::Outage);
    }

    /// Carries a request out and lets the witness compare. `late` says that its client no longer waits for it.
    pub(super) fn carry_out(
        &mut self,
        from: Client,
        op: u64,
        request: &Request,
        late: bool,
        stage: &mut Stage<'_>,
    ) -> Result<Result<Answer, StoreError>, Violation> {
        let at = stage.store_time();
        let result = execute(&self.store, request, at);
        stage.note(from, What::Takes(request.kind(), op, result.is_ok()));
        self.witness.observe(&self.store, request, &result, late, from, stage)?;
        if let Some(history) = &mut self.history
            && let Ok(answer) = &result
        {
            let (request, changes) = (request.clone(), changes(request, answer));
            history.push(Write::Request { from, request, late, at, changes });
        }
        self.effects += 1;
        if self.effects.is_multiple_of(ACCOUNT_EVERY) {
            self.witness.account(&self.store, stage)?;
        }
        Ok(result)
    }

    /// Deletes a message behind everybody's back.
    pub(super) fn delete(&mut self, id: &MessageId, stage: &mut Stage<'_>) {
        stage.strike(Who::World, Fault::Stranger);
        (self.subject.delete)(&self.store, id);
        self.witness.deleted(id);
        if let Some(history) = &mut self.history {
            history.push(Write::Deleted(id.clone()));
        }
    }

    /// Another server takes over that lacks the newest `lose` changes. It is built from all the others, and so is the
    /// witness; see [`Witness::take_over`] for what follows from the loss.
    pub(super) fn fail_over(&mut self, lose: u64, stage: &mut Stage<'_>) -> Checked {
        let mut history = self.history.take().unwrap_or_default();
        let kept = kept(&history, lose);
        count_losses(&history[kept..], stage);
        history.truncate(kept);
        self.store = (self.subject.open)(stage.plan);
        self.declare()?;
        let former = std::mem::replace(&mut self.witness, Witness::new(stage.plan));
        self.witness.learn_from(&former);
        // What is carried out once more is no news: its trace and its counts are thrown away.
        let mut unseen = Stage::new(stage.plan, false);
        for write in &history {
            match write {
                Write::Request { from, request, late, at, .. } => {
                    unseen.clock = WallClock::new(at.0);
                    let result = execute(&self.store, request, *at);
                    let witness = &mut self.witness;
                    witness.observe(&self.store, request, &result, *late, *from, &mut unseen)?;
                }
                Write::Deleted(id) => {
                    (self.subject.delete)(&self.store, id);
                    self.witness.deleted(id);
                }
            }
        }
        self.witness.take_over(former);
        self.history = Some(history);
        Ok(())
    }
}

/// Whether a request has changed more than when its client was last heard.
fn changes(request: &Request, answer: &Answer) -> bool {
    match (request, answer) {
        (Request::Letters { .. } | Request::Extend { .. }, _) => false,
        (_, Answer::Fetched(polled)) => !polled.deliveries.is_empty(),
        _ => true,
    }
}

/// How much of a history is left without its newest `lose` changes.
fn kept(history: &[Write], lose: u64) -> usize {
    let changes = history.iter().enumerate().rev().filter(|(_, write)| match write {
        Write::Request { changes, .. } => *changes,
        Write::Deleted(_) => true,
    });
    changes.take(lose as usize).last().map_or(history.len(), |(at, _)| at)
}

/// Counts what clients rely upon and is lost.
fn count_losses(lost: &[Write], stage: &mut Stage<'_>) {
    for write in lost {
        let fault = match write {
            Write::Request { request: Request::Publish(_), .. } => Fault::LostPublication,
            Write::Request { request: Request::Settle { .. }, .. } => Fault::LostSettlement,
            _ => continue,
        };
        stage.counts.note(fault);
    }
}
