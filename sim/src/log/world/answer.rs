//! The client's side once it has asked: answers arrive, or something else does in their place.

use silvertine_engine::{
    driver::RetryConfig,
    log::{EventLog, LogError},
};

use super::{
    Next, World,
    requests::{TIMEOUT_NS, failure},
};
use crate::{
    kernel::network::Told,
    log::{
        coverage::Sight,
        fault::OpKind,
        op::Answer,
        oracle::{Promise, Violation},
        trace::What,
    },
};

/// Attempts that may fail within one second of virtual time; more is a storm.
const FAILURES_PER_SECOND: usize = 60;

impl<L: EventLog + Default> World<L> {
    /// Which process an answer is for, now that it arrives; `None` when it arrived before.
    pub(crate) fn deliver(&mut self, id: u64) -> Option<usize> {
        let pending = self.pending.get_mut(id).filter(|pending| !pending.delivered)?;
        pending.delivered = true;
        let (process, kind) = (pending.process, pending.kind);
        let well = matches!(pending.answer, Some(Ok(_)));
        if self.processes[process].dead {
            self.pending.remove(id);
            return None;
        }
        self.note(Some(process), What::Answered(kind, well));
        self.processes[process].blind = kind == OpKind::Look && !well;
        if !well {
            self.note_failure(process);
        }
        Some(process)
    }

    /// The answer to an operation, once it is there.
    pub(crate) fn take_answer(&mut self, id: u64) -> Option<Result<Answer, LogError>> {
        self.pending.get(id).filter(|pending| pending.delivered)?;
        let pending = self.pending.remove(id)?;
        let answer = pending.answer?;
        let process = &mut self.processes[pending.process];
        process.end(pending.operation, &answer);
        // It may have been frozen with the answer in its hands while the log lost what it says.
        process.lost |= process.acknowledged > self.server.witness.head.pos;
        if let Ok(Answer::Page(page)) = &answer
            && let Some(first) = page.entries.first_pos()
        {
            self.coverage.see(if first.seq == 1 { Sight::ReplayedAll } else { Sight::Replayed });
        }
        Some(answer)
    }

    /// A process sleeps.
    pub(crate) fn check_patience(&mut self, process: usize, pause_ns: u64) {
        let Some((operation, waited)) = self.processes[process].add_pause(pause_ns) else { return };
        let RetryConfig { give_up_after, give_up_acquiring_after, .. } = self.retry;
        let limit = match operation {
            "acquire" => give_up_acquiring_after,
            // Whoever is told that it is fenced looks at the head no longer than it would acquire.
            _ => give_up_after.max(give_up_acquiring_after),
        };
        if waited > limit {
            let what = format!("p{process} does not give up {operation}");
            let limit = format!("at most {limit:?}");
            self.violate(Violation::new(Promise::Bounds, what, limit, format!("{waited:?}")));
        }
    }

    pub(super) fn answer_later(&mut self, id: u64, at: u64, answer: LogError) {
        if let Some(pending) = self.pending.get_mut(id).filter(|pending| !pending.delivered) {
            pending.answer = Some(Err(answer));
            self.schedule(at, Next::Reply(id));
        }
    }

    /// What the frozen server does not answer in time is given up.
    pub(super) fn time_out(&mut self, op: u64) {
        let Some(pending) = self.pending.get(op).filter(|p| p.answer.is_none()) else { return };
        let deadline = pending.asked_at + TIMEOUT_NS;
        let error = failure(pending.operation, Told::TimedOut);
        self.answer_later(op, deadline, error);
    }

    /// The client of an operation learns that its connection broke, unless it has an answer.
    pub(super) fn reset_connection(&mut self, op: u64) {
        let Some(pending) = self.pending.get(op).filter(|p| p.answer.is_none()) else { return };
        let error = failure(pending.operation, Told::Reset);
        let at = self.now() + self.latency();
        self.answer_later(op, at, error);
    }

    pub(super) fn reset_connections(&mut self) {
        for op in self.pending.ids() {
            self.reset_connection(op);
        }
    }

    /// Too many failed attempts within a second are a storm.
    fn note_failure(&mut self, process: usize) {
        let now = self.now();
        let failures = &mut self.processes[process].failures;
        failures.push_back(now);
        while failures.front().is_some_and(|&at| now - at > 1_000_000_000) {
            failures.pop_front();
        }
        let count = failures.len();
        if count > FAILURES_PER_SECOND {
            let what = format!("p{process} tries again and again without a pause");
            let limit = format!("at most {FAILURES_PER_SECOND} failed attempts in a second");
            self.violate(Violation::new(Promise::Bounds, what, limit, count));
        }
    }
}
