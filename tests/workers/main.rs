//! Workers as a user writes them, on every store: retries, dead letters, circuits, draining, routing.
//!
//! Every test ends with the accounting: no message is anywhere but in one of waiting, held, waiting for a
//! retry, blocked, done, dead.

mod dead_letters;
mod failures;
mod fixture;
mod flow;
