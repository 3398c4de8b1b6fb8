//! Ending the handling of messages.

use silvertine_engine::{
    log::LogErrorKind,
    time::Nanos,
    worker::{
        DeadLetter, GroupSpec, Member, MessageId, Settled, Settlement, StreamSpec, Topology, Tries,
        Verdict,
    },
};

use super::{
    dead, keys,
    keys::{Key, Tag},
    kv::{Kv, Step},
    poll::{holder_key, queue, touch},
    publish::append,
    records::{Pending, Place, decode},
};

/// Keys forgotten per step at most; each step adds fewer.
const FORGET_MAX: usize = 512;

pub(super) struct Settling<'s, 'k, K> {
    pub(super) step: &'s mut Step<'k, K>,
    pub(super) topology: &'s Topology,
    pub(super) stream: &'s StreamSpec,
    pub(super) spec: &'s GroupSpec,
    pub(super) member: &'s Member,
    pub(super) now: Nanos,
}

impl<K: Kv> Settling<'_, '_, K> {
    pub(super) fn settle(
        &mut self,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, LogErrorKind> {
        touch(self.step, self.member, self.now);
        let settled = settlements.iter().map(|one| self.settle_one(one)).collect();
        self.forget_old_keys()?;
        settled
    }

    fn settle_one(&mut self, settlement: &Settlement) -> Result<Settled, LogErrorKind> {
        let Settlement { id, verdict } = settlement;
        let group = &self.member.group;
        let Some(pending) = self.step.pending(id, group)? else { return Ok(Settled::Lost) };
        let ours = pending.place == Place::Held(self.member.consumer.clone());
        match verdict {
            Verdict::Done { key, emit } => {
                // Whoever has it now: the work is done, and nobody needs to do it again.
                self.finish(id, &pending)?;
                if is_done(self.step, self.member, self.spec, key, self.now)? {
                    self.step.count(&id.stream, group, |counts| counts.duplicates += 1)?;
                    return Ok(Settled::Duplicate);
                }
                self.step.count(&id.stream, group, |counts| counts.done += 1)?;
                self.remember(key);
                for publication in emit {
                    append(self.step, self.topology, publication, self.now)?;
                }
            }
            _ if !ours => return Ok(Settled::Lost),
            Verdict::Retry { tries, after } => {
                let due = self.now.saturating_add(after.duration());
                self.wait_until(id, &pending, due, *tries)?;
            }
            Verdict::Release => self.wait_until(id, &pending, self.now, pending.tries)?,
            Verdict::Dead(letter) => {
                self.finish(id, &pending)?;
                self.step.count(&id.stream, group, |counts| counts.dead += 1)?;
                self.bury(letter)?;
            }
        }
        Ok(Settled::Applied)
    }

    fn bury(&mut self, letter: &DeadLetter) -> Result<(), LogErrorKind> {
        dead::bury(self.step, self.stream, letter, self.now).map(|_| ())
    }

    fn wait_until(
        &mut self,
        id: &MessageId,
        pending: &Pending,
        due: Nanos,
        tries: Tries,
    ) -> Result<(), LogErrorKind> {
        let waiting = Pending { place: Place::Waiting(due), tries, ..pending.clone() };
        self.step.place(id, &self.member.group, Some(&pending.place), Some(&waiting))
    }

    /// Takes a message out of everything; the next with its ordering key comes up.
    fn finish(&mut self, id: &MessageId, pending: &Pending) -> Result<(), LogErrorKind> {
        self.step.place(id, &self.member.group, Some(&pending.place), None)?;
        let Some(ordered) = &pending.ordered else { return Ok(()) };
        let holder = holder_key(self.member, ordered);
        let (from, to) = queue(self.member, ordered).prefix();
        let Some((key, value)) = self.step.scan(&from, &to, 1)?.into_iter().next() else {
            self.step.remove(holder);
            return Ok(());
        };
        let next: MessageId = decode(&key, &value)?;
        self.step.remove(key);
        self.step.save(holder, &next);
        match self.step.pending(&next, &self.member.group)? {
            Some(parked) => self.wait_until(&next, &parked, self.now, parked.tries),
            None => Ok(()),
        }
    }

    fn remember(&mut self, key: &str) {
        if self.spec.idempotency_window.as_nanos() == 0 {
            return;
        }
        self.step.save(done_key(self.member, key), &self.now);
        let at = Key::of(Tag::DoneAt, &self.member.stream).group(&self.member.group);
        self.step.put(at.time(self.now).bytes(key.as_bytes()).done(), Vec::new());
    }

    /// Forgets keys that have left the window.
    fn forget_old_keys(&mut self) -> Result<(), LogErrorKind> {
        let all = || Key::of(Tag::DoneAt, &self.member.stream).group(&self.member.group);
        let window = self.spec.idempotency_window.as_nanos();
        let (from, end) = all().prefix();
        let to = all().time(Nanos(self.now.0.saturating_sub(window))).done();
        for (key, _) in self.step.scan(&from, &to.min(end), FORGET_MAX)? {
            let name = String::from_utf8_lossy(&key[from.len() + 8..]).into_owned();
            let done = done_key(self.member, &name);
            // A key that was done again since then stays.
            if self.step.load::<Nanos>(&done)?.is_some_and(|at| {
                at.saturating_add(self.spec.idempotency_window.duration()) < self.now
            }) {
                self.step.remove(done);
            }
            self.step.remove(key);
        }
        Ok(())
    }

    /// Puts on record what is about to be handled.
    pub(super) fn begin(
        &mut self,
        tries: &[(MessageId, Tries)],
    ) -> Result<Vec<bool>, LogErrorKind> {
        touch(self.step, self.member, self.now);
        let held = Place::Held(self.member.consumer.clone());
        let mut ours = Vec::with_capacity(tries.len());
        for (id, tries) in tries {
            let pending = self.step.pending(id, &self.member.group)?;
            let pending = pending.filter(|pending| pending.place == held);
            if let Some(pending) = &pending {
                let begun = Pending { tries: *tries, ..pending.clone() };
                let place = Some(&pending.place);
                self.step.place(id, &self.member.group, place, Some(&begun))?;
            }
            ours.push(pending.is_some());
        }
        Ok(ours)
    }

    /// Says which messages the member does not hold.
    pub(super) fn extend(&mut self, ids: &[MessageId]) -> Result<Vec<MessageId>, LogErrorKind> {
        touch(self.step, self.member, self.now);
        let held = Place::Held(self.member.consumer.clone());
        let mut lost = Vec::new();
        for id in ids {
            let pending = self.step.pending(id, &self.member.group)?;
            if pending.is_none_or(|pending| pending.place != held) {
                lost.push(id.clone());
            }
        }
        Ok(lost)
    }

    /// Makes everything that the member holds due for others.
    pub(super) fn leave(&mut self) -> Result<(), LogErrorKind> {
        let Member { stream, group, consumer } = self.member;
        for lane in self.stream.keys() {
            let (from, to) = Key::of(Tag::Held, &lane).group(group).consumer(consumer).prefix();
            for (key, _) in self.step.scan(&from, &to, usize::MAX)? {
                let Some(id) = keys::last_id(&key) else { continue };
                let id = MessageId { stream: lane.clone(), id };
                if let Some(pending) = self.step.pending(&id, group)? {
                    self.wait_until(&id, &pending, self.now, pending.tries)?;
                }
            }
        }
        self.step.remove(Key::of(Tag::Member, stream).group(group).consumer(consumer).done());
        Ok(())
    }
}

/// Whether a message with this key was done within the window.
pub(super) fn is_done<K: Kv>(
    step: &Step<'_, K>,
    member: &Member,
    spec: &GroupSpec,
    key: &str,
    now: Nanos,
) -> Result<bool, LogErrorKind> {
    let at = step.load::<Nanos>(&done_key(member, key))?;
    Ok(at.is_some_and(|at| at.saturating_add(spec.idempotency_window.duration()) >= now))
}

fn done_key(member: &Member, key: &str) -> Vec<u8> {
    Key::of(Tag::Done, &member.stream).group(&member.group).bytes(key.as_bytes()).done()
}
