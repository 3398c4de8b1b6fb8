//! The program `silvertine`: every command, with the kinds that ship.

use std::process::ExitCode;

fn main() -> ExitCode {
    silvertine::cli::main(silvertine::Registry::standard())
}
