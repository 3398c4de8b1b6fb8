//! Drawing a plan from a seed.
//!
//! Swarm testing: a seed has a random subset of the faults, each at a random rate, because a run with few kinds
//! goes deeper than one with all of them. Every part draws from a stream of its own.

use silvertine_engine::{rng::Rng, span::Span};
use silvertine_streams::{CircuitSpec, GroupName, GroupSpec, StreamSpec, Topology, WhenFull};

use super::{
    LANE, Label, MS, Nature, ORDER, Plan, SECOND, Send, Strike, StrikeKind, audit_stream,
    out_stream, work_stream,
};
use crate::kernel::network::Rates;

/// An idempotency window that is longer than any run.
const LONG_WINDOW: Span = Span::from_secs(600);

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
        let rates = Rates {
            lost_request: rate(120),
            lost_reply: rate(120),
            late_effect: rate(80),
            refused: rate(120),
            slow: rate(200),
            sent_twice: rate(80),
        };
        let groups = &topology.streams[0].groups;
        let keys_stay = groups.iter().all(|group| group.idempotency_window >= LONG_WINDOW);
        let strikes = draw_strikes(&mut faults, heals_ns, reclaim_ns, keys_stay);
        Self {
            seed,
            topology,
            members,
            labels,
            sends,
            rates,
            strikes,
            heals_ns,
            store_waits: knobs.below(2) == 0,
            skew: Span::from_millis(pick(&mut knobs, &[0, 0, 50, 5000, 3_600_000])),
            rename_percent: pick(&mut knobs, &[0, 30, 100]),
        }
    }
}

/// One of `choices`, each as likely as the others.
fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn draw_topology(rng: &mut Rng) -> (Topology, Vec<u64>) {
    let mut stream = StreamSpec::new(work_stream());
    stream.retry.base = Span::from_millis(pick(rng, &[20, 100, 500]));
    stream.retry.attempts = pick(rng, &[0, 2, 5]) as u32;
    stream.retry.ceiling = Span::from_secs(2);
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
        group.idempotency_window =
            pick(rng, &[Span::from_secs(2), LONG_WINDOW, LONG_WINDOW, LONG_WINDOW]);
        group.order_by = (rng.below(3) == 0).then(|| ORDER.to_owned());
        group.circuit = CircuitSpec::new(
            pick(rng, &[2, 5, 1000]) as u32,
            Span::from_millis(pick(rng, &[100, 1000])),
        );
        stream = stream.with_group(group);
        members.push(1 + rng.below(4));
    }
    let others = [out_stream(), audit_stream()].map(StreamSpec::new);
    let streams = [stream].into_iter().chain(others).collect();
    (Topology::new(streams), members)
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
            work: Span::from_nanos(work_ns),
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
        let send = |at_ns, producer| Send { at_ns, producer, label };
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

fn draw_strikes(rng: &mut Rng, heals_ns: u64, reclaim_ns: u64, keys_stay: bool) -> Vec<Strike> {
    let mut strikes = Vec::new();
    let mut strike = |rng: &mut Rng, what| {
        // Files know no number above 2^63.
        strikes.push(Strike { at_ns: rng.below(heals_ns), what, draw: rng.next_u64() >> 1 });
    };
    for kind in 0..8 {
        if rng.below(2) == 0 {
            continue;
        }
        for _ in 0..1 + rng.below(5) {
            let what = match kind {
                0 => StrikeKind::Crash,
                1 => StrikeKind::Pause {
                    lasts: Span::from_nanos(reclaim_ns / 4 * (1 + rng.below(12))),
                },
                2 => StrikeKind::Drain { grace: Span::from_millis(pick(rng, &[0, 20, 300, 2000])) },
                3 => StrikeKind::Outage { lasts: Span::from_millis(pick(rng, &[50, 500, 3000])) },
                4 => StrikeKind::Stranger,
                5 => StrikeKind::Redrive { contended: rng.below(2) == 0 },
                6 => StrikeKind::Stall { lasts: Span::from_millis(pick(rng, &[50, 800, 3000])) },
                _ => StrikeKind::Restart { lasts: Span::from_millis(pick(rng, &[10, 500, 2000])) },
            };
            strike(rng, what);
        }
    }
    // Each of these excuses much, so most seeds have none.
    match rng.below(6) {
        0 => {
            for _ in 0..1 + rng.below(3) {
                let lasts = Span::from_millis(pick(rng, &[2, 300, 1500]));
                let lose = pick(rng, &[1, 3, 10, 40]);
                strike(rng, StrikeKind::Failover { lasts, lose });
            }
        }
        1 => {
            let ms = pick(rng, &[100, 3000, 60_000, 3_600_000]);
            strike(rng, StrikeKind::ClockJump { by_ns: (ms * MS) as i64 });
        }
        2 if keys_stay => {
            let ms = pick(rng, &[100, 3000, 20_000]);
            strike(rng, StrikeKind::ClockJump { by_ns: -((ms * MS) as i64) });
        }
        _ => {}
    }
    strikes.sort_by_key(|strike| (strike.at_ns, strike.draw));
    strikes
}
