//! L7 on every store of named streams: one suite, run on each.
//!
//! Each law is one function over any `Streams` with a clock; each store runs all of them under its own
//! name. Random histories are compared with a small model that shares no code with any store.

mod beds;
mod delivery;
mod desk;
#[cfg(all(feature = "redb", feature = "sled"))]
mod files;
mod histories;
mod letters;
mod model;
mod names;
mod ordering;
#[cfg(feature = "redis")]
#[path = "../support/redis_server.rs"]
mod redis_server;
mod settling;
mod trimming;

/// Tests of one module's laws on one kind of bed.
macro_rules! laws {
    ($bed:ident, $module:ident: $($law:ident,)*) => {
        $(#[test]
        fn $law() {
            crate::beds::run(crate::$module::$law::<crate::beds::$bed>());
        })*
    };
}

/// Runs every law on one kind of bed, and so many random histories.
macro_rules! on {
    ($store:ident, $bed:ident $(, histories: $cases:expr)?) => {
        mod $store {
            laws!($bed, delivery:
                l7_a_message_is_delivered_until_it_is_settled,
                l7_what_is_settled_never_comes_again,
                a_call_whose_answer_was_lost_changes_nothing_when_it_is_made_again,
                a_retry_waits_survives_a_restart_and_stands_in_nobodys_way,
                retries_come_in_the_order_in_which_they_are_due,
                what_is_released_is_due_for_anybody_at_once,
                a_member_loses_nothing_while_it_shows_signs_of_life,
                what_a_dead_member_held_goes_to_another,
                work_that_a_member_taken_for_dead_has_done_counts_once,
                after_a_restart_come_own_then_reclaimed_then_due_then_new_ones,
                a_poll_keeps_its_limit_except_for_what_is_its_own,
                tries_on_record_come_back_with_the_message,
                what_a_member_held_when_it_left_is_due_for_others_at_once,
                every_group_gets_every_message,
                the_oldest_message_that_is_not_settled_has_an_age,
                members_are_counted_while_they_live,
                a_group_starts_where_its_topology_says,
            );
            laws!($bed, settling:
                what_a_handler_emits_is_published_in_the_same_step,
                a_step_that_is_refused_leaves_nothing,
                a_message_that_comes_again_is_settled_and_its_outputs_are_dropped,
                of_two_messages_with_one_key_settled_together_one_counts,
                a_place_is_no_key_that_somebody_else_could_have,
                a_key_is_forgotten_when_its_window_is_over,
                so_many_keys_are_remembered_and_the_oldest_go_first,
                without_a_window_no_key_is_remembered,
                a_dead_letter_is_written_in_the_same_step,
            );
            laws!($bed, ordering:
                a_member_that_is_given_nothing_new_shows_a_sign_of_life,
                messages_of_one_key_come_one_after_the_other_over_all_members,
                a_key_stays_taken_while_its_message_waits_for_a_retry_or_changes_hands,
                the_next_of_a_key_comes_up_when_the_one_before_is_dead,
                a_long_queue_behind_one_key_keeps_its_order,
                urgent_lanes_come_first_and_last_when_asked_in_reverse,
                replays_reach_their_own_group_alone,
                replays_keep_the_order_of_their_key,
            );
            laws!($bed, trimming:
                a_stream_whose_messages_are_handled_keeps_exactly_its_maximum,
                a_stream_that_is_trimmed_approximately_does_not_grow_without_end,
                a_full_stream_grows_while_messages_are_not_handled,
                a_full_stream_refuses_until_a_group_has_caught_up,
                a_full_stream_cuts_the_oldest_and_says_how_many,
                old_messages_go_once_they_are_handled,
                the_slowest_group_and_what_is_pending_hold_messages_back,
                a_stream_without_groups_keeps_its_newest,
            );
            laws!($bed, letters:
                dead_letters_are_read_in_pages,
                of_two_people_who_change_a_letter_one_is_told_that_it_was_too_late,
                an_audit_is_published_only_when_something_changed,
                a_letter_is_sent_back_to_its_own_group_once,
                a_letter_that_is_removed_is_gone,
                old_letters_go_when_new_ones_come,
            );
            laws!($bed, names:
                declaring_again_changes_nothing,
                ids_rise_and_reading_pages_through_them,
                a_message_comes_as_it_was_published,
                relaying_again_adds_nothing,
                a_record_is_replaced_only_where_it_is_as_expected,
                names_that_the_topology_does_not_have_are_refused,
                messages_beyond_the_limits_are_refused,
            );

            $(#[test]
            fn random_histories_match_the_model() {
                crate::histories::check::<crate::beds::$bed>($cases, stringify!($store));
            })?
        }
    };
}

on!(memory, MemoryBed, histories: 512);
#[cfg(feature = "redb")]
on!(redb, RedbBed, histories: 32);
#[cfg(feature = "sled")]
on!(sled, SledBed, histories: 32);
// A server tells retries that are due together apart by its own clock, which the model cannot know.
#[cfg(feature = "redis")]
on!(redis, RedisBed, histories: 12);
