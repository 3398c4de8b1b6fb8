//! Encoded entries in one buffer, reused from commit to commit.

use std::ops::Range;

use crate::{
    codec::{self, DecodeError},
    event::{Event, Topic},
    pos::Pos,
    time::Nanos,
};

/// Encoded entries, one after the other, with an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    index: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    pos: Pos,
    topic: Topic,
    end: usize,
}

/// One encoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Its position.
    pub pos: Pos,
    /// Its topic.
    pub topic: Topic,
    /// Its canonical bytes.
    pub bytes: &'a [u8],
}

impl Batch {
    /// Appends an event and returns its canonical bytes.
    ///
    /// # Panics
    /// When the event's position is not above the last one (L1), or its time is after [`Nanos::LATEST_INPUT`], which no
    /// reader would accept.
    pub fn push(&mut self, event: &Event) -> &[u8] {
        self.assert_above_last(event.pos);
        assert!(event.time <= Nanos::LATEST_INPUT, "an entry at {} does not decode", event.time);
        self.reserve_first();
        let start = self.bytes.len();
        codec::encode_entry(event, &mut self.bytes);
        self.index.push(Slot { pos: event.pos, topic: event.body.topic(), end: self.bytes.len() });
        let bytes = &self.bytes[start..];
        debug_assert!(
            codec::peek_entry(bytes)
                .is_ok_and(|peek| (peek.pos, peek.topic) == (event.pos, event.body.topic())),
            "the index says what the bytes say"
        );
        bytes
    }

    /// Appends an entry that is already encoded.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes do not begin like an entry.
    ///
    /// # Panics
    /// When its position is not above the last one (L1).
    pub fn push_encoded(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let peek = codec::peek_entry(bytes)?;
        self.assert_above_last(peek.pos);
        self.reserve_first();
        self.bytes.extend_from_slice(bytes);
        self.index.push(Slot { pos: peek.pos, topic: peek.topic, end: self.bytes.len() });
        Ok(())
    }

    /// Appends the entries at `range` of another batch, with one copy.
    ///
    /// # Panics
    /// When `range` exceeds the other batch, or the positions are not above the last one (L1).
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        let slots = &other.index[range.clone()];
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return };
        self.assert_above_last(first.pos);
        self.reserve_first();
        let start = other.start_of(range.start);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes[start..last.end]);
        let moved = |slot: &Slot| Slot { end: begin + slot.end - start, ..*slot };
        self.index.extend(slots.iter().map(moved));
    }

    /// An empty batch with memory for `entries` entries of `bytes` bytes in all.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), index: Vec::with_capacity(entries) }
    }

    /// Reserves memory for the first entries; growing from nothing would copy them several times.
    fn reserve_first(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(1024);
            self.index.reserve(8);
        }
    }

    fn assert_above_last(&self, pos: Pos) {
        assert!(self.index.last().is_none_or(|last| last.pos < pos), "positions must increase");
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EntryRef<'_>> {
        (0..self.index.len()).map(|at| self.get(at))
    }

    /// The entry at `at`.
    ///
    /// # Panics
    /// When `at` is not below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, at: usize) -> EntryRef<'_> {
        let Slot { pos, topic, end } = self.index[at];
        EntryRef { pos, topic, bytes: &self.bytes[self.start_of(at)..end] }
    }

    /// Where the bytes of the entry at `at` begin.
    fn start_of(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.index[before].end)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Position of the first entry.
    #[must_use]
    pub fn first_pos(&self) -> Option<Pos> {
        self.index.first().map(|slot| slot.pos)
    }

    /// Position of the last entry.
    #[must_use]
    pub fn last_pos(&self) -> Option<Pos> {
        self.index.last().map(|slot| slot.pos)
    }

    /// Index of the first entry after `pos`.
    #[must_use]
    pub fn first_after(&self, pos: Pos) -> usize {
        self.index.partition_point(|slot| slot.pos <= pos)
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }

    /// Bytes of memory held, used or not.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.index.capacity() * size_of::<Slot>()
    }
}
