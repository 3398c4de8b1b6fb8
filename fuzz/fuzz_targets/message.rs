//! Messages of both codecs: what decodes comes back the same; nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use silvertine_engine::codec::Codec;

fuzz_target!(|bytes: &[u8]| {
    for codec in [Codec::Postcard, Codec::Json] {
        if let Ok(message) = codec.decode(bytes) {
            assert_eq!(codec.decode(&codec.encode(&message)), Ok(message));
        }
    }
});
