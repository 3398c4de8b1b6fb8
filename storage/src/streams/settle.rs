//! Ending the handling of messages.

use silvertine_engine::time::Nanos;
use silvertine_streams::{
    DeadLetter, Disposition, GroupSpec, Member, MessageId, Settled, Settlement, StoreErrorKind,
    StreamSpec, Topology, Tries,
};

use super::{
    dead,
    done::{done_key, is_done},
    holding::{holder_key, queue, touch},
    keys::{Key, Tag, last_id},
    kv::{Kv, Step, corrupt},
    publish::append,
    records::{Pending, Place, decode},
};

/// Keys forgotten per step at least, where so many are old; each step adds fewer than it may forget.
const FORGET_MAX: usize = 512;
/// Messages that a leaving member hands back per step.
const LEAVE_MAX: usize = 1_000;

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
    ) -> Result<Vec<Settled>, StoreErrorKind> {
        touch(self.step, self.member, self.now);
        let settled = settlements.iter().map(|one| self.settle_one(one));
        let settled = settled.collect::<Result<Vec<Settled>, _>>()?;
        self.forget_old_keys(FORGET_MAX.max(2 * settlements.len()))?;
        Ok(settled)
    }

    fn settle_one(&mut self, settlement: &Settlement) -> Result<Settled, StoreErrorKind> {
        let Settlement { id, disposition } = settlement;
        let group = &self.member.group;
        let Some(pending) = self.step.pending(id, group)? else { return Ok(Settled::Lost) };
        if pending.place == Place::Blocked {
            return Ok(Settled::Lost);
        }
        let ours = pending.place == Place::Held(self.member.consumer.clone());
        match disposition {
            Disposition::Done { key, emit } => {
                // Whoever has it now: the work is done, and nobody needs to do it again.
                self.finish(id, &pending)?;
                if let Some(key) = key {
                    if is_done(self.step, self.member, self.spec, key, self.now)? {
                        self.step.count(&id.stream, group, |counts| counts.duplicates += 1)?;
                        return Ok(Settled::Duplicate);
                    }
                    self.remember(key)?;
                }
                self.step.count(&id.stream, group, |counts| counts.done += 1)?;
                for publication in emit {
                    append(self.step, self.topology, publication, self.now)?;
                }
            }
            _ if !ours => return Ok(Settled::Lost),
            Disposition::Retry { tries, after } => {
                let due = self.now.saturating_add(after.duration());
                self.wait_until(id, &pending, due, *tries)?;
            }
            Disposition::Release => self.wait_until(id, &pending, self.now, pending.tries)?,
            Disposition::Dead(letter) => {
                self.finish(id, &pending)?;
                self.step.count(&id.stream, group, |counts| counts.dead += 1)?;
                self.bury(letter)?;
            }
        }
        Ok(Settled::Applied)
    }

    fn bury(&mut self, letter: &DeadLetter) -> Result<(), StoreErrorKind> {
        dead::bury(self.step, self.stream, letter, self.now).map(|_| ())
    }

    fn wait_until(
        &mut self,
        id: &MessageId,
        pending: &Pending,
        due: Nanos,
        tries: Tries,
    ) -> Result<(), StoreErrorKind> {
        let waiting = Pending { place: Place::Waiting(due), tries, ..pending.clone() };
        self.step.place(id, &self.member.group, Some(&pending.place), Some(&waiting))
    }

    /// Takes a message out of everything; the next with its ordering key comes up.
    fn finish(&mut self, id: &MessageId, pending: &Pending) -> Result<(), StoreErrorKind> {
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
        let blocked = self.step.known_pending(&next, &self.member.group)?;
        self.wait_until(&next, &blocked, self.now, blocked.tries)
    }

    fn remember(&mut self, key: &str) -> Result<(), StoreErrorKind> {
        if self.spec.idempotency_window.as_nanos() == 0 {
            return Ok(());
        }
        let Member { stream, group, .. } = self.member;
        let done = done_key(self.member, key);
        match self.step.load::<Nanos>(&done)? {
            Some(before) => self.step.remove(self.done_at(before, key)),
            None => self.step.count(stream, group, |counts| counts.remembered += 1)?,
        }
        self.step.save(done, &self.now);
        self.step.put(self.done_at(self.now, key), Vec::new());
        Ok(())
    }

    fn done_at(&self, at: Nanos, key: &str) -> Vec<u8> {
        let Member { stream, group, .. } = self.member;
        Key::of(Tag::DoneAt, stream).group(group).time(at).bytes(key.as_bytes()).done()
    }

    /// Forgets keys that have left the window, and the oldest beyond the most that are to be remembered.
    fn forget_old_keys(&mut self, most: usize) -> Result<(), StoreErrorKind> {
        let Member { stream, group, .. } = self.member;
        let remembered = self.step.group(stream, group)?.unwrap_or_default().remembered;
        let excess = remembered.saturating_sub(self.spec.idempotency_entries);
        let excess = usize::try_from(excess).unwrap_or(usize::MAX).min(most);
        let window = self.spec.idempotency_window.as_nanos();
        let (from, end) = Key::of(Tag::DoneAt, stream).group(group).prefix();
        let cutoff = self.done_at(Nanos(self.now.0.saturating_sub(window)), "");
        let mut old = self.step.keys(&from, &cutoff, most)?;
        if old.len() < excess {
            old = self.step.keys(&from, &end, excess)?;
        }
        for at in &old {
            let key = at.get(from.len() + 8..).and_then(|key| std::str::from_utf8(key).ok());
            let key = key.ok_or_else(|| corrupt(at, "no time and text in its key"))?;
            self.step.remove(done_key(self.member, key));
            self.step.remove(at.clone());
        }
        if old.is_empty() {
            return Ok(());
        }
        self.step.count(stream, group, |counts| counts.remembered -= old.len() as u64)
    }

    /// Puts on record what is about to be handled.
    pub(super) fn begin(
        &mut self,
        tries: &[(MessageId, Tries)],
    ) -> Result<Vec<bool>, StoreErrorKind> {
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
    pub(super) fn extend(&mut self, ids: &[MessageId]) -> Result<Vec<MessageId>, StoreErrorKind> {
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

    /// Makes what the member holds due for others. Returns whether that was all.
    pub(super) fn leave(&mut self) -> Result<bool, StoreErrorKind> {
        let Member { stream, group, consumer } = self.member;
        let mut room = LEAVE_MAX;
        for lane in self.stream.keys() {
            let (from, to) = Key::of(Tag::Held, &lane).group(group).consumer(consumer).prefix();
            for key in self.step.keys(&from, &to, room)? {
                let id = MessageId { stream: lane.clone(), id: last_id(&key)? };
                let pending = self.step.known_pending(&id, group)?;
                self.wait_until(&id, &pending, self.now, pending.tries)?;
                room -= 1;
            }
        }
        if room == 0 {
            return Ok(false);
        }
        self.step.remove(Key::of(Tag::Member, stream).group(group).consumer(consumer).done());
        Ok(true)
    }
}
