//! Topics: the five kinds of events by name, and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the five kinds of events; each has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Topic {
    /// Quotes, trades, bars.
    MarketData = 0,
    /// Strategies' opinions.
    Signal = 1,
    /// Orders and every status of their life.
    Order = 2,
    /// Executions.
    Fill = 3,
    /// Timers, failures, circuits, refusals, operators.
    System = 4,
}

impl Topic {
    /// Every topic, in wire order.
    pub const ALL: [Self; 5] =
        [Self::MarketData, Self::Signal, Self::Order, Self::Fill, Self::System];

    /// The topic with this wire code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The position in [`Topic::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in keys, metrics and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MarketData => "market_data",
            Self::Signal => "signal",
            Self::Order => "order",
            Self::Fill => "fill",
            Self::System => "system",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSet(u8);

impl TopicSet {
    /// No topic.
    pub const EMPTY: Self = Self(0);
    /// Every topic.
    pub const ALL: Self = Self(0b1_1111);

    /// The set of these topics.
    #[must_use]
    pub fn of(topics: &[Topic]) -> Self {
        Self(topics.iter().fold(0, |bits, &topic| bits | 1 << topic as u8))
    }

    /// Whether `topic` is in the set.
    #[must_use]
    pub const fn contains(self, topic: Topic) -> bool {
        self.0 & 1 << topic as u8 != 0
    }

    /// The topics of the set, in wire order.
    pub fn iter(self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(move |&topic| self.contains(topic))
    }
}
