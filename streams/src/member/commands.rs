//! Commands: everything a member asks of the store except messages. One is under way at a time.

use super::{Action, MemberMachine, Trouble, held::Stage};
use crate::{Settlement, StoreError};
use silvertine_engine::time::Nanos;

impl MemberMachine {
    pub(super) fn command(&mut self, action: Action, now: Nanos) -> Option<Action> {
        self.commanding = true;
        self.command_sent = now;
        Some(action)
    }

    pub(super) fn command_succeeded(&mut self, now: Nanos) {
        self.command_trouble = Trouble::default();
        self.heard(self.command_sent, now);
    }

    pub(super) fn next_command(&mut self, now: Nanos) -> Option<Action> {
        if let Some(action) = self.past_the_deadline(now) {
            return Some(action);
        }
        if self.commanding {
            return None;
        }
        // Past the deadline, do not wait for a store that does not answer: others will reclaim what is left.
        if self.command_trouble.failures > 0 && self.draining.is_some_and(|at| now >= at) {
            self.stopped = true;
            return Some(Action::Stop);
        }
        if !self.command_trouble.over(now) {
            return None;
        }
        if !self.outbox.is_empty() {
            let count = self.outbox.len().min(self.settle_max);
            let settlements = self.outbox.drain(..count).collect();
            return self.command(Action::Settle(settlements), now);
        }
        let in_doubt = !self.ready.is_empty() && !self.is_fresh(self.lease_proven_at, now);
        if !self.held.is_empty()
            && (in_doubt || now >= self.extended.saturating_add(self.heartbeat()))
        {
            self.extended = now;
            self.unasked = false;
            let held = self.held.keys().cloned().collect();
            return self.command(Action::Extend(held), now);
        }
        if self.draining.is_some() && self.held.is_empty() && !self.fetching {
            if self.left {
                self.stopped = true;
                return Some(Action::Stop);
            }
            return self.command(Action::Leave, now);
        }
        self.next_suspect(now)
    }

    /// Abandons the handlers that still run when the deadline of a drain has passed, and releases their messages.
    fn past_the_deadline(&mut self, now: Nanos) -> Option<Action> {
        if self.running == 0 || self.draining.is_none_or(|deadline| now < deadline) {
            return None;
        }
        let mut abandoned = Vec::new();
        for (id, held) in &mut self.held {
            if held.stage == Stage::Running {
                let disposition = held.give_back();
                self.outbox.push_back(Settlement { id: id.clone(), disposition });
                abandoned.push(id.clone());
            }
        }
        if abandoned.is_empty() {
            return None;
        }
        self.running -= abandoned.len();
        Some(Action::Abandon(abandoned))
    }

    /// Reports whether the member has left the group.
    pub fn left(&mut self, result: Result<(), StoreError>, now: Nanos) {
        self.commanding = false;
        match result {
            Ok(()) => self.left = true,
            Err(_) => self.failed_command(now),
        }
    }

    pub(super) fn failed_command(&mut self, now: Nanos) {
        self.stats.store_errors += 1;
        self.command_trouble.note(now);
    }
}
