//! Oracles: what must hold at every moment of a run, faults or not.
//!
//! The module `witness` keeps a naive model of the log beside the real one and compares every answer; `audit`
//! reads a finished log without the engine's help; `explain` judges how owners fail. No fault switches an oracle
//! off: what a fault may excuse is decided case by case.

mod audit;
mod calls;
mod deliveries;
pub(crate) mod entry;
pub(crate) mod execution;
pub(crate) mod explain;
mod parking;
pub(crate) mod witness;

use std::fmt;

use crate::kernel::{catalogue::catalogue, report};

catalogue! {
    /// A promise that is watched.
    pub enum Promise {
        Order "ORDER" "positions strictly increase without a gap, and readers see the commits in order (L1, L2)";
        Idempotence "IDEMPOTENCE" "a commit or message that is sent again changes nothing (L4)";
        Atomicity "ATOMICITY" "a commit is there as a whole, with its checkpoint and snapshot, or not at all (L3)";
        Replay "REPLAY" "re-executing the log gives the log, its digest and the state that the run ended with";
        Transparency "TRANSPARENCY" "the log of a run with faults is the log of the same run without them (L9)";
        Durability "DURABILITY" "what was acknowledged is kept, or its loss is reported with positions";
        Fencing "FENCING" "nothing of an earlier owner becomes visible after a later one has acquired (L5)";
        Ledger "LEDGER" "every message accepted is an entry once, in its producer's order, refused ones included";
        Isolation "ISOLATION" "a handler that fails is recorded for that event and what it emitted is discarded";
        Dispatch "DISPATCH" "every subscriber is handed every event once, in order, by priority, unless its circuit is open or its key is parked";
        Integrity "INTEGRITY" "nothing is read that was not written, and every decision has its cause before it";
        Time "TIME" "timers fire once, in order, not early, and before any input of a later time";
        Liveness "LIVENESS" "once faults have healed, the run gets to its end";
        Bounds "BOUNDS" "batches, snapshots and attempts stay within their limits";
        Determinism "DETERMINISM" "the same plan gives the same trace";
        Truth "TRUTH" "what a run reports of itself is what happened";
        Trimming "TRIMMING" "trimming never passes the floor, a reader below it is told (L8), and an older snapshot is kept to fall back on";
        Classification "CLASSIFICATION" "an operation fails only for a reason, and says truly whether it took effect";
        Explanation "EXPLANATION" "a run ends badly only because of a fault that was there, and says which";
        NoPanic "NO-PANIC" "nothing panics outside a handler";
    }
}

/// A promise that was broken.
pub type Violation = report::Violation<Promise>;

/// Compares bytes, and shows the first that differ.
pub(crate) fn same_bytes(
    promise: Promise,
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
    Err(Violation::new(promise, what, show(expected), show(actual)))
}

/// Compares, and words the difference only where there is one.
pub(crate) fn same<T: PartialEq + fmt::Debug>(
    promise: Promise,
    what: &str,
    expected: &T,
    actual: &T,
) -> Result<(), Violation> {
    if expected == actual {
        return Ok(());
    }
    Err(Violation::new(promise, what, format!("{expected:?}"), format!("{actual:?}")))
}
