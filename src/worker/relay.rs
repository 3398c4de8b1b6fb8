//! From the ordered plane to the worker plane: committed events of a log onto one stream per kind.
//!
//! A message's id is the entry's position, so passing it on twice changes nothing, and where to go on stands on
//! the streams themselves. Nothing is passed on before it is committed.

use std::time::Duration;

use silvertine_engine::{
    codec::{Codec, decode_entry},
    driver::StopFlag,
    event::{Body, Topic, TopicSet},
    log::{Applied, EventLog, LogError, LogErrorKind, Pos, RangeQuery},
    text::Symbol,
    worker::{Message, Publication, StreamName, Streams},
};

use super::now;

/// Entries passed on at a time.
const PAGE: usize = 256;
/// How often a log that does not grow is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Passes committed events on.
#[derive(Clone, Debug)]
pub struct Relay<L, S> {
    log: L,
    streams: S,
    names: Vec<StreamName>,
}

impl<L: EventLog, S: Streams> Relay<L, S> {
    /// From `log` to the streams `{service}:events:{kind}`, which the topology must know.
    ///
    /// # Errors
    /// One line: the topology lacks one of them.
    pub fn new(log: L, streams: S, service: &str) -> Result<Self, String> {
        let name = |topic: &Topic| {
            let name = StreamName::new(&format!("{service}:events:{topic}"));
            let name = name.map_err(|why| why.to_string())?;
            match streams.topology().stream(&name) {
                Some(_) => Ok(name),
                None => Err(format!("there is no stream {name} in the topology")),
            }
        };
        let names = Topic::ALL.iter().map(name).collect::<Result<Vec<_>, String>>()?;
        Ok(Self { log, streams, names })
    }

    /// Passes on what is committed, and with `follow` what will be, until `stop`. Returns how many events
    /// were new to the streams.
    ///
    /// # Errors
    /// The log or the store fails; running again goes on where this ended.
    pub async fn run(&self, follow: bool, stop: &StopFlag) -> Result<u64, LogError> {
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
                let event = decode_entry(entry.bytes).map_err(|why| unreadable(entry.pos, &why))?;
                let kind = event.body.topic();
                let payload =
                    serde_json::to_vec(&event).map_err(|why| unreadable(entry.pos, &why))?;
                let mut message = Message::new(Codec::Json, payload).with_type(&kind.to_string());
                message = message.with_key(&event.header.id.to_string());
                if let Some(symbol) = symbol_of(&event.body) {
                    message = message.with("symbol", symbol.as_str());
                }
                let stream = self.names[entry.topic.index()].clone();
                messages.push((entry.pos, Publication::new(stream, message)));
            }
            count += self.streams.relay(&messages, now()).await?;
            after = last;
        }
        Ok(count)
    }

    /// Everything up to here is on the streams: a page is passed on whole, so the newest id on any of them tells.
    async fn passed_on(&self) -> Result<Pos, LogError> {
        let mut newest = Pos::ZERO;
        for name in &self.names {
            if let Some(stats) = self.streams.stream_stats(name, now()).await? {
                newest = newest.max(stats.last);
            }
        }
        Ok(newest)
    }
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

fn unreadable(at: Pos, why: &dyn std::fmt::Display) -> LogError {
    let kind = LogErrorKind::Corrupt { at: at.to_string(), why: why.to_string() };
    LogError { kind, applied: Applied::No, operation: "relay", log: "log".to_owned() }
}
