//! Every command of Silvertine, as a library.
//!
//! A program of one's own has them all, with its own handlers, sources and venue models beside those that ship:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use silvertine_scenarios::registry::Registry;
//!
//! fn main() -> ExitCode {
//!     silvertine_cli::main(Registry::standard())
//! }
//! ```
//!
//! Each command has a file of its own and only wires the libraries together.

// `eprintln!` panics where stderr cannot be written; `exit::say` does not.
#![warn(clippy::print_stderr)]

mod args;
mod commands;
mod exit;
mod latency;
mod program;
mod progress;
mod signals;
mod summary;

use std::{
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use self::{
    args::Cli,
    exit::{Exit, Failure, say, without_passwords},
};
use silvertine_scenarios::registry::Registry;

/// Runs the command that this process was started with, with the kinds that `registry` knows; a program's whole
/// `main`.
///
/// It reads the command line, writes to stdout and stderr, starts logging and watches signals. The exit code is one of
/// those that `--help` lists.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    let parsed = program::named(Cli::command()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(answer) => return answer_with(&answer).into(),
    };
    start_logging(cli.verbose);
    // Handlers that panic are isolated and recorded; the message must not spill over the summary.
    panic::set_hook(Box::new(|panic| tracing::debug!("{panic}")));
    let result = panic::catch_unwind(AssertUnwindSafe(move || commands::dispatch(cli, registry)));
    match result {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            if !failure.message.is_empty() {
                say(failure.message);
            }
            failure.exit.into()
        }
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("?");
            // The standard library panics so when the reader of stdout, such as `head`, has closed it.
            if let Some(why) = text.strip_prefix("failed printing to stdout: ") {
                if !why.starts_with("Broken pipe") {
                    say(format_args!("stdout: {why}"));
                }
                return Exit::OutputFailed.into();
            }
            say(format_args!("internal error: {text}; please report it with the command you ran"));
            Exit::Unexpected.into()
        }
    }
}

/// Prints what clap answers instead of a command: help on stdout, mistakes on stderr.
fn answer_with(answer: &clap::Error) -> Exit {
    if answer.use_stderr() {
        // The answer quotes what the user typed, perhaps with a password.
        let text = answer.render().to_string();
        let shown = without_passwords(&text);
        // Where stderr cannot be written, the exit code still reports the mistake.
        let _printed = if shown == text { answer.print() } else { write!(io::stderr(), "{shown}") };
        return Exit::Usage;
    }
    match answer.print() {
        Ok(()) => Exit::Good,
        Err(why) => {
            let Failure { exit, message } = Failure::unwritable(&why);
            if !message.is_empty() {
                say(message);
            }
            exit
        }
    }
}

fn start_logging(verbose: u8) {
    let default = match verbose {
        0 => "error,silvertine::notice=warn",
        1 => "warn,silvertine=info",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("SILVERTINE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // Without this, tracing would report an unwritable stderr on stderr, and panic.
        .log_internal_errors(false)
        .init();
}
