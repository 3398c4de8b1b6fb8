//! Calling a handler: under a time limit, with panics caught, and a failed batch taken apart.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use silvertine_engine::{codec::Codec, span::Span};
use silvertine_streams::{HandlerOutcome, Work};
use tokio::time::timeout;

use crate::handle::Service;

/// Calls the handler with a time limit; a panic is an outcome like any other. When a batch fails as a whole,
/// each of its messages is tried once more alone.
pub(crate) async fn handle_guarded<H: Service>(
    service: &H,
    work: Vec<Work>,
    codec: Codec,
    limit: Span,
) -> Vec<HandlerOutcome> {
    if work.len() > 1 {
        let together = guarded(service.call(work.clone(), codec), limit).await;
        if let Ok(outcomes) = together {
            return outcomes;
        }
    }
    let mut outcomes = Vec::with_capacity(work.len());
    for one in work {
        match guarded(service.call(vec![one], codec), limit).await {
            Ok(outcome) => outcomes.extend(outcome),
            Err(outcome) => outcomes.push(outcome),
        }
    }
    outcomes
}

async fn guarded(
    call: impl Future<Output = Vec<HandlerOutcome>> + Send,
    limit: Span,
) -> Result<Vec<HandlerOutcome>, HandlerOutcome> {
    match timeout(limit.duration(), Caught(pin!(call))).await {
        Ok(Ok(outcomes)) => Ok(outcomes),
        Ok(Err(panic)) => Err(HandlerOutcome::Panicked(panic)),
        Err(_elapsed) => Err(HandlerOutcome::TimedOut),
    }
}

/// A future whose panics are errors.
struct Caught<F>(F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context)));
        match polled {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                Poll::Ready(Err(text.unwrap_or("no message").to_owned()))
            }
        }
    }
}
