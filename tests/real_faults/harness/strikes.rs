//! How each fault strikes, and how those that last end.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use silvertine::engine::log::{LogError, OwnerId};

use super::{Harness, State};
use crate::{
    plan::Fault,
    proxy::{Aim, Strike},
    redis_server::RedisServer,
};

/// Attempts that fail before a lasting fault ends.
const LASTS: u32 = 2;
/// Commits that overtake a request that is held.
const HELD_COMMITS: u64 = 2;

impl Harness {
    /// Strikes when the plan says so; called before every attempt to commit, so a second fault before the
    /// same commit meets its repetition. Leaving a replica behind disturbs nothing and lets the next fault
    /// strike too. A rival that is to acquire is left to the caller.
    pub fn before_commit(&self) -> Option<OwnerId> {
        let fault = self.lock().next_fault()?;
        self.strike(fault)
    }

    /// Strikes now.
    pub fn strike(&self, fault: Fault) -> Option<OwnerId> {
        let struck = self.lock().proxy.struck();
        self.lock().strike(fault);
        match fault {
            Fault::SwallowRequest | Fault::SwallowReply | Fault::Hold => {
                self.end_patience_when(move |state| state.proxy.struck() > struck);
            }
            Fault::Freeze => self.end_patience_while_frozen(),
            Fault::Branch => return self.before_commit(),
            // Nobody else has such an id.
            Fault::Rival => return Some(OwnerId(1 << 100 | self.lock().owners)),
            _ => {}
        }
        None
    }

    /// Strikes at the trim that comes.
    pub fn before_trim(&self) {
        let strike = self.lock().trims.pop_front().flatten();
        if let Some(strike) = strike {
            let struck = self.lock().proxy.struck();
            self.lock().proxy.strike(Aim::NEXT_SCRIPT, strike);
            self.end_patience_when_silent(strike, struck);
        }
    }
}

impl State {
    /// The fault that is due before the present commit. What was held before comes first.
    fn next_fault(&mut self) -> Option<Fault> {
        let number = self.commits + 1;
        if self.held_until.is_some_and(|commit| commit <= number) {
            self.deliver_held();
        }
        let due = self.plan.front().is_some_and(|&(commit, _)| commit <= number);
        if !due || self.lasting.is_some() {
            return None;
        }
        let (_, fault) = self.plan.pop_front()?;
        self.fired.push((number, fault));
        if fault == Fault::Hold {
            self.held_until = Some(number + HELD_COMMITS);
        }
        Some(fault)
    }

    fn strike(&mut self, fault: Fault) {
        let next_script = |strike| self.proxy.strike(Aim::NEXT_SCRIPT, strike);
        match fault {
            Fault::Delay => next_script(Strike::Delay(Duration::from_millis(30))),
            Fault::CutBefore => next_script(Strike::CutBefore),
            Fault::CutInside => next_script(Strike::CutInside),
            Fault::CutAfter => next_script(Strike::CutAfter),
            Fault::CutInsideReply => next_script(Strike::CutInsideReply),
            Fault::SwallowRequest => next_script(Strike::SwallowRequest),
            Fault::SwallowReply => next_script(Strike::SwallowReply),
            Fault::Hold => next_script(Strike::Hold),
            Fault::Freeze => self.server.freeze(),
            Fault::Kill => self.server.kill9(),
            Fault::KillAfter => next_script(Strike::CutAfter),
            // Nobody listens there, so nothing is copied over what is here.
            Fault::Demote => self.expect("REPLICAOF 127.0.0.1 1", "+OK"),
            Fault::KillClients => {
                let reply = self.server.send("CLIENT KILL TYPE normal");
                let killed = reply.trim().trim_start_matches(':').parse::<u64>();
                assert!(killed.is_ok_and(|killed| killed > 0), "{reply}");
            }
            Fault::ForgetScripts => self.expect("SCRIPT FLUSH", "+OK"),
            Fault::OutOfMemory => self.expect("CONFIG SET maxmemory 1", "+OK"),
            Fault::NoReplicas => self.expect("CONFIG SET min-replicas-to-write 1", "+OK"),
            Fault::LosePower => {
                self.server.kill9();
                halve_append_only_file(self.server.folder());
            }
            Fault::Flush => self.expect("FLUSHALL", "+OK"),
            Fault::Branch => self.replica = Some(branch_of(&self.server)),
            Fault::FailOver => {
                let replica = self.replica.take().expect("planned behind a branch");
                self.server.kill9();
                self.server = replica;
                self.proxy.fail_over_to(self.server.port());
            }
            Fault::Depose => {
                let replica = self.replica.take().expect("planned behind a branch");
                self.expect("REPLICAOF 127.0.0.1 1", "+OK");
                self.proxy.redirect_to(replica.port());
                self.deposed = Some(std::mem::replace(&mut self.server, replica));
            }
            Fault::Rival => {}
            Fault::Deliver => self.late_answers.push(self.proxy.deliver_held()),
            Fault::Meddle(command) => {
                let reply = self.server.send(command);
                assert!(!reply.is_empty() && !reply.starts_with('-'), "{command}: {reply}");
            }
        }
        self.lasting = match fault {
            Fault::Freeze
            | Fault::Kill
            | Fault::Demote
            | Fault::OutOfMemory
            | Fault::NoReplicas
            | Fault::LosePower => Some((LASTS, fault)),
            Fault::KillAfter => Some((1, fault)),
            _ => None,
        };
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Freeze => self.server.thaw(),
            Fault::Kill | Fault::KillAfter | Fault::LosePower => self.server.restart(),
            Fault::NoReplicas => self.expect("CONFIG SET min-replicas-to-write 0", "+OK"),
            Fault::Demote => self.expect("REPLICAOF NO ONE", "+OK"),
            Fault::OutOfMemory => self.expect("CONFIG SET maxmemory 0", "+OK"),
            _ => {}
        }
    }

    /// Delivers the request that was held. The log has moved on, so it must not take effect any more.
    pub(super) fn deliver_held(&mut self) {
        self.held_until = None;
        let answer = self.proxy.deliver_held();
        let refused = ["CONFLICT", "FENCED", "DUPLICATE", "GONE"];
        assert!(refused.iter().any(|word| answer.contains(word)), "a late commit: {answer}");
        self.late_answers.push(answer);
    }

    /// Somebody has tried in vain: a lasting fault comes nearer to its end.
    pub fn attempt_failed(&mut self, error: &LogError) {
        self.retries.push(error.clone());
        match &mut self.lasting {
            Some((left, _)) if *left > 1 => *left -= 1,
            Some(_) => self.end_lasting(),
            None => {}
        }
    }

    /// Ends the fault that lasts, if one does.
    pub fn end_lasting(&mut self) {
        if let Some((_, fault)) = self.lasting.take() {
            self.end(fault);
        }
    }
}

/// Cuts the second half off what a server has written, as if it had never reached the disk.
fn halve_append_only_file(folder: &Path) {
    let files = fs::read_dir(folder.join("appendonlydir")).expect("a server that writes");
    let paths = files.map(|file| file.expect("can be listed").path());
    let path = paths.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof"));
    let file = fs::File::options().write(true).open(path.expect("it is written")).expect("opens");
    let length = file.metadata().expect("a file has a length").len();
    file.set_len(length / 2).expect("can be cut");
}

/// A server that has copied `primary` and follows it no longer.
pub fn branch_of(primary: &RedisServer) -> RedisServer {
    let replica = RedisServer::start_durable();
    let wait = |server: &RedisServer, command: &str, words: &[&str]| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = server.send(command);
            if words.iter().all(|word| reply.contains(word)) {
                return;
            }
            assert!(Instant::now() < deadline, "{command}: {reply}");
            sleep(Duration::from_millis(2));
        }
    };
    wait(primary, "CONFIG SET repl-diskless-sync-delay 0", &["+OK"]);
    wait(&replica, &format!("REPLICAOF 127.0.0.1 {}", primary.port()), &["+OK"]);
    // The primary stands still meanwhile, so a finished copy is a whole one.
    wait(&replica, "INFO replication", &["master_link_status:up"]);
    // A file that is still being rewritten would not survive a crash.
    let rewritten = ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
    wait(&replica, "INFO persistence", &rewritten);
    wait(&replica, "REPLICAOF NO ONE", &["+OK"]);
    replica
}
