//! The manifest: what a log was created with, so that it can be re-executed without the scenario file
//! and is never continued with other handlers, parameters or seed.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::FailurePolicy,
    engine::{Engine, EngineError},
    params::InvalidParams,
    text::{Name, one_line},
};
use silvertine_sim::log::subject::Wrap;

use crate::{
    registry::Registry,
    scenario::{ClockMode, EngineSection, HandlerSection, Scenario, SourceSection},
};

/// Version of the manifest's own format.
const MANIFEST_VERSION: u32 = 1;

/// Everything that decides what a run computes. It leaves out what does not: batch size, retention, the folder of the
/// data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// The scenario's name.
    pub scenario: Name,
    /// The root of all randomness.
    pub seed: u64,
    clock: ClockMode,
    engine: EngineSection,
    /// Absent where no failure halts: logs written before this choice existed have no such key.
    #[serde(default = "no_halts", skip_serializing_if = "never_halts")]
    on_failure: FailurePolicy,
    sources: Vec<SourceSection>,
    handlers: Vec<HandlerSection>,
}

const fn no_halts() -> FailurePolicy {
    FailurePolicy::DEAD_LETTER
}

fn never_halts(policy: &FailurePolicy) -> bool {
    *policy == FailurePolicy::DEAD_LETTER
}

/// Why no engine can be built from a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes are not a manifest.
    #[error("the log's manifest does not decode: {0}")]
    Malformed(String),
    /// Written by a newer version.
    #[error("the log's manifest has version {0}, newer than {MANIFEST_VERSION}")]
    TooNew(u32),
    /// A handler cannot be built.
    #[error("{0}")]
    Handler(InvalidParams),
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Manifest {
    /// The manifest of a scenario.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        Self {
            version: MANIFEST_VERSION,
            scenario: scenario.name,
            seed: scenario.seed,
            clock: scenario.clock,
            engine: scenario.engine,
            on_failure: scenario.on_failure,
            sources: scenario.sources.clone(),
            handlers: scenario.handlers.clone(),
        }
    }

    /// Encodes it as a log stores it: as JSON, which people and other languages can read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data with text keys")
    }

    /// Reads a stored manifest.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`] or [`ManifestError::TooNew`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let malformed =
            |why: serde_json::Error| ManifestError::Malformed(one_line(&why.to_string()));
        let Version { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version > MANIFEST_VERSION {
            return Err(ManifestError::TooNew(version));
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// Builds an engine with the manifest's handlers.
    ///
    /// # Errors
    /// [`ManifestError`] names the handler and what is wrong with it.
    pub fn engine(&self, registry: &Registry) -> Result<Engine, ManifestError> {
        self.watched_engine(registry, &mut |_, _, handler| handler)
    }

    /// Builds an engine with every handler wrapped by `wrap`.
    ///
    /// # Errors
    /// As [`engine`](Self::engine).
    pub fn watched_engine(
        &self,
        registry: &Registry,
        wrap: &mut Wrap<'_>,
    ) -> Result<Engine, ManifestError> {
        let mut builder = Engine::builder(self.engine.config(self.seed, self.on_failure));
        for section in &self.handlers {
            let (handler, default_priority) = registry
                .build_handler(&section.kind, section.params.clone())
                .map_err(ManifestError::Handler)?;
            let name = match section.name {
                Some(name) => name,
                None => Name::new(&section.kind).map_err(|why| {
                    ManifestError::Handler(format!("kind {:?}: {why}", section.kind).into())
                })?,
            };
            let priority = section.priority.unwrap_or(default_priority);
            builder = builder.boxed_handler(name, priority, wrap(name, priority, handler));
        }
        Ok(builder.build()?)
    }
}
