//! Times that no input may carry: they are refused at the door, and no log that holds one is executed.

use std::{
    future::Future,
    pin::pin,
    task::{Context as Waiting, Poll, Waker},
    time::Duration,
};

use silvertine_engine::{
    bus::{Context, Handler, HandlerError, Priority},
    codec::{DecodeError, decode_entry, encode_entry},
    engine::{Engine, EngineConfig},
    event::{Body, Event, Origin, System, Topic, TopicSet, Trade},
    feed::{Feed, FeedError, Merge, MergedSource, OnBadRow, Polled},
    log::{Batch, Head, Page},
    numbers::{Price, Qty},
    recovery::Replay,
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::{Name, Symbol},
    time::{NANOS_PER_SECOND, Nanos},
};

fn name(text: &str) -> Name {
    Name::new(text).expect("valid name")
}

/// The result of a future that is ready at once, as those of recorded inputs are.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Waiting::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("recorded inputs never wait"),
    }
}

/// Trades at these times.
struct Rows {
    times: Vec<Nanos>,
    read: usize,
}

impl Source for Rows {
    fn name(&self) -> Name {
        name("rows")
    }
    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let Some(&time) = self.times.get(self.read) else { return Ok(None) };
        self.read += 1;
        let body = Trade {
            symbol: Symbol::new("X").expect("valid"),
            trade_id: 1,
            price: Price::from_units(1),
            qty: Qty::from_units(1),
            aggressor: silvertine_engine::event::Side::Buy,
        };
        Ok(Some(Row::Event(Input {
            source: self.name(),
            source_seq: self.read as u64,
            id: None,
            event_time: time,
            recv_time: time,
            body: body.into(),
        })))
    }
    fn last_row(&self) -> RowOrigin<'_> {
        RowOrigin { line: self.read as u64, bytes: b"row" }
    }
    fn cursor(&self) -> SourceCursor {
        let (offset, time) = (self.read as u64, self.times[self.read.saturating_sub(1)]);
        SourceCursor { offset, line: offset, seq: offset, time, ..SourceCursor::default() }
    }
    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
        self.read = cursor.offset as usize;
        Ok(())
    }
}

/// Sets its timer again whenever it fires.
struct Metronome;

impl Handler for Metronome {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }
    fn handle(&mut self, _: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        ctx.set_timer(1, Duration::from_secs(1));
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        Ok(Vec::new())
    }
    fn load(&mut self, _: &[u8]) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// Runs these rows through a metronome.
fn run(times: &[Nanos], on_bad_row: OnBadRow) -> Result<Vec<Event>, FeedError> {
    let rows = Rows { times: times.to_vec(), read: 0 };
    let mut feed = Merge::new(vec![MergedSource::new(Box::new(rows), "rows", on_bad_row)]);
    let engine = Engine::builder(EngineConfig::default());
    let mut engine = engine.handler(name("m"), Priority::Normal, Metronome).build().expect("one");
    let mut batch = Batch::default();
    while let Polled::Ready(recv_time) = now(feed.poll(Duration::ZERO))? {
        engine.step(feed.take(), recv_time, &mut batch);
    }
    Ok(batch.iter().map(|entry| decode_entry(entry.bytes).expect("decodes")).collect())
}

const fn second(seconds: u64) -> Nanos {
    Nanos(seconds * NANOS_PER_SECOND)
}

#[test]
fn a_row_at_the_end_of_time_is_refused_and_rings_no_timer_for_ever() {
    let events = run(&[second(1), Nanos::MAX, second(3)], OnBadRow::Skip).expect("goes on");
    let origins: Vec<Origin> = events.iter().map(|event| event.origin).collect();
    // The refusal comes at the time that the engine has reached, so no timer is due by then.
    assert_eq!(
        origins,
        [Origin::Input, Origin::Input, Origin::Timer, Origin::Timer, Origin::Input]
    );
    let Body::System(System::Rejected { reason, .. }) = &events[1].body else {
        panic!("{:?}", events[1]);
    };
    assert_eq!(reason, "event_time is past the year 2499");
    assert_eq!((events[1].time, events[4].time), (second(1), second(3)));
}

#[test]
fn a_row_at_the_end_of_time_stops_a_run_that_passes_over_nothing() {
    let stopped = run(&[second(1), Nanos::MAX], OnBadRow::Stop).expect_err("must be refused");
    assert_eq!(stopped.to_string(), "rows: line 2: event_time is past the year 2499");
}

#[test]
fn the_latest_input_is_handled_and_a_timer_set_then_is_never_due() {
    let events = run(&[Nanos::LATEST_INPUT, Nanos::LATEST_INPUT], OnBadRow::Stop).expect("good");
    assert!(events.iter().all(|event| event.origin == Origin::Input), "{events:?}");
    assert_eq!(events.len(), 2);
}

#[test]
fn an_entry_behind_the_latest_input_does_not_decode() {
    let [mut event] = <[Event; 1]>::try_from(run(&[Nanos::LATEST_INPUT], OnBadRow::Stop).unwrap())
        .expect("one entry");
    let bytes = |event: &Event| {
        let mut bytes = Vec::new();
        encode_entry(event, &mut bytes);
        bytes
    };
    assert_eq!(decode_entry(&bytes(&event)).as_ref(), Ok(&event));
    event.time = Nanos(Nanos::LATEST_INPUT.0 + 1);
    assert_eq!(decode_entry(&bytes(&event)), Err(DecodeError::Impossible("engine time")));
}

/// Sets a timer of no length on every trade, and counts what fires.
#[derive(Default)]
struct AtOnce;

impl Handler for AtOnce {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }
    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        if matches!(event.body, Body::MarketData(_)) {
            ctx.set_timer(event.pos.seq, Duration::ZERO);
        }
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        Ok(Vec::new())
    }
    fn load(&mut self, _: &[u8]) -> Result<(), HandlerError> {
        Ok(())
    }
}

#[test]
fn a_clock_that_is_set_back_holds_no_timer_back_that_replay_would_fire() {
    let engine = || {
        let builder = Engine::builder(EngineConfig::default());
        builder.handler(name("at-once"), Priority::Normal, AtOnce).build().expect("builds")
    };
    let (mut first, mut log) = (engine(), Batch::default());
    let late = Nanos(5 * NANOS_PER_SECOND);
    let mut rows = Rows { times: vec![late, Nanos(3 * NANOS_PER_SECOND), late], read: 0 };
    while let Some(Row::Event(input)) = rows.next_row().expect("reads") {
        let at = input.recv_time;
        first.advance(at, &mut log);
        first.step(input, at, &mut log);
    }
    let head = Head { pos: first.head(), digest: first.digest(), ..Head::default() };
    let mut again = engine();
    let mut replay = Replay::begin(&again, &head).expect("from the beginning");
    replay.absorb(&mut again, &Page { entries: log, next: None }).expect("the same entries");
    replay.finish(&again).expect("the same digest");
}
