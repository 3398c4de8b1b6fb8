//! What of a plan can be left out or made plainer: strikes first, then messages, members, faults of the network, what
//! handlers do and settings.

use silvertine_engine::span::Span;
use silvertine_streams::CircuitSpec;

use super::{MS, Nature, Plan, StrikeKind};
use crate::kernel::{
    network::Rates,
    shrink::{Shrink, Shrinking},
};

impl Shrink for Plan {
    type Context = ();

    fn simplify(shrinking: &mut Shrinking<'_, Self>, (): &()) {
        shrinking.leave_out(|plan| &mut plan.strikes);
        leave_out_messages(shrinking);
        shrinking.leave_out(|plan| &mut plan.sends);
        leave_out_members(shrinking);
        simplify_rates(shrinking);
        simplify_messages(shrinking);
        simplify_settings(shrinking);
        simplify_strikes(shrinking);
    }
}

/// Leaves out messages together with what sends them, several at a time.
fn leave_out_messages(shrinking: &mut Shrinking<'_, Plan>) {
    let mut size = shrinking.best().labels.len();
    while size > 0 {
        let mut at = 0;
        while at < shrinking.best().labels.len() {
            let end = (at + size).min(shrinking.best().labels.len());
            let left_out = shrinking.with(|plan| {
                plan.labels.drain(at..end);
                plan.sends.retain(|send| !(at..end).contains(&send.label));
                for send in plan.sends.iter_mut().filter(|send| send.label >= end) {
                    send.label -= end - at;
                }
            });
            if !left_out {
                at += size;
            }
        }
        size /= 2;
    }
}

fn leave_out_members(shrinking: &mut Shrinking<'_, Plan>) {
    for group in (0..shrinking.best().members.len()).rev() {
        if shrinking.best().members.len() > 1 {
            shrinking.with(|plan| {
                plan.members.remove(group);
                plan.topology.streams[0].groups.remove(group);
            });
        }
    }
    for group in 0..shrinking.best().members.len() {
        shrinking.with(|plan| plan.members[group] = 1);
        shrinking.lower(1, |plan| &mut plan.members[group]);
    }
}

fn simplify_rates(shrinking: &mut Shrinking<'_, Plan>) {
    if shrinking.with(|plan| plan.rates = Rates::default()) {
        return;
    }
    let rates: [fn(&mut Rates) -> &mut u64; 6] = [
        |rates| &mut rates.lost_request,
        |rates| &mut rates.lost_reply,
        |rates| &mut rates.late_effect,
        |rates| &mut rates.refused,
        |rates| &mut rates.slow,
        |rates| &mut rates.sent_twice,
    ];
    for rate in rates {
        shrinking.with(|plan| *rate(&mut plan.rates) = 0);
    }
}

fn simplify_messages(shrinking: &mut Shrinking<'_, Plan>) {
    shrinking.with(|plan| plan.sends.iter_mut().for_each(|send| send.producer = 0));
    for at in 0..shrinking.best().labels.len() {
        shrinking.with(|plan| plan.labels[at].nature = Nature::Well);
        shrinking.with(|plan| match &mut plan.labels[at].nature {
            Nature::Transient(times) | Nature::TimesOut(times) | Nature::Kills(times) => *times = 1,
            _ => {}
        });
        shrinking.with(|plan| plan.labels[at].outputs = 0);
        shrinking.with(|plan| plan.labels[at].key = None);
        shrinking.with(|plan| plan.labels[at].urgent = false);
        shrinking.with(|plan| plan.labels[at].account = 0);
        shrinking.with(|plan| plan.labels[at].work = Span::from_millis(1));
    }
    for at in 0..shrinking.best().sends.len() {
        shrinking.with(|plan| plan.sends[at].producer = 0);
        shrinking.with(|plan| plan.sends[at].at_ns = 0);
    }
}

fn simplify_settings(shrinking: &mut Shrinking<'_, Plan>) {
    shrinking.with(|plan| plan.skew = Span::ZERO);
    shrinking.with(|plan| plan.rename_percent = 0);
    shrinking.with(|plan| plan.store_waits = true);
    shrinking.with(|plan| {
        plan.topology.streams[0].lanes.clear();
        plan.labels.iter_mut().for_each(|label| label.urgent = false);
    });
    shrinking.with(|plan| plan.topology.streams[0].max_len = None);
    // The shortest that are drawn: with longer ones a plan could break LIVE by its settings alone.
    shrinking.with(|plan| {
        let retry = &mut plan.topology.streams[0].retry;
        (retry.base, retry.attempts) = (Span::from_millis(20), 2);
    });
    for group in 0..shrinking.best().members.len() {
        shrinking.with(|plan| plan.topology.streams[0].groups[group].order_by = None);
        shrinking.with(|plan| plan.topology.streams[0].groups[group].in_flight = 1);
        shrinking.with(|plan| {
            plan.topology.streams[0].groups[group].circuit =
                CircuitSpec::new(1000, Span::from_millis(100));
        });
        shrinking.with(|plan| {
            plan.topology.streams[0].groups[group].idempotency_window = Span::from_secs(600);
        });
    }
}

fn simplify_strikes(shrinking: &mut Shrinking<'_, Plan>) {
    for at in 0..shrinking.best().strikes.len() {
        shrinking.with(|plan| plan.strikes[at].draw = 0);
        shrinking.with(|plan| match &mut plan.strikes[at].what {
            StrikeKind::Redrive { contended } => *contended = false,
            StrikeKind::Failover { lose, .. } => *lose = 1,
            _ => {}
        });
        // The plainest way to die.
        shrinking.with(|plan| plan.strikes[at].what = StrikeKind::Crash);
        let at_ms = shrinking.best().strikes[at].at_ns / MS;
        shrinking.with(|plan| plan.strikes[at].at_ns = at_ms * MS);
        shrinking.lower(0, |plan| &mut plan.strikes[at].at_ns);
    }
    shrinking.with(|plan| {
        let last_ns = plan.strikes.iter().map(|strike| strike.at_ns).max();
        plan.heals_ns = last_ns.map_or(MS, |last_ns| last_ns + MS).min(plan.heals_ns);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::shrink::{Budget, shrink},
        streams::plan::Strike,
    };

    #[test]
    fn what_does_not_matter_is_left_out() {
        for seed in 0..50 {
            let mut plan = Plan::draw(seed);
            plan.strikes.push(Strike { at_ns: 77 * MS, what: StrikeKind::Stranger, draw: 5 });
            // Broken whenever somebody deletes a message and there are at least three messages.
            let least = shrink(&plan, &(), Budget::default(), &mut |plan| {
                assert_eq!(plan.check(), Ok(()), "seed {seed}");
                plan.strikes.iter().any(|strike| strike.what == StrikeKind::Stranger)
                    && plan.labels.len() >= 3
            });
            assert_eq!(least.size(), (1, 3), "seed {seed}");
            assert_eq!((least.members.as_slice(), least.failing()), (&[1][..], 0), "seed {seed}");
            assert!(least.rates.is_calm() && least.sends.is_empty(), "seed {seed}");
        }
    }
}
