//! Handlers: how each ends is drawn when it starts, from what the plan says of its message.

use std::collections::BTreeMap;

use silvertine_streams::{Class, HandlerFailure, HandlerOutcome, Message, Publication, Work};

use super::{
    fault::Fault,
    plan::{LABEL, MS, Nature, out_stream},
    process::{Ends, Process, Run},
    promise::{Checked, Promise, Violation, ensure},
    stage::{Event, Stage},
    trace::{OUTCOME_KILLED, What, Who},
    witness::{Group, Seen, Witness},
};

/// What every failure says of itself.
const TEXT: &str = "as drawn";

#[derive(Default)]
pub(super) struct Handlers {
    /// How often a group has handled each of the plan's messages.
    handled: BTreeMap<(usize, usize), u32>,
    next_run: u64,
}

/// Which of the plan's messages it is.
pub(super) fn label(message: &Message) -> Option<usize> {
    message.text(LABEL)?.parse().ok()
}

impl Handlers {
    /// Starts a handler in a process, after checking that it may be started.
    pub(super) fn start(
        &mut self,
        number: usize,
        process: &mut Process,
        group: usize,
        work: Work,
        witness: &Witness,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let group_spec = stage.plan.group(group);
        let in_flight = group_spec.in_flight;
        ensure!(
            process.runs.len() < in_flight,
            Bounded,
            "p{number} handles more than {in_flight} messages"
        );
        let entry = match witness.number_of_lost(&work.id) {
            // A member cannot know that a failover has lost the message that it holds.
            Some(lost) => lost,
            None => may_start(number, process, &witness.groups[group], &work, stage)?,
        };
        stage.note(Who::Member(number as u32), What::Handles(entry));
        let (ends, takes_ns) = match label(&work.message) {
            Some(label) => self.draw(group, label, work.redrives, stage),
            // What was trimmed before anybody saw it is redriven as nothing at all.
            None => (Ends::Undecodable, MS),
        };
        self.next_run += 1;
        let key = work.name();
        process.runs.insert(self.next_run, Run { id: work.id, key, number: entry, ends });
        stage.at(stage.now_ns() + takes_ns, Event::HandlerEnds(number, self.next_run));
        Ok(())
    }

    /// Draws how a handler ends, and after how long.
    fn draw(
        &mut self,
        group: usize,
        label: usize,
        redrives: u32,
        stage: &mut Stage<'_>,
    ) -> (Ends, u64) {
        let times = self.handled.entry((group, label)).or_default();
        *times += 1;
        let times = *times;
        let timeout_ns = stage.plan.group(group).handler_timeout.as_nanos();
        let of = &stage.plan.labels[label];
        let done = Ends::Done { label, invalid: false };
        // Somebody mended what was wrong before it was redriven; not always.
        let nature = match of.nature {
            _ if redrives > 0 && stage.dice.below(2) == 0 => Nature::Well,
            nature => nature,
        };
        let ends = match nature {
            Nature::Well => done,
            Nature::Transient(most) if times <= most && !stage.healed => Ends::Transient,
            Nature::Down if !stage.healed => Ends::Transient,
            Nature::Transient(_) | Nature::Down => done,
            Nature::Permanent => Ends::Permanent,
            Nature::Undecodable => Ends::Undecodable,
            Nature::Panics => Ends::Panics,
            Nature::TimesOut(most) if times <= most && !stage.healed => Ends::TimedOut,
            Nature::TimesOut(_) => done,
            Nature::Invalid => Ends::Done { label, invalid: true },
            Nature::Kills(most) if times <= most => Ends::Kills,
            Nature::Kills(_) => done,
        };
        let takes_ns = match ends {
            Ends::TimedOut => timeout_ns,
            _ => of.work.as_nanos().min(timeout_ns.saturating_sub(1)),
        };
        (ends, takes_ns)
    }
}

/// Checks that a message may be handed to a handler. Returns its number.
fn may_start(
    number: usize,
    process: &Process,
    group: &Group,
    work: &Work,
    stage: &Stage<'_>,
) -> Result<u64, Violation> {
    let id = &work.id;
    let Some(entry) = group.entries.get(id) else {
        return Err(Violation::plain(
            Promise::Model,
            format!("p{number} handles {id}, which was never published"),
        ));
    };
    let ours = group.holds(id, &process.member);
    ensure!(
        ours || entry.ghosted,
        Settled,
        "p{number} starts to handle {id}, although it is {} and nothing came late",
        entry.place
    );
    let window_ns = group.spec.idempotency_window.as_nanos();
    let key = work.name();
    let told = process.known_done.get(&key).is_some_and(|at| at + window_ns >= stage.now_ns());
    ensure!(
        !told || !group.is_done(&key, stage.store_time()),
        Settled,
        "p{number} starts to handle {id} although it was told that the key {key} is done"
    );
    Ok(entry.number)
}

/// A handler has ended otherwise than by killing its process. Returns what its process is told.
pub(super) fn outcome(
    number: usize,
    group: usize,
    run: &Run,
    witness: &mut Witness,
    stage: &mut Stage<'_>,
) -> HandlerOutcome {
    let seen = witness.groups[group].entries.get_mut(&run.id).map(|entry| &mut entry.seen);
    let mut unseen = Seen::default();
    let seen = seen.unwrap_or(&mut unseen);
    let (outcome, code, fault) = match &run.ends {
        Ends::Done { label, invalid } => {
            seen.permanent += u32::from(*invalid);
            let fault = invalid.then_some(Fault::InvalidOutput);
            (HandlerOutcome::Done(outputs(group, &run.key, *label, *invalid, stage)), 0, fault)
        }
        Ends::Transient => {
            seen.transient += 1;
            let failure = HandlerFailure::new(Class::Transient, "down", TEXT);
            (HandlerOutcome::Failed(failure), 1, Some(Fault::Transient))
        }
        Ends::Permanent => {
            seen.permanent += 1;
            let failure = HandlerFailure::new(Class::Permanent, "refused", TEXT);
            (HandlerOutcome::Failed(failure), 1, Some(Fault::Permanent))
        }
        Ends::Undecodable => {
            seen.undecodable += 1;
            (HandlerOutcome::Undecodable(TEXT.to_owned()), 2, Some(Fault::Undecodable))
        }
        Ends::Panics => {
            seen.panicked += 1;
            (HandlerOutcome::Panicked(TEXT.to_owned()), 3, Some(Fault::Panicked))
        }
        Ends::TimedOut | Ends::Kills => {
            seen.transient += 1;
            (HandlerOutcome::TimedOut, 4, Some(Fault::TimedOut))
        }
    };
    if let Some(fault) = fault {
        stage.counts.note(fault);
    }
    stage.note(Who::Member(number as u32), What::Ended(run.number, code));
    outcome
}

/// A handler has killed its process.
pub(super) fn killed(number: usize, run: &Run, stage: &mut Stage<'_>) {
    let who = Who::Member(number as u32);
    stage.note(who, What::Ended(run.number, OUTCOME_KILLED));
    stage.strike(who, Fault::Killer);
}

/// What a handler emits for a message.
fn outputs(
    group: usize,
    key: &str,
    label: usize,
    invalid: bool,
    stage: &Stage<'_>,
) -> Vec<Publication> {
    let group = &stage.plan.group(group).name;
    let one = |n| {
        let data = format!("{group} {key} {n}");
        Publication::new(out_stream(), Message::default().with("data", data))
    };
    let broken = invalid.then(|| Publication::new(out_stream(), Message::default()));
    (0..stage.plan.labels[label].outputs).map(one).chain(broken).collect()
}
