//! L7 on every store of named streams: the suite of `silvertine-conformance`, run on each.
//!
//! Each store runs every law under its own name, and so many random histories. What is true of files alone stands in
//! `files`.

#[cfg(all(feature = "redb", feature = "sled"))]
mod files;
mod fixtures;

use silvertine_conformance::streams_laws;
#[cfg(feature = "redis")]
use silvertine_testkit::redis_server;

mod memory {
    super::streams_laws!(crate::fixtures::MemoryFixture::new, histories: 512);
}

#[cfg(feature = "redb")]
mod redb {
    super::streams_laws!(crate::fixtures::RedbFixture::new, histories: 32);
}

#[cfg(feature = "sled")]
mod sled {
    super::streams_laws!(crate::fixtures::SledFixture::new, histories: 32);
}

#[cfg(feature = "redis")]
mod redis {
    super::streams_laws!(crate::fixtures::RedisFixture::new, histories: 12);
}
