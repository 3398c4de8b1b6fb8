//! Where a log or a store of streams is, as a text that people write and that is safe to show.

use std::{fmt, path::PathBuf};

use silvertine_engine::text::Name;

/// Where a log is: `memory`, `redb:PATH`, `sled:PATH`, `redis://…[#partition]`, `rediss://…[#partition]`.
#[derive(Clone, PartialEq, Eq)]
pub enum LogAddress {
    /// In this process.
    Memory,
    /// A file.
    Redb(PathBuf),
    /// A folder.
    Sled(PathBuf),
    /// A Redis server, perhaps with the name of a partition.
    Redis {
        /// The server's URL, without the partition.
        url: String,
        /// The partition, where the address names one.
        partition: Option<Name>,
    },
}

/// Why a text is not an address of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogAddressError(String);

impl std::str::FromStr for LogAddress {
    type Err = LogAddressError;

    fn from_str(text: &str) -> Result<Self, LogAddressError> {
        // Addresses are shown in messages, and a message is one line that steers no terminal.
        if text.contains(char::is_control) {
            let why = "the address of a log holds no control characters";
            return Err(LogAddressError(why.to_owned()));
        }
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("redb:") {
            if path.is_empty() {
                return Err(LogAddressError("redb: needs the path of a file".to_owned()));
            }
            return Ok(Self::Redb(PathBuf::from(path)));
        }
        if let Some(path) = text.strip_prefix("sled:") {
            if path.is_empty() {
                return Err(LogAddressError("sled: needs the path of a folder".to_owned()));
            }
            return Ok(Self::Sled(PathBuf::from(path)));
        }
        if text.starts_with("redis://") || text.starts_with("rediss://") {
            if text.contains(char::is_whitespace) {
                let why = "the address of a server holds no spaces";
                return Err(LogAddressError(why.to_owned()));
            }
            // The part behind a # in a password would be taken for a partition, and shown.
            if text.split_once('#').is_some_and(|(_, name)| name.contains('@')) {
                let why =
                    "a # in a password is written %23, and a partition has no at sign in its name";
                return Err(LogAddressError(why.to_owned()));
            }
            let (url, partition) = match text.split_once('#') {
                None => (text, None),
                Some((url, name)) => {
                    let name = Name::new(name)
                        .map_err(|why| LogAddressError(format!("partition {name:?} {why}")))?;
                    (url, Some(name))
                }
            };
            return Ok(Self::Redis { url: url.to_owned(), partition });
        }
        Err(LogAddressError(
            "a log is memory, redb:PATH, sled:PATH, redis://HOST:PORT or rediss://HOST:PORT"
                .to_owned(),
        ))
    }
}

impl fmt::Debug for LogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LogAddress {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redb(path) => write!(f, "redb:{}", path.display()),
            Self::Sled(path) => write!(f, "sled:{}", path.display()),
            Self::Redis { url, partition } => {
                f.write_str(&without_credentials(url))?;
                partition.map_or(Ok(()), |partition| write!(f, "#{partition}"))
            }
        }
    }
}

/// The address of a server without user and password, fit to be shown.
#[must_use]
pub(crate) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password may hold an @ of its own, and one that should have been escaped even a slash; so
    // whatever stands before the last @ is kept back.
    match rest.rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_nonsense_is_refused() {
        assert_eq!("memory".parse(), Ok(LogAddress::Memory));
        assert_eq!("sled:/a/b".parse(), Ok(LogAddress::Sled(PathBuf::from("/a/b"))));
        assert_eq!("redb:/a/b".parse(), Ok(LogAddress::Redb(PathBuf::from("/a/b"))));
        let named: LogAddress = "redis://h:1/0#part".parse().expect("valid");
        let LogAddress::Redis { url, partition } = named else { panic!("a redis address") };
        assert_eq!((url.as_str(), partition), ("redis://h:1/0", Name::new("part").ok()));
        let refused = ["", "sled:", "redb:", "http://h", "redis", "redis://h#", "redis://h\n"];
        for nonsense in refused.into_iter().chain(["sled:a\n", "redb:a\u{1b}[2J"]) {
            assert!(nonsense.parse::<LogAddress>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let address: LogAddress = "redis://user:p@ss@h:1/0#part".parse().expect("valid");
        assert_eq!(address.to_string(), "redis://h:1/0#part");
        assert_eq!(format!("{address:?}"), "redis://h:1/0#part");
        let unescaped: LogAddress = "redis://user:p/ss@h:1/0".parse().expect("a URL to look at");
        assert_eq!(unescaped.to_string(), "redis://h:1/0");
        let said = "redis://user:p#Q7@h".parse::<LogAddress>().expect_err("ambiguous").to_string();
        assert!(!said.contains("Q7"), "{said}");
    }
}
