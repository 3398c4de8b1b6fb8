//! Taking in what the store answers about settlements, and about what is still held.

use std::sync::Arc;

use super::{
    MemberMachine, SETTLE_MAX,
    held::{Held, Stage},
};
use crate::{Disposition, MessageId, Settled, Settlement, StoreError, StoreErrorKind};
use silvertine_engine::{span::Span, time::Nanos};

impl MemberMachine {
    /// Reports what became of the settlements that were asked for.
    pub fn settled(
        &mut self,
        mut sent: Vec<Settlement>,
        result: Result<Vec<Settled>, StoreError>,
        now: Nanos,
    ) {
        self.commanding = false;
        let settled = match result {
            Ok(settled) => settled,
            Err(error) => {
                self.failed_command(now);
                // One that the store never takes must not keep the others back. Neither must one whose outputs have no
                // room: settling the others may make room. So from now on each is sent alone.
                if !error.is_retryable()
                    || matches!(error.kind, StoreErrorKind::RefusesWrites { .. })
                {
                    if sent.len() == 1 {
                        self.outbox.extend(sent.drain(..));
                    }
                    self.settle_max = 1;
                }
                sent.into_iter().rev().for_each(|settlement| self.outbox.push_front(settlement));
                return;
            }
        };
        self.command_succeeded(now);
        self.settle_max = (self.settle_max * 2).min(SETTLE_MAX);
        for (settlement, settled) in sent.into_iter().zip(settled) {
            let held = self.held.get(&settlement.id);
            let given_back = held.is_some_and(|held| held.given_back);
            self.drop_held(&settlement.id);
            // A fetch under way can bring it once more where it asks for everything held, or where this member had lost
            // the message and is handed it again. If it is done, its key tells.
            let comes_again =
                self.own.is_some() || !matches!(settlement.disposition, Disposition::Done { .. });
            if self.fetching && comes_again {
                self.ended_meanwhile.insert(settlement.id.clone());
            }
            if let Disposition::Done { key: Some(key), .. } = &settlement.disposition
                && settled != Settled::Lost
            {
                self.settle_twins(key);
            }
            let counter = match (settled, settlement.disposition) {
                (Settled::Lost, _) => &mut self.stats.lost,
                (Settled::Duplicate, _) => &mut self.stats.duplicates,
                (Settled::Applied, Disposition::Done { .. }) => &mut self.stats.done,
                (Settled::Applied, Disposition::Retry { .. }) if given_back => continue,
                (Settled::Applied, Disposition::Retry { .. }) => {
                    // It may be due before the next regular look, so look again now.
                    self.tended = None;
                    &mut self.stats.retried
                }
                (Settled::Applied, Disposition::Dead(_)) => &mut self.stats.dead,
                (Settled::Applied, Disposition::Release) => continue,
            };
            *counter += 1;
        }
    }

    /// Messages with the key of one that is done only need to be settled.
    fn settle_twins(&mut self, key: &Arc<str>) {
        if self.config.group.idempotency_window == Span::ZERO {
            return;
        }
        if self.fetching {
            self.done_meanwhile.insert(Arc::clone(key));
        }
        let Self { held, ready, suspects, outbox, .. } = self;
        for queue in [ready, suspects] {
            queue.retain(|id| {
                let twin = held.get_mut(id).filter(|held| held.key.as_ref() == Some(key));
                let Some(twin) = twin else { return true };
                twin.stage = Stage::Settling;
                let disposition =
                    Disposition::Done { key: Some(Arc::clone(key)), emit: Vec::new() };
                outbox.push_back(Settlement { id: id.clone(), disposition });
                false
            });
        }
    }

    /// Reports which messages the member no longer holds.
    pub fn extended(&mut self, result: Result<Vec<MessageId>, StoreError>, now: Nanos) {
        self.commanding = false;
        match result {
            Ok(lost) => {
                self.command_succeeded(now);
                for id in lost {
                    self.forget(&id);
                }
                // The member held everything that is left when it sent this request.
                if !self.unasked {
                    self.lease_proven_at = self.lease_proven_at.max(self.command_sent);
                }
            }
            Err(_) => {
                self.failed_command(now);
                self.extended = Nanos::ZERO;
            }
        }
    }

    /// Another member has the message. A handler that runs is not stopped; its settlement will be answered with
    /// [`Settled::Lost`].
    fn forget(&mut self, id: &MessageId) {
        let waits = |held: &Held| matches!(held.stage, Stage::Ready | Stage::Suspect);
        if self.held.get(id).is_some_and(waits) {
            self.drop_held(id);
            self.ready.retain(|other| other != id);
            self.suspects.retain(|other| other != id);
            self.stats.lost += 1;
        }
    }
}
