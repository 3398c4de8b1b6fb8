//! Whatever decodes as an entry encodes to the same bytes; nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use silvertine_engine::codec::{decode_entry, encode_entry};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = decode_entry(bytes) {
        let mut again = Vec::new();
        encode_entry(&event, &mut again);
        assert_eq!(decode_entry(&again), Ok(event));
    }
});
