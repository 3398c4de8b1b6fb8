//! Handing messages to a member.

use silvertine_engine::{digest::fingerprint, span::Span, time::Nanos};
use silvertine_streams::{
    ConsumerName, Delivery, Fetch, Fetched, GroupSpec, LaneOrder, Member, Message, MessageId,
    StoreErrorKind, StreamName, StreamSpec, Tries, Why, message,
};

use super::{
    done::is_done,
    holding::{holder_key, queue, touch},
    keys::{Key, Tag, behind, last_id},
    kv::{Kv, Step, corrupt},
    records::{Pending, Place, Stored, decode},
};

/// New messages looked at per stream and fetch at least; more only to fill the limit.
const LOOK_MAX: usize = 4096;

/// One fetch in the making.
struct Fetching<'s, 'k, K> {
    step: &'s mut Step<'k, K>,
    spec: &'s GroupSpec,
    member: &'s Member,
    now: Nanos,
    deliveries: Vec<Delivery>,
}

pub(super) fn fetch<K: Kv>(
    step: &mut Step<'_, K>,
    stream: &StreamSpec,
    spec: &GroupSpec,
    fetch: &Fetch<'_>,
) -> Result<Fetched, StoreErrorKind> {
    touch(step, fetch.member, fetch.now);
    let mut lanes = stream.lanes();
    if fetch.lanes == LaneOrder::UrgentLast {
        lanes.reverse();
    }
    let redrives = stream.name.redrives(&spec.name);
    let everywhere: Vec<StreamName> = lanes.iter().cloned().chain([redrives.clone()]).collect();
    let mut fetching =
        Fetching { step, spec, member: fetch.member, now: fetch.now, deliveries: Vec::new() };
    let mut next_due = None;
    if fetch.scope.includes_own() {
        for lane in &everywhere {
            fetching.take_held(lane, &fetch.member.consumer, usize::MAX, Why::Own)?;
        }
    }
    if fetch.scope.includes_returned() {
        fetching.reclaim(&everywhere, fetch)?;
        for lane in &everywhere {
            let due = fetching.take_due(lane, fetch.limit)?;
            next_due = next_due.into_iter().chain(due).min();
        }
        fetching.take_new(&redrives, fetch.limit)?;
    }
    for lane in &lanes {
        fetching.take_new(lane, fetch.limit)?;
    }
    Ok(Fetched { deliveries: fetching.deliveries, next_due, regrouped: Vec::new() })
}

impl<K: Kv> Fetching<'_, '_, K> {
    fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.deliveries.len())
    }

    /// Hands over what `holder` holds on a stream.
    fn take_held(
        &mut self,
        stream: &StreamName,
        holder: &ConsumerName,
        limit: usize,
        why: Why,
    ) -> Result<(), StoreErrorKind> {
        let (from, to) =
            Key::of(Tag::Held, stream).group(&self.member.group).consumer(holder).prefix();
        for key in self.step.keys(&from, &to, limit)? {
            self.hand_over(MessageId { stream: stream.clone(), id: last_id(&key)? }, why)?;
        }
        Ok(())
    }

    /// Takes over what members hold that have died, and forgets those that hold nothing.
    fn reclaim(&mut self, streams: &[StreamName], fetch: &Fetch<'_>) -> Result<(), StoreErrorKind> {
        let (from, to) =
            Key::of(Tag::Member, &self.member.stream).group(&self.member.group).prefix();
        for (key, seen) in self.step.scan(&from, &to, usize::MAX)? {
            let name = String::from_utf8_lossy(&key[from.len()..key.len() - 1]).into_owned();
            let holder = ConsumerName::new(&name).map_err(|why| corrupt(&key, why))?;
            let seen: Nanos = decode(&key, &seen)?;
            if holder == self.member.consumer
                || seen.saturating_add(fetch.reclaim_after.duration()) > self.now
            {
                continue;
            }
            for stream in streams {
                self.take_held(stream, &holder, self.room(fetch.limit), Why::Reclaimed)?;
            }
            if self.room(fetch.limit) == 0 {
                return Ok(());
            }
            self.step.remove(key);
        }
        Ok(())
    }

    /// Hands over retries that are due. Returns in how long the next one is.
    fn take_due(
        &mut self,
        stream: &StreamName,
        limit: usize,
    ) -> Result<Option<Span>, StoreErrorKind> {
        let (from, to) = Key::of(Tag::Due, stream).group(&self.member.group).prefix();
        // One more than is taken tells when to look again.
        let room = self.room(limit);
        for (at, key) in self.step.keys(&from, &to, room.saturating_add(1))?.iter().enumerate() {
            let due = key.get(from.len()..from.len() + 8).and_then(|due| due.try_into().ok());
            let due = due.map(u64::from_be_bytes).ok_or_else(|| corrupt(key, "no time in its key"));
            let due = Nanos(due?);
            if due > self.now || at == room {
                let pause = due.since(self.now).as_nanos();
                return Ok(Some(Span::from_nanos(u64::try_from(pause).unwrap_or(u64::MAX))));
            }
            self.hand_over(MessageId { stream: stream.clone(), id: last_id(key)? }, Why::Due)?;
        }
        Ok(None)
    }

    /// Hands over messages that nobody has had yet.
    fn take_new(&mut self, stream: &StreamName, limit: usize) -> Result<(), StoreErrorKind> {
        let group = self.member.group.clone();
        let Some(record) = self.step.group(stream, &group)? else { return Ok(()) };
        let mut delivered = record.delivered;
        // Messages that are blocked take no room, so it may need more than one look.
        let mut looked_at = 0;
        while self.room(limit) > 0 && looked_at < LOOK_MAX {
            let (from, to) = behind(Key::of(Tag::Message, stream), delivered);
            let found = self.step.scan(&from, &to, self.room(limit).min(LOOK_MAX))?;
            let mut number = None;
            looked_at += found.len();
            for (key, value) in found {
                let stored: Stored<Message> = decode(&key, &value)?;
                delivered = last_id(&key)?;
                number = Some(stored.number);
                self.admit(MessageId { stream: stream.clone(), id: delivered }, stored.message)?;
            }
            let Some(number) = number else { return Ok(()) };
            self.step.count(stream, &group, |record| {
                record.delivered = delivered;
                record.read = number;
            })?;
        }
        Ok(())
    }

    /// Hands over a new message, or blocks it behind another with the same ordering key.
    fn admit(&mut self, id: MessageId, message: Message) -> Result<(), StoreErrorKind> {
        let by = self.spec.order_by.as_deref();
        let ordered = by.and_then(|field| message.field(field)).map(fingerprint);
        if let Some(ordered) = ordered {
            let holder = holder_key(self.member, &ordered);
            if let Some(last) = self.step.load::<u64>(&holder)? {
                let number = last + 1;
                let place = queue(self.member, &ordered).number(number).done();
                self.step.save(place, &id);
                self.step.save(holder, &number);
                let pending = Pending {
                    place: Place::Blocked,
                    deliveries: 0,
                    tries: Tries::default(),
                    ordered: Some(ordered),
                };
                return self.step.place(&id, &self.member.group, None, Some(&pending));
            }
            self.step.save(holder, &0_u64);
        }
        let pending = Pending {
            place: Place::Held(self.member.consumer.clone()),
            deliveries: 1,
            tries: Tries::default(),
            ordered,
        };
        self.step.place(&id, &self.member.group, None, Some(&pending))?;
        let done = self.is_done(&message)?;
        let (message, why) = (Some(message), Why::New);
        let tries = Tries::default();
        self.deliveries.push(Delivery { id, message, why, tries, deliveries: 1, done });
        Ok(())
    }

    /// Hands over a message that is pending already.
    fn hand_over(&mut self, id: MessageId, why: Why) -> Result<(), StoreErrorKind> {
        let group = &self.member.group;
        let mut pending = self.step.known_pending(&id, group)?;
        let before = pending.place.clone();
        pending.place = Place::Held(self.member.consumer.clone());
        pending.deliveries += 1;
        self.step.place(&id, group, Some(&before), Some(&pending))?;
        let message = self.step.message::<Message>(&id)?.map(|stored| stored.message);
        let done = message.as_ref().map_or(Ok(false), |message| self.is_done(message))?;
        let Pending { tries, deliveries, .. } = pending;
        self.deliveries.push(Delivery { id, message, why, tries, deliveries, done });
        Ok(())
    }

    /// Whether a message with the same key of its producer's was done within the window.
    fn is_done(&self, message: &Message) -> Result<bool, StoreErrorKind> {
        match message.text(message::KEY) {
            Some(key) => is_done(self.step, self.member, self.spec, &key, self.now),
            None => Ok(false),
        }
    }
}
