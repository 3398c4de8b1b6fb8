//! What must hold when everything has come to rest; and what to say when it does not.

use std::{collections::BTreeMap, fmt::Write as _};

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{MessageId, Streams};

use super::{
    handlers::label,
    op::{Client, Request, execute},
    plan::{Plan, audit_stream, out_stream, work_stream},
    process::Process,
    promise::{Checked, Promise, Violation, ensure},
    server::Server,
    stage::{EPOCH_NS, Stage},
    witness::{Witness, tries_of},
};
use crate::kernel::spell;

/// Unfinished messages named in a report.
const NAMED: usize = 12;

/// Checks everything that is known of a run that has ended.
pub(super) fn check<S: Streams>(server: &mut Server<'_, S>, stage: &mut Stage<'_>) -> Checked {
    let (plan, now) = (stage.plan, stage.store_time());
    let Server { store, witness, .. } = server;
    witness.account(store, stage)?;
    witness.compare(store, &out_stream())?;
    witness.compare(store, &audit_stream())?;
    if plan.topology.streams[0].max_len.is_none() {
        for stream in plan.topology.streams[0].keys() {
            witness.compare(store, &stream)?;
        }
    }
    let request = Request::Letters { stream: work_stream(), after: Pos::ZERO };
    let letters = execute(store, &request, now);
    witness.observe(store, &request, &letters, false, Client::Operator(0), stage)?;
    everything_sent_is_there(plan, witness)?;
    effects(plan, witness)
}

fn everything_sent_is_there(plan: &Plan, witness: &Witness) -> Checked {
    for send in &plan.sends {
        let stream = plan.stream_of(send.label);
        let message = plan.message(send.label);
        let there = witness.streams[&stream].iter().any(|standing| standing.message == message);
        ensure!(
            there || witness.has_lost(&stream, &message),
            Durable,
            "the message {} was acknowledged and is not on {stream}",
            send.label
        );
    }
    Ok(())
}

/// What was emitted for a key of a group: how often each message.
type Emitted = BTreeMap<(String, String), BTreeMap<String, u32>>;

fn effects(plan: &Plan, witness: &Witness) -> Checked {
    let mut emitted: Emitted = BTreeMap::new();
    for standing in &witness.streams[&out_stream()] {
        let data = standing.message.text("data").unwrap_or_default().into_owned();
        let mut words = data.split(' ').map(str::to_owned);
        let (Some(group), Some(key), Some(n)) = (words.next(), words.next(), words.next()) else {
            return Err(Violation::plain(
                Promise::Effect,
                format!("{data:?} is on the stream of results"),
            ));
        };
        *emitted.entry((group, key)).or_default().entry(n).or_default() += 1;
    }
    for group in &witness.groups {
        let name = group.spec.name.as_str();
        for (id, entry) in &group.entries {
            let of = emitted.get(&(name.to_owned(), entry.key.clone()));
            let dones = group.dones.get(&entry.key).copied().unwrap_or(0);
            let Some(label) = label_of(witness, id) else { continue };
            let outputs = plan.labels[label].outputs;
            for n in 0..outputs {
                let times = of.and_then(|of| of.get(&n.to_string())).copied().unwrap_or(0);
                // A key that has left its window may be done again.
                let right = match dones {
                    _ if group.without_results.contains(&entry.key) => times <= dones,
                    0 => times == 0,
                    1 => times == 1,
                    _ => (1..=dones).contains(&times),
                };
                ensure!(
                    right,
                    Effect,
                    "{name} did the key {} {dones} times, and its result {n} is there {times} times",
                    entry.key
                );
            }
        }
    }
    Ok(())
}

fn label_of(witness: &Witness, id: &MessageId) -> Option<usize> {
    let standing = witness.streams.get(&id.stream)?;
    let standing = standing.iter().find(|standing| standing.id == id.id)?;
    label(&standing.message)
}

/// Messages that never failed, and were there when faults healed, must be finished by now. One that is published later has
/// had less time; that it is finished in the end is for [`Promise::Live`](super::promise::Promise::Live).
pub(super) fn healthy_are_done(plan: &Plan, witness: &Witness) -> Checked {
    for group in &witness.groups {
        let healed_ms = group.punctual.map_or(u64::MAX, |(healed, _)| healed.as_ms());
        let open = group.entries.iter().filter(|(_, entry)| !entry.is_finished());
        for (id, entry) in open.filter(|(id, _)| id.id.ms <= healed_ms) {
            let well =
                label_of(witness, id).is_some_and(|label| plan.labels[label].nature.is_well());
            ensure!(
                !well,
                Healthy,
                "nothing is wrong with {id}, and it is still {} long after faults have healed",
                entry.place
            );
        }
    }
    Ok(())
}

/// Who waits for what.
pub(super) fn stuck(why: &str, witness: &Witness, processes: &[Process], now_ns: u64) -> Violation {
    let mut what = format!("{why}, and {} messages are not finished", witness.unfinished());
    let all = witness.groups.iter().flat_map(|group| {
        let open = group.entries.iter().filter(|(_, entry)| !entry.is_finished());
        open.map(move |(id, entry)| {
            let (group, number, place) = (&group.spec.name, entry.number, &entry.place);
            format!("\n    {group}: #{number} {id} is {place}; {}", tries_of(&entry.tries))
        })
    });
    all.take(NAMED).for_each(|line| what.push_str(&line));
    for (number, process) in processes.iter().enumerate().filter(|(_, one)| !one.is_gone()) {
        let (holds, runs) = (process.core.in_flight(), process.runs.len());
        let circuit = if process.core.circuit_is_closed() { "closed" } else { "open" };
        let name = &process.member.consumer;
        // Writing to a string does not fail.
        let _ = write!(
            what,
            "\n    p{number} ({name}) is {}, holds {holds}, runs {runs}, circuit {circuit}",
            process.state
        );
    }
    let _ = write!(what, "\n    at {} ({})", spell::clock(now_ns), Nanos(EPOCH_NS + now_ns));
    Violation::plain(Promise::Live, what)
}
