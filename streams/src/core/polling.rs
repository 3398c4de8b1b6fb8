//! Asking the store for messages, and taking in what it hands over.

use std::{sync::Arc, time::Duration};

use super::{
    Action, Core, Trouble, WAIT_MAX,
    handling::STARTS_MAX,
    held::{Held, OwnReason, Stage},
};
use crate::{Class, Delivery, Failure, Polled, Reason, Settlement, Verdict, Why, dead, message};
use silvertine_engine::{circuit::Circuit, log::LogError, time::Nanos};

/// How often a busy member looks for retries that are due and members that died.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// Every so many polls, the least urgent lane comes first, so that none starves.
const REVERSE_EVERY: u64 = 8;

impl Core {
    pub(super) fn next_poll(&mut self, now: Nanos) -> Option<Action> {
        if self.polling || self.draining.is_some() || !self.poll_trouble.over(now) {
            return None;
        }
        let limit = match self.circuit {
            Circuit::Open { until } if now < until => return None,
            // One message decides.
            Circuit::Open { .. } | Circuit::HalfOpen => 1_usize.saturating_sub(self.held.len()),
            Circuit::Closed { .. } => {
                let in_flight = self.config.group.in_flight;
                // The next messages come while the last are settled; a store that settles nothing ends that.
                let unsettled = in_flight.saturating_mul(2).saturating_sub(self.held.len());
                let free = in_flight.saturating_sub(self.unfinished()).min(unsettled);
                // Half of them come while the other half is handled, and many small polls would cost more than
                // they bring.
                if free >= in_flight.div_ceil(4) { free.min(in_flight.div_ceil(2)) } else { 0 }
            }
        };
        if limit == 0 {
            return None;
        }
        let reclaim_after = self.config.group.reclaim_after.duration();
        if self.own.is_none() && now >= self.owned.saturating_add(reclaim_after) {
            self.own = Some(OwnReason::Sure);
        }
        let own = self.own.is_some();
        let due = self.next_due.map(|at| at.since(now));
        // While a poll waits, nothing shows that this member is alive.
        let longest = WAIT_MAX.min(self.heartbeat());
        let wait = if own { Duration::ZERO } else { longest.min(due.unwrap_or(longest)) };
        let tend = own
            || self.found_nothing
            || self.tended.is_none_or(|at| now >= at.saturating_add(TEND_EVERY))
            || due == Some(Duration::ZERO);
        if tend {
            self.tended = Some(now);
        }
        self.polling = true;
        self.poll_sent = now;
        self.ended_meanwhile.clear();
        self.done_meanwhile.clear();
        self.polls = self.polls.wrapping_add(1);
        let reverse = self.polls.is_multiple_of(REVERSE_EVERY);
        Some(Action::Poll { limit, wait, own, tend, reverse })
    }

    /// Reports how a poll ended.
    pub fn polled(&mut self, result: Result<Polled, LogError>, now: Nanos) {
        self.polling = false;
        match result {
            Ok(polled) => {
                self.poll_trouble = Trouble::default();
                self.found_nothing = polled.deliveries.is_empty();
                self.heard(self.poll_sent, now);
                if !polled.deliveries.is_empty() && !self.is_fresh(self.poll_sent, now) {
                    // The answer took so long that what it brings may be somebody else's by now.
                    self.sure = self.sure.min(self.poll_sent);
                    self.unasked = true;
                }
                let reason = self.own.take();
                if reason.is_some() {
                    self.owned = self.poll_sent;
                }
                self.next_due = polled.next_due.map(|due| now.saturating_add(due.duration()));
                for delivery in polled.deliveries {
                    self.take(delivery, reason, now);
                }
            }
            Err(_) => {
                self.stats.store_errors += 1;
                self.poll_trouble.note(now);
                // Whatever the error says: asking once more for what is ours costs little, and a message handed
                // over unseen would wait until this member dies.
                self.own = self.own.or(Some(OwnReason::AnswerLost));
            }
        }
    }

    fn take(&mut self, delivery: Delivery, own: Option<OwnReason>, now: Nanos) {
        let Delivery { id, message, why, mut tries, deliveries, done } = delivery;
        if self.held.contains_key(&id) {
            return;
        }
        // What this member settled since it asked is its own no more; or was handed to it behind that, and then it is
        // told when it asks.
        if self.ended_meanwhile.contains(&id) {
            if why != Why::Own {
                self.own = self.own.or(Some(OwnReason::AnswerLost));
            }
            return;
        }
        self.stats.delivered += 1;
        if self.held.is_empty() {
            // It was idle: the store knows of its life by the poll itself.
            self.extended = self.poll_sent;
        }
        if why == Why::Reclaimed {
            tries.reclaims = tries.reclaims.saturating_add(1);
        }
        let gone = message.is_none();
        let message = message.unwrap_or_default();
        let (message, origin, replays) =
            dead::replayed(&message).unwrap_or_else(|| (message, id.clone(), 0));
        let key: Option<Arc<str>> =
            message.text(message::KEY).filter(|key| !key.is_empty()).map(Into::into);
        let stage = match why {
            Why::Reclaimed => Stage::Suspect,
            Why::Own if own == Some(OwnReason::Started) => Stage::Suspect,
            // It was under suspicion before, and no handler has come to an end on it since.
            _ if tries.starts > 0 => Stage::Suspect,
            _ => Stage::Ready,
        };
        let done = done || key.as_ref().is_some_and(|key| self.done_meanwhile.contains(key));
        let message = Arc::new(message);
        let given_back = false;
        let held = Held { message, key, origin, replays, tries, deliveries, given_back, stage };
        let verdict = if gone {
            let text = "it was trimmed away or deleted before it was handled";
            let failure = Failure::new(Class::Poison, "trimmed", text);
            Some(self.give_up(&held, Reason::Trimmed, failure, now))
        } else if done {
            Some(Verdict::Done { key: held.remembered_as(&id), emit: Vec::new() })
        } else if held.tries.starts >= STARTS_MAX {
            let text = format!("{STARTS_MAX} processes died while they handled it");
            let failure = Failure::new(Class::Poison, "crashed", &text);
            Some(self.give_up(&held, Reason::Crashed, failure, now))
        } else if self.draining.is_some() || self.unfinished() >= self.config.group.in_flight {
            Some(Verdict::Release)
        } else {
            None
        };
        let stage = if verdict.is_some() { Stage::Settling } else { stage };
        self.held.insert(id.clone(), Held { stage, ..held });
        match verdict {
            Some(verdict) => self.outbox.push_back(Settlement { id, verdict }),
            None if stage == Stage::Suspect => self.suspects.push_back(id),
            None => self.ready.push_back(id),
        }
    }
}
