//! The meta record, and the decisions that follow from it alone: the laws that need no store.

use serde::{Deserialize, Serialize};
use silvertine_engine::{
    log::{Commit, Epoch, Head, Lease, LogErrorKind, OwnerId},
    pos::Pos,
};

use super::{content, corrupt, seal};

/// Version of the layout of keys and records.
const FORMAT_VERSION: u8 = 1;

/// What the partition knows of itself; written with every commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) epoch: u64,
    pub(crate) owner: u128,
    pub(crate) head: Head,
    pub(crate) checkpoint: Vec<u8>,
}

/// What is to be done with a commit that nothing speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Nothing: it is in the log already (L4).
    Already,
    /// Write it.
    New,
}

impl Meta {
    /// The format version, then the sealed record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let record = postcard::to_stdvec(self).expect("meta is plain numbers and bytes");
        let mut stored = vec![FORMAT_VERSION];
        stored.extend_from_slice(&seal(b"", &record));
        stored
    }

    pub(crate) fn decode(stored: &[u8]) -> Result<Self, LogErrorKind> {
        let (&version, sealed) = stored.split_first().ok_or_else(|| corrupt("meta", "empty"))?;
        if version > FORMAT_VERSION {
            let (found, known) = (version.into(), FORMAT_VERSION.into());
            return Err(LogErrorKind::TooNew { found, known });
        }
        if version == 0 {
            return Err(corrupt("meta", "format version 0 was never written"));
        }
        let record = content("meta", b"", sealed)?;
        let meta = match postcard::take_from_bytes::<Self>(record) {
            Ok((meta, [])) => meta,
            Ok((_, rest)) => {
                return Err(corrupt("meta", format!("{} bytes too many", rest.len())));
            }
            Err(why) => return Err(corrupt("meta", why)),
        };
        let Head { pos, trimmed, .. } = meta.head;
        if trimmed.ms > pos.ms || trimmed.seq > pos.seq || meta.encode() != stored {
            return Err(corrupt("meta", "no build writes it so"));
        }
        Ok(meta)
    }

    /// Makes `owner` the owner. Epochs count from one, so a new partition has none yet.
    pub(crate) fn take_over(&mut self, owner: OwnerId) {
        if self.epoch == 0 || self.owner != owner.0 {
            self.epoch += 1;
            self.owner = owner.0;
        }
    }

    pub(crate) fn lease(&self) -> Lease {
        Lease { epoch: Epoch(self.epoch), owner: OwnerId(self.owner) }
    }

    /// Only the newest owner may write (L5).
    pub(crate) fn check_lease(&self, lease: &Lease) -> Result<(), LogErrorKind> {
        let current = self.lease();
        if current == *lease {
            return Ok(());
        }
        Err(LogErrorKind::Fenced { ours: lease.epoch, current: current.epoch })
    }

    /// What to do with a commit of an owner whose lease has been checked.
    pub(crate) fn admit(&self, commit: &Commit<'_>) -> Result<Admitted, LogErrorKind> {
        let head = self.head.pos;
        if commit.id == self.head.commit {
            return Ok(Admitted::Already);
        }
        if commit.expected != head {
            return Err(LogErrorKind::Conflict { expected: commit.expected, head });
        }
        if commit.entries.first_pos().is_some_and(|first| first <= head) {
            let why = format!("entries must stand above the head {head}");
            return Err(LogErrorKind::Invalid { why });
        }
        Ok(Admitted::New)
    }

    /// Meta as a new commit leaves it.
    pub(crate) fn advance(&mut self, commit: &Commit<'_>) {
        self.head.pos = commit.resulting_pos();
        self.head.digest = commit.digest;
        self.head.commit = commit.id;
        self.checkpoint = commit.checkpoint.to_vec();
    }

    /// Moves the beginning of what is kept to behind `at`; answers how many entries go.
    pub(crate) fn note_trimmed(&mut self, at: Pos) -> u64 {
        let removed = at.seq.saturating_sub(self.head.trimmed.seq);
        self.head.trimmed = self.head.trimmed.max(at);
        removed
    }
}

/// Whether there is something to trim at `at`, given the kept snapshots (L8).
pub(crate) fn may_trim(kept: &[Pos], at: Pos) -> Result<bool, LogErrorKind> {
    if kept.last().is_none_or(|&newest| at > newest) {
        let why = format!("{at} is above the newest snapshot, the floor of trimming");
        return Err(LogErrorKind::Invalid { why });
    }
    Ok(kept.contains(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meta record with its checksum in order, whatever it holds.
    fn stored(record: &[u8]) -> Vec<u8> {
        [&[FORMAT_VERSION], &seal(b"", record)[..]].concat()
    }

    #[test]
    fn meta_trimmed_above_its_head_is_corrupt() {
        let mut meta = Meta { epoch: 1, ..Meta::default() };
        meta.head.pos = Pos { ms: 2, seq: 2 };
        meta.head.trimmed = Pos { ms: 2, seq: 2 };
        assert!(Meta::decode(&meta.encode()).is_ok());
        // The second sorts below the head, and more entries were trimmed than there were.
        for trimmed in [Pos { ms: 2, seq: 3 }, Pos { ms: 1, seq: 3 }, Pos { ms: 3, seq: 1 }] {
            meta.head.trimmed = trimmed;
            assert!(Meta::decode(&meta.encode()).is_err(), "{trimmed}");
        }
    }

    #[test]
    fn meta_in_other_bytes_than_its_own_is_corrupt() {
        let record = postcard::to_stdvec(&Meta::default()).expect("plain data");
        assert!(Meta::decode(&stored(&record)).is_ok());
        assert!(Meta::decode(&stored(&[&record[..], &[0]].concat())).is_err(), "a byte behind it");
        // The epoch, which comes first, in two bytes instead of one.
        assert_eq!(record[0], 0);
        assert!(Meta::decode(&stored(&[&[0x80, 0], &record[1..]].concat())).is_err());
    }
}
