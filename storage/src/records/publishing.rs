//! Which of the messages to publish are new: those above the last number of their producer.

use std::collections::BTreeMap;

use silvertine_engine::{
    log::{IngressMessage, Published},
    text::Name,
};

/// Messages sorted into new ones and duplicates.
#[derive(Default)]
pub(crate) struct Publishing<'m> {
    /// What became of each message, in the order given.
    pub(crate) published: Vec<Published>,
    /// The new ones.
    pub(crate) fresh: Vec<&'m IngressMessage>,
    /// The last number of each producer with a new message.
    pub(crate) last: BTreeMap<Name, u64>,
}

impl<'m> Publishing<'m> {
    /// Sorts `messages`; `stored` looks up the last number that a producer has published.
    pub(crate) fn sort<E>(
        messages: &'m [IngressMessage],
        mut stored: impl FnMut(&Name) -> Result<u64, E>,
    ) -> Result<Self, E> {
        let mut sorted = Self::default();
        for message in messages {
            let last = match sorted.last.get(&message.producer) {
                Some(&seq) => seq,
                None => stored(&message.producer)?,
            };
            if message.seq <= last {
                sorted.published.push(Published::Duplicate);
                continue;
            }
            sorted.last.insert(message.producer, message.seq);
            sorted.fresh.push(message);
            sorted.published.push(Published::Stored);
        }
        Ok(sorted)
    }
}

/// Why `messages` cannot be published at all, if so.
pub(crate) fn check_numbers(messages: &[IngressMessage]) -> Result<(), String> {
    if messages.iter().any(|message| message.seq == 0) {
        return Err("a producer counts from one".to_owned());
    }
    Ok(())
}
