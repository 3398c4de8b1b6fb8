//! Which streams and groups there are, and how each is kept.

mod check;
mod group;
mod keys;

use serde::{Deserialize, Serialize};

use super::{GroupName, RetryPolicy, Route, StreamName};
use silvertine_engine::{codec::Codec, span::Span};

pub use self::{
    check::TopologyError,
    group::{CircuitSpec, GroupSpec, Start},
};

/// All named streams, as a configuration file describes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Topology {
    /// Which names streams may have.
    pub naming: Naming,
    /// The streams.
    #[serde(rename = "stream")]
    pub streams: Vec<StreamSpec>,
    /// What is passed on from one stream to another.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
}

/// Which names streams may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// `{service}:{direction}:{purpose}`, see [`StreamName::is_conventional`].
    #[default]
    Convention,
    /// Any name.
    Any,
}

/// One stream: how long it is, what is kept, and who consumes it. [`new`](Self::new) gives the defaults; every field
/// may then be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamSpec {
    /// Its name, which is its key on Redis.
    pub name: StreamName,
    /// How many messages it keeps; all when absent.
    #[serde(default)]
    pub max_len: Option<u64>,
    /// How exactly.
    #[serde(default)]
    pub trim: Trim,
    /// What happens when it is full of messages that some group has not handled.
    #[serde(default)]
    pub when_full: WhenFull,
    /// Messages older than this go, once every group has handled them.
    #[serde(default)]
    pub retention: Option<Span>,
    /// How payloads are written whose message does not say so.
    #[serde(default = "json")]
    pub codec: Codec,
    /// Urgent lanes, most urgent first: streams `{name}:lane` (with the braces) that are taken before this one.
    #[serde(default)]
    pub lanes: Vec<String>,
    /// When failed messages are tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// How long dead letters are kept; for ever when absent.
    #[serde(default)]
    pub dead_retention: Option<Span>,
    /// When somebody should look at its dead letters.
    #[serde(default)]
    pub alerts: Alerts,
    /// Who consumes it.
    #[serde(default, rename = "group")]
    pub groups: Vec<GroupSpec>,
}

const fn json() -> Codec {
    Codec::Json
}

/// How exactly a maximum length is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trim {
    /// Never more than the maximum.
    #[default]
    Exact,
    /// Some more for a while, where that is cheaper for the store.
    Approximate,
}

/// What happens when a stream is full of messages that some group has not handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It grows past its maximum, and its statistics say so. Nothing is lost.
    #[default]
    Grow,
    /// Publishing is refused until a group has caught up: back-pressure. Nothing is lost.
    Refuse,
    /// The oldest messages go, handled or not, and are counted as cut.
    Cut,
}

/// When somebody should look at a stream's dead letters; never where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Alerts {
    /// More dead letters than this.
    pub depth: Option<u64>,
    /// More new dead letters within the last minute than this.
    pub growth_per_minute: Option<u64>,
    /// A dead letter that has waited longer than this.
    pub age: Option<Span>,
}

impl Topology {
    /// These streams, with conventional names and without routes.
    #[must_use]
    pub const fn new(streams: Vec<StreamSpec>) -> Self {
        Self { naming: Naming::Convention, streams, routes: Vec::new() }
    }

    /// The same topology where streams may have any name.
    #[must_use]
    pub const fn with_any_names(mut self) -> Self {
        self.naming = Naming::Any;
        self
    }

    /// The same topology with this route behind the others.
    #[must_use]
    pub fn with_route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// The stream of this name.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<&StreamSpec> {
        self.streams.iter().find(|stream| stream.name == *name)
    }
}

impl StreamSpec {
    /// A stream of this name with the defaults and no groups.
    #[must_use]
    pub fn new(name: StreamName) -> Self {
        Self {
            name,
            max_len: None,
            trim: Trim::default(),
            when_full: WhenFull::default(),
            retention: None,
            codec: json(),
            lanes: Vec::new(),
            retry: RetryPolicy::default(),
            dead_retention: None,
            alerts: Alerts::default(),
            groups: Vec::new(),
        }
    }

    /// The same stream with this group.
    #[must_use]
    pub fn with_group(mut self, group: GroupSpec) -> Self {
        self.groups.push(group);
        self
    }

    /// The group of this name.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&GroupSpec> {
        self.groups.iter().find(|group| group.name == *name)
    }
}
