//! Faults that strike the server, the processes or the clock. Faults of one request are decided in `ask`.

use silvertine_engine::log::EventLog;

use super::{Next, World, process::Role};
use crate::log::{
    coverage::{Phase, Sight},
    fault::{Fault, FaultKind, Scope},
    op::Answer,
    trace::What,
};

/// Answers to wait for after a fault struck an idle system.
const WATCHED: u32 = 6;

impl<L: EventLog + Default> World<L> {
    /// A fault's moment has come.
    pub(crate) fn strike(&mut self, at: usize) {
        let Some(&fault) = self.faults.get(at) else { return };
        let scope = fault.kind.scope();
        let at_an_operation = fault.kind == FaultKind::Crash && fault.op.is_some();
        if scope == Scope::Operation || at_an_operation {
            self.armed.push(at);
            return;
        }
        self.fire(fault.kind);
        let until = self.now() + fault.for_ns;
        match scope {
            Scope::Server => {
                if matches!(fault.kind, FaultKind::Disconnect | FaultKind::Restart) {
                    self.cut_connections(fault.kind);
                }
                self.server.enter(fault.kind, until);
            }
            Scope::Loss => self.lose_writes(&fault),
            Scope::Damage => {
                self.server.damage(fault.kind);
                if let Some(owner) = self.owner() {
                    self.kill(owner, fault.for_ns);
                }
            }
            Scope::Clock => self.wall_clock.jump(fault.by_ns),
            Scope::Producer => self.restart_producers(),
            Scope::Process | Scope::Operation => self.strike_process(&fault),
        }
    }

    /// An owner has taken an input.
    pub(crate) fn note_taken(&mut self) {
        self.taken += 1;
        while let Some(first) = self.by_events.first_entry().filter(|e| *e.key() <= self.taken) {
            for fault in first.remove() {
                self.strike(fault);
            }
        }
    }

    /// Called at every answer while there is nothing to do: lets the next fault strike that is planned for an idle system.
    /// Returns whether the run may end: no such fault is left, and its consequences had time to show.
    pub(crate) fn strike_when_idle(&mut self) -> bool {
        if let Some(fault) = self.when_idle.pop_front() {
            self.watched = WATCHED;
            self.strike(fault);
        }
        let at_rest = self.watched == 0;
        self.watched = self.watched.saturating_sub(1);
        at_rest
    }

    pub(super) fn fire(&mut self, kind: FaultKind) {
        self.note(None, What::Struck(kind));
        let phase = self.phase();
        if matches!(kind.scope(), Scope::Clock | Scope::Producer) {
            self.unfelt.push((kind, phase));
        } else {
            self.count(kind, phase);
        }
    }

    fn count(&mut self, kind: FaultKind, phase: Phase) {
        self.struck += 1;
        self.coverage.fire(kind, phase);
    }

    /// Counts faults of this kind that have struck, now that they have an effect: the wall clock is read, a message is sent again.
    pub(crate) fn count_felt(&mut self, kind: FaultKind) {
        for (_, phase) in
            self.unfelt.extract_if(.., |(unfelt, _)| *unfelt == kind).collect::<Vec<_>>()
        {
            self.count(kind, phase);
        }
    }

    /// What the owner is doing.
    fn phase(&self) -> Phase {
        let owner = self.processes.iter().rev().find(|p| p.role == Role::Owner && !p.dead);
        owner.map_or(Phase::Down, |owner| owner.phase)
    }

    /// Producers lose their place and send again from an earlier message; those that were done are started again for it.
    fn restart_producers(&mut self) {
        for number in 0..self.producers.len() {
            self.producers[number].resend = true;
            if self.producers[number].done {
                self.schedule(self.now(), Next::StartProducer(number));
            }
        }
    }

    fn strike_process(&mut self, fault: &Fault) {
        let Some(owner) = self.owner() else { return };
        match fault.kind {
            FaultKind::Crash => self.kill(owner, fault.for_ns),
            FaultKind::Pause => {
                self.processes[owner].frozen = true;
                self.schedule(self.now() + fault.for_ns, Next::Thaw(owner));
                // A supervisor sees it missing and starts another one.
                self.schedule(self.now() + fault.for_ns / 2, Next::Start);
            }
            FaultKind::SecondOwner => self.schedule(self.now(), Next::StartAnyway),
            FaultKind::Stop => {
                self.processes[owner].stop.request();
                self.processes[owner].restart_after = fault.for_ns;
            }
            _ => {}
        }
    }

    /// A process dies here and now; somebody starts another one later.
    pub(super) fn kill(&mut self, process: usize, for_ns: u64) {
        let dying = &mut self.processes[process];
        if dying.dead {
            return;
        }
        dying.dead = true;
        if matches!(dying.phase, Phase::Recovering) {
            self.coverage.see(Sight::CrashedRecovering);
        }
        let next = match dying.role {
            Role::Owner => Next::Start,
            Role::Producer { number } => Next::StartProducer(number),
        };
        self.note(Some(process), What::Died);
        self.schedule(self.now() + for_ns, next);
    }

    /// Every connection breaks. What was under way arrived just before, or never will, or (when only
    /// the network failed) still does.
    fn cut_connections(&mut self, kind: FaultKind) {
        for id in self.travelling.ids() {
            let arrives = self.draw(2) == 0;
            match (kind, arrives) {
                (_, false) => {
                    self.travelling.remove(id);
                }
                (FaultKind::Restart, true) => self.take_effect(id),
                _ => {}
            }
        }
        self.reset_connections();
    }

    /// Acknowledged writes are lost.
    fn lose_writes(&mut self, fault: &Fault) {
        self.travelling.clear();
        self.reset_connections();
        let before = self.server.witness.head.pos;
        let checked = match fault.kind {
            FaultKind::Flush => {
                self.server.flush();
                Ok(())
            }
            _ => self.server.lose_newest(fault.lose as usize),
        };
        self.check(checked);
        if fault.kind != FaultKind::Flush {
            self.server.enter(FaultKind::Restart, self.now() + fault.for_ns);
        }
        let head = self.server.witness.head.pos;
        let flushed = fault.kind == FaultKind::Flush;
        if head < before || flushed {
            for process in &mut self.processes {
                process.lost |= process.acknowledged > head || flushed;
            }
            // Who stands still may hold an answer from before, and will take it for what is there.
            for pending in self.pending.iter() {
                let told = match &pending.answer {
                    Some(Ok(Answer::Acquired(acquired))) => acquired.head.pos,
                    Some(Ok(Answer::Committed(committed))) => committed.head,
                    _ => continue,
                };
                self.processes[pending.process].lost |= told > head;
            }
        }
    }
}
