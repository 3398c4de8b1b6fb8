//! A strategy of one's own: buys when the mid falls half a percent below its high, sells at a new high.

use serde::Deserialize;
use silvertine::prelude::*;

#[derive(Deserialize)]
struct Params {
    symbol: Symbol,
}

struct BuyTheDip {
    symbol: Symbol,
    /// The highest mid so far, and whether we hold: everything that a restart must remember.
    state: (Price, bool),
}

impl Handler for BuyTheDip {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let Body::MarketData(MarketData::Quote(quote)) = &event.body else { return Ok(()) };
        let mid = quote.bid.midpoint(quote.ask);
        let (high, holding) = self.state;
        let dip = mid.units() < high.units() / 1000 * 995;
        let strength = if holding { Ratio::ZERO } else { Ratio::ONE };
        if (dip && !holding) || (mid > high && holding) {
            ctx.emit(Signal { symbol: self.symbol, strategy: ctx.handler(), strength });
            self.state.1 = !holding;
        }
        self.state.0 = high.max(mid);
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        encode_state(&self.state)
    }
    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.state = decode_state(state)?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let new = |params: Params| Ok(BuyTheDip { symbol: params.symbol, state: (Price::ZERO, false) });
    let registry = Registry::standard().handler("buy-the-dip", Priority::Normal, new);
    let scenario = Scenario::read("examples/strategy/buy-the-dip.toml".as_ref())?;
    let report = silvertine::run(scenario).with(registry).backtest()?;
    println!("{} fills, digest {}", report.outcome.counts.fills, report.outcome.digest);
    Ok(())
}
