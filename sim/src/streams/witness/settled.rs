//! The end of a message in a member's hands, as the model sees it.

use silvertine_streams::{Disposition, Member, Settled, Settlement};

use super::{Place, Witness};
use crate::streams::{
    fault::Fault,
    op::Client,
    promise::{Checked, Promise, Violation, ensure},
    stage::Stage,
    trace::What,
};

impl Witness {
    /// A member settled a message: what should become of it, and what did.
    pub(super) fn settled(
        &mut self,
        member: &Member,
        settlement: &Settlement,
        settled: Settled,
        late: bool,
        from: Client,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let now = stage.store_time();
        let Settlement { id, disposition } = settlement;
        let at = self.groups.iter().position(|group| group.spec.name == member.group);
        let group = &mut self.groups[at.expect("a group of the plan")];
        let Some(entry) = group.entries.get(id) else {
            if self.lost.contains_key(id) {
                ensure!(
                    settled == Settled::Lost,
                    Settled,
                    "{} settles {id}, which a failover has lost: the store says {}",
                    member.consumer,
                    word(settled)
                );
                return Ok(());
            }
            return Err(Violation::plain(Promise::Model, format!("{id} was never handed over")));
        };
        let (ours, pending) = (group.holds(id, member), entry.is_pending());
        let number = entry.number;
        let (code, name) = match disposition {
            Disposition::Done { .. } => (0, "done"),
            Disposition::Retry { .. } => (1, "to be retried"),
            Disposition::Dead(_) => (2, "dead"),
            Disposition::Release => (3, "released"),
        };
        stage.note(from, What::Settled(number, code, settled as u8));
        if pending && !ours {
            stage.counts.note(Fault::Zombie);
        }
        let say = |should: &str| {
            let said = word(settled);
            format!(
                "{} settles {id} as {name}: the store says {said}, not {should}",
                member.consumer
            )
        };
        // Nobody knows when a blocked message comes up. It counts when it was handed over before a failover.
        let may_have_come_up =
            entry.place == Place::Waiting && entry.order.is_some() && entry.ghosted;
        let pending = pending || may_have_come_up;
        if !pending || !ours && !matches!(disposition, Disposition::Done { .. }) {
            ensure!(settled == Settled::Lost, Settled, "{}", say("lost"));
            return Ok(());
        }
        if !ours && settled == Settled::Lost {
            return Ok(());
        }
        let entry = group.entries.get_mut(id).expect("was there");
        entry.ghosted |= late || !ours;
        entry.begun = false;
        match disposition {
            Disposition::Done { key, emit } => {
                let done = key.as_ref().is_some_and(|key| group.is_done(key, now));
                let should = if done { Settled::Duplicate } else { Settled::Applied };
                ensure!(settled == should, Effect, "{}", say(word(should)));
                if done {
                    group.finish(id, Place::Duplicate);
                    stage.counts.note(Fault::Duplicate);
                    return Ok(());
                }
                group.finish(id, Place::Done);
                let name = match key {
                    Some(key) => {
                        group.done_keys.insert(key.to_string(), now);
                        key.to_string()
                    }
                    None => id.to_string(),
                };
                if emit.is_empty() && group.undone.contains(&name) {
                    group.without_results.insert(name.clone());
                }
                *group.dones.entry(name).or_default() += 1;
                emit.iter().for_each(|publication| self.expect(publication));
            }
            Disposition::Retry { tries, after } => {
                ensure!(settled == Settled::Applied, Model, "{}", say("applied"));
                entry.tries = *tries;
                entry.place = Place::Retrying(now.saturating_add(after.duration()));
            }
            Disposition::Release => {
                ensure!(settled == Settled::Applied, Model, "{}", say("applied"));
                entry.place = Place::Retrying(now);
            }
            Disposition::Dead(letter) => {
                ensure!(settled == Settled::Applied, Model, "{}", say("applied"));
                let deleted = self.streams[&id.stream]
                    .iter()
                    .any(|standing| standing.id == id.id && standing.deleted);
                entry.judge(id, letter, deleted, group.attempts_max, group.silence)?;
                group.finish(id, Place::Dead);
                let known = self.letter_ids.get(self.letters.len()).copied().flatten();
                self.letters.push((known, (**letter).clone()));
            }
        }
        Ok(())
    }
}

const fn word(settled: Settled) -> &'static str {
    match settled {
        Settled::Applied => "applied",
        Settled::Duplicate => "duplicate",
        Settled::Lost => "lost",
    }
}
