//! The laws of an event log, which [`silvertine_engine::log`] states.
//!
//! Each law is a function over any log; its name says what it demands and begins with the number of the law. Random
//! histories are compared step by step with a small model that shares no code with any log.
//!
//! [`log_laws!`](crate::log_laws) makes a test of each; [`check`] runs all of them and returns what it found.
//!
//! ```
//! use silvertine_conformance::log::{LogFixture, check};
//! use silvertine_storage::memory::MemoryLog;
//!
//! struct InMemory(MemoryLog);
//!
//! impl LogFixture for InMemory {
//!     type Log = MemoryLog;
//!     const SURVIVES_RESTART: bool = false;
//!
//!     fn log(&self) -> MemoryLog {
//!         self.0.clone()
//!     }
//!
//!     fn restart(&mut self) {}
//! }
//!
//! let checked = check(|| InMemory(MemoryLog::new()))?;
//! assert!(checked.laws.len() > 15 && checked.histories > 0);
//! # Ok::<(), silvertine_conformance::BrokenLaw>(())
//! ```

mod concurrent;
pub mod draft;
mod fixture;
mod harness;
mod histories;
mod laws;
mod model;

use std::{future::Future, pin::Pin};

use silvertine_engine::{digest::Digest, log::Batch, pos::Pos};

pub use self::fixture::LogFixture;
use self::harness::Harness;
use crate::{BrokenLaw, Checked, breach::caught, journal::Journal, runtime::run};

/// So many random histories are played where nothing else is said.
pub const HISTORIES: u32 = 128;

/// Laws that nothing but a restart can break.
const NEED_A_RESTART: [&str; 2] = [
    "l4_a_duplicate_is_recognised_after_a_restart",
    "l6_a_restart_between_any_two_operations_loses_nothing",
];

type Law<F> = for<'a> fn(&'a mut Harness<F>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Makes a `#[test]` of every law of a log, and one of random histories.
///
/// The arguments are an expression that makes a fresh [`LogFixture`](crate::log::LogFixture), and, where
/// [`HISTORIES`](crate::log::HISTORIES) are too few or take too long, how many random histories to play. Put it into a
/// module of its own per log: the tests are named after the laws.
///
/// ```
/// # use silvertine_conformance::log::LogFixture;
/// # use silvertine_storage::memory::MemoryLog;
/// # struct InMemory(MemoryLog);
/// # impl LogFixture for InMemory {
/// #     type Log = MemoryLog;
/// #     fn log(&self) -> MemoryLog { self.0.clone() }
/// #     fn restart(&mut self) {}
/// # }
/// mod in_memory {
///     use super::*;
///     silvertine_conformance::log_laws!(InMemory(MemoryLog::new()), histories: 512);
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! log_laws {
    ($fresh:expr) => {
        $crate::log_laws!($fresh, histories: $crate::log::HISTORIES);
    };
    ($fresh:expr, histories: $histories:expr) => {
        $crate::log_laws!(@list tests ($fresh));

        #[test]
        fn random_histories_match_the_model() {
            if let Err(broken) = $crate::log::check_histories(|| $fresh, $histories) {
                panic!("{broken}");
            }
        }
    };
    // The one list of all laws.
    (@list $kind:ident $with:tt) => {
        $crate::log_laws! { @$kind $with
            laws: l1_positions_strictly_increase_and_lower_ones_are_refused,
            laws: l2_range_equals_commit_order_for_any_topics_and_page_size,
            laws: l2_range_never_goes_past_the_committed_head,
            concurrent: l2_readers_beside_a_writer_see_no_hole_and_no_uncommitted_entry,
            laws: l3_a_refused_commit_leaves_nothing,
            laws: l4_the_same_commit_again_is_a_duplicate_and_changes_nothing,
            laws: l4_a_duplicate_is_recognised_after_a_restart,
            laws: l5_every_earlier_owner_is_fenced,
            laws: l5_a_former_owner_does_not_read_the_ingress_as_the_owner,
            laws: l5_the_same_owner_acquires_again_without_fencing_itself,
            laws: l6_a_restart_between_any_two_operations_loses_nothing,
            laws: l8_trimming_stops_at_the_floor_and_readers_below_are_told,
            laws: l8_trimming_changes_neither_positions_nor_digest,
            concurrent: l8_a_reader_beside_a_trimmer_reads_all_that_is_kept_or_is_told,
            laws: l9_a_fixed_history_leaves_exactly_the_bytes_that_were_committed,
            laws: ingress_is_idempotent_by_producer_and_number,
            laws: consumed_ingress_stays_refused_after_it_is_discarded,
            laws: ingress_is_in_order_for_each_producer_and_limited,
            laws: a_snapshot_comes_back_byte_for_byte_and_old_ones_go,
            laws: manifest_and_checkpoint_come_back,
            laws: stats_count_what_is_kept,
            laws: a_log_that_nobody_acquired_does_not_exist,
        }
    };
    (@tests ($fresh:expr) $($module:ident: $law:ident,)*) => {
        $(#[test]
        fn $law() {
            if let Err(broken) = $crate::log::check_law(stringify!($law), || $fresh) {
                panic!("{broken}");
            }
        })*
    };
    (@table ($fixture:ty) $($module:ident: $law:ident,)*) => {
        [$((stringify!($law), |harness: &mut Harness<$fixture>| Box::pin($module::$law(harness)))),*]
    };
}

fn table<F: LogFixture>() -> Vec<(&'static str, Law<F>)> {
    let table: [(&'static str, Law<F>); _] = log_laws!(@list table (F));
    table.into()
}

/// Checks every law, and [`HISTORIES`] random histories, each on a fresh fixture.
///
/// # Errors
/// The first law that is broken; the others have not been checked then.
pub fn check<F: LogFixture>(fresh: impl Fn() -> F) -> Result<Checked, BrokenLaw> {
    let mut checked = Checked { laws: Vec::new(), skipped: Vec::new(), histories: HISTORIES };
    for (name, law) in table::<F>() {
        if skips::<F>(name) {
            checked.skipped.push(name);
        } else {
            play(name, law, fresh())?;
            checked.laws.push(name);
        }
    }
    check_histories(fresh, HISTORIES)?;
    Ok(checked)
}

/// Checks one law by its name; one that needs a restart passes where the fixture has none.
///
/// # Errors
/// The law is broken.
///
/// # Panics
/// When no law has this name.
pub fn check_law<F: LogFixture>(name: &str, fresh: impl FnOnce() -> F) -> Result<(), BrokenLaw> {
    let law = table::<F>().into_iter().find(|(known, _)| *known == name);
    let (name, law) = law.unwrap_or_else(|| panic!("no law of a log is named {name}"));
    if skips::<F>(name) { Ok(()) } else { play(name, law, fresh()) }
}

/// Plays so many random histories, each on a fresh fixture, and compares every answer with that of the model.
///
/// The seed is random unless `PROPTEST_RNG_SEED` gives one.
///
/// # Errors
/// The shortest history found whose answers differ, with the seed that draws it again.
pub fn check_histories<F: LogFixture>(
    fresh: impl Fn() -> F,
    histories: u32,
) -> Result<(), BrokenLaw> {
    histories::check(fresh, histories)
}

/// What the same history leaves behind in every log (L9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedHistory {
    /// All entries.
    pub entries: Batch,
    /// The digest over them.
    pub digest: Digest,
    /// Positions of the snapshots.
    pub snapshots: Vec<Pos>,
}

/// Plays one fixed history and reads what it left behind, to compare one log with another.
///
/// # Errors
/// The log fails on the way.
pub fn fixed_history<F: LogFixture>(fixture: F) -> Result<FixedHistory, BrokenLaw> {
    let journal = Journal::default();
    let mut harness = Harness::new(fixture, journal.clone());
    caught(|| run(laws::written_by_a_fixed_history(&mut harness)))
        .map_err(|breach| BrokenLaw::new("l9_fixed_history", breach, &journal))
}

fn skips<F: LogFixture>(name: &str) -> bool {
    !F::SURVIVES_RESTART && NEED_A_RESTART.contains(&name)
}

fn play<F: LogFixture>(name: &'static str, law: Law<F>, fixture: F) -> Result<(), BrokenLaw> {
    let journal = Journal::default();
    let mut harness = Harness::new(fixture, journal.clone());
    caught(|| run(law(&mut harness))).map_err(|breach| BrokenLaw::new(name, breach, &journal))
}
