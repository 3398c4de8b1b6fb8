//! The streams that belong to a stream: its urgent lanes, and one for each group's redriven dead letters.
//!
//! Each is a stream of the store under a name that is derived from its owner's, see [`StreamName::lane`].

use super::{GroupSpec, StreamSpec, Topology};
use crate::StreamName;

impl Topology {
    /// The stream that this key belongs to: a stream itself, one of its lanes, or a group's redriven dead letters.
    #[must_use]
    pub fn owner_of(&self, key: &StreamName) -> Option<&StreamSpec> {
        self.stream(key).or_else(|| self.streams.iter().find(|stream| stream.part(key).is_some()))
    }
}

impl StreamSpec {
    /// The streams that a member takes new messages from, most urgent first.
    #[must_use]
    pub fn lanes(&self) -> Vec<StreamName> {
        let urgent = self.lanes.iter().map(|lane| self.name.lane(lane));
        urgent.chain([self.name.clone()]).collect()
    }

    /// Every stream that belongs to this one: lanes, itself, and one for the redriven dead letters of each group.
    pub fn keys(&self) -> impl Iterator<Item = StreamName> {
        let redrives = self.groups.iter().map(|group| self.name.redrives(&group.name));
        self.lanes().into_iter().chain(redrives)
    }

    /// The groups that consume `key`: all of them a lane, one its own redriven dead letters.
    pub fn groups_on(&self, key: &StreamName) -> impl Iterator<Item = &GroupSpec> {
        let part = if self.name == *key { Some(Part::Lane) } else { self.part(key) };
        self.groups.iter().filter(move |group| match part {
            Some(Part::Lane) => true,
            Some(Part::Redrives(of)) => std::ptr::eq(of, *group),
            None => false,
        })
    }

    /// What `key` is to this stream, if it is a lane or a group's redriven dead letters. Asked for every message that is
    /// published, so it builds no names.
    fn part(&self, key: &StreamName) -> Option<Part<'_>> {
        let key = key.as_str().strip_prefix('{')?.strip_prefix(self.name.as_str())?;
        let part = key.strip_prefix("}:")?;
        match part.strip_prefix("replay:") {
            Some(name) => {
                let group = self.groups.iter().find(|group| group.name.as_str() == name);
                group.map(Part::Redrives)
            }
            None => self.lanes.iter().any(|lane| lane == part).then_some(Part::Lane),
        }
    }
}

/// What a key is to its stream.
#[derive(Clone, Copy)]
enum Part<'a> {
    Lane,
    Redrives(&'a GroupSpec),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupName;

    fn stream(name: &str) -> StreamSpec {
        StreamSpec::new(StreamName::new(name).expect("a name"))
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
        assert_eq!(consumers(&urgent.name.redrives(&urgent.groups[1].name)), ["h"]);
        for key in ["a:c", "{a:b}:dead", "{a:b}:replay:x", "{a:b}:replay", "{a:c}:urgent"] {
            let key = StreamName::new(key).expect("a name");
            assert_eq!(topology.owner_of(&key), None, "{key}");
            assert_eq!(consumers(&key), [""; 0], "{key}");
        }
    }
}
