//! When a failed message is tried again.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::MessageId;
use silvertine_engine::{span::Span, time::Nanos};

/// How often, and after which pauses, a message that failed is tried again.
///
/// The pause before retry `n`, counted from one, is `base × factor^(n-1)`, at most `ceiling`, plus up to
/// `jitter_percent` of it. By default 1, 2, 4, 8 and 16 s, then the message is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The pause before the first retry.
    pub base: Span,
    /// What each pause is multiplied by to give the next.
    pub factor: u32,
    /// How many retries; none when zero.
    pub attempts: u32,
    /// The longest pause, before jitter.
    pub ceiling: Span,
    /// At most so much of a pause is added to it, in per cent, so that what failed together is not tried
    /// again together. Derived from message and attempt, so it is the same whoever asks.
    pub jitter_percent: u32,
    /// A message older than this is not tried again.
    pub age_max: Option<Span>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Span::from_secs(1),
            factor: 2,
            attempts: 5,
            ceiling: Span::from_secs(3600),
            jitter_percent: 10,
            age_max: None,
        }
    }
}

/// The largest number that a variable of the environment may set.
const RETRY_VARIABLE_MAX: u32 = 1000;

/// A variable of the environment that is no number in its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {text:?}; it must be a number from {least} to {RETRY_VARIABLE_MAX}")]
#[non_exhaustive]
pub struct RetryVariableError {
    /// The variable.
    pub name: &'static str,
    /// What it is set to.
    pub text: String,
    /// The least number that makes sense.
    pub least: u32,
}

/// What is to become of a message that failed in a way that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this pause.
    Retry(Span),
    /// All attempts are used up.
    Exhausted,
    /// It is too old to be tried again.
    Expired,
}

impl RetryPolicy {
    /// The first key whose value makes no sense, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self { factor: 0, .. } => Some(("factor", "must be at least 1")),
            Self { jitter_percent: 101.., .. } => Some(("jitter_percent", "must be 0 to 100")),
            _ => None,
        }
    }

    /// A policy with these numbers and otherwise the defaults.
    #[must_use]
    pub fn new(base: Span, factor: u32, attempts: u32) -> Self {
        Self { base, factor, attempts, ..Self::default() }
    }

    /// The same policy with this jitter, in per cent.
    #[must_use]
    pub const fn with_jitter_percent(mut self, jitter_percent: u32) -> Self {
        self.jitter_percent = jitter_percent;
        self
    }

    /// The same policy with what the environment says: `MAX_RETRY_ATTEMPTS` is the number of retries,
    /// `RETRY_BACKOFF_BASE` what each pause is multiplied by (3 and 4 give 1, 4, 16 s).
    ///
    /// # Errors
    /// [`RetryVariableError`]: a variable is set and is no number in its range.
    pub fn with_environment(
        mut self,
        max_retry_attempts: Option<&str>,
        retry_backoff_base: Option<&str>,
    ) -> Result<Self, RetryVariableError> {
        let number = |name: &'static str, text: &str, least: u32| match text.trim().parse::<u32>() {
            Ok(number) if (least..=RETRY_VARIABLE_MAX).contains(&number) => Ok(number),
            _ => Err(RetryVariableError { name, text: text.to_owned(), least }),
        };
        if let Some(text) = max_retry_attempts {
            self.attempts = number("MAX_RETRY_ATTEMPTS", text, 0)?;
        }
        if let Some(text) = retry_backoff_base {
            self.factor = number("RETRY_BACKOFF_BASE", text, 1)?;
        }
        Ok(self)
    }

    /// What becomes of the message `id`, published at `published`, whose failure number `attempts` (from
    /// one) happened at `now`.
    #[must_use]
    pub fn decide(
        &self,
        id: &MessageId,
        attempts: u32,
        published: Nanos,
        now: Nanos,
    ) -> RetryDecision {
        if attempts > self.attempts {
            return RetryDecision::Exhausted;
        }
        let pause = self.pause(id, attempts);
        match self.age_max {
            Some(age_max)
                if now.saturating_add(pause.duration()).since(published) > age_max.duration() =>
            {
                RetryDecision::Expired
            }
            _ => RetryDecision::Retry(pause),
        }
    }

    /// The pause behind failure number `attempts`, counted from one.
    #[must_use]
    pub fn pause(&self, id: &MessageId, attempts: u32) -> Span {
        let factor = u64::from(self.factor).saturating_pow(attempts.saturating_sub(1));
        let pause = self.base.as_nanos().saturating_mul(factor).min(self.ceiling.as_nanos());
        let widest = u128::from(pause) * u128::from(self.jitter_percent) / 100;
        // The upper 64 bits of a product spread a hash evenly over the range without a division.
        let jitter = (u128::from(jitter_hash(id, attempts)) * (widest + 1)) >> 64;
        Span::from_nanos(pause.saturating_add(u64::try_from(jitter).unwrap_or(u64::MAX)))
    }
}

fn jitter_hash(id: &MessageId, attempts: u32) -> u64 {
    let mut bytes = id.stream.as_str().as_bytes().to_vec();
    bytes.extend_from_slice(&id.id.to_be_bytes());
    bytes.extend_from_slice(&attempts.to_be_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamName;
    use silvertine_engine::pos::Pos;

    fn id(seq: u64) -> MessageId {
        MessageId { stream: StreamName::new("a:b").expect("a name"), id: Pos { ms: 1, seq } }
    }

    fn pauses(policy: &RetryPolicy) -> Vec<String> {
        let policy = RetryPolicy { jitter_percent: 0, ..policy.clone() };
        let outcome = |attempts| policy.decide(&id(1), attempts, Nanos::ZERO, Nanos::ZERO);
        let pauses = (1..).map(outcome).map_while(|next| match next {
            RetryDecision::Retry(pause) => Some(pause.to_string()),
            _ => None,
        });
        pauses.collect()
    }

    #[test]
    fn pauses_double_from_one_to_sixteen_seconds_and_then_the_message_is_dead() {
        assert_eq!(pauses(&RetryPolicy::default()), ["1s", "2s", "4s", "8s", "16s"]);
    }

    #[test]
    fn three_attempts_with_base_four_pause_one_four_and_sixteen_seconds() {
        let policy = RetryPolicy::default().with_environment(Some("3"), Some("4")).expect("valid");
        assert_eq!(pauses(&policy), ["1s", "4s", "16s"]);
        for nonsense in ["", "-1", "x", "1001", "2.5"] {
            assert!(RetryPolicy::default().with_environment(Some(nonsense), None).is_err());
        }
        assert!(RetryPolicy::default().with_environment(None, Some("0")).is_err());
    }

    #[test]
    fn jitter_is_bounded_differs_between_messages_and_never_between_askers() {
        let policy = RetryPolicy { jitter_percent: 50, ..RetryPolicy::default() };
        let pauses: Vec<u64> = (0..100).map(|n| policy.pause(&id(n), 1).as_nanos()).collect();
        let bounds = 1_000_000_000..=1_500_000_000;
        assert!(pauses.iter().all(|pause| bounds.contains(pause)));
        let mut distinct = pauses.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 90, "{} of 100 differ", distinct.len());
        let again: Vec<u64> = (0..100).map(|n| policy.pause(&id(n), 1).as_nanos()).collect();
        assert_eq!(pauses, again);
    }

    #[test]
    fn a_message_that_would_be_too_old_is_not_tried_again() {
        let policy = RetryPolicy { age_max: Some(Span::from_secs(10)), ..RetryPolicy::default() };
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        assert!(matches!(policy.decide(&id(1), 1, at(0), at(5)), RetryDecision::Retry(_)));
        assert_eq!(policy.decide(&id(1), 1, at(0), at(10)), RetryDecision::Expired);
    }
}
