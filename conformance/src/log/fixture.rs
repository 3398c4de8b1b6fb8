//! [`LogFixture`]: what a log's author writes.

use silvertine_engine::log::EventLog;

/// One log under test: how to get at it, and what a restarted process sees of it.
///
/// The suite makes a new fixture for every law and for every random history, so a fresh one holds an empty log that
/// shares nothing with those of other fixtures.
pub trait LogFixture {
    /// The log.
    type Log: EventLog;

    /// Whether the log is still there after [`restart`](Self::restart). Where it is not, nothing is restarted, and the
    /// laws about restarts are [skipped](crate::Checked::skipped).
    const SURVIVES_RESTART: bool = true;

    /// A handle on the log as it is now.
    fn log(&self) -> Self::Log;

    /// A handle for another thread with a runtime of its own. Only a log whose handles belong to a runtime, such as
    /// that of a connection, makes a new one here.
    fn reader(&self) -> Self::Log {
        self.log()
    }

    /// Closes the log and opens it again, as a process does that was killed and started again. The suite has dropped
    /// all handles before.
    fn restart(&mut self);
}
