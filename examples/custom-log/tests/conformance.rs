//! The log keeps all laws: this is all that it takes to say so.

mod support;

use custom_log::FileLog;
use silvertine_conformance::{log::LogFixture, log_laws};
use support::TempPath;

struct InFile {
    file: TempPath,
    log: Option<FileLog>,
}

impl InFile {
    fn new() -> Self {
        let mut fixture = Self { file: TempPath::new(), log: None };
        fixture.restart();
        fixture
    }
}

impl LogFixture for InFile {
    type Log = FileLog;

    fn log(&self) -> FileLog {
        self.log.clone().expect("open")
    }

    fn restart(&mut self) {
        self.log = None;
        self.log = Some(FileLog::open(self.file.path()).expect("opens"));
    }
}

log_laws!(InFile::new());
