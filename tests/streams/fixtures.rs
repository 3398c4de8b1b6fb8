//! How each store gets fresh streams, what a restarted process sees of them, and what time it is there.

use silvertine::{storage::streams::MemoryStreams, streams::Topology};
use silvertine_conformance::streams::StreamsFixture;

/// In memory: a restart is only another handle.
pub struct MemoryFixture(MemoryStreams);

impl MemoryFixture {
    pub fn new(topology: Topology) -> Self {
        Self(MemoryStreams::in_memory(topology))
    }
}

impl StreamsFixture for MemoryFixture {
    type Streams = MemoryStreams;

    fn streams(&self) -> &MemoryStreams {
        &self.0
    }

    fn restart(&mut self) {}
}

/// A store in files: a restart closes it and opens it again.
#[cfg(any(feature = "sled", feature = "redb"))]
macro_rules! on_disk {
    ($fixture:ident, $streams:ty, $options:expr) => {
        /// In files: a restart closes the store and opens it again.
        pub struct $fixture {
            folder: tempfile::TempDir,
            streams: Option<$streams>,
            topology: Topology,
        }

        impl $fixture {
            pub fn new(topology: Topology) -> Self {
                let folder = tempfile::TempDir::new().expect("a temporary folder");
                let mut fixture = Self { folder, streams: None, topology };
                fixture.restart();
                fixture
            }
        }

        impl StreamsFixture for $fixture {
            type Streams = $streams;

            fn streams(&self) -> &$streams {
                self.streams.as_ref().expect("open")
            }

            fn restart(&mut self) {
                self.streams = None;
                let path = self.folder.path().join("streams");
                let opened = <$streams>::open(&path, &$options, self.topology.clone());
                self.streams = Some(opened.expect("opens"));
            }
        }
    };
}

#[cfg(feature = "redb")]
on_disk!(
    RedbFixture,
    silvertine::storage::streams::RedbStreams,
    silvertine::storage::redb::RedbOptions::default()
);
#[cfg(feature = "sled")]
on_disk!(
    SledFixture,
    silvertine::storage::streams::SledStreams,
    silvertine::storage::sled::SledOptions::default().with_cache_bytes(4 << 20)
);

#[cfg(feature = "redis")]
pub use with_redis::RedisFixture;

#[cfg(feature = "redis")]
mod with_redis {
    use silvertine::{engine::time::Nanos, storage::redis::RedisStreams, streams::Topology};
    use silvertine_conformance::streams::StreamsFixture;

    use crate::redis_server::RedisServer;

    /// On a server of its own, which goes by its own clock: a restart is another handle.
    pub struct RedisFixture {
        server: RedisServer,
        streams: RedisStreams,
        topology: Topology,
    }

    impl RedisFixture {
        pub fn new(topology: Topology) -> Self {
            let server = RedisServer::start();
            let streams = RedisStreams::open(&server.url(), topology.clone()).expect("a URL");
            Self { server, streams, topology }
        }
    }

    impl StreamsFixture for RedisFixture {
        type Streams = RedisStreams;
        const LOOKS_AT_EVERY_POLL: bool = false;

        fn streams(&self) -> &RedisStreams {
            &self.streams
        }

        fn restart(&mut self) {
            let opened = RedisStreams::open(&self.server.url(), self.topology.clone());
            self.streams = opened.expect("a URL");
        }

        /// In whole milliseconds, as the server's scripts take it.
        fn own_time(&self) -> Option<Nanos> {
            let answer = self.server.send("TIME");
            let mut numbers = answer.lines().filter_map(|line| line.trim().parse::<u64>().ok());
            let (seconds, micros) =
                numbers.next().zip(numbers.next()).expect("seconds and microseconds");
            Some(Nanos((seconds * 1000 + micros / 1000) * 1_000_000))
        }
    }
}
