//! Lines of a plain or gzip file, read one by one through a bounded buffer.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use silvertine_engine::source::SourceError;

/// The longest line that is read, in bytes without its end; what is longer is a bad row and costs no more memory.
pub const LINE_LIMIT: usize = 1 << 20;

/// How much is read from the file at once.
const CHUNK: usize = 1 << 16;

/// Reads lines and can continue from a position.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Reader,
    /// Bytes of the file read so far, for progress; of a gzip file the compressed ones.
    consumed: Arc<AtomicU64>,
    size: u64,
    line: Vec<u8>,
    /// Lines read so far.
    pub(crate) number: u64,
    /// Bytes of content read so far; of a gzip file, decompressed bytes.
    pub(crate) offset: u64,
}

enum Reader {
    Plain(BufReader<Counted>),
    Gzip(BufReader<MultiGzDecoder<BufReader<Counted>>>),
}

/// What reading a line came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// [`Lines::text`] holds it.
    Whole,
    /// It is longer than [`LINE_LIMIT`]; [`Lines::text`] holds its beginning.
    TooLong,
    /// There is none.
    End,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        let fail =
            |why: &str| SourceError::Open { path: path.display().to_string(), why: why.to_owned() };
        if path.is_dir() {
            return Err(fail("is a folder, not a file"));
        }
        let file = File::open(path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => fail("no such file"),
            io::ErrorKind::PermissionDenied => fail("permission denied"),
            _ => fail(&why.to_string()),
        })?;
        let size = file.metadata().map(|meta| meta.len()).unwrap_or(0);
        let consumed = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, consumed: Arc::clone(&consumed) };
        let mut raw = BufReader::with_capacity(CHUNK, counted);
        let gzip = raw.fill_buf().map_err(|why| fail(&why.to_string()))?.starts_with(&[0x1f, 0x8b]);
        let reader = if gzip {
            Reader::Gzip(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(raw)))
        } else {
            Reader::Plain(raw)
        };
        let path = path.to_path_buf();
        Ok(Self { path, reader, consumed, size, line: Vec::new(), number: 0, offset: 0 })
    }

    /// Reads the next line into [`text`](Self::text), without its line end.
    pub(crate) fn next(&mut self) -> Result<Line, SourceError> {
        self.line.clear();
        let read = match &mut self.reader {
            Reader::Plain(reader) => read_line(reader, &mut self.line),
            Reader::Gzip(reader) => read_line(reader, &mut self.line),
        };
        let read = read.map_err(|why| self.read_error(&why))?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        self.offset += read;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.line.len() > LINE_LIMIT {
            self.line.truncate(LINE_LIMIT);
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }

    /// The line read last.
    pub(crate) fn text(&self) -> &[u8] {
        &self.line
    }

    /// Continues behind line `number`, which ends at byte `offset`.
    pub(crate) fn seek(&mut self, number: u64, offset: u64) -> Result<(), SourceError> {
        let mut fresh = Self::open(&self.path)?;
        fresh.number = number;
        fresh.offset = offset;
        let reached = match &mut fresh.reader {
            Reader::Plain(reader) => {
                let size = fresh.size;
                fresh.consumed.store(offset, Ordering::Relaxed);
                reader.seek(SeekFrom::Start(offset)).map(|at| at.min(size))
            }
            Reader::Gzip(reader) => io::copy(&mut reader.take(offset), &mut io::sink()),
        };
        let reached = reached.map_err(|why| fresh.read_error(&why))?;
        if reached < offset {
            let why = format!("the file is shorter than when the run began ({reached} bytes)");
            return Err(SourceError::Read { path: fresh.shown(), line: number, why });
        }
        *self = fresh;
        Ok(())
    }

    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.consumed.load(Ordering::Relaxed).min(self.size), self.size)
    }

    /// The file as the user named it.
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn read_error(&self, why: &io::Error) -> SourceError {
        let why = match (&self.reader, why.kind()) {
            (Reader::Gzip(_), io::ErrorKind::UnexpectedEof) => {
                "the gzip stream ends early (the file is cut short)".to_owned()
            }
            (Reader::Gzip(_), _) => format!("the gzip stream is damaged ({why})"),
            (Reader::Plain(_), _) => why.to_string(),
        };
        SourceError::Read { path: self.shown(), line: self.number.saturating_add(1), why }
    }
}

/// The most bytes of a line that are kept: the longest line and its end, `\r\n`. A line cut here is
/// still longer than [`LINE_LIMIT`] whatever its last byte is.
const KEPT: usize = LINE_LIMIT + 2;

/// Appends a line with its end to `line`, but no more than [`KEPT`] bytes; returns how many bytes it took
/// from the reader.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let kept = Read::take(&mut *reader, KEPT as u64).read_until(b'\n', line)?;
    let cut = kept == KEPT && line.last() != Some(&b'\n');
    let passed_over = if cut { reader.skip_until(b'\n')? } else { 0 };
    Ok((kept + passed_over) as u64)
}

/// A file that counts what was read of it.
struct Counted {
    file: File,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
