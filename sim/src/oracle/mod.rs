//! Oracles: what must hold at every moment of a run, faults or not.
//!
//! The module `witness` keeps a naive model of the log beside the real one and compares every answer; `audit`
//! reads a finished log without the engine's help; `explain` judges bad ends. An oracle is never switched
//! off because of a fault: what a fault may excuse is decided case by case.

pub(crate) mod audit;
pub(crate) mod execution;
pub(crate) mod explain;
pub(crate) mod parking;
pub(crate) mod witness;

use std::fmt;

/// Makes the enum and the names of one list.
macro_rules! oracles {
    ($($oracle:ident $name:literal $says:literal;)*) => {
        /// A promise that is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Oracle {
            $(#[doc = concat!($says, ".")] $oracle,)*
        }

        impl Oracle {
            /// All oracles.
            pub const ALL: &[Self] = &[$(Self::$oracle),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$oracle => $name,)* }
            }

            /// What it promises, in one line.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$oracle => $says,)* }
            }
        }
    };
}

oracles! {
    Order "ORDER" "positions strictly increase without a gap, and readers see the commits in order (L1, L2)";
    Once "ONCE" "a commit or message that is sent again changes nothing (L4)";
    Atomic "ATOMIC" "a commit is there as a whole, with its checkpoint and snapshot, or not at all (L3)";
    Fold "FOLD" "re-executing the log gives the log, its digest and the state that the run ended with";
    Transparent "TRANSPARENT" "the log of a run with faults is the log of the same run without them (L9)";
    Durable "DURABLE" "what was acknowledged is kept, or its loss is reported with positions";
    Fence "FENCE" "nothing of an earlier owner becomes visible after a later one has acquired (L5)";
    Ledger "LEDGER" "every message accepted is an entry once, in its producer's order, refused ones included";
    Poison "POISON" "a handler that fails is recorded for that event and what it emitted is discarded";
    Dispatch "DISPATCH" "every subscriber is handed every event once, in order, by priority, unless its circuit is open or its key is parked";
    Integrity "INTEGRITY" "nothing is read that was not written, and every decision has its cause before it";
    Time "TIME" "timers fire once, in order, not early, and before any input of a later time";
    Live "LIVE" "once faults have healed, the run gets to its end";
    Bounded "BOUNDED" "batches, snapshots and attempts stay within their limits";
    Determinism "DETERMINISM" "the same plan gives the same trace";
    Truth "TRUTH" "what a run reports of itself is what happened";
    Trim "TRIM" "trimming never passes the floor, a reader below it is told (L8), and an older snapshot is kept to fall back on";
    Classify "CLASSIFY" "an operation fails only for a reason, and says truly whether it took effect";
    Explained "EXPLAINED" "a run ends badly only because of a fault that was there, and says which";
    NoPanic "NO-PANIC" "nothing panics outside a handler";
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub oracle: Oracle,
    /// What happened, in one line.
    pub what: String,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub actual: String,
}

impl Violation {
    pub(crate) fn new(
        oracle: Oracle,
        what: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        Self { oracle, what: what.into(), expected, actual }
    }
}

/// Compares bytes, and shows the first that differ.
pub(crate) fn same_bytes(
    oracle: Oracle,
    what: &str,
    expected: &[u8],
    actual: &[u8],
) -> Result<(), Violation> {
    if expected == actual {
        return Ok(());
    }
    let at = expected.iter().zip(actual).position(|(expected, actual)| expected != actual);
    let at = at.unwrap_or(expected.len().min(actual.len()));
    let show = |bytes: &[u8]| {
        let shown: String = bytes[at..].iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{} bytes, from byte {at} on {shown}", bytes.len())
    };
    Err(Violation::new(oracle, what, show(expected), show(actual)))
}

/// Compares, and words the difference only where there is one.
pub(crate) fn same<T: PartialEq + fmt::Debug>(
    oracle: Oracle,
    what: &str,
    expected: &T,
    actual: &T,
) -> Result<(), Violation> {
    if expected == actual {
        return Ok(());
    }
    Err(Violation::new(oracle, what, format!("{expected:?}"), format!("{actual:?}")))
}
