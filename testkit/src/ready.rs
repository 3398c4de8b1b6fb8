//! Futures of embedded logs.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// The result of a future that is ready at once, as those of an embedded log are.
///
/// # Panics
/// When the future waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("an embedded log never waits"),
    }
}
