//! The operations of a law, each with its answer, for the report of its breach.

use std::{
    collections::VecDeque,
    fmt::{self, Debug, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// So many operations are kept, the newest.
const OPERATIONS_MAX: usize = 40;
/// So much of a line is kept.
const LINE_MAX: usize = 240;

#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    newest: VecDeque<String>,
    left_out: usize,
}

impl Journal {
    pub fn note(&self, line: fmt::Arguments<'_>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.newest.len() == OPERATIONS_MAX {
            kept.newest.pop_front();
            kept.left_out += 1;
        }
        kept.newest.push_back(shortened(line));
    }

    /// Notes an operation and its answer, which is an error as people read it or `Debug` of the value.
    pub fn answer<T: Debug, E: fmt::Display>(
        &self,
        operation: fmt::Arguments<'_>,
        answer: &Result<T, E>,
    ) {
        match answer {
            Ok(value) => self.note(format_args!("{operation} -> {value:?}")),
            Err(error) => self.note(format_args!("{operation} -> error: {error}")),
        }
    }

    /// The newest operations, and how many came before them.
    pub fn newest(&self) -> (Vec<String>, usize) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.newest.iter().cloned().collect(), kept.left_out)
    }
}

/// Stops formatting where the line is long enough: entries and messages may be large.
fn shortened(line: fmt::Arguments<'_>) -> String {
    let mut line_so_far = Line(String::new());
    if line_so_far.write_fmt(line).is_err() {
        line_so_far.0.push('…');
    }
    line_so_far.0
}

struct Line(String);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() >= LINE_MAX {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}
