//! The server's side: requests arrive, and take effect if the server lets them.

use std::sync::Arc;

use silvertine_engine::log::{EventLog, LogError, Published};

use super::{
    Next, World,
    requests::{Pending, Travelling},
};
use crate::log::{
    coverage::Sight,
    fault::OpKind,
    op::{Answer, Request},
    trace::What,
};

impl<L: EventLog + Default> World<L> {
    pub(super) fn plan_effects(
        &mut self,
        op: u64,
        effects_ns: [Option<u64>; 2],
        request: &Arc<Request>,
    ) {
        let Some(&Pending { kind, n, .. }) = self.pending.get(op) else { return };
        for at in effects_ns.into_iter().flatten() {
            self.next_id += 1;
            let id = self.next_id;
            self.travelling.push(id, Travelling { op, kind, n, request: Arc::clone(request) });
            self.schedule(at, Next::Effect(id));
        }
    }

    /// A request reaches the server.
    pub(crate) fn take_effect(&mut self, id: u64) {
        let Some(travelling) = self.travelling.get(id) else { return };
        let op = travelling.op;
        if let Some(thaws) = self.server.frozen_until(self.now()) {
            self.schedule(thaws, Next::Effect(id));
            self.time_out(op);
            return;
        }
        let Some(Travelling { op, kind, n, request }) = self.travelling.remove(id) else { return };
        if self.server.is_gone(self.now()) {
            self.reset_connection(op);
            return;
        }
        let answer = match self.server.refusal(self.now(), &request) {
            Some(error) => Err(error),
            None => self.carry_out(&request),
        };
        let awaited = self.pending.get(op).filter(|pending| pending.answer.is_none());
        let awaited = awaited.filter(|pending| !self.processes[pending.process].dead);
        let process = self.pending.get(op).map(|pending| pending.process);
        match awaited {
            None => {
                self.note(process, What::Ghost(kind, n, answer.is_ok()));
                if kind == OpKind::Commit {
                    let taken = matches!(&answer, Ok(Answer::Committed(done)) if !done.duplicate);
                    let sight = [Sight::GhostCommitRefused, Sight::GhostCommitTaken];
                    self.coverage.see(sight[usize::from(taken)]);
                }
            }
            Some(pending) => {
                let waits_until = pending.asked_at + wait_of(&request, &answer);
                self.note(process, What::Took(kind, n, answer.is_ok()));
                let arrives = waits_until.max(self.now()) + self.latency();
                if let Some(pending) = self.pending.get_mut(op) {
                    pending.answer = Some(answer);
                    self.schedule(arrives, Next::Reply(op));
                }
            }
        }
    }

    fn carry_out(&mut self, request: &Arc<Request>) -> Result<Answer, LogError> {
        let (answer, checked) = self.server.carry_out(request);
        self.check(checked);
        if request.kind() == OpKind::Commit && answer.is_ok() && self.server.recovered_from_damage()
        {
            self.coverage.see(Sight::FellBack);
        }
        match &answer {
            Ok(Answer::Committed(done)) if done.duplicate => {
                self.coverage.see(Sight::CommitRepeated);
            }
            Ok(Answer::Removed(1..)) => self.coverage.see(Sight::Trimmed),
            Ok(Answer::Published(answers)) if answers.contains(&Published::Duplicate) => {
                self.coverage.see(Sight::MessageRepeated);
            }
            _ => {}
        }
        answer
    }
}

/// How long the server holds an answer back: an empty ingress is waited at.
fn wait_of(request: &Request, answer: &Result<Answer, LogError>) -> u64 {
    match (request, answer) {
        (Request::Ingress { wait, .. }, Ok(Answer::Messages(messages))) if messages.is_empty() => {
            u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)
        }
        _ => 0,
    }
}
