//! The laws of a log on every backend: the suite of `silvertine-conformance`, run on each.
//!
//! Each backend runs every law under its own name, and so many random histories.

mod fixtures;

use silvertine_conformance::log_laws;
#[cfg(feature = "redis")]
use silvertine_testkit::redis_server;

mod memory {
    super::log_laws!(crate::fixtures::MemoryFixture::new(), histories: 512);
}

// Opening files and talking to a server takes its time.
#[cfg(feature = "redb")]
mod redb {
    super::log_laws!(crate::fixtures::RedbFixture::new(), histories: 128);
}

#[cfg(feature = "sled")]
mod sled {
    super::log_laws!(crate::fixtures::SledFixture::new(), histories: 128);
}

#[cfg(feature = "redis")]
mod redis {
    super::log_laws!(crate::fixtures::RedisFixture::new(), histories: 128);
}

#[cfg(feature = "redis")]
mod redis_killed {
    super::log_laws!(crate::fixtures::KilledRedisFixture::new(), histories: 16);
}

/// L9: the same history gives the same bytes on every backend.
#[cfg(all(feature = "redb", feature = "sled", feature = "redis"))]
#[test]
fn l9_the_same_history_gives_the_same_bytes_on_every_backend() {
    use fixtures::{MemoryFixture, RedbFixture, RedisFixture, SledFixture};
    use silvertine_conformance::log::fixed_history;
    let memory = fixed_history(MemoryFixture::new());
    assert!(memory.as_ref().is_ok_and(|history| history.entries.len() > 50));
    assert_eq!(memory, fixed_history(RedbFixture::new()));
    assert_eq!(memory, fixed_history(SledFixture::new()));
    assert_eq!(memory, fixed_history(RedisFixture::new()));
}
