//! A handler that does everything a handler can do, so that a run under faults misses nothing: state, signals,
//! timers, randomness, errors and panics.

use std::{collections::BTreeMap, panic::resume_unwind, time::Duration};

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    bus::{Context, Figure, Handler, HandlerError, decode_state, encode_state},
    event::{Body, Event, Signal, System, Topic, TopicSet},
    numbers::Ratio,
    params::InvalidParams,
    text::Symbol,
    time::Nanos,
};

/// Parameters of a [`Probe`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeParams {
    /// Signals on every so many market events.
    pub signal_every: u64,
    /// Sets a timer on every so many market events.
    pub timer_every: u64,
    /// When the timer comes due, in milliseconds.
    pub timer_ms: u64,
    /// Of a thousand events, how many it fails on.
    pub fails: u64,
    /// Of a thousand events, how many it panics on.
    pub panics: u64,
}

impl Default for ProbeParams {
    fn default() -> Self {
        Self { signal_every: 5, timer_every: 7, timer_ms: 35, fails: 0, panics: 0 }
    }
}

/// A handler that does everything a handler can do.
#[derive(Debug)]
pub struct Probe {
    params: ProbeParams,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    market_events: u64,
    others: u64,
    timers: u64,
    by_symbol: BTreeMap<Symbol, u64>,
    latest: Nanos,
    mixed: u64,
}

impl Probe {
    /// A probe.
    ///
    /// # Errors
    /// It would signal or set timers on every zeroth event.
    pub fn new(params: ProbeParams) -> Result<Self, InvalidParams> {
        if params.signal_every == 0 || params.timer_every == 0 {
            return Err("signal_every and timer_every must be at least 1".into());
        }
        Ok(Self { params, state: State::default() })
    }

    /// Fails or panics where the parameters say so, before its state has changed but with a decision and a
    /// timer in hand: nothing may come of them.
    fn stumble(&self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        if self.params.fails + self.params.panics == 0 {
            return Ok(());
        }
        let fate = ctx.random_below(1000);
        // Tried again at another time than it came, it does well half of the time, as if what had ailed it had passed.
        if event.time.as_ms() != event.pos.ms && event.time.as_ms().is_multiple_of(2) {
            return Ok(());
        }
        if fate < self.params.fails + self.params.panics
            && let Body::MarketData(data) = &event.body
        {
            let symbol = data.symbol();
            ctx.emit(Signal { symbol, strategy: ctx.handler(), strength: Ratio::ZERO });
            ctx.set_timer(u64::MAX, Duration::from_millis(self.params.timer_ms));
        }
        if fate < self.params.fails {
            return Err(HandlerError::new("the probe fails as it is asked to"));
        }
        if fate < self.params.fails + self.params.panics {
            // As any panic, but without a word on stderr: thousands of them are meant.
            resume_unwind(Box::new("the probe panics as it is asked to"));
        }
        Ok(())
    }

    fn market(&mut self, symbol: Symbol, ctx: &mut Context<'_>) {
        let ProbeParams { signal_every, timer_every, timer_ms, .. } = self.params;
        self.state.market_events += 1;
        *self.state.by_symbol.entry(symbol).or_default() += 1;
        let count = self.state.market_events;
        if count.is_multiple_of(signal_every) {
            let strength =
                Ratio::from_units(ctx.random_below(2_000_000_001) as i64 - 1_000_000_000);
            ctx.emit(Signal { symbol, strategy: ctx.handler(), strength });
        }
        if count.is_multiple_of(timer_every) {
            // Few keys, so that timers are moved and taken back now and then.
            let after = timer_ms * (1 + ctx.random_below(3));
            ctx.set_timer(count % 5, Duration::from_millis(after));
            if count.is_multiple_of(3) {
                ctx.cancel_timer((count + 2) % 5);
            }
        }
    }
}

impl Handler for Probe {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData, Topic::Signal, Topic::Fill])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        self.stumble(event, ctx)?;
        self.state.latest = self.state.latest.max(ctx.now());
        self.state.mixed = self.state.mixed.rotate_left(7) ^ ctx.random();
        match &event.body {
            Body::MarketData(data) => self.market(data.symbol(), ctx),
            Body::System(System::TimerFired { .. }) => {
                self.state.timers += 1;
                let symbol = self.state.by_symbol.keys().next().copied();
                if let Some(symbol) = symbol.filter(|_| self.state.timers.is_multiple_of(2)) {
                    let strength = Ratio::from_units(self.state.timers.min(9) as i64 * 100_000_000);
                    ctx.emit(Signal { symbol, strategy: ctx.handler(), strength });
                }
            }
            _ => self.state.others += 1,
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

    fn figures(&self) -> Vec<(&'static str, Figure)> {
        let State { market_events, others, timers, .. } = self.state;
        vec![
            ("market_events", Figure::Count(market_events)),
            ("others", Figure::Count(others)),
            ("timers", Figure::Count(timers)),
        ]
    }
}
