//! The witness: a naive model of the store that is told every request and answer in the order of effect.
//!
//! It shares no code with any store. Where the laws leave a store free (when a message is parked, whether a former
//! holder may still say that the work is done) it takes the answer's word; everywhere else an answer that differs
//! is a broken promise.

use std::collections::{BTreeMap, VecDeque};

use silvertine_engine::{pos::Pos, time::Nanos};
use silvertine_streams::{
    DeadChange, DeadLetter, DeadState, Delivery, Disposition, GroupName, Member, Message,
    MessageId, Publication, Settled, Settlement, StoreError, StoreErrorKind, StreamName, Streams,
    Topology, Why, dead, message,
};

use super::{
    fault::{Counts, Fault},
    group::{Group, Place},
    op::{Answer, Ask, Request},
    plan::work_stream,
    promise::{Checked, Promise, Violation, ensure},
    trace::{What, Who},
};
use silvertine_engine::executor::block_on;

/// A message on a stream.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) id: Pos,
    pub(super) message: Message,
    pub(super) deleted: bool,
}

/// What the witness wants noted in the trace.
pub(super) type Notes = Vec<(Who, What)>;

pub(super) struct Witness {
    topology: Topology,
    pub(super) streams: BTreeMap<StreamName, Vec<Standing>>,
    pub(super) groups: Vec<Group>,
    /// Dead letters in order of burial, each with its own id once that is known.
    pub(super) letters: Vec<(Option<Pos>, DeadLetter)>,
    /// Appended by operations whose answers give no ids.
    unread: BTreeMap<StreamName, VecDeque<Message>>,
    pub(super) numbers: u64,
    pub(super) counts: Counts,
    pub(super) notes: Notes,
}

impl Witness {
    pub(super) fn new(topology: &Topology, silence: bool) -> Self {
        let mut streams = BTreeMap::new();
        let mut groups = Vec::new();
        for spec in &topology.streams {
            for key in spec.keys() {
                streams.insert(key, Vec::new());
            }
            groups.extend(spec.groups.iter().map(|group| Group::new(spec, group, silence)));
        }
        Self {
            topology: topology.clone(),
            streams,
            groups,
            letters: Vec::new(),
            unread: BTreeMap::new(),
            numbers: 0,
            counts: Counts::default(),
            notes: Vec::new(),
        }
    }

    /// How many messages are not finished, over all groups.
    pub(super) fn unfinished(&self) -> usize {
        self.groups.iter().map(|group| group.unfinished).sum()
    }

    pub(super) fn group(&mut self, name: &GroupName) -> &mut Group {
        self.groups.iter_mut().find(|group| group.spec.name == *name).expect("a group of the plan")
    }

    /// A request took effect, or was refused by the store itself.
    pub(super) fn observe<S: Streams>(
        &mut self,
        store: &S,
        request: &Request,
        answer: &Result<Answer, StoreError>,
        now: Nanos,
        late: bool,
    ) -> Checked {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.refused(request, error),
        };
        match (request, answer) {
            (Request::Publish(messages), Answer::Published(ids)) => {
                self.published(messages, ids)?;
            }
            (Request::Fetch { member, ask }, Answer::Fetched(polled)) => {
                self.polled(member, *ask, &polled.deliveries, now)?;
            }
            (Request::Begin { member, tries }, Answer::Began(ours)) => {
                ensure!(
                    tries.len() == ours.len(),
                    Told,
                    "{} answers to begin {}",
                    ours.len(),
                    tries.len()
                );
                let group = self.group(&member.group);
                group.touch(member, now);
                for ((id, tries), ours) in tries.iter().zip(ours) {
                    let holds = group.holds(id, member);
                    ensure!(
                        holds == *ours,
                        Told,
                        "begin of {id} by {}: {ours}, not {holds}",
                        member.consumer
                    );
                    if let Some(entry) = group.entries.get_mut(id).filter(|_| holds) {
                        entry.tries = *tries;
                        entry.begun = true;
                        entry.ghosted |= late;
                    }
                }
            }
            (Request::Settle { member, settlements }, Answer::Settled(settled)) => {
                ensure!(settled.len() == settlements.len(), Told, "answers are missing");
                self.group(&member.group).touch(member, now);
                for (settlement, settled) in settlements.iter().zip(settled) {
                    self.settled(member, settlement, *settled, now, late)?;
                }
            }
            (Request::Extend { member, held }, Answer::Extended(lost)) => {
                let group = self.group(&member.group);
                group.touch(member, now);
                let truly: Vec<_> =
                    held.iter().filter(|id| !group.holds(id, member)).cloned().collect();
                ensure!(
                    *lost == truly,
                    Told,
                    "extend by {} says {lost:?} are lost, not {truly:?}",
                    member.consumer
                );
            }
            (Request::Leave { member }, Answer::Left) => {
                let group = self.group(&member.group);
                group.alive.remove(&member.consumer);
                for entry in group.entries.values_mut() {
                    if entry.place == Place::Held(member.consumer.clone()) {
                        entry.place = Place::Retrying(now);
                        entry.ghosted |= late;
                    }
                }
            }
            (Request::Letters { after, .. }, Answer::Letters(letters)) => {
                self.letters(*after, letters)?;
            }
            (Request::Amend { amendments, audit, .. }, Answer::Amended(amended)) => {
                ensure!(amended.len() == amendments.len(), Told, "answers are missing");
                for (amendment, amended) in amendments.iter().zip(amended) {
                    let letter = self.letters.iter_mut().find(|(id, _)| *id == Some(amendment.id));
                    let state = letter.map(|(_, letter)| &mut letter.state);
                    let as_expected = state.as_deref() == Some(&amendment.expected);
                    ensure!(
                        as_expected == *amended,
                        Effect,
                        "amend of {}: {amended}, not {as_expected}",
                        amendment.id
                    );
                    let (Some(state), true) = (state, *amended) else { continue };
                    match &amendment.change {
                        DeadChange::Mark(new) => *state = new.clone(),
                        DeadChange::Send(new, publication) => {
                            *state = new.clone();
                            self.expect(publication);
                        }
                        DeadChange::Remove => {}
                    }
                }
                if amended.contains(&true) {
                    audit.iter().for_each(|publication| self.expect(publication));
                }
            }
            _ => ensure!(false, Told, "an answer of another kind"),
        }
        self.read_appended(store)
    }

    /// The store itself refused, which it may do only for a reason.
    fn refused(&mut self, request: &Request, error: &StoreError) -> Checked {
        let spec = self.topology.stream(&work_stream());
        let may_be_full = spec.is_some_and(|spec| spec.max_len.is_some())
            && matches!(request, Request::Publish(_) | Request::Amend { .. })
            && matches!(error.kind, StoreErrorKind::RefusesWrites { .. });
        ensure!(may_be_full, Told, "{} fails: {error}", request.kind().name());
        self.counts.note(Fault::Full);
        Ok(())
    }

    fn published(&mut self, messages: &[Publication], ids: &[Pos]) -> Checked {
        ensure!(
            messages.len() == ids.len(),
            Told,
            "{} ids for {} messages",
            ids.len(),
            messages.len()
        );
        for (publication, id) in messages.iter().zip(ids) {
            self.append(&publication.stream, *id, publication.message.clone())?;
        }
        Ok(())
    }

    fn append(&mut self, stream: &StreamName, id: Pos, message: Message) -> Checked {
        let standing = self.streams.entry(stream.clone()).or_default();
        let last = standing.last().map_or(Pos::ZERO, |last| last.id);
        ensure!(id > last, Told, "{stream}: the id {id} behind {last}");
        standing.push(Standing { id, message: message.clone(), deleted: false });
        self.numbers += 1;
        let id = MessageId { stream: stream.clone(), id };
        for group in self.groups.iter_mut().filter(|group| group.keys.contains(stream)) {
            group.add(id.clone(), self.numbers, &message);
        }
        Ok(())
    }

    fn expect(&mut self, publication: &Publication) {
        let unread = self.unread.entry(publication.stream.clone()).or_default();
        unread.push_back(publication.message.clone());
    }

    /// Compares what was just appended with what should have been.
    fn read_appended<S: Streams>(&mut self, store: &S) -> Checked {
        while let Some((stream, mut expected)) = self.unread.pop_first() {
            let last = self.streams[&stream].last().map_or(Pos::ZERO, |last| last.id);
            let read = block_on(store.read(&stream, last, expected.len() + 8));
            let read = read
                .map_err(|error| Violation::new(Promise::Told, format!("read fails: {error}")))?;
            for (id, message) in read {
                let wanted = expected.pop_front();
                ensure!(
                    wanted.as_ref() == Some(&message),
                    Effect,
                    "{stream} holds at {id} {}, not {}",
                    shown(Some(&message)),
                    shown(wanted.as_ref())
                );
                self.append(&stream, id, message)?;
            }
            ensure!(
                expected.is_empty(),
                Effect,
                "{stream}: {} never came",
                shown(expected.front())
            );
        }
        Ok(())
    }

    fn polled(
        &mut self,
        member: &Member,
        ask: Ask,
        deliveries: &[Delivery],
        now: Nanos,
    ) -> Checked {
        let streams = &self.streams;
        let group = self.groups.iter_mut().find(|group| group.spec.name == member.group);
        let group = group.expect("a group of the plan");
        let own = deliveries.iter().filter(|delivery| delivery.why == Why::Own).count();
        ensure!(
            deliveries.len() <= ask.limit.max(own),
            Bounded,
            "{} asked for {} and was handed {}",
            member.consumer,
            ask.limit,
            deliveries.len()
        );
        for delivery in deliveries {
            let standing = streams.get(&delivery.id.stream).and_then(|stream| {
                let at =
                    stream.binary_search_by_key(&delivery.id.id, |standing| standing.id).ok()?;
                stream.get(at)
            });
            let Some(standing) = standing else {
                return Err(Violation::new(
                    Promise::Told,
                    format!("{} was never published", delivery.id),
                ));
            };
            let message = (!standing.deleted).then_some(&standing.message);
            ensure!(
                delivery.message.as_ref() == message,
                Told,
                "{} is handed over as {}, not {}",
                delivery.id,
                shown(delivery.message.as_ref()),
                shown(message)
            );
            group.handed_over(member, ask, delivery, now)?;
            let entry = &group.entries[&delivery.id];
            self.notes.push((
                Who::World,
                What::Delivered(entry.number, delivery.why as u8, delivery.done),
            ));
            if delivery.why == Why::Reclaimed {
                self.counts.note(Fault::Reclaimed);
            }
            if delivery.why == Why::New && group.spec.order_by.is_none() {
                for _ in 0..group.pass_over(&delivery.id, streams)? {
                    self.counts.note(Fault::Vanished);
                }
            }
        }
        group.touch(member, now);
        Ok(())
    }

    fn settled(
        &mut self,
        member: &Member,
        settlement: &Settlement,
        settled: Settled,
        now: Nanos,
        late: bool,
    ) -> Checked {
        let Settlement { id, disposition } = settlement;
        let at = self.groups.iter().position(|group| group.spec.name == member.group);
        let group = &mut self.groups[at.expect("a group of the plan")];
        let Some(entry) = group.entries.get(id) else {
            return Err(Violation::new(Promise::Told, format!("{id} was never handed over")));
        };
        let (ours, pending) = (group.holds(id, member), entry.is_pending());
        let number = entry.number;
        let code = match disposition {
            Disposition::Done { .. } => 0,
            Disposition::Retry { .. } => 1,
            Disposition::Dead(_) => 2,
            Disposition::Release => 3,
        };
        self.notes.push((Who::World, What::Settled(number, code, settled as u8)));
        if pending && !ours {
            self.counts.note(Fault::Zombie);
        }
        let say = |should: &str| {
            format!(
                "{} settles {id} as {disposition:?}: {settled:?}, not {should}",
                member.consumer
            )
        };
        if !pending || !ours && !matches!(disposition, Disposition::Done { .. }) {
            ensure!(settled == Settled::Lost, Settled, "{}", say("Lost"));
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
                ensure!(settled == should, Effect, "{}", say(&format!("{should:?}")));
                if done {
                    group.finish(id, Place::Duplicate);
                    self.counts.note(Fault::Duplicate);
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
                *group.dones.entry(name).or_default() += 1;
                emit.iter().for_each(|publication| self.expect(publication));
            }
            Disposition::Retry { tries, after } => {
                ensure!(settled == Settled::Applied, Told, "{}", say("Applied"));
                entry.tries = *tries;
                entry.place = Place::Retrying(now.saturating_add(after.duration()));
            }
            Disposition::Release => {
                ensure!(settled == Settled::Applied, Told, "{}", say("Applied"));
                entry.place = Place::Retrying(now);
            }
            Disposition::Dead(letter) => {
                ensure!(settled == Settled::Applied, Told, "{}", say("Applied"));
                let deleted = self.streams[&id.stream]
                    .iter()
                    .any(|standing| standing.id == id.id && standing.deleted);
                entry.judge(id, letter, deleted, group.attempts_max, group.silence)?;
                group.finish(id, Place::Dead);
                self.letters.push((None, (**letter).clone()));
            }
        }
        Ok(())
    }

    /// Dead letters as the store shows them; those not seen before get their ids.
    fn letters(&mut self, after: Pos, shown: &[(Pos, DeadLetter)]) -> Checked {
        for (id, letter) in shown {
            let known = self.letters.iter().position(|(known, _)| *known == Some(*id));
            let known =
                known.or_else(|| self.letters.iter().position(|(known, _)| known.is_none()));
            let Some((known_id, known)) = known.and_then(|at| self.letters.get_mut(at)) else {
                return Err(Violation::new(
                    Promise::Told,
                    format!("nobody buried the letter {id}"),
                ));
            };
            *known_id = Some(*id);
            ensure!(known == letter, Told, "the letter {id} is {letter:?}, not {known:?}");
        }
        ensure!(shown.iter().all(|(id, _)| *id > after), Told, "letters before {after}");
        Ok(())
    }

    /// Compares the counts of all streams and groups.
    pub(super) fn account<S: Streams>(&mut self, store: &S, now: Nanos) -> Checked {
        for (stream, standing) in &self.streams {
            let stats = block_on(store.stream_stats(stream, now));
            let stats = stats
                .map_err(|error| Violation::new(Promise::Told, format!("stats fail: {error}")))?;
            let Some(stats) = stats else {
                return Err(Violation::new(Promise::Account, format!("{stream} is gone")));
            };
            let added = standing.len() as u64;
            ensure!(
                stats.added == added,
                Durable,
                "{stream} has {} messages, not {added}",
                stats.added
            );
            if *stream == work_stream() {
                let dead = self.letters.len() as u64;
                ensure!(stats.dead == dead, Account, "{} dead letters, not {dead}", stats.dead);
            }
            for group in self.groups.iter().filter(|group| group.keys.contains(stream)) {
                let said = stats.groups.iter().find(|stats| stats.group == group.spec.name);
                let Some(said) = said else {
                    return Err(Violation::new(
                        Promise::Account,
                        format!("the group {} is gone", group.spec.name),
                    ));
                };
                group.account(stream, said, added)?;
                if said.blocked > 0 {
                    self.counts.note(Fault::Parked);
                }
            }
        }
        Ok(())
    }

    /// Compares everything on a stream that is never trimmed.
    pub(super) fn compare<S: Streams>(&self, store: &S, stream: &StreamName) -> Checked {
        let standing = &self.streams[stream];
        let read = block_on(store.read(stream, Pos::ZERO, standing.len() + 8));
        let read =
            read.map_err(|error| Violation::new(Promise::Told, format!("read fails: {error}")))?;
        let mut read = read.iter();
        for standing in standing.iter().filter(|standing| !standing.deleted) {
            let found = read.next();
            let same = found
                .is_some_and(|(id, message)| *id == standing.id && *message == standing.message);
            ensure!(same, Durable, "{stream} holds {found:?}, not {standing:?}");
        }
        let more = read.next();
        ensure!(more.is_none(), Effect, "{stream} holds {more:?} that nobody published");
        Ok(())
    }

    /// Notes that somebody deleted a message.
    pub(super) fn deleted(&mut self, id: &MessageId) {
        let stream = self.streams.get_mut(&id.stream);
        if let Some(standing) =
            stream.and_then(|all| all.iter_mut().find(|standing| standing.id == id.id))
        {
            standing.deleted = true;
        }
        for group in &mut self.groups {
            if let Some(entry) = group.entries.get_mut(id) {
                entry.deleted = true;
                if entry.place == Place::Waiting {
                    // Nobody will ever hand it over, so nobody waits for it.
                    entry.gone = true;
                    group.unfinished -= 1;
                }
            }
        }
    }

    /// Messages that a stranger may delete so that the model still knows what must follow.
    pub(super) fn deletable(&self) -> Vec<MessageId> {
        let known = |id: &MessageId| {
            self.groups.iter().filter(|group| group.keys.contains(&id.stream)).all(|group| {
                group.entries.get(id).is_some_and(|entry| {
                    entry.is_pending()
                        || entry.place == Place::Waiting && group.spec.order_by.is_none()
                })
            })
        };
        let of = |(stream, standing): (&StreamName, &Vec<Standing>)| {
            let alive = standing.iter().filter(|standing| !standing.deleted);
            alive
                .map(|standing| MessageId { stream: stream.clone(), id: standing.id })
                .collect::<Vec<_>>()
        };
        let consumed = self
            .streams
            .iter()
            .filter(|(stream, _)| self.groups.iter().any(|group| group.keys.contains(stream)));
        consumed.flat_map(of).filter(known).collect()
    }

    /// Dead letters that nobody has looked at, as an operator would pick them.
    pub(super) fn is_new(letter: &DeadLetter) -> bool {
        letter.state == DeadState::default()
    }
}

/// The key by which a group recognises a message, and whether its producer gave it one.
pub(super) fn key_of(id: &MessageId, message: &Message) -> (String, bool) {
    let (message, origin, _) =
        dead::redriven(message).unwrap_or_else(|| (message.clone(), id.clone(), 0));
    match message.text(message::KEY).filter(|key| !key.is_empty()) {
        Some(key) => (key.into_owned(), true),
        None => (origin.to_string(), false),
    }
}

/// A message in a few words.
fn shown(message: Option<&Message>) -> String {
    let Some(message) = message else { return "nothing".to_owned() };
    let fields = message.fields().iter().map(|(name, value)| {
        format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    fields.collect::<Vec<_>>().join(" ")
}
