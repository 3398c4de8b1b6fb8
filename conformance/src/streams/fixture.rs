//! [`StreamsFixture`]: what a store's author writes.

use silvertine_engine::time::Nanos;
use silvertine_streams::Streams;

/// One store under test: how to get at it, what a restarted process sees of it, and what time it is there.
///
/// The suite makes a new fixture for every law and for every random history, from the topology that the law needs; a
/// fresh one holds streams that are not declared yet and shares nothing with other fixtures.
pub trait StreamsFixture {
    /// The store.
    type Streams: Streams;

    /// Whether the streams are still there after [`restart`](Self::restart). Where they are not, nothing is restarted.
    const SURVIVES_RESTART: bool = true;

    /// Whether every poll that tends looks for dead members. Some stores look only now and then, as one look serves all
    /// members for a while; the model then allows both.
    const LOOKS_AT_EVERY_POLL: bool = true;

    /// A handle on the streams as they are now.
    fn streams(&self) -> &Self::Streams;

    /// Closes the store and opens it again, as a process does that was killed and started again.
    fn restart(&mut self);

    /// The time by which the store decides, in whole milliseconds, where it has a clock of its own. The suite then
    /// really waits, fractions of a second at a time. A store without one goes by its caller's time, which is the suite's
    /// clock; that one jumps.
    fn own_time(&self) -> Option<Nanos> {
        None
    }
}
