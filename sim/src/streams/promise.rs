//! What the worker plane promises, and how a check tells that a promise is broken.

use crate::kernel::{catalogue::catalogue, report};

catalogue! {
    /// A promise that is watched.
    pub enum Promise {
        Account "ACCOUNT" "every message of a group is in exactly one place, and the counts add up";
        Effect "EFFECT" "what a handler emitted is published exactly once per key that is done, and never for a dead one";
        Model "MODEL" "the store answers as a naive model of it does that is told the same";
        Durable "DURABLE" "what was acknowledged to a producer is on its stream and handled";
        Settled "SETTLED" "a settled message is never handled again within the idempotency window";
        InOrder "IN-ORDER" "handlers of one ordering key never overlap and run in order";
        Bounded "BOUNDED" "a member never handles more than it may hold";
        Punctual "PUNCTUAL" "a retry is not early, and not late once all is well";
        Blame "BLAME" "a message is given up only for what it did: an innocent one is never blamed";
        Healthy "HEALTHY" "the healthy are not kept back by failing ones";
        Live "LIVE" "once faults have healed, everything comes to rest";
        NoSpin "NO-SPIN" "a member that has nothing to do does not spin";
        Drained "DRAINED" "a member that is to leave has left soon after its deadline";
    }
}

/// A broken promise.
pub type Violation = report::Violation<Promise>;

/// A check: the promise that is broken, or nothing.
pub(super) type Checked = Result<(), Violation>;

/// Fails with a broken promise unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $promise:ident, $($what:tt)*) => {
        if !$holds {
            return Err($crate::streams::promise::Violation::plain(
                $crate::streams::promise::Promise::$promise,
                format!($($what)*),
            ));
        }
    };
}
pub(super) use ensure;
