//! Counting dead letters.

use std::collections::BTreeMap;

use serde::Serialize;
use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Alerts, DeadLetter, Status, StoreError, Streams};

use super::{DeadLetters, Filter, PAGE, age_ns};
use crate::clock::now;

/// The most kinds of failure that are counted apart; further ones are counted together.
const KINDS_MAX: usize = 1000;

/// What is on the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadStats {
    /// Letters.
    pub total: u64,
    /// How long the oldest that nobody has looked at has waited.
    pub oldest: Option<Span>,
    /// How many came within the last minute.
    pub last_minute: u64,
    /// By class of failure.
    pub by_class: BTreeMap<String, u64>,
    /// By reason.
    pub by_reason: BTreeMap<String, u64>,
    /// By code.
    pub by_code: BTreeMap<String, u64>,
    /// By the stream they were published to.
    pub by_stream: BTreeMap<String, u64>,
    /// By the group that gave them up.
    pub by_group: BTreeMap<String, u64>,
    /// By handler.
    pub by_handler: BTreeMap<String, u64>,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By the hour in which they came, in UTC: `2026-11-21T14`.
    pub by_hour: BTreeMap<String, u64>,
    /// By fingerprint: failures of the same kind.
    pub by_fingerprint: BTreeMap<String, FailureKind>,
}

/// Failures of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailureKind {
    /// How many.
    pub count: u64,
    /// What the first of them said.
    pub text: String,
    /// Its code.
    pub code: String,
    /// The handler.
    pub handler: String,
}

impl DeadStats {
    fn add(&mut self, id: Pos, letter: &DeadLetter, time: Nanos) {
        let DeadLetter { story, state, .. } = letter;
        let count = |counts: &mut BTreeMap<String, u64>, name: &str| {
            let full = counts.len() >= KINDS_MAX && !counts.contains_key(name);
            *counts.entry(if full { "(others)" } else { name }.to_owned()).or_default() += 1;
        };
        self.total += 1;
        let age = Span::from_nanos(age_ns(id, time));
        if state.status == Status::New {
            self.oldest = self.oldest.max(Some(age));
        }
        self.last_minute += u64::from(age <= Span::from_secs(60));
        count(&mut self.by_class, story.failure.class.as_str());
        count(&mut self.by_reason, story.reason.as_str());
        count(&mut self.by_code, &story.failure.code);
        count(&mut self.by_stream, story.origin.stream.as_str());
        count(&mut self.by_group, story.group.as_str());
        count(&mut self.by_handler, &story.handler);
        count(&mut self.by_status, state.status.as_str());
        let hour = Nanos::from_ms(id.ms).unwrap_or_default().to_string();
        count(&mut self.by_hour, hour.get(..13).unwrap_or_default());
        let print = format!("{:016x}", story.fingerprint);
        let full =
            self.by_fingerprint.len() >= KINDS_MAX && !self.by_fingerprint.contains_key(&print);
        let print = if full { "(others)".to_owned() } else { print };
        let kind = self.by_fingerprint.entry(print).or_insert_with(|| FailureKind {
            count: 0,
            text: story.failure.text.clone(),
            code: story.failure.code.clone(),
            handler: story.handler.clone(),
        });
        kind.count += 1;
    }

    /// The kinds of failure, most frequent first.
    #[must_use]
    pub fn top(&self) -> Vec<(&str, &FailureKind)> {
        let mut kinds: Vec<(&str, &FailureKind)> =
            self.by_fingerprint.iter().map(|(print, kind)| (print.as_str(), kind)).collect();
        kinds.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        kinds
    }

    /// The limits that are passed, each as a line for people.
    #[must_use]
    pub fn alerts(&self, limits: &Alerts) -> Vec<String> {
        let mut alerts = Vec::new();
        if let Some(depth) = limits.depth.filter(|&depth| self.total > depth) {
            alerts.push(format!("{} dead letters, more than {depth}", self.total));
        }
        if let Some(growth) = limits.growth_per_minute.filter(|&most| self.last_minute > most) {
            let found = self.last_minute;
            alerts.push(format!("{found} dead letters within a minute, more than {growth}"));
        }
        if let (Some(limit), Some(oldest)) = (limits.age, self.oldest)
            && oldest > limit
        {
            let oldest = oldest.duration().as_secs();
            alerts.push(format!("a dead letter has waited for {oldest} s, longer than {limit}"));
        }
        alerts
    }
}

impl<S: Streams> DeadLetters<S> {
    /// Counts the letters that pass `filter`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn stats(&self, filter: &Filter) -> Result<DeadStats, StoreError> {
        let time = now();
        let mut stats = DeadStats::default();
        let mut after = Pos::ZERO;
        loop {
            let page = self.streams.dead_letters(&self.stream, after, 4 * PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(stats) };
            after = *last;
            for (id, letter) in page.iter().filter(|(id, one)| filter.passes(*id, one, time)) {
                stats.add(*id, letter, time);
            }
        }
    }
}
