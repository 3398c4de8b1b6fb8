//! A member's process: its state machine, its handlers, its clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use silvertine_engine::time::Nanos;
use silvertine_streams::{
    Disposition, Member, MemberMachine, MessageId, Settled, Settlement, StoreError,
};

use super::op::Answer;

/// The wall clock's reading when a run begins.
pub(super) const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// One process, from its start to its end. A member that starts again is another process.
pub(super) struct Process {
    pub(super) slot: usize,
    pub(super) member: Member,
    pub(super) core: MemberMachine,
    /// What its clock is ahead of the store's, in nanoseconds.
    skew_ns: i64,
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
    Paused,
    Dead,
    Stopped,
}

/// What reaches a process.
#[derive(Debug)]
pub(super) enum Arrival {
    Answer(Sent, Result<Answer, StoreError>),
    /// A handler ends.
    Ended(u64),
    Wake,
}

/// What a process asked, as far as it needs to know when the answer comes.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    Fetch,
    Begin(Vec<MessageId>),
    Settle(Vec<Settlement>),
    Extend,
    Leave,
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
        skew_ns: i64,
    ) -> Self {
        Self {
            slot,
            member,
            core,
            skew_ns,
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
    pub(super) const fn clock(&self, now_ns: u64) -> Nanos {
        Nanos((EPOCH_NS + now_ns).saturating_add_signed(self.skew_ns))
    }

    /// When its clock reads `at`.
    pub(super) const fn when(&self, at: Nanos) -> u64 {
        at.0.saturating_add_signed(-self.skew_ns).saturating_sub(EPOCH_NS)
    }

    /// Tells the state machine what the store answered.
    pub(super) fn answered(
        &mut self,
        sent: Sent,
        answer: Result<Answer, StoreError>,
        now_ns: u64,
    ) -> Vec<silvertine_streams::Work> {
        let now = self.clock(now_ns);
        match (sent, answer) {
            (Sent::Fetch, Ok(Answer::Fetched(polled))) => self.core.fetched(Ok(polled), now),
            (Sent::Fetch, Err(error)) => self.core.fetched(Err(error), now),
            (Sent::Begin(ids), answer) => {
                let result = match answer {
                    Ok(Answer::Began(ours)) => Ok(ours),
                    Ok(_) => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
                for id in &ids {
                    self.beginning.remove(id);
                }
                return self.core.began(&ids, result, now);
            }
            (Sent::Settle(sent), Ok(Answer::Settled(settled))) => {
                for (settlement, settled) in sent.iter().zip(&settled) {
                    if let Disposition::Done { key: Some(key), .. } = &settlement.disposition
                        && *settled != Settled::Lost
                    {
                        self.known_done.insert(key.to_string(), now_ns);
                    }
                }
                self.core.settled(sent, Ok(settled), now);
            }
            (Sent::Settle(sent), Err(error)) => self.core.settled(sent, Err(error), now),
            (Sent::Extend, Ok(Answer::Extended(lost))) => self.core.extended(Ok(lost), now),
            (Sent::Extend, Err(error)) => self.core.extended(Err(error), now),
            (Sent::Leave, Ok(_)) => self.core.left(Ok(()), now),
            (Sent::Leave, Err(error)) => self.core.left(Err(error), now),
            (sent, answer) => unreachable!("{sent:?} is answered by {answer:?}"),
        }
        Vec::new()
    }
}
