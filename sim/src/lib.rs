//! What Silvertine simulates: virtual time, markets and venues. The fault simulator will live here too.
//!
//! Everything runs on one thread, draws from seeds and reads no clock.

pub mod by_symbol;
pub mod clock;
pub mod executor;
pub mod generator;
pub mod rng;
pub mod venue;
