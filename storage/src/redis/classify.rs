//! The one place where an error of Redis becomes an error of a log: what it means, and whether the
//! operation can have taken effect.

use redis::{ErrorKind, RedisError};
use silvertine_engine::log::{Applied, LogError, LogErrorKind};

use super::link::Failed;

pub(super) fn to_log_error(failed: Failed, operation: &'static str, log: &str) -> LogError {
    let Failed { error, sent, kind } = failed;
    let kind = kind.unwrap_or_else(|| kind_of(&error));
    // A refusal that the server worded itself came instead of the effect; scripts check before they
    // write. Silence proves nothing: most commands that time out have been applied.
    let silent = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
    let applied = if sent && silent { Applied::Maybe } else { Applied::No };
    LogError { kind, applied, operation, log: log.to_owned() }
}

fn kind_of(error: &RedisError) -> LogErrorKind {
    let why = wording(error);
    match error.code() {
        // A transaction is aborted when queueing failed: for want of memory or of permission to write.
        Some("OOM" | "READONLY" | "MISCONF" | "NOREPLICAS" | "EXECABORT") => {
            LogErrorKind::RefusesWrites { why }
        }
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
