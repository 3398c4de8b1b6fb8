//! A scenario, a log, a clock: everything a run needs, in a few lines.

use std::{io, path::PathBuf};

use silvertine_engine::{
    driver::Observer,
    log::{EventLog, LogError},
    park::{ParkedKey, Release},
    pos::Pos,
    stop::StopFlag,
    text::Name,
};
use silvertine_scenarios::{
    registry::Registry,
    runner::{RunReport, Runner, RunnerError},
    scenario::{ClockMode, Scenario, ScenarioError},
};
use silvertine_storage::{AnyLog, LogAddress, LogAddressError};
use tokio::runtime::{Builder, Handle};

use crate::{
    clock::{LiveClock, Speed},
    owner::unique_owner,
};

/// Entries kept of a run in memory whose scenario does not say.
const MEMORY_RETENTION: u64 = 1_000_000;

/// A scenario on its way to a log: where it runs, with which kinds of handlers, on which clock.
///
/// Nothing happens before [`backtest`](Self::backtest), [`live`](Self::live) or [`start`](Self::start).
///
/// ```
/// use silvertine_runtime::Run;
/// use silvertine_scenarios::scenario::Scenario;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
/// let scenario = Scenario::read(format!("{folder}/ema-cross.toml").as_ref())?;
/// let report = Run::of(scenario).on("memory").backtest()?;
/// assert_eq!(report.outcome.counts.fills, 48);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `backtest`, `live` or `start`"]
pub struct Run {
    scenario: Scenario,
    registry: Registry,
    log: Result<LogAddress, LogAddressError>,
    partition: Option<Name>,
    speed: Speed,
    data: Option<PathBuf>,
    resume: bool,
    past_halt: Option<Pos>,
    releases: Vec<Release>,
    stop: StopFlag,
}

/// Why a run did not come to a good end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The address names no log.
    #[error(transparent)]
    Address(#[from] LogAddressError),
    /// The scenario does not fit this clock.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] LogError),
    /// The run itself failed.
    #[error(transparent)]
    Run(#[from] RunnerError),
    /// The scenario has faults, so it runs in the simulator, on a simulated log.
    #[error("scenario {0} runs in the simulator: it has faults or a section [sim]")]
    Simulated(Name),
    /// The call waits for the run, and stands inside a tokio runtime, which must not be kept waiting.
    #[error(
        "inside a tokio runtime: await Run::start instead, which takes the clock of the scenario"
    )]
    InsideRuntime,
    /// No tokio runtime can be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
}

impl Run {
    /// A run of this scenario in memory, with the kinds that ship.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            registry: Registry::standard(),
            log: Ok(LogAddress::Memory),
            partition: None,
            speed: Speed::Max,
            data: None,
            resume: false,
            past_halt: None,
            releases: Vec::new(),
            stop: StopFlag::default(),
        }
    }

    /// The kinds of handlers and sources that the scenario may name.
    pub fn with(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The log, by its address: `memory`, `redb:PATH`, `sled:PATH`, `redis://[USER:PASSWORD@]HOST:PORT[/DB][#PARTITION]`
    /// or `rediss://…`.
    pub fn on(mut self, log: &str) -> Self {
        self.log = log.parse();
        self
    }

    /// The log, by an address that has been parsed.
    pub fn at(mut self, log: LogAddress) -> Self {
        self.log = Ok(log);
        self
    }

    /// The partition's name on a server, where the address names none; the scenario's name without it.
    pub fn partition(mut self, name: Name) -> Self {
        self.partition = Some(name);
        self
    }

    /// The pace of a virtual clock; as fast as it goes without it. A wall clock needs none.
    pub fn speed(mut self, speed: Speed) -> Self {
        self.speed = speed;
        self
    }

    /// The folder of recorded data, which `${data}` in source paths stands for.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Goes on where an earlier run stopped or crashed; without it the log must be empty.
    pub fn resume(mut self) -> Self {
        self.resume = true;
        self
    }

    /// Goes on behind the halt that is recorded at `pos`, and at no other.
    pub fn past_halt(mut self, pos: Pos) -> Self {
        self.past_halt = Some(pos);
        self
    }

    /// Hands the events that are parked under `key` to their handler again, in order.
    pub fn release(mut self, key: ParkedKey) -> Self {
        self.releases.push(Release { key, past: false });
        self
    }

    /// The same, but gives up the event that the handler failed on and begins with the next.
    pub fn release_past(mut self, key: ParkedKey) -> Self {
        self.releases.push(Release { key, past: true });
        self
    }

    /// Ends the run when `stop` is requested: it finishes the step, commits and takes a snapshot.
    pub fn until(mut self, stop: StopFlag) -> Self {
        self.stop = stop;
        self
    }

    /// Runs on a virtual clock to the end of the inputs, whatever clock the scenario names, and waits for it.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub fn backtest(mut self) -> Result<RunReport, LaunchError> {
        self.scenario.clock = ClockMode::Virtual;
        self.wait()
    }

    /// Runs on the wall clock, whatever clock the scenario names, and waits for the end.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub fn live(mut self) -> Result<RunReport, LaunchError> {
        self.scenario.clock = ClockMode::Wall;
        self.wait()
    }

    /// Runs on the scenario's clock and waits for the end, on a runtime of its own.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub fn wait(self) -> Result<RunReport, LaunchError> {
        if Handle::try_current().is_ok() {
            return Err(LaunchError::InsideRuntime);
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(LaunchError::Runtime)?.block_on(self.start())
    }

    /// Runs on the scenario's clock, on the runtime that awaits it.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub async fn start(self) -> Result<RunReport, LaunchError> {
        self.observed(()).await.map(|(report, ())| report)
    }

    /// The same, watched by `observer`.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub async fn observed<O: Observer>(self, observer: O) -> Result<(RunReport, O), LaunchError> {
        let address = self.log.clone()?;
        let partition = self.partition.unwrap_or(self.scenario.name);
        let log = AnyLog::open(&address, partition, false)?;
        self.observed_on(log, observer).await
    }

    /// The same on a log of one's own.
    ///
    /// # Errors
    /// [`LaunchError`]. Whatever was acknowledged stays in the log.
    pub async fn observed_on<L: EventLog, O: Observer>(
        self,
        log: L,
        observer: O,
    ) -> Result<(RunReport, O), LaunchError> {
        let Self { mut scenario, registry, .. } = self;
        scenario.check()?;
        if scenario.is_simulated() {
            return Err(LaunchError::Simulated(scenario.name));
        }
        if self.log == Ok(LogAddress::Memory) {
            scenario.run.retention_entries.get_or_insert(MEMORY_RETENTION);
        }
        let clock = match scenario.clock {
            ClockMode::Virtual => LiveClock::paced(self.speed),
            ClockMode::Wall => LiveClock::wall(),
        };
        let mut runner = Runner::new(registry, unique_owner());
        runner.data = self.data;
        runner.resume = self.resume;
        runner.past_halt = self.past_halt;
        runner.releases = self.releases;
        Ok(runner.run(&scenario, log, clock, observer, &self.stop).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waits_inside_a_runtime_is_an_error_that_names_the_way() {
        let scenario = "name = \"x\"\nsource = [{ kind = \"generator\", name = \"g\", symbols = [\"X\"], events = 3 }]";
        let scenario = Scenario::parse(scenario, "x", PathBuf::new()).expect("a scenario");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (waited, awaited) = runtime.block_on(async {
            let run = Run::of(scenario);
            (run.clone().backtest(), run.start().await)
        });
        let said = waited.expect_err("must not wait").to_string();
        assert!(said.contains("await Run::start"), "{said}");
        assert_eq!(awaited.expect("runs").outcome.counts.inputs, 3);
    }
}
