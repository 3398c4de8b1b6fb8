//! Asking the store for messages, and taking in what it hands over.

use std::{sync::Arc, time::Duration};

use super::{
    Action, MemberMachine, Trouble, WAIT_MAX,
    handling::STARTS_MAX,
    held::{Held, OwnReason, Stage},
};
use crate::{
    Class, Delivery, Disposition, FetchScope, Fetched, HandlerFailure, LaneOrder, Reason,
    Settlement, StoreError, Why, dead, message,
};
use silvertine_engine::{circuit::Circuit, time::Nanos};

/// How often a busy member looks for retries that are due and members that died.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// Every so many fetches, the least urgent lane comes first, so that none starves.
const URGENT_LAST_EVERY: u64 = 8;

impl MemberMachine {
    pub(super) fn next_fetch(&mut self, now: Nanos) -> Option<Action> {
        if self.fetching || self.draining.is_some() || !self.fetch_trouble.over(now) {
            return None;
        }
        let limit = match self.circuit {
            Circuit::Open { until } if now < until => return None,
            // A single message decides whether the circuit closes.
            Circuit::Open { .. } | Circuit::HalfOpen => 1_usize.saturating_sub(self.held.len()),
            Circuit::Closed { .. } => {
                let in_flight = self.config.group.in_flight;
                // New messages may come while others are still being settled, but not without limit: a store that settles
                // nothing must not be asked for more.
                let unsettled = in_flight.saturating_mul(2).saturating_sub(self.held.len());
                let free = in_flight.saturating_sub(self.unfinished()).min(unsettled);
                // One half is fetched while the other half is handled. Smaller fetches would cost more than they bring.
                if free >= in_flight.div_ceil(4) { free.min(in_flight.div_ceil(2)) } else { 0 }
            }
        };
        if limit == 0 {
            return None;
        }
        let reclaim_after = self.config.group.reclaim_after.duration();
        if self.own.is_none() && now >= self.owned.saturating_add(reclaim_after) {
            self.own = Some(OwnReason::Check);
        }
        let own = self.own.is_some();
        let due = self.next_due.map(|at| at.since(now));
        // While a fetch waits, no other request shows that this member is alive.
        let longest = WAIT_MAX.min(self.heartbeat());
        let wait = if own { Duration::ZERO } else { longest.min(due.unwrap_or(longest)) };
        let returned = self.found_nothing
            || self.tended.is_none_or(|at| now >= at.saturating_add(TEND_EVERY))
            || due == Some(Duration::ZERO);
        let scope = match (own, returned) {
            (true, _) => FetchScope::WithOwn,
            (false, true) => FetchScope::WithReturned,
            (false, false) => FetchScope::NewOnly,
        };
        if scope.includes_returned() {
            self.tended = Some(now);
        }
        self.fetching = true;
        self.fetch_sent = now;
        self.ended_meanwhile.clear();
        self.done_meanwhile.clear();
        self.fetches = self.fetches.wrapping_add(1);
        let lanes = match self.fetches.is_multiple_of(URGENT_LAST_EVERY) {
            true => LaneOrder::UrgentLast,
            false => LaneOrder::UrgentFirst,
        };
        Some(Action::Fetch { limit, wait, scope, lanes })
    }

    /// Reports how a fetch ended.
    pub fn fetched(&mut self, result: Result<Fetched, StoreError>, now: Nanos) {
        self.fetching = false;
        match result {
            Ok(fetched) => {
                self.fetch_trouble = Trouble::default();
                self.found_nothing = fetched.deliveries.is_empty();
                self.heard(self.fetch_sent, now);
                if !fetched.deliveries.is_empty() && !self.is_fresh(self.fetch_sent, now) {
                    // The answer took so long that another member may have these messages by now.
                    self.lease_proven_at = self.lease_proven_at.min(self.fetch_sent);
                    self.unasked = true;
                }
                let reason = self.own.take();
                if reason.is_some() {
                    self.owned = self.fetch_sent;
                }
                self.next_due = fetched.next_due.map(|due| now.saturating_add(due.duration()));
                for delivery in fetched.deliveries {
                    self.take(delivery, reason, now);
                }
            }
            Err(_) => {
                self.stats.store_errors += 1;
                self.fetch_trouble.note(now);
                // Whatever the error says, ask once more for everything held. That costs little, and a message that was
                // handed over without an answer would wait until this member dies.
                self.own = self.own.or(Some(OwnReason::AnswerLost));
            }
        }
    }

    fn take(&mut self, delivery: Delivery, own: Option<OwnReason>, now: Nanos) {
        let Delivery { id, message, why, mut tries, deliveries, done } = delivery;
        if self.held.contains_key(&id) {
            return;
        }
        // This member has settled it since the fetch was sent, so it no longer holds it; if the store handed it over
        // after that, the next fetch of its own messages tells.
        if self.ended_meanwhile.contains(&id) {
            if why != Why::Own {
                self.own = self.own.or(Some(OwnReason::AnswerLost));
            }
            return;
        }
        self.stats.delivered += 1;
        if self.held.is_empty() {
            // It was idle until now: the fetch itself was its sign of life.
            self.extended = self.fetch_sent;
        }
        if why == Why::Reclaimed {
            tries.reclaims = tries.reclaims.saturating_add(1);
        }
        let gone = message.is_none();
        let message = message.unwrap_or_default();
        let (message, origin, redrives) =
            dead::redriven(&message).unwrap_or_else(|| (message, id.clone(), 0));
        let key: Option<Arc<str>> =
            message.text(message::KEY).filter(|key| !key.is_empty()).map(Into::into);
        let stage = match why {
            Why::Reclaimed => Stage::Suspect,
            Why::Own if own == Some(OwnReason::Started) => Stage::Suspect,
            // It was a suspect before, and no handler has ended on it since.
            _ if tries.starts > 0 => Stage::Suspect,
            _ => Stage::Ready,
        };
        let done = done || key.as_ref().is_some_and(|key| self.done_meanwhile.contains(key));
        let message = Arc::new(message);
        let given_back = false;
        let held = Held { message, key, origin, redrives, tries, deliveries, given_back, stage };
        let disposition = if gone {
            let text = "it was trimmed away or deleted before it was handled";
            let failure = HandlerFailure::new(Class::Poison, "trimmed", text);
            Some(self.give_up(&held, Reason::Trimmed, failure, now))
        } else if done {
            Some(Disposition::Done { key: held.remembered_as(&id), emit: Vec::new() })
        } else if held.tries.starts >= STARTS_MAX {
            let text = format!("{STARTS_MAX} processes died while they handled it");
            let failure = HandlerFailure::new(Class::Poison, "crashed", &text);
            Some(self.give_up(&held, Reason::Crashed, failure, now))
        } else if self.draining.is_some() || self.unfinished() >= self.config.group.in_flight {
            Some(Disposition::Release)
        } else {
            None
        };
        let stage = if disposition.is_some() { Stage::Settling } else { stage };
        self.held.insert(id.clone(), Held { stage, ..held });
        match disposition {
            Some(disposition) => self.outbox.push_back(Settlement { id, disposition }),
            None if stage == Stage::Suspect => self.suspects.push_back(id),
            None => self.ready.push_back(id),
        }
    }
}
