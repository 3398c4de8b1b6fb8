//! The client's patience, ended at once instead of sat out, and waiting for conditions.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use super::{Harness, State};
use crate::proxy::Strike;

/// Longer than the client waits for any answer.
const PATIENCE: Duration = Duration::from_secs(11);

impl Harness {
    /// Ends the client's patience as soon as `spoilt`: its clock moves on by more than it waits for an
    /// answer. Must be called on the client's runtime.
    pub fn end_patience_when(&self, spoilt: impl Fn(&State) -> bool + Send + 'static) {
        let harness = self.clone();
        tokio::spawn(async move {
            if harness.wait_until(spoilt).await {
                end_patience().await;
            }
        });
    }

    /// The same again and again for as long as a lasting fault lasts.
    pub(super) fn end_patience_while_frozen(&self) {
        let harness = self.clone();
        let before = self.lock().proxy.forwarded_in_all();
        tokio::spawn(async move {
            harness.wait_until(move |state| state.proxy.forwarded_in_all() > before).await;
            while harness.lock().lasting.is_some() {
                end_patience().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }

    /// The same where this strike leaves the client in silence; so many had struck before it.
    pub fn end_patience_when_silent(&self, strike: Strike, struck: u64) {
        if matches!(strike, Strike::SwallowRequest | Strike::SwallowReply | Strike::Hold) {
            self.end_patience_when(move |state| state.proxy.struck() > struck);
        }
    }

    /// Waits for a condition that must come true.
    pub async fn until(&self, condition: impl Fn(&State) -> bool) {
        assert!(self.wait_until(condition).await, "what was waited for does not happen");
    }

    /// Waits for a condition; false when it does not come true in any reasonable time.
    async fn wait_until(&self, condition: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if condition(&self.lock()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }
}

async fn end_patience() {
    tokio::time::pause();
    tokio::time::advance(PATIENCE).await;
    tokio::time::resume();
}

/// Runs a future to its end on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Both results, once both are there.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    poll_fn(|context| {
        if of_a.is_none()
            && let Poll::Ready(result) = a.as_mut().poll(context)
        {
            of_a = Some(result);
        }
        if of_b.is_none()
            && let Poll::Ready(result) = b.as_mut().poll(context)
        {
            of_b = Some(result);
        }
        if of_a.is_some() && of_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (of_a.expect("is ready"), of_b.expect("is ready"))
}
