//! A scenario: one TOML file that says which inputs go through which handlers, and which results are expected.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    DedupConfig,
    bus::{FailurePolicy, Priority},
    circuit::CircuitConfig,
    driver::DriverConfig,
    engine::EngineConfig,
    numbers::Money,
    text::{Name, one_line},
};

use silvertine_sim::log::fault::Fault;

use crate::sources::{CustomSource, SourceSpec};

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    Read {
        /// The file as the user named it.
        path: String,
        /// Why.
        why: String,
    },
    /// The file is not a scenario.
    #[error("{path}{at}: {why}", at = .line.map(|line| format!(":{line}")).unwrap_or_default())]
    Invalid {
        /// The file as the user named it.
        path: String,
        /// The line, counted from one, where it is known.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
}

/// A scenario as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name; also the name of the partition unless another one is asked for.
    pub name: Name,
    /// What it shows, for people.
    #[serde(default)]
    pub description: String,
    /// The root of all randomness.
    #[serde(default)]
    pub seed: u64,
    /// Which clock inputs are handled on.
    #[serde(default)]
    pub clock: ClockMode,
    /// The engine's limits.
    #[serde(default)]
    pub engine: EngineSection,
    /// What to do when a handler fails, by the topic of the event.
    #[serde(default)]
    pub on_failure: FailurePolicy,
    /// Batching, snapshots, retention and patience; changes nothing that is computed.
    #[serde(default)]
    pub run: RunSection,
    /// Where inputs come from, in merge order.
    #[serde(rename = "source")]
    pub sources: Vec<SourceSection>,
    /// Who handles them.
    #[serde(rename = "handler", default)]
    pub handlers: Vec<HandlerSection>,
    /// Faults to inject. A scenario with faults runs in the simulator.
    #[serde(rename = "fault", default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// How the simulator is set up; with this section a scenario runs there, also without faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sim: Option<SimSection>,
    /// Expected results.
    #[serde(default)]
    pub expect: Expectations,
    /// The folder of the scenario file, which relative paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Which clock inputs are handled on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockMode {
    /// Time is what the inputs say.
    #[default]
    Virtual,
    /// Time is what the wall clock says when an input is taken, and written into the log.
    Wall,
}

/// The engine's limits: part of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EngineSection {
    /// See [`EngineConfig::cascade_limit`].
    pub cascade_limit: usize,
    /// Failures in a row that open a handler's circuit.
    pub circuit_failures: u32,
    /// Engine time until a handler behind an open circuit is tried again, in milliseconds.
    pub circuit_reset_ms: u64,
    /// Engine time for which a producer's event ids are remembered, in milliseconds.
    pub dedup_window_ms: u64,
    /// The most event ids remembered.
    pub dedup_capacity: usize,
    /// See [`EngineConfig::park_capacity`]. Not written where it is the default, so that older manifests, which lack it, stay equal.
    #[serde(skip_serializing_if = "is_default_park_capacity")]
    pub park_capacity: usize,
}

const DEFAULT_PARK_CAPACITY: usize = 4096;

fn is_default_park_capacity(capacity: &usize) -> bool {
    *capacity == DEFAULT_PARK_CAPACITY
}

impl Default for EngineSection {
    fn default() -> Self {
        Self {
            cascade_limit: 1024,
            circuit_failures: 5,
            circuit_reset_ms: 60_000,
            dedup_window_ms: 300_000,
            dedup_capacity: 100_000,
            park_capacity: DEFAULT_PARK_CAPACITY,
        }
    }
}

impl EngineSection {
    pub(crate) fn config(&self, seed: u64, on_failure: FailurePolicy) -> EngineConfig {
        let circuit_reset = Duration::from_millis(self.circuit_reset_ms);
        let dedup_window = Duration::from_millis(self.dedup_window_ms);
        let mut config = EngineConfig::default();
        config.seed = seed;
        config.cascade_limit = self.cascade_limit;
        config.circuit = CircuitConfig::new(self.circuit_failures, circuit_reset);
        config.on_failure = on_failure;
        config.park_capacity = self.park_capacity;
        config.dedup = DedupConfig::new(dedup_window, self.dedup_capacity);
        config
    }
}

/// Batching, snapshots, retention and patience. Nothing here changes what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RunSection {
    /// Entries after which a batch is committed.
    pub batch_entries: usize,
    /// Entries after which a snapshot is taken.
    pub snapshot_entries: u64,
    /// Engine time after which a snapshot is taken, in seconds; without it only entries count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_interval_s: Option<u64>,
    /// The newest entries kept in the log; without it all are, except in memory, where a million is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_entries: Option<u64>,
    /// How long a log that does not answer is waited for, in seconds.
    pub give_up_after_s: u64,
}

impl Default for RunSection {
    fn default() -> Self {
        let driver = DriverConfig::default();
        Self {
            batch_entries: driver.batch_entries,
            snapshot_entries: driver.snapshot_entries,
            snapshot_interval_s: None,
            retention_entries: None,
            give_up_after_s: driver.retry.give_up_after.as_secs(),
        }
    }
}

impl RunSection {
    /// The driver's configuration.
    #[must_use]
    pub fn driver(&self) -> DriverConfig {
        let mut config = DriverConfig::default();
        config.batch_entries = self.batch_entries;
        config.snapshot_entries = self.snapshot_entries;
        config.snapshot_interval =
            self.snapshot_interval_s.map_or(Duration::MAX, Duration::from_secs);
        config.retention_entries = self.retention_entries;
        config.retry.give_up_after = Duration::from_secs(self.give_up_after_s);
        config
    }
}

/// How the simulator is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SimSection {
    /// Seed of the simulated network's delays and random choices; changes nothing that is computed.
    pub seed: u64,
}

/// Where inputs come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceSection {
    /// The name its events carry.
    pub name: Name,
    /// What to do about a row that makes no sense.
    #[serde(default)]
    pub on_bad_row: silvertine_engine::feed::OnBadRow,
    /// Which kind, and the kind's own parameters.
    #[serde(flatten)]
    pub spec: SourceSpec,
}

/// A handler to register.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HandlerSection {
    /// Which kind; the registry knows them.
    pub kind: String,
    /// The name it is registered under; the kind's when absent.
    #[serde(default)]
    pub name: Option<Name>,
    /// Its priority; the kind's when absent.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// The kind's own parameters.
    #[serde(default)]
    pub params: toml::Table,
}

/// Expected results of a run; each one that is present is checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Expectations {
    /// The digest, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Number of entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Number of orders submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<u64>,
    /// Number of fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fills: Option<u64>,
    /// Number of orders denied or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    /// Number of events that are parked at the end; a run that meets this number ends well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<u64>,
    /// Realised profit and loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realised_pnl: Option<Money>,
    /// Equity at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equity: Option<Money>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError`] with the file and, where it is known, the line.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|why| {
            let why = if path.is_dir() {
                "is a folder; name a scenario file (.toml)".to_owned()
            } else {
                why.to_string()
            };
            ScenarioError::Read { path: shown.clone(), why }
        })?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        Self::parse(&text, &shown, folder)
    }

    /// Parses a scenario; `label` names it in messages, relative paths start from `folder`.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`].
    pub fn parse(text: &str, label: &str, folder: PathBuf) -> Result<Self, ScenarioError> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let why = one_line(error.message());
            ScenarioError::Invalid { path: label.to_owned(), line, why }
        })?;
        scenario.folder = folder;
        match scenario.objection() {
            None => Ok(scenario),
            Some(why) => Err(ScenarioError::Invalid { path: label.to_owned(), line: None, why }),
        }
    }

    /// Whether it runs in the simulator: it has a section `[sim]`, faults, or producers that only the simulator has.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        let publishes = |source: &SourceSection| matches!(&source.spec, SourceSpec::Workload(workload) if workload.publish);
        self.sim.is_some() || !self.faults.is_empty() || self.sources.iter().any(publishes)
    }

    /// The scenario as a file. Relative paths in it still start from [`folder`](Self::folder).
    ///
    /// # Errors
    /// One line: what cannot be written in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Checks that its sections fit together, as reading a file does; for a scenario that was changed afterwards.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`] under the scenario's name.
    pub fn check(&self) -> Result<(), ScenarioError> {
        match self.objection() {
            None => Ok(()),
            Some(why) => {
                Err(ScenarioError::Invalid { path: self.name.to_string(), line: None, why })
            }
        }
    }

    /// Why its sections do not fit together, if they do not.
    fn objection(&self) -> Option<String> {
        if self.sources.is_empty() {
            return Some("no [[source]]: there is nothing to run".to_owned());
        }
        let ingress = |source: &SourceSection| matches!(source.spec, SourceSpec::Ingress {});
        let published = |source: &&SourceSection| matches!(&source.spec, SourceSpec::Workload(workload) if workload.publish);
        let publishers = self.sources.iter().filter(published).count();
        if publishers > 0 && publishers < self.sources.len() {
            return Some(
                "either every source is a workload with publish = true, or none".to_owned(),
            );
        }
        if publishers > 0 && self.clock == ClockMode::Virtual {
            return Some(
                "what is published arrives on the wall clock: clock = \"wall\"".to_owned(),
            );
        }
        if !self.faults.is_empty() && ingress(&self.sources[0]) {
            return Some(
                "[[fault]] runs in the simulator, where nobody publishes; use a source of kind \
                        \"workload\" with publish = true"
                    .to_owned(),
            );
        }
        if self.sources.len() > 1 && self.sources.iter().any(ingress) {
            return Some(
                "a source of kind \"ingress\" stands alone: what arrives live has no time \
                        to merge by"
                    .to_owned(),
            );
        }
        if ingress(&self.sources[0]) && self.clock == ClockMode::Virtual {
            return Some("a source of kind \"ingress\" needs clock = \"wall\"".to_owned());
        }
        let mut names = BTreeMap::new();
        for source in &self.sources {
            if names.insert(source.name, ()).is_some() {
                return Some(format!("two sources are called {}", source.name));
            }
        }
        if let Some(unkept) = self
            .handlers
            .iter()
            .find(|handler| handler.params.values().any(|param| !is_finite(param)))
        {
            let kind = &unkept.kind;
            return Some(format!(
                "handler {kind:?}: params hold nan or inf, which no manifest can keep"
            ));
        }
        let custom = |source: &SourceSection| match &source.spec {
            SourceSpec::Custom(CustomSource { params, .. }) => !params.values().all(is_finite),
            _ => false,
        };
        if let Some(unkept) = self.sources.iter().find(|source| custom(source)) {
            let name = unkept.name;
            return Some(format!("source {name}: holds nan or inf, which no manifest can keep"));
        }
        for (key, zero) in [
            ("run.batch_entries", self.run.batch_entries == 0),
            ("run.snapshot_entries", self.run.snapshot_entries == 0),
            ("engine.cascade_limit", self.engine.cascade_limit == 0),
            ("engine.circuit_failures", self.engine.circuit_failures == 0),
            ("engine.park_capacity", self.engine.park_capacity == 0),
        ] {
            if zero {
                return Some(format!("{key} must be at least 1"));
            }
        }
        None
    }
}

/// Whether every number in this value can be stored in a manifest, which is JSON.
fn is_finite(value: &toml::Value) -> bool {
    match value {
        toml::Value::Float(number) => number.is_finite(),
        toml::Value::Array(values) => values.iter().all(is_finite),
        toml::Value::Table(table) => table.values().all(is_finite),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_that_no_manifest_can_keep_are_refused() {
        let parse = |params: &str| {
            let text = format!(
                "name = 'x'\nclock = 'wall'\nsource = [{{ kind = 'ingress', name = 'in' }}]\n\
                 handler = [{{ kind = 'mine', params = {params} }}]"
            );
            Scenario::parse(&text, "x.toml", PathBuf::new()).map_err(|why| why.to_string())
        };
        assert!(parse("{ x = 0.5 }").is_ok());
        for params in ["{ x = nan }", "{ x = [1.0, inf] }", "{ x = { y = -inf } }"] {
            let said = parse(params).expect_err("must be refused");
            assert!(said.contains("\"mine\"") && said.contains("nan or inf"), "{said}");
        }
    }
}
