//! Ending the handling of messages, and showing that it goes on.

use redis::Value;
use silvertine_streams::{
    DeadLetter, Disposition, Member, MessageId, Publication, Settled, Settlement, StoreError, Tries,
};

use super::{
    Place, RedisStreams,
    answers::{self, Parsed},
    call::{Call, Targets},
};

/// The most fields of a message that a script can pass on.
const FIELDS_MAX: usize = 3_000;

impl RedisStreams {
    pub(super) async fn settle_messages(
        &self,
        member: &Member,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError> {
        const OPERATION: &str = "settle";
        let place = self.place(OPERATION, member)?;
        self.check_settlements(settlements)?;
        let batch = Batch::of(place, settlements);
        let outputs =
            batch.others.iter().flat_map(|&(_, at)| emitted(&settlements[at].disposition));
        let targets = self.targets(OPERATION, outputs)?;
        let mut call = place.call();
        call.targets(&targets);
        call.dead_letters(place.stream, place.stream_keys);
        call.arg(place.spec.idempotency_window.as_millis()).arg(place.spec.idempotency_entries);
        batch.write_plain(&mut call, settlements);
        call.arg(batch.others.len());
        for &(lane, at) in &batch.others {
            write_other(&mut call, lane, &settlements[at], &targets);
        }
        let writes = batch.others.iter().any(|&(_, at)| match &settlements[at].disposition {
            Disposition::Dead(_) => true,
            disposition => !emitted(disposition).is_empty(),
        });
        let scripts = &self.inner.scripts;
        let script = if writes { &scripts.settle } else { &scripts.settle_only };
        let ids = settlements.iter().map(|settlement| &settlement.id);
        let answer = self.run_in_group(OPERATION, place, script, &call, ids).await?;
        batch.read(settlements.len(), answer).map_err(|why| self.odd(OPERATION, why))
    }

    fn check_settlements(&self, settlements: &[Settlement]) -> Result<(), StoreError> {
        for Settlement { id, disposition } in settlements {
            for publication in emitted(disposition) {
                let checked = publication.message.check();
                checked.map_err(|why| self.invalid("settle", why.to_string()))?;
            }
            if let Disposition::Dead(letter) = disposition {
                self.check_letter("settle", letter, &id.to_string())?;
            }
        }
        Ok(())
    }

    pub(super) fn check_letter(
        &self,
        operation: &'static str,
        letter: &DeadLetter,
        name: &str,
    ) -> Result<(), StoreError> {
        match letter.message.fields().len() {
            fields if fields > FIELDS_MAX => Err(self.invalid(
                operation,
                format!("{name} has {fields} fields, and a dead letter holds {FIELDS_MAX}"),
            )),
            _ => Ok(()),
        }
    }

    pub(super) async fn begin_messages(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
    ) -> Result<Vec<bool>, StoreError> {
        let place = self.place("begin", member)?;
        let ids = || tries.iter().map(|(id, _)| id);
        let known: Vec<Option<usize>> = ids().map(|id| place.lane(&id.stream)).collect();
        let mut call = place.call();
        call.arg(known.iter().flatten().count());
        for ((id, tries), lane) in tries.iter().zip(&known) {
            let Some(lane) = lane else { continue };
            call.arg(lane).arg(id.id).bytes(&encode(tries));
        }
        let script = &self.inner.scripts.begin;
        let answer = self.run_in_group("begin", place, script, &call, ids()).await?;
        read_ours(&known, answer).map_err(|why| self.odd("begin", why))
    }

    pub(super) async fn extend_messages(
        &self,
        member: &Member,
        held: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        let place = self.place("extend", member)?;
        let known: Vec<Option<usize>> = held.iter().map(|id| place.lane(&id.stream)).collect();
        let mut call = place.call();
        call.arg(known.iter().flatten().count());
        for (id, lane) in held.iter().zip(&known) {
            let Some(lane) = lane else { continue };
            call.arg(lane).arg(id.id);
        }
        let script = &self.inner.scripts.extend;
        let answer = self.run_in_group("extend", place, script, &call, held.iter()).await?;
        let ours = read_ours(&known, answer).map_err(|why| self.odd("extend", why))?;
        let lost = held.iter().zip(ours).filter(|(_, ours)| !ours);
        Ok(lost.map(|(id, _)| id.clone()).collect())
    }

    pub(super) async fn leave_group(&self, member: &Member) -> Result<(), StoreError> {
        let place = self.place("leave", member)?;
        let (script, call) = (&self.inner.scripts.leave, place.call());
        let answer = self.run_in_group("leave", place, script, &call, [].into_iter()).await;
        answer.map(|_| ())
    }
}

/// Settlements by how the script takes them, each with its number among all.
struct Batch {
    /// What is plainly done, lane by lane.
    plain: Vec<(usize, Vec<usize>)>,
    /// Everything else with its lane.
    others: Vec<(usize, usize)>,
}

impl Batch {
    fn of(place: Place<'_>, settlements: &[Settlement]) -> Self {
        let mut batch = Self { plain: Vec::new(), others: Vec::new() };
        let ordered = place.spec.order_by.is_some();
        for (at, settlement) in settlements.iter().enumerate() {
            // What stands on another stream was never ours.
            let Some(lane) = place.lane(&settlement.id.stream) else { continue };
            if ordered || !is_plain(settlement) {
                batch.others.push((lane, at));
                continue;
            }
            match batch.plain.iter_mut().find(|(known, _)| *known == lane) {
                Some((_, ids)) => ids.push(at),
                None => batch.plain.push((lane, vec![at])),
            }
        }
        batch
    }

    fn write_plain(&self, call: &mut Call, settlements: &[Settlement]) {
        call.arg(self.plain.len());
        for (lane, ids) in &self.plain {
            call.arg(lane).arg(ids.len());
            for &at in ids {
                call.arg(settlements[at].id.id);
            }
        }
    }

    fn read(&self, count: usize, answer: Value) -> Parsed<Vec<Settled>> {
        let [lost, others] = answers::parts(answer)?;
        let mut settled = vec![Settled::Lost; count];
        let plain: Vec<usize> = self.plain.iter().flat_map(|(_, ids)| ids).copied().collect();
        for &at in &plain {
            settled[at] = Settled::Applied;
        }
        for ordinal in answers::array(lost)? {
            let at = answers::count(&ordinal)?.checked_sub(1);
            let at = at.and_then(|at| plain.get(usize::try_from(at).ok()?));
            settled[*at.ok_or("a number that nobody has")?] = Settled::Lost;
        }
        let others = answers::array(others)?.into_iter().zip(&self.others);
        for (result, &(_, at)) in others {
            settled[at] = match answers::bytes(&result) {
                Some(b"A") => Settled::Applied,
                Some(b"D") => Settled::Duplicate,
                Some(b"L") => Settled::Lost,
                _ => return Err("a settlement without a result"),
            };
        }
        Ok(settled)
    }
}

/// Whether nothing is to be done but to acknowledge it.
fn is_plain(settlement: &Settlement) -> bool {
    match &settlement.disposition {
        Disposition::Done { key, emit } => emit.is_empty() && key.is_none(),
        _ => false,
    }
}

fn emitted(disposition: &Disposition) -> &[Publication] {
    match disposition {
        Disposition::Done { emit, .. } => emit,
        _ => &[],
    }
}

fn write_other(call: &mut Call, lane: usize, settlement: &Settlement, targets: &Targets<'_>) {
    let Settlement { id, disposition } = settlement;
    let verb = match disposition {
        Disposition::Done { .. } => "k",
        Disposition::Retry { .. } => "r",
        Disposition::Release => "f",
        Disposition::Dead(_) => "d",
    };
    call.arg(verb).arg(lane).arg(id.id);
    match disposition {
        Disposition::Done { key, emit } => {
            call.arg(key.as_deref().unwrap_or_default()).arg(emit.len());
            for publication in emit {
                call.arg(targets.number(&publication.stream)).fields(&publication.message);
            }
        }
        Disposition::Retry { tries, after } => {
            call.arg(after.as_millis()).bytes(&encode(tries));
        }
        Disposition::Release => {}
        Disposition::Dead(letter) => {
            call.bytes(&super::dead::story(letter)).fields(&letter.message);
        }
    }
}

fn encode(tries: &Tries) -> Vec<u8> {
    postcard::to_stdvec(tries).expect("tries have no part that could be refused")
}

/// Which of all are still ours; those on other streams never were.
fn read_ours(known: &[Option<usize>], answer: Value) -> Parsed<Vec<bool>> {
    let mut answers = answers::array(answer)?.into_iter();
    let ours = known.iter().map(|lane| match lane {
        Some(_) => Ok(answers::number(&answers.next().ok_or("an answer is missing")?)? == 1),
        None => Ok(false),
    });
    ours.collect()
}
