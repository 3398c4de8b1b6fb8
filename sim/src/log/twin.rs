//! What a run under faults is compared with: the same inputs through a fresh engine, without driver, log or faults.
//!
//! It depends on the inputs, the handlers and the engine's settings alone, so that any number of schedules of faults
//! over the same inputs can share it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use silvertine_engine::{
    Counts,
    bus::Figure,
    digest::Digest,
    engine::Stepped,
    executor::block_on,
    feed::{Feed, Merge, Polled},
    log::{Batch, Head, IngressMessage, Page},
    text::Name,
};

use crate::log::{
    coverage::Sight,
    oracle::{Promise, Violation, execution::Execution},
    subject::{SetupError, Subject},
};

/// What a log has room for at first: the entries of a drawn plan, and about what one takes.
const ENTRIES: usize = 320;
const ENTRY_BYTES: usize = 160;

/// What all runs over the same inputs share, whatever strikes them.
pub struct Reference {
    /// What producers publish, where inputs are published.
    pub(crate) producers: Vec<Arc<[IngressMessage]>>,
    /// The fault-free run, where inputs are recorded. What is published arrives as it may, so no other run has its log.
    pub(crate) twin: Option<Twin>,
}

impl Reference {
    /// Runs the inputs without faults. Once `stop` is raised it covers only their beginning, and nothing may be compared with it.
    ///
    /// # Errors
    /// The subject cannot be set up.
    pub fn of<S: Subject>(subject: &S, stop: &AtomicBool) -> Result<Self, SetupError> {
        let producers: Vec<_> = subject.producers()?.into_iter().map(Arc::from).collect();
        let twin = if producers.is_empty() { Some(Twin::run(subject, stop)?) } else { None };
        Ok(Self { producers, twin })
    }
}

/// The same inputs without driver, log and faults.
pub(crate) struct Twin {
    pub(crate) log: Arc<Batch>,
    pub(crate) digest: Digest,
    pub(crate) counts: Counts,
    pub(crate) duplicates: u64,
    pub(crate) figures: Vec<(Name, &'static str, Figure)>,
    pub(crate) state: Vec<u8>,
    /// A promise that it broke itself.
    pub(crate) violation: Option<Violation>,
    /// The sights in its log, or the promise that executing it again and auditing it broke. Both hold for any log that is the
    /// same.
    pub(crate) judged: Result<Vec<Sight>, Violation>,
}

impl Twin {
    fn run<S: Subject>(subject: &S, stop: &AtomicBool) -> Result<Self, SetupError> {
        let mut engine = subject.engine(&mut |_, _, handler| handler)?;
        let mut feed = Merge::new(subject.lanes()?);
        let mut log = Batch::with_capacity(ENTRIES, ENTRIES * ENTRY_BYTES);
        let mut duplicates = 0;
        let mut violation = None;
        while let Polled::Ready(recv_time) =
            block_on(feed.poll(Duration::ZERO)).map_err(SetupError::new)?
        {
            let latest = engine.time().max(recv_time);
            engine.advance(recv_time, &mut log);
            while engine.halted().is_some() {
                engine.go_past_halt(engine.time(), &mut log);
                engine.advance(recv_time, &mut log);
            }
            let input = feed.take();
            if engine.step(input, recv_time, &mut log) == Stepped::Duplicate {
                duplicates += 1;
            }
            while engine.halted().is_some() {
                engine.go_past_halt(engine.time(), &mut log);
            }
            if engine.time() > latest && violation.is_none() {
                let what = "engine time runs ahead of the inputs";
                violation = Some(Violation::new(Promise::Time, what, latest, engine.time()));
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let state = engine.save().map_err(SetupError::new)?;
        let (digest, counts, figures) = (engine.digest(), *engine.counts(), engine.figures());
        let head = Head { pos: engine.head(), digest, ..Head::default() };
        let page = Page { entries: log, next: None };
        // Nobody asks what holds of a beginning.
        let judged = match stop.load(Ordering::Relaxed) {
            true => Ok(Vec::new()),
            false => Self::judge(subject, &head, &page, &state, &counts),
        };
        let log = Arc::new(page.entries);
        Ok(Self { log, digest, counts, duplicates, figures, state, violation, judged })
    }

    fn judge<S: Subject>(
        subject: &S,
        head: &Head,
        log: &Page,
        state: &[u8],
        counts: &Counts,
    ) -> Result<Vec<Sight>, Violation> {
        let mut execution = Execution::begin(subject, head, None)?;
        execution.absorb(log)?;
        execution.finish(state)?.judge(counts)
    }
}
