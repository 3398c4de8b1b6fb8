//! Named streams on real Redis servers: what every store has to keep, and what only Redis can do to it.
//!
//! The tests need `redis-server` and fail with clear words where it is absent.

#![cfg(feature = "redis")]

mod dead;
mod failures;
mod fixture;
mod limits;
mod order;
mod regroup;
mod semantics;
mod size;

use silvertine_testkit::redis_server;
