//! Which kinds of handlers a scenario may name, and how each is built from its parameters.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use silvertine_engine::{
    bus::{Handler, Priority},
    text::one_line,
};
use silvertine_sim::log::probe::Probe;
use silvertine_trading::venue::SimVenue;

use silvertine_trading::{EmaCross, Portfolio, RiskLimits, TargetPosition};

type Factory = Box<dyn Fn(toml::Table) -> Result<Box<dyn Handler>, String> + Send + Sync>;

/// Kinds of handlers by name.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<String, (Priority, Factory)>,
}

impl Registry {
    /// A registry that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The kinds that ship with Silvertine.
    #[must_use]
    pub fn standard() -> Self {
        Self::new()
            .register("ema-cross", Priority::Normal, EmaCross::new)
            .register("target-position", Priority::High, TargetPosition::new)
            .register("risk-limits", Priority::Critical, RiskLimits::new)
            .register("sim-venue", Priority::High, SimVenue::new)
            .register("portfolio", Priority::Low, Portfolio::new)
            .register("probe", Priority::Normal, |params| {
                Probe::new(params).map_err(|why| why.to_string())
            })
    }

    /// Adds a kind (or replaces one): its name in scenarios, its usual priority, and how it is built from
    /// its parameters.
    #[must_use]
    pub fn register<P, H>(
        mut self,
        kind: &str,
        priority: Priority,
        build: impl Fn(P) -> Result<H, String> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        H: Handler + 'static,
    {
        let factory: Factory = Box::new(move |params| {
            let params = params.try_into::<P>().map_err(|why| one_line(why.message()))?;
            Ok(Box::new(build(params)?))
        });
        self.kinds.insert(kind.to_owned(), (priority, factory));
        self
    }

    /// Builds a handler of `kind`; returns it with the kind's usual priority.
    ///
    /// # Errors
    /// One line naming the kind, and the key where one is unknown or of the wrong type.
    pub fn build(
        &self,
        kind: &str,
        params: toml::Table,
    ) -> Result<(Box<dyn Handler>, Priority), String> {
        let Some((priority, factory)) = self.kinds.get(kind) else {
            let known: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
            return Err(format!("no handler of kind {kind:?}; known are {}", known.join(", ")));
        };
        let handler = factory(params).map_err(|why| format!("handler {kind}: {why}"))?;
        Ok((handler, *priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(kind: &str, params: &str) -> Result<Priority, String> {
        let params = params.parse().expect("valid TOML");
        Registry::standard().build(kind, params).map(|(_, priority)| priority)
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
