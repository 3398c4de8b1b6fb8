//! Which kinds of handlers and sources a scenario may name, and how each is built from its parameters.
//!
//! The handlers that ship are registered through the same calls as a user's own.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use silvertine_engine::{
    bus::{Handler, Priority},
    params::InvalidParams,
    source::{Source, SourceError},
    text::{Name, one_line},
};
use silvertine_sim::log::probe::Probe;
use silvertine_trading::{EmaCross, Portfolio, RiskLimits, SimVenue, TargetPosition};

use crate::shipped::{SHIPPED, ships};

type BuildHandler =
    Arc<dyn Fn(toml::Table) -> Result<Box<dyn Handler>, InvalidParams> + Send + Sync>;
type OpenSource = Arc<
    dyn Fn(toml::Table, &SourceContext<'_>) -> Result<Box<dyn Source>, OpenError> + Send + Sync,
>;

/// Kinds of handlers and sources by name.
///
/// ```
/// use serde::Deserialize;
/// use silvertine_engine::bus::Priority;
/// use silvertine_scenarios::registry::Registry;
/// # use silvertine_engine::{bus::{Context, Handler, HandlerError}, event::{Event, Topic, TopicSet}};
/// # struct Count(u64);
/// # impl Handler for Count {
/// #     fn topics(&self) -> TopicSet { TopicSet::of(&[Topic::MarketData]) }
/// #     fn handle(&mut self, _: &Event, _: &mut Context<'_>) -> Result<(), HandlerError> { self.0 += 1; Ok(()) }
/// #     fn save(&self) -> Result<Vec<u8>, HandlerError> { Ok(self.0.to_le_bytes().to_vec()) }
/// #     fn load(&mut self, _: &[u8]) -> Result<(), HandlerError> { Ok(()) }
/// # }
///
/// #[derive(Deserialize)]
/// struct Params { from: u64 }
///
/// let registry = Registry::standard()
///     .handler("count", Priority::Low, |params: Params| Ok(Count(params.from)));
/// let params = "from = 7".parse().unwrap();
/// assert!(registry.build_handler("count", params).is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    handlers: BTreeMap<String, (Priority, BuildHandler)>,
    sources: BTreeMap<String, OpenSource>,
}

/// What a source is opened with, besides its own parameters.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SourceContext<'a> {
    /// The name that its events carry.
    pub name: Name,
    /// The scenario's seed.
    pub seed: u64,
    folder: &'a Path,
    data: Option<&'a Path>,
}

impl<'a> SourceContext<'a> {
    /// The source `name` of a scenario in `folder` with this `seed`; `data` is what `${data}` in paths stands for.
    #[must_use]
    pub const fn new(name: Name, seed: u64, folder: &'a Path, data: Option<&'a Path>) -> Self {
        Self { name, seed, folder, data }
    }

    /// Where a path of a scenario leads: a relative one starts from the scenario's folder, `${data}` is the folder of
    /// recorded data.
    ///
    /// # Errors
    /// The path needs that folder, and nobody said where it is.
    pub fn locate(&self, path: &str) -> Result<PathBuf, InvalidParams> {
        let Some(rest) = path.strip_prefix("${data}") else {
            return Ok(self.folder.join(path));
        };
        let data = self.data.ok_or_else(|| {
            InvalidParams::new(format!(
                "path {path:?} needs the folder of recorded data: pass --data DIR or set SILVERTINE_DATA"
            ))
        })?;
        Ok(data.join(rest.trim_start_matches('/')))
    }
}

/// Why a source cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its parameters make no sense.
    #[error(transparent)]
    Params(#[from] InvalidParams),
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Registry {
    /// A registry with no kinds of handlers and with the sources that ship.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The kinds that ship with Silvertine.
    #[must_use]
    pub fn standard() -> Self {
        Self::new()
            .handler("ema-cross", Priority::Normal, EmaCross::new)
            .handler("target-position", Priority::High, TargetPosition::new)
            .handler("risk-limits", Priority::Critical, RiskLimits::new)
            .venue("sim-venue", SimVenue::new)
            .handler("portfolio", Priority::Low, Portfolio::new)
            .handler("probe", Priority::Normal, Probe::new)
    }

    /// Adds a kind of handler (or replaces one): its name in scenarios, its usual priority, and how it is built from
    /// its parameters.
    ///
    /// # Panics
    /// `kind` is no name: handlers are registered under their kind where a scenario gives no other name.
    #[must_use]
    pub fn handler<P, H>(
        mut self,
        kind: &str,
        priority: Priority,
        build: impl Fn(P) -> Result<H, InvalidParams> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        H: Handler + 'static,
    {
        demand_a_name(kind);
        let build: BuildHandler =
            Arc::new(move |params| Ok(Box::new(build(parsed::<P>(params)?)?)));
        self.handlers.insert(kind.to_owned(), (priority, build));
        self
    }

    /// Adds a venue model: a handler that answers approved orders with acceptances, rejections and fills. It runs where
    /// execution runs, at [`Priority::High`].
    #[must_use]
    pub fn venue<P, H>(
        self,
        kind: &str,
        build: impl Fn(P) -> Result<H, InvalidParams> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        H: Handler + 'static,
    {
        self.handler(kind, Priority::High, build)
    }

    /// Adds a kind of source (or replaces one added before): its name in scenarios, and how it is opened. All keys of
    /// the `[[source]]` but `kind`, `name` and `on_bad_row` are its parameters.
    ///
    /// # Panics
    /// `kind` is no name, or a kind of this name ships with Silvertine: the scenarios that name it mean that one.
    #[must_use]
    pub fn source<P, S>(
        mut self,
        kind: &str,
        open: impl Fn(P, &SourceContext<'_>) -> Result<S, OpenError> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        S: Source + 'static,
    {
        demand_a_name(kind);
        assert!(!ships(kind), "a source of kind {kind:?} ships with Silvertine");
        let open: OpenSource =
            Arc::new(move |params, context| Ok(Box::new(open(parsed::<P>(params)?, context)?)));
        self.sources.insert(kind.to_owned(), open);
        self
    }

    /// Builds a handler of `kind`; returns it with the kind's usual priority.
    ///
    /// # Errors
    /// One line naming the kind, and the key where one is unknown or of the wrong type.
    pub fn build_handler(
        &self,
        kind: &str,
        params: toml::Table,
    ) -> Result<(Box<dyn Handler>, Priority), InvalidParams> {
        let Some((priority, build)) = self.handlers.get(kind) else {
            let known = listed(self.handlers.keys().map(String::as_str));
            return Err(format!("no handler of kind {kind:?}; known are {known}").into());
        };
        let handler =
            build(params).map_err(|why| InvalidParams::new(format!("handler {kind}: {why}")))?;
        Ok((handler, *priority))
    }

    /// Opens a source of `kind` that does not ship.
    pub(crate) fn open_source(
        &self,
        kind: &str,
        params: toml::Table,
        context: &SourceContext<'_>,
    ) -> Result<Box<dyn Source>, OpenError> {
        let Some(open) = self.sources.get(kind) else {
            let known = SHIPPED.iter().copied().chain(self.sources.keys().map(String::as_str));
            let why = format!("no source of kind {kind:?}; known are {}", listed(known));
            return Err(InvalidParams::from(why).into());
        };
        open(params, context)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers: Vec<_> = self.handlers.keys().collect();
        let sources: Vec<_> = self.sources.keys().collect();
        f.debug_struct("Registry").field("handlers", &handlers).field("sources", &sources).finish()
    }
}

fn demand_a_name(kind: &str) {
    if let Err(why) = Name::new(kind) {
        panic!("{kind:?} cannot be a kind of handler or source: it {why}");
    }
}

fn parsed<P: DeserializeOwned>(params: toml::Table) -> Result<P, InvalidParams> {
    params.try_into::<P>().map_err(|why| one_line(why.message()).into())
}

fn listed<'a>(kinds: impl Iterator<Item = &'a str>) -> String {
    kinds.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(kind: &str, params: &str) -> Result<Priority, String> {
        let params = params.parse().expect("valid TOML");
        let built = Registry::standard().build_handler(kind, params);
        built.map(|(_, priority)| priority).map_err(|why| why.to_string())
    }

    #[test]
    fn every_standard_kind_is_built_from_its_parameters() {
        assert_eq!(build("ema-cross", "symbol = 'X'\nfast = 3\nslow = 9"), Ok(Priority::Normal));
        assert_eq!(build("target-position", "unit_qty = '0.5'"), Ok(Priority::High));
        assert_eq!(build("risk-limits", "max_position = 2"), Ok(Priority::Critical));
        assert_eq!(build("sim-venue", "taker_fee = '0.0004'"), Ok(Priority::High));
        assert_eq!(build("portfolio", "starting_cash = '100000'"), Ok(Priority::Low));
    }

    #[test]
    fn a_mistake_in_the_parameters_is_named() {
        let said = |kind, params| build(kind, params).expect_err("must be refused");
        assert!(said("nonsense", "").contains("known are ema-cross"));
        assert!(said("ema-cross", "symbol = 'X'\nfsat = 3").contains("fsat"));
        assert!(said("ema-cross", "").contains("symbol"));
        assert!(said("ema-cross", "symbol = 'X'\nfast = 'a'").contains("invalid type"));
        assert!(said("portfolio", "starting_cash = 'NaN'").contains("NaN"));
        assert!(said("risk-limits", "max_position = 0").contains("above zero"));
        assert!(said("sim-venue", "maker_fee = 0.1").contains("in quotes"));
    }
}
