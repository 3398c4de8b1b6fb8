//! Selecting dead letters.

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Class, DeadLetter, GroupName, Reason, Status};

use super::age_ns;

/// Selects the letters that pass every test that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// These ids.
    pub ids: Option<Vec<Pos>>,
    /// Of this class of failure.
    pub class: Option<Class>,
    /// Given up for this reason.
    pub reason: Option<Reason>,
    /// With this code.
    pub code: Option<String>,
    /// Failed in the same way.
    pub fingerprint: Option<u64>,
    /// Given up by this group.
    pub group: Option<GroupName>,
    /// Failed by this handler.
    pub handler: Option<String>,
    /// Published to this stream, such as an urgent lane.
    pub origin: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// With this status.
    pub status: Option<Status>,
    /// On the queue for longer than this.
    pub older_than: Option<Span>,
    /// On the queue for at most this long.
    pub newer_than: Option<Span>,
    /// Redriven less often than this.
    pub redrives_below: Option<u32>,
}

impl Filter {
    /// Whether a letter passes.
    #[must_use]
    pub fn passes(&self, id: Pos, letter: &DeadLetter, time: Nanos) -> bool {
        let DeadLetter { story, state, .. } = letter;
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
        let age = age_ns(id, time);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
            && self.class.is_none_or(|class| class == story.failure.class)
            && self.reason.is_none_or(|reason| reason == story.reason)
            && is(&self.code, &story.failure.code)
            && self.fingerprint.is_none_or(|print| print == story.fingerprint)
            && self.group.as_ref().is_none_or(|group| *group == story.group)
            && is(&self.handler, &story.handler)
            && is(&self.origin, story.origin.stream.as_str())
            && is(&self.key, &story.key)
            && self.status.is_none_or(|status| status == state.status)
            && self.older_than.is_none_or(|span| age > span.as_nanos())
            && self.newer_than.is_none_or(|span| age <= span.as_nanos())
            && self.redrives_below.is_none_or(|most| story.redrives + state.redrives < most)
    }
}
