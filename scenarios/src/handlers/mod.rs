//! Handlers that make a whole trading chain, built on nothing but the engine's public interface.
//!
//! ```text
//! market data ─► ema-cross ─► signal ─► target-position ─► order (submitted)
//!                                                              │
//!      portfolio ◄─ fill ◄─ sim-venue ◄─ order (approved) ◄─ risk-limits
//! ```

mod ema_cross;
mod portfolio;
mod position;
mod registry;
mod risk;
mod target_position;

pub use self::{
    ema_cross::{EmaCross, EmaCrossParams, SampleKind},
    portfolio::{Portfolio, PortfolioParams},
    position::Position,
    registry::Registry,
    risk::{RiskLimits, RiskParams},
    target_position::{OrderStyle, TargetParams, TargetPosition},
};
