//! Damage: one flipped bit anywhere in a file.

use silvertine_engine::log::{LogError, LogErrorKind};

use crate::{
    contents::{Contents, readable},
    disk::Disk,
    history::{HISTORY, assert_same, expected, open, take},
};

/// Every so many bytes one bit is flipped.
const STRIDE: usize = 64;
/// In the header of redb every byte is, and so are the first bytes of every page in use.
const HEADER_BYTES: usize = 320;
const PAGE_BYTES: usize = 4096;
const PAGE_HEADER_BYTES: usize = 32;
/// After so many steps the log holds most, and nothing has been trimmed.
const STEPS: usize = 5;

/// The image of the log after so many steps: while it is open, and closed.
fn images() -> (Vec<u8>, Vec<u8>) {
    let disk = Disk::new();
    let log = open(&disk).expect("opens");
    for step in &HISTORY[..STEPS] {
        take(&log, *step).expect("the disk is good");
    }
    let crashed = disk.image();
    drop(log);
    (crashed, disk.image())
}

/// Where to flip a bit.
fn places(image: &[u8]) -> impl Iterator<Item = usize> {
    (0..image.len()).filter(|&at| {
        let in_header = at < HEADER_BYTES || at % PAGE_BYTES < PAGE_HEADER_BYTES;
        at.is_multiple_of(STRIDE) || in_header && in_use(image, at)
    })
}

/// Whether anything is in the page of a byte.
fn in_use(image: &[u8], at: usize) -> bool {
    image[at - at % PAGE_BYTES..].iter().take(PAGE_BYTES).any(|&byte| byte != 0)
}

/// The image with one bit flipped, another one at every place.
fn flipped(image: &[u8], at: usize) -> Vec<u8> {
    let mut damaged = image.to_vec();
    damaged[at] ^= 1 << ((at / STRIDE + at) % 8);
    damaged
}

/// What a damaged log holds, unless it says that it is damaged.
fn read(image: Vec<u8>, at: usize) -> Option<Contents> {
    match open(&Disk::with_image(image)).and_then(|log| readable(&log)) {
        Ok(found) => Some(found),
        Err(LogError { kind: LogErrorKind::Corrupt { .. }, .. }) => None,
        Err(other) => panic!("byte {at}: {other}"),
    }
}

/// What can be read after so many steps.
fn after(steps: usize) -> Contents {
    Contents { acquired: None, ..expected().swap_remove(steps) }
}

#[test]
fn a_flipped_bit_in_a_closed_file_is_reported_or_changes_nothing() {
    let (_, image) = images();
    let whole = after(STEPS);
    assert!(read(image.clone(), 0).as_ref() == Some(&whole), "without damage it is as written");
    let (mut reported, mut harmless) = (0, 0);
    for at in places(&image) {
        match read(flipped(&image, at), at) {
            None => reported += 1,
            Some(found) => {
                assert_same(&found, &whole, &format!("byte {at}"));
                harmless += 1;
            }
        }
    }
    println!("{} bytes: {reported} flips reported, {harmless} changed nothing", image.len());
    assert!(reported > 1_000, "the damage hits something");
}

#[test]
fn a_flipped_bit_in_a_file_that_was_not_closed_is_reported_or_takes_back_a_whole_commit() {
    let (image, _) = images();
    let (whole, before) = (after(STEPS), after(STEPS - 1));
    assert!(read(image.clone(), 0).as_ref() == Some(&whole), "without damage it is as written");
    let (mut reported, mut harmless, mut taken_back) = (0, 0, 0);
    for at in places(&image).filter(|&at| in_use(&image, at)) {
        match read(flipped(&image, at), at) {
            None => reported += 1,
            Some(found) if found == whole => harmless += 1,
            // To redb the newest commit may look as if the crash had cut it short.
            Some(found) => {
                assert_same(&found, &before, &format!("byte {at}"));
                taken_back += 1;
            }
        }
    }
    println!(
        "{reported} flips reported, {harmless} changed nothing, {taken_back} took a commit back"
    );
    assert!(reported > 1_000, "the damage hits something");
}
