//! Sources of market data.
//!
//! | kind | what | events |
//! |---|---|---|
//! | `binance` | raw recordings of Binance's websocket streams | quotes, trades |
//! | `bars` | OHLCV bars in CSV | bars |
//! | `histdata` | HISTDATA tick files | quotes |
//! | `quotes` | Silvertine's own quote recordings | quotes |
//! | `generator` | a market out of a seed | quotes, trades |
//! | `workload` | awkward inputs out of a seed, for runs under faults | quotes, trades, bars |
//! | `ingress` | what outside producers publish to the partition | anything |
//!
//! All files may be gzipped. All are read line by line and never held whole.
//!
//! A user's own kind implements [`Source`](silvertine_engine::source::Source) and is registered with
//! [`Registry::source`](crate::registry::Registry::source). Each of its rows is held against the contract of `Source`: a name
//! or number that breaks it ends the run. Where it reads a file of lines, a [`Format`] is all it needs:
//! [`TextSource`] counts lines, keeps the cursor, unpacks gzip, and names the line of a row that makes no sense.

mod bars;
mod binance;
mod contract;
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
    spec::{CustomSource, SourceSpec},
    text::{BadRow, Format, Parsed, TextSource},
};
