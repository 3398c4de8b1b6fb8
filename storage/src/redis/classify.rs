//! The one place where an error of Redis becomes an error of a log: what it means, and whether the
//! operation can have taken effect.

use redis::{ErrorKind, RedisError};
use silvertine_engine::log::{Applied, LogError, LogErrorKind};

use super::link::Failed;

pub(super) fn to_log_error(failed: Failed, operation: &'static str, log: &str) -> LogError {
    let Failed { error, sent, kind } = failed;
    let kind = kind.unwrap_or_else(|| kind_of(&error, ""));
    // A refusal that the server worded itself came instead of the effect; scripts check before they
    // write. Anything else proves nothing: most commands that time out have been applied.
    let worded = error.code().is_some();
    let applied = if sent && !worded { Applied::Maybe } else { Applied::No };
    LogError { kind, applied, operation, log: log.to_owned() }
}

/// What an error means; `about` stands before its wording.
pub(super) fn kind_of(error: &RedisError, about: &str) -> LogErrorKind {
    let why = format!("{about}{}", wording(error));
    match code(error) {
        Some("OOM" | "READONLY" | "MISCONF" | "NOREPLICAS") => LogErrorKind::RefusesWrites { why },
        Some("LOADING" | "BUSY" | "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" | "UNBLOCKED") => {
            LogErrorKind::Unavailable { why }
        }
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => LogErrorKind::Denied { why },
        Some("WRONGTYPE") => LogErrorKind::Foreign { why },
        Some("MOVED" | "ASK" | "CROSSSLOT") => {
            let why = "this is a Redis Cluster, which is not supported yet".to_owned();
            LogErrorKind::Invalid { why }
        }
        _ => match error.kind() {
            ErrorKind::AuthenticationFailed => LogErrorKind::Denied { why },
            ErrorKind::Io | ErrorKind::Parse => LogErrorKind::Unavailable { why },
            ErrorKind::InvalidClientConfig => LogErrorKind::Denied { why },
            _ if error.is_timeout() || error.is_connection_dropped() => {
                LogErrorKind::Unavailable { why }
            }
            _ => LogErrorKind::Foreign { why },
        },
    }
}

/// The server's word for the error.
fn code(error: &RedisError) -> Option<&str> {
    match error.code() {
        // The word behind it says why EXEC was refused, for want of memory or of permission say.
        Some("EXECABORT") => error.detail()?.split_once("because of: ")?.1.split(' ').next(),
        code => code,
    }
}

/// The error in one line, plainer than the library's.
fn wording(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        return "connection refused".to_owned();
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
