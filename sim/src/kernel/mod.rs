//! What both simulators are built from: virtual time, the network between client and server, and how a run is
//! recorded, counted, shrunk and reported.
//!
//! A *plane* is one contract under faults: `log` (one engine, its log and its driver) or `streams` (consumer groups on named
//! streams). A plane brings its operations, its server, its promises and its plans; the rest is here, so that a
//! fault, a way of shrinking or a line of a report exists for both planes once it exists at all:
//!
//! - [`catalogue`]: the list of kinds (faults, states, promises) from which everything else is generated;
//! - [`queue`]: the events to come, in the order of virtual time;
//! - [`network`]: the fate of a request, and what its client learns of it;
//! - [`states`]: how a server behaves for a while; [`wall_clock`]: clocks that differ and jump;
//! - [`trace`]: a hash over all that happened, and the last of it for people;
//! - [`coverage`]: how often each kind was reached, and which never;
//! - [`shrink`]: from a plan that breaks a promise to the smallest that still does;
//! - [`report`]: how a broken promise is shown;
//! - [`spell`]: times as people write them.
//!
//! Faults that the log plane had first and that the worker plane needs as well:
//!
//! | fault | why |
//! |---|---|
//! | `sent_twice` | a proxy or a client library repeats a request: publishing and settling must not count twice |
//! | `stall` | a frozen store carries out late what its clients have given up |
//! | `restart` | every connection breaks at once, and what is in flight is lost or applied |
//! | `failover` | acknowledged publications and settlements are gone |
//! | `clock_jump` | claims, retries and idempotency windows are measured by the store's clock |
//!
//! The other way round nothing is missing: the worker plane's `outage` is the log plane's `disconnect`, and its `skew`
//! (clocks of several members differ) is `clock_jump` where one owner writes at a time. Damaged snapshots and entries stay with the
//! log, for streams have none; dead letters, ordering keys and killing messages stay with workers.

pub mod catalogue;
pub mod coverage;
pub mod network;
pub mod queue;
pub mod report;
pub mod shrink;
pub mod spell;
pub mod states;
pub mod trace;
pub mod wall_clock;
