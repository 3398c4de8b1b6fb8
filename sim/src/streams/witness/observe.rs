//! Every request that takes effect, compared with what the model answers to it.

use silvertine_engine::{executor::block_on, pos::Pos};
use silvertine_streams::{
    DeadChange, DeadLetter, Delivery, Member, MessageId, Publication, StoreError, StoreErrorKind,
    Streams, Why,
};

use super::{Place, Witness, standing::shown};
use crate::streams::{
    fault::Fault,
    op::{Answer, Ask, Client, Request},
    plan::work_stream,
    promise::{Checked, Promise, Violation, ensure},
    stage::Stage,
    trace::What,
};

impl Witness {
    /// A request took effect, or was refused by the store itself.
    pub(in crate::streams) fn observe<S: Streams>(
        &mut self,
        store: &S,
        request: &Request,
        answer: &Result<Answer, StoreError>,
        late: bool,
        from: Client,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.refused(request, error, stage),
        };
        let now = stage.store_time();
        match (request, answer) {
            (Request::Publish(messages), Answer::Published(ids)) => {
                self.published(messages, ids)?;
            }
            (Request::Fetch { member, ask }, Answer::Fetched(polled)) => {
                self.polled(member, *ask, &polled.deliveries, from, stage)?;
            }
            (Request::Begin { member, tries }, Answer::Began(ours)) => {
                ensure!(
                    tries.len() == ours.len(),
                    Model,
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
                        Model,
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
                ensure!(settled.len() == settlements.len(), Model, "answers are missing");
                self.group(&member.group).touch(member, now);
                for (settlement, settled) in settlements.iter().zip(settled) {
                    self.settled(member, settlement, *settled, late, from, stage)?;
                }
            }
            (Request::Extend { member, held }, Answer::Extended(lost)) => {
                let group = self.group(&member.group);
                group.touch(member, now);
                let truly: Vec<_> =
                    held.iter().filter(|id| !group.holds(id, member)).cloned().collect();
                ensure!(
                    *lost == truly,
                    Model,
                    "extend by {} says that {} are lost, not {}",
                    member.consumer,
                    listed(lost),
                    listed(&truly)
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
                ensure!(amended.len() == amendments.len(), Model, "answers are missing");
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
            _ => ensure!(false, Model, "an answer of another kind"),
        }
        self.read_appended(store)
    }

    /// The store itself refused, which it may do only for a reason.
    fn refused(&self, request: &Request, error: &StoreError, stage: &mut Stage<'_>) -> Checked {
        let spec = self.topology.stream(&work_stream());
        let may_be_full = spec.is_some_and(|spec| spec.max_len.is_some())
            && matches!(request, Request::Publish(_) | Request::Amend { .. })
            && matches!(error.kind, StoreErrorKind::RefusesWrites { .. });
        ensure!(may_be_full, Model, "{} fails: {error}", request.kind().name());
        stage.counts.note(Fault::Full);
        Ok(())
    }

    fn published(&mut self, messages: &[Publication], ids: &[Pos]) -> Checked {
        ensure!(
            messages.len() == ids.len(),
            Model,
            "{} ids for {} messages",
            ids.len(),
            messages.len()
        );
        for (publication, id) in messages.iter().zip(ids) {
            self.append(&publication.stream, *id, publication.message.clone())?;
        }
        Ok(())
    }

    /// Compares what was just appended with what should have been.
    fn read_appended<S: Streams>(&mut self, store: &S) -> Checked {
        while let Some((stream, mut expected)) = self.unread.pop_first() {
            let last = self.streams[&stream].last().map_or(Pos::ZERO, |last| last.id);
            let read = block_on(store.read(&stream, last, expected.len() + 8));
            let read = read.map_err(|error| {
                Violation::plain(Promise::Model, format!("read fails: {error}"))
            })?;
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
        from: Client,
        stage: &mut Stage<'_>,
    ) -> Checked {
        let now = stage.store_time();
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
                return Err(Violation::plain(
                    Promise::Model,
                    format!("{} was never published", delivery.id),
                ));
            };
            let message = (!standing.deleted).then_some(&standing.message);
            ensure!(
                delivery.message.as_ref() == message,
                Model,
                "{} is handed over as {}, not {}",
                delivery.id,
                shown(delivery.message.as_ref()),
                shown(message)
            );
            group.handed_over(member, ask, delivery, now)?;
            let entry = &group.entries[&delivery.id];
            let delivered = What::Delivered(entry.number, delivery.why as u8, delivery.done);
            stage.note(from, delivered);
            if delivery.why == Why::Reclaimed {
                stage.counts.note(Fault::Reclaimed);
            }
            if delivery.why == Why::New && group.spec.order_by.is_none() {
                for _ in 0..group.pass_over(&delivery.id, streams)? {
                    stage.counts.note(Fault::Vanished);
                }
            }
        }
        group.touch(member, now);
        Ok(())
    }

    /// Dead letters as the store shows them; those not seen before get their ids.
    fn letters(&mut self, after: Pos, shown: &[(Pos, DeadLetter)]) -> Checked {
        for (id, letter) in shown {
            let known = self.letters.iter().position(|(known, _)| *known == Some(*id));
            let known =
                known.or_else(|| self.letters.iter().position(|(known, _)| known.is_none()));
            let Some((known_id, known)) = known.and_then(|at| self.letters.get_mut(at)) else {
                return Err(Violation::plain(
                    Promise::Model,
                    format!("nobody buried the letter {id}"),
                ));
            };
            *known_id = Some(*id);
            ensure!(
                known == letter,
                Model,
                "the letter {id} is {}, not {}",
                letter_of(letter),
                letter_of(known)
            );
        }
        ensure!(shown.iter().all(|(id, _)| *id > after), Model, "letters before {after}");
        Ok(())
    }
}

fn listed(ids: &[MessageId]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A dead letter in a few words.
fn letter_of(letter: &DeadLetter) -> String {
    let DeadLetter { message, story, state } = letter;
    format!(
        "{} of {}, {} after {} attempts, {} after {} redrives with the note {:?}: {}",
        story.key,
        story.group,
        story.reason.as_str(),
        story.attempts,
        state.status.as_str(),
        state.redrives,
        state.note,
        shown(Some(message))
    )
}
