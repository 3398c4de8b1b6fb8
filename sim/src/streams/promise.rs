//! What the worker plane promises, and how a broken promise is told.

use std::fmt;

/// Makes the enum and the names of one list.
macro_rules! promises {
    ($($name:ident $text:literal $says:literal;)*) => {
        /// A promise that is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Promise {
            $(#[doc = concat!($says, ".")] $name,)*
        }

        impl Promise {
            /// All promises.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it promises, in one line.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }
        }
    };
}

promises! {
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

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What happened, over one or more lines.
    pub what: String,
}

impl Violation {
    pub(super) fn new(promise: Promise, what: impl Into<String>) -> Self {
        Self { promise, what: what.into() }
    }
}

/// A check: the promise that is broken, or nothing.
pub(super) type Checked = Result<(), Violation>;

/// Fails with a broken promise unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $promise:ident, $($what:tt)*) => {
        if !$holds {
            return Err($crate::streams::promise::Violation::new(
                $crate::streams::promise::Promise::$promise,
                format!($($what)*),
            ));
        }
    };
}
pub(super) use ensure;
