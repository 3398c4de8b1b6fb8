//! A program of one's own: every command of Silvertine, with a handler and a source that Silvertine does not know.

use std::{cmp::Ordering::*, process::ExitCode, str};

use serde::Deserialize;
use silvertine::{
    prelude::*,
    scenarios::sources::{BadRow, Format, Parsed, TextSource},
};

/// Goes long after `streak` rising trades in a row, and flat after as many falling ones. Its parameters are read from
/// the scenario.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Streak {
    symbol: Symbol,
    streak: i32,
    /// The last price and the length of the streak, negative when it falls: all that a restart must remember.
    #[serde(skip)]
    state: (Price, i32),
}

impl Handler for Streak {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let Body::MarketData(MarketData::Trade(trade)) = &event.body else { return Ok(()) };
        if trade.symbol != self.symbol {
            return Ok(());
        }
        let (last, length) = self.state;
        let length = match trade.price.cmp(&last) {
            Greater => length.max(0) + 1,
            Less => length.min(0) - 1,
            Equal => length,
        };
        self.state = (trade.price, length);
        if length.abs() == self.streak {
            let strength = if length > 0 { Ratio::ONE } else { Ratio::ZERO };
            ctx.emit(Signal { symbol: self.symbol, strategy: ctx.handler(), strength });
        }
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

/// A tape: `milliseconds since the epoch;trade id;symbol;price;quantity`, a line each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tape {
    path: String,
}

impl Format for Tape {
    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let line = str::from_utf8(line).map_err(|_| "is not UTF-8")?;
        let [ms, id, symbol, price, qty] = line.split(';').collect::<Vec<_>>()[..] else {
            return Err("has not 5 fields".into());
        };
        let time = ms.parse().ok().and_then(Nanos::from_ms).ok_or("has no time in ms in front")?;
        let trade = Trade {
            symbol: Symbol::new(symbol).map_err(|why| format!("symbol {symbol:?} {why}"))?,
            trade_id: id.parse().map_err(|why| format!("trade id {id:?}: {why}"))?,
            price: price.parse().map_err(|why| format!("price {price:?}: {why}"))?,
            qty: qty.parse().map_err(|why| format!("quantity {qty:?}: {why}"))?,
            aggressor: Side::Buy,
        };
        let body = MarketData::Trade(trade).into();
        Ok(Some(Parsed { event_time: time, recv_time: time, body }))
    }
}

fn main() -> ExitCode {
    let registry = Registry::standard()
        .handler("streak", Priority::Normal, |streak: Streak| match streak.streak {
            ..1 => Err("streak must be at least 1".into()),
            1.. => Ok(streak),
        })
        .source("tape", |tape: Tape, context| {
            Ok(TextSource::open(&context.locate(&tape.path)?, context.name, tape)?)
        });
    silvertine::cli::main(registry)
}
