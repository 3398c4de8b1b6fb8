//! The commands, a file or a folder each.

mod bench;
mod diff;
mod faults;
mod generate;
mod run;
pub(crate) mod streams;
mod verify;

use silvertine_scenarios::registry::Registry;

use crate::{
    args::{Cli, Command},
    exit::{Exit, Failure},
};

/// Does what the command line asks, with the kinds of handlers and sources that `registry` knows.
pub(crate) fn dispatch(cli: Cli, registry: Registry) -> Result<Exit, Failure> {
    match cli.command {
        Command::Run(args) => run::run(args, registry),
        Command::Verify(args) => verify::verify(args, &registry),
        Command::Diff(args) => diff::diff(args),
        Command::Generate(args) => generate::generate(args),
        Command::Bench(args) => bench::bench(args),
        Command::Sim(args) => faults::sim(&args, registry),
        Command::Streams(args) => streams::streams(args),
        Command::Work(args) => streams::work(args),
        Command::Relay(args) => streams::relay(args),
        Command::Dlq(args) => streams::dlq(args),
    }
}
