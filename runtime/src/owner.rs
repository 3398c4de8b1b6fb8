//! Ids of owners: a second owner must never be taken for the first, or neither would be fenced.

use std::{
    hash::{BuildHasher, RandomState},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use silvertine_engine::log::OwnerId;

/// Ids made by this process so far.
static MADE: AtomicU64 = AtomicU64::new(0);

/// An id that no other owner has, in this process or any other.
///
/// The high half is the time in nanoseconds; the low half hashes process, place in the sequence of this process's ids
/// and time under keys that the operating system draws, so that machines whose clocks and process numbers agree still
/// differ.
#[must_use]
pub fn unique_owner() -> OwnerId {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = since_epoch.as_nanos() as u64;
    let nth = MADE.fetch_add(1, Ordering::Relaxed);
    let low = RandomState::new().hash_one((process::id(), nth, nanos));
    OwnerId(u128::from(nanos) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_owners_of_a_process_share_an_id() {
        let made: BTreeSet<u128> = (0..10_000).map(|_| unique_owner().0).collect();
        assert_eq!(made.len(), 10_000);
    }

    #[test]
    fn owners_of_one_instant_differ_in_their_low_halves() {
        let low = |owner: OwnerId| owner.0 as u64;
        assert_ne!(low(unique_owner()), low(unique_owner()));
    }
}
