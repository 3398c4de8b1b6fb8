//! A member's process: its state machine, its handlers, its clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use silvertine_engine::time::Nanos;
use silvertine_streams::{
    Disposition, Member, MemberMachine, MessageId, Settled, StoreError, Work,
};

use super::op::{Answer, Request};
use crate::kernel::wall_clock::WallClock;

/// One process, from its start to its end. A member that starts again is another process.
pub(super) struct Process {
    pub(super) slot: usize,
    pub(super) member: Member,
    pub(super) core: MemberMachine,
    clock: WallClock,
    pub(super) state: State,
    /// What reached it while it stood still.
    pub(super) inbox: VecDeque<Arrival>,
    /// Handlers that run, by a number that is never used again.
    pub(super) runs: BTreeMap<u64, Run>,
    /// Messages whose starts are being put on record.
    pub(super) beginning: BTreeSet<MessageId>,
    /// Keys that the store told it are done, and when it was told.
    pub(super) known_done: BTreeMap<String, u64>,
    /// When it will look around by itself.
    pub(super) wakes_ns: Option<u64>,
    /// It is to leave by then.
    pub(super) drains_by_ns: Option<u64>,
    pub(super) circuit_was_closed: bool,
    pub(super) circuit_opened: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// It stands still.
    Paused,
    Dead,
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Paused => "standing still",
            Self::Dead => "dead",
            Self::Stopped => "stopped",
        })
    }
}

/// What reaches a process.
#[derive(Debug)]
pub(super) enum Arrival {
    Answer(Request, Result<Answer, StoreError>),
    /// A handler ends, by the number of its run.
    HandlerEnds(u64),
    Wake,
}

/// A handler at work.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: MessageId,
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) ends: Ends,
}

/// How a handler will end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Done { label: usize, invalid: bool },
    Transient,
    Permanent,
    Undecodable,
    Panics,
    TimedOut,
    Kills,
}

impl Process {
    pub(super) const fn new(
        slot: usize,
        member: Member,
        core: MemberMachine,
        clock: WallClock,
    ) -> Self {
        Self {
            slot,
            member,
            core,
            clock,
            state: State::Up,
            inbox: VecDeque::new(),
            runs: BTreeMap::new(),
            beginning: BTreeSet::new(),
            known_done: BTreeMap::new(),
            wakes_ns: None,
            drains_by_ns: None,
            circuit_was_closed: true,
            circuit_opened: 0,
        }
    }

    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Stopped)
    }

    /// What its clock reads.
    pub(super) const fn time(&self, now_ns: u64) -> Nanos {
        self.clock.read(now_ns)
    }

    /// When its clock reads `at`.
    pub(super) const fn when(&self, at: Nanos) -> u64 {
        self.clock.when(at)
    }

    /// Tells the state machine what the store answered. Returns handlers to start.
    pub(super) fn answered(
        &mut self,
        request: Request,
        answer: Result<Answer, StoreError>,
        now_ns: u64,
    ) -> Vec<Work> {
        let now = self.time(now_ns);
        match (request, answer) {
            (Request::Fetch { .. }, Ok(Answer::Fetched(polled))) => {
                self.core.fetched(Ok(polled), now);
            }
            (Request::Fetch { .. }, Err(error)) => self.core.fetched(Err(error), now),
            (Request::Begin { tries, .. }, answer) => {
                let result = match answer {
                    Ok(Answer::Began(ours)) => Ok(ours),
                    Ok(_) => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
                let ids: Vec<_> = tries.into_iter().map(|(id, _)| id).collect();
                for id in &ids {
                    self.beginning.remove(id);
                }
                return self.core.began(&ids, result, now);
            }
            (Request::Settle { settlements, .. }, Ok(Answer::Settled(settled))) => {
                for (settlement, settled) in settlements.iter().zip(&settled) {
                    if let Disposition::Done { key: Some(key), .. } = &settlement.disposition
                        && *settled != Settled::Lost
                    {
                        self.known_done.insert(key.to_string(), now_ns);
                    }
                }
                self.core.settled(settlements, Ok(settled), now);
            }
            (Request::Settle { settlements, .. }, Err(error)) => {
                self.core.settled(settlements, Err(error), now);
            }
            (Request::Extend { .. }, Ok(Answer::Extended(lost))) => {
                self.core.extended(Ok(lost), now);
            }
            (Request::Extend { .. }, Err(error)) => self.core.extended(Err(error), now),
            (Request::Leave { .. }, Ok(_)) => self.core.left(Ok(()), now),
            (Request::Leave { .. }, Err(error)) => self.core.left(Err(error), now),
            (request, answer) => unreachable!("{request:?} is answered by {answer:?}"),
        }
        Vec::new()
    }
}
