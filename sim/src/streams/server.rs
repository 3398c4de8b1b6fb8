//! The simulated server: the store, and the witness that is told everything in the order of effect.

use silvertine_engine::{executor::block_on, log::LogError, time::Nanos};
use silvertine_streams::{MessageId, Streams};

use super::{
    fault::Fault,
    op::{Answer, Client, Request, execute},
    promise::{Checked, Violation, ensure},
    stage::Stage,
    trace::{What, Who},
    witness::Witness,
};

/// Effects between two comparisons of all counts.
const ACCOUNT_EVERY: u64 = 32;

pub(super) struct Server<'a, S> {
    pub(super) store: S,
    delete: &'a dyn Fn(&S, &MessageId),
    pub(super) witness: Witness,
    effects: u64,
    /// It answers nobody before then.
    away_until_ns: u64,
}

impl<'a, S: Streams> Server<'a, S> {
    pub(super) const fn new(
        store: S,
        delete: &'a dyn Fn(&S, &MessageId),
        witness: Witness,
    ) -> Self {
        Self { store, delete, witness, effects: 0, away_until_ns: 0 }
    }

    pub(super) fn declare(&self, now: Nanos) -> Checked {
        let declared = block_on(self.store.declare(now));
        ensure!(declared.is_ok(), Model, "declare fails: {declared:?}");
        Ok(())
    }

    /// Answers nobody until then, or longer if it was to.
    pub(super) fn go_away(&mut self, until_ns: u64) {
        self.away_until_ns = self.away_until_ns.max(until_ns);
    }

    pub(super) const fn is_away(&self, now_ns: u64) -> bool {
        now_ns < self.away_until_ns
    }

    /// Everything that lasts ends.
    pub(super) const fn heal(&mut self) {
        self.away_until_ns = 0;
    }

    /// Carries a request out and lets the witness compare. `late` says that its client no longer waits for it.
    pub(super) fn carry_out(
        &mut self,
        from: Client,
        op: u64,
        request: &Request,
        late: bool,
        stage: &mut Stage<'_>,
    ) -> Result<Result<Answer, LogError>, Violation> {
        let now = stage.store_time();
        let result = execute(&self.store, request, now);
        stage.note(from, What::Takes(request.kind(), op, result.is_ok()));
        self.witness.observe(&self.store, request, &result, late, from, stage)?;
        self.effects += 1;
        if self.effects.is_multiple_of(ACCOUNT_EVERY) {
            self.witness.account(&self.store, stage)?;
        }
        Ok(result)
    }

    /// Deletes a message behind everybody's back.
    pub(super) fn delete(&mut self, id: &MessageId, stage: &mut Stage<'_>) {
        stage.strike(Who::World, Fault::Stranger);
        (self.delete)(&self.store, id);
        self.witness.deleted(id);
    }
}
