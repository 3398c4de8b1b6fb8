//! Names of streams, groups and consumers.

use std::{borrow::Borrow, cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name, in bytes.
const LENGTH_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of a {what}: {why}")]
pub struct NameError {
    what: &'static str,
    text: String,
    why: &'static str,
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let wrong = |why| Err(NameError { what, text: text.chars().take(LENGTH_MAX).collect(), why });
    if text.is_empty() {
        return wrong("it is empty");
    }
    if text.len() > LENGTH_MAX {
        return wrong("it is longer than 128 bytes");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("it holds a space or a control character");
    }
    if what == "consumer" && text.starts_with('~') {
        return wrong(
            "names that begin with ~ belong to the store, which keeps waiting messages under them",
        );
    }
    // Braces mark the part of a key that decides its slot on a cluster.
    let plain = match text.strip_prefix('{').and_then(|rest| rest.split_once("}:")) {
        Some((base, rest)) if !base.is_empty() && !rest.is_empty() => [base, rest],
        _ => [text, ""],
    };
    if plain.iter().any(|part| part.contains(['{', '}'])) {
        return wrong(
            "braces belong around the stream that a lane or a redrive belongs to, {stream}:lane",
        );
    }
    Ok(())
}

macro_rules! shared_name {
    ($name:ident, $what:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// At most 128 bytes, no spaces, control characters or braces. Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name spelled `text`.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long or holds a character that no name may hold.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            /// By their texts; most names that are compared are clones of one another.
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    return Ordering::Equal;
                }
                self.0.cmp(&other.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

shared_name!(StreamName, "stream", "The name of a stream, such as `mgmt:trading:commands`.");
shared_name!(GroupName, "group", "The name of a consumer group, such as `trading_consumers`.");
shared_name!(ConsumerName, "consumer", "The name of one member of a group, such as `broker-1`.");

impl StreamName {
    /// Whether the name keeps the convention `{service}:{direction}:{purpose}`: two or three parts between
    /// colons, each of lower-case letters, digits, `_`, `-` and `.`, beginning with a letter. A stream of the whole system
    /// has two, such as `system:events`.
    #[must_use]
    pub fn is_conventional(&self) -> bool {
        let parts = self.0.split(':');
        (2..=3).contains(&parts.clone().count()) && parts.into_iter().all(is_conventional_part)
    }

    /// The stream of an urgent lane of this one: `{stream}:lane`.
    ///
    /// The braces are part of the name: on a cluster they keep everything that belongs to a stream in its slot.
    #[must_use]
    pub fn lane(&self, lane: &str) -> Self {
        Self(format!("{{{self}}}:{lane}").into())
    }

    /// The stream on which redriven dead letters of `group` come back to that group alone: `{stream}:replay:group`.
    #[must_use]
    pub fn redrives(&self, group: &GroupName) -> Self {
        self.lane(&format!("replay:{group}"))
    }

    /// The stream of dead letters: `{stream}:dead`.
    #[must_use]
    pub fn dead(&self) -> Self {
        self.lane("dead")
    }
}

fn is_conventional_part(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_lowercase())
        && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_convention_is_told_from_other_names() {
        for name in ["mgmt:trading:commands", "system:events", "freqai:mgmt:results_v2"] {
            assert!(StreamName::new(name).expect("a name").is_conventional(), "{name}");
        }
        for name in ["orders", "a:b:c:d", "Mgmt:trading:commands", "mgmt::x", "1a:b", "mgmt:b c"] {
            let conventional = StreamName::new(name).is_ok_and(|name| name.is_conventional());
            assert!(!conventional, "{name}");
        }
    }

    #[test]
    fn what_belongs_to_a_stream_shares_its_slot() {
        let stream = StreamName::new("mgmt:trading:commands").expect("a name");
        let group = GroupName::new("trading_consumers").expect("a name");
        let derived = [stream.lane("urgent"), stream.redrives(&group), stream.dead()];
        assert_eq!(derived[1].as_str(), "{mgmt:trading:commands}:replay:trading_consumers");
        for name in derived {
            assert_eq!(StreamName::new(name.as_str()), Ok(name.clone()));
        }
    }

    #[test]
    fn what_would_break_a_key_or_a_line_is_no_name() {
        for name in ["", "a b", "a\n", "{a}", "a}b", "{}:a", "{a}:", "{a}:{b}", &"x".repeat(129)] {
            assert!(StreamName::new(name).is_err(), "{name}");
            assert!(serde_json::from_value::<GroupName>(name.into()).is_err(), "{name}");
        }
        assert!(ConsumerName::new("~waiting").is_err());
    }
}
