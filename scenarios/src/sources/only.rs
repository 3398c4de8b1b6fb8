//! A format narrowed to some instruments.

use silvertine_engine::{event::Body, text::Symbol};

use super::text::{BadRow, Format, Parsed};

/// Drops events of instruments that are not listed.
///
/// Rows are still parsed: one that makes no sense is a bad row, as nobody can tell whose it was.
#[derive(Clone, Debug)]
pub struct Only<F> {
    /// The format of the rows.
    pub format: F,
    /// The instruments whose events are kept; none at all means every one.
    pub symbols: Vec<Symbol>,
}

impl<F: Format> Format for Only<F> {
    fn header(&mut self, line: &[u8]) -> Result<bool, BadRow> {
        self.format.header(line)
    }

    fn parse(&mut self, line: &[u8]) -> Result<Option<Parsed>, BadRow> {
        let parsed = self.format.parse(line)?;
        Ok(parsed.filter(|parsed| match &parsed.body {
            Body::MarketData(data) => {
                self.symbols.is_empty() || self.symbols.contains(&data.symbol())
            }
            _ => true,
        }))
    }
}
