//! A file of frames: appended one after the other, each with a checksum.
//!
//! ```text
//! file   = "custom-log 1\n" frame*
//! frame  = length (u32, little endian)  complement of length (u32)  XXH3-128 of payload (16 bytes)  payload
//! ```
//! A crash can leave the last frame unfinished: opening cuts it off, as nobody was told that it is there. Damage anywhere
//! else is an error: cutting there would throw away what was acknowledged. The complement tells a damaged length from
//! an unfinished frame.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use silvertine_engine::digest::fingerprint;

const MAGIC: &[u8] = b"custom-log 1\n";
const HEADER: usize = 4 + 4 + 16;

/// The open file, positioned at its end. Locked: no other process appends.
#[derive(Debug)]
pub(crate) struct Frames(File);

/// Why a file cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Io(io::Error),
    Locked,
    Foreign,
    Corrupt { at: u64, why: &'static str },
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Frames {
    /// Opens or creates the file; returns the payloads that are in it, oldest first.
    pub fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), OpenError> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked,
            TryLockError::Error(error) => OpenError::Io(error),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A crash may have come while the magic was written.
        if MAGIC.starts_with(&bytes) {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            return Ok((Self(file), Vec::new()));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(OpenError::Foreign);
        }
        let (mut payloads, mut at) = (Vec::new(), MAGIC.len());
        while let Some(payload) = frame_at(&bytes, at)? {
            at += HEADER + payload.len();
            payloads.push(payload.to_vec());
        }
        file.set_len(at as u64)?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(at as u64))?;
        Ok((Self(file), payloads))
    }

    /// Appends one frame and waits until it is on disk.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&(!length).to_le_bytes());
        frame.extend_from_slice(&fingerprint(payload));
        frame.extend_from_slice(payload);
        self.0.write_all(&frame)?;
        self.0.sync_data()
    }
}

/// The payload of the frame that begins here; `None` at the end, or where only an unfinished frame follows.
fn frame_at(bytes: &[u8], at: usize) -> Result<Option<&[u8]>, OpenError> {
    let rest = &bytes[at..];
    let corrupt = |why| Err(OpenError::Corrupt { at: at as u64, why });
    // Some file systems make a file longer before they write what is in it.
    let Some((header, behind)) = rest.split_at_checked(HEADER) else { return Ok(None) };
    if rest.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let number = |from: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| header[from + n]));
    if number(0) != !number(4) {
        return corrupt("damaged length");
    }
    let Some(payload) = behind.get(..number(0) as usize) else { return Ok(None) };
    let whole = fingerprint(payload) == header[8..];
    match whole {
        true => Ok(Some(payload)),
        false if payload.len() == behind.len() => Ok(None),
        false => corrupt("checksum differs"),
    }
}
