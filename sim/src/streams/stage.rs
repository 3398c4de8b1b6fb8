//! What everybody in a run shares: the plan, the virtual clock, the queue of events, the trace and the coin tosses.

use silvertine_engine::{rng::Rng, time::Nanos};

use super::{
    fault::{Counts, Fault},
    plan::Plan,
    trace::{Happened, Trace, What, Who},
};
use crate::kernel::{queue::Queue, wall_clock::WallClock};

/// The store's clock when a run begins.
pub(super) const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// What happens at a moment. Numbers name requests, processes, slots, strikes and producers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A request arrives at the store.
    Arrive(u64),
    /// An answer, or the end of patience, reaches the client.
    Answer(u64),
    /// A poll has waited for as long as it was to.
    WaitOver(u64),
    /// A process looks whether there is something to do.
    Wake(usize),
    /// A handler of a process ends: the process, the number of the handler's run.
    HandlerEnds(usize, u64),
    /// A fault of the plan strikes.
    Strike(usize),
    /// A process starts in a slot.
    Start(usize),
    /// A process that stood still goes on.
    Resume(usize),
    /// A producer looks for what it is to publish.
    Produce(usize),
    /// A process that was to leave must have left.
    MustHaveLeft(usize),
    /// Faults end.
    Heal,
    /// Messages that never fail must be done.
    HealthyMustBeDone,
}

pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    queue: Queue<Event>,
    /// The store's clock.
    pub(super) clock: WallClock,
    /// Coin tosses of members, producers and operators; the network has its own.
    pub(super) dice: Rng,
    /// Faults have ended.
    pub(super) healed: bool,
    /// Everything is done, and every member is to leave.
    pub(super) closing: bool,
    pub(super) counts: Counts,
    pub(super) trace: Trace,
}

impl<'a> Stage<'a> {
    /// `keep_all` keeps everything that happens, not only the last of it.
    pub(super) fn new(plan: &'a Plan, keep_all: bool) -> Self {
        Self {
            plan,
            queue: Queue::default(),
            clock: WallClock::new(EPOCH_NS),
            dice: Rng::new(plan.seed ^ 0x4449_4345),
            healed: false,
            closing: false,
            counts: Counts::default(),
            trace: if keep_all { Trace::keeping_all() } else { Trace::default() },
        }
    }

    /// Plans an event, at `time_ns` or now if that is past.
    pub(super) fn at(&mut self, time_ns: u64, event: Event) {
        self.queue.schedule(time_ns, event);
    }

    /// Takes out the next event and moves time there.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.queue.pop()
    }

    /// Virtual time since the start, in nanoseconds.
    pub(super) const fn now_ns(&self) -> u64 {
        self.queue.now_ns()
    }

    /// What the store's clock reads.
    pub(super) const fn store_time(&self) -> Nanos {
        self.clock.read(self.now_ns())
    }

    pub(super) fn note(&mut self, who: impl Into<Who>, what: What) {
        self.trace.note(Happened { time_ns: self.now_ns(), place: who.into(), what });
    }

    /// Counts a fault and notes it in the trace.
    pub(super) fn strike(&mut self, who: impl Into<Who>, fault: Fault) {
        self.counts.note(fault);
        self.note(who, What::Struck(fault));
    }
}
