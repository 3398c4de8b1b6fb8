//! Plans: everything that decides a run of the worker plane, drawn from a seed.
//!
//! Swarm testing: a seed has a random subset of the faults, each at a random rate, because a run with few kinds
//! goes deeper than one with all of them. Every part draws from a stream of its own.

use silvertine_engine::{rng::Rng, span::Span};
use silvertine_streams::{
    CircuitSpec, GroupName, GroupSpec, Message, RetryPolicy, StreamName, StreamSpec, Topology,
    WhenFull,
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MS;
/// The lane that some plans have beside the stream.
const LANE: &str = "urgent";
/// The field that tells which of the plan's messages it is.
pub(super) const LABEL: &str = "label";
/// The field by whose value some groups are ordered.
const ORDER: &str = "account";

/// A run of the worker plane.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed that it was drawn from; also the root of latencies and coin tosses.
    pub seed: u64,
    /// The streams and groups.
    pub topology: Topology,
    /// How many members each group has.
    pub members: Vec<usize>,
    pub(super) labels: Vec<Label>,
    /// What producers do: at which time, who, which message.
    pub(super) sends: Vec<Send>,
    pub(super) fates: Fates,
    pub(super) strikes: Vec<Strike>,
    /// When faults end.
    pub(super) heals_ns: u64,
    /// Whether the store holds a poll until something arrives, or the member waits by itself.
    pub(super) store_waits: bool,
    /// The largest difference of a member's clock.
    pub(super) skew_ns: u64,
    /// How often a restarted member takes another name, in per cent.
    pub(super) rename_percent: u64,
}

/// A message: what it is, and what handlers make of it.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) nature: Nature,
    pub(super) key: Option<String>,
    pub(super) account: u64,
    pub(super) urgent: bool,
    pub(super) outputs: u64,
    pub(super) work_ns: u64,
}

/// What a handler makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Well,
    /// Fails so often before it succeeds; never again once faults have healed.
    Transient(u32),
    /// Fails until faults have healed.
    Down,
    Permanent,
    Undecodable,
    Panics,
    /// Does not end in time so often.
    TimesOut(u32),
    /// Emits what cannot be published.
    Invalid,
    /// Kills its process so often.
    Kills(u32),
}

impl Nature {
    pub(super) const fn is_well(self) -> bool {
        matches!(self, Self::Well)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Send {
    pub(super) at_ns: u64,
    pub(super) producer: usize,
    pub(super) label: usize,
}

/// What becomes of requests, each in per mille.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fates {
    pub(super) lost_request: u64,
    pub(super) lost_reply: u64,
    pub(super) late: u64,
    pub(super) refused: u64,
    pub(super) slow: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) at_ns: u64,
    pub(super) what: StrikeKind,
    /// Decides whom it strikes.
    pub(super) draw: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrikeKind {
    Crash,
    Pause { ns: u64 },
    Drain { grace_ns: u64 },
    Outage { ns: u64 },
    Stranger,
    Redrive { contended: bool },
}

/// The stream that the groups consume.
pub(super) fn work_stream() -> StreamName {
    StreamName::new("sim:in:work").expect("a name")
}

/// The stream of what handlers emit.
pub(super) fn out_stream() -> StreamName {
    StreamName::new("sim:out:results").expect("a name")
}

/// The stream that tells of redrives.
pub(super) fn audit_stream() -> StreamName {
    StreamName::new("sim:out:audit").expect("a name")
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut knobs = Rng::new(seed ^ 0x4b4e_4f42);
        let mut work = Rng::new(seed ^ 0x574f_524b);
        let mut faults = Rng::new(seed ^ 0x4641_554c);
        let heals_ns = pick(&mut knobs, &[1, 3, 6, 10]) * SECOND;
        let (topology, members) = draw_topology(&mut knobs);
        let group = &topology.streams[0].groups[0];
        let reclaim_ns = group.reclaim_after.as_nanos();
        let timeout_ns = group.handler_timeout.as_nanos();
        let labels = draw_labels(&mut work, timeout_ns, !topology.streams[0].lanes.is_empty());
        let sends = draw_sends(&mut work, &labels, heals_ns);
        let mut rate = |most: u64| match faults.below(2) {
            0 => 0,
            _ => 1 + faults.below(most),
        };
        let fates = Fates {
            lost_request: rate(120),
            lost_reply: rate(120),
            late: rate(80),
            refused: rate(120),
            slow: rate(200),
        };
        let strikes = draw_strikes(&mut faults, heals_ns, reclaim_ns);
        Self {
            seed,
            topology,
            members,
            labels,
            sends,
            fates,
            strikes,
            heals_ns,
            store_waits: knobs.below(2) == 0,
            skew_ns: pick(&mut knobs, &[0, 0, 50 * MS, 5 * SECOND, 3600 * SECOND]),
            rename_percent: pick(&mut knobs, &[0, 30, 100]),
        }
    }

    /// A message of the plan, as its producer writes it.
    pub(super) fn message(&self, label: usize) -> Message {
        let of = &self.labels[label];
        let message = Message::default()
            .with("data", format!("{{\"n\":{label}}}"))
            .with(LABEL, label.to_string())
            .with(ORDER, format!("a{}", of.account));
        match &of.key {
            Some(key) => message.with_key(key),
            None => message,
        }
    }

    /// The stream that a message goes to.
    pub(super) fn stream_of(&self, label: usize) -> StreamName {
        if self.labels[label].urgent { work_stream().lane(LANE) } else { work_stream() }
    }

    /// Whether a living member may be unheard for long.
    pub(super) fn has_silence(&self) -> bool {
        let Fates { lost_request, lost_reply, late, refused, slow } = self.fates;
        let silences = |strike: &Strike| {
            matches!(strike.what, StrikeKind::Pause { .. } | StrikeKind::Outage { .. })
        };
        lost_request + lost_reply + late + refused + slow > 0 || self.strikes.iter().any(silences)
    }

    /// A group of the stream that is consumed.
    pub(super) fn group(&self, at: usize) -> &GroupSpec {
        &self.topology.streams[0].groups[at]
    }

    /// How many messages kill their process.
    pub(super) fn killers(&self) -> u64 {
        let kills = |label: &&Label| matches!(label.nature, Nature::Kills(_));
        self.labels.iter().filter(kills).count() as u64
    }
}

/// One of `choices`, each as likely as the others.
fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn draw_topology(rng: &mut Rng) -> (Topology, Vec<usize>) {
    let mut stream = StreamSpec::new(work_stream());
    stream.retry = RetryPolicy {
        base: Span::from_millis(pick(rng, &[20, 100, 500])),
        attempts: pick(rng, &[0, 2, 5]) as u32,
        ceiling: Span::from_secs(2),
        ..RetryPolicy::default()
    };
    if rng.below(3) == 0 {
        stream.lanes = vec![LANE.to_owned()];
    }
    if rng.below(6) == 0 {
        stream.max_len = Some(pick(rng, &[4, 16]));
        stream.when_full = WhenFull::Refuse;
    }
    let reclaim_after = Span::from_millis(pick(rng, &[200, 500, 2000, 5000]));
    let handler_timeout = Span::from_millis(pick(rng, &[100, 400, 1000]));
    let mut members = Vec::new();
    for name in ["first", "second"] {
        if name == "second" && rng.below(3) > 0 {
            break;
        }
        let mut group = GroupSpec::new(GroupName::new(name).expect("a name"));
        group.reclaim_after = reclaim_after;
        group.handler_timeout = handler_timeout;
        group.in_flight = pick(rng, &[1, 2, 4, 8, 32]);
        // Mostly longer than any run; sometimes so short that keys are forgotten.
        group.idempotency_window = Span::from_secs(pick(rng, &[2, 600, 600, 600]));
        group.order_by = (rng.below(3) == 0).then(|| ORDER.to_owned());
        group.circuit = CircuitSpec {
            failure_threshold: pick(rng, &[2, 5, 1000]) as u32,
            reset_after: Span::from_millis(pick(rng, &[100, 1000])),
        };
        stream = stream.with_group(group);
        members.push(1 + rng.below(4) as usize);
    }
    let others = [out_stream(), audit_stream()].map(StreamSpec::new);
    let streams = [stream].into_iter().chain(others).collect();
    (Topology { streams, ..Topology::default() }, members)
}

fn draw_labels(rng: &mut Rng, timeout_ns: u64, lane: bool) -> Vec<Label> {
    let count = pick(rng, &[4, 12, 30, 60]);
    let accounts = pick(rng, &[1, 3, 10]);
    let failing_percent = pick(rng, &[0, 10, 30, 60]);
    // A random subset of ways to fail.
    let ways: Vec<u64> = (0..9).filter(|_| rng.below(2) == 0).collect();
    let killers_max = 3;
    let mut killers = 0;
    let mut labels = Vec::new();
    for n in 0..count {
        let fails = !ways.is_empty() && rng.below(100) < failing_percent;
        let mut nature = match fails.then(|| ways[rng.below(ways.len() as u64) as usize]) {
            None => Nature::Well,
            Some(0 | 1) => Nature::Transient(1 + rng.below(7) as u32),
            Some(2) => Nature::Down,
            Some(3) => Nature::Permanent,
            Some(4) => Nature::Undecodable,
            Some(5) => Nature::Panics,
            Some(6) => Nature::TimesOut(1 + rng.below(3) as u32),
            Some(7) => Nature::Invalid,
            Some(_) => Nature::Kills(pick(rng, &[1, 2, u64::from(u32::MAX)]) as u32),
        };
        if matches!(nature, Nature::Kills(_)) {
            killers += 1;
            if killers > killers_max {
                nature = Nature::Well;
            }
        }
        let work_ns = match rng.below(8) {
            0 => timeout_ns / 10 * (1 + rng.below(9)),
            1 => 0,
            _ => (1 + rng.below(20)) * MS,
        };
        labels.push(Label {
            nature,
            key: (rng.below(4) > 0).then(|| format!("k{n}")),
            account: rng.below(accounts),
            urgent: lane && rng.below(3) == 0,
            outputs: rng.below(3),
            work_ns,
        });
    }
    labels
}

fn draw_sends(rng: &mut Rng, labels: &[Label], heals_ns: u64) -> Vec<Send> {
    let producers = 1 + rng.below(3);
    let twice_percent = pick(rng, &[0, 10, 40]);
    // All in a burst, or over most of the storm.
    let spread_ns = if rng.below(3) == 0 { 100 * MS } else { heals_ns * 3 / 4 };
    let mut sends = Vec::new();
    for (label, of) in labels.iter().enumerate() {
        let send = |at_ns, producer: u64| Send { at_ns, producer: producer as usize, label };
        let at_ns = rng.below(spread_ns);
        sends.push(send(at_ns, rng.below(producers)));
        if of.key.is_some() && rng.below(100) < twice_percent {
            let again_ns = at_ns + rng.below(3) * rng.below(heals_ns / 4);
            sends.push(send(again_ns, rng.below(producers)));
        }
    }
    sends.sort_by_key(|send| (send.at_ns, send.label));
    sends
}

fn draw_strikes(rng: &mut Rng, heals_ns: u64, reclaim_ns: u64) -> Vec<Strike> {
    let mut strikes = Vec::new();
    for kind in 0..6 {
        if rng.below(2) == 0 {
            continue;
        }
        for _ in 0..1 + rng.below(5) {
            let what = match kind {
                0 => StrikeKind::Crash,
                1 => StrikeKind::Pause { ns: reclaim_ns / 4 * (1 + rng.below(12)) },
                2 => StrikeKind::Drain { grace_ns: pick(rng, &[0, 20, 300, 2000]) * MS },
                3 => StrikeKind::Outage { ns: pick(rng, &[50, 500, 3000]) * MS },
                4 => StrikeKind::Stranger,
                _ => StrikeKind::Redrive { contended: rng.below(2) == 0 },
            };
            strikes.push(Strike { at_ns: rng.below(heals_ns), what, draw: rng.next_u64() });
        }
    }
    strikes.sort_by_key(|strike| (strike.at_ns, strike.draw));
    strikes
}
