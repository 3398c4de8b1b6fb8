//! `silvertine dlq`.

use std::{
    io::{self, BufRead, Write},
    time::Duration,
};

use serde::Serialize;
use silvertine_engine::pos::Pos;
use silvertine_storage::streams::AnyStreams;
use silvertine_streams::{Alerts, DeadLetter, StoreError, StreamName, Streams};
use silvertine_worker::dlq::{
    Act, ActCounts, Actor, DeadLetters, DeadStats, Filter, ImportError, LetterLine, RedriveOptions,
    RedriveState, Redriver,
};

use super::{
    args::{Acting, AutoRedriveCommand, DlqArgs, DlqCommand, Selection, Store},
    open, say, say_json,
};
use crate::{
    commands::run::runtime,
    exit::{self, Exit, Failure},
    signals::stop_on_signals,
};

/// The most characters of a reason in a list.
const TEXT_SHOWN: usize = 60;

/// Looks after dead letters.
pub(crate) fn dlq(args: DlqArgs) -> Result<Exit, Failure> {
    match args.command {
        DlqCommand::List { selection, after, limit, json } => {
            list(&selection, after, usize::from(limit), json)
        }
        DlqCommand::Show { stream, id, store, json } => show(stream, id, &store, json),
        DlqCommand::Stats { selection, json } => stats(&selection, json),
        DlqCommand::Top { selection, limit } => top(&selection, limit),
        DlqCommand::Redrive { acting, rate, to } => act(&acting, &Act::Redrive(to), rate),
        DlqCommand::Hold { acting } => act(&acting, &Act::Hold, None),
        DlqCommand::Release { acting } => act(&acting, &Act::Release, None),
        DlqCommand::Discard { acting } => act(&acting, &Act::Discard, None),
        DlqCommand::Purge { acting } => act(&acting, &Act::Purge, None),
        DlqCommand::Export { selection } => export(&selection),
        DlqCommand::Import { stream, store, who, why, dry_run } => {
            import(stream, &store, Actor { who, why }, dry_run)
        }
        DlqCommand::AutoRedrive { command } => auto_redrive(command),
    }
}

fn letters(
    stream: &StreamName,
    store: &Store,
    actor: Actor,
) -> Result<DeadLetters<AnyStreams>, Failure> {
    let streams = open(store, true)?;
    if streams.topology().stream(stream).is_none() {
        let why = format!("there is no stream {stream} in the topology");
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(DeadLetters::new(streams, stream.clone(), actor))
}

/// Somebody who only looks.
fn onlooker() -> Actor {
    Actor { who: String::new(), why: String::new() }
}

fn filter(selection: &Selection) -> Filter {
    let Selection { ids, class, reason, code, fingerprint, group, handler, origin, .. } =
        selection.clone();
    let Selection { key, status, older_than, newer_than, .. } = selection.clone();
    Filter {
        ids: (!ids.is_empty()).then_some(ids),
        class,
        reason,
        code,
        fingerprint,
        group,
        handler,
        origin,
        key,
        status,
        older_than,
        newer_than,
        redrives_below: None,
    }
}

fn list(selection: &Selection, after: Pos, limit: usize, json: bool) -> Result<Exit, Failure> {
    let letters = letters(&selection.stream, &selection.store, onlooker())?;
    let page = runtime()?.block_on(letters.page(&filter(selection), after, limit))?;
    for (id, letter) in &page.letters {
        if json {
            say_json(&LetterLine::of(*id, letter))?;
        } else {
            say(&summary(*id, letter))?;
        }
    }
    match page.next {
        Some(next) if !json => say(&format!("more: --after {next}"))?,
        Some(next) => exit::say(format_args!("more: --after {next}")),
        None if page.letters.is_empty() && !json => say("no dead letters")?,
        None => {}
    }
    Ok(Exit::Good)
}

/// A letter on one line.
fn summary(id: Pos, letter: &DeadLetter) -> String {
    let DeadLetter { story, state, .. } = letter;
    let text: String = story.failure.text.chars().take(TEXT_SHOWN).collect();
    format!(
        "{id} {} {} {} attempts={} redrives={} group={} key={} {text}",
        state.status.as_str(),
        story.reason.as_str(),
        story.failure.code,
        story.attempts,
        story.redrives + state.redrives,
        story.group,
        story.key.escape_debug(),
    )
}

fn show(stream: StreamName, id: Pos, store: &Store, json: bool) -> Result<Exit, Failure> {
    let letters = letters(&stream, store, onlooker())?;
    let found = runtime()?.block_on(letters.letter(id))?;
    let missing = || Failure::new(Exit::InputRefused, format!("{stream}: no dead letter {id}"));
    let letter = found.ok_or_else(missing)?;
    if json {
        say_json(&LetterLine::of(id, &letter))?;
        return Ok(Exit::Good);
    }
    let DeadLetter { message, story, state } = &letter;
    let line = |name: &str, value: &dyn std::fmt::Display| say(&format!("{name:<13} {value}"));
    line("id", &id)?;
    line("status", &state.status.as_str())?;
    if !state.note.is_empty() {
        line("note", &state.note.escape_debug())?;
    }
    line("origin", &story.origin)?;
    line("published", &story.published)?;
    line("group", &story.group)?;
    line("handler", &format!("{} ({})", story.handler, story.build))?;
    line("consumer", &story.consumer)?;
    line("key", &story.key.escape_debug())?;
    line("reason", &story.reason.as_str())?;
    line("class", &story.failure.class.as_str())?;
    line("code", &story.failure.code)?;
    line("text", &story.failure.text)?;
    for cause in &story.failure.chain {
        line("  caused by", cause)?;
    }
    line("fingerprint", &format!("{:016x}", story.fingerprint))?;
    line("attempts", &story.attempts)?;
    line("deliveries", &story.deliveries)?;
    line("reclaims", &story.reclaims)?;
    line("redrives", &(story.redrives + state.redrives))?;
    line("first failed", &story.first_failed)?;
    line("last failed", &story.last_failed)?;
    for (name, value) in message.fields() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        say(&format!("  {}: {}", name.escape_debug(), value.escape_debug()))?;
    }
    Ok(Exit::Good)
}

fn stats(selection: &Selection, json: bool) -> Result<Exit, Failure> {
    let letters = letters(&selection.stream, &selection.store, onlooker())?;
    let topology = super::topology(&selection.store)?;
    let limits: Alerts =
        topology.stream(&selection.stream).map(|spec| spec.alerts.clone()).unwrap_or_default();
    let stats = runtime()?.block_on(letters.stats(&filter(selection)))?;
    let alerts = stats.alerts(&limits);
    if json {
        #[derive(Serialize)]
        struct Output<'a> {
            #[serde(flatten)]
            stats: &'a DeadStats,
            alerts: &'a [String],
        }
        say_json(&Output { stats: &stats, alerts: &alerts })?;
        return Ok(Exit::Good);
    }
    say(&format!("{:<12} {}", "total", stats.total))?;
    if let Some(oldest) = stats.oldest {
        say(&format!("{:<12} {} s", "oldest new", oldest.duration().as_secs()))?;
    }
    say(&format!("{:<12} {}", "last minute", stats.last_minute))?;
    let tables = [
        ("class", &stats.by_class),
        ("reason", &stats.by_reason),
        ("code", &stats.by_code),
        ("stream", &stats.by_stream),
        ("group", &stats.by_group),
        ("handler", &stats.by_handler),
        ("status", &stats.by_status),
        ("hour (UTC)", &stats.by_hour),
    ];
    for (title, counts) in tables {
        for (name, count) in counts {
            say(&format!("{title:<12} {count:>8}  {name}"))?;
        }
    }
    for alert in alerts {
        say(&format!("ALERT {alert}"))?;
    }
    Ok(Exit::Good)
}

fn top(selection: &Selection, limit: usize) -> Result<Exit, Failure> {
    let letters = letters(&selection.stream, &selection.store, onlooker())?;
    let stats = runtime()?.block_on(letters.stats(&filter(selection)))?;
    for (print, kind) in stats.top().into_iter().take(limit) {
        let text: String = kind.text.chars().take(TEXT_SHOWN).collect();
        say(&format!("{:>8}  {print}  {} {} {text}", kind.count, kind.handler, kind.code))?;
    }
    Ok(Exit::Good)
}

fn act(acting: &Acting, act: &Act, rate: Option<u32>) -> Result<Exit, Failure> {
    let filter = filter(&acting.selection);
    if filter == Filter::default() && !acting.all {
        let why = "say which letters: --id, a filter such as --class transient, or --all";
        return Err(Failure::new(Exit::Usage, why));
    }
    let actor = Actor { who: acting.who.clone(), why: acting.why.clone() };
    let letters = letters(&acting.selection.stream, &acting.selection.store, actor)?;
    if let Act::Redrive(Some(to)) = act
        && super::topology(&acting.selection.store)?.owner_of(to).is_none()
    {
        return Err(Failure::new(Exit::Usage, format!("there is no stream {to} in the topology")));
    }
    let limit = acting.limit.unwrap_or(u64::MAX);
    // One at a time where there is a rate, so that it is no burst every so often.
    let batch = if rate.is_some() { 1 } else { usize::MAX };
    let pause = async || {
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs(1) / rate).await;
        }
    };
    let acted = letters.act(act, &filter, limit, batch, acting.dry_run, pause);
    let done = runtime()?.block_on(acted)?;
    if let ([id], 0) = (acting.selection.ids.as_slice(), done.found) {
        let stream = &acting.selection.stream;
        return Err(Failure::new(Exit::InputRefused, format!("{stream}: no dead letter {id}")));
    }
    if acting.json {
        say_json(&done)?;
    } else {
        let would = if acting.dry_run { "would be " } else { "" };
        let ActCounts { found, changed, refused, overtaken } = done;
        say(&format!(
            "{found} found, {changed} {would}changed, {refused} refused by their status, \
             {overtaken} changed by somebody else"
        ))?;
    }
    Ok(Exit::Good)
}

/// Why an export ended early.
enum ExportError {
    Store(StoreError),
    Output(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn export(selection: &Selection) -> Result<Exit, Failure> {
    let letters = letters(&selection.stream, &selection.store, onlooker())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let write = |line: LetterLine| {
        serde_json::to_writer(&mut out, &line).map_err(|why| ExportError::Output(why.into()))?;
        out.write_all(b"\n").map_err(ExportError::Output)
    };
    let exported = runtime()?.block_on(letters.export(&filter(selection), write));
    match exported {
        Ok(_) => out.flush().map_err(|why| Failure::unwritable(&why))?,
        Err(ExportError::Store(error)) => return Err(error.into()),
        Err(ExportError::Output(why)) => return Err(Failure::unwritable(&why)),
    }
    Ok(Exit::Good)
}

fn import(stream: StreamName, store: &Store, actor: Actor, dry_run: bool) -> Result<Exit, Failure> {
    let letters = letters(&stream, store, actor)?;
    let lines = io::stdin().lock().lines();
    let count = runtime()?.block_on(letters.import(lines, dry_run)).map_err(|why| match why {
        ImportError::Store(error) => error.into(),
        other => Failure::new(Exit::InputRefused, format!("stdin: {other}")),
    })?;
    let would = if dry_run { "would be " } else { "" };
    say(&format!("{count} letters {would}imported"))?;
    Ok(Exit::Good)
}

fn auto_redrive(command: AutoRedriveCommand) -> Result<Exit, Failure> {
    let any_group = || "any".parse().map_err(|_| Failure::new(Exit::Unexpected, "a group's name"));
    match command {
        AutoRedriveCommand::Start { stream, group, store, rate, who, why } => {
            let letters = letters(&stream, &store, Actor { who, why })?;
            let spec = super::topology(&store)?;
            if spec.stream(&stream).is_none_or(|spec| spec.group(&group).is_none()) {
                let why = format!("the stream {stream} has no group {group} in the topology");
                return Err(Failure::new(Exit::Usage, why));
            }
            let options = RedriveOptions::default().with_rate(rate);
            let stop = stop_on_signals()?;
            let redriver = Redriver::new(letters, group, options);
            let ended = runtime()?.block_on(redriver.run(|| stop.is_requested()))?;
            let Some(state) = ended else {
                let why = format!(
                    "the dead letters of {stream} are being redriven already; see dlq auto-redrive status"
                );
                return Err(Failure::new(Exit::InputRefused, why));
            };
            say_state(&state)?;
            Ok(if stop.is_requested() { Exit::Stopped } else { Exit::Good })
        }
        AutoRedriveCommand::Status { stream, store } => {
            let letters = letters(&stream, &store, onlooker())?;
            let redriver = Redriver::new(letters, any_group()?, RedriveOptions::default());
            match runtime()?.block_on(redriver.state())? {
                Some(state) => say_state(&state)?,
                None => say(&format!("there was no automatic redrive on {stream} yet"))?,
            }
            Ok(Exit::Good)
        }
        AutoRedriveCommand::Cancel { stream, store, who, why } => {
            let letters = letters(&stream, &store, Actor { who, why })?;
            let redriver = Redriver::new(letters, any_group()?, RedriveOptions::default());
            let cancelled = runtime()?.block_on(redriver.cancel())?;
            say(if cancelled { "the redrive was asked to stop" } else { "no redrive is running" })?;
            Ok(Exit::Good)
        }
    }
}

fn say_state(state: &RedriveState) -> Result<(), Failure> {
    let RedriveState { who, began, sent, done, failed, held, end, .. } = state;
    let how = match end {
        Some(end) => serde_json::to_value(end)
            .ok()
            .and_then(|end| end.as_str().map(|end| format!("ended: {}", end.replace('_', " "))))
            .unwrap_or_default(),
        None if state.cancelled => "stopping".to_owned(),
        None => "running".to_owned(),
    };
    say(&format!(
        "{how}; by {who} since {began}; {sent} sent back, {done} done, {failed} dead again, {held} held"
    ))
}
