//! The kinds of sources that a scenario can name, with their parameters: those that ship, and those of one's own.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use silvertine_engine::{
    numbers::Price,
    params::InvalidParams,
    source::{Source, SourceError},
    text::{Name, Symbol},
    time::{NANOS_PER_SECOND, Nanos},
};
use silvertine_sim::log::workload::{Workload, WorkloadSource};
use silvertine_trading::generator::{Market, QuoteGenerator};

use super::{Bars, Binance, HistData, Only, Quotes, Stamp, TextSource, contract::Contract};
use crate::{
    registry::{OpenError, Registry, SourceContext},
    shipped::ships,
};

/// A kind of source and its parameters.
// The derives cover the kinds that ship; the trait implementations below also handle `Custom`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
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
        // Not written where absent, so that older manifests, which lack it, stay equal.
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
    /// A random-walk market, generated from a seed.
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
        /// The price at which every symbol's random walk starts.
        #[serde(default = "hundred")]
        start_price: Price,
        /// The smallest price step.
        #[serde(default = "cent")]
        tick: Price,
        /// Distance of bid and ask, in ticks.
        #[serde(default = "two")]
        spread_ticks: i64,
        /// How many of a thousand events are trades instead of quotes.
        // Not written where absent, so that older manifests, which lack it, stay equal.
        #[serde(default, skip_serializing_if = "is_zero")]
        trades_per_mille: u16,
    },
    /// Awkward inputs out of a seed: bursts, late rows, duplicates, rows that make no sense.
    Workload(Workload),
    /// What outside producers publish to the partition's ingress.
    Ingress {},
    /// A user's own kind, which a [`Registry`] knows.
    #[serde(skip)]
    Custom(CustomSource),
}

/// A user's own kind of source, as a scenario describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CustomSource {
    /// Which kind; the registry knows it.
    pub kind: String,
    /// The kind's own parameters.
    #[serde(flatten)]
    pub params: toml::Table,
}

impl<'de> Deserialize<'de> for SourceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Manifests hold numbers and nulls that TOML has not, so JSON is the wider of the two.
        let described = Value::deserialize(deserializer)?;
        let spec = match described.get("kind").and_then(Value::as_str) {
            Some(kind) if !ships(kind) => CustomSource::deserialize(described).map(Self::Custom),
            _ => Self::deserialize(described),
        };
        spec.map_err(D::Error::custom)
    }
}

impl Serialize for SourceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Custom(custom) => custom.serialize(serializer),
            shipped => Self::serialize(shipped, serializer),
        }
    }
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
        registry: &Registry,
        context: &SourceContext<'_>,
    ) -> Result<(Box<dyn Source>, String), OpenError> {
        let name = context.name;
        if let Self::Generator { events: 0, .. } | Self::Workload(Workload { events: 0, .. }) = self
        {
            let path = format!("source {name} (events = 0)");
            return Err(SourceError::Empty { path }.into());
        }
        match self {
            Self::Binance { path, quotes, trades, symbols } => {
                let format = Binance { quotes: *quotes, trades: *trades };
                let format = Only { format, symbols: symbols.clone() };
                text(&context.locate(path)?, name, format)
            }
            Self::Bars { path, symbol, interval_s, timestamp } => {
                let interval_ns = interval_s
                    .checked_mul(NANOS_PER_SECOND)
                    .filter(|&interval_ns| interval_ns > 0)
                    .ok_or_else(|| {
                        InvalidParams::from("interval_s must be at least 1 and in range")
                    })?;
                let format = Bars::new(*symbol, interval_ns, *timestamp);
                text(&context.locate(path)?, name, format)
            }
            Self::Histdata { path, symbol } => {
                text(&context.locate(path)?, name, HistData { symbol: *symbol })
            }
            Self::Quotes { path } => text(&context.locate(path)?, name, Quotes),
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
                let seed = seed.unwrap_or(context.seed);
                let mut market = Market::new(seed, symbols.clone(), *events);
                market.start = Nanos(*start_ns);
                market.interval_ns = *interval_ns;
                market.start_price = *start_price;
                market.tick = *tick;
                market.spread_ticks = *spread_ticks;
                let generator =
                    QuoteGenerator::new(name, market)?.with_trades(*trades_per_mille)?;
                Ok((Box::new(generator), format!("generator {name}")))
            }
            Self::Workload(workload) => {
                let source =
                    WorkloadSource::new(name, workload.clone()).map_err(InvalidParams::from)?;
                Ok((Box::new(source), format!("workload {name}")))
            }
            Self::Ingress {} => {
                Err(InvalidParams::from("an ingress is not opened as a file").into())
            }
            Self::Custom(CustomSource { kind, params }) => {
                let source = registry.open_source(kind, params.clone(), context)?;
                let label = format!("{kind} {name}");
                Ok((Box::new(Contract::new(source, name, label.clone())), label))
            }
        }
    }
}

fn text<F: super::Format + 'static>(
    path: &Path,
    name: Name,
    format: F,
) -> Result<(Box<dyn Source>, String), OpenError> {
    let source = TextSource::open(path, name, format)?;
    Ok((Box::new(source), path.display().to_string()))
}
