//! What happened on the worker plane, in order: a hash over all of it, and the last of it for people.

use std::{collections::VecDeque, fmt};

use silvertine_engine::digest::{Digest, fingerprint};

use super::{
    fault::Fault,
    op::{Client, OpKind},
};
use crate::kernel::spell;

/// Happenings kept for a report.
const KEPT: usize = 160;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Virtual time since the start, in nanoseconds.
    time: u64,
    who: Who,
    what: What,
}

/// Where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    World,
    Producer(u32),
    Operator(u32),
    Member(u32),
}

impl From<Client> for Who {
    fn from(client: Client) -> Self {
        match client {
            Client::Member(n) => Self::Member(n),
            Client::Producer(n) => Self::Producer(n),
            Client::Operator(n) => Self::Operator(n),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A member starts; the number of its name.
    Starts(u64),
    Asks(OpKind, u64),
    Takes(OpKind, u64, bool),
    Answered(OpKind, u64, bool),
    /// A message is handed over: which, why, whether it is done.
    Delivered(u64, u8, bool),
    Handles(u64),
    Ended(u64, u8),
    /// A settlement: which message, the verdict, what became of it.
    Settled(u64, u8, u8),
    Struck(Fault),
    Dies,
    Resumes,
    Drains,
    Stops,
    Heals,
}

/// The place of "killed" among [`OUTCOMES`].
pub(super) const OUTCOME_KILLED: u8 = 5;
const WHYS: [&str; 4] = ["its own", "reclaimed", "due", "new"];
const OUTCOMES: [&str; 6] = ["done", "failed", "undecodable", "panicked", "timed out", "killed"];
const VERDICTS: [&str; 4] = ["done", "retry", "dead", "release"];
const SETTLED: [&str; 3] = ["applied", "duplicate", "lost"];

/// The hash and the tail of a trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    hash: Digest,
    steps: u64,
    tail: VecDeque<Happened>,
}

impl Trace {
    pub(super) fn note(&mut self, time: u64, who: Who, what: What) {
        let happened = Happened { time, who, what };
        self.steps += 1;
        let mut link = [0; 56];
        link[..16].copy_from_slice(&self.hash.to_bytes());
        link[16..].copy_from_slice(&happened.to_bytes());
        self.hash = Digest::from_bytes(fingerprint(&link));
        if self.tail.len() == KEPT {
            self.tail.pop_front();
        }
        self.tail.push_back(happened);
    }

    pub(super) const fn hash(&self) -> Digest {
        self.hash
    }

    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn into_tail(self) -> Vec<Happened> {
        self.tail.into()
    }
}

impl Happened {
    fn to_bytes(self) -> [u8; 40] {
        let (byte, flag) = (<u64 as From<u8>>::from, <u64 as From<bool>>::from);
        let (code, a, b, c) = match self.what {
            What::Starts(name) => (0, name, 0, 0),
            What::Asks(op, n) => (1, op as u64, n, 0),
            What::Takes(op, n, well) => (2, op as u64, n, flag(well)),
            What::Answered(op, n, well) => (3, op as u64, n, flag(well)),
            What::Delivered(message, why, done) => (4, message, byte(why), flag(done)),
            What::Handles(message) => (5, message, 0, 0),
            What::Ended(message, how) => (6, message, byte(how), 0),
            What::Settled(message, verdict, how) => (7, message, byte(verdict), byte(how)),
            What::Struck(fault) => (8, fault as u64, 0, 0),
            What::Dies => (9, 0, 0, 0),
            What::Resumes => (10, 0, 0, 0),
            What::Drains => (11, 0, 0, 0),
            What::Stops => (12, 0, 0, 0),
            What::Heals => (13, 0, 0, 0),
        };
        let who = match self.who {
            Who::World => 0,
            Who::Producer(n) => 1 << 32 | u64::from(n),
            Who::Operator(n) => 2 << 32 | u64::from(n),
            Who::Member(n) => 3 << 32 | u64::from(n),
        };
        let mut bytes = [0; 40];
        for (at, word) in [self.time, who << 8 | code, a, b, c].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl fmt::Display for Happened {
    /// One line of a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::World => "world".to_owned(),
            Who::Producer(n) => format!("producer {n}"),
            Who::Operator(n) => format!("operator {n}"),
            Who::Member(n) => format!("p{n}"),
        };
        write!(f, "{:<18} {who:<11}", spell::clock(self.time))?;
        let word =
            |words: &[&'static str], at: u8| words.get(usize::from(at)).copied().unwrap_or("?");
        match self.what {
            What::Starts(name) => write!(f, "starts as m{name}"),
            What::Asks(op, n) => write!(f, "-> {} op{n}", op.name()),
            What::Takes(op, n, true) => write!(f, "   {} op{n} takes effect", op.name()),
            What::Takes(op, n, false) => write!(f, "   {} op{n} is refused", op.name()),
            What::Answered(op, n, true) => write!(f, "<- {} op{n} answered", op.name()),
            What::Answered(op, n, false) => write!(f, "<- {} op{n} failed", op.name()),
            What::Delivered(message, why, done) => {
                let done = if done { ", known to be done" } else { "" };
                write!(f, "   is handed #{message} ({}{done})", word(&WHYS, why))
            }
            What::Handles(message) => write!(f, "handles #{message}"),
            What::Ended(message, how) => write!(f, "ended #{message}: {}", word(&OUTCOMES, how)),
            What::Settled(message, verdict, how) => {
                write!(
                    f,
                    "   settles #{message} as {}: {}",
                    word(&VERDICTS, verdict),
                    word(&SETTLED, how)
                )
            }
            What::Struck(fault) => write!(f, "** {}: {}", fault.name(), fault.says()),
            What::Dies => f.write_str("dies"),
            What::Resumes => f.write_str("goes on"),
            What::Drains => f.write_str("is to leave"),
            What::Stops => f.write_str("stops"),
            What::Heals => f.write_str("** from here on nothing goes wrong any more"),
        }
    }
}
