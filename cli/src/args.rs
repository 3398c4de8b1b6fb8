//! Arguments and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use silvertine_engine::{park::ParkedKey, pos::Pos, span::Span, text::Name};
use silvertine_storage::LogAddress;

use crate::commands::streams::args::{DlqArgs, RelayArgs, StreamsArgs, WorkArgs};
use silvertine_runtime::Speed;

/// Deterministic event-driven trading core: one engine, the same digest on memory, redb, sled and Redis Streams.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 96)]
#[command(
    after_help = "Exit codes: 0 good · 2 usage · 3 scenario · 4 empty input · 10 diverged · 11 expectation \
missed · 12 promise broken under faults · 13 recovery failed · 14 not deterministic · 15 not reached · 20 log unreachable or refusing · 21 log corrupt, foreign or newer · 22 input \
refused · 23 output not writable · 24 fenced · 25 acknowledged entries lost · 30 stopped by a signal · 31 halted by a failing handler · 32 ended with events parked"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario on a log.
    Run(RunArgs),
    /// Re-execute a log and check digest, order, gaps and checksums.
    Verify(VerifyArgs),
    /// Show the first position at which two logs differ.
    Diff(DiffArgs),
    /// Write a generated quote recording (CSV) to stdout.
    Generate(GenerateArgs),
    /// Run a scenario's handlers under drawn faults and watch every promise.
    Sim(SimArgs),
    /// Create, list, fill and read named streams.
    Streams(StreamsArgs),
    /// Take messages off a stream: run a command for each, or route them.
    Work(WorkArgs),
    /// Pass committed events of a log on to named streams.
    Relay(RelayArgs),
    /// Look after dead letters.
    Dlq(DlqArgs),
    /// Measure the engine against its baseline on this machine.
    Bench(BenchArgs),
}

/// `silvertine run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  silvertine run scenarios/ema-cross.toml
  silvertine run scenarios/ema-cross.toml --log sled:/tmp/ema --speed 10x
  silvertine run scenarios/ema-cross.toml --log redis://127.0.0.1:6379 --resume --json")]
pub(crate) struct RunArgs {
    /// The scenario file.
    pub scenario: PathBuf,
    /// Where the log is: memory, redb:PATH, sled:PATH, redis://[USER:PASSWORD@]HOST:PORT[/DB][#PARTITION], rediss://…
    #[arg(long, default_value = "memory", value_name = "LOG")]
    pub log: LogAddress,
    /// Go on where an earlier run stopped or crashed.
    #[arg(long)]
    pub resume: bool,
    /// Continue past the halt recorded at this position, and record that in the log; any other halt still stops the run.
    #[arg(long, requires = "resume", value_name = "POSITION")]
    pub past_halt: Option<Pos>,
    /// Retry the events parked for a handler and an instrument, in order, and record that in the log; HANDLER alone for
    /// events without an instrument.
    #[arg(long, requires = "resume", value_name = "HANDLER:SYMBOL")]
    pub release: Vec<ParkedKey>,
    /// The same, but skip the event that the handler failed on and continue with the next.
    #[arg(long, requires = "resume", value_name = "HANDLER:SYMBOL")]
    pub release_past: Vec<ParkedKey>,
    /// Pace of a virtual clock: max, or a multiple of recorded time such as 1x, 10x.
    #[arg(long, default_value = "max", value_name = "SPEED")]
    pub speed: Speed,
    /// Use another seed than the scenario's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The folder that ${data} in the scenario stands for.
    #[arg(long, env = "SILVERTINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Name of the partition on a server; the scenario's name when absent.
    #[arg(long, value_name = "NAME")]
    pub partition: Option<Name>,
    /// Entries per commit; never changes the result.
    #[arg(long, value_name = "ENTRIES")]
    pub batch: Option<usize>,
    /// Seconds to wait for a log that does not answer before giving up.
    #[arg(long, value_name = "SECONDS")]
    pub give_up_after: Option<u64>,
    /// Print everything that happens; for scenarios with faults.
    #[arg(long)]
    pub timeline: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// A key that is named in both `--release` and `--release-past`.
    pub fn released_both_ways(&self) -> Option<ParkedKey> {
        self.release.iter().find(|key| self.release_past.contains(key)).copied()
    }
}

/// `silvertine verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The log: redb:PATH, sled:PATH or redis://HOST:PORT#PARTITION.
    pub log: LogAddress,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `silvertine diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// One log: redb:PATH, sled:PATH or redis://HOST:PORT#PARTITION.
    pub a: LogAddress,
    /// The other.
    pub b: LogAddress,
}

/// `silvertine generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The seed.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// How many quotes.
    #[arg(long, default_value_t = 1000)]
    pub events: u64,
    /// The instruments, separated by commas.
    #[arg(long, default_value = "DEMO", value_delimiter = ',')]
    pub symbols: Vec<silvertine_engine::text::Symbol>,
    /// Mean time between quotes, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub interval_ms: u64,
}

/// `silvertine bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Market data events per round.
    #[arg(long, default_value_t = 3_000_000)]
    pub events: u64,
    /// Rounds; medians are printed.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Also measure this log: redb:FOLDER, sled:FOLDER or redis://HOST:PORT.
    #[arg(long, value_name = "LOG")]
    pub log: Option<LogAddress>,
}

/// `silvertine sim`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  silvertine sim --seeds 10000 --jobs 2
  silvertine sim scenarios/ema-cross.toml --time 60s
  silvertine sim --workers --seeds 10000 --jobs 2
A seed that breaks a promise is shrunk and written as a scenario; `silvertine run FILE` shows it again.
With --workers it is written as a plan; `silvertine sim --workers --plan FILE` shows it again.")]
pub(crate) struct SimArgs {
    /// The scenario whose handlers are run; without it, built-in handlers that use every feature of the engine.
    pub scenario: Option<PathBuf>,
    /// How many seeds; 1000 when there is no --time either.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub from_seed: u64,
    /// Threads; each runs whole seeds, so their number changes no result.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub jobs: u16,
    /// Stop after so long, such as 60s or 5m.
    #[arg(long, value_name = "TIME")]
    pub time: Option<Span>,
    /// The folder that ${data} in the scenario stands for.
    #[arg(long, env = "SILVERTINE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to write the shrunk scenario or plan of a seed that fails; sim-SEED.toml, or with --workers workers-SEED.toml,
    /// when absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Instead of drawing plans, try every one: crashes at every operation, or pairs of faults over tiny runs.
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["seeds", "from_seed", "time"])]
    pub exhaustive: Option<ExhaustiveArg>,
    /// Instead of a scenario's handlers, put the worker plane under faults: members, retries, dead letters.
    #[arg(long, conflicts_with_all = ["scenario", "data", "exhaustive", "matrix"])]
    pub workers: bool,
    /// Run one plan of the worker plane from a file, such as the one that a failing seed was shrunk to.
    #[arg(long, value_name = "FILE", requires = "workers", conflicts_with_all = ["seeds", "from_seed", "time", "out"])]
    pub plan: Option<PathBuf>,
    /// Run every plan twice, and once more in another process; the traces must be the same.
    #[arg(long)]
    pub check_determinism: bool,
    /// Fail unless every kind of fault and every interesting state was reached.
    #[arg(long)]
    pub require_all: bool,
    /// Also print which fault fired in which phase.
    #[arg(long)]
    pub matrix: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
    /// Write each seed's trace hash to a file.
    #[arg(long, value_name = "FILE", hide = true)]
    pub write_hashes: Option<PathBuf>,
}

/// What to try exhaustively.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum ExhaustiveArg {
    /// A crash at every operation and between any two inputs.
    Crashes,
    /// Every plan of one or two faults over runs of one to three inputs.
    Pairs,
}

impl std::fmt::Display for ExhaustiveArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Crashes => "crashes",
            Self::Pairs => "pairs",
        })
    }
}

impl From<ExhaustiveArg> for silvertine_sim::log::exhaust::Exhaustive {
    fn from(arg: ExhaustiveArg) -> Self {
        match arg {
            ExhaustiveArg::Crashes => Self::Crashes,
            ExhaustiveArg::Pairs => Self::Pairs,
        }
    }
}
