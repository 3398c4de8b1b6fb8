//! Dead letters and small records.
//!
//! A dead letter is an entry with the message's own fields and, last, one of ours that tells what happened. What people
//! have done about it since stands beside it, because an entry never changes.

use redis::Value;
use serde::Serialize;
use silvertine_engine::{log::Applied, pos::Pos};
use silvertine_streams::{
    Amendment, DeadChange, DeadLetter, DeadState, Message, Publication, Status, StoreError,
    StoreErrorKind, Story, StreamName,
};

use super::{RedisStreams, answers};

/// The field of a dead letter that holds its story in JSON.
const STORY: &str = "sv-dead";

/// A letter's story, as it is stored.
pub(super) fn story(letter: &DeadLetter) -> Vec<u8> {
    serde_json::to_vec(&letter.story).expect("a story has no part that could be refused")
}

/// A letter's state, as it is stored. The server compares it byte by byte, so these names and their order never change,
/// whatever the fields are called elsewhere.
fn state(state: &DeadState) -> Vec<u8> {
    #[derive(Serialize)]
    struct Stored<'a> {
        status: &'static str,
        replays: u32,
        note: &'a str,
    }
    let status = match state.status {
        Status::New => "new",
        Status::Held => "held",
        Status::Redriven => "replayed",
        Status::Discarded => "discarded",
    };
    let stored = Stored { status, replays: state.redrives, note: &state.note };
    serde_json::to_vec(&stored).expect("a state has no part that could be refused")
}

impl RedisStreams {
    pub(super) async fn read_dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, DeadLetter)>, StoreError> {
        const OPERATION: &str = "dead letters";
        let (_, keys) = self.spec(OPERATION, stream)?;
        let letters = self.read_entries(&keys.dead, after, limit).await?;
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(&keys.dead_state);
        for (id, _) in &letters {
            command.arg(id.to_string());
        }
        let states = self.read_only(OPERATION, &command).await?;
        let states = answers::array(states).map_err(|why| self.odd(OPERATION, why))?;
        let letters = letters.into_iter().zip(states).map(|((id, message), state)| {
            let letter = read_letter(message, &state).map_err(|why| {
                let kind = StoreErrorKind::Corrupt { at: format!("{} {id}", keys.dead), why };
                self.error(OPERATION, kind, Applied::No)
            })?;
            Ok((id, letter))
        });
        letters.collect()
    }

    pub(super) async fn bury_letters(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
    ) -> Result<Vec<Pos>, StoreError> {
        const OPERATION: &str = "bury";
        let (spec, keys) = self.spec(OPERATION, stream)?;
        let mut call = super::Call::default();
        call.dead_letters(spec, keys);
        call.arg(letters.len());
        for letter in letters {
            self.check_letter(OPERATION, letter, &letter.story.origin.to_string())?;
            let is_new = letter.state == DeadState::default();
            call.bytes(&if is_new { Vec::new() } else { state(&letter.state) });
            call.bytes(&story(letter)).fields(&letter.message);
        }
        let answer = self.run(OPERATION, &self.inner.scripts.bury, &call).await?;
        let ids = answers::array(answer).and_then(|ids| ids.iter().map(answers::id).collect());
        ids.map_err(|why| self.odd(OPERATION, why))
    }

    pub(super) async fn amend_letters(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
    ) -> Result<Vec<bool>, StoreError> {
        const OPERATION: &str = "amend";
        let (spec, keys) = self.spec(OPERATION, stream)?;
        let sent = amendments.iter().filter_map(|amendment| match &amendment.change {
            DeadChange::Send(_, publication) => Some(publication),
            _ => None,
        });
        let publications = || sent.clone().chain(audit);
        self.check_messages(OPERATION, publications())?;
        let (mut call, targets) = self.append_call(OPERATION, publications())?;
        call.dead_letters(spec, keys);
        call.bytes(&state(&DeadState::default())).arg(amendments.len());
        for Amendment { id, expected, change } in amendments {
            let (verb, new) = match change {
                DeadChange::Mark(new) => ("m", Some(new)),
                DeadChange::Send(new, _) => ("s", Some(new)),
                DeadChange::Remove => ("x", None),
            };
            call.arg(verb).arg(id).bytes(&state(expected));
            if let Some(new) = new {
                call.bytes(&state(new));
            }
            if let DeadChange::Send(_, publication) = change {
                call.arg(targets.number(&publication.stream)).fields(&publication.message);
            }
        }
        call.arg(audit.len());
        for publication in audit {
            call.arg(targets.number(&publication.stream)).fields(&publication.message);
        }
        let answer = self.run(OPERATION, &self.inner.scripts.amend, &call).await?;
        let changed = answers::array(answer)
            .and_then(|changed| changed.iter().map(|one| Ok(answers::number(one)? == 1)).collect());
        changed.map_err(|why| self.odd(OPERATION, why))
    }

    pub(super) async fn read_record(
        &self,
        stream: &StreamName,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        const OPERATION: &str = "read a record";
        let (_, keys) = self.spec(OPERATION, stream)?;
        let mut command = redis::cmd("HGET");
        command.arg(&keys.records).arg(name);
        match self.read_only(OPERATION, &command).await? {
            Value::Nil => Ok(None),
            found => answers::owned(found).map(Some).map_err(|why| self.odd(OPERATION, why)),
        }
    }

    pub(super) async fn replace_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "write a record";
        let (_, keys) = self.spec(OPERATION, stream)?;
        let mut call = super::Call::default();
        call.key(&keys.records).arg(name);
        for record in [expected, new] {
            call.flag(record.is_some()).bytes(record.unwrap_or_default());
        }
        let answer = self.run(OPERATION, &self.inner.scripts.swap, &call).await?;
        let swapped = answers::number(&answer).map_err(|why| self.odd(OPERATION, why))?;
        Ok(swapped == 1)
    }
}

fn read_letter(message: Message, found: &Value) -> Result<DeadLetter, String> {
    let mut fields = message.fields().to_vec();
    // The last of this name is ours, whatever the message itself carries.
    let at = fields.iter().rposition(|(name, _)| name == STORY.as_bytes());
    let (_, story) = fields.remove(at.ok_or("it has no field sv-dead")?);
    let story: Story = serde_json::from_slice(&story).map_err(|why| why.to_string())?;
    let state = match answers::bytes(found) {
        Some(state) => serde_json::from_slice(state).map_err(|why| why.to_string())?,
        None => DeadState::default(),
    };
    Ok(DeadLetter { message: Message::from_fields(fields), story, state })
}
