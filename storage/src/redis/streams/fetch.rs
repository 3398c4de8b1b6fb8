//! Handing messages to a member.
//!
//! A busy member of a group with one lane and no order takes new messages with a plain `XREADGROUP`, which costs
//! Redis a third of the same in a script. Everything else is a script, and waiting is a command of its own.

use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use silvertine_engine::{log::Applied, pos::Pos, span::Span};
use silvertine_streams::{
    Delivery, Fetch, Fetched, LaneOrder, MessageId, StoreError, Tries, Why, message,
};

use super::{
    Place, RedisStreams,
    answers::{self, Parsed},
    call::pipeline,
    is_group_missing,
};

const OPERATION: &str = "fetch";

/// How a script was asked to look.
#[derive(Clone, Copy)]
struct Look {
    own: bool,
    new: bool,
    cursors: bool,
}

/// What a script found.
struct Found {
    deliveries: Vec<Delivery>,
    next_due: Option<Span>,
    more: bool,
    places: Vec<String>,
}

impl RedisStreams {
    pub(super) async fn fetch_messages(&self, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        let place = self.place(OPERATION, fetch.member)?;
        let fetched = self.fetch_at(place, fetch).await?;
        Ok(Fetched { regrouped: self.take_regrouped(place), ..fetched })
    }

    async fn fetch_at(&self, place: Place<'_>, fetch: &Fetch<'_>) -> Result<Fetched, StoreError> {
        let lanes = place.keys.lanes.len();
        let ordered = place.spec.order_by.is_some();
        // One blocking read hands over from several streams at once, each up to its share.
        let plain_wait = !ordered && fetch.limit >= lanes;
        let plain = plain_wait && lanes == 2;
        let waits = !fetch.scope.includes_own() && fetch.wait > Duration::ZERO;
        let mut fetched = Fetched::default();
        let mut places = Vec::new();
        if fetch.scope.includes_returned() || !plain {
            let look = Look {
                own: fetch.scope.includes_own(),
                new: !plain,
                cursors: waits && !plain_wait,
            };
            let found = self.look(place, fetch, look).await?;
            fetched.deliveries = found.deliveries;
            fetched.next_due = found.next_due;
            places = found.places;
        }
        let room = fetch.limit.saturating_sub(fetched.deliveries.len());
        if plain && room > 0 {
            let taken = self.take_new(place, room).await;
            let taken = taken.map_err(|error| maybe(error, &fetched))?;
            if taken.is_empty() && !fetch.scope.includes_returned() {
                self.touch(place).await?;
            }
            fetched.deliveries.extend(taken);
        }
        let wait = fetched.next_due.map_or(fetch.wait, |due| fetch.wait.min(due.duration()));
        // A block of zero would be one for ever.
        if waits && fetched.deliveries.is_empty() && wait >= Duration::from_millis(1) {
            if plain_wait {
                fetched.deliveries = self.wait_and_take(place, fetch.limit / lanes, wait).await?;
            } else {
                self.wait_and_look(place, fetch, wait, places, &mut fetched).await?;
            }
        }
        Ok(fetched)
    }

    /// Has a script look.
    async fn look(
        &self,
        place: Place<'_>,
        fetch: &Fetch<'_>,
        look: Look,
    ) -> Result<Found, StoreError> {
        let mut look = look;
        loop {
            let mut call = place.call();
            // Who waits is to see at once that an ordering key is free.
            let waits = place.spec.order_by.is_some() && fetch.wait > Duration::ZERO;
            call.arg(fetch.limit)
                .flag(look.own)
                .flag(fetch.scope.includes_returned())
                .flag(fetch.scope.includes_returned() || waits);
            call.flag(look.new);
            call.flag(fetch.lanes == LaneOrder::UrgentLast).flag(look.cursors);
            call.arg(fetch.reclaim_after.as_millis());
            call.arg(place.spec.idempotency_window.as_millis());
            let script = &self.inner.scripts.fetch;
            let answer = super::scripts::run(&self.inner.commands, script, |cmd| call.fill(cmd));
            let answer = match answer.await {
                Err(failed) if is_group_missing(&failed) && !look.own => {
                    self.regroup(OPERATION, place, [].into_iter()).await?;
                    // The script may have taken messages from another lane before it failed.
                    look.own = true;
                    continue;
                }
                Err(failed) if is_group_missing(&failed) => {
                    self.regroup(OPERATION, place, [].into_iter()).await?;
                    let again = super::scripts::run(&self.inner.commands, script, |cmd| {
                        call.fill(cmd);
                    });
                    again.await.map_err(|failed| self.failed(OPERATION, failed))?
                }
                answer => answer.map_err(|failed| self.failed(OPERATION, failed))?,
            };
            let found = parse(place, answer).map_err(|why| self.odd(OPERATION, why))?;
            if found.more && found.deliveries.is_empty() {
                continue;
            }
            return Ok(found);
        }
    }

    /// Takes new messages of the only lane.
    async fn take_new(&self, place: Place<'_>, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let mut command = read_group(place, limit);
        command.arg("STREAMS").arg(place.stream.name.as_str()).arg(">");
        let answer = match self.inner.commands.call(&command).await {
            Err(failed) if is_group_missing(&failed) => {
                self.regroup(OPERATION, place, [].into_iter()).await?;
                self.inner.commands.call(&command).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|failed| self.failed(OPERATION, failed))?;
        self.new_deliveries(place, answer).await
    }

    /// Shows a sign of life: Redis 7.0 takes no notice of a member that it has nothing for.
    async fn touch(&self, place: Place<'_>) -> Result<(), StoreError> {
        let mut command = read_group(place, 1);
        command.arg("STREAMS").arg(place.stream.name.as_str());
        command.arg(format!("{}-{}", u64::MAX, u64::MAX - 1));
        let touched = self.inner.commands.call(&command).await;
        touched.map(|_| ()).map_err(|failed| self.failed(OPERATION, failed))
    }

    /// Waits for new messages of all lanes and of the redriven letters, and takes them.
    async fn wait_and_take(
        &self,
        place: Place<'_>,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut command = read_group(place, limit);
        command.arg("BLOCK").arg(millis(wait)).arg("STREAMS");
        for lane in &place.keys.lanes {
            command.arg(lane.stream.as_str());
        }
        for _ in &place.keys.lanes {
            command.arg(">");
        }
        match self.inner.waiting.call(&command, wait).await {
            Err(failed) if is_group_missing(&failed) => {
                self.regroup(OPERATION, place, [].into_iter()).await?;
                Ok(Vec::new())
            }
            Err(failed) => Err(self.failed(OPERATION, failed)),
            Ok(answer) => self.new_deliveries(place, answer).await,
        }
    }

    /// Waits until something has come, and looks, until there is something for this member.
    async fn wait_and_look(
        &self,
        place: Place<'_>,
        fetch: &Fetch<'_>,
        wait: Duration,
        places: Vec<String>,
        fetched: &mut Fetched,
    ) -> Result<(), StoreError> {
        let until = Instant::now() + wait;
        let mut places = places;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return Ok(());
            }
            // Redriven letters are only looked for by those who look for all that was returned.
            let lanes = place.keys.lanes.iter().map(|lane| lane.stream.as_str());
            let streams = lanes.chain([place.keys.bell.as_str()]).zip(&places);
            let redrives = place.keys.lanes.len() - 1;
            let watched = streams
                .enumerate()
                .filter(|&(at, _)| fetch.scope.includes_returned() || at != redrives);
            let (streams, after): (Vec<&str>, Vec<&String>) = watched.map(|(_, one)| one).unzip();
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(1).arg("BLOCK").arg(millis(left));
            command.arg("STREAMS").arg(streams).arg(after);
            let answer = self.inner.waiting.call(&command, left).await;
            let answer = answer.map_err(|failed| self.failed(OPERATION, failed))?;
            if answer == Value::Nil {
                return Ok(());
            }
            let look = Look { own: false, new: true, cursors: true };
            let found = self.look(place, fetch, look).await?;
            fetched.next_due = found.next_due.or(fetched.next_due);
            places = found.places;
            if !found.deliveries.is_empty() {
                fetched.deliveries = found.deliveries;
                return Ok(());
            }
        }
    }

    /// What a read of new messages handed over.
    async fn new_deliveries(
        &self,
        place: Place<'_>,
        answer: Value,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut deliveries = Vec::new();
        let streams = answers::streams(answer).map_err(|why| self.odd(OPERATION, why))?;
        for (name, entries) in streams {
            let mut lanes = place.keys.lanes.iter();
            let lane = lanes.find(|lane| lane.stream.as_str().as_bytes() == name);
            let lane = lane.ok_or_else(|| self.odd(OPERATION, "a stream nobody asked for"))?;
            let entries = answers::entries(entries).map_err(|why| self.odd(OPERATION, why))?;
            deliveries.extend(entries.into_iter().map(|(id, message)| Delivery {
                id: MessageId { stream: lane.stream.clone(), id },
                message,
                why: Why::New,
                tries: Tries::default(),
                deliveries: 1,
                done: false,
            }));
        }
        self.mark_done(place, &mut deliveries).await?;
        Ok(deliveries)
    }

    /// Finds out which of these were done before, by their producers' keys.
    async fn mark_done(
        &self,
        place: Place<'_>,
        deliveries: &mut [Delivery],
    ) -> Result<(), StoreError> {
        let has_key = |delivery: &&mut Delivery| key_of(delivery).is_some();
        let mut keyed: Vec<&mut Delivery> = deliveries.iter_mut().filter(has_key).collect();
        if keyed.is_empty() {
            return Ok(());
        }
        let mut scores = redis::cmd("ZMSCORE");
        scores.arg(&place.keys.done);
        for delivery in &keyed {
            scores.arg(key_of(delivery).as_deref().unwrap_or_default());
        }
        let questions = pipeline([scores, redis::cmd("TIME")]);
        let answers = self.inner.commands.call_all(&questions).await;
        // The messages are ours by now, so the member must ask for them once more.
        let lost = |error| StoreError { applied: Applied::Maybe, ..error };
        let answers = answers.map_err(|failed| lost(self.failed(OPERATION, failed)))?;
        let known = read_scores(answers, place.spec.idempotency_window.as_millis());
        let known = known.map_err(|why| self.odd(OPERATION, why))?;
        for (delivery, known) in keyed.iter_mut().zip(known) {
            delivery.done = known;
        }
        Ok(())
    }
}

/// Where messages were handed over before this failed, they are to be asked for once more.
fn maybe(error: StoreError, fetched: &Fetched) -> StoreError {
    if fetched.deliveries.is_empty() {
        error
    } else {
        StoreError { applied: Applied::Maybe, ..error }
    }
}

fn key_of(delivery: &Delivery) -> Option<std::borrow::Cow<'_, str>> {
    delivery.message.as_ref()?.text(message::KEY)
}

fn read_group(place: Place<'_>, limit: usize) -> Cmd {
    let mut command = redis::cmd("XREADGROUP");
    command.arg("GROUP").arg(place.group.as_str()).arg(place.me.as_str());
    command.arg("COUNT").arg(limit);
    command
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Which keys are remembered, by the server's clock.
fn read_scores(answers: Vec<Value>, window: u64) -> Parsed<Vec<bool>> {
    let [scores, time] = <[Value; 2]>::try_from(answers).map_err(|_| "two answers are missing")?;
    let [seconds, micros] = answers::parts(time)?;
    let now = answers::count(&seconds)? * 1000 + answers::count(&micros)? / 1000;
    let is_known = |score: &Value| match score {
        Value::Nil => Ok(false),
        Value::Double(score) => Ok((*score as u64).saturating_add(window) >= now),
        score => Ok(answers::count(score)?.saturating_add(window) >= now),
    };
    answers::array(scores)?.iter().map(is_known).collect()
}

fn parse(place: Place<'_>, answer: Value) -> Parsed<Found> {
    let [deliveries, next_due, more, places] = answers::parts(answer)?;
    let deliveries = answers::array(deliveries)?.into_iter().map(|one| delivery(place, one));
    let next_due = u64::try_from(answers::number(&next_due)?).ok().map(Span::from_millis);
    let places = answers::array(places)?.into_iter().map(|id| answers::text(&id));
    Ok(Found {
        deliveries: deliveries.collect::<Parsed<_>>()?,
        next_due,
        more: answers::number(&more)? == 1,
        places: places.collect::<Option<_>>().ok_or("a place is missing")?,
    })
}

fn delivery(place: Place<'_>, answer: Value) -> Parsed<Delivery> {
    let [lane, id, fields, why, tries, deliveries, done] = answers::parts(answer)?;
    let lane = answers::count(&lane)?.checked_sub(1).and_then(|at| usize::try_from(at).ok());
    let lane = lane.and_then(|at| place.keys.lanes.get(at)).ok_or("a lane is missing")?;
    let id: Pos = answers::id(&id)?;
    let why = match answers::bytes(&why) {
        Some(b"o") => Why::Own,
        Some(b"r") => Why::Reclaimed,
        Some(b"d") => Why::Due,
        Some(b"n") => Why::New,
        _ => return Err("a reason is missing"),
    };
    let tries = match answers::bytes(&tries) {
        Some(bytes) => postcard::from_bytes(bytes).map_err(|_| "tries do not decode")?,
        None => Tries::default(),
    };
    Ok(Delivery {
        id: MessageId { stream: lane.stream.clone(), id },
        message: answers::message(fields)?,
        why,
        tries,
        deliveries: answers::count(&deliveries)?,
        done: answers::number(&done)? == 1,
    })
}
