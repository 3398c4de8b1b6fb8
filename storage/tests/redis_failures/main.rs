//! The Redis log against real servers that fail: what is refused, what is recognised, what comes back.
//!
//! What every log has to keep is tested by the conformance suite; here is what only Redis can do. The tests
//! need `redis-server` and fail with clear words where it is absent.

#![cfg(feature = "redis")]

mod ingress;
mod outages;
mod refusals;
mod scripts;

use std::{future::Future, time::Duration};

use silvertine_engine::{
    digest::Digest,
    event::Topic,
    log::{Batch, EventLog, Lease, LogError, LogErrorKind, RangeQuery},
    pos::Pos,
};
use silvertine_storage::redis::{RedisConfig, RedisLog};

use silvertine_conformance::log::draft::{ALICE, Draft, name};
use silvertine_testkit::redis_server::RedisServer;

/// Far longer than any test takes on the slowest machine: what hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(300);
/// A wait that no test sits out.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// Runs a future to its end on a runtime of its own.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let patient = async { tokio::time::timeout(PATIENCE, future).await.expect("hangs") };
    runtime.expect("a runtime").block_on(patient)
}

/// Returns when so many readers wait on the server.
async fn until_waiting(server: &RedisServer, readers: usize) {
    let wanted = format!("blocked_clients:{readers}\r\n");
    while !server.send("INFO clients").contains(&wanted) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn config(url: String) -> RedisConfig {
    RedisConfig::new(url, name("p"))
}

fn log_at(url: String) -> RedisLog {
    RedisLog::open(config(url)).expect("a good URL")
}

fn log_on(server: &RedisServer) -> RedisLog {
    log_at(server.url())
}

async fn acquire(log: &RedisLog) -> Lease {
    log.acquire(ALICE, b"manifest").await.expect("acquires").lease
}

/// One entry of every topic on top of nothing.
fn first_draft() -> Draft {
    Draft::on(Pos::ZERO, Digest::EMPTY, &Topic::ALL)
}

/// One entry of every topic on top of a draft.
fn draft_after(earlier: &Draft) -> Draft {
    Draft::on(earlier.head(), earlier.digest, &Topic::ALL)
}

async fn everything(log: &RedisLog) -> Batch {
    log.range(RangeQuery::all_after(Pos::ZERO)).await.expect("reads").entries
}

fn failure<T: std::fmt::Debug>(result: Result<T, LogError>) -> LogError {
    result.expect_err("must be refused")
}

fn kind<T: std::fmt::Debug>(result: Result<T, LogError>) -> LogErrorKind {
    failure(result).kind
}
