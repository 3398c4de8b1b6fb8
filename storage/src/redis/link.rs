//! Connections, dialled when they are needed and dropped at the first sign of trouble.
//!
//! Dialling anew on the next call is the whole reconnect logic here: names are resolved again, the
//! role is checked again, and the pause between attempts is the driver's decision. A connection that
//! timed out or answered like a demoted server is never used again, because the client library would
//! go on using it.

use std::{future::Future, sync::OnceLock, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, Value,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use silvertine_engine::log::LogErrorKind;
use tokio::sync::Mutex;

/// How long dialling may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take. The library's own default of 500 ms is shorter than a commit behind a slow
/// fsync.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections kept for the next reads that wait.
const IDLE_MAX: usize = 64;
/// The oldest server whose scripts know the shebang.
const OLDEST_VERSION: (u32, u32) = (7, 0);

/// How a server answers that is no longer the primary it was when it was dialled.
const DEMOTED: [&str; 5] = ["READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING", "NOAUTH"];

/// What the server answered, or why nothing came.
type Answers = Result<Vec<Value>, RedisError>;

/// A connection that may or may not be there, shared by all calls that are answered at once.
pub(super) struct Link {
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts dials, so that a late failure of an old connection does not drop a newer one.
    generation: u64,
}

/// Why a call failed, and whether the command can have reached the server.
pub(super) struct Failed {
    pub(super) error: RedisError,
    pub(super) sent: bool,
    /// What it means, where this file knows better than the error's code.
    pub(super) kind: Option<LogErrorKind>,
}

impl Failed {
    /// The command was sent, and this came back.
    pub(super) const fn calling(error: RedisError) -> Self {
        Self { error, sent: true, kind: None }
    }

    /// Dialling failed: nothing was sent.
    const fn dialling(error: RedisError) -> Self {
        Self { error, sent: false, kind: None }
    }

    /// The server is not one that this log can live on.
    fn unfit(kind: LogErrorKind) -> Self {
        let error = (ErrorKind::InvalidClientConfig, "the server is not fit").into();
        Self { error, sent: false, kind: Some(kind) }
    }
}

/// Parses a URL into a client.
pub(super) fn client(url: &str) -> Result<Client, String> {
    use_ring();
    // The library's own text ends with the name of its error's kind.
    let wording = |why: RedisError| match why.to_string().split_once(" - ") {
        Some((words, _kind)) => words.to_owned(),
        None => why.to_string(),
    };
    let info = url.into_connection_info().map_err(wording)?;
    let tcp = TcpSettings::default().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(wording)
}

/// Chooses the crypto of TLS once per process; without a choice every TLS connection fails.
fn use_ring() {
    static CHOSEN: OnceLock<()> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        // An application that has already chosen keeps its choice.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
    });
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// One command. An error that the server answers is an error here.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Failed> {
        let answers = self.with(async |mut connection| {
            connection.send_packed_command(command).await.map(|answer| vec![answer])
        });
        the_only(answers.await?)
    }

    /// Several commands in one round trip; errors that the server answers stay among the answers.
    pub(super) async fn call_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Failed> {
        self.with(async |mut connection| {
            connection.send_packed_commands(commands, 0, commands.len()).await
        })
        .await
    }

    async fn with<F: Future<Output = Answers>>(
        &self,
        call: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Vec<Value>, Failed> {
        let (connection, generation) = {
            // Held while dialling, so that many callers dial once.
            let mut state = self.state.lock().await;
            let connection = match &state.connection {
                Some(connection) => connection.clone(),
                None => {
                    let dialled = dial(&self.client).await?;
                    state.generation += 1;
                    state.connection.insert(dialled).clone()
                }
            };
            (connection, state.generation)
        };
        let answers = call(connection).await;
        if is_suspicious(&answers) {
            let mut state = self.state.lock().await;
            if state.generation == generation {
                state.connection = None;
            }
        }
        answers.map_err(Failed::calling)
    }
}

/// Connections for reads that wait, each for one read at a time: whatever shared it would wait as well.
///
/// A read takes its connection along, so that one that is cancelled closes it and leaves nobody
/// waiting on the server. As many are kept for the next reads as there were readers at a time, up to a limit.
pub(super) struct WaitingLink {
    client: Client,
    idle: Mutex<Vec<MultiplexedConnection>>,
}

impl WaitingLink {
    pub(super) fn new(client: Client) -> Self {
        Self { client, idle: Mutex::default() }
    }

    /// One command whose answer may come as late as `wait` and a margin.
    pub(super) async fn call(&self, command: &Cmd, wait: Duration) -> Result<Value, Failed> {
        let idle = self.idle.lock().await.pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => dial(&self.client).await?,
        };
        connection.set_response_timeout(wait.saturating_add(ANSWER_TIMEOUT));
        let answer = connection.send_packed_command(command).await.map(|answer| vec![answer]);
        let mut idle = self.idle.lock().await;
        if is_suspicious(&answer) {
            // What ended this one has ended the others too, more often than not.
            idle.clear();
        } else if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        drop(idle);
        the_only(answer.map_err(Failed::calling)?)
    }
}

/// Connects, and makes sure that this is a server one can write to.
async fn dial(client: &Client) -> Result<MultiplexedConnection, Failed> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(DIAL_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connection.map_err(Failed::dialling)?;
    let mut questions = redis::pipe();
    questions.cmd("ROLE").cmd("INFO").arg("server").cmd("INFO").arg("cluster");
    let answers = connection.send_packed_commands(&questions, 0, 3).await;
    let [role, server, cluster] = <[Value; 3]>::try_from(answers.map_err(Failed::dialling)?)
        .map_err(|_| (ErrorKind::Parse, "three questions, other answers").into())
        .map_err(Failed::dialling)?;
    check_role(&role)?;
    check_version(&info_text(server)?)?;
    if info_text(cluster)?.contains("cluster_enabled:1") {
        let why = "this is a Redis Cluster, which is not supported yet".to_owned();
        return Err(Failed::unfit(LogErrorKind::Denied { why }));
    }
    Ok(connection)
}

/// The answer to a single command.
fn the_only(mut answers: Vec<Value>) -> Result<Value, Failed> {
    match answers.pop() {
        Some(Value::ServerError(error)) => Err(Failed::calling(error.into())),
        answer => Ok(answer.unwrap_or_default()),
    }
}

/// Whether a connection that gave these answers must not be used again.
fn is_suspicious(answers: &Answers) -> bool {
    match answers {
        // The server words its refusals as answers, so the connection itself has failed.
        Err(_) => true,
        Ok(answers) => answers.iter().any(|answer| match answer {
            Value::ServerError(error) => DEMOTED.contains(&error.code()),
            _ => false,
        }),
    }
}

fn check_role(role: &Value) -> Result<(), Failed> {
    let role = match role {
        Value::ServerError(error) if error.code() == "NOPERM" => return Ok(()),
        Value::ServerError(error) => return Err(Failed::dialling(error.clone().into())),
        Value::Array(parts) => parts.first(),
        _ => None,
    };
    match role {
        Some(Value::BulkString(role)) if role != b"master" => {
            let role = String::from_utf8_lossy(role);
            let why = format!("the server is a replica ({role}), not a primary");
            Err(Failed::unfit(LogErrorKind::RefusesWrites { why }))
        }
        _ => Ok(()),
    }
}

/// The text of an `INFO` answer; empty where the user may not ask.
fn info_text(answer: Value) -> Result<String, Failed> {
    match answer {
        Value::ServerError(error) if error.code() == "NOPERM" => Ok(String::new()),
        Value::ServerError(error) => Err(Failed::dialling(error.into())),
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::VerbatimString { text, .. } => Ok(text),
        _ => Ok(String::new()),
    }
}

fn check_version(info: &str) -> Result<(), Failed> {
    let Some(version) = info.lines().find_map(|line| line.strip_prefix("redis_version:")) else {
        return Ok(());
    };
    let mut numbers = version.trim().split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST_VERSION {
        return Ok(());
    }
    let why = format!("server version {} is too old; 7.0 or newer is needed", version.trim());
    Err(Failed::unfit(LogErrorKind::Denied { why }))
}
