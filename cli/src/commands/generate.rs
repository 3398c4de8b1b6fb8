//! `silvertine generate`: a quote recording out of a seed.

use std::io::{self, BufWriter};

use silvertine_engine::{
    event::{Body, MarketData},
    params::InvalidParams,
    source::{Row, Source},
    text::Name,
};
use silvertine_scenarios::sources::QuoteWriter;
use silvertine_trading::generator::{Market, QuoteGenerator};

use crate::{
    args::GenerateArgs,
    exit::{Exit, Failure},
};

/// Writes the recording to stdout.
pub(crate) fn generate(args: GenerateArgs) -> Result<Exit, Failure> {
    let usage = |why: InvalidParams| Failure::new(Exit::Usage, why.to_string());
    let interval_ns = args.interval_ms.checked_mul(1_000_000);
    let mut market = Market::new(args.seed, args.symbols, args.events);
    market.interval_ns =
        interval_ns.ok_or_else(|| usage("--interval-ms is out of range".into()))?;
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
