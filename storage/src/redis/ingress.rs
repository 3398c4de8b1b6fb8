//! Reading the ingress: what producers have appended, and waiting for more.

use std::time::Duration;

use redis::Value;
use silvertine_engine::{
    codec::Codec,
    log::{Applied, Epoch, IngressCursor, IngressMessage, Lease, LogError, LogErrorKind},
    text::Name,
};

use super::{
    RedisLog,
    values::{bytes, parse_pos, stream_entry, text},
};

impl RedisLog {
    pub(super) async fn read_ingress(
        &self,
        lease: Option<&Lease>,
        cursor: &IngressCursor,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let producers = self.read_producers().await?;
        let after = |producer: &Name| cursor.get(producer).copied().unwrap_or(0);
        let reads: Vec<(Name, u64)> = producers.iter().map(|name| (*name, after(name))).collect();
        let messages = self.read_messages(lease, &reads, limit).await?;
        if !messages.is_empty() || wait < Duration::from_millis(1) {
            return Ok(messages);
        }
        if reads.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(messages);
        }
        // What wakes us is read again together with the lease: one command cannot do both.
        let mut wake = redis::cmd("XREAD");
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        wake.arg("COUNT").arg(1).arg("BLOCK").arg(wait_ms);
        self.add_streams(&mut wake, &reads);
        let woken = self.inner.waiting.call(&wake, wait).await;
        match woken.map_err(|failed| self.unread("ingress", failed))? {
            Value::Nil => Ok(messages),
            _ => self.read_messages(lease, &reads, limit).await,
        }
    }

    async fn read_producers(&self) -> Result<Vec<Name>, LogError> {
        let mut members = redis::cmd("SMEMBERS");
        members.arg(&self.inner.keys.producers);
        let mut producers = match self.read("ingress", &members).await? {
            Value::Array(names) | Value::Set(names) => {
                let name = |value: &Value| text(value).and_then(|name| Name::new(&name).ok());
                names.iter().filter_map(name).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        producers.sort_unstable();
        Ok(producers)
    }

    fn add_streams(&self, read: &mut redis::Cmd, reads: &[(Name, u64)]) {
        read.arg("STREAMS");
        for (producer, _) in reads {
            read.arg(self.inner.keys.ingress(producer));
        }
        for (_, after) in reads {
            read.arg(format!("{after}-0"));
        }
    }

    /// Reads what is there now, and then the lease: what a former owner is given would lack what its
    /// successor has consumed, and who owns the partition afterwards has owned it all the time. No
    /// transaction, because a server that is out of memory refuses to queue even what only reads.
    async fn read_messages(
        &self,
        lease: Option<&Lease>,
        reads: &[(Name, u64)],
        limit: usize,
    ) -> Result<Vec<IngressMessage>, LogError> {
        let mut commands = redis::pipe();
        if !reads.is_empty() {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(limit);
            self.add_streams(&mut read, reads);
            commands.add_command(read);
        }
        commands.cmd("HMGET").arg(&self.inner.keys.meta).arg("epoch").arg("owner");
        let answers = self.read_all("ingress", &commands).await?;
        let [streams @ .., owner] = answers.as_slice() else { return Ok(Vec::new()) };
        if let Some(lease) = lease {
            self.check_owner(lease, owner)?;
        }
        let mut messages = Vec::new();
        let Some(Value::Array(streams)) = streams.first() else { return Ok(messages) };
        for stream in streams {
            let Value::Array(parts) = stream else { continue };
            let [key, Value::Array(rows)] = parts.as_slice() else { continue };
            let producer = bytes(key).and_then(|key| self.inner.keys.producer_of(key));
            let Some(producer) = producer else { continue };
            for row in rows {
                messages.push(self.parse_message(producer, row)?);
            }
        }
        messages.sort_by_key(|message| (message.producer, message.seq));
        messages.truncate(limit);
        Ok(messages)
    }

    fn check_owner(&self, lease: &Lease, found: &Value) -> Result<(), LogError> {
        let refused = |kind| Err(self.error("ingress", kind, Applied::No));
        let Value::Array(found) = found else { return refused(LogErrorKind::Gone) };
        let found: Vec<Option<String>> = found.iter().map(text).collect();
        let (epoch, owner) = match found.as_slice() {
            [Some(epoch), Some(owner)] => (epoch, owner),
            [None, None] => return refused(LogErrorKind::Gone),
            _ => return Err(self.corrupt("ingress", &self.inner.keys.meta, "epoch or owner")),
        };
        if *epoch == lease.epoch.0.to_string() && *owner == lease.owner.to_string() {
            return Ok(());
        }
        let current = Epoch(epoch.parse().unwrap_or_default());
        refused(LogErrorKind::Fenced { ours: lease.epoch, current })
    }

    fn parse_message(&self, producer: Name, row: &Value) -> Result<IngressMessage, LogError> {
        let parse = || {
            let (id, fields) = stream_entry(row)?;
            let [_, codec, _, payload] = fields else { return None };
            let codec = text(codec).and_then(|name| Codec::from_name(&name))?;
            let payload = bytes(payload)?.to_vec();
            Some(IngressMessage { producer, seq: parse_pos(id)?.ms, codec, payload })
        };
        let key = self.inner.keys.ingress(&producer);
        parse().ok_or_else(|| self.corrupt("ingress", &key, "not a message"))
    }
}
