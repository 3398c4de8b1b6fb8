//! What happens in a run of the log plane.

use std::fmt;

use crate::{
    kernel::{spell, trace},
    log::fault::{FaultKind, OpKind},
};

/// The hash and the tail of a run.
pub type Trace = trace::Trace<Place, What>;

/// One thing that happened.
pub type Happened = trace::Happened<Place, What>;

/// Where something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The server and the network.
    Server,
    /// The process of this number.
    Process(u32),
}

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process starts.
    Started,
    /// A process asks something of the log: its number among operations of this kind, and a number that differs where the
    /// content does.
    Asked(OpKind, u64, u64),
    /// A request takes effect, or is refused.
    Took(OpKind, u64, bool),
    /// A request takes effect although nobody waits for it any more.
    Ghost(OpKind, u64, bool),
    /// An answer arrives: well or not.
    Answered(OpKind, bool),
    /// A process waits, in nanoseconds.
    Slept(u64),
    /// A fault strikes.
    Struck(FaultKind),
    /// A process dies.
    Died,
    /// A process thaws.
    Thawed,
    /// A process ends: 0 finished, 1 stopped, 2 with an error.
    Ended(u8),
}

impl trace::Place for Place {
    fn number(self) -> u64 {
        match self {
            Self::Server => 0,
            Self::Process(number) => u64::from(number) + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Process(number) => write!(f, "p{number}"),
        }
    }
}

impl trace::What for What {
    fn words(self) -> (u8, [u64; 3]) {
        match self {
            Self::Started => (0, [0; 3]),
            Self::Asked(op, n, content) => (1, [op as u64, n, content]),
            Self::Took(op, n, well) => (2, [op as u64, n, u64::from(well)]),
            Self::Ghost(op, n, well) => (3, [op as u64, n, u64::from(well)]),
            Self::Answered(op, well) => (4, [op as u64, u64::from(well), 0]),
            Self::Slept(ns) => (5, [ns, 0, 0]),
            Self::Struck(kind) => (6, [kind as u64, 0, 0]),
            Self::Died => (7, [0; 3]),
            Self::Thawed => (8, [0; 3]),
            Self::Ended(how) => (9, [u64::from(how), 0, 0]),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let well = |well: bool| if well { "" } else { ": refused" };
        match *self {
            Self::Started => f.write_str("starts"),
            Self::Asked(op, n, _) => write!(f, "-> {op}#{n}"),
            Self::Took(op, n, ok) => write!(f, "   {op}#{n} takes effect{}", well(ok)),
            Self::Ghost(op, n, ok) => write!(f, "   {op}#{n} arrives, unawaited{}", well(ok)),
            Self::Answered(op, ok) => {
                write!(f, "<- {op} {}", if ok { "answered" } else { "failed" })
            }
            Self::Slept(ns) => write!(f, "waits {}", spell::span(ns)),
            Self::Struck(kind) => write!(f, "** {kind}: {}", kind.meaning()),
            Self::Died => f.write_str("dies"),
            Self::Thawed => f.write_str("thaws"),
            Self::Ended(0) => f.write_str("ends: finished"),
            Self::Ended(1) => f.write_str("ends: stopped"),
            Self::Ended(_) => f.write_str("ends with an error"),
        }
    }
}
