//! Everything that can be read of a log, for comparing.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use silvertine_engine::{
    log::{Batch, EventLog, Head, IngressCursor, IngressMessage, Lease, LogError, RangeQuery},
    pos::Pos,
};

use crate::history::OWNER;

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    pub head: Option<Head>,
    pub manifest: Option<Vec<u8>>,
    pub entries: Batch,
    pub snapshots: Vec<(Pos, Vec<u8>)>,
    pub messages: Vec<IngressMessage>,
    /// Checkpoint and lease, which only acquiring tells.
    pub acquired: Option<(Vec<u8>, Lease)>,
}

/// The result of a future that is ready at once, as those of an embedded log are.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("an embedded log never waits"),
    }
}

/// Reads everything, and acquires as the owner that the history has had throughout, which changes nothing.
pub fn contents(log: &impl EventLog) -> Result<Contents, LogError> {
    let mut found = readable(log)?;
    if found.head.is_some() {
        let acquired = now(log.acquire(OWNER, b"another manifest"))?;
        assert_eq!(Some(acquired.head), found.head, "acquiring sees another head");
        found.acquired = Some((acquired.checkpoint, acquired.lease));
    }
    Ok(found)
}

/// Reads everything that can be read without a lease.
pub fn readable(log: &impl EventLog) -> Result<Contents, LogError> {
    let head = now(log.head())?;
    let after = head.unwrap_or_default().trimmed;
    let mut snapshots = Vec::new();
    for pos in now(log.snapshots())? {
        let state = now(log.snapshot(pos))?.expect("it was listed");
        snapshots.push((pos, state));
    }
    let query = RangeQuery { limit: usize::MAX, ..RangeQuery::all_after(after) };
    Ok(Contents {
        head,
        manifest: now(log.manifest())?,
        entries: now(log.range(query))?.entries,
        snapshots,
        messages: now(log.ingress(None, &IngressCursor::new(), usize::MAX, Duration::ZERO))?,
        acquired: None,
    })
}
