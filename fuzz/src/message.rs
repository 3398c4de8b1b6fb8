//! Messages of producers.

use silvertine_engine::codec::Codec;

use super::{assert_one_line, refused_in_one_line};

/// A message that decodes from one codec survives both.
pub fn message(bytes: &[u8]) {
    let codecs = [Codec::Postcard, Codec::Json];
    for codec in codecs {
        match codec.decode(bytes) {
            Err(why) => assert_one_line(&why),
            Ok(message) => {
                for codec in codecs {
                    assert_eq!(codec.decode(&codec.encode(&message)), Ok(message.clone()));
                }
                refused_in_one_line(&message.body);
            }
        }
    }
}
