//! The name of the running program: messages and help name the program that the user typed, which need not be
//! `silvertine`.

use std::{env, path::Path, sync::OnceLock};

use clap::Command;

/// The name of the program that ships.
const SHIPPED: &str = "silvertine";

/// The name of the running program, without its folder.
pub(crate) fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let typed = env::args_os().next();
        let name = typed.as_deref().map(Path::new).and_then(Path::file_stem);
        name.map_or_else(|| SHIPPED.to_owned(), |name| name.to_string_lossy().into_owned())
    })
}

/// Puts the running program's name into the command line and its examples.
pub(crate) fn named(command: Command) -> Command {
    let program = program();
    let command = command.name(program).bin_name(program);
    if program == SHIPPED { command } else { with_examples_of(program, command) }
}

fn with_examples_of(program: &str, mut command: Command) -> Command {
    if let Some(help) = command.get_after_help() {
        let help = help.to_string().replace("silvertine ", &format!("{program} "));
        command = command.after_help(help);
    }
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| with_examples_of(program, sub))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn examples_speak_of_the_program_that_runs() {
        let mut command = with_examples_of("my-bot", Cli::command());
        let run = command.find_subcommand_mut("run").expect("there is a command run");
        let help = run.render_long_help().to_string();
        assert!(help.contains("my-bot run scenarios/ema-cross.toml"), "{help}");
        assert!(!help.contains("silvertine run"), "{help}");
    }
}
