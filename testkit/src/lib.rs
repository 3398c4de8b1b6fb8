//! What the tests of several crates share: handlers made of closures, small events, futures that are ready, real servers
//! and a proxy that spoils what goes through it.
//!
//! Not published. What serves users' tests too stands in `silvertine-conformance` and `silvertine-sim`; what one test
//! binary alone needs, beside it.

pub mod events;
pub mod probe;
pub mod proxy;
pub mod ready;
pub mod redis_server;
