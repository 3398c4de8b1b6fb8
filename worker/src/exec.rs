//! A handler that runs a program for each message, so that a worker can be written in any language.

use std::{os::unix::process::ExitStatusExt, process::Stdio};

use silvertine_streams::{Class, Classify, Message, StreamName, message};
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, Command},
};

use super::handle::{Handle, Handled, MessageContext};

/// The status by which a command says that it failed for now (`EX_TEMPFAIL`).
const TEMPORARY_FAILURES: [i32; 1] = [75];
/// The statuses by which a command says that the message is at fault (`EX_USAGE`, `EX_DATAERR`, `EX_NOINPUT`).
const PERMANENT_FAILURES: [i32; 3] = [64, 65, 66];
/// How much of a failed command's standard error is kept, in bytes.
const WORDS_MAX: usize = 512;

/// Runs a command for each message: the payload on its standard input, key, id and attempt in its environment
/// (`SILVERTINE_KEY`, `SILVERTINE_ID`, `SILVERTINE_ATTEMPT`, headers as `SILVERTINE_FIELD_<NAME>`).
///
/// Status 0 is done; 64, 65 and 66 give the message up; anything else is tried again.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where what it prints is published, if anything.
    pub emit: Option<StreamName>,
}

/// How a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It could not be started.
    #[error("{command} cannot be started: {why}")]
    Start {
        /// The program.
        command: String,
        /// Why not.
        #[source]
        why: std::io::Error,
    },
    /// It ended with another status than zero.
    #[error("status {status}: {said}")]
    Status {
        /// The status.
        status: i32,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// A signal ended it.
    #[error("signal {signal}: {said}")]
    Signal {
        /// The signal's number.
        signal: i32,
        /// The end of what it wrote to standard error.
        said: String,
    },
}

impl Classify for ExecError {
    fn class(&self) -> Class {
        match self {
            Self::Status { status, .. } if PERMANENT_FAILURES.contains(status) => Class::Permanent,
            _ => Class::Transient,
        }
    }

    fn code(&self) -> std::borrow::Cow<'static, str> {
        match self {
            Self::Start { .. } => "start".into(),
            Self::Status { status, .. } if TEMPORARY_FAILURES.contains(status) => "tempfail".into(),
            Self::Status { status, .. } => format!("status_{status}").into(),
            Self::Signal { signal, .. } => format!("signal_{signal}").into(),
        }
    }
}

impl Handle for Exec {
    type Message = Message;
    type Error = ExecError;

    async fn handle(
        &self,
        message: Message,
        context: MessageContext,
    ) -> Result<Handled, ExecError> {
        let (program, arguments) = self.command.split_first().expect("the command line needs one");
        let start = |why| ExecError::Start { command: program.clone(), why };
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("SILVERTINE_KEY", context.key());
        command.env("SILVERTINE_ID", context.id().to_string());
        command.env("SILVERTINE_ATTEMPT", context.attempt().to_string());
        for (name, value) in message.fields() {
            let name = String::from_utf8_lossy(name).to_ascii_uppercase().replace(['-', ':'], "_");
            let value = String::from_utf8_lossy(value);
            let fits = name != "DATA" && !name.contains(['=', '\0']) && !value.contains('\0');
            if fits {
                command.env(format!("SILVERTINE_FIELD_{name}"), &*value);
            }
        }
        let mut child = command.spawn().map_err(start)?;
        let stdin = child.stdin.take();
        // Fed while its output is read, or two full pipes would wait for each other.
        let (_fed, output) = tokio::join!(feed(stdin, message.payload()), child.wait_with_output());
        let output = output.map_err(start)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let from = (0..=said.len().saturating_sub(WORDS_MAX)).rev();
            let from = from.into_iter().find(|&at| said.is_char_boundary(at)).unwrap_or(0);
            let said = said[from..].trim().to_owned();
            return Err(match (output.status.code(), output.status.signal()) {
                (Some(status), _) => ExecError::Status { status, said },
                (None, signal) => ExecError::Signal { signal: signal.unwrap_or_default(), said },
            });
        }
        Ok(match &self.emit {
            Some(stream) if !output.stdout.is_empty() => {
                let answer = Message::default().with(message::PAYLOAD, output.stdout);
                Handled::done().emit(stream, answer.with_key(context.key()))
            }
            _ => Handled::done(),
        })
    }

    fn name(&self) -> String {
        format!("exec:{}", self.command.first().map_or("", String::as_str))
    }
}

/// Writes a command's input. A command that closes its input early says by its status whether that is a failure.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    stdin.write_all(payload).await?;
    stdin.shutdown().await
}
