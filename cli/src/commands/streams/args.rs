//! Arguments of the commands about named streams.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use silvertine_engine::{pos::Pos, span::Span};
use silvertine_storage::LogAddress;
use silvertine_streams::{Class, ConsumerName, GroupName, Reason, Status, StreamName};

/// Where the streams are and how they are kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct Store {
    /// Where the streams are: sled:PATH, redb:PATH, redis://HOST:PORT[/DB], rediss://…
    #[arg(long, env = "SILVERTINE_STREAMS", hide_env_values = true, value_name = "STORE")]
    pub store: LogAddress,
    /// The topology; the reference topology when absent.
    #[arg(long, env = "SILVERTINE_TOPOLOGY", value_name = "FILE")]
    pub topology: Option<PathBuf>,
}

/// `silvertine streams`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  silvertine streams init --store redis://127.0.0.1:6379
  echo '{\"cmd\":\"start\"}' | silvertine streams publish mgmt:trading:commands --store redis://127.0.0.1:6379
  silvertine streams list --store redis://127.0.0.1:6379
  silvertine streams topology > streams.toml")]
pub(crate) struct StreamsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StreamsCommand,
}

/// What to do with streams.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamsCommand {
    /// Create the streams and groups that are missing.
    Init {
        /// Where.
        #[command(flatten)]
        store: Store,
    },
    /// Lengths, lags, retries and dead letters of every stream and group.
    List {
        /// Where.
        #[command(flatten)]
        store: Store,
        /// Print one JSON object a stream.
        #[arg(long)]
        json: bool,
    },
    /// Publish each line of stdin as the payload of a message.
    Publish {
        /// Where.
        #[command(flatten)]
        store: Store,
        /// The stream, or a lane such as {mgmt:trading:commands}:urgent.
        stream: StreamName,
        /// A header, any number of times.
        #[arg(long, value_name = "NAME=VALUE")]
        field: Vec<String>,
        /// Give each message a key of this prefix and its line's number, so that publishing again is harmless.
        #[arg(long, value_name = "PREFIX")]
        key: Option<String>,
        /// Lines per request. So many are waited for, or the end of the input: 1 sends each line as it comes.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        batch: u16,
    },
    /// Show messages.
    Read {
        /// Where.
        #[command(flatten)]
        store: Store,
        /// The stream.
        stream: StreamName,
        /// Behind this id.
        #[arg(long, default_value = "0-0", value_name = "ID")]
        after: Pos,
        /// At most so many.
        #[arg(long, default_value_t = 10, value_name = "N")]
        limit: usize,
    },
    /// Print the topology that would be used, as a file to begin with.
    Topology,
}

/// `silvertine work`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  silvertine work mgmt:trading:commands trading_consumers --store redis://127.0.0.1:6379 --name broker-1 -- ./broker.sh
  silvertine work trading:mgmt:results management_consumers --store redis://127.0.0.1:6379 --name router-1 --route
The command gets the payload on stdin; status 0 is done, 64 to 66 give the message up, anything else tries again.")]
pub(crate) struct WorkArgs {
    /// The stream.
    pub stream: StreamName,
    /// The group.
    pub group: GroupName,
    /// Where.
    #[command(flatten)]
    pub store: Store,
    /// This member's name: its own among the living, and the same when it is started again.
    #[arg(long, value_name = "NAME")]
    pub name: ConsumerName,
    /// Pass messages on by the topology's route for this stream and group.
    #[arg(long, conflicts_with_all = ["command", "emit"])]
    pub route: bool,
    /// Publish what the command prints.
    #[arg(long, value_name = "STREAM")]
    pub emit: Option<StreamName>,
    /// How many members to run in this process, NAME-1, NAME-2 …
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub members: u16,
    /// Stop once nothing is left to do.
    #[arg(long)]
    pub until_idle: bool,
    /// How long what runs may go on after SIGTERM.
    #[arg(long, default_value = "10s", value_name = "TIME")]
    pub drain: Span,
    /// The command to run for each message.
    #[arg(last = true, required_unless_present = "route")]
    pub command: Vec<String>,
}

/// `silvertine relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The partition's log: redb:PATH, sled:PATH or redis://HOST:PORT#PARTITION.
    pub log: LogAddress,
    /// Where the streams are.
    #[command(flatten)]
    pub store: Store,
    /// The service in the names of the streams, {service}:events:order and so on.
    #[arg(long, default_value = "engine")]
    pub service: String,
    /// Go on as the log grows, until a signal.
    #[arg(long)]
    pub follow: bool,
}

/// `silvertine dlq`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  silvertine dlq list mgmt:trading:commands --class transient --store redis://127.0.0.1:6379
  silvertine dlq redrive mgmt:trading:commands --code timed_out --rate 10 --dry-run --store …
  silvertine dlq export mgmt:trading:commands --store … > dead.ndjson")]
pub(crate) struct DlqArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DlqCommand,
}

/// Which dead letters, and in whose name.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// The stream whose dead letters are meant.
    pub stream: StreamName,
    /// Where.
    #[command(flatten)]
    pub store: Store,
    /// These ids.
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<Pos>,
    /// Of this class: transient, permanent, poison.
    #[arg(long, value_parser = named::<Class>)]
    pub class: Option<Class>,
    /// Given up for this reason: max_attempts, permanent, undecodable, panicked, crashed, expired, trimmed, imported.
    #[arg(long, value_parser = named::<Reason>)]
    pub reason: Option<Reason>,
    /// With this code.
    #[arg(long)]
    pub code: Option<String>,
    /// Failed in the same way: a fingerprint as `top` shows it.
    #[arg(long, value_parser = fingerprint)]
    pub fingerprint: Option<u64>,
    /// Given up by this group.
    #[arg(long)]
    pub group: Option<GroupName>,
    /// Failed by this handler.
    #[arg(long)]
    pub handler: Option<String>,
    /// Published to this stream, such as an urgent lane.
    #[arg(long, value_name = "STREAM")]
    pub origin: Option<String>,
    /// With this key.
    #[arg(long)]
    pub key: Option<String>,
    /// With this status: new, held, redriven, discarded.
    #[arg(long, value_parser = named::<Status>)]
    pub status: Option<Status>,
    /// On the queue for longer than this, such as 1h.
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<Span>,
    /// On the queue for at most this long.
    #[arg(long, value_name = "TIME")]
    pub newer_than: Option<Span>,
}

/// Who acts, why, and how much at a time.
#[derive(Clone, Debug, Args)]
pub(crate) struct Acting {
    /// Which letters.
    #[command(flatten)]
    pub selection: Selection,
    /// All of them: needed where nothing else says which.
    #[arg(long)]
    pub all: bool,
    /// Who acts, for the audit trail.
    #[arg(long, env = "USER", default_value = "unknown")]
    pub who: String,
    /// Why, for the audit trail.
    #[arg(long, default_value = "")]
    pub why: String,
    /// At most so many letters.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// Show letters, a page at a time.
    List {
        /// Which.
        #[command(flatten)]
        selection: Selection,
        /// Behind this id; each page ends with the next.
        #[arg(long, default_value = "0-0", value_name = "ID")]
        after: Pos,
        /// Letters per page.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        limit: u16,
        /// Print one JSON object a letter.
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one letter.
    Show {
        /// The stream.
        stream: StreamName,
        /// The letter's id.
        id: Pos,
        /// Where.
        #[command(flatten)]
        store: Store,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Count letters by class, reason, code, stream, handler and hour; say what needs attention.
    Stats {
        /// Which.
        #[command(flatten)]
        selection: Selection,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The most frequent kinds of failure.
    Top {
        /// Which.
        #[command(flatten)]
        selection: Selection,
        /// At most so many.
        #[arg(long, default_value_t = 10, value_name = "N")]
        limit: usize,
    },
    /// Send the letters that you name back to the group that gave them up.
    Redrive {
        /// Which, by whom.
        #[command(flatten)]
        acting: Acting,
        /// Letters per second; as fast as it goes when absent.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// To this stream instead, for all its groups.
        #[arg(long, value_name = "STREAM")]
        to: Option<StreamName>,
    },
    /// Keep letters from being redriven.
    Hold {
        /// Which, by whom.
        #[command(flatten)]
        acting: Acting,
    },
    /// Let held, redriven or discarded letters be redriven again.
    Release {
        /// Which, by whom.
        #[command(flatten)]
        acting: Acting,
    },
    /// Give letters up for good; they stay to be looked at.
    Discard {
        /// Which, by whom.
        #[command(flatten)]
        acting: Acting,
    },
    /// Remove letters.
    Purge {
        /// Which, by whom.
        #[command(flatten)]
        acting: Acting,
    },
    /// Write letters to stdout, one JSON object a line.
    Export {
        /// Which.
        #[command(flatten)]
        selection: Selection,
    },
    /// Put exported letters from stdin on the queue.
    Import {
        /// The stream.
        stream: StreamName,
        /// Where.
        #[command(flatten)]
        store: Store,
        /// Who acts, for the audit trail.
        #[arg(long, env = "USER", default_value = "unknown")]
        who: String,
        /// Why, for the audit trail.
        #[arg(long, default_value = "")]
        why: String,
        /// Only check the lines.
        #[arg(long)]
        dry_run: bool,
    },
    /// Send all transient failures of a group back at a limited rate, until nothing is left or too much fails again.
    AutoRedrive {
        /// What to do.
        #[command(subcommand)]
        command: AutoRedriveCommand,
    },
}

/// What to do about an automatic redrive.
#[derive(Debug, Subcommand)]
pub(crate) enum AutoRedriveCommand {
    /// Redrive until nothing is left, too much fails, or a signal.
    Start {
        /// The stream.
        stream: StreamName,
        /// The group whose letters are sent back.
        group: GroupName,
        /// Where.
        #[command(flatten)]
        store: Store,
        /// Letters per second.
        #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
        /// Who acts, for the audit trail.
        #[arg(long, env = "USER", default_value = "unknown")]
        who: String,
        /// Why, for the audit trail.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// How the redrive stands, or how the last one ended.
    Status {
        /// The stream.
        stream: StreamName,
        /// Where.
        #[command(flatten)]
        store: Store,
    },
    /// Ask a running redrive to stop.
    Cancel {
        /// The stream.
        stream: StreamName,
        /// Where.
        #[command(flatten)]
        store: Store,
        /// Who acts, for the audit trail.
        #[arg(long, env = "USER", default_value = "unknown")]
        who: String,
        /// Why, for the audit trail.
        #[arg(long, default_value = "")]
        why: String,
    },
}

/// Reads a value by the name that files use.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|why| why.to_string())
}

fn fingerprint(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| "a fingerprint is 16 hexadecimal digits".to_owned())
}
