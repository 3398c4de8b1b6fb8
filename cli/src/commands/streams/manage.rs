//! `silvertine streams`.

use std::io::{self, BufRead, Write};

use silvertine_engine::pos::Pos;
use silvertine_storage::streams::AnyStreams;
use silvertine_streams::{Message, Publication, StreamName, Streams, message};
use silvertine_worker::{REFERENCE_TOPOLOGY, now};

use super::{
    args::{StreamsArgs, StreamsCommand},
    open, say, say_json,
};
use crate::{
    commands::run::runtime,
    exit::{Exit, Failure},
};

/// Looks after streams.
pub(crate) fn streams(args: StreamsArgs) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    match args.command {
        StreamsCommand::Init { store } => {
            let streams = open(&store, false)?;
            runtime.block_on(streams.declare(now()))?;
            let topology = streams.topology();
            let groups: usize = topology.streams.iter().map(|stream| stream.groups.len()).sum();
            say(&format!("{} streams with {groups} groups are there", topology.streams.len()))?;
        }
        StreamsCommand::List { store, json } => {
            let streams = open(&store, true)?;
            runtime.block_on(list(&streams, json))?;
        }
        StreamsCommand::Publish { store, stream, field, key, batch } => {
            let streams = open(&store, true)?;
            let template = template(&field)?;
            if key.is_some() && template.field(message::KEY).is_some() {
                let why = "--key and --field key=… both name the messages; leave one out";
                return Err(Failure::new(Exit::Usage, why));
            }
            let batch = usize::from(batch);
            let publish = publish(&streams, &stream, &template, key.as_deref(), batch);
            let count = runtime.block_on(publish)?;
            say(&format!("{count} messages published to {stream}"))?;
        }
        StreamsCommand::Read { store, stream, after, limit } => {
            let streams = open(&store, true)?;
            known(&streams, &stream)?;
            let messages = runtime.block_on(streams.read(&stream, after, limit))?;
            for (id, message) in messages {
                say(&line_of(id, &message))?;
            }
        }
        StreamsCommand::Topology => {
            io::stdout()
                .write_all(REFERENCE_TOPOLOGY.as_bytes())
                .map_err(|why| Failure::unwritable(&why))?;
        }
    }
    Ok(Exit::Good)
}

async fn list(streams: &AnyStreams, json: bool) -> Result<(), Failure> {
    let mut titled = json;
    for spec in &streams.topology().streams {
        for name in spec.keys() {
            let Some(stats) = streams.stream_stats(&name, now()).await? else { continue };
            // Not before there is an answer, or an error would stand under a title.
            if !std::mem::replace(&mut titled, true) {
                say_titles()?;
            }
            if json {
                say_json(&serde_json::json!({ "stream": name, "stats": stats }))?;
                continue;
            }
            // Redriven letters are of interest only while there are any.
            if name != spec.name && stats.added == 0 {
                continue;
            }
            let full = spec.max_len.is_some_and(|max| stats.length > max + max / 10);
            let note = match (full, stats.cut) {
                (true, _) => "  over its maximum: a group lags behind".to_owned(),
                (false, 0) => String::new(),
                (false, cut) => format!("  {cut} unhandled messages were cut off"),
            };
            let dead = stats.dead;
            let (length, added) = (stats.length, stats.added);
            say(&format!(
                "{name:<44} {length:>9} {added:>9} {:>9} {:>7} {:>7} {:>7} {:>9} {:>7} {dead:>7}{note}",
                "", "", "", "", "", ""
            ))?;
            for group in stats.groups {
                let oldest = group.oldest.map(|span| format!("{}s", span.duration().as_secs()));
                say(&format!(
                    "  {:<42} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9} {:>7} {:>7}  {}",
                    group.group,
                    "",
                    "",
                    group.waiting,
                    group.held,
                    group.retrying,
                    group.blocked,
                    group.done,
                    group.duplicates,
                    group.dead,
                    oldest.unwrap_or_default()
                ))?;
            }
        }
    }
    Ok(())
}

fn say_titles() -> Result<(), Failure> {
    say(&format!(
        "{:<44} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9} {:>7} {:>7}  OLDEST",
        "STREAM / group",
        "LENGTH",
        "ADDED",
        "WAITING",
        "HELD",
        "RETRY",
        "BLOCKED",
        "DONE",
        "TWICE",
        "DEAD"
    ))
}

/// A message with the headers of the command line.
fn template(fields: &[String]) -> Result<Message, Failure> {
    fields.iter().try_fold(Message::default(), |message, field| match field.split_once('=') {
        Some((message::PAYLOAD, _)) => {
            let why = "--field data=…: the payload comes from stdin";
            Err(Failure::new(Exit::Usage, why))
        }
        Some((name, value)) if !name.is_empty() => Ok(message.with(name, value)),
        _ => Err(Failure::new(Exit::Usage, format!("--field {field:?} is not NAME=VALUE"))),
    })
}

/// Refuses a stream that the topology does not have.
fn known(streams: &AnyStreams, stream: &StreamName) -> Result<(), Failure> {
    match streams.topology().owner_of(stream) {
        Some(_) => Ok(()),
        None => {
            let why = format!("there is no stream {stream} in the topology");
            Err(Failure::new(Exit::Usage, why))
        }
    }
}

async fn publish(
    streams: &AnyStreams,
    stream: &StreamName,
    template: &Message,
    key: Option<&str>,
    batch: usize,
) -> Result<u64, Failure> {
    known(streams, stream)?;
    let mut count = 0;
    let published = publish_lines(streams, stream, template, key, batch, &mut count).await;
    published.map_err(|Failure { exit, message }| match count {
        0 => Failure { exit, message },
        _ => Failure::new(exit, format!("{message}; lines published before it: {count}")),
    })?;
    if count == 0 {
        return Err(Failure::new(Exit::EmptyInput, "stdin: no lines, nothing was published"));
    }
    Ok(count)
}

async fn publish_lines(
    streams: &AnyStreams,
    stream: &StreamName,
    template: &Message,
    key: Option<&str>,
    batch: usize,
    count: &mut u64,
) -> Result<(), Failure> {
    let mut pending = Vec::with_capacity(batch);
    for (number, line) in (1_u64..).zip(io::stdin().lock().split(b'\n')) {
        let line =
            line.map_err(|why| Failure::new(Exit::InputRefused, format!("stdin:{number}: {why}")))?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let mut message = template.clone().with(message::PAYLOAD, line);
        if let Some(prefix) = key {
            message = message.with_key(&format!("{prefix}{number}"));
        }
        message
            .check()
            .map_err(|why| Failure::new(Exit::InputRefused, format!("stdin:{number}: {why}")))?;
        pending.push(Publication::new(stream.clone(), message));
        if pending.len() == batch {
            streams.publish(&pending, now()).await?;
            *count += pending.len() as u64;
            pending.clear();
        }
    }
    if !pending.is_empty() {
        streams.publish(&pending, now()).await?;
        *count += pending.len() as u64;
    }
    Ok(())
}

/// A message on one line: id, headers, payload.
fn line_of(id: Pos, message: &Message) -> String {
    let mut line = id.to_string();
    for (name, value) in message.fields() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        line.push_str(&format!(" {}={}", name.escape_debug(), value.escape_debug()));
    }
    line
}
