//! Damage: one flipped bit anywhere in a closed file.

use std::collections::BTreeMap;

use silvertine_engine::log::{LogError, LogErrorKind};

use crate::{
    contents::{Contents, readable},
    disk::Disk,
    history::{HISTORY, expected, open, take},
};

/// Every so many bytes one bit is flipped.
const STRIDE: usize = 64;
/// In the header of redb every byte is, and so are the first bytes of every page in use.
const HEADER_BYTES: usize = 320;
const PAGE_BYTES: usize = 4096;
const PAGE_HEADER_BYTES: usize = 32;
/// After so many steps the log holds most, and nothing has been trimmed.
const STEPS: usize = 5;

/// The image of the log after the history, closed.
fn closed_image() -> Vec<u8> {
    let disk = Disk::new();
    let log = open(&disk).expect("opens");
    for step in &HISTORY[..STEPS] {
        take(&log, *step).expect("the disk is good");
    }
    drop(log);
    disk.image()
}

/// Where to flip a bit.
fn places(image: &[u8]) -> impl Iterator<Item = usize> {
    (0..image.len()).filter(|&at| {
        let page = at - at % PAGE_BYTES;
        let in_header = at < HEADER_BYTES || at - page < PAGE_HEADER_BYTES;
        at.is_multiple_of(STRIDE)
            || in_header && image[page..].iter().take(PAGE_BYTES).any(|&byte| byte != 0)
    })
}

/// What comes of reading an image: what was written, or a report of the damage.
fn check(image: Vec<u8>, whole: &Contents, at: usize) -> &'static str {
    let found = match open(&Disk::with_image(image)).and_then(|log| readable(&log)) {
        Ok(found) => found,
        Err(LogError { kind: LogErrorKind::Corrupt { .. }, .. }) => return "corrupt",
        Err(other) => panic!("byte {at}: {other}"),
    };
    assert_eq!(found.head, whole.head, "byte {at}");
    assert_eq!(found.manifest, whole.manifest, "byte {at}");
    assert!(found.entries == whole.entries, "byte {at}: other entries");
    assert_eq!(found.messages, whole.messages, "byte {at}");
    assert!(found.snapshots == whole.snapshots, "byte {at}: other snapshots");
    "as written"
}

#[test]
fn a_flipped_bit_is_reported_or_changes_nothing() {
    let mut whole = expected().swap_remove(STEPS);
    whole.acquired = None;
    let image = closed_image();
    assert_eq!(check(image.clone(), &whole, 0), "as written", "without damage");
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for at in places(&image) {
        let mut damaged = image.clone();
        // Another bit at every place.
        damaged[at] ^= 1 << (at / STRIDE + at) % 8;
        *outcomes.entry(check(damaged, &whole, at)).or_default() += 1;
    }
    println!("{} bytes: {outcomes:?}", image.len());
    assert!(outcomes["corrupt"] > 10, "the damage hits something");
}
