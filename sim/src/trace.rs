//! What happened, in order: a hash over all of it, and the last of it for people.

use std::{collections::VecDeque, fmt};

use silvertine_engine::digest::{Digest, fingerprint};

use crate::{
    fault::{FaultKind, OpKind},
    spell,
};

/// Happenings kept for the timeline of a report.
const KEPT: usize = 256;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Virtual time in nanoseconds.
    pub time: u64,
    /// In which process; `None` for the server and the network.
    pub process: Option<u32>,
    /// What.
    pub what: What,
}

/// Kinds of things that happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process starts.
    Started,
    /// A process asks something of the log; the number counts operations of this kind.
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

/// The hash and the tail of a trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: Digest,
    steps: u64,
    tail: VecDeque<Happened>,
    /// Keeps every happening, to find where two traces part.
    all: Option<Vec<Happened>>,
}

impl Trace {
    /// A trace that also keeps every happening.
    #[must_use]
    pub fn keeping_all() -> Self {
        Self { all: Some(Vec::new()), ..Self::default() }
    }

    pub(crate) fn note(&mut self, happened: Happened) {
        self.steps += 1;
        let mut link = [0; 56];
        link[..16].copy_from_slice(&self.hash.to_bytes());
        link[16..].copy_from_slice(&happened.to_bytes());
        self.hash = Digest::from_bytes(fingerprint(&link));
        if self.tail.len() == KEPT {
            self.tail.pop_front();
        }
        self.tail.push_back(happened);
        if let Some(all) = &mut self.all {
            all.push(happened);
        }
    }

    /// Chains anything else that two runs must agree on.
    pub(crate) fn chain(&mut self, bytes: &[u8]) {
        self.hash = self.hash.chain(bytes);
    }

    /// 128 bits that two traces share exactly when all that happened is the same.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// How much happened.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The last things that happened, oldest first.
    #[must_use]
    pub fn tail(&self) -> Vec<Happened> {
        self.tail.iter().copied().collect()
    }

    /// Where two traces part, in one line. Both must have [kept all](Self::keeping_all).
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> String {
        let (ours, theirs) = (self.all(), other.all());
        let step = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
        let step = step.unwrap_or(ours.len().min(theirs.len()));
        match (ours.get(step), theirs.get(step)) {
            (None, None) => "everything happens alike, but what is left differs".to_owned(),
            (ours, theirs) => {
                let tell = |happened: Option<&Happened>| {
                    happened.map_or_else(|| "the end".to_owned(), ToString::to_string)
                };
                format!("step {}: first {}; then {}", step + 1, tell(ours), tell(theirs))
            }
        }
    }

    /// Everything that happened, where it was kept.
    #[must_use]
    pub fn all(&self) -> &[Happened] {
        self.all.as_deref().unwrap_or_default()
    }
}

impl Happened {
    fn to_bytes(self) -> [u8; 40] {
        let (code, a, b, c) = match self.what {
            What::Started => (0, 0, 0, 0),
            What::Asked(op, n, content) => (1, op as u64, n, content),
            What::Took(op, n, well) => (2, op as u64, n, u64::from(well)),
            What::Ghost(op, n, well) => (3, op as u64, n, u64::from(well)),
            What::Answered(op, well) => (4, op as u64, u64::from(well), 0),
            What::Slept(ns) => (5, ns, 0, 0),
            What::Struck(kind) => (6, kind as u64, 0, 0),
            What::Died => (7, 0, 0, 0),
            What::Thawed => (8, 0, 0, 0),
            What::Ended(how) => (9, u64::from(how), 0, 0),
        };
        let process = self.process.map_or(0, |process| u64::from(process) + 1);
        let mut bytes = [0; 40];
        for (at, word) in [self.time, process << 8 | code, a, b, c].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl fmt::Display for Happened {
    /// One line of a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = format!("{:<18}", spell::clock(self.time));
        let who = self.process.map_or_else(|| "server".to_owned(), |n| format!("p{n}"));
        write!(f, "{clock} {who:<7}")?;
        let well = |well: bool| if well { "" } else { ": refused" };
        match self.what {
            What::Started => f.write_str("starts"),
            What::Asked(op, n, _) => write!(f, "-> {op}#{n}"),
            What::Took(op, n, ok) => write!(f, "   {op}#{n} takes effect{}", well(ok)),
            What::Ghost(op, n, ok) => write!(f, "   {op}#{n} arrives, unawaited{}", well(ok)),
            What::Answered(op, ok) => {
                write!(f, "<- {op} {}", if ok { "answered" } else { "failed" })
            }
            What::Slept(ns) => write!(f, "waits {}", spell::span(ns)),
            What::Struck(kind) => write!(f, "** {kind}: {}", kind.info().says),
            What::Died => f.write_str("dies"),
            What::Thawed => f.write_str("thaws"),
            What::Ended(0) => f.write_str("ends: finished"),
            What::Ended(1) => f.write_str("ends: stopped"),
            What::Ended(_) => f.write_str("ends with an error"),
        }
    }
}
