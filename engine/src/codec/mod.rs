//! From events to bytes and back.
//!
//! *Canonical* bytes (`entry`) are what logs store and the digest covers: a fixed-width header, then the body in postcard.
//! *Messages* (`message`) are what outside producers publish to a partition's ingress: postcard between Rust programs, JSON
//! for other languages and for people. `docs/wire-format.md` describes both byte by byte.

mod entry;
mod message;
mod plain;

pub use self::{
    entry::{DecodeError, ENTRY_VERSION, EntryPeek, decode_entry, encode_entry, peek_entry},
    message::{Codec, InputMessage, InputMessageError},
};
