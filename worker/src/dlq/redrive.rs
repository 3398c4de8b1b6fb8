//! Automatic redriving: sending transient failures back once what they failed on works again.
//!
//! One redrive of a stream runs at a time, at a limited rate, and it stops itself when what it sends back fails again.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};
use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{Class, DeadLetter, GroupName, Status, StoreError, Streams};

use super::{Act, DeadLetters, Filter};
use crate::clock::now;

/// The record that says who redrives. Its name is part of what stores hold, so it stays.
const RECORD: &str = "drain";
/// A redrive that has not written its record for so long is over: its process has died.
const LEASE: Duration = Duration::from_secs(30);
/// Letters that may be on their way back at a time.
const OUTSTANDING_MAX: u64 = 20;
/// Outcomes that decide whether it goes on.
const OUTCOMES: u64 = 20;

/// How fast an automatic redrive is, and when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedriveOptions {
    /// Letters per second.
    pub rate_per_second: u32,
    /// It stops when more than so many of the last 20 outcomes were failures, in per cent.
    pub failure_percent_max: u32,
    /// A letter that was redriven so often is held instead.
    pub redrives_max: u32,
}

impl RedriveOptions {
    /// The same with this rate, in letters per second.
    #[must_use]
    pub const fn with_rate(mut self, rate_per_second: u32) -> Self {
        self.rate_per_second = rate_per_second;
        self
    }
}

impl Default for RedriveOptions {
    fn default() -> Self {
        Self { rate_per_second: 10, failure_percent_max: 20, redrives_max: 3 }
    }
}

/// How an automatic redrive stands, or how the last one ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveState {
    /// Who redrives.
    pub who: String,
    /// Tells one redrive from another.
    pub run: u64,
    /// When it began.
    pub began: Nanos,
    /// When it last wrote its record.
    pub seen: Nanos,
    /// Letters sent back.
    pub sent: u64,
    /// Of those, done.
    pub done: u64,
    /// Of those, dead again.
    pub failed: u64,
    /// Letters held because they had been redriven too often.
    pub held: u64,
    /// Somebody asked it to stop.
    pub cancelled: bool,
    /// How it ended; `None` while it runs.
    pub end: Option<RedriveEnd>,
}

/// How an automatic redrive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveEnd {
    /// Nothing is left to send back.
    Empty,
    /// Too much of what it sent back failed again.
    Failing,
    /// Somebody cancelled it.
    Cancelled,
    /// Its process was asked to stop.
    Stopped,
    /// Another one took over, because this one had been silent for too long.
    TakenOver,
}

/// Redrives the transient failures of one group, until nothing is left or too much fails again.
#[derive(Clone, Debug)]
pub struct Redriver<S> {
    letters: DeadLetters<S>,
    group: GroupName,
    options: RedriveOptions,
}

impl<S: Streams> Redriver<S> {
    /// Redrives what `group` gave up.
    pub const fn new(letters: DeadLetters<S>, group: GroupName, options: RedriveOptions) -> Self {
        Self { letters, group, options }
    }

    /// How the redrive stands, or how the last one ended; `None` where there never was one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn state(&self) -> Result<Option<RedriveState>, StoreError> {
        Ok(self.record().await?.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// Asks a running redrive to stop. Returns whether there was one.
    ///
    /// # Errors
    /// The store fails.
    pub async fn cancel(&self) -> Result<bool, StoreError> {
        loop {
            let record = self.record().await?;
            let Some(mut state) = parse(record.as_deref()) else { return Ok(false) };
            if state.end.is_some() {
                return Ok(false);
            }
            state.cancelled = true;
            if self.swap(record.as_deref(), &state).await? {
                let audit = self.letters.audit("auto-redrive cancel", &state);
                self.letters.streams.publish(&audit, now()).await?;
                return Ok(true);
            }
        }
    }

    /// Redrives until nothing is left, too much fails, or somebody says stop. `None` when another redrive of
    /// this stream is running.
    ///
    /// # Errors
    /// The store fails; another redrive can go on once this one has been silent for half a minute.
    pub async fn run(&self, stop: impl Fn() -> bool) -> Result<Option<RedriveState>, StoreError> {
        let Some(mut state) = self.begin().await? else { return Ok(None) };
        let (done_before, dead_before) = self.outcomes().await?;
        let mut outcomes = VecDeque::from([(0_u64, 0_u64)]);
        let mut after = Pos::ZERO;
        let pause = Duration::from_secs(1) / self.options.rate_per_second.max(1);
        let end = loop {
            let (done, dead) = self.outcomes().await?;
            (state.done, state.failed) = (done - done_before, dead - dead_before);
            outcomes.push_back((state.done, state.failed));
            if self.is_failing(&mut outcomes) {
                break RedriveEnd::Failing;
            }
            if stop() {
                break RedriveEnd::Stopped;
            }
            match self.beat(&mut state).await? {
                Beat::GoOn => {}
                Beat::Cancelled => break RedriveEnd::Cancelled,
                Beat::TakenOver => {
                    state.end = Some(RedriveEnd::TakenOver);
                    return Ok(Some(state));
                }
            }
            let outstanding = state.sent - (state.done + state.failed).min(state.sent);
            if outstanding < OUTSTANDING_MAX {
                match self.next(after, state.began).await? {
                    Some((id, letter)) => {
                        after = id;
                        self.send_or_hold(id, &letter, &mut state).await?;
                    }
                    None if outstanding == 0 => break RedriveEnd::Empty,
                    None => {}
                }
            }
            tokio::time::sleep(pause).await;
        };
        state.end = Some(end);
        let record = self.record().await?;
        if parse(record.as_deref()).is_some_and(|found| found.run == state.run) {
            self.swap(record.as_deref(), &state).await?;
        }
        let audit = self.letters.audit("auto-redrive end", &state);
        self.letters.streams.publish(&audit, now()).await?;
        Ok(Some(state))
    }

    /// Takes the record, unless somebody redrives.
    async fn begin(&self) -> Result<Option<RedriveState>, StoreError> {
        let time = now();
        let record = self.record().await?;
        let last = parse(record.as_deref());
        let alive = |last: &RedriveState| last.end.is_none() && time.since(last.seen) < LEASE;
        if last.as_ref().is_some_and(alive) {
            return Ok(None);
        }
        let state = RedriveState {
            who: self.letters.actor.who.clone(),
            run: last.map_or(1, |last| last.run + 1),
            began: time,
            seen: time,
            sent: 0,
            done: 0,
            failed: 0,
            held: 0,
            cancelled: false,
            end: None,
        };
        if !self.swap(record.as_deref(), &state).await? {
            return Ok(None);
        }
        let audit = self.letters.audit("auto-redrive start", &state);
        self.letters.streams.publish(&audit, time).await?;
        Ok(Some(state))
    }

    /// Writes that it is alive, and reads whether somebody wants it to stop.
    async fn beat(&self, state: &mut RedriveState) -> Result<Beat, StoreError> {
        let record = self.record().await?;
        match parse(record.as_deref()) {
            Some(found) if found.run == state.run => {
                if found.cancelled {
                    state.cancelled = true;
                    return Ok(Beat::Cancelled);
                }
            }
            _ => return Ok(Beat::TakenOver),
        }
        state.seen = now();
        // When the record has just changed, somebody cancelled: seen at the next beat.
        self.swap(record.as_deref(), state).await?;
        Ok(Beat::GoOn)
    }

    /// The next letter to send back, among those that were there when the redrive began.
    async fn next(
        &self,
        after: Pos,
        began: Nanos,
    ) -> Result<Option<(Pos, DeadLetter)>, StoreError> {
        let filter = Filter {
            class: Some(Class::Transient),
            status: Some(Status::New),
            group: Some(self.group.clone()),
            ..Filter::default()
        };
        let page = self.letters.page(&filter, after, 1).await?;
        Ok(page.letters.into_iter().next().filter(|(id, _)| id.ms <= began.as_ms()))
    }

    async fn send_or_hold(
        &self,
        id: Pos,
        letter: &DeadLetter,
        state: &mut RedriveState,
    ) -> Result<(), StoreError> {
        let spent = letter.story.redrives + letter.state.redrives >= self.options.redrives_max;
        let act = if spent { Act::Hold } else { Act::Redrive(None) };
        let changed = self.letters.change(&act, &[&(id, letter.clone())]).await?;
        if spent {
            state.held += changed;
        } else {
            state.sent += changed;
        }
        Ok(())
    }

    /// How many redriven letters of the group were done, and how many died again, ever.
    async fn outcomes(&self) -> Result<(u64, u64), StoreError> {
        let redrives = self.letters.stream.redrives(&self.group);
        let stats = self.letters.streams.stream_stats(&redrives, now()).await?;
        let group = stats.and_then(|stats| stats.groups.into_iter().next());
        Ok(group.map_or((0, 0), |group| (group.done + group.duplicates, group.dead)))
    }

    /// Whether too many of the last outcomes were failures.
    fn is_failing(&self, outcomes: &mut VecDeque<(u64, u64)>) -> bool {
        let &(done, failed) = outcomes.back().expect("one was just added");
        // The newest sample that lies at least 20 outcomes back is the beginning of the window.
        while outcomes.len() > 1 && done + failed - (outcomes[1].0 + outcomes[1].1) >= OUTCOMES {
            outcomes.pop_front();
        }
        let (done_then, failed_then) = outcomes[0];
        let all = done + failed - (done_then + failed_then);
        let failures = failed - failed_then;
        // A few failures are too few to tell, unless nothing else comes.
        let enough = all >= OUTCOMES || (all >= 5 && failures == all);
        enough && failures * 100 > all * u64::from(self.options.failure_percent_max)
    }

    async fn record(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.letters.streams.record(&self.letters.stream, RECORD).await
    }

    async fn swap(
        &self,
        expected: Option<&[u8]>,
        state: &RedriveState,
    ) -> Result<bool, StoreError> {
        let bytes = serde_json::to_vec(state).expect("a state has no map of other keys");
        let (streams, stream) = (&self.letters.streams, &self.letters.stream);
        streams.swap_record(stream, RECORD, expected, Some(&bytes)).await
    }
}

enum Beat {
    GoOn,
    Cancelled,
    TakenOver,
}

fn parse(record: Option<&[u8]>) -> Option<RedriveState> {
    record.and_then(|record| serde_json::from_slice(record).ok())
}
