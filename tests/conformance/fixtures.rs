//! How each backend gets a fresh log, and what a restarted process sees of it.

use silvertine::storage::memory::MemoryLog;
use silvertine_conformance::log::LogFixture;

/// In memory: a restart is only another handle.
pub struct MemoryFixture(MemoryLog);

impl MemoryFixture {
    pub fn new() -> Self {
        Self(MemoryLog::new())
    }
}

impl LogFixture for MemoryFixture {
    type Log = MemoryLog;

    fn log(&self) -> MemoryLog {
        self.0.clone()
    }

    fn restart(&mut self) {}
}

#[cfg(feature = "redb")]
pub use with_redb::RedbFixture;

#[cfg(feature = "redb")]
mod with_redb {
    use silvertine::storage::redb::{RedbLog, RedbOptions};
    use tempfile::TempDir;

    use silvertine_conformance::log::LogFixture;

    /// In a file: a restart closes the store and opens it again.
    pub struct RedbFixture {
        folder: TempDir,
        log: Option<RedbLog>,
    }

    impl RedbFixture {
        pub fn new() -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let mut fixture = Self { folder, log: None };
            fixture.restart();
            fixture
        }
    }

    impl LogFixture for RedbFixture {
        type Log = RedbLog;

        fn log(&self) -> RedbLog {
            self.log.clone().expect("open")
        }

        fn restart(&mut self) {
            self.log = None;
            let path = self.folder.path().join("log.redb");
            self.log = Some(RedbLog::open(&path, &RedbOptions::default()).expect("opens"));
        }
    }
}

#[cfg(feature = "sled")]
pub use with_sled::SledFixture;

#[cfg(feature = "sled")]
mod with_sled {
    use silvertine::storage::sled::{SledLog, SledOptions};
    use tempfile::TempDir;

    use silvertine_conformance::log::LogFixture;

    /// In a folder: a restart closes the store and opens it again.
    pub struct SledFixture {
        folder: TempDir,
        log: Option<SledLog>,
    }

    impl SledFixture {
        pub fn new() -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let mut fixture = Self { folder, log: None };
            fixture.restart();
            fixture
        }
    }

    impl LogFixture for SledFixture {
        type Log = SledLog;

        fn log(&self) -> SledLog {
            self.log.clone().expect("open")
        }

        fn restart(&mut self) {
            self.log = None;
            let path = self.folder.path().join("log");
            self.log = Some(SledLog::open(&path, &SledOptions::default()).expect("opens"));
        }
    }
}

#[cfg(feature = "redis")]
pub use with_redis::{KilledRedisFixture, RedisFixture};

#[cfg(feature = "redis")]
mod with_redis {
    use std::sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    };

    use silvertine::{
        engine::text::Name,
        storage::redis::{RedisConfig, RedisLog},
    };

    use crate::redis_server::RedisServer;
    use silvertine_conformance::log::LogFixture;

    /// On a server that all fixtures share while any of them is there; each has a partition of its own.
    pub struct RedisFixture {
        server: Arc<RedisServer>,
        partition: Name,
        log: RedisLog,
    }

    static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
    static PARTITIONS: AtomicU64 = AtomicU64::new(0);

    impl RedisFixture {
        pub fn new() -> Self {
            let server = {
                let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
                shared.upgrade().unwrap_or_else(|| {
                    let server = Arc::new(RedisServer::start());
                    *shared = Arc::downgrade(&server);
                    server
                })
            };
            let number = PARTITIONS.fetch_add(1, Ordering::Relaxed);
            let partition = Name::new(&format!("p{number}")).expect("a short name");
            let log = open(&server, partition);
            Self { server, partition, log }
        }
    }

    fn open(server: &RedisServer, partition: Name) -> RedisLog {
        RedisLog::open(RedisConfig::new(server.url(), partition)).expect("a good URL")
    }

    impl LogFixture for RedisFixture {
        type Log = RedisLog;

        fn log(&self) -> RedisLog {
            self.log.clone()
        }

        fn reader(&self) -> RedisLog {
            open(&self.server, self.partition)
        }

        fn restart(&mut self) {
            self.log = open(&self.server, self.partition);
        }
    }

    /// On a server of its own that syncs every write: a restart is one of the server, by `kill -9`.
    pub struct KilledRedisFixture {
        server: RedisServer,
        partition: Name,
        log: RedisLog,
    }

    impl KilledRedisFixture {
        pub fn new() -> Self {
            let server = RedisServer::start_durable();
            let partition = Name::new("p").expect("a short name");
            let log = open(&server, partition);
            Self { server, partition, log }
        }
    }

    impl LogFixture for KilledRedisFixture {
        type Log = RedisLog;

        fn log(&self) -> RedisLog {
            self.log.clone()
        }

        fn reader(&self) -> RedisLog {
            open(&self.server, self.partition)
        }

        fn restart(&mut self) {
            self.server.restart();
            self.log = open(&self.server, self.partition);
        }
    }
}
