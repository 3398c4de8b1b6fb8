//! `silvertine diff`: the first position at which two logs differ, with both entries.

use silvertine_engine::{
    codec::decode_entry,
    log::{Batch, EntryRef, EventLog, LogError, RangeQuery},
    pos::Pos,
};
use silvertine_storage::AnyLog;

use crate::{
    args::DiffArgs,
    commands::{run::runtime, verify::open_existing},
    exit::{Exit, Failure, say},
};

/// Compares two logs.
pub(crate) fn diff(args: DiffArgs) -> Result<Exit, Failure> {
    let (a, b) = (open_existing(&args.a)?, open_existing(&args.b)?);
    runtime()?.block_on(async {
        // What one of them has trimmed cannot be compared.
        let mut from = Pos::ZERO;
        for (log, address) in [(&a, &args.a), (&b, &args.b)] {
            let head = log.head().await?;
            let head = head.ok_or_else(|| {
                Failure::new(Exit::LogUnavailable, format!("{address}: there is no log"))
            })?;
            from = from.max(head.trimmed);
        }
        if from != Pos::ZERO {
            say(format_args!("entries up to {from} are trimmed and not compared"));
        }
        let (mut left, mut right) = (Cursor::new(a, from), Cursor::new(b, from));
        let mut compared = 0_u64;
        loop {
            match (left.next().await?, right.next().await?) {
                (None, None) => {
                    println!("equal: {compared} entries");
                    return Ok(Exit::Good);
                }
                (Some(entry_a), Some(entry_b)) if entry_a.bytes == entry_b.bytes => compared += 1,
                (entry_a, entry_b) => {
                    let pos = entry_a.or(entry_b).map_or(from, |entry| entry.pos);
                    println!("differ at {pos} after {compared} equal entries");
                    println!("--- {}\n{}", args.a, describe(entry_a));
                    println!("+++ {}\n{}", args.b, describe(entry_b));
                    return Ok(Exit::Diverged);
                }
            }
        }
    })
}

fn describe(entry: Option<EntryRef<'_>>) -> String {
    match entry.map(|entry| decode_entry(entry.bytes)) {
        None => "(the log ends here)".to_owned(),
        Some(Err(why)) => format!("(does not decode: {why})"),
        Some(Ok(event)) => serde_json::to_string_pretty(&event).unwrap_or_default(),
    }
}

/// Walks a log entry by entry, reading it page by page.
struct Cursor {
    log: AnyLog,
    page: Batch,
    at: usize,
    next: Option<Pos>,
}

impl Cursor {
    fn new(log: AnyLog, from: Pos) -> Self {
        Self { log, page: Batch::default(), at: 0, next: Some(from) }
    }

    async fn next(&mut self) -> Result<Option<EntryRef<'_>>, LogError> {
        while self.at == self.page.len() {
            let Some(after) = self.next else { return Ok(None) };
            let page = self.log.range(RangeQuery::all_after(after)).await?;
            (self.page, self.at, self.next) = (page.entries, 0, page.next);
        }
        self.at += 1;
        Ok(Some(self.page.get(self.at - 1)))
    }
}
