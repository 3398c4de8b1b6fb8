//! Which streams and groups there are, and how each is kept.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{GroupName, RetryPolicy, Route, StreamName};
use silvertine_engine::{circuit::CircuitConfig, codec::Codec, span::Span};

/// The most messages that a member may work on at a time: more would not fit into one answer of a store.
const IN_FLIGHT_MAX: usize = 10_000;

/// All named streams, as a configuration file describes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// One consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Its name.
    pub name: GroupName,
    /// Where it begins when it is created.
    #[serde(default)]
    pub start: Start,
    /// How long a handler may take; past it, the attempt has failed.
    #[serde(default = "thirty_seconds")]
    pub handler_timeout: Span,
    /// A member that has shown no sign of life for so long has died; others take over what it held.
    #[serde(default = "thirty_seconds")]
    pub reclaim_after: Span,
    /// The most messages that one member works on or has waiting. As many again may wait to be settled.
    #[serde(default = "default_in_flight")]
    pub in_flight: usize,
    /// For how long a message that was handled is recognised when it comes again.
    #[serde(default = "ten_minutes")]
    pub idempotency_window: Span,
    /// At most so many handled messages are remembered for that.
    #[serde(default = "default_window_entries")]
    pub idempotency_entries: u64,
    /// Messages with the same value of this field are handled one after the other, over all members.
    #[serde(default)]
    pub order_by: Option<String>,
    /// When its handler's circuit opens, and for how long.
    #[serde(default)]
    pub circuit: CircuitSpec,
    /// Overrides the stream's.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// Whether dead letters of transient failures are sent back once the circuit has closed again.
    #[serde(default = "yes")]
    pub auto_drain: bool,
    /// How many of them per second.
    #[serde(default = "default_drain_rate")]
    pub drain_per_second: u32,
}

const fn yes() -> bool {
    true
}

const fn default_drain_rate() -> u32 {
    10
}

const fn thirty_seconds() -> Span {
    Span::from_secs(30)
}

const fn ten_minutes() -> Span {
    Span::from_secs(600)
}

const fn default_in_flight() -> usize {
    64
}

const fn default_window_entries() -> u64 {
    100_000
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest message kept.
    #[default]
    Beginning,
    /// With the first message after it was created.
    End,
}

/// A circuit breaker's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitSpec {
    /// Transient failures in a row that open it.
    pub failure_threshold: u32,
    /// How long it stays open before one message is tried.
    pub reset_after: Span,
}

impl Default for CircuitSpec {
    fn default() -> Self {
        Self { failure_threshold: 5, reset_after: Span::from_secs(60) }
    }
}

impl CircuitSpec {
    /// The same for the state machine.
    #[must_use]
    pub const fn config(&self) -> CircuitConfig {
        CircuitConfig::new(self.failure_threshold, self.reset_after.duration())
    }
}

/// When somebody should look at a stream's dead letters; never where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// More dead letters than this.
    pub depth: Option<u64>,
    /// More new dead letters within the last minute than this.
    pub growth_per_minute: Option<u64>,
    /// A dead letter that has waited longer than this.
    pub age: Option<Span>,
}

/// What is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A name that the convention forbids.
    #[error(
        "the stream {0} does not keep the convention {{service}}:{{direction}}:{{purpose}} (lower-case \
         letters, digits, _ - .); naming = \"any\" allows it"
    )]
    Unconventional(StreamName),
    /// Two streams, lanes or groups of the same name.
    #[error("{0} is there twice")]
    Twice(String),
    /// A route that makes no sense.
    #[error("{0}")]
    Route(String),
    /// A value that makes no sense.
    #[error("the stream {stream}: {key} {why}")]
    Value {
        /// The stream.
        stream: StreamName,
        /// The key in the file.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Topology {
    /// Checks names and numbers.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::new();
        for stream in &self.streams {
            if self.naming == Naming::Convention && !stream.name.is_conventional() {
                return Err(TopologyError::Unconventional(stream.name.clone()));
            }
            stream.check()?;
            for name in stream.keys() {
                if !names.insert(name.clone()) {
                    return Err(TopologyError::Twice(format!("the stream {name}")));
                }
            }
        }
        self.routes.iter().try_for_each(|route| self.check_route(route))
    }

    fn check_route(&self, route: &Route) -> Result<(), TopologyError> {
        route.check().map_err(TopologyError::Route)?;
        let wrong = |why: String| Err(TopologyError::Route(why));
        let Some(from) = self.stream(&route.from) else {
            return wrong(format!("a route reads from {}, which is no stream here", route.from));
        };
        if from.group(&route.group).is_none() {
            let Route { from, group, .. } = route;
            return wrong(format!("a route reads from {from} as {group}, which is no group of it"));
        }
        let targets = route.rules.iter().flat_map(|rule| &rule.to).chain(&route.otherwise);
        for target in targets {
            if self.owner_of(target).is_none() {
                let from = &route.from;
                return wrong(format!("the route from {from} leads to {target}, no stream here"));
            }
            if *target == route.from {
                return wrong(format!("the route from {target} leads back to it"));
            }
        }
        Ok(())
    }

    /// The stream of this name.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<&StreamSpec> {
        self.streams.iter().find(|stream| stream.name == *name)
    }

    /// The stream that this key belongs to: a stream itself, one of its lanes, or a group's replays.
    #[must_use]
    pub fn owner_of(&self, key: &StreamName) -> Option<&StreamSpec> {
        self.stream(key).or_else(|| self.streams.iter().find(|stream| stream.part(key).is_some()))
    }
}

/// What a key is to its stream.
#[derive(Clone, Copy)]
enum Part<'a> {
    Lane,
    Replays(&'a GroupSpec),
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

    /// The streams that a member takes new messages from, most urgent first.
    #[must_use]
    pub fn lanes(&self) -> Vec<StreamName> {
        let urgent = self.lanes.iter().map(|lane| self.name.lane(lane));
        urgent.chain([self.name.clone()]).collect()
    }

    /// Every stream that belongs to this one: lanes, itself, replays of its groups.
    pub fn keys(&self) -> impl Iterator<Item = StreamName> {
        let replays = self.groups.iter().map(|group| self.name.replays(&group.name));
        self.lanes().into_iter().chain(replays)
    }

    /// The groups that consume `key`: all of them a lane, one its own replays.
    pub fn groups_on(&self, key: &StreamName) -> impl Iterator<Item = &GroupSpec> {
        let part = if self.name == *key { Some(Part::Lane) } else { self.part(key) };
        self.groups.iter().filter(move |group| match part {
            Some(Part::Lane) => true,
            Some(Part::Replays(of)) => std::ptr::eq(of, *group),
            None => false,
        })
    }

    /// What `key` is to this stream, if it is a lane or a group's replays. Asked for every message that is
    /// published, so it builds no names.
    fn part(&self, key: &StreamName) -> Option<Part<'_>> {
        let key = key.as_str().strip_prefix('{')?.strip_prefix(self.name.as_str())?;
        let part = key.strip_prefix("}:")?;
        match part.strip_prefix("replay:") {
            Some(name) => {
                let group = self.groups.iter().find(|group| group.name.as_str() == name);
                group.map(Part::Replays)
            }
            None => self.lanes.iter().any(|lane| lane == part).then_some(Part::Lane),
        }
    }

    fn check(&self) -> Result<(), TopologyError> {
        let wrong = |key: &str, why: &str| {
            let (stream, key, why) = (self.name.clone(), key.to_owned(), why.to_owned());
            Err(TopologyError::Value { stream, key, why })
        };
        if self.max_len == Some(0) {
            return wrong("max_len", "must be at least 1");
        }
        for (key, keeps) in [("retention", self.retention), ("dead_retention", self.dead_retention)]
        {
            if keeps == Some(Span::ZERO) {
                return wrong(key, "must be more than nothing; leave it out to keep all");
            }
        }
        for lane in &self.lanes {
            let plain = StreamName::new(lane).is_ok_and(|_| !lane.contains([':', '{']));
            // These two are streams of ours already.
            if !plain || lane == "dead" || lane == "replay" {
                return wrong("lanes", &format!("holds {lane:?}, which is no plain name"));
            }
        }
        if let Some((key, why)) = self.retry.fault() {
            return wrong(&format!("retry.{key}"), why);
        }
        let mut groups = BTreeSet::new();
        for group in &self.groups {
            if !groups.insert(&group.name) {
                let name = &group.name;
                return Err(TopologyError::Twice(format!("the group {name} of {}", self.name)));
            }
            if !(1..=IN_FLIGHT_MAX).contains(&group.in_flight) {
                return wrong("group.in_flight", &format!("must be 1 to {IN_FLIGHT_MAX}"));
            }
            if group.order_by.as_ref().is_some_and(String::is_empty) {
                return wrong("group.order_by", "must name a field; leave it out for no order");
            }
            if group.reclaim_after < Span::from_millis(100) {
                return wrong("group.reclaim_after", "must be at least 100ms");
            }
            if group.handler_timeout == Span::ZERO {
                return wrong("group.handler_timeout", "must be more than nothing");
            }
            if group.drain_per_second == 0 {
                return wrong("group.drain_per_second", "must be at least 1");
            }
            if group.circuit.failure_threshold == 0 {
                return wrong("group.circuit.failure_threshold", "must be at least 1");
            }
            if let Some((key, why)) = group.retry.as_ref().and_then(RetryPolicy::fault) {
                return wrong(&format!("group.retry.{key}"), why);
            }
        }
        Ok(())
    }
}

impl GroupSpec {
    /// A group of this name with the defaults.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        Self {
            name,
            start: Start::default(),
            handler_timeout: thirty_seconds(),
            reclaim_after: thirty_seconds(),
            in_flight: default_in_flight(),
            idempotency_window: ten_minutes(),
            idempotency_entries: default_window_entries(),
            order_by: None,
            circuit: CircuitSpec::default(),
            retry: None,
            auto_drain: yes(),
            drain_per_second: default_drain_rate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamSpec {
        StreamSpec::new(StreamName::new(name).expect("a name"))
    }

    #[test]
    fn names_beside_the_convention_need_to_be_allowed() {
        let streams = vec![stream("Orders")];
        let strict = Topology { streams: streams.clone(), ..Topology::default() };
        assert!(matches!(strict.check(), Err(TopologyError::Unconventional(_))));
        let any = Topology { naming: Naming::Any, streams, ..Topology::default() };
        assert_eq!(any.check(), Ok(()));
    }

    #[test]
    fn a_lane_that_is_there_twice_is_refused() {
        let mut urgent = stream("mgmt:commands");
        urgent.lanes = vec!["urgent".to_owned(), "urgent".to_owned()];
        let twice = Topology { streams: vec![urgent], ..Topology::default() };
        let error = twice.check().expect_err("twice");
        assert_eq!(error, TopologyError::Twice("the stream {mgmt:commands}:urgent".to_owned()));
    }

    #[test]
    fn every_key_is_owned_by_its_stream_and_consumed_by_whom_it_is_for() {
        let group = |name: &str| GroupSpec::new(GroupName::new(name).expect("a name"));
        let mut urgent = stream("a:b").with_group(group("g")).with_group(group("h"));
        urgent.lanes = vec!["urgent".to_owned(), "soon".to_owned()];
        let other = stream("a:bc").with_group(group("g"));
        let topology = Topology { streams: vec![other, urgent.clone()], ..Topology::default() };
        let consumers = |key: &StreamName| -> Vec<String> {
            urgent.groups_on(key).map(|group| group.name.to_string()).collect()
        };
        for key in urgent.keys() {
            assert_eq!(topology.owner_of(&key), Some(&urgent), "{key}");
        }
        for key in urgent.lanes() {
            assert_eq!(consumers(&key), ["g", "h"], "{key}");
        }
        assert_eq!(consumers(&urgent.name.replays(&urgent.groups[1].name)), ["h"]);
        for key in ["a:c", "{a:b}:dead", "{a:b}:replay:x", "{a:b}:replay", "{a:c}:urgent"] {
            let key = StreamName::new(key).expect("a name");
            assert_eq!(topology.owner_of(&key), None, "{key}");
            assert_eq!(consumers(&key), [""; 0], "{key}");
        }
    }

    #[test]
    fn of_two_groups_with_one_name_the_group_is_named() {
        let group = || GroupSpec::new(GroupName::new("g").expect("a name"));
        let stream = stream("a:b").with_group(group()).with_group(group());
        let topology = Topology { streams: vec![stream], ..Topology::default() };
        let error = topology.check().expect_err("twice");
        assert_eq!(error, TopologyError::Twice("the group g of a:b".to_owned()));
    }

    #[test]
    fn numbers_that_could_never_work_are_refused_by_name() {
        let broken: [fn(&mut StreamSpec, &mut GroupSpec); 10] = [
            |stream, _| stream.max_len = Some(0),
            |stream, _| stream.retry.factor = 0,
            |stream, _| stream.retry.jitter_percent = 101,
            |stream, _| stream.retention = Some(Span::ZERO),
            |stream, _| stream.dead_retention = Some(Span::ZERO),
            |_, group| group.in_flight = 0,
            |_, group| group.in_flight = 10_001,
            |_, group| group.order_by = Some(String::new()),
            |_, group| group.reclaim_after = Span::from_millis(99),
            |_, group| group.circuit.failure_threshold = 0,
        ];
        for break_it in broken {
            let mut stream = stream("a:b");
            let mut group = GroupSpec::new(GroupName::new("g").expect("a name"));
            break_it(&mut stream, &mut group);
            let topology =
                Topology { streams: vec![stream.with_group(group)], ..Topology::default() };
            assert!(matches!(topology.check(), Err(TopologyError::Value { .. })));
        }
    }
}
