//! What both simulators are built from: virtual time, the network between client and server, and how a run is
//! recorded, counted, shrunk and reported.
//!
//! A *plane* is one contract under faults: `log` (one engine, its log and its driver) or `workers` (consumer groups on named
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
//! Faults that one plane invented and both need:
//!
//! | fault | from | why the other plane needs it |
//! |---|---|---|
//! | `skew` | workers | two owners with different clocks: a successor must not go back in time behind its predecessor |
//! | `sent_twice` | log | a proxy or a client library repeats a request: settling and publishing must not count twice |
//! | `stall` | log | a frozen store carries out late what its client has given up |
//! | `restart` | log | every connection breaks at once, and what is in flight is lost or applied |
//! | `failover` | log | acknowledged publications and settlements are gone; members must notice |
//! | `clock_jump` | log | leases, retries and idempotency windows are measured by clocks |
//!
//! What stays with one plane: damaged snapshots and entries (streams have none), and dead letters, ordering
//! keys and circuits of members (the log has none).

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
