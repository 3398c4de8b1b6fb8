//! The kinds of sources that a scenario can name, with their parameters.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    numbers::Price,
    source::{Source, SourceError},
    text::{Name, Symbol},
    time::{NANOS_PER_SECOND, Nanos},
};
use silvertine_sim::log::workload::{Workload, WorkloadSource};
use silvertine_trading::generator::{Market, QuoteGenerator};

use super::{Bars, Binance, HistData, Only, Quotes, Stamp, TextSource};
use crate::runner::RunnerError;

/// What `${data}` in a path stands for is given from outside: the folder of recorded data.
const DATA_PLACEHOLDER: &str = "${data}";

/// A kind of source and its parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum SourceSpec {
    /// A raw recording of Binance's websocket streams.
    Binance {
        /// The file.
        path: String,
        /// Whether quotes become events.
        #[serde(default = "yes")]
        quotes: bool,
        /// Whether trades become events.
        #[serde(default = "yes")]
        trades: bool,
        /// The instruments whose events are kept; every one when absent.
        // Not written where absent, so that manifests of before it existed stay equal.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        symbols: Vec<Symbol>,
    },
    /// OHLCV bars in CSV.
    Bars {
        /// The file.
        path: String,
        /// The instrument.
        symbol: Symbol,
        /// Length of a bar in seconds.
        interval_s: u64,
        /// Which end of its period a timestamp names.
        #[serde(default)]
        timestamp: Stamp,
    },
    /// A HISTDATA tick file.
    Histdata {
        /// The file.
        path: String,
        /// The instrument.
        symbol: Symbol,
    },
    /// Silvertine's own quote recording.
    Quotes {
        /// The file.
        path: String,
    },
    /// A market out of a seed.
    Generator {
        /// The instruments.
        symbols: Vec<Symbol>,
        /// How many quotes.
        events: u64,
        /// The seed; the scenario's when absent.
        #[serde(default)]
        seed: Option<u64>,
        /// Time of the first quote, in nanoseconds since the epoch.
        #[serde(default = "new_year_2024")]
        start_ns: u64,
        /// Mean time between quotes, in nanoseconds.
        #[serde(default = "one_ms")]
        interval_ns: u64,
        /// Where every walk begins.
        #[serde(default = "hundred")]
        start_price: Price,
        /// The smallest price step.
        #[serde(default = "cent")]
        tick: Price,
        /// Distance of bid and ask, in ticks.
        #[serde(default = "two")]
        spread_ticks: i64,
        /// How many of a thousand events are trades instead of quotes.
        // Not written where absent, so that manifests of before it existed stay equal.
        #[serde(default, skip_serializing_if = "is_zero")]
        trades_per_mille: u16,
    },
    /// Awkward inputs out of a seed: bursts, late rows, duplicates, rows that make no sense.
    Workload(Workload),
    /// What outside producers publish to the partition's ingress.
    Ingress {},
}

const fn yes() -> bool {
    true
}

const fn new_year_2024() -> u64 {
    1_704_067_200 * NANOS_PER_SECOND
}

const fn one_ms() -> u64 {
    1_000_000
}

const fn hundred() -> Price {
    Price::from_units(100_000_000_000)
}

const fn cent() -> Price {
    Price::from_units(10_000_000)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u16) -> bool {
    *number == 0
}

const fn two() -> i64 {
    2
}

impl SourceSpec {
    /// Opens the source and says what messages should call it.
    pub(crate) fn open(
        &self,
        name: Name,
        folder: &Path,
        data: Option<&Path>,
        scenario_seed: u64,
    ) -> Result<(Box<dyn Source>, String), RunnerError> {
        if let Self::Generator { events: 0, .. } | Self::Workload(Workload { events: 0, .. }) = self
        {
            let path = format!("source {name} (events = 0)");
            return Err(SourceError::Empty { path }.into());
        }
        let located = |path: &str| {
            locate(path, folder, data).map_err(|why| RunnerError::SourceParams { name, why })
        };
        let params = |why: &str| RunnerError::SourceParams { name, why: why.to_owned() };
        match self {
            Self::Binance { path, quotes, trades, symbols } => {
                let format = Binance { quotes: *quotes, trades: *trades };
                let format = Only { format, symbols: symbols.clone() };
                Ok(text(&located(path)?, name, format)?)
            }
            Self::Bars { path, symbol, interval_s, timestamp } => {
                let interval_ns = interval_s
                    .checked_mul(NANOS_PER_SECOND)
                    .filter(|&interval_ns| interval_ns > 0)
                    .ok_or_else(|| params("interval_s must be at least 1 and in range"))?;
                let format = Bars::new(*symbol, interval_ns, *timestamp);
                Ok(text(&located(path)?, name, format)?)
            }
            Self::Histdata { path, symbol } => {
                Ok(text(&located(path)?, name, HistData { symbol: *symbol })?)
            }
            Self::Quotes { path } => Ok(text(&located(path)?, name, Quotes)?),
            Self::Generator {
                symbols,
                events,
                seed,
                start_ns,
                interval_ns,
                start_price,
                tick,
                spread_ticks,
                trades_per_mille,
            } => {
                let market = Market {
                    seed: seed.unwrap_or(scenario_seed),
                    symbols: symbols.clone(),
                    start: Nanos(*start_ns),
                    events: *events,
                    interval_ns: *interval_ns,
                    start_price: *start_price,
                    tick: *tick,
                    spread_ticks: *spread_ticks,
                };
                let generator = QuoteGenerator::new(name, market)
                    .and_then(|generator| generator.with_trades(*trades_per_mille))
                    .map_err(|why| RunnerError::SourceParams { name, why: why.to_string() })?;
                Ok((Box::new(generator), format!("generator {name}")))
            }
            Self::Workload(workload) => {
                let source = WorkloadSource::new(name, workload.clone())
                    .map_err(|why| RunnerError::SourceParams { name, why: why.to_string() })?;
                Ok((Box::new(source), format!("workload {name}")))
            }
            Self::Ingress {} => Err(params("an ingress is not opened as a file")),
        }
    }
}

fn text<F: super::Format + 'static>(
    path: &Path,
    name: Name,
    format: F,
) -> Result<(Box<dyn Source>, String), SourceError> {
    let source = TextSource::open(path, name, format)?;
    Ok((Box::new(source), path.display().to_string()))
}

/// Where a path of a scenario leads: relative ones start from the scenario's folder.
fn locate(path: &str, folder: &Path, data: Option<&Path>) -> Result<PathBuf, String> {
    let Some(rest) = path.strip_prefix(DATA_PLACEHOLDER) else {
        return Ok(folder.join(path));
    };
    let data = data.ok_or_else(|| {
        format!("path {path:?} needs the folder of recorded data: pass --data DIR or set SILVERTINE_DATA")
    })?;
    Ok(data.join(rest.trim_start_matches('/')))
}
