//! Appending messages and reading them without a group.
//!
//! Several messages for one stream that never refuses any go there as plain `XADD`s in a transaction, which costs
//! Redis half of what the same costs in a script.

use silvertine_engine::{log::Applied, pos::Pos};
use silvertine_streams::{Message, Publication, StoreError, StreamName};

use super::{
    Inner, RedisStreams,
    answers::{self, Parsed},
    call::{Call, Targets},
};
use crate::redis::{classify, refusal, scripts, transaction::transact};

/// Fewer messages than these cost less in a script.
const TRANSACTION_MIN: usize = 4;

impl RedisStreams {
    pub(super) async fn publish_messages(
        &self,
        publications: &[Publication],
    ) -> Result<Vec<Pos>, StoreError> {
        const OPERATION: &str = "publish";
        if publications.is_empty() {
            return Ok(Vec::new());
        }
        self.check_messages(OPERATION, publications.iter())?;
        let (mut call, targets) = self.append_call(OPERATION, publications.iter())?;
        if publications.len() >= TRANSACTION_MIN
            && let Some(limited) = targets.one_that_takes_all()
        {
            return self.append_together(OPERATION, publications, limited.then_some(&call)).await;
        }
        call.arg(publications.len());
        for publication in publications {
            call.arg(targets.number(&publication.stream)).fields(&publication.message);
        }
        let answer = self.run(OPERATION, &self.inner.scripts.publish, &call).await?;
        let ids = answers::array(answer).and_then(|ids| ids.iter().map(answers::id).collect());
        ids.map_err(|why| self.odd(OPERATION, why))
    }

    /// Appends messages to one stream, and trims it if it is limited, in one transaction.
    async fn append_together(
        &self,
        operation: &'static str,
        publications: &[Publication],
        trim: Option<&Call>,
    ) -> Result<Vec<Pos>, StoreError> {
        let trim = trim.map(|call| (&self.inner.scripts.trim, call));
        let mut commands = redis::pipe();
        commands.cmd("MULTI");
        for Publication { stream, message } in publications {
            let append = commands.cmd("XADD").arg(stream.as_str()).arg("*");
            for (name, value) in message.fields() {
                append.arg(name).arg(value);
            }
        }
        if let Some((script, call)) = trim {
            commands.add_command(scripts::queue(script, |command| call.fill(command)));
        }
        commands.cmd("EXEC");
        let Inner { commands: link, shown, .. } = &*self.inner;
        let mut answers = transact(link, shown, operation, &commands).await?;
        let trimmed = answers.split_off(publications.len()).pop();
        // They all went to one stream, so where one was refused, none was taken.
        if let Some(error) = answers.iter().find_map(refusal) {
            let stream = format!("{}: ", publications[0].stream);
            let kind = classify::kind_of(&error.clone().into(), &stream).into();
            return Err(self.error(operation, kind, Applied::No));
        }
        if let Some((script, call)) = trim
            && trimmed.as_ref().and_then(refusal).is_some()
        {
            // A server that has not seen the script. Should this fail, the next publication trims.
            let _trimmed = scripts::run(link, script, |command| call.fill(command)).await;
        }
        let ids = answers.iter().map(answers::id).collect::<Parsed<_>>();
        ids.map_err(|why| self.odd(operation, why))
    }

    pub(super) async fn relay_messages(
        &self,
        messages: &[(Pos, Publication)],
    ) -> Result<u64, StoreError> {
        const OPERATION: &str = "relay";
        if messages.is_empty() {
            return Ok(0);
        }
        let publications = || messages.iter().map(|(_, publication)| publication);
        self.check_messages(OPERATION, publications())?;
        let (mut call, targets) = self.append_call(OPERATION, publications())?;
        call.arg(messages.len());
        for (id, publication) in messages {
            call.arg(targets.number(&publication.stream)).arg(id).fields(&publication.message);
        }
        let answer = self.run(OPERATION, &self.inner.scripts.relay, &call).await?;
        answers::count(&answer).map_err(|why| self.odd(OPERATION, why))
    }

    pub(super) fn check_messages<'a>(
        &self,
        operation: &'static str,
        publications: impl Iterator<Item = &'a Publication>,
    ) -> Result<(), StoreError> {
        for publication in publications {
            let checked = publication.message.check();
            checked.map_err(|why| self.invalid(operation, why.to_string()))?;
        }
        Ok(())
    }

    /// A call that begins with the streams that these messages go to.
    pub(super) fn append_call<'a>(
        &'a self,
        operation: &'static str,
        publications: impl Iterator<Item = &'a Publication>,
    ) -> Result<(Call, Targets<'a>), StoreError> {
        let mut call = Call::default();
        let targets = self.targets(operation, publications)?;
        call.targets(&targets);
        Ok((call, targets))
    }

    /// The streams that these messages go to.
    pub(super) fn targets<'a>(
        &'a self,
        operation: &'static str,
        publications: impl Iterator<Item = &'a Publication>,
    ) -> Result<Targets<'a>, StoreError> {
        let targets = Targets::of(&self.inner.topology, &self.inner.keys, publications);
        targets.map_err(|stream| self.unknown(operation, stream))
    }

    pub(super) async fn read_messages(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        match self.inner.topology.owner_of(stream) {
            Some(_) => self.read_entries(stream, after, limit).await,
            None => Err(self.unknown("read", stream)),
        }
    }

    pub(super) async fn read_entries(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, Message)>, StoreError> {
        const OPERATION: &str = "read";
        if limit == 0 || after.seq == u64::MAX {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("XRANGE");
        command.arg(stream.as_str()).arg(format!("({after}")).arg("+").arg("COUNT").arg(limit);
        let answer = self.read_only(OPERATION, &command).await?;
        let entries = answers::entries(answer).map_err(|why| self.odd(OPERATION, why))?;
        Ok(entries.into_iter().filter_map(|(id, message)| Some((id, message?))).collect())
    }
}
