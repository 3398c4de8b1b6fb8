//! From the ordered plane to the worker plane: committed events of a log onto one stream per kind.
//!
//! A message's id is the entry's position, so passing it on twice changes nothing, and where to go on stands on
//! the streams themselves. Nothing is passed on before it is committed.

use std::time::Duration;

use silvertine_engine::{
    codec::{Codec, decode_entry},
    event::{Body, Topic, TopicSet},
    log::{EntryRef, EventLog, LogError, LogErrorKind, RangeQuery},
    pos::Pos,
    stop::StopFlag,
    text::Symbol,
};
use silvertine_streams::{Message, NameError, Publication, StoreError, StreamName, Streams};

use crate::clock::now;

/// Entries passed on at a time.
const PAGE: usize = 256;
/// How often a log that does not grow is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Passes the committed events of a log on to named streams, one stream for each kind of event.
#[derive(Clone, Debug)]
pub struct Relay<L, S> {
    log: L,
    streams: S,
    names: Vec<StreamName>,
}

/// Why a relay cannot start, or cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The service's name does not give names of streams.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The topology lacks a stream for one kind of event.
    #[error("there is no stream {0} in the topology")]
    NoStream(StreamName),
    /// The log cannot be read. Running again goes on where this ended.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event of the log does not decode.
    #[error("log: relay: corrupt record at {at}: {why}")]
    Unreadable {
        /// The event.
        at: Pos,
        /// What is wrong with it.
        why: String,
    },
    /// The streams cannot be read or written. Running again goes on where this ended.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The streams hold the events of another log, or of this one before it lost its end.
    #[error(
        "{stream}: relay: not a log of ours: the event at {at} on {stream} is not of this log; give each log streams of its own (--service)"
    )]
    AnotherLog {
        /// The stream.
        stream: StreamName,
        /// The event that is not in the log.
        at: Pos,
    },
}

impl<L: EventLog, S: Streams> Relay<L, S> {
    /// From `log` to the streams `{service}:events:{kind}`, which the topology must know.
    ///
    /// # Errors
    /// [`RelayError::Name`] or [`RelayError::NoStream`]: the topology lacks one of them.
    pub fn new(log: L, streams: S, service: &str) -> Result<Self, RelayError> {
        let name = |topic: &Topic| {
            let name = StreamName::new(&format!("{service}:events:{topic}"))?;
            match streams.topology().stream(&name) {
                Some(_) => Ok(name),
                None => Err(RelayError::NoStream(name)),
            }
        };
        let names = Topic::ALL.iter().map(name).collect::<Result<Vec<_>, RelayError>>()?;
        Ok(Self { log, streams, names })
    }

    /// Passes on what is committed, and with `follow` what will be, until `stop`. Returns how many events
    /// were new to the streams.
    ///
    /// # Errors
    /// The log or the store fails; running again goes on where this ended. [`RelayError::AnotherLog`] when the
    /// streams hold the events of another log.
    pub async fn run(&self, follow: bool, stop: &StopFlag) -> Result<u64, RelayError> {
        let mut after = self.passed_on().await?;
        let mut count = 0;
        while !stop.is_requested() {
            let query = RangeQuery { after, topics: TopicSet::ALL, limit: PAGE };
            let page = self.log.range(query).await?;
            let Some(last) = page.entries.last_pos() else {
                if !follow {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let mut messages = Vec::with_capacity(page.entries.len());
            for entry in page.entries.iter() {
                let stream = self.names[entry.topic.index()].clone();
                messages.push((entry.pos, Publication::new(stream, message_of(&entry)?)));
            }
            count += self.streams.relay(&messages, now()).await?;
            after = last;
        }
        Ok(count)
    }

    /// Everything up to here is on the streams: a page is passed on whole, so the newest id on any of them tells.
    async fn passed_on(&self) -> Result<Pos, RelayError> {
        let (mut newest, mut on) = (Pos::ZERO, None);
        for name in &self.names {
            if let Some(stats) = self.streams.stream_stats(name, now()).await?
                && stats.last > newest
            {
                (newest, on) = (stats.last, Some(name));
            }
        }
        if let Some(stream) = on {
            self.check_same_log(stream, newest).await?;
        }
        Ok(newest)
    }

    /// Refuses streams that hold the events of another log, or of this one before it lost its end: their ids say
    /// nothing of where to go on, and what has a lower position would be left out.
    async fn check_same_log(&self, stream: &StreamName, at: Pos) -> Result<(), RelayError> {
        let before = Pos { seq: at.seq.saturating_sub(1), ..at };
        let query = RangeQuery { after: before, topics: TopicSet::ALL, limit: 1 };
        let page = self.log.range(query).await;
        let other = || RelayError::AnotherLog { stream: stream.clone(), at };
        let page = match page {
            Ok(page) => page,
            // A page that does not continue there is what another log looks like from here.
            Err(error) if matches!(error.kind, LogErrorKind::Corrupt { .. }) => return Err(other()),
            Err(error) => return Err(error.into()),
        };
        let Some(entry) = page.entries.iter().next().filter(|entry| entry.pos == at) else {
            return Err(other());
        };
        // It may have been trimmed from the stream since.
        let passed_on = self.streams.read(stream, before, 1).await?;
        match passed_on.first() {
            Some((id, message)) if *id == at && *message != message_of(&entry)? => Err(other()),
            _ => Ok(()),
        }
    }
}

/// An entry as a message.
fn message_of(entry: &EntryRef<'_>) -> Result<Message, RelayError> {
    let event = decode_entry(entry.bytes).map_err(|why| unreadable(entry.pos, &why))?;
    let kind = event.body.topic();
    let payload = serde_json::to_vec(&event).map_err(|why| unreadable(entry.pos, &why))?;
    let message = Message::new(Codec::Json, payload).with_type(&kind.to_string());
    let message = message.with_key(&event.header.id.to_string());
    Ok(match symbol_of(&event.body) {
        Some(symbol) => message.with("symbol", symbol.as_str()),
        None => message,
    })
}

/// The instrument an event is about.
const fn symbol_of(body: &Body) -> Option<Symbol> {
    match body {
        Body::MarketData(data) => Some(data.symbol()),
        Body::Signal(signal) => Some(signal.symbol),
        Body::Order(order) => Some(order.symbol),
        Body::Fill(fill) => Some(fill.symbol),
        Body::System(_) => None,
    }
}

fn unreadable(at: Pos, why: &dyn std::fmt::Display) -> RelayError {
    RelayError::Unreadable { at, why: why.to_string() }
}
