//! What Silvertine simulates: virtual time, markets and venues; and whole runs under faults.
//!
//! Everything runs on one thread, draws from seeds and reads no clock.
//!
//! Two planes are simulated, each with the product's own code and a simulated world around it: [`log`], one engine with
//! its driver and its log, and [`streams`], consumer groups on named streams. Both are built on one [`kernel`].

pub mod kernel;
pub mod log;
pub mod streams;
