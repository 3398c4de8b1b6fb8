//! The laws of a log, checked alike on every backend.
//!
//! Each law is one function over any `EventLog`; each backend runs all of them under its own name. Random
//! histories are compared step by step with a small model that shares no code with any backend.

#[path = "../support/redis_server.rs"]
mod redis_server;

mod beds;
mod concurrent;
mod fixtures;
mod histories;
mod laws;
mod model;

/// Runs every law on one kind of bed, and so many random histories.
macro_rules! on {
    ($backend:ident, $bed:expr, histories: $cases:expr) => {
        mod $backend {
            use crate::{beds::*, concurrent, histories, laws};

            macro_rules! law {
                ($law:ident) => {
                    law!(laws::$law);
                };
                ($module:ident::$law:ident) => {
                    #[test]
                    fn $law() {
                        let mut bed = $bed;
                        run($module::$law(&mut bed));
                    }
                };
            }

            law!(l1_positions_strictly_increase_and_lower_ones_are_refused);
            law!(l2_range_equals_commit_order_for_any_topics_and_page_size);
            law!(l2_range_never_goes_past_the_committed_head);
            law!(concurrent::l2_readers_beside_a_writer_see_no_hole_and_no_uncommitted_entry);
            law!(l3_a_refused_commit_leaves_nothing);
            law!(l4_the_same_commit_again_is_a_duplicate_and_changes_nothing);
            law!(l4_a_duplicate_is_recognised_after_a_restart);
            law!(l5_every_earlier_owner_is_fenced);
            law!(l5_a_former_owner_does_not_read_the_ingress_as_the_owner);
            law!(l5_the_same_owner_acquires_again_without_fencing_itself);
            law!(l6_a_restart_between_any_two_operations_loses_nothing);
            law!(l8_trimming_stops_at_the_floor_and_readers_below_are_told);
            law!(l8_trimming_changes_neither_positions_nor_digest);
            law!(concurrent::l8_a_reader_beside_a_trimmer_reads_all_that_is_kept_or_is_told);
            law!(ingress_is_idempotent_by_producer_and_number);
            law!(consumed_ingress_stays_refused_after_it_is_discarded);
            law!(ingress_is_in_order_for_each_producer_and_limited);
            law!(a_snapshot_comes_back_byte_for_byte_and_old_ones_go);
            law!(manifest_and_checkpoint_come_back);
            law!(stats_count_what_is_kept);
            law!(a_log_that_nobody_acquired_does_not_exist);

            #[test]
            fn random_histories_match_the_model() {
                histories::check(|| $bed, $cases, stringify!($backend));
            }
        }
    };
}

on!(memory, MemoryBed::new(), histories: 512);
// Opening files and talking to a server takes its time.
#[cfg(feature = "redb")]
on!(redb, RedbBed::new(), histories: 128);
#[cfg(feature = "sled")]
on!(sled, SledBed::new(), histories: 128);
#[cfg(feature = "redis")]
on!(redis, RedisBed::new(), histories: 128);
#[cfg(feature = "redis")]
on!(redis_killed, KilledRedisBed::new(), histories: 16);

/// L9: the same history gives the same bytes on every backend.
#[cfg(all(feature = "redb", feature = "sled", feature = "redis"))]
#[test]
fn l9_the_same_history_gives_the_same_bytes_on_every_backend() {
    use beds::{MemoryBed, RedbBed, RedisBed, SledBed, run};
    let memory = run(laws::written_by_a_fixed_history(&mut MemoryBed::new()));
    let redb = run(laws::written_by_a_fixed_history(&mut RedbBed::new()));
    let sled = run(laws::written_by_a_fixed_history(&mut SledBed::new()));
    let redis = run(laws::written_by_a_fixed_history(&mut RedisBed::new()));
    assert!(memory.0.len() > 50);
    assert_eq!(memory, redb);
    assert_eq!(memory, sled);
    assert_eq!(memory, redis);
}
