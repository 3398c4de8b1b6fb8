//! How a law says that it is broken: it unwinds with a [`Breach`], which [`caught`] returns.
//!
//! So the laws read as straight lines of steps, and a log that panics is reported like one that answers wrongly.
//! Unwinding with a value of our own passes by the panic hook: a check prints nothing.

use std::{
    any::Any,
    fmt::{Debug, Display},
    panic::{self, AssertUnwindSafe, Location},
    thread::{self, JoinHandle},
};

/// What was expected and what came.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub what: String,
    /// Where in the suite; unknown when the log or store itself panicked.
    pub at: Option<&'static Location<'static>>,
}

/// Ends a law.
#[track_caller]
pub(crate) fn breach(what: impl Display) -> ! {
    let at = Some(Location::caller());
    panic::resume_unwind(Box::new(Breach { what: what.to_string(), at }))
}

/// Runs a law, or a part of it, to its end or to the breach.
pub(crate) fn caught<T>(law: impl FnOnce() -> T) -> Result<T, Breach> {
    panic::catch_unwind(AssertUnwindSafe(law)).map_err(|payload| {
        payload.downcast::<Breach>().map_or_else(|other| from_panic(&*other), |breach| *breach)
    })
}

fn from_panic(payload: &(dyn Any + Send)) -> Breach {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Breach { what: format!("panicked: {text}"), at: None }
}

/// A part of a law that runs beside the rest of it.
pub(crate) struct Beside<T>(JoinHandle<T>);

impl<T: Send + 'static> Beside<T> {
    pub fn start(part: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(thread::spawn(part))
    }

    /// Waits for its end; its breach is one of the whole law.
    pub fn join(self) -> T {
        self.0.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

/// Demands of an answer.
pub(crate) trait Must<T> {
    /// The value, or the law is broken: it must do what `what` says.
    #[track_caller]
    fn must(self, what: &str) -> T;
}

impl<T, E: Display> Must<T> for Result<T, E> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => {
                breach(format_args!("expected: no error ({what})\n    came: error: {error}"))
            }
        }
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        match self {
            Some(value) => value,
            None => breach(format_args!("expected: something ({what})\n    came: nothing")),
        }
    }
}

/// The error, or the law is broken: it must be refused.
#[track_caller]
pub(crate) fn refused<T: Debug, E>(answer: Result<T, E>, what: &str) -> E {
    match answer {
        Err(error) => error,
        Ok(value) => breach(format_args!("expected: an error ({what})\n    came: {value:?}")),
    }
}

/// The law is broken; the arguments say how, as those of `panic!` do.
macro_rules! broken {
    ($($how:tt)+) => {
        $crate::breach::breach(format_args!($($how)+))
    };
}

/// Holds, or the law is broken. Further arguments say more, as those of `assert!` do.
macro_rules! ensure {
    ($holds:expr $(,)?) => {
        if !$holds {
            $crate::breach::breach(concat!("expected: ", stringify!($holds)));
        }
    };
    ($holds:expr, $($more:tt)+) => {
        if !$holds {
            let (holds, more) = (stringify!($holds), format!($($more)+));
            $crate::breach::breach(format!("expected: {holds}\n    here: {more}"));
        }
    };
}

/// What came equals what was expected, or the law is broken.
macro_rules! ensure_eq {
    ($came:expr, $expected:expr $(,)?) => {
        $crate::breach::compare(&$came, &$expected, stringify!($came), "")
    };
    ($came:expr, $expected:expr, $($more:tt)+) => {
        $crate::breach::compare(&$came, &$expected, stringify!($came), &format!($($more)+))
    };
}

pub(crate) use {broken, ensure, ensure_eq};

#[track_caller]
pub(crate) fn compare<C: PartialEq<E> + Debug + ?Sized, E: Debug + ?Sized>(
    came: &C,
    expected: &E,
    of: &str,
    more: &str,
) {
    if came != expected {
        let here = if more.is_empty() { String::new() } else { format!("\n    here: {more}") };
        breach(format_args!("of {of}\nexpected: {expected:?}\n    came: {came:?}{here}"));
    }
}
