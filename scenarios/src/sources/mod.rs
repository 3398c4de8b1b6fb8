//! Sources of market data.
//!
//! | kind | what | events |
//! |---|---|---|
//! | `binance` | raw recordings of Binance's websocket streams | quotes, trades |
//! | `bars` | OHLCV bars in CSV | bars |
//! | `histdata` | HISTDATA tick files | quotes |
//! | `quotes` | Silvertine's own quote recordings | quotes |
//! | `generator` | a market out of a seed | quotes, trades |
//! | `ingress` | what outside producers publish to the partition | anything |
//!
//! All files may be gzipped. All are read line by line and never held whole.

mod bars;
mod binance;
mod flat;
mod histdata;
mod lines;
mod only;
mod quotes;
mod spec;
mod text;

pub use self::{
    bars::{Bars, Stamp},
    binance::Binance,
    histdata::HistData,
    lines::LINE_LIMIT,
    only::Only,
    quotes::{QuoteWriter, Quotes},
    spec::SourceSpec,
    text::{Format, Parsed, TextSource},
};
