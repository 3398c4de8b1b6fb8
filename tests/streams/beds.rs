//! Beds: how each store gets fresh streams, what a restarted process sees of them, and what time it is there.

use std::{future::Future, time::Duration};

use silvertine::{
    engine::{span::Span, time::Nanos},
    storage::streams::MemoryStreams,
    streams::{Streams, Topology},
};

pub const NANOS_PER_MS: u64 = 1_000_000;

/// A store under test, with a clock.
///
/// An embedded store goes by its caller's time, so its clock jumps. One with a clock of its own really waits;
/// the suite asks for fractions of a second.
pub trait Bed: Sized {
    /// Its streams.
    type Streams: Streams;
    /// Whether a poll that tends looks for dead members: always, or now and then, as one look serves all members for a
    /// while.
    const LOOKS: &'static [bool] = &[true];
    /// Fresh streams of this topology, not declared yet.
    fn new(topology: Topology) -> Self;
    /// The streams as they are now.
    fn streams(&self) -> &Self::Streams;
    /// What a restarted process sees.
    fn reopen(&mut self);
    /// The store's time.
    fn now(&self) -> Nanos;
    /// The time by which the store decides.
    fn clock(&self) -> Nanos {
        self.now()
    }
    /// Lets at least this much time pass.
    fn pass(&mut self, span: Span) -> impl Future<Output = ()>;
}

/// Runs a law to its end, on a runtime for those stores that need one.
pub fn run<T>(law: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let in_time = async { tokio::time::timeout(Duration::from_secs(120), law).await };
    runtime.expect("a runtime").block_on(in_time).expect("a law comes to its end")
}

/// A clock that jumps.
struct Clock(Nanos);

impl Clock {
    const fn new() -> Self {
        Self(Nanos(1_700_000_000_000_000_000))
    }

    fn pass(&mut self, span: Span) {
        self.0 = self.0.saturating_add(span.duration());
    }
}

/// In memory: a restart is only another handle.
pub struct MemoryBed {
    streams: MemoryStreams,
    clock: Clock,
}

impl Bed for MemoryBed {
    type Streams = MemoryStreams;

    fn new(topology: Topology) -> Self {
        Self { streams: MemoryStreams::in_memory(topology), clock: Clock::new() }
    }

    fn streams(&self) -> &MemoryStreams {
        &self.streams
    }

    fn reopen(&mut self) {}

    fn now(&self) -> Nanos {
        self.clock.0
    }

    async fn pass(&mut self, span: Span) {
        self.clock.pass(span);
    }
}

/// A store in files: a restart closes it and opens it again.
#[cfg(any(feature = "sled", feature = "redb"))]
macro_rules! on_disk {
    ($bed:ident, $streams:ty, $options:expr) => {
        /// In files: a restart closes the store and opens it again.
        pub struct $bed {
            folder: tempfile::TempDir,
            streams: Option<$streams>,
            topology: Topology,
            clock: Clock,
        }

        impl Bed for $bed {
            type Streams = $streams;

            fn new(topology: Topology) -> Self {
                let folder = tempfile::TempDir::new().expect("a temporary folder");
                let mut bed = Self { folder, streams: None, topology, clock: Clock::new() };
                bed.reopen();
                bed
            }

            fn streams(&self) -> &$streams {
                self.streams.as_ref().expect("open")
            }

            fn reopen(&mut self) {
                self.streams = None;
                let path = self.folder.path().join("streams");
                let opened = <$streams>::open(&path, &$options, self.topology.clone());
                self.streams = Some(opened.expect("opens"));
            }

            fn now(&self) -> Nanos {
                self.clock.0
            }

            async fn pass(&mut self, span: Span) {
                self.clock.pass(span);
            }
        }
    };
}

#[cfg(feature = "redb")]
on_disk!(
    RedbBed,
    silvertine::storage::streams::RedbStreams,
    silvertine::storage::redb::RedbOptions::default()
);
#[cfg(feature = "sled")]
on_disk!(
    SledBed,
    silvertine::storage::streams::SledStreams,
    silvertine::storage::sled::SledOptions::default().with_cache_bytes(4 << 20)
);

/// On a server of its own, which goes by its own clock: a restart is another handle.
#[cfg(feature = "redis")]
pub struct RedisBed {
    server: crate::redis_server::RedisServer,
    streams: silvertine::storage::redis::RedisStreams,
    topology: Topology,
}

#[cfg(feature = "redis")]
impl Bed for RedisBed {
    type Streams = silvertine::storage::redis::RedisStreams;
    const LOOKS: &'static [bool] = &[true, false];

    fn new(topology: Topology) -> Self {
        let server = crate::redis_server::RedisServer::start();
        let streams = Self::Streams::open(&server.url(), topology.clone()).expect("a URL");
        Self { server, streams, topology }
    }

    fn streams(&self) -> &Self::Streams {
        &self.streams
    }

    fn reopen(&mut self) {
        let opened = Self::Streams::open(&self.server.url(), self.topology.clone());
        self.streams = opened.expect("a URL");
    }

    fn now(&self) -> Nanos {
        silvertine::worker::now()
    }

    /// The server's, in whole milliseconds as its scripts take it.
    fn clock(&self) -> Nanos {
        let answer = self.server.send("TIME");
        let mut numbers = answer.lines().filter_map(|line| line.trim().parse::<u64>().ok());
        let (seconds, micros) =
            numbers.next().zip(numbers.next()).expect("seconds and microseconds");
        Nanos((seconds * 1000 + micros / 1000) * NANOS_PER_MS)
    }

    async fn pass(&mut self, span: Span) {
        // The server counts whole milliseconds.
        tokio::time::sleep(span.duration() + Duration::from_millis(3)).await;
    }
}
