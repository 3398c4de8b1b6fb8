//! Names of the keys of named streams.
//!
//! A stream's key is its name. What belongs to it carries its name in braces, and every name of ours behind them
//! holds a colon, which no lane does: `{stream}:due:urgent:group`.

use std::collections::BTreeMap;

use silvertine_streams::{GroupName, GroupSpec, StreamName, StreamSpec};

/// The keys of one stream and its groups.
pub(super) struct StreamKeys {
    pub(super) dead: StreamName,
    pub(super) dead_state: String,
    pub(super) records: String,
    pub(super) counts: String,
    pub(super) groups: BTreeMap<GroupName, GroupKeys>,
}

/// The keys of one group.
pub(super) struct GroupKeys {
    /// Keys of messages that are done, by time.
    pub(super) done: String,
    /// Who holds which ordering key.
    pub(super) order: String,
    /// Who waits for an ordering key.
    pub(super) blocked: String,
    /// Wakes members when an ordering key is free.
    pub(super) bell: String,
    /// Urgent lanes, the stream itself, the group's redriven dead letters.
    pub(super) lanes: Vec<LaneKeys>,
}

/// What a group keeps for one of the streams that it consumes.
pub(super) struct LaneKeys {
    pub(super) stream: StreamName,
    /// Waiting retries by the time they are due.
    pub(super) due: String,
    /// Tries on record.
    pub(super) tries: String,
    /// Counts, and where the group is.
    pub(super) counts: String,
    /// Ids that were finished last.
    pub(super) recent: String,
}

impl StreamKeys {
    pub(super) fn of(spec: &StreamSpec) -> Self {
        let base = &spec.name;
        let groups = spec.groups.iter().map(|group| (group.name.clone(), group_keys(spec, group)));
        Self {
            dead: base.dead(),
            dead_state: format!("{{{base}}}:dead:state"),
            records: format!("{{{base}}}:meta:records"),
            counts: format!("{{{base}}}:meta:counts"),
            groups: groups.collect(),
        }
    }
}

fn group_keys(spec: &StreamSpec, group: &GroupSpec) -> GroupKeys {
    let (base, group) = (&spec.name, &group.name);
    let key = |kind: &str| format!("{{{base}}}:{kind}:{group}");
    // No lane is called `replay`.
    let urgent = spec.lanes.iter().map(|lane| (lane.as_str(), base.lane(lane)));
    let lanes = urgent.chain([("", base.clone()), ("replay", base.redrives(group))]);
    let lanes = lanes.map(|(lane, stream)| LaneKeys {
        stream,
        due: key(&format!("due:{lane}")),
        tries: key(&format!("tries:{lane}")),
        counts: key(&format!("n:{lane}")),
        recent: key(&format!("recent:{lane}")),
    });
    GroupKeys {
        done: key("done"),
        order: key("order"),
        blocked: key("parked"),
        bell: key("bell"),
        lanes: lanes.collect(),
    }
}
