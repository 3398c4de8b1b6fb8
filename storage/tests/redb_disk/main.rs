//! What `RedbLog` does on a disk that loses, tears, refuses and damages writes.
//!
//! A fixed history is played on a simulated disk that records every write and every sync. The same history on
//! the log in memory says what must be there after each step. Then the disk is cut off, made to fail, filled
//! up and damaged, and what a reopened log holds is compared with that.

#![cfg(feature = "redb")]

mod contents;
mod cuts;
mod disk;
mod faults;
mod flips;
mod history;
mod xorshift;
