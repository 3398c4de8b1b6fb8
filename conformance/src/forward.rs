//! [`forward_log!`](crate::forward_log): the operations of a log around another one that it leaves as they are.

/// Inside an `impl EventLog`: passes these operations on to the log in this field.
///
/// For logs that break, watch or delay one operation of another log, as tests want them.
///
/// ```
/// use silvertine_engine::log::{EventLog, LogError, Stats};
/// use silvertine_storage::memory::MemoryLog;
///
/// /// A log that counts nothing.
/// #[derive(Clone)]
/// struct Uncounted {
///     inner: MemoryLog,
/// }
///
/// impl EventLog for Uncounted {
///     async fn stats(&self) -> Result<Stats, LogError> {
///         Ok(Stats::default())
///     }
///
///     silvertine_conformance::forward_log!(
///         inner: acquire, commit, head, range, manifest, snapshots, snapshot, publish, ingress, trim,
///         durability_note
///     );
/// }
/// ```
#[macro_export]
macro_rules! forward_log {
    ($inner:tt: $($operation:ident),+ $(,)?) => {
        $($crate::forward_log!(@$operation $inner);)+
    };
    (@acquire $inner:tt) => {
        async fn acquire(
            &self,
            owner: $crate::engine::log::OwnerId,
            manifest: &[u8],
        ) -> Result<$crate::engine::log::Acquired, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::acquire(&self.$inner, owner, manifest).await
        }
    };
    (@commit $inner:tt) => {
        async fn commit(
            &self,
            lease: &$crate::engine::log::Lease,
            commit: &$crate::engine::log::Commit<'_>,
        ) -> Result<$crate::engine::log::Committed, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::commit(&self.$inner, lease, commit).await
        }
    };
    (@head $inner:tt) => {
        async fn head(
            &self,
        ) -> Result<Option<$crate::engine::log::Head>, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::head(&self.$inner).await
        }
    };
    (@range $inner:tt) => {
        async fn range(
            &self,
            query: $crate::engine::log::RangeQuery,
        ) -> Result<$crate::engine::log::Page, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::range(&self.$inner, query).await
        }
    };
    (@manifest $inner:tt) => {
        async fn manifest(&self) -> Result<Option<Vec<u8>>, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::manifest(&self.$inner).await
        }
    };
    (@snapshots $inner:tt) => {
        async fn snapshots(
            &self,
        ) -> Result<Vec<$crate::engine::pos::Pos>, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::snapshots(&self.$inner).await
        }
    };
    (@snapshot $inner:tt) => {
        async fn snapshot(
            &self,
            pos: $crate::engine::pos::Pos,
        ) -> Result<Option<Vec<u8>>, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::snapshot(&self.$inner, pos).await
        }
    };
    (@publish $inner:tt) => {
        async fn publish(
            &self,
            messages: &[$crate::engine::log::IngressMessage],
        ) -> Result<Vec<$crate::engine::log::Published>, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::publish(&self.$inner, messages).await
        }
    };
    (@ingress $inner:tt) => {
        async fn ingress(
            &self,
            lease: Option<&$crate::engine::log::Lease>,
            cursor: &$crate::engine::log::IngressCursor,
            limit: usize,
            wait: std::time::Duration,
        ) -> Result<Vec<$crate::engine::log::IngressMessage>, $crate::engine::log::LogError> {
            let inner = &self.$inner;
            $crate::engine::log::EventLog::ingress(inner, lease, cursor, limit, wait).await
        }
    };
    (@trim $inner:tt) => {
        async fn trim(
            &self,
            lease: &$crate::engine::log::Lease,
            at: $crate::engine::pos::Pos,
        ) -> Result<u64, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::trim(&self.$inner, lease, at).await
        }
    };
    (@stats $inner:tt) => {
        async fn stats(
            &self,
        ) -> Result<$crate::engine::log::Stats, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::stats(&self.$inner).await
        }
    };
    (@durability_note $inner:tt) => {
        async fn durability_note(&self) -> Result<String, $crate::engine::log::LogError> {
            $crate::engine::log::EventLog::durability_note(&self.$inner).await
        }
    };
}
