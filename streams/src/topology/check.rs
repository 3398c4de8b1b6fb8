//! What makes a topology unusable, found before anything is created.

use std::collections::BTreeSet;

use super::{GroupSpec, Naming, StreamSpec, Topology};
use crate::{GroupName, RetryPolicy, Route, RouteError, StreamName};
use silvertine_engine::span::Span;

/// The most messages that a member may work on at a time: more would not fit into one answer of a store.
const IN_FLIGHT_MAX: usize = 10_000;
/// The shortest time after which a member counts as dead: signs of life come three times as often.
const RECLAIM_AFTER_MIN: Span = Span::from_millis(100);

/// What is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A name that the convention forbids.
    #[error(
        "the stream {0} does not keep the convention {{service}}:{{direction}}:{{purpose}} (lower-case \
         letters, digits, _ - .); naming = \"any\" allows it"
    )]
    Unconventional(StreamName),
    /// Two streams, or a stream and a lane, of the same name.
    #[error("the stream {0} is there twice")]
    DuplicateStream(StreamName),
    /// Two groups of one stream with the same name.
    #[error("the group {group} of {stream} is there twice")]
    DuplicateGroup {
        /// The stream.
        stream: StreamName,
        /// The name that two of its groups have.
        group: GroupName,
    },
    /// A route that makes no sense.
    #[error(transparent)]
    Route(#[from] RouteError),
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
    /// Checks what no parser can: names, numbers, and where routes lead.
    ///
    /// # Errors
    /// [`TopologyError`] says what the first fault is.
    pub fn check(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::new();
        for stream in &self.streams {
            if self.naming == Naming::Convention && !stream.name.is_conventional() {
                return Err(TopologyError::Unconventional(stream.name.clone()));
            }
            stream.check()?;
            for name in stream.keys() {
                if !names.insert(name.clone()) {
                    return Err(TopologyError::DuplicateStream(name));
                }
            }
        }
        self.routes.iter().try_for_each(|route| self.check_route(route)).map_err(Into::into)
    }

    fn check_route(&self, route: &Route) -> Result<(), RouteError> {
        route.check()?;
        let Route { from, group, .. } = route;
        let Some(source) = self.stream(from) else {
            return Err(RouteError::UnknownSource { from: from.clone() });
        };
        if source.group(group).is_none() {
            return Err(RouteError::UnknownGroup { from: from.clone(), group: group.clone() });
        }
        for to in route.rules.iter().flat_map(|rule| &rule.to).chain(&route.otherwise) {
            if self.owner_of(to).is_none() {
                return Err(RouteError::UnknownTarget { from: from.clone(), to: to.clone() });
            }
            if to == from {
                return Err(RouteError::Loop { from: from.clone() });
            }
        }
        Ok(())
    }
}

impl StreamSpec {
    fn check(&self) -> Result<(), TopologyError> {
        if self.max_len == Some(0) {
            return self.wrong("max_len", "must be at least 1");
        }
        for (key, keeps) in [("retention", self.retention), ("dead_retention", self.dead_retention)]
        {
            if keeps == Some(Span::ZERO) {
                return self.wrong(key, "must be more than nothing; leave it out to keep all");
            }
        }
        for lane in &self.lanes {
            let plain = StreamName::new(lane).is_ok_and(|_| !lane.contains([':', '{']));
            // These two name streams of every stream already.
            if !plain || lane == "dead" || lane == "replay" {
                return self.wrong("lanes", &format!("holds {lane:?}, which is no plain name"));
            }
        }
        if let Some((key, why)) = self.retry.fault() {
            return self.wrong(&format!("retry.{key}"), why);
        }
        let mut names = BTreeSet::new();
        for group in &self.groups {
            if !names.insert(&group.name) {
                let (stream, group) = (self.name.clone(), group.name.clone());
                return Err(TopologyError::DuplicateGroup { stream, group });
            }
            if let Some((key, why)) = group.fault() {
                return self.wrong(&format!("group.{key}"), &why);
            }
        }
        Ok(())
    }

    fn wrong(&self, key: &str, why: &str) -> Result<(), TopologyError> {
        let (stream, key, why) = (self.name.clone(), key.to_owned(), why.to_owned());
        Err(TopologyError::Value { stream, key, why })
    }
}

impl GroupSpec {
    /// The first key whose value makes no sense, and why.
    fn fault(&self) -> Option<(String, String)> {
        let fault = |key: &str, why: &str| Some((key.to_owned(), why.to_owned()));
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return fault("in_flight", &format!("must be 1 to {IN_FLIGHT_MAX}"));
        }
        if self.order_by.as_ref().is_some_and(String::is_empty) {
            return fault("order_by", "must name a field; leave it out for no order");
        }
        if self.reclaim_after < RECLAIM_AFTER_MIN {
            return fault("reclaim_after", "must be at least 100ms");
        }
        if self.handler_timeout == Span::ZERO {
            return fault("handler_timeout", "must be more than nothing");
        }
        if self.redrive_per_second == 0 {
            return fault("redrive_per_second", "must be at least 1");
        }
        if self.circuit.failure_threshold == 0 {
            return fault("circuit.failure_threshold", "must be at least 1");
        }
        let (key, why) = self.retry.as_ref().and_then(RetryPolicy::fault)?;
        fault(&format!("retry.{key}"), why)
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
        assert_eq!(
            error,
            TopologyError::DuplicateStream("{mgmt:commands}:urgent".parse().expect("a name"))
        );
    }

    #[test]
    fn of_two_groups_with_one_name_the_group_is_named() {
        let group = || GroupSpec::new(GroupName::new("g").expect("a name"));
        let stream = stream("a:b").with_group(group()).with_group(group());
        let topology = Topology { streams: vec![stream], ..Topology::default() };
        let error = topology.check().expect_err("twice");
        assert_eq!(error.to_string(), "the group g of a:b is there twice");
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
