//! The law of named streams, L7, which [`silvertine_streams::Streams`] states: every sentence of it is a law here.
//!
//! Each is a function over any store; its name says what it demands. Random histories are compared step by step with
//! a small model that shares no code with any store.
//!
//! [`streams_laws!`](crate::streams_laws) makes a test of each; [`check`] runs all of them and returns what it found.
//!
//! ```
//! use silvertine_conformance::streams::{StreamsFixture, check_law};
//! use silvertine_storage::streams::MemoryStreams;
//! use silvertine_streams::Topology;
//!
//! struct InMemory(MemoryStreams);
//!
//! impl StreamsFixture for InMemory {
//!     type Streams = MemoryStreams;
//!     const SURVIVES_RESTART: bool = false;
//!
//!     fn streams(&self) -> &MemoryStreams {
//!         &self.0
//!     }
//!
//!     fn restart(&mut self) {}
//! }
//!
//! let fresh = |topology: Topology| InMemory(MemoryStreams::in_memory(topology));
//! check_law("l7_a_message_is_delivered_until_it_is_settled", fresh)?;
//! # Ok::<(), silvertine_conformance::BrokenLaw>(())
//! ```

mod delivery;
mod fixture;
mod harness;
mod histories;
mod letters;
mod model;
mod names;
mod ordering;
mod recorded;
mod settling;
mod trimming;

use std::{future::Future, pin::Pin};

use silvertine_streams::Topology;

pub use self::fixture::StreamsFixture;
use self::harness::Setup;
use crate::{BrokenLaw, Checked, breach::caught, journal::Journal, runtime::run};

/// So many random histories are played where nothing else is said.
pub const HISTORIES: u32 = 64;

type Law<F> = for<'a> fn(&'a Setup<'a, F>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Makes a `#[test]` of every law of named streams, and one of random histories.
///
/// The arguments are a function that makes a fresh [`StreamsFixture`](crate::streams::StreamsFixture) from a
/// [`Topology`], and, where [`HISTORIES`](crate::streams::HISTORIES) are too few or take too long, how many
/// random histories to play. Put it into a module of its own per store: the tests are named after the laws.
///
/// ```
/// # use silvertine_conformance::streams::StreamsFixture;
/// # use silvertine_storage::streams::MemoryStreams;
/// # struct InMemory(MemoryStreams);
/// # impl StreamsFixture for InMemory {
/// #     type Streams = MemoryStreams;
/// #     fn streams(&self) -> &MemoryStreams { &self.0 }
/// #     fn restart(&mut self) {}
/// # }
/// mod in_memory {
///     use super::*;
///     silvertine_conformance::streams_laws!(
///         |topology| InMemory(MemoryStreams::in_memory(topology)),
///         histories: 512
///     );
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! streams_laws {
    ($fresh:expr) => {
        $crate::streams_laws!($fresh, histories: $crate::streams::HISTORIES);
    };
    ($fresh:expr, histories: $histories:expr) => {
        $crate::streams_laws!(@list tests ($fresh));

        #[test]
        fn random_histories_match_the_model() {
            if let Err(broken) = $crate::streams::check_histories($fresh, $histories) {
                panic!("{broken}");
            }
        }
    };
    // The one list of all laws.
    (@list $kind:ident $with:tt) => {
        $crate::streams_laws! { @$kind $with
            delivery: l7_a_message_is_delivered_until_it_is_settled,
            delivery: l7_what_is_settled_never_comes_again,
            delivery: a_call_whose_answer_was_lost_changes_nothing_when_it_is_made_again,
            delivery: a_retry_waits_survives_a_restart_and_stands_in_nobodys_way,
            delivery: retries_come_in_the_order_in_which_they_are_due,
            delivery: what_is_released_is_due_for_anybody_at_once,
            delivery: a_member_loses_nothing_while_it_shows_signs_of_life,
            delivery: what_a_dead_member_held_goes_to_another,
            delivery: work_that_a_member_taken_for_dead_has_done_counts_once,
            delivery: after_a_restart_come_own_then_reclaimed_then_due_then_new_ones,
            delivery: a_poll_keeps_its_limit_except_for_what_is_its_own,
            delivery: tries_on_record_come_back_with_the_message,
            delivery: what_a_member_held_when_it_left_is_due_for_others_at_once,
            delivery: every_group_gets_every_message,
            delivery: the_oldest_message_that_is_not_settled_has_an_age,
            delivery: members_are_counted_while_they_live,
            delivery: a_group_starts_where_its_topology_says,
            settling: what_a_handler_emits_is_published_in_the_same_step,
            settling: a_step_that_is_refused_leaves_nothing,
            settling: a_message_that_comes_again_is_settled_and_its_outputs_are_dropped,
            settling: of_two_messages_with_one_key_settled_together_one_counts,
            settling: a_place_is_no_key_that_somebody_else_could_have,
            settling: a_key_is_forgotten_when_its_window_is_over,
            settling: so_many_keys_are_remembered_and_the_oldest_go_first,
            settling: without_a_window_no_key_is_remembered,
            settling: a_dead_letter_is_written_in_the_same_step,
            ordering: a_member_that_is_given_nothing_new_shows_a_sign_of_life,
            ordering: messages_of_one_key_come_one_after_the_other_over_all_members,
            ordering: a_key_stays_taken_while_its_message_waits_for_a_retry_or_changes_hands,
            ordering: the_next_of_a_key_comes_up_when_the_one_before_is_dead,
            ordering: a_long_queue_behind_one_key_keeps_its_order,
            ordering: urgent_lanes_come_first_and_last_when_asked_in_reverse,
            ordering: redriven_letters_reach_their_own_group_alone,
            ordering: redriven_letters_keep_the_order_of_their_key,
            trimming: a_stream_whose_messages_are_handled_keeps_exactly_its_maximum,
            trimming: a_stream_that_is_trimmed_approximately_does_not_grow_without_end,
            trimming: a_full_stream_grows_while_messages_are_not_handled,
            trimming: a_full_stream_refuses_until_a_group_has_caught_up,
            trimming: a_full_stream_cuts_the_oldest_and_says_how_many,
            trimming: old_messages_go_once_they_are_handled,
            trimming: the_slowest_group_and_what_is_pending_hold_messages_back,
            trimming: a_stream_without_groups_keeps_its_newest,
            letters: dead_letters_are_read_in_pages,
            letters: of_two_people_who_change_a_letter_one_is_told_that_it_was_too_late,
            letters: an_audit_is_published_only_when_something_changed,
            letters: a_letter_is_sent_back_to_its_own_group_once,
            letters: a_letter_that_is_removed_is_gone,
            letters: old_letters_go_when_new_ones_come,
            names: declaring_again_changes_nothing,
            names: ids_rise_and_reading_pages_through_them,
            names: a_message_comes_as_it_was_published,
            names: relaying_again_adds_nothing,
            names: a_record_is_replaced_only_where_it_is_as_expected,
            names: names_that_the_topology_does_not_have_are_refused,
            names: messages_beyond_the_limits_are_refused,
        }
    };
    (@tests ($fresh:expr) $($module:ident: $law:ident,)*) => {
        $(#[test]
        fn $law() {
            if let Err(broken) = $crate::streams::check_law(stringify!($law), $fresh) {
                panic!("{broken}");
            }
        })*
    };
    (@table ($fixture:ty) $($module:ident: $law:ident,)*) => {
        [$((stringify!($law), |setup: &Setup<'_, $fixture>| Box::pin($module::$law(setup)))),*]
    };
}

fn table<F: StreamsFixture>() -> Vec<(&'static str, Law<F>)> {
    let table: [(&'static str, Law<F>); _] = streams_laws!(@list table (F));
    table.into()
}

/// Checks every law, and [`HISTORIES`] random histories, each on a fresh fixture.
///
/// # Errors
/// The first law that is broken; the others have not been checked then.
pub fn check<F: StreamsFixture>(fresh: impl Fn(Topology) -> F) -> Result<Checked, BrokenLaw> {
    let mut checked = Checked { laws: Vec::new(), skipped: Vec::new(), histories: HISTORIES };
    for (name, law) in table::<F>() {
        play(name, law, &fresh)?;
        checked.laws.push(name);
    }
    check_histories(fresh, HISTORIES)?;
    Ok(checked)
}

/// Checks one law by its name.
///
/// # Errors
/// The law is broken.
///
/// # Panics
/// When no law has this name.
pub fn check_law<F: StreamsFixture>(
    name: &str,
    fresh: impl Fn(Topology) -> F,
) -> Result<(), BrokenLaw> {
    let law = table::<F>().into_iter().find(|(known, _)| *known == name);
    let (name, law) = law.unwrap_or_else(|| panic!("no law of streams is named {name}"));
    play(name, law, &fresh)
}

/// Plays so many random histories, each on a fresh fixture, and compares every answer with that of the model.
///
/// The seed is random unless `PROPTEST_RNG_SEED` gives one.
///
/// # Errors
/// The shortest history found whose answers differ, with the seed that draws it again.
pub fn check_histories<F: StreamsFixture>(
    fresh: impl Fn(Topology) -> F,
    histories: u32,
) -> Result<(), BrokenLaw> {
    histories::check(&fresh, histories)
}

fn play<F: StreamsFixture>(
    name: &'static str,
    law: Law<F>,
    fresh: &dyn Fn(Topology) -> F,
) -> Result<(), BrokenLaw> {
    let journal = Journal::default();
    caught(|| run(law(&Setup::new(fresh, &journal))))
        .map_err(|breach| BrokenLaw::new(name, breach, &journal))
}
