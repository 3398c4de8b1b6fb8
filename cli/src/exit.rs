//! Exit codes, and how errors find theirs. `docs/exit-codes.md` lists them; scripts rely on them.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use silvertine_engine::{
    driver::RunError,
    feed::FeedError,
    halt::Halt,
    log::{LogError, LogErrorKind},
    recovery::ReplayError,
    source::SourceError,
};
use silvertine_runtime::LaunchError;
use silvertine_scenarios::{manifest::ManifestError, runner::RunnerError, scenario::ScenarioError};

use crate::program::program;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is well.
    Good = 0,
    /// A bug of ours.
    Unexpected = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The scenario makes no sense.
    Scenario = 3,
    /// There is nothing in the input.
    EmptyInput = 4,
    /// Re-execution gives something else than the log holds, or two logs differ.
    Diverged = 10,
    /// The run ended well but not as the scenario expects.
    ExpectationMissed = 11,
    /// A run under faults broke a promise.
    PromiseBroken = 12,
    /// The log does not continue this run: another scenario, or nothing to resume without asking.
    Recovery = 13,
    /// The same plan gave two different traces.
    NotDeterministic = 14,
    /// Some fault or state that should be reached never was.
    NotReached = 15,
    /// The log cannot be reached, is locked, denies access or refuses writes.
    LogUnavailable = 20,
    /// What is there is corrupt, not a log of ours, or from a newer version.
    LogUnreadable = 21,
    /// The input holds something that makes no sense, or cannot be read.
    InputRefused = 22,
    /// The output cannot be written.
    OutputFailed = 23,
    /// Another owner has taken over.
    Fenced = 24,
    /// Entries that had been acknowledged are gone from the log.
    LostEntries = 25,
    /// A signal asked to stop; everything is committed and `--resume` goes on.
    Stopped = 30,
    /// A handler failed where the scenario says to halt; everything up to the failure is committed.
    Halted = 31,
    /// The run ended well but for events that are parked since a handler failed; everything is committed.
    Parked = 32,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says a line on stderr.
pub(crate) fn say(line: impl Display) {
    // Where stderr cannot be written, only the exit code can report; `eprintln!` would panic and lose that too.
    let _ = writeln!(io::stderr().lock(), "{}: {line}", program());
}

/// Removes what may be a password: in any word that looks like the address of a server, well-formed or not, everything
/// before its last @.
pub(crate) fn without_passwords(text: &str) -> String {
    let quoted = text.split_once("invalid value '").and_then(|(before, rest)| {
        let (value, behind) = rest.split_once("' for '")?;
        let (_, shown) = value.rsplit_once('@')?;
        Some(format!("{before}invalid value '…@{shown}' for '{behind}"))
    });
    let text = quoted.as_deref().unwrap_or(text);
    let hidden = text.split_inclusive(char::is_whitespace).map(|word| {
        let server = word.find("redis").zip(word.rfind('@')).filter(|(from, at)| from < at);
        match server {
            Some((from, at)) => format!("{}redis://…{}", &word[..from], &word[at..]),
            None => word.to_owned(),
        }
    });
    hidden.collect()
}

/// Why a command failed: one line and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// One line: what, where, why, what to do.
    pub message: String,
}

impl Failure {
    /// Standard output cannot be written. Where its reader has closed it, as `head` does, that is no failure to report.
    pub(crate) fn unwritable(why: &io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::OutputFailed, ""),
            _ => Self::new(Exit::OutputFailed, format!("stdout: {why}")),
        }
    }

    /// A failure with this code and line; an empty line is not printed.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        // Messages of other libraries may run over several lines.
        let message: String = message.into();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { exit, message: without_passwords(&message) }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let (exit, advice) = match &error.kind {
            LogErrorKind::Fenced { .. } => {
                (Exit::Fenced, "; this run has stopped and wrote nothing since")
            }
            LogErrorKind::Conflict { .. } | LogErrorKind::LostTail { .. } | LogErrorKind::Gone => {
                (Exit::LostEntries, "; run again with --resume to continue from what is there")
            }
            LogErrorKind::Trimmed { .. } => (Exit::LostEntries, ""),
            LogErrorKind::Corrupt { .. }
            | LogErrorKind::TooNew { .. }
            | LogErrorKind::Foreign { .. } => (Exit::LogUnreadable, ""),
            // The address was typed by the user; any other invalid call is a bug of ours.
            LogErrorKind::Invalid { .. } if error.operation == "open" => (Exit::Usage, ""),
            LogErrorKind::Invalid { .. } => (Exit::Unexpected, ""),
            _ => (Exit::LogUnavailable, ""),
        };
        Self::new(exit, format!("{error}{advice}"))
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let exit = match error {
            SourceError::Empty { .. } => Exit::EmptyInput,
            _ => Exit::InputRefused,
        };
        let advice = match error {
            SourceError::BadRow { .. } => {
                " (on_bad_row = \"skip\" in the scenario goes on behind it)"
            }
            _ => "",
        };
        Self::new(exit, format!("{error}{advice}"))
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Log(error) => error.into(),
            ReplayError::Undecodable { .. } => Self::new(Exit::LogUnreadable, error.to_string()),
            ReplayError::Diverged(_) | ReplayError::Digest { .. } => {
                Self::new(Exit::Diverged, error.to_string())
            }
            ReplayError::LostTail { .. } => Self::new(
                Exit::LostEntries,
                format!("{error}; run again with --resume to continue from what is there"),
            ),
            ReplayError::Engine(_) | ReplayError::NoSnapshot { .. } => {
                Self::new(Exit::Recovery, error.to_string())
            }
            _ => Self::new(Exit::Unexpected, error.to_string()),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Log(error) | RunError::Feed(FeedError::Log(error)) => error.into(),
            RunError::Feed(FeedError::Source(error)) => error.into(),
            RunError::Replay(error) => {
                let Self { exit, message } = error.into();
                Self::new(exit, format!("recovery: {message}"))
            }
            RunError::Halted(halt) => {
                let Halt { pos, handler, parked, .. } = &*halt;
                let way_on = match parked {
                    false => format!(
                        "when the handler is mended, --resume --past-halt {pos} goes on behind the event, which stays unhandled by {handler}"
                    ),
                    true => format!(
                        "--resume --past-halt {pos} goes on and halts at the next event for which there is no room; with --release HANDLER:SYMBOL beside it there is room first"
                    ),
                };
                Self::new(
                    Exit::Halted,
                    format!(
                        "{halt}; all up to there is committed and nothing later was handled; {way_on}"
                    ),
                )
            }
            RunError::NotParked { ref parked, .. } => {
                let keys: Vec<String> = parked.iter().map(ToString::to_string).collect();
                let there = match &*keys {
                    [] => "nothing is parked in this log".to_owned(),
                    keys => format!("parked are {}", keys.join(", ")),
                };
                Self::new(Exit::Usage, format!("{error}; {there}; nothing was changed"))
            }
            RunError::LostTail { .. } => Self::new(
                Exit::LostEntries,
                format!("{error}; run again with --resume to continue from what is there"),
            ),
            RunError::NotEmpty { head } => Self::new(
                Exit::Recovery,
                format!(
                    "the log already holds a run up to {head}; pass --resume to go on with it, or name another log or partition"
                ),
            ),
            RunError::OtherManifest { .. } => Self::new(
                Exit::Recovery,
                format!("{error}; name another log or partition for this one"),
            ),
            RunError::Feed(_) | RunError::Engine(_) | RunError::Checkpoint(_) => {
                Self::new(Exit::Recovery, error.to_string())
            }
            _ => Self::new(Exit::Unexpected, error.to_string()),
        }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let exit = match error {
            ManifestError::Malformed(_) | ManifestError::TooNew(_) => Exit::LogUnreadable,
            _ => Exit::Scenario,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<RunnerError> for Failure {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Manifest(error) => error.into(),
            RunnerError::Source(error) => error.into(),
            RunnerError::Run(error) => error.into(),
            _ => Self::new(Exit::Scenario, error.to_string()),
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Open(error) => error.into(),
            LaunchError::Run(error) => error.into(),
            LaunchError::Scenario(error) => error.into(),
            LaunchError::Address(_) | LaunchError::Simulated(_) => {
                Self::new(Exit::Usage, error.to_string())
            }
            _ => Self::new(Exit::Unexpected, error.to_string()),
        }
    }
}

impl From<ScenarioError> for Failure {
    fn from(error: ScenarioError) -> Self {
        Self::new(Exit::Scenario, error.to_string())
    }
}
