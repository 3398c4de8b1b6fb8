//! What goes wrong, and before which commit: stated by a test, or drawn from a seed.

use std::collections::VecDeque;

use crate::seeds::{COMMITS, SEEDS};

/// Something that goes wrong with the connection, the server or the ownership of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The commit arrives a little later.
    Delay,
    /// The connection is cut before the commit arrives.
    CutBefore,
    /// The connection is cut when half of the commit has arrived.
    CutInside,
    /// The commit takes effect and the connection is cut before the reply.
    CutAfter,
    /// The commit takes effect and the connection is cut within the reply.
    CutInsideReply,
    /// The commit is swallowed and the connection stays open, silent.
    SwallowRequest,
    /// The commit takes effect; the reply is swallowed and the connection stays open, silent.
    SwallowReply,
    /// The commit is kept somewhere on the way until the test delivers it; the connection is silent.
    Hold,
    /// The server is stopped (SIGSTOP) until the client has tried in vain a few times.
    Freeze,
    /// The server is killed (SIGKILL) and started again when the client has tried in vain.
    Kill,
    /// The commit takes effect, the server is killed before its reply arrives, and started again.
    KillAfter,
    /// The server becomes a replica for a while.
    Demote,
    /// The server disconnects all clients.
    KillClients,
    /// The server forgets all scripts.
    ForgetScripts,
    /// The server refuses writes for want of memory for a while.
    OutOfMemory,
    /// The server refuses writes for want of replicas for a while.
    NoReplicas,
    /// The machine loses power and with it what the server wrote last, although it acknowledged it.
    LosePower,
    /// The server loses everything.
    Flush,
    /// A replica copies the server and is left behind.
    Branch,
    /// The server is gone for good and the replica that was left behind takes its place.
    FailOver,
    /// The replica that was left behind takes the server's place for new connections; the old server refuses
    /// writes and keeps the connections it has.
    Depose,
    /// Another owner acquires the partition.
    Rival,
    /// The request that is held arrives now.
    Deliver,
    /// Somebody sends the server a command behind our back.
    Meddle(&'static str),
}

use Fault::*;

impl Fault {
    /// Those that a seed draws from; `FailOver` comes with its `Branch`.
    const DRAWN: [Self; 19] = [
        Delay,
        CutBefore,
        CutInside,
        CutAfter,
        CutInsideReply,
        SwallowRequest,
        SwallowReply,
        Hold,
        Freeze,
        Kill,
        KillAfter,
        Demote,
        KillClients,
        ForgetScripts,
        OutOfMemory,
        NoReplicas,
        Flush,
        FailOver,
        Rival,
    ];

    /// Whether the owner has to end with an error and be started again.
    pub const fn ends_the_owner(self) -> bool {
        matches!(self, LosePower | Flush | FailOver | Rival)
    }

    /// Whether it spoils a request on its way.
    pub const fn is_on_the_way(self) -> bool {
        matches!(
            self,
            Delay
                | CutBefore
                | CutInside
                | CutAfter
                | CutInsideReply
                | SwallowRequest
                | SwallowReply
                | Hold
                | KillAfter
        )
    }

    /// Whether a commit takes effect and its owner cannot know.
    pub const fn hides_an_effect(self) -> bool {
        matches!(self, CutAfter | CutInsideReply | SwallowReply | KillAfter)
    }
}

/// Faults in the order of the commits they strike before, counted from one over all owners.
pub type Plan = VecDeque<(u64, Fault)>;

/// One fault.
pub fn once(commit: u64, fault: Fault) -> Plan {
    Plan::from([(commit, fault)])
}

/// Three to six faults before the first `commits` commits, the same for the same seed. They keep a distance,
/// so that none strikes while another one lasts; the first commit is left alone, because the server does
/// not know its script yet and the request that takes effect is not the first one.
pub fn drawn(seed: u64, commits: u64) -> Plan {
    const DISTANCE: u64 = 4;
    let mut draws = XorShift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut slots: Vec<u64> = (0..(commits - 2) / DISTANCE).collect();
    let count = 3 + draws.below(4);
    assert!(slots.len() as u64 >= count, "{commits} commits are too few for a plan");
    let mut chosen: Vec<u64> =
        (0..count).map(|_| slots.swap_remove(draws.below(slots.len() as u64) as usize)).collect();
    chosen.sort_unstable();
    let mut plan = Plan::new();
    for slot in chosen {
        let commit = 2 + slot * DISTANCE + draws.below(2);
        match Fault::DRAWN[draws.below(Fault::DRAWN.len() as u64) as usize] {
            FailOver => plan.extend([(commit, Branch), (commit + 2, FailOver)]),
            fault => plan.push_back((commit, fault)),
        }
    }
    plan
}

/// Numbers that look random and are the same in every run.
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

#[test]
fn a_seed_always_draws_the_same_plan_and_all_seeds_together_draw_every_kind() {
    let draw = || SEEDS.map(|seed| drawn(seed, COMMITS));
    let plans = draw();
    assert_eq!(plans, draw());
    for fault in Fault::DRAWN {
        let planned = plans.iter().flatten().any(|&(_, planned)| planned == fault);
        assert!(planned, "no seed draws {fault:?}");
    }
}
