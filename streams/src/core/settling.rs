//! What the store says of settlements, and of what is still held.

use std::sync::Arc;

use super::{
    Core, SETTLE_MAX,
    held::{Held, Stage},
};
use crate::{MessageId, Settled, Settlement, Verdict};
use silvertine_engine::{
    log::{Advice, LogError, LogErrorKind},
    span::Span,
    time::Nanos,
};

impl Core {
    /// Reports what became of the settlements that were asked for.
    pub fn settled(
        &mut self,
        mut sent: Vec<Settlement>,
        result: Result<Vec<Settled>, LogError>,
        now: Nanos,
    ) {
        self.commanding = false;
        let settled = match result {
            Ok(settled) => settled,
            Err(error) => {
                self.failed_command(now);
                // Should the store never take one of them, it must not keep the others back. Nor may one whose
                // outputs have no room: it is perhaps the others that make it.
                if error.advice() == Advice::GiveUp
                    || matches!(error.kind, LogErrorKind::RefusesWrites { .. })
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
            // A poll that asks for its own can bring it once more; and one that was handed what this member had lost
            // before, unless it is done, which is known by its key.
            let comes_again =
                self.own.is_some() || !matches!(settlement.verdict, Verdict::Done { .. });
            if self.polling && comes_again {
                self.ended_meanwhile.insert(settlement.id.clone());
            }
            if let Verdict::Done { key: Some(key), .. } = &settlement.verdict
                && settled != Settled::Lost
            {
                self.settle_twins(key);
            }
            let counter = match (settled, settlement.verdict) {
                (Settled::Lost, _) => &mut self.stats.lost,
                (Settled::Duplicate, _) => &mut self.stats.duplicates,
                (Settled::Applied, Verdict::Done { .. }) => &mut self.stats.done,
                (Settled::Applied, Verdict::Retry { .. }) if given_back => continue,
                (Settled::Applied, Verdict::Retry { .. }) => {
                    // It may be due before the next look.
                    self.tended = None;
                    &mut self.stats.retried
                }
                (Settled::Applied, Verdict::Dead(_)) => &mut self.stats.dead,
                (Settled::Applied, Verdict::Release) => continue,
            };
            *counter += 1;
        }
    }

    /// Messages with the key of one that is done only need to be settled.
    fn settle_twins(&mut self, key: &Arc<str>) {
        if self.config.group.idempotency_window == Span::ZERO {
            return;
        }
        if self.polling {
            self.done_meanwhile.insert(Arc::clone(key));
        }
        let Self { held, ready, suspects, outbox, .. } = self;
        for queue in [ready, suspects] {
            queue.retain(|id| {
                let twin = held.get_mut(id).filter(|held| held.key.as_ref() == Some(key));
                let Some(twin) = twin else { return true };
                twin.stage = Stage::Settling;
                let verdict = Verdict::Done { key: Some(Arc::clone(key)), emit: Vec::new() };
                outbox.push_back(Settlement { id: id.clone(), verdict });
                false
            });
        }
    }

    /// Reports which messages the member no longer holds.
    pub fn extended(&mut self, result: Result<Vec<MessageId>, LogError>, now: Nanos) {
        self.commanding = false;
        match result {
            Ok(lost) => {
                self.command_succeeded(now);
                for id in lost {
                    self.forget(&id);
                }
                // All that is left was this member's when it asked.
                if !self.unasked {
                    self.sure = self.sure.max(self.command_sent);
                }
            }
            Err(_) => {
                self.failed_command(now);
                self.extended = Nanos::ZERO;
            }
        }
    }

    /// Somebody else has it. What runs comes to its end, and its settlement says that it was lost.
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
