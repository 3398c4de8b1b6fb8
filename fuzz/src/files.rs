//! Whole files of recordings, plain or packed, read once and read with stops in between.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use silvertine_engine::{
    source::{Row, Source, SourceError},
    text::{Name, Symbol},
};
use silvertine_scenarios::sources::{Bars, Binance, Format, HistData, Quotes, Stamp, TextSource};

use super::assert_one_line;

/// A file reads the same plain and compressed, and from any of its cursors on as it did the first time. The first byte
/// chooses format and compression.
pub fn files(bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let symbol = Symbol::new("X").expect("valid");
    match choice & 3 {
        0 => check_file(choice >> 2, content, || Binance { quotes: true, trades: true }),
        1 => check_file(choice >> 2, content, || Bars::new(symbol, 60_000_000_000, Stamp::Close)),
        2 => check_file(choice >> 2, content, || HistData { symbol }),
        _ => check_file(choice >> 2, content, || Quotes),
    }
}

fn check_file<F: Format + 'static>(choice: u8, content: &[u8], format: impl Fn() -> F) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("writes");
    let plain = check_reading(&|| open(file.path(), format()));
    if choice & 1 == 1 && !content.starts_with(&[0x1f, 0x8b]) {
        file.as_file().set_len(0).expect("truncates");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(content).expect("memory takes it");
        std::fs::write(file.path(), gzip.finish().expect("memory takes it")).expect("writes");
        assert_eq!(check_reading(&|| open(file.path(), format())), plain, "compressed");
    }
}

type Rows = (Vec<Row>, Option<SourceError>);

pub(super) fn open<F: Format + 'static>(
    path: &std::path::Path,
    format: F,
) -> Result<Box<dyn Source>, SourceError> {
    let source = TextSource::open(path, Name::new("fuzz").expect("valid"), format)?;
    Ok(Box::new(source))
}

fn check_reading(open: &dyn Fn() -> Result<Box<dyn Source>, SourceError>) -> Rows {
    let mut source = match open() {
        Ok(source) => source,
        Err(why) => {
            assert_one_line(&why);
            return (Vec::new(), Some(why));
        }
    };
    let mut cursors = vec![source.cursor()];
    let (mut rows, mut end) = (Vec::new(), None);
    loop {
        match source.next_row() {
            Ok(None) => break,
            Err(why) => {
                assert_one_line(&why);
                end = Some(why);
                break;
            }
            Ok(Some(row)) => {
                if let Row::Bad(why) = &row {
                    assert_one_line(why);
                }
                rows.push(row);
                cursors.push(source.cursor());
                assert_eq!(cursors.last().map(|cursor| cursor.seq), Some(rows.len() as u64));
            }
        }
    }
    for at in [0, cursors.len() / 2, cursors.len() - 1] {
        let mut resumed = open().expect("it opened before");
        resumed.seek(cursors[at]).expect("the file is as long as it was");
        for row in &rows[at..] {
            assert_eq!(resumed.next_row().as_ref(), Ok(&Some(row.clone())), "behind row {at}");
        }
        assert_eq!(resumed.next_row().err(), end, "behind row {at}");
    }
    (rows, end)
}
