//! The canonical bytes of an entry.
//!
//! ```text
//! offset size  field
//!      0    1  version (1)
//!      1    1  topic
//!      2    1  origin
//!      3    1  flags: bit 0 correlation follows, bit 1 causation follows
//!      4    8  position: sequence            all integers little endian
//!     12    8  engine time, ns               position.ms = time / 1 000 000
//!     20   16  event id
//!     36    8  event time, ns
//!     44    8  receive time, ns
//!     52    8  sequence of the source
//!     60  0/16 correlation id (absent: the event's own id)
//!      …  0/16 causation id   (absent: none)
//!      …    1  length of the source's name, then the name
//!      …       body, postcard
//! ```
//!
//! The header has a fixed width because position and topic are read far more often than bodies are decoded, and because
//! copying is faster than variable-length integers on the hot path.

use postcard::ser_flavors::Flavor;

use super::plain;
use crate::{
    event::{Body, Event, EventId, Header, Origin, Topic},
    pos::Pos,
    text::Name,
    time::Nanos,
};

/// The version of the entry format that this build writes. Older ones stay readable.
pub const ENTRY_VERSION: u8 = 1;

const FIXED_LEN: usize = 60;
/// Nearly every entry takes less.
const USUAL_LEN: usize = 256;
const HAS_CORRELATION: u8 = 1;
const HAS_CAUSATION: u8 = 2;

/// Why bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("cut short after {0} bytes")]
    Short(usize),
    /// A newer build wrote it.
    #[error(
        "entry format version {found} is newer than {ENTRY_VERSION}, the newest this build reads"
    )]
    TooNew {
        /// The version found.
        found: u8,
    },
    /// A field holds a value that no build writes.
    #[error("{0} holds an impossible value")]
    Impossible(&'static str),
    /// The body is not what the topic says.
    #[error("body does not decode: {0}")]
    Body(String),
}

/// Appends the canonical bytes of `event` to `out`.
pub fn encode_entry(event: &Event, out: &mut Vec<u8>) {
    let header = &event.header;
    let mut fixed = [0; FIXED_LEN];
    fixed[0] = ENTRY_VERSION;
    fixed[1] = event.body.topic() as u8;
    fixed[2] = event.origin as u8;
    fixed[4..12].copy_from_slice(&event.pos.seq.to_le_bytes());
    fixed[12..20].copy_from_slice(&event.time.0.to_le_bytes());
    fixed[20..36].copy_from_slice(&header.id.0.to_le_bytes());
    fixed[36..44].copy_from_slice(&header.event_time.0.to_le_bytes());
    fixed[44..52].copy_from_slice(&header.recv_time.0.to_le_bytes());
    fixed[52..60].copy_from_slice(&header.source_seq.to_le_bytes());
    if header.correlation != header.id {
        fixed[3] |= HAS_CORRELATION;
    }
    if header.causation.is_some() {
        fixed[3] |= HAS_CAUSATION;
    }
    out.reserve(USUAL_LEN);
    out.extend_from_slice(&fixed);
    if header.correlation != header.id {
        out.extend_from_slice(&header.correlation.0.to_le_bytes());
    }
    if let Some(causation) = header.causation {
        out.extend_from_slice(&causation.0.to_le_bytes());
    }
    let source = header.source.as_bytes();
    // A name holds at most 31 bytes.
    out.push(source.len() as u8);
    out.extend_from_slice(source);
    encode_body(&event.body, out);
}

fn encode_body(body: &Body, out: &mut Vec<u8>) {
    if plain::encode(body, out) {
        return;
    }
    postcard::serialize_with_flavor(body, Appender(out))
        .expect("a body has no map or untyped part that postcard could refuse");
}

/// A postcard sink that appends to a vector, which is reused from batch to batch.
struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A postcard sink that compares what it receives with given bytes, so that the check allocates nothing.
struct Comparer<'a> {
    rest: &'a [u8],
}

impl Flavor for Comparer<'_> {
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.rest.is_empty())
    }
}

/// Position, time, topic and origin of an entry, read without decoding its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPeek {
    /// Its position.
    pub pos: Pos,
    /// Its engine time.
    pub time: Nanos,
    /// Its topic.
    pub topic: Topic,
    /// Its origin.
    pub origin: Origin,
}

/// Reads position, time, topic and origin from the front of canonical bytes.
///
/// # Errors
/// [`DecodeError`] when the header is cut short, of a newer version, or impossible.
pub fn peek_entry(bytes: &[u8]) -> Result<EntryPeek, DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let [version, topic, origin, _flags] = reader.take()?;
    if version > ENTRY_VERSION {
        return Err(DecodeError::TooNew { found: version });
    }
    if version == 0 {
        return Err(DecodeError::Impossible("version"));
    }
    let topic = Topic::from_code(topic).ok_or(DecodeError::Impossible("topic"))?;
    let origin = Origin::from_code(origin).ok_or(DecodeError::Impossible("origin"))?;
    let seq = reader.u64()?;
    let time = Nanos(reader.u64()?);
    Ok(EntryPeek { pos: Pos { ms: time.as_ms(), seq }, time, topic, origin })
}

/// Decodes canonical bytes. Only the bytes that [`encode_entry`] writes are accepted: an entry with a second encoding would
/// have a second digest.
///
/// # Errors
/// [`DecodeError`] says what is wrong with them.
pub fn decode_entry(bytes: &[u8]) -> Result<Event, DecodeError> {
    let peek = peek_entry(bytes)?;
    if peek.time > Nanos::LATEST_INPUT {
        return Err(DecodeError::Impossible("engine time"));
    }
    let flags = bytes[3];
    if flags & !(HAS_CORRELATION | HAS_CAUSATION) != 0 {
        return Err(DecodeError::Impossible("flags"));
    }
    let mut reader = Reader { bytes, at: 20 };
    let id = EventId(reader.u128()?);
    let event_time = Nanos(reader.u64()?);
    let recv_time = Nanos(reader.u64()?);
    let source_seq = reader.u64()?;
    let correlation = if flags & HAS_CORRELATION == 0 { id } else { EventId(reader.u128()?) };
    if flags & HAS_CORRELATION != 0 && correlation == id {
        return Err(DecodeError::Impossible("correlation"));
    }
    let causation = match flags & HAS_CAUSATION {
        0 => None,
        _ => Some(EventId(reader.u128()?)),
    };
    let [source_len] = reader.take()?;
    let source = reader.slice(source_len.into())?;
    let source = Name::from_bytes(source).map_err(|_| DecodeError::Impossible("source"))?;
    let body = decode_body(&bytes[reader.at..])?;
    if body.topic() != peek.topic {
        return Err(DecodeError::Impossible("topic"));
    }
    Ok(Event {
        pos: peek.pos,
        time: peek.time,
        origin: peek.origin,
        header: Header { id, event_time, recv_time, source, source_seq, correlation, causation },
        body,
    })
}

fn decode_body(written: &[u8]) -> Result<Body, DecodeError> {
    let (body, rest) = postcard::take_from_bytes::<Body>(written)
        .map_err(|why| DecodeError::Body(why.to_string()))?;
    if !rest.is_empty() {
        return Err(DecodeError::Body(format!("{} bytes follow it", rest.len())));
    }
    // postcard also reads numbers that are encoded in more bytes than needed, which it never writes.
    let suspect = may_be_too_long(written);
    debug_assert!(
        suspect || is_canonical(&body, written),
        "the quick check accepts canonical bytes only"
    );
    if suspect && !is_canonical(&body, written) {
        return Err(DecodeError::Body("a number takes more bytes than it needs".to_owned()));
    }
    Ok(body)
}

/// Whether a number could be encoded in more bytes than needed. Such a number ends in a zero byte after a continuation
/// byte. The same two bytes may also stand in an id, so `true` asks for the exact check; `false`, the usual answer, makes it
/// unnecessary.
fn may_be_too_long(written: &[u8]) -> bool {
    let behind = written.get(1..).unwrap_or_default();
    // No branch, so that the compiler checks sixteen pairs at once.
    written.iter().zip(behind).fold(false, |found, (&a, &b)| found | ((a >= 0x80) & (b == 0)))
}

#[cold]
fn is_canonical(body: &Body, written: &[u8]) -> bool {
    postcard::serialize_with_flavor(body, Comparer { rest: written }) == Ok(true)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short(self.bytes.len());
        let slice = self.bytes.get(self.at..self.at + len).ok_or(short)?;
        self.at += len;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, DecodeError> {
        self.take().map(u128::from_le_bytes)
    }
}
