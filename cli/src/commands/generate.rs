//! `silvertine generate`: a quote recording out of a seed.

use std::io::{self, BufWriter};

use silvertine_engine::{
    event::{Body, MarketData},
    numbers::Price,
    params::InvalidParams,
    source::{Row, Source},
    text::Name,
    time::Nanos,
};
use silvertine_scenarios::sources::QuoteWriter;
use silvertine_trading::generator::{Market, QuoteGenerator};

use crate::{
    args::GenerateArgs,
    exit::{Exit, Failure},
};

/// 2024-01-01T00:00:00Z.
const START: Nanos = Nanos(1_704_067_200_000_000_000);

/// Writes the recording to stdout.
pub(crate) fn generate(args: GenerateArgs) -> Result<Exit, Failure> {
    let usage = |why: InvalidParams| Failure::new(Exit::Usage, why.to_string());
    let interval_ns = args.interval_ms.checked_mul(1_000_000);
    let market = Market {
        seed: args.seed,
        symbols: args.symbols,
        start: START,
        events: args.events,
        interval_ns: interval_ns.ok_or_else(|| usage("--interval-ms is out of range".into()))?,
        start_price: Price::from_units(100_000_000_000),
        tick: Price::from_units(10_000_000),
        spread_ticks: 2,
    };
    let name = Name::new("generated").expect("a short word");
    let mut generator = QuoteGenerator::new(name, market).map_err(usage)?;
    write_all(&mut generator).map_err(|why| Failure::unwritable(&why))?;
    Ok(Exit::Good)
}

fn write_all(generator: &mut QuoteGenerator) -> io::Result<()> {
    let mut writer = QuoteWriter::new(BufWriter::new(io::stdout().lock()))?;
    while let Ok(Some(Row::Event(input))) = generator.next_row() {
        if let Body::MarketData(MarketData::Quote(quote)) = &input.body {
            writer.write(input.recv_time, quote)?;
        }
    }
    writer.finish()
}
