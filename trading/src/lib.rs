//! The handlers of a trading chain: strategies, position targets, risk limits, a simulated venue, a portfolio; and a
//! market generator.
//!
//! They use nothing but the engine's public interface, so a user's own handler can replace any of them:
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
mod state;
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
