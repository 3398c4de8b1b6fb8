//! The client's side after a request was sent: the server's answer arrives, or a time-out, or the news that the connection broke.

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

/// Attempts of one process that may fail within one second of virtual time; more means that it retries without a pause.
const FAILURES_PER_SECOND: usize = 60;

impl<L: EventLog + Default> World<L> {
    /// An answer arrives. Returns the process that waits for it; `None` when it has one already, or is dead.
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

    /// Hands the answer of an operation to its process, once it has arrived.
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

    /// Checks, when a process sleeps before a further attempt, that it gives up in time.
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

    /// The client gives up on an operation that the frozen server does not answer in time.
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

    /// Checks that failed attempts do not follow each other without a pause.
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
