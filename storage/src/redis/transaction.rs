//! Several commands that take effect together.

use redis::{Pipeline, Value};
use silvertine_engine::log::{Applied, LogError, LogErrorKind};

use super::{
    classify,
    link::{Failed, Link},
    refusal,
};

/// Runs commands from `MULTI` to `EXEC`: the answers of those between, or why none took effect.
///
/// The transactions of the client library would tell only that `EXEC` aborted, not why, and it
/// panics where `MULTI` itself is refused.
pub(super) async fn transact(
    link: &Link,
    log: &str,
    operation: &'static str,
    commands: &Pipeline,
) -> Result<Vec<Value>, LogError> {
    let failed = |failed| classify::to_log_error(failed, operation, log);
    let mut answers = link.call_all(commands).await.map_err(failed)?;
    // The first refusal is the reason for those after it.
    if let Some(error) = answers.iter().find_map(refusal) {
        let error = failed(Failed::calling(error.clone().into()));
        return Err(LogError { applied: applied_though_refused(&answers), ..error });
    }
    match answers.pop() {
        Some(Value::Array(done)) if done.len() + 2 == commands.len() => Ok(done),
        other => {
            let answer = other.as_ref().map_or("nothing", kind_of_answer);
            let why = format!("a transaction answered {answer}");
            let kind = LogErrorKind::Unavailable { why };
            Err(LogError { kind, applied: Applied::Maybe, operation, log: log.to_owned() })
        }
    }
}

/// What kind of answer this is, for messages; the answer itself may be of any length.
pub(super) const fn kind_of_answer(answer: &Value) -> &'static str {
    match answer {
        Value::Nil => "nil",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::VerbatimString { .. } => "a text",
        Value::Array(_) | Value::Set(_) => "a list of another length",
        _ => "something else",
    }
}

/// Whether a transaction some of whose commands were refused can have taken effect: without `MULTI`
/// each of the others ran alone.
fn applied_though_refused(answers: &[Value]) -> Applied {
    let mut ran = answers.iter().map(|answer| refusal(answer).is_none());
    match ran.next() {
        Some(false) if ran.any(|ran| ran) => Applied::Maybe,
        _ => Applied::No,
    }
}
