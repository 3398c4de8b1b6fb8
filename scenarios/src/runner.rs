//! Runs a scenario on any log: wires sources, engine and log together and reports what came of it.

use std::path::{Path, PathBuf};

use silvertine_engine::{
    Counts,
    bus::Figure,
    clock::Clock,
    digest::Digest,
    driver::{Driver, Observer, Outcome, RunError, RunRequest},
    engine::EngineError,
    feed::{Feed, FeedError, IngressFeed, Merge, MergedSource, Polled},
    log::{EventLog, IngressCursor, Lease, OwnerId},
    numbers::Money,
    params::InvalidParams,
    park::{Parked, Release},
    pos::Pos,
    source::{Input, Source, SourceError},
    stop::StopFlag,
    text::Name,
};

use crate::{
    manifest::{Manifest, ManifestError},
    registry::{OpenError, Registry, SourceContext},
    scenario::{Expectations, Scenario, SourceSection},
    sources::SourceSpec,
};

/// What a run needs besides the scenario and the log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Runner {
    /// The kinds of handlers and sources that scenarios may name.
    pub registry: Registry,
    /// Who owns the partition meanwhile: a value that no other owner has.
    pub owner: OwnerId,
    /// What `${data}` in source paths stands for.
    pub data: Option<PathBuf>,
    /// Go on with a log that is not empty.
    pub resume: bool,
    /// The halt that a resumed run may go on behind; see [`RunRequest::past_halt`].
    pub past_halt: Option<Pos>,
    /// What a resumed run releases; see [`RunRequest::releases`].
    pub releases: Vec<Release>,
}

impl Runner {
    /// A runner of scenarios that name kinds of `registry`, on logs that are empty.
    #[must_use]
    pub const fn new(registry: Registry, owner: OwnerId) -> Self {
        Self { registry, owner, data: None, resume: false, past_halt: None, releases: Vec::new() }
    }
}

/// Why a scenario did not run to a good end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The scenario's handlers cannot be built.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A source's parameters make no sense.
    #[error("source {name}: {why}")]
    SourceParams {
        /// Which source.
        name: Name,
        /// What is wrong.
        why: InvalidParams,
    },
    /// The run itself failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The result of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The scenario's name.
    pub scenario: Name,
    /// The root of its randomness.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What the handlers report, in bus order.
    pub figures: Vec<(Name, &'static str, Figure)>,
    /// What is parked at the end, in the order of keys.
    pub parked: Vec<Parked>,
}

impl RunReport {
    /// The sum of an amount over all handlers that report it, or `None` when none does.
    #[must_use]
    pub fn amount(&self, figure: &str) -> Option<Money> {
        amount(&self.figures, figure)
    }

    /// One line for every expectation that is not met.
    #[must_use]
    pub fn unmet(&self, expect: &Expectations) -> Vec<String> {
        let Outcome { counts, digest, .. } = &self.outcome;
        Self::unmet_by(expect, counts, &self.figures, &self.parked, *digest)
    }

    /// One line for every expectation that these results do not meet.
    #[must_use]
    pub fn unmet_by(
        expect: &Expectations,
        counts: &Counts,
        figures: &[(Name, &'static str, Figure)],
        parked: &[Parked],
        digest: Digest,
    ) -> Vec<String> {
        let mut unmet = Vec::new();
        let mut check = |what: &str, expected: Option<String>, actual: String| {
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                unmet.push(format!("{what} is {actual}, expected {expected}"));
            }
        };
        let number = |count: Option<u64>| count.map(|count| count.to_string());
        let money = |amount: Option<Money>| amount.map(|amount| amount.to_string());
        let actual_money =
            |figure| money(amount(figures, figure)).unwrap_or_else(|| "not reported".to_owned());
        check("entries", number(expect.entries), counts.entries.to_string());
        check("orders", number(expect.orders), counts.orders.to_string());
        check("fills", number(expect.fills), counts.fills.to_string());
        check("rejected", number(expect.rejected), counts.rejected.to_string());
        let parked: usize = parked.iter().map(|parked| parked.events).sum();
        check("parked", number(expect.parked), parked.to_string());
        check("realised_pnl", money(expect.realised_pnl), actual_money("realised_pnl"));
        check("equity", money(expect.equity), actual_money("equity"));
        check("digest", expect.digest.clone(), digest.to_string());
        unmet
    }
}

/// The sum of an amount over all handlers that report it.
fn amount(figures: &[(Name, &'static str, Figure)], figure: &str) -> Option<Money> {
    let amounts = figures.iter().filter_map(|(_, name, value)| match value {
        Figure::Amount(amount) if *name == figure => Some(*amount),
        _ => None,
    });
    amounts.fold(None, |sum, amount| match sum {
        None => Some(amount),
        // A sum that overflows is not shown.
        Some(sum) => sum.checked_add(amount).ok(),
    })
}

impl Runner {
    /// Runs a scenario on a log until its inputs end or `stop` is raised.
    ///
    /// # Errors
    /// [`RunnerError`]. What was acknowledged stays in the log.
    pub async fn run<L: EventLog, C: Clock, O: Observer>(
        &self,
        scenario: &Scenario,
        log: L,
        clock: C,
        observer: O,
        stop: &StopFlag,
    ) -> Result<(RunReport, O), RunnerError> {
        let manifest = Manifest::of(scenario);
        let engine = manifest.engine(&self.registry)?;
        let feed = self.feed(scenario, &log)?;
        let config = scenario.run.driver();
        let mut driver = Driver { log, feed, clock, observer, engine, config };
        let mut request = RunRequest::new(self.owner, manifest.to_bytes());
        request.resume = self.resume;
        request.past_halt = self.past_halt;
        request.releases = self.releases.clone();
        let outcome = driver.run(&request, stop).await?;
        let figures = driver.engine.figures();
        let parked = driver.engine.parked();
        let Scenario { name, seed, .. } = *scenario;
        let report = RunReport { scenario: name, seed, outcome, figures, parked };
        Ok((report, driver.observer))
    }

    /// Opens the scenario's sources.
    fn feed<L: EventLog>(&self, scenario: &Scenario, log: &L) -> Result<AnyFeed<L>, RunnerError> {
        let mut lanes = Vec::new();
        for section in &scenario.sources {
            if matches!(section.spec, SourceSpec::Ingress {}) {
                return Ok(AnyFeed::Ingress(IngressFeed::new(log.clone())));
            }
            let (source, label) =
                open_source(section, scenario, &self.registry, self.data.as_deref())?;
            lanes.push(MergedSource::new(source, label, section.on_bad_row));
        }
        Ok(AnyFeed::Merge(Merge::new(lanes)))
    }
}

/// Opens a source of `scenario` and says what messages call it; `data` is what `${data}` in paths stands for.
///
/// # Errors
/// [`RunnerError::SourceParams`] and [`RunnerError::Source`].
pub fn open_source(
    section: &SourceSection,
    scenario: &Scenario,
    registry: &Registry,
    data: Option<&Path>,
) -> Result<(Box<dyn Source>, String), RunnerError> {
    let name = section.name;
    let context = SourceContext::new(name, scenario.seed, &scenario.folder, data);
    section.spec.open(registry, &context).map_err(|why| match why {
        OpenError::Params(why) => RunnerError::SourceParams { name, why },
        OpenError::Source(error) => RunnerError::Source(error),
    })
}

/// The feed of a scenario: its merged sources, or the ingress.
enum AnyFeed<L> {
    Merge(Merge),
    Ingress(IngressFeed<L>),
}

impl<L: EventLog> Feed for AnyFeed<L> {
    async fn poll(&mut self, wait: std::time::Duration) -> Result<Polled, FeedError> {
        match self {
            Self::Merge(merge) => merge.poll(wait).await,
            Self::Ingress(ingress) => ingress.poll(wait).await,
        }
    }

    fn acquired(&mut self, lease: &Lease) {
        match self {
            Self::Merge(merge) => merge.acquired(lease),
            Self::Ingress(ingress) => ingress.acquired(lease),
        }
    }

    fn take(&mut self) -> Input {
        match self {
            Self::Merge(merge) => merge.take(),
            Self::Ingress(ingress) => ingress.take(),
        }
    }

    fn checkpoint(&self) -> Vec<u8> {
        match self {
            Self::Merge(merge) => merge.checkpoint(),
            Self::Ingress(ingress) => ingress.checkpoint(),
        }
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FeedError> {
        match self {
            Self::Merge(merge) => merge.restore(checkpoint),
            Self::Ingress(ingress) => ingress.restore(checkpoint),
        }
    }

    fn ingress_done(&self) -> Option<&IngressCursor> {
        match self {
            Self::Merge(merge) => merge.ingress_done(),
            Self::Ingress(ingress) => ingress.ingress_done(),
        }
    }

    fn progress(&self) -> Option<(u64, u64)> {
        match self {
            Self::Merge(merge) => merge.progress(),
            Self::Ingress(ingress) => ingress.progress(),
        }
    }
}
