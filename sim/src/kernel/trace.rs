//! What happened, in order: a hash over all of it, and the last of it for people.
//!
//! Two runs are the same exactly when their hashes are, so determinism is checked over millions of steps without keeping them.

use std::{collections::VecDeque, fmt};

use silvertine_engine::digest::{Digest, fingerprint};

use super::spell;

/// Happenings kept for the timeline of a report.
const KEPT: usize = 256;

/// Where something happens: a process, or the world around them.
pub trait Place: Copy + PartialEq + fmt::Debug + fmt::Display {
    /// A number that no other place has; below 2^56.
    fn number(self) -> u64;
}

/// A plane's kind of happening.
pub trait What: Copy + PartialEq + fmt::Debug + fmt::Display {
    /// Its code, and three numbers that tell it from others of its code.
    fn words(self) -> (u8, [u64; 3]);
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened<P, W> {
    /// Virtual time in nanoseconds.
    pub time_ns: u64,
    /// Where.
    pub place: P,
    /// What.
    pub what: W,
}

/// The hash and the tail of a trace.
#[derive(Clone, Debug)]
pub struct Trace<P, W> {
    hash: Digest,
    steps: u64,
    tail: VecDeque<Happened<P, W>>,
    /// Every happening, to find where two traces part.
    all: Option<Vec<Happened<P, W>>>,
}

impl<P, W> Default for Trace<P, W> {
    fn default() -> Self {
        Self { hash: Digest::default(), steps: 0, tail: VecDeque::new(), all: None }
    }
}

impl<P: Place, W: What> Trace<P, W> {
    /// A trace that also keeps every happening.
    #[must_use]
    pub fn keeping_all() -> Self {
        Self { all: Some(Vec::new()), ..Self::default() }
    }

    /// Adds what happened.
    pub fn note(&mut self, happened: Happened<P, W>) {
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
    pub fn chain(&mut self, bytes: &[u8]) {
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
    pub fn tail(&self) -> Vec<Happened<P, W>> {
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
                let tell = |happened: Option<&Happened<P, W>>| {
                    happened.map_or_else(|| "the end".to_owned(), ToString::to_string)
                };
                format!("step {}: first {}; then {}", step + 1, tell(ours), tell(theirs))
            }
        }
    }

    /// Everything that happened, where it was kept.
    #[must_use]
    pub fn all(&self) -> &[Happened<P, W>] {
        self.all.as_deref().unwrap_or_default()
    }
}

impl<P: Place, W: What> Happened<P, W> {
    fn to_bytes(self) -> [u8; 40] {
        let (code, [a, b, c]) = self.what.words();
        let mut bytes = [0; 40];
        let head = self.place.number() << 8 | u64::from(code);
        for (at, word) in [self.time_ns, head, a, b, c].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl<P: Place, W: What> fmt::Display for Happened<P, W> {
    /// One line of a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = spell::clock(self.time_ns);
        write!(f, "{clock:<18} {:<11} {}", self.place.to_string(), self.what)
    }
}
