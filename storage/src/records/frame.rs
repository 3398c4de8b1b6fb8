//! Frames: many entries as one value.
//!
//! ```text
//! 'S' 'F' version(1) reserved(0) │ count u32 │ xxh3-64 of what follows │ (length u32 │ canonical bytes)*
//! ```
//! All integers little endian. The key is the position of the first entry.

use std::ops::Range;

use silvertine_engine::{
    log::{Batch, LogErrorKind},
    pos::Pos,
};
use xxhash_rust::xxh3::xxh3_64;

use super::{corrupt, pos_of};

const MAGIC: [u8; 4] = [b'S', b'F', 1, 0];
const HEADER_LEN: usize = 16;

/// Cuts a batch into frames, each of which ends when it has grown past `frame_bytes`.
pub(crate) fn frames(entries: &Batch, frame_bytes: usize) -> Vec<(Pos, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let (begin, mut length) = (at, HEADER_LEN);
        while at < entries.len() && length < frame_bytes {
            length += 4 + entries.get(at).bytes.len();
            at += 1;
        }
        frames.push((entries.get(begin).pos, encode(entries, begin..at)));
    }
    frames
}

/// Some entries of a batch as one frame.
pub(super) fn encode(entries: &Batch, range: Range<usize>) -> Vec<u8> {
    let count = u32::try_from(range.len()).expect("a frame is cut long before");
    let length: usize = range.clone().map(|at| 4 + entries.get(at).bytes.len()).sum();
    let mut value = Vec::with_capacity(HEADER_LEN + length);
    value.resize(HEADER_LEN, 0);
    for at in range {
        let bytes = entries.get(at).bytes;
        let length = u32::try_from(bytes.len()).expect("an entry is far below 4 GiB");
        value.extend_from_slice(&length.to_le_bytes());
        value.extend_from_slice(bytes);
    }
    value[..4].copy_from_slice(&MAGIC);
    value[4..8].copy_from_slice(&count.to_le_bytes());
    let checksum = xxh3_64(&value[HEADER_LEN..]);
    value[8..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    value
}

/// The entries of the frame stored under `key`.
///
/// # Errors
/// [`LogErrorKind::Corrupt`] when it is none, or not the one that belongs there.
pub(super) fn decode_at(key: &[u8], value: &[u8]) -> Result<Batch, LogErrorKind> {
    let first = pos_of(key).ok_or_else(|| corrupt("a frame", "odd key"))?;
    let entries = decode(value).map_err(|why| corrupt(first, why))?;
    if entries.first_pos() != Some(first) {
        return Err(corrupt(first, "the frame here begins elsewhere"));
    }
    Ok(entries)
}

/// The entries of a frame.
///
/// # Errors
/// What is wrong with it.
fn decode(value: &[u8]) -> Result<Batch, String> {
    let (header, mut rest) =
        value.split_first_chunk::<HEADER_LEN>().ok_or("frame cut short".to_owned())?;
    if header[..2] != MAGIC[..2] {
        return Err("not a frame".to_owned());
    }
    if header[2] != MAGIC[2] {
        return Err(format!("frame version {} is not known", header[2]));
    }
    if header[3] != MAGIC[3] {
        return Err("frame with a reserved byte that no build writes".to_owned());
    }
    let mut count = [0; 4];
    count.copy_from_slice(&header[4..8]);
    if xxh3_64(rest).to_le_bytes() != header[8..] {
        return Err("frame checksum differs".to_owned());
    }
    let mut entries = Batch::default();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or("entry cut short".to_owned())?;
        let length = u32::from_le_bytes(*length) as usize;
        let bytes = behind.get(..length).ok_or("entry cut short".to_owned())?;
        let above = silvertine_engine::codec::peek_entry(bytes).map_err(|why| why.to_string())?;
        let adjoins =
            |last: Pos| above.pos > last && last.seq.checked_add(1) == Some(above.pos.seq);
        if !entries.last_pos().is_none_or(adjoins) {
            return Err("positions in the frame have a gap".to_owned());
        }
        entries.push_encoded(bytes).map_err(|why| why.to_string())?;
        rest = &behind[length..];
    }
    if entries.len() != u32::from_le_bytes(count) as usize {
        return Err("frame holds another number of entries than it says".to_owned());
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use silvertine_engine::{
        event::{Event, EventId, Header, Origin, System},
        text::Name,
        time::Nanos,
    };

    use super::*;

    const FRAME_BYTES: usize = 64 * 1024;

    fn batch(count: u64) -> Batch {
        let mut batch = Batch::default();
        for seq in 1..=count {
            let source = Name::new("s").expect("valid");
            let id = EventId(seq.into());
            let (time, body) = (Nanos(0), System::CircuitClosed { handler: source }.into());
            let header = Header {
                id,
                event_time: time,
                recv_time: time,
                source,
                source_seq: seq,
                correlation: id,
                causation: None,
            };
            let pos = Pos { ms: 0, seq };
            batch.push(&Event { pos, time, origin: Origin::Input, header, body });
        }
        batch
    }

    #[test]
    fn frames_hold_every_entry_in_order_and_stay_small() {
        let batch = batch(5_000);
        let frames = frames(&batch, FRAME_BYTES);
        assert!(frames.len() > 1);
        let mut seen = Batch::default();
        for (first, value) in &frames {
            assert!(value.len() < 2 * FRAME_BYTES);
            let frame = decode(value).expect("whole");
            assert_eq!(frame.first_pos(), Some(*first));
            frame.iter().for_each(|entry| seen.push_encoded(entry.bytes).expect("whole"));
        }
        assert_eq!(seen, batch);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let (_, value) = frames(&batch(3), FRAME_BYTES).remove(0);
        for end in 0..value.len() {
            assert!(decode(&value[..end]).is_err(), "cut at {end}");
        }
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x40;
            assert!(decode(&damaged).is_err(), "flipped at {at}");
        }
    }
}
