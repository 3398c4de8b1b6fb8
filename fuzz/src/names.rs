//! Names, symbols and addresses.

use silvertine_engine::{
    codec::Codec,
    event::{Topic, TopicSet},
    pos::Pos,
    text::{Name, Symbol},
};
use silvertine_storage::LogAddress;

use super::assert_one_line;

/// Positions, topics, names and addresses: what parses is shown in a form that parses to the same.
pub fn names(bytes: &[u8]) {
    let topics: Vec<Topic> = bytes.iter().filter_map(|&code| Topic::from_code(code)).collect();
    let set = TopicSet::of(&topics);
    assert!(Topic::ALL.iter().all(|topic| set.contains(*topic) == topics.contains(topic)));
    assert_eq!(TopicSet::of(&set.iter().collect::<Vec<_>>()), set);
    if let Ok(bytes) = bytes.try_into() {
        assert_eq!(Pos::from_be_bytes(bytes).to_be_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Pos>() {
        Ok(pos) => {
            assert_eq!(pos.to_string().parse(), Ok(pos));
            assert_eq!(Pos::from_be_bytes(pos.to_be_bytes()), pos);
        }
        Err(why) => assert_one_line(&why),
    }
    match Name::new(text) {
        Ok(name) => assert_eq!((name.as_str(), name.to_string().parse()), (text, Ok(name))),
        Err(why) => assert_one_line(&why),
    }
    match Symbol::new(text) {
        Ok(symbol) => assert_eq!((symbol.as_str(), symbol.to_string().parse()), (text, Ok(symbol))),
        Err(why) => assert_one_line(&why),
    }
    match text.parse::<LogAddress>() {
        Ok(address) => check_address(text, &address),
        Err(why) => {
            assert_one_line(&why);
            let secret = text.split_once('@').is_some() && text.contains("://");
            assert!(!secret || !why.to_string().contains('@'), "shows a password: {why}");
        }
    }
    assert!(Codec::from_name(text).is_none_or(|codec| codec.as_str() == text));
}

fn check_address(text: &str, address: &LogAddress) {
    let shown = address.to_string();
    assert_eq!(format!("{address:?}"), shown);
    assert_one_line(&shown);
    match address {
        // Whatever stands before an @ may be a password.
        LogAddress::Redis { .. } => assert!(!shown.contains('@'), "shows a password: {shown}"),
        LogAddress::Memory | LogAddress::Redb(_) | LogAddress::Sled(_) => assert_eq!(shown, text),
    }
    let again: LogAddress = shown.parse().expect("what is shown parses");
    assert_eq!(again.to_string(), shown);
}
