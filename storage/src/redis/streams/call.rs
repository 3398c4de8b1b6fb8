//! A script's keys and arguments in the making, in the order in which the scripts take them.

use std::fmt::{Display, Write};

use redis::{Cmd, Pipeline};
use silvertine_streams::{Message, Publication, StreamName, StreamSpec, Topology, Trim, WhenFull};

use super::keys::{GroupKeys, StreamKeys};

/// So many messages more than its maximum a stream may hold where the maximum is approximate: trimming is done
/// once for all of them.
const SLACK: u64 = 100;

/// Keys and arguments of one call.
#[derive(Default)]
pub(super) struct Call {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    args: Vec<u8>,
    arg_ends: Vec<usize>,
}

impl Call {
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.keys.extend_from_slice(key.as_bytes());
        self.key_ends.push(self.keys.len());
        self
    }

    pub(super) fn bytes(&mut self, arg: &[u8]) -> &mut Self {
        self.args.extend_from_slice(arg);
        self.arg_ends.push(self.args.len());
        self
    }

    pub(super) fn arg(&mut self, arg: impl Display) -> &mut Self {
        // Straight into the buffer: one argument per message adds up.
        let mut text = Text(&mut self.args);
        write!(text, "{arg}").expect("memory takes all");
        self.arg_ends.push(self.args.len());
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.bytes(if flag { b"1" } else { b"0" })
    }

    /// A number, or an empty text.
    pub(super) fn option(&mut self, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.arg(number),
            None => self.bytes(b""),
        }
    }

    /// The part that `group.lua` takes.
    pub(super) fn group(&mut self, keys: &GroupKeys, group: &str, me: &str, by: Option<&str>) {
        self.key(&keys.done).key(&keys.order).key(&keys.blocked).key(&keys.bell);
        for lane in &keys.lanes {
            self.key(lane.stream.as_str()).key(&lane.due).key(&lane.tries);
            self.key(&lane.counts).key(&lane.recent);
        }
        self.arg(group).arg(me).arg(by.unwrap_or_default()).arg(keys.lanes.len());
    }

    /// The part that `append.lua` takes.
    pub(super) fn targets(&mut self, targets: &Targets<'_>) {
        self.arg(targets.0.len());
        for (stream, spec, keys) in &targets.0 {
            self.key(stream.as_str()).key(&keys.counts);
            self.option(spec.max_len);
            self.arg(if spec.trim == Trim::Approximate { SLACK } else { 0 });
            self.arg(match spec.when_full {
                WhenFull::Grow => "grow",
                WhenFull::Refuse => "refuse",
                WhenFull::Cut => "cut",
            });
            self.option(spec.retention.map(|age| age.as_millis()));
            // A stream without limits is never trimmed, whoever consumes it.
            let limited = spec.max_len.is_some() || spec.retention.is_some();
            let groups = || spec.groups_on(stream).filter(|_| limited);
            self.arg(groups().count());
            groups().for_each(|group| {
                self.arg(&group.name);
            });
        }
    }

    /// The part that `dead.lua` takes.
    pub(super) fn dead_letters(&mut self, spec: &StreamSpec, keys: &StreamKeys) {
        self.key(keys.dead.as_str()).key(&keys.dead_state);
        self.option(spec.dead_retention.map(|age| age.as_millis()));
    }

    /// A message's fields, with how many arguments they are.
    pub(super) fn fields(&mut self, message: &Message) -> &mut Self {
        self.arg(message.fields().len() * 2);
        for (name, value) in message.fields() {
            self.bytes(name).bytes(value);
        }
        self
    }

    pub(super) fn fill(&self, command: &mut Cmd) {
        command.arg(self.key_ends.len());
        for (bytes, ends) in [(&self.keys, &self.key_ends), (&self.args, &self.arg_ends)] {
            let mut from = 0;
            for &end in ends {
                command.arg(&bytes[from..end]);
                from = end;
            }
        }
    }
}

struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The streams that one call appends to, each once.
pub(super) struct Targets<'a>(Vec<(&'a StreamName, &'a StreamSpec, &'a StreamKeys)>);

impl<'a> Targets<'a> {
    /// The stream that is in no topology is the error.
    pub(super) fn of(
        topology: &'a Topology,
        keys: &'a super::Keys,
        publications: impl Iterator<Item = &'a Publication>,
    ) -> Result<Self, &'a StreamName> {
        let mut targets: Vec<(&StreamName, _, _)> = Vec::new();
        for Publication { stream, .. } in publications {
            if !targets.iter().any(|(known, ..)| *known == stream) {
                let spec = topology.owner_of(stream).ok_or(stream)?;
                targets.push((stream, spec, keys.get(&spec.name).ok_or(stream)?));
            }
        }
        Ok(Self(targets))
    }

    /// Where it is only one, and never full: whether it must be trimmed.
    pub(super) fn one_that_takes_all(&self) -> Option<bool> {
        let [(_, spec, _)] = self.0.as_slice() else { return None };
        let limited = spec.max_len.is_some() || spec.retention.is_some();
        let refuses = spec.max_len.is_some() && spec.when_full == WhenFull::Refuse;
        (!refuses).then_some(limited)
    }

    /// A stream's number among them, from one.
    pub(super) fn number(&self, stream: &StreamName) -> usize {
        let at = self.0.iter().position(|(known, ..)| *known == stream);
        at.expect("targets are gathered from the same publications") + 1
    }
}

/// Commands for one round trip.
pub(super) fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = redis::pipe();
    commands.into_iter().for_each(|command| {
        pipeline.add_command(command);
    });
    pipeline
}
