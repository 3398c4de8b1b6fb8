//! Beds: how each backend gets a fresh log, and what a restarted process sees of it.

use std::future::Future;

use silvertine::{engine::log::EventLog, storage::memory::MemoryLog};

/// A backend under test.
pub trait Bed {
    /// Its log.
    type Log: EventLog;
    /// The log as it is now.
    fn log(&self) -> Self::Log;
    /// The same log for another thread with a runtime of its own.
    fn reader(&self) -> Self::Log {
        self.log()
    }
    /// What a restarted process sees.
    fn reopen(&mut self);
}

/// Runs a future to its end on a runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// In memory: a restart is only another handle.
pub struct MemoryBed(MemoryLog);

impl MemoryBed {
    pub fn new() -> Self {
        Self(MemoryLog::new())
    }
}

impl Bed for MemoryBed {
    type Log = MemoryLog;

    fn log(&self) -> MemoryLog {
        self.0.clone()
    }

    fn reopen(&mut self) {}
}

#[cfg(feature = "redb")]
pub use with_redb::RedbBed;

#[cfg(feature = "redb")]
mod with_redb {
    use silvertine::storage::redb::{RedbLog, RedbOptions};
    use tempfile::TempDir;

    use super::Bed;

    /// In a file: a restart closes the store and opens it again.
    pub struct RedbBed {
        folder: TempDir,
        log: Option<RedbLog>,
    }

    impl RedbBed {
        pub fn new() -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let mut bed = Self { folder, log: None };
            bed.reopen();
            bed
        }
    }

    impl Bed for RedbBed {
        type Log = RedbLog;

        fn log(&self) -> RedbLog {
            self.log.clone().expect("open")
        }

        fn reopen(&mut self) {
            self.log = None;
            let path = self.folder.path().join("log.redb");
            self.log = Some(RedbLog::open(&path, &RedbOptions::default()).expect("opens"));
        }
    }
}

#[cfg(feature = "sled")]
pub use with_sled::SledBed;

#[cfg(feature = "sled")]
mod with_sled {
    use silvertine::storage::sled::{SledLog, SledOptions};
    use tempfile::TempDir;

    use super::Bed;

    /// In a folder: a restart closes the store and opens it again.
    pub struct SledBed {
        folder: TempDir,
        log: Option<SledLog>,
    }

    impl SledBed {
        pub fn new() -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let mut bed = Self { folder, log: None };
            bed.reopen();
            bed
        }
    }

    impl Bed for SledBed {
        type Log = SledLog;

        fn log(&self) -> SledLog {
            self.log.clone().expect("open")
        }

        fn reopen(&mut self) {
            self.log = None;
            let path = self.folder.path().join("log");
            self.log = Some(SledLog::open(&path, &SledOptions::default()).expect("opens"));
        }
    }
}

#[cfg(feature = "redis")]
pub use with_redis::{KilledRedisBed, RedisBed};

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

    use super::Bed;
    use crate::redis_server::RedisServer;

    /// On a server that all beds share while any of them is there; each has a partition of its own.
    pub struct RedisBed {
        server: Arc<RedisServer>,
        partition: Name,
        log: RedisLog,
    }

    static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
    static PARTITIONS: AtomicU64 = AtomicU64::new(0);

    impl RedisBed {
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

    impl Bed for RedisBed {
        type Log = RedisLog;

        fn log(&self) -> RedisLog {
            self.log.clone()
        }

        fn reader(&self) -> RedisLog {
            open(&self.server, self.partition)
        }

        fn reopen(&mut self) {
            self.log = open(&self.server, self.partition);
        }
    }

    /// On a server of its own that syncs every write: a restart is one of the server, by `kill -9`.
    pub struct KilledRedisBed {
        server: RedisServer,
        partition: Name,
        log: RedisLog,
    }

    impl KilledRedisBed {
        pub fn new() -> Self {
            let server = RedisServer::start_durable();
            let partition = Name::new("p").expect("a short name");
            let log = open(&server, partition);
            Self { server, partition, log }
        }
    }

    impl Bed for KilledRedisBed {
        type Log = RedisLog;

        fn log(&self) -> RedisLog {
            self.log.clone()
        }

        fn reader(&self) -> RedisLog {
            open(&self.server, self.partition)
        }

        fn reopen(&mut self) {
            self.server.restart();
            self.log = open(&self.server, self.partition);
        }
    }
}
