//! What happens in a run of the worker plane.

use std::fmt;

use super::{
    fault::Fault,
    op::{Client, OpKind},
};
use crate::kernel::trace;

/// The hash and the tail of a run.
pub type Trace = trace::Trace<Who, What>;

/// One thing that happened.
pub type Happened = trace::Happened<Who, What>;

/// Who did it, or whom it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The server, the network, or somebody outside.
    World,
    /// The producer of this number.
    Producer(u32),
    /// The operator of this number.
    Operator(u32),
    /// The process of this number.
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

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A member starts: the number of its name.
    Starts(u64),
    /// A request is sent: its kind and number.
    Asks(OpKind, u64),
    /// A request takes effect, or the store refuses it.
    Takes(OpKind, u64, bool),
    /// A client learns what came of its request: well or not.
    Answered(OpKind, u64, bool),
    /// A message is handed over: which, why, and whether its key is done.
    Delivered(u64, u8, bool),
    /// A handler starts: on which message.
    Handles(u64),
    /// A handler ends: on which message, and how.
    Ended(u64, u8),
    /// A settlement: of which message, the disposition, and what became of it.
    Settled(u64, u8, u8),
    /// A fault strikes, or a rare state is reached.
    Struck(Fault),
    /// A process dies.
    Dies,
    /// A process that stood still goes on.
    Resumes,
    /// A process is to leave.
    Drains,
    /// A process has left and stops.
    Stops,
    /// Faults end.
    Heals,
}

/// The place of "killed" among [`OUTCOMES`].
pub(super) const OUTCOME_KILLED: u8 = 5;
const WHYS: [&str; 4] = ["its own", "reclaimed", "due", "new"];
const OUTCOMES: [&str; 6] = ["done", "failed", "undecodable", "panicked", "timed out", "killed"];
const VERDICTS: [&str; 4] = ["done", "retry", "dead", "release"];
const SETTLED: [&str; 3] = ["applied", "duplicate", "lost"];

impl trace::Place for Who {
    fn number(self) -> u64 {
        match self {
            Self::World => 0,
            Self::Producer(n) => 1 << 32 | u64::from(n),
            Self::Operator(n) => 2 << 32 | u64::from(n),
            Self::Member(n) => 3 << 32 | u64::from(n),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world"),
            Self::Producer(n) => write!(f, "producer {n}"),
            Self::Operator(n) => write!(f, "operator {n}"),
            Self::Member(n) => write!(f, "p{n}"),
        }
    }
}

impl trace::What for What {
    fn words(self) -> (u8, [u64; 3]) {
        let (byte, flag) = (<u64 as From<u8>>::from, <u64 as From<bool>>::from);
        match self {
            Self::Starts(name) => (0, [name, 0, 0]),
            Self::Asks(op, n) => (1, [op as u64, n, 0]),
            Self::Takes(op, n, well) => (2, [op as u64, n, flag(well)]),
            Self::Answered(op, n, well) => (3, [op as u64, n, flag(well)]),
            Self::Delivered(message, why, done) => (4, [message, byte(why), flag(done)]),
            Self::Handles(message) => (5, [message, 0, 0]),
            Self::Ended(message, how) => (6, [message, byte(how), 0]),
            Self::Settled(message, disposition, how) => {
                (7, [message, byte(disposition), byte(how)])
            }
            Self::Struck(fault) => (8, [fault as u64, 0, 0]),
            Self::Dies => (9, [0; 3]),
            Self::Resumes => (10, [0; 3]),
            Self::Drains => (11, [0; 3]),
            Self::Stops => (12, [0; 3]),
            Self::Heals => (13, [0; 3]),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            |words: &[&'static str], at: u8| words.get(usize::from(at)).copied().unwrap_or("?");
        match *self {
            Self::Starts(name) => write!(f, "starts as m{name}"),
            Self::Asks(op, n) => write!(f, "-> {op} op{n}"),
            Self::Takes(op, n, true) => write!(f, "   {op} op{n} takes effect"),
            Self::Takes(op, n, false) => write!(f, "   {op} op{n} is refused"),
            Self::Answered(op, n, true) => write!(f, "<- {op} op{n} answered"),
            Self::Answered(op, n, false) => write!(f, "<- {op} op{n} failed"),
            Self::Delivered(message, why, done) => {
                let done = if done { ", known to be done" } else { "" };
                write!(f, "   is handed #{message} ({}{done})", word(&WHYS, why))
            }
            Self::Handles(message) => write!(f, "handles #{message}"),
            Self::Ended(message, how) => write!(f, "ended #{message}: {}", word(&OUTCOMES, how)),
            Self::Settled(message, disposition, how) => {
                let (disposition, how) = (word(&VERDICTS, disposition), word(&SETTLED, how));
                write!(f, "   settles #{message} as {disposition}: {how}")
            }
            Self::Struck(fault) => write!(f, "** {fault}: {}", fault.meaning()),
            Self::Dies => f.write_str("dies"),
            Self::Resumes => f.write_str("goes on"),
            Self::Drains => f.write_str("is to leave"),
            Self::Stops => f.write_str("stops"),
            Self::Heals => f.write_str("** from here on nothing goes wrong any more"),
        }
    }
}
