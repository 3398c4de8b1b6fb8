//! Names of a partition's keys.

use silvertine_engine::{event::Topic, text::Name};

/// The keys of one partition, all with its hash tag.
pub(super) struct Keys {
    pub(super) meta: String,
    pub(super) snapshots: String,
    pub(super) topics: [String; Topic::ALL.len()],
    pub(super) producers: String,
    ingress: String,
}

impl Keys {
    pub(super) fn new(partition: Name) -> Self {
        let key = |rest: &str| format!("sv:{{{partition}}}:{rest}");
        Self {
            meta: key("meta"),
            snapshots: key("snap"),
            topics: Topic::ALL.map(|topic| key(&format!("s:{topic}"))),
            producers: key("producers"),
            ingress: key("in:"),
        }
    }

    /// The ingress stream of one producer.
    pub(super) fn ingress(&self, producer: &Name) -> String {
        format!("{}{producer}", self.ingress)
    }

    /// The producer whose ingress stream has this key.
    pub(super) fn producer_of(&self, key: &[u8]) -> Option<Name> {
        let name = key.strip_prefix(self.ingress.as_bytes())?;
        Name::new(std::str::from_utf8(name).ok()?).ok()
    }
}
