//! An executor for futures that never wait for anything outside: embedded logs on a virtual clock.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Runs a future to its end on this thread, polling it again until it is ready.
///
/// Futures of embedded logs and of the virtual clock are ready at once, so this never spins in
/// practice. A future that waits for a socket or a real timer belongs on a real runtime.
///
/// # Panics
/// When the future waits for ever (a million polls without progress): it was given to the wrong
/// executor.
pub fn block_on<F: Future>(future: F) -> F::Output {
    const POLLS_MAX: u32 = 1_000_000;
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("a future waits for something that this executor does not serve")
}
