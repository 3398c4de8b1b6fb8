//! What follows when a handler fails, topic by topic.

use serde::{Deserialize, Serialize};

use crate::event::{Topic, TopicSet};

/// What follows when a handler fails on an event: returns an error, panics or emits without end.
///
/// In any case what it emitted for the event is discarded and the failure is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum OnFailure {
    /// The event is given up for this handler; the record of it is its dead letter. Its circuit counts the failure.
    DeadLetter,
    /// The engine stands still: nothing more is handled until an operator lets it go on behind the event.
    Halt,
    /// The event, and behind it the later ones of its instrument, are kept for this handler until an operator releases
    /// them; everything else goes on. See [`park`](crate::park).
    ParkKey,
}

impl TryFrom<String> for OnFailure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "dead-letter" => Ok(Self::DeadLetter),
            "halt" => Ok(Self::Halt),
            "park-key" => Ok(Self::ParkKey),
            _ => {
                let why = "it is halt, park-key or dead-letter";
                Err(format!("{text:?} is no answer to a failure; {why}"))
            }
        }
    }
}

/// What follows when a handler fails, for each topic of the event that it fails on.
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
    /// A missed quote is followed by the next one; a missed order or fill leaves positions wrong for good.
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
