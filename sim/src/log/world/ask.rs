//! The client's side: a process asks, and faults of this operation decide what becomes of its request.

use std::sync::Arc;

use silvertine_engine::log::{Batch, EntryRef, EventLog};

use super::{
    World,
    requests::{Pending, TIMEOUT_NS, failure},
};
use crate::{
    kernel::network::{Course, Fate, Timing},
    log::{
        fault::{CrashedRequest, Fault, FaultKind, OpKind, Scope},
        op::Request,
        oracle::{Promise, Violation, entry::describe},
        trace::What,
    },
};

impl<L: EventLog + Default> World<L> {
    /// A process asks something of the log.
    pub(crate) fn ask(&mut self, process: usize, request: Request) -> u64 {
        let kind = request.kind();
        self.op_counts[kind as usize] += 1;
        let n = self.op_counts[kind as usize];
        self.next_id += 1;
        let id = self.next_id;
        self.note(Some(process), What::Asked(kind, n, request.content()));
        if let Request::Commit { commit, .. } = &request {
            let checked = self.compare_with_twin(&commit.entries);
            self.check(checked);
        }
        self.processes[process].begin(&request);
        let pending = Pending {
            process,
            kind,
            operation: request.name(),
            n,
            asked_at: self.now(),
            answer: None,
            delivered: false,
        };
        self.pending.push(id, pending);
        let request = Arc::new(request);
        let arrives = self.now() + self.latency();
        let mut normal = true;
        for fault in self.faults_at(kind, n) {
            normal &= !self.strike_request(fault, id, &request, arrives);
        }
        if self.processes[process].dead && normal {
            // Struck by something else than this operation: the request was not sent.
            return id;
        }
        if normal {
            let away = self.server.is_away(self.now());
            let fate = if away { Fate::Refused } else { Fate::Normal };
            self.send(id, fate, arrives, &request);
        }
        id
    }

    /// Checks that every entry of a commit is the one that the twin has at its place.
    fn compare_with_twin(&self, entries: &Batch) -> Result<(), Violation> {
        let Some(twin) = &self.twin else { return Ok(()) };
        let differs = |entry: &EntryRef<'_>| {
            let at = entry.pos.seq as usize - 1;
            at >= twin.len() || twin.get(at).bytes != entry.bytes
        };
        let Some(entry) = entries.iter().find(differs) else { return Ok(()) };
        let at = entry.pos.seq as usize - 1;
        let expected =
            if at < twin.len() { describe(twin.get(at).bytes) } else { "the end".into() };
        let what = format!("the entry at {} is the twin's", entry.pos);
        Err(Violation::new(Promise::Transparency, what, expected, describe(entry.bytes)))
    }

    fn faults_at(&mut self, kind: OpKind, n: u64) -> Vec<usize> {
        let mut faults = self.by_op.remove(&(kind, n)).unwrap_or_default();
        if !self.armed.is_empty() {
            let fits = |&mut at: &mut usize| {
                let fault: &Fault = &self.faults[at];
                fault.op.unwrap_or(OpKind::Commit) == kind
            };
            faults.extend(self.armed.extract_if(.., fits));
        }
        faults
    }

    /// Lets a fault strike at this operation. Returns whether the fault decides what becomes of the request.
    fn strike_request(&mut self, at: usize, id: u64, request: &Arc<Request>, arrives: u64) -> bool {
        let fault = self.faults[at];
        let Some(&Pending { process, .. }) = self.pending.get(id) else { return false };
        if fault.kind.scope() != Scope::Operation && fault.kind != FaultKind::Crash {
            self.strike(at);
            return false;
        }
        self.fire(fault.kind);
        let fate = match (fault.kind, fault.request) {
            (FaultKind::LostRequest, _) => Fate::LostRequest,
            (FaultKind::LostReply, _) => Fate::LostReply,
            (FaultKind::LateEffect, _) => Fate::LateEffect { after_ns: fault.for_ns },
            (FaultKind::SentTwice, _) => Fate::SentTwice { after_ns: fault.for_ns },
            (FaultKind::Slow, _) => Fate::Slow { by_ns: fault.for_ns.min(TIMEOUT_NS / 2) },
            (FaultKind::Refused, _) => Fate::Refused,
            // The owner crashes, and will not hear what becomes of its request.
            (_, CrashedRequest::Lost) => Fate::LostRequest,
            (_, CrashedRequest::Applied) => Fate::Normal,
            (_, CrashedRequest::Late) => Fate::Slow { by_ns: 2 * fault.for_ns },
        };
        if fault.kind == FaultKind::Crash {
            let Course { effects_ns, .. } = fate.course(self.timing(arrives));
            self.plan_effects(id, effects_ns, request);
            self.kill(process, fault.for_ns);
        } else {
            self.send(id, fate, arrives, request);
        }
        true
    }

    const fn timing(&self, arrives_ns: u64) -> Timing {
        Timing { arrives_ns, refused_ns: arrives_ns, gives_up_ns: self.now() + TIMEOUT_NS }
    }

    /// Sends a request: plans when it reaches the server, and what its client is told whatever the server answers.
    fn send(&mut self, op: u64, fate: Fate, arrives_ns: u64, request: &Arc<Request>) {
        let Course { effects_ns, told } = fate.course(self.timing(arrives_ns));
        self.plan_effects(op, effects_ns, request);
        if let Some((at, told)) = told {
            self.answer_later(op, at, failure(request.name(), told));
        }
    }
}
