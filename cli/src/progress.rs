//! Progress: a bar on a terminal, and a line on stderr when the log stops answering.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use silvertine_engine::{
    driver::{Observer, Progress},
    log::LogError,
    pos::Pos,
};

use crate::exit::say;

/// Shows how far a run has come.
pub(crate) struct ProgressView {
    bar: Option<ProgressBar>,
    total_known: bool,
    complained: bool,
}

impl ProgressView {
    /// A bar when stderr is a terminal (and not a dumb one), else nothing.
    pub(crate) fn new() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let bar = (std::io::stderr().is_terminal() && !dumb).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, total_known: false, complained: false }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for ProgressView {
    fn committed(&mut self, progress: Progress) {
        if std::mem::take(&mut self.complained) {
            say("the log answers again");
        }
        let Some(bar) = &self.bar else { return };
        if let Some((read, all)) = progress.feed {
            if !self.total_known {
                self.total_known = true;
                let style =
                    ProgressStyle::with_template("{msg} {wide_bar} {percent}% {per_sec} ETA {eta}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            }
            bar.set_length(all);
            bar.set_position(read);
        }
        bar.set_message(format!("{} events", progress.counts.inputs));
    }

    fn replaying(&mut self, pos: Pos) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("re-executing the log: {}", pos.seq));
        }
    }

    fn retrying(&mut self, error: &LogError, attempt: u32, _pause: Duration) {
        tracing::info!(%error, attempt, "retrying");
        if !self.complained {
            self.complained = true;
            say(format_args!("{error}; waiting for it"));
        }
    }
}
