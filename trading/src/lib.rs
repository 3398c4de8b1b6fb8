//! What one trades with: strategies, risk limits, position targets, a simulated venue, a portfolio, and a market out
//! of a seed.
//!
//! The handlers make a whole chain and are built on nothing but the engine's public interface, so a handler of one's
//! own can stand in the place of any of them:
//!
//! ```text
//! market data ─► EmaCross ─► signal ─► TargetPosition ─► order (submitted)
//!                                                             │
//!      Portfolio ◄─ fill ◄─ SimVenue ◄─ order (approved) ◄─ RiskLimits
//! ```

mod by_symbol;
mod ema_cross;
pub mod generator;
mod portfolio;
mod position;
mod risk;
mod target_position;
pub mod venue;

pub use self::{
    ema_cross::{EmaCross, EmaCrossParams, SampleKind},
    portfolio::{Portfolio, PortfolioParams},
    position::Position,
    risk::{RiskLimits, RiskParams},
    target_position::{OrderStyle, TargetParams, TargetPosition},
    venue::{SimVenue, VenueParams},
};
