//! A scenario under faults: as its file says, or with inputs, settings and faults drawn from a seed.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use silvertine_engine::{
    bus::{Handler, Priority},
    driver::DriverConfig,
    engine::Engine,
    event::{Body, MarketData},
    feed::{MergedSource, OnBadRow},
    log::{EventLog, IngressMessage},
    numbers::Price,
    source::Row,
    text::{Name, Symbol},
};
use silvertine_sim::{
    kernel::shrink::{self, Budget, RUNS_MAX},
    log::{
        oracle::Promise,
        plan::{Plan, Shape},
        report::Report,
        simulate::{Options, simulate_against},
        subject::{SetupError, Subject, Wrap},
        twin::Reference,
    },
};

use crate::{
    manifest::Manifest,
    registry::Registry,
    runner::{RunnerError, open_source},
    scenario::{ClockMode, Scenario, SimSection, SourceSection},
    sources::SourceSpec,
};

/// Rows of each source that are read to learn its instruments.
const ROWS_READ: usize = 500;
/// Rows of a drawn plan.
const EVENTS: (u64, u64) = (200, 206);

/// A scenario that the simulator can start any number of times.
pub struct ScenarioSubject<'a, L> {
    scenario: &'a Scenario,
    registry: &'a Registry,
    data: Option<PathBuf>,
    manifest: Manifest,
    log: PhantomData<fn() -> L>,
}

impl<'a, L> ScenarioSubject<'a, L> {
    /// The scenario with the kinds of handlers that `registry` knows; `data` is what `${data}` in
    /// paths stands for.
    #[must_use]
    pub fn new(scenario: &'a Scenario, registry: &'a Registry, data: Option<PathBuf>) -> Self {
        let manifest = Manifest::of(scenario);
        Self { scenario, registry, data, manifest, log: PhantomData }
    }
}

impl<L> ScenarioSubject<'_, L> {
    /// Reads the first row of every source, so that an unreadable source is reported as such and not as a broken promise.
    ///
    /// # Errors
    /// What a run without faults would end with.
    pub fn check_sources(&self) -> Result<(), RunnerError> {
        for section in &self.scenario.sources {
            if !matches!(section.spec, SourceSpec::Ingress {}) {
                let (mut source, _) =
                    open_source(section, self.scenario, self.registry, self.data.as_deref())?;
                source.next_row()?;
            }
        }
        Ok(())
    }
}

impl<L: EventLog + Default> Subject for ScenarioSubject<'_, L> {
    type Log = L;

    fn engine(&self, wrap: &mut Wrap<'_>) -> Result<Engine, SetupError> {
        self.manifest.watched_engine(self.registry, wrap).map_err(SetupError::new)
    }

    fn lanes(&self) -> Result<Vec<MergedSource>, SetupError> {
        self.scenario.sources.iter().map(|section| self.lane(section)).collect()
    }

    fn producers(&self) -> Result<Vec<Vec<IngressMessage>>, SetupError> {
        let published = |section: &SourceSection| match &section.spec {
            SourceSpec::Workload(workload) if workload.publish => {
                let checked = workload.check().map_err(SetupError::new);
                Some(checked.map(|()| workload.messages(section.name)))
            }
            _ => None,
        };
        self.scenario.sources.iter().filter_map(published).collect()
    }

    fn manifest(&self) -> Vec<u8> {
        self.manifest.to_bytes()
    }

    fn driver(&self) -> DriverConfig {
        self.scenario.run.driver()
    }
}

impl<L> ScenarioSubject<'_, L> {
    fn lane(&self, section: &SourceSection) -> Result<MergedSource, SetupError> {
        let opened = open_source(section, self.scenario, self.registry, self.data.as_deref());
        let (source, label) = opened.map_err(SetupError::new)?;
        Ok(MergedSource::new(source, label, section.on_bad_row))
    }
}

/// Runs plans over a scenario's handlers.
pub struct UnderFaults<L> {
    base: Scenario,
    registry: Registry,
    shape: Shape,
    log: PhantomData<fn() -> L>,
}

impl<L: EventLog + Default> UnderFaults<L> {
    /// Prepares a scenario: keeps its handlers, and reads the first rows of its sources to learn their instruments.
    ///
    /// # Errors
    /// A handler cannot be built, or a source cannot be read.
    pub fn new(
        base: Scenario,
        registry: Registry,
        data: Option<PathBuf>,
    ) -> Result<Self, SetupError> {
        Manifest::of(&base).engine(&registry).map_err(SetupError::new)?;
        let shape = shape_of(&base, &registry, data.as_deref())?;
        Ok(Self { base, registry, shape, log: PhantomData })
    }

    /// The handlers of one kind alone, each built by `build`.
    ///
    /// # Errors
    /// The name is no name, or too long.
    pub fn of_handler<H: Handler + 'static>(
        name: &str,
        priority: Priority,
        build: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let registry = Registry::new().handler(name, priority, move |_: toml::Table| Ok(build()));
        let text = format!(
            "name = \"{name}\"\n[[source]]\nkind = \"workload\"\nname = \"inputs\"\nseed = 0\n\
             events = 1\nsymbols = [\"A\", \"B\"]\n[[handler]]\nkind = \"{name}\"\n"
        );
        let base = Scenario::parse(&text, name, PathBuf::new()).map_err(SetupError::new)?;
        let mut ready = Self::new(base, registry, None)?;
        ready.shape.trades = true;
        ready.shape.bars = true;
        Ok(ready)
    }

    /// The plan that a seed draws.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        Plan::draw(seed, &self.shape)
    }

    /// How plans for this scenario are drawn.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The scenario that a plan makes of the base: what runs, and what a file of it says.
    #[must_use]
    pub fn scenario(&self, plan: &Plan) -> Scenario {
        let mut scenario = self.base.clone();
        let section = |(name, workload): &(Name, _)| SourceSection {
            name: *name,
            on_bad_row: OnBadRow::Skip,
            spec: SourceSpec::Workload(Clone::clone(workload)),
        };
        scenario.sources = plan.workloads.iter().map(section).collect();
        let live = plan.workloads.iter().any(|(_, workload)| workload.publish);
        scenario.clock = if live { ClockMode::Wall } else { ClockMode::Virtual };
        scenario.handlers.retain(|handler| !plan.without_handlers.contains(&label(handler)));
        let knobs = &plan.knobs;
        scenario.run.batch_entries = knobs.batch_entries;
        scenario.run.snapshot_entries = knobs.snapshot_entries;
        scenario.run.retention_entries = knobs.retention_entries;
        scenario.run.give_up_after_s = knobs.give_up_after_s;
        let engine = &knobs.engine;
        scenario.seed = engine.seed;
        scenario.engine.dedup_window_ms = engine.dedup_window_ms;
        scenario.engine.dedup_capacity = engine.dedup_capacity;
        scenario.engine.circuit_failures = engine.circuit_failures;
        scenario.engine.circuit_reset_ms = engine.circuit_reset_ms;
        scenario.engine.park_capacity = engine.park_capacity;
        if let Some(on_failure) = engine.on_failure {
            scenario.on_failure = on_failure;
        }
        scenario.faults.clone_from(&plan.faults);
        scenario.sim = Some(SimSection { seed: plan.seed });
        scenario.expect = Default::default();
        scenario
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn run(&self, plan: &Plan, keep_trace: bool) -> Result<Report, SetupError> {
        self.runner().run(plan, keep_trace)
    }

    /// Runs plan after plan, each as [`run`](Self::run) does.
    #[must_use]
    pub const fn runner(&self) -> PlanRunner<'_, L> {
        PlanRunner { subject: self, latest: None }
    }

    /// Reduces a plan to the least that still breaks the same promise, or to the least that was found by the time that
    /// there is `enough`.
    #[must_use]
    pub fn shrink(&self, plan: &Plan, promise: Promise, enough: &dyn Fn() -> bool) -> Plan {
        let handlers: Vec<String> = self.base.handlers.iter().map(label).collect();
        let mut runner = self.runner();
        let budget = Budget { runs_max: RUNS_MAX, stop: enough };
        shrink::shrink(plan, &handlers, budget, &mut |candidate| {
            let report = runner.run(candidate, false).ok();
            report.and_then(|report| report.violation).is_some_and(|v| v.promise == promise)
        })
    }
}

/// Runs plans one after the other. What neighbours of one family have in common is worked out for the first of them.
pub struct PlanRunner<'a, L> {
    subject: &'a UnderFaults<L>,
    latest: Option<(Plan, Reference)>,
}

impl<'a, L: EventLog + Default> PlanRunner<'a, L> {
    /// Whose plans it runs.
    #[must_use]
    pub const fn subject(&self) -> &'a UnderFaults<L> {
        self.subject
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn run(&mut self, plan: &Plan, keep_trace: bool) -> Result<Report, SetupError> {
        let scenario = self.subject.scenario(plan);
        let subject = ScenarioSubject::<L>::new(&scenario, &self.subject.registry, None);
        let stop = AtomicBool::new(false);
        let of_family = self.latest.take().filter(|(latest, _)| latest.is_of_one_family(plan));
        let latest = match of_family {
            Some(latest) => latest,
            None => (plan.clone(), Reference::of(&subject, &stop)?),
        };
        let (_, reference) = self.latest.insert(latest);
        let options = Options::seeded(plan.seed).keep_trace(keep_trace);
        simulate_against(&subject, reference, &plan.faults, options, &stop)
    }
}

/// A handler's name in a plan: the name it is registered under.
fn label(handler: &crate::scenario::HandlerSection) -> String {
    handler.name.map_or_else(|| handler.kind.clone(), |name| name.to_string())
}

/// The instruments and kinds of events in a scenario's sources.
fn shape_of(
    scenario: &Scenario,
    registry: &Registry,
    data: Option<&Path>,
) -> Result<Shape, SetupError> {
    let mut prices = BTreeMap::<Symbol, Price>::new();
    let (mut trades, mut bars) = (false, false);
    for section in &scenario.sources {
        match &section.spec {
            SourceSpec::Ingress {} => continue,
            // Their parameters list all instruments; the first rows might not.
            SourceSpec::Workload(workload) => {
                prices.extend(workload.symbols.iter().map(|&symbol| (symbol, workload.price)));
            }
            SourceSpec::Generator { symbols, start_price, .. } => {
                prices.extend(symbols.iter().map(|&symbol| (symbol, *start_price)));
            }
            _ => {}
        }
        let opened = open_source(section, scenario, registry, data);
        let (mut source, _) = opened.map_err(SetupError::new)?;
        for _ in 0..ROWS_READ {
            let row = source.next_row().map_err(SetupError::new)?;
            let Some(row) = row else { break };
            let Row::Event(input) = row else { continue };
            let Body::MarketData(data) = input.body else { continue };
            let price = match &data {
                MarketData::Quote(quote) => quote.bid,
                MarketData::Trade(trade) => trade.price,
                MarketData::Bar(bar) => bar.close,
            };
            trades |= matches!(data, MarketData::Trade(_));
            bars |= matches!(data, MarketData::Bar(_));
            prices.entry(data.symbol()).or_insert(price);
        }
    }
    if prices.is_empty() {
        let price = Price::from_units(100_000_000_000);
        prices = symbols_named(scenario).into_iter().map(|symbol| (symbol, price)).collect();
        (trades, bars) = (true, false);
    }
    if prices.is_empty() {
        let why = "the scenario names no instrument to make inputs for";
        return Err(SetupError::new(why));
    }
    let names = scenario.handlers.iter().map(|handler| Name::new(&label(handler)));
    let handlers = names.filter_map(Result::ok).collect();
    Ok(Shape { symbols: prices.into_iter().collect(), trades, bars, handlers, events: EVENTS })
}

/// The instruments that the handlers' parameters name.
fn symbols_named(scenario: &Scenario) -> Vec<Symbol> {
    let params = scenario.handlers.iter().flat_map(|handler| handler.params.iter());
    let named = params.filter(|(key, _)| matches!(key.as_str(), "symbol" | "symbols"));
    let texts = named.flat_map(|(_, value)| match value {
        toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    });
    texts.filter_map(|text| Symbol::new(text).ok()).collect()
}
