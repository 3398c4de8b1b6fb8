//! What may happen to the worker plane, and how often it did.

/// Makes the enum and the names of one list.
macro_rules! happenings {
    ($($name:ident $text:literal $says:literal;)*) => {
        /// A fault, or a rare state that faults lead to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = concat!($says, ".")] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it means, in one line.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }
        }
    };
}

happenings! {
    LostRequest "lost_request" "a request never reaches the store";
    LostReply "lost_reply" "a request takes effect and its answer is lost";
    Late "late" "a request takes effect after its client has given up";
    Refused "refused" "the store refuses a request, without effect";
    Slow "slow_network" "a request and its answer take long";
    Outage "outage" "the store answers nobody for a while";
    Crash "crash" "a member dies with all its handlers";
    Renamed "renamed" "a member comes back under another name";
    Pause "pause" "a member stands still and goes on as if nothing had happened";
    Drain "drain" "a member leaves gracefully";
    Skew "skew" "a member's clock differs from the store's";
    Stranger "stranger" "somebody deletes a message behind everybody's back";
    Twice "twice" "a producer publishes a message again under the same key";
    Full "full" "a full stream refuses what is published";
    Transient "transient" "a handler fails in a way that passes";
    TimedOut "timed_out" "a handler does not end in time";
    Permanent "permanent" "a handler fails for good";
    Undecodable "undecodable" "a handler cannot decode a message";
    Panicked "panicked" "a handler panics";
    InvalidOutput "invalid_output" "a handler emits what cannot be published";
    Killer "killer" "a message kills its process";
    Abandoned "abandoned" "a drain's time is over while a handler runs";
    Reclaimed "reclaimed" "a message is taken from a member that seems dead";
    Zombie "zombie" "a member settles a message that another has by now";
    Ghost "ghost" "a request of a dead member takes effect";
    Duplicate "duplicate" "a message of a key that is done is settled";
    Redrive "redrive" "an operator sends a dead letter back";
    Contended "contended" "two operators change the same dead letter";
    Opened "circuit_opened" "a circuit opens";
    Closed "circuit_closed" "a circuit closes again";
    Blocked "blocked" "a message waits behind another with its ordering key";
    Vanished "vanished" "a deleted message was never seen by a group";
}

/// How often each was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Counts {
    pub(super) fn note(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this one was seen.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Those that were never seen.
    #[must_use]
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|&fault| self.of(fault) == 0).collect()
    }
}
