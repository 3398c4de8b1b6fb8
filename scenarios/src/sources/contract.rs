//! The contract of [`Source`], checked for kinds of one's own.
//!
//! A source that breaks it would lose rows without a word: a number that does not rise is taken for a duplicate, and a
//! row under another source's name competes with that source's numbers. So each row is checked, and the first that
//! breaks the contract ends the run. A panic in the source ends it in the same way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use silvertine_engine::{
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    text::Name,
};

/// A source of one's own behind the checks.
pub(crate) struct Contract {
    source: Box<dyn Source>,
    /// What messages call it.
    label: String,
    name: Name,
    /// The number of the last row.
    last_seq: u64,
}

impl Contract {
    pub(crate) fn new(source: Box<dyn Source>, name: Name, label: String) -> Self {
        Self { source, label, name, last_seq: 0 }
    }

    fn check(&mut self, input: &Input) -> Result<(), String> {
        let Input { source, source_seq, .. } = input;
        if *source != self.name {
            return Err(format!(
                "the row carries the name {source}; its source is called {}",
                self.name
            ));
        }
        if *source_seq <= self.last_seq {
            let last = self.last_seq;
            return Err(format!(
                "the row has number {source_seq} behind {last}; numbers rise strictly, from one"
            ));
        }
        self.last_seq = *source_seq;
        Ok(())
    }

    fn broken(&self, why: String) -> SourceError {
        let line = self.source.last_row().line;
        SourceError::Read { path: self.label.clone(), line, why }
    }
}

impl Source for Contract {
    fn name(&self) -> Name {
        self.name
    }

    fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
        let row =
            catch_unwind(AssertUnwindSafe(|| self.source.next_row())).map_err(|panic| {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                let why =
                    format!("the source panicked: {}", silvertine_engine::text::one_line(said));
                SourceError::Read { path: self.label.clone(), line: self.last_seq, why }
            })??;
        match &row {
            Some(Row::Event(input)) => {
                self.check(input).map_err(|why| self.broken(why))?;
            }
            Some(Row::Bad(_)) => self.last_seq = self.last_seq.max(self.source.cursor().seq),
            None if self.last_seq == 0 => {
                return Err(SourceError::Empty { path: self.label.clone() });
            }
            None => {}
        }
        Ok(row)
    }

    fn last_row(&self) -> RowOrigin<'_> {
        self.source.last_row()
    }

    fn cursor(&self) -> SourceCursor {
        self.source.cursor()
    }

    fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
        self.last_seq = cursor.seq;
        self.source.seek(cursor)
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.source.progress()
    }
}

#[cfg(test)]
mod tests {
    use silvertine_engine::{
        event::{Side, Trade},
        numbers::{Price, Qty},
        text::Symbol,
        time::Nanos,
    };

    use super::*;

    /// Rows with these names and numbers; at number 99 it panics.
    struct Rows(Vec<(&'static str, u64)>, usize);

    impl Source for Rows {
        fn name(&self) -> Name {
            Name::new("mine").expect("valid")
        }
        fn next_row(&mut self) -> Result<Option<Row>, SourceError> {
            let Some(&(name, source_seq)) = self.0.get(self.1) else { return Ok(None) };
            assert_ne!(source_seq, 99, "no such row");
            self.1 += 1;
            let trade = Trade {
                symbol: Symbol::new("X").expect("valid"),
                trade_id: 1,
                price: Price::from_units(1),
                qty: Qty::from_units(1),
                aggressor: Side::Buy,
            };
            Ok(Some(Row::Event(Input {
                source: Name::new(name).expect("valid"),
                source_seq,
                id: None,
                event_time: Nanos(1),
                recv_time: Nanos(1),
                body: trade.into(),
            })))
        }
        fn last_row(&self) -> RowOrigin<'_> {
            RowOrigin { line: self.1 as u64, bytes: b"" }
        }
        fn cursor(&self) -> SourceCursor {
            SourceCursor::default()
        }
        fn seek(&mut self, cursor: SourceCursor) -> Result<(), SourceError> {
            self.1 = cursor.seq as usize;
            Ok(())
        }
    }

    /// How many rows come, and what is said in the end.
    fn read(rows: &[(&'static str, u64)]) -> (usize, Option<String>) {
        let rows = Rows(rows.to_vec(), 0);
        let name = rows.name();
        let mut source = Contract::new(Box::new(rows), name, "tape mine".to_owned());
        let mut count = 0;
        loop {
            match source.next_row() {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, None),
                Err(error) => return (count, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn a_row_that_breaks_the_contract_ends_the_reading_with_its_line() {
        assert_eq!(read(&[("mine", 1), ("mine", 2), ("mine", 5)]), (3, None));
        for (rows, came, said) in [
            (&[("mine", 0)][..], 0, "line 1: the row has number 0 behind 0"),
            (&[("mine", 1), ("mine", 1)], 1, "line 2: the row has number 1 behind 1"),
            (&[("other", 1)], 0, "carries the name other; its source is called mine"),
            (&[("mine", 1), ("mine", 99)], 1, "the source panicked: assertion"),
            (&[], 0, "holds no event"),
        ] {
            let (count, why) = read(rows);
            assert_eq!(count, came, "{rows:?}");
            assert!(why.as_ref().is_some_and(|why| why.contains(said)), "{rows:?}: {why:?}");
        }
    }

    #[test]
    fn numbers_go_on_behind_a_cursor() {
        let rows = Rows(vec![("mine", 1), ("mine", 2)], 0);
        let name = rows.name();
        let mut source = Contract::new(Box::new(rows), name, "tape mine".to_owned());
        source.seek(SourceCursor { seq: 1, ..SourceCursor::default() }).expect("seeks");
        assert!(matches!(source.next_row(), Ok(Some(Row::Event(input))) if input.source_seq == 2));
        assert_eq!(source.next_row(), Ok(None));
    }
}
