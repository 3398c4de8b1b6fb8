//! Reading a topology from a file.

use std::{fs, io, path::Path};

use silvertine_engine::text::one_line;
use silvertine_streams::{Topology, TopologyError};

/// The text of the [reference topology](reference_topology), `deploy/streams.toml`.
pub const REFERENCE_TOPOLOGY: &str = include_str!("reference_topology.toml");

/// Why a file gives no topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        why: io::Error,
    },
    /// It does not parse.
    #[error("{path}:{line}: {why}")]
    Syntax {
        /// The file.
        path: String,
        /// The line, from one.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// What it says makes no sense.
    #[error("{path}: {why}")]
    Senseless {
        /// The file.
        path: String,
        /// What is wrong.
        why: TopologyError,
    },
}

/// The topology in the file at `path`.
///
/// # Errors
/// [`ConfigError`] says where and what is wrong.
pub fn read_topology(path: &Path) -> Result<Topology, ConfigError> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path);
    let text = text.map_err(|why| ConfigError::Unreadable { path: shown.clone(), why })?;
    parse_topology(&text, &shown)
}

/// The streams between the services of a trading platform, ready to use.
#[must_use]
pub fn reference_topology() -> Topology {
    parse_topology(REFERENCE_TOPOLOGY, "deploy/streams.toml").expect("a test reads it")
}

/// The topology in `text`; errors call it `path`.
///
/// # Errors
/// [`ConfigError`] says where and what is wrong.
pub fn parse_topology(text: &str, path: &str) -> Result<Topology, ConfigError> {
    let topology: Topology = toml::from_str(text).map_err(|why| {
        let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        ConfigError::Syntax { path: path.to_owned(), line, why: one_line(why.message()) }
    })?;
    let senseless = |why| ConfigError::Senseless { path: path.to_owned(), why };
    topology.check().map_err(senseless)?;
    Ok(topology)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_topology_is_what_the_services_expect() {
        let topology = reference_topology();
        let stream = |name: &str| {
            let name = name.parse().expect("a name");
            topology.stream(&name).unwrap_or_else(|| panic!("no stream {name}"))
        };
        let commands = stream("mgmt:trading:commands");
        assert_eq!((commands.max_len, commands.groups.len()), (Some(10_000), 1));
        assert_eq!(stream("trading:mgmt:results").groups[0].name.as_str(), "management_consumers");
        assert_eq!(stream("audit:events").groups[0].name.as_str(), "audit_consumers");
        assert_eq!(topology.streams.len(), 18);
    }

    #[test]
    fn keys_are_also_read_under_their_former_names() {
        let group = "group = [{ name = \"g\", auto_drain = false, drain_per_second = 3 }]";
        let text = format!("[[stream]]\nname = \"a:b\"\n{group}\n");
        let topology = parse_topology(&text, "f").expect("parses");
        let group = &topology.streams[0].groups[0];
        assert_eq!((group.auto_redrive, group.redrive_per_second), (false, 3));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let broken = [
            ("[[stream]]\nname = \"a:b\"\nmaxlen = 3\n", "f:3: "),
            ("[[stream]]\nname = \"A\"\n", "f: the stream A does not keep"),
            ("[[stream]]\nname = \"a:b\"\nretention = \"5\"\n", "f:3: "),
            ("[[route]]\nfrom = \"a:b\"\ngroup = \"g\"\n", "f: a route reads from a:b"),
        ];
        for (text, expected) in broken {
            let error = parse_topology(text, "f").expect_err("broken").to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
