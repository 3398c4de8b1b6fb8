//! L7 on every store of named streams: one suite, run on each.

mod smoke;
