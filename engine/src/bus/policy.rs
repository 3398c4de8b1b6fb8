//! The policy that decides what follows when a handler fails, by topic.

use serde::{Deserialize, Serialize};

use crate::event::{Topic, TopicSet};

/// What follows when a handler fails on an event: it returns an error, panics, or emits more events than the cascade limit.
///
/// In each case what it emitted for the event is discarded, and the failure is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum OnFailure {
    /// The handler skips the event; the record of the failure is the dead letter. The handler's circuit counts it.
    DeadLetter,
    /// The engine halts: nothing more is handled until an operator continues after the event. See [`halt`](crate::halt).
    Halt,
    /// The event and the later events of its instrument are parked for this handler until an operator releases them;
    /// everything else continues. See [`park`](crate::park).
    ParkKey,
}

/// A text that names no [`OnFailure`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no failure policy; choose halt, park-key or dead-letter")]
pub struct UnknownPolicy(String);

impl TryFrom<String> for OnFailure {
    type Error = UnknownPolicy;

    fn try_from(text: String) -> Result<Self, UnknownPolicy> {
        match text.as_str() {
            "dead-letter" => Ok(Self::DeadLetter),
            "halt" => Ok(Self::Halt),
            "park-key" => Ok(Self::ParkKey),
            _ => Err(UnknownPolicy(text)),
        }
    }
}

/// What follows when a handler fails, by the topic of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailurePolicy {
    /// On quotes, trades, bars.
    pub market_data: OnFailure,
    /// On signals.
    pub signal: OnFailure,
    /// On orders, at any point of their life.
    pub order: OnFailure,
    /// On fills.
    pub fill: OnFailure,
    /// On timers, outcomes, refusals and operators' actions.
    pub system: OnFailure,
}

impl Default for FailurePolicy {
    /// Failures on orders and fills halt; the others skip the event. The next quote replaces a missed one, but a missed order
    /// or fill leaves positions wrong for good.
    fn default() -> Self {
        Self { order: OnFailure::Halt, fill: OnFailure::Halt, ..Self::DEAD_LETTER }
    }
}

impl FailurePolicy {
    /// No failure halts.
    pub const DEAD_LETTER: Self = Self {
        market_data: OnFailure::DeadLetter,
        signal: OnFailure::DeadLetter,
        order: OnFailure::DeadLetter,
        fill: OnFailure::DeadLetter,
        system: OnFailure::DeadLetter,
    };

    /// What follows a failure on an event of `topic`.
    #[must_use]
    pub const fn of(&self, topic: Topic) -> OnFailure {
        match topic {
            Topic::MarketData => self.market_data,
            Topic::Signal => self.signal,
            Topic::Order => self.order,
            Topic::Fill => self.fill,
            Topic::System => self.system,
        }
    }

    /// The topics on whose events a failure halts.
    #[must_use]
    pub fn halting(&self) -> TopicSet {
        self.answering(OnFailure::Halt)
    }

    /// The topics whose events are parked behind a failure.
    #[must_use]
    pub fn parking(&self) -> TopicSet {
        self.answering(OnFailure::ParkKey)
    }

    fn answering(&self, answer: OnFailure) -> TopicSet {
        let answers = |topic: &Topic| self.of(*topic) == answer;
        TopicSet::of(&Topic::ALL.into_iter().filter(answers).collect::<Vec<_>>())
    }
}
