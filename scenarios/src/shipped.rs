//! The kinds of sources that ship with Silvertine, by name.

/// The kinds that ship, in the order in which messages list them.
pub(crate) const SHIPPED: [&str; 7] =
    ["binance", "bars", "histdata", "quotes", "generator", "workload", "ingress"];

/// Whether a kind of source of this name ships.
pub(crate) fn ships(kind: &str) -> bool {
    SHIPPED.contains(&kind)
}
