//! Runs the built program as a user would.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// What a finished command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The JSON object on stdout of a command that ended well.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silvertine"));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    for variable in ["LOG", "DATA", "STREAMS", "TOPOLOGY"] {
        command.env_remove(format!("SILVERTINE_{variable}"));
    }
    command
}

/// Runs a command to its end.
pub fn silvertine(args: &[&str]) -> Finished {
    command(args).output().expect("the program starts").into()
}

/// Runs a command with these as its output and error streams, to its end.
pub fn silvertine_onto(
    args: &[&str],
    stdout: impl Into<Stdio>,
    stderr: impl Into<Stdio>,
) -> Finished {
    let mut command = command(args);
    let child = command.stdout(stdout).stderr(stderr).spawn();
    finish(child.expect("the program starts"))
}

/// Runs a command to its end with this on stdin.
pub fn feed(args: &[&str], text: impl AsRef<[u8]>) -> Finished {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that refuses its arguments does not read.
    let _unread = std::io::Write::write_all(&mut stdin, text.as_ref());
    drop(stdin);
    finish(child)
}

/// Starts a command and leaves it running.
pub fn spawn(args: &[&str]) -> Child {
    let mut command = command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for a started command.
pub fn finish(child: Child) -> Finished {
    child.wait_with_output().expect("the program ends").into()
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of real recordings, or `None` with a loud word that `test` is skipped.
pub fn recorded_data(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("SILVERTINE_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data"));
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {test}: no recorded data at {} (set SILVERTINE_DATA)", folder.display());
    None
}
