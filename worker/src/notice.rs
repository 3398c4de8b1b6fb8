//! What an operator must hear of a worker without asking: that the store is away, that the circuit stands open, that a
//! group was gone. Each once when it begins and once when it is over.

use silvertine_streams::{ConsumerName, Regrouped, StoreError};

/// The target of these events; the command line shows it whatever else is asked for.
pub const TARGET: &str = "silvertine::notice";

/// What one member has told so far.
#[derive(Debug, Default)]
pub(super) struct Notices {
    is_away: bool,
    is_open: bool,
}

impl Notices {
    pub(super) fn store_is_away(&mut self, member: &ConsumerName, error: &StoreError) {
        if std::mem::replace(&mut self.is_away, true) {
            return;
        }
        tracing::warn!(target: TARGET, "{member}: the store does not answer, trying again until it does: {error}");
    }

    pub(super) fn store_answers(&mut self, member: &ConsumerName) {
        if std::mem::take(&mut self.is_away) {
            tracing::warn!(target: TARGET, "{member}: the store answers again");
        }
    }

    pub(super) fn group_was_gone(member: &ConsumerName, group: &Regrouped) {
        let (stream, at) = (&group.stream, group.at);
        tracing::warn!(
            target: TARGET,
            "{member}: the group on {stream} was gone and is there again, behind {at}; if the store lost its data, publish again what is missing"
        );
    }

    pub(super) fn circuit(&mut self, member: &ConsumerName, is_closed: bool) {
        if is_closed != self.is_open {
            return;
        }
        self.is_open = !is_closed;
        if is_closed {
            tracing::warn!(target: TARGET, "{member}: the circuit has closed, messages are handled again");
        } else {
            tracing::warn!(target: TARGET, "{member}: the circuit is open: the handler failed again and again, and messages wait until it does not");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use silvertine_engine::log::Applied;
    use silvertine_streams::{ConsumerName, StoreErrorKind};

    use super::*;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are said, each without time, level and target.
    fn said(tell: impl FnOnce(&mut Notices, &ConsumerName)) -> Vec<String> {
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        let member = "w1".parse().expect("a name");
        tracing::subscriber::with_default(subscriber, || tell(&mut Notices::default(), &member));
        let text = String::from_utf8(said.0.lock().expect("nobody panics").clone());
        let line = |line: &str| line.split_once(": ").map_or(line, |(_, said)| said).to_owned();
        text.expect("text").lines().map(line).collect()
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_when_it_is_over() {
        let error = StoreError {
            kind: StoreErrorKind::Unavailable { why: "connection refused".to_owned() },
            applied: Applied::No,
            operation: "fetch",
            store: "redis://h:1".to_owned(),
        };
        let lines = said(|notices, member| {
            notices.store_answers(member);
            notices.circuit(member, true);
            for _ in 0..3 {
                notices.store_is_away(member, &error);
                notices.circuit(member, false);
            }
            for _ in 0..3 {
                notices.store_answers(member);
                notices.circuit(member, true);
            }
        });
        let begins = ["w1: the store does not answer", "w1: the circuit is open"];
        let ends = ["w1: the store answers again", "w1: the circuit has closed"];
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (line, expected) in lines.iter().zip(begins.iter().chain(&ends)) {
            assert!(line.starts_with(expected), "{line:?}");
        }
        assert!(lines[0].contains("connection refused"), "{lines:?}");
    }
}
