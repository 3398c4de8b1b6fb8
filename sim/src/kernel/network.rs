//! The network between a client and a server: the fate of a request, and what the client learns of it.
//!
//! A request takes effect at one time and is answered at another, and a fault can prevent, delay or repeat
//! either. What matters to a client is whether it *knows*: an answer and a refusal are certain, and after a time-out
//! the request may have taken effect, may still do so, or never will.

use serde::{Deserialize, Serialize};
use silvertine_engine::{log::Applied, rng::Rng};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, takes effect and is answered.
    #[default]
    Normal,
    /// It never arrives; the client times out.
    LostRequest,
    /// It takes effect and its reply is lost; the client times out.
    LostReply,
    /// The client times out, and the request takes effect so much later.
    LateEffect {
        /// Time between the client's giving up and the effect, in nanoseconds.
        after_ns: u64,
    },
    /// It takes effect, and once more so much later; the client hears of the first effect.
    SentTwice {
        /// Time between the two effects, in nanoseconds.
        after_ns: u64,
    },
    /// It takes so much longer to arrive.
    Slow {
        /// Time on top of the usual way, in nanoseconds.
        by_ns: u64,
    },
    /// The connection is refused; the client knows that nothing took effect.
    Refused,
}

/// When things happen to a request that nothing strikes, in nanoseconds of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// It reaches the server.
    pub arrives_ns: u64,
    /// The client hears that the connection was refused, if it is.
    pub refused_ns: u64,
    /// The client stops waiting for an answer.
    pub gives_up_ns: u64,
}

/// What a fate comes to: the effects on the server, and what the client is told besides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When the request reaches the server: never, once or twice.
    pub effects_ns: [Option<u64>; 2],
    /// What the client is told, and when, whatever the server answers; `None` when it gets the server's answer.
    pub told: Option<(u64, Told)>,
}

/// What a client is told that gets no answer from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The connection was refused: nothing was sent.
    Refused,
    /// No answer came in time.
    TimedOut,
    /// The connection broke while the client waited.
    Reset,
}

impl Fate {
    /// What this fate comes to for a request with this timing.
    #[must_use]
    pub const fn course(self, timing: Timing) -> Course {
        let Timing { arrives_ns, refused_ns, gives_up_ns } = timing;
        let timed_out = Some((gives_up_ns, Told::TimedOut));
        let (effects_ns, told) = match self {
            Self::Normal => ([Some(arrives_ns), None], None),
            Self::LostRequest => ([None, None], timed_out),
            Self::LostReply => ([Some(arrives_ns), None], timed_out),
            Self::LateEffect { after_ns } => {
                ([Some(gives_up_ns.saturating_add(after_ns)), None], timed_out)
            }
            Self::SentTwice { after_ns } => {
                ([Some(arrives_ns), Some(arrives_ns.saturating_add(after_ns))], None)
            }
            Self::Slow { by_ns } => ([Some(arrives_ns.saturating_add(by_ns)), None], None),
            Self::Refused => ([None, None], Some((refused_ns, Told::Refused))),
        };
        Course { effects_ns, told }
    }
}

impl Told {
    /// Whether the request may have taken effect, or may still do so.
    #[must_use]
    pub const fn applied(self) -> Applied {
        match self {
            Self::Refused => Applied::No,
            Self::TimedOut | Self::Reset => Applied::Maybe,
        }
    }

    /// The words of the error.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::TimedOut => "no answer in time",
            Self::Reset => "connection reset by peer",
        }
    }
}

/// How often each fate falls to a request, in requests of a thousand; the rest is normal. For planes that draw the fate of
/// every request instead of planning single ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// [`Fate::LostRequest`].
    pub lost_request: u64,
    /// [`Fate::LostReply`].
    pub lost_reply: u64,
    /// [`Fate::LateEffect`].
    pub late_effect: u64,
    /// [`Fate::Refused`].
    pub refused: u64,
    /// [`Fate::Slow`].
    pub slow: u64,
    /// [`Fate::SentTwice`].
    pub sent_twice: u64,
}

/// How much later than usual drawn fates happen at most, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// [`Fate::LateEffect`] and [`Fate::SentTwice`].
    pub late_ns: u64,
    /// [`Fate::Slow`].
    pub slow_ns: u64,
}

impl Rates {
    /// Whether every request has a normal fate.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        *self == Self::default()
    }

    /// Draws the fate of one request: one number for the kind, and one more for a delay where there is one.
    pub fn draw(&self, rng: &mut Rng, delays: Delays) -> Fate {
        let Self { lost_request, lost_reply, late_effect, refused, slow, sent_twice } = *self;
        let mut drawn = rng.below(1000);
        let mut falls = |rate: u64| {
            let falls = drawn < rate;
            // Behind the one that fell, no other is asked.
            drawn = drawn.saturating_sub(rate);
            falls
        };
        if falls(lost_request) {
            Fate::LostRequest
        } else if falls(lost_reply) {
            Fate::LostReply
        } else if falls(late_effect) {
            Fate::LateEffect { after_ns: rng.below(delays.late_ns) }
        } else if falls(refused) {
            Fate::Refused
        } else if falls(slow) {
            Fate::Slow { by_ns: rng.below(delays.slow_ns) }
        } else if falls(sent_twice) {
            Fate::SentTwice { after_ns: rng.below(delays.late_ns) }
        } else {
            Fate::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { arrives_ns: 10, refused_ns: 12, gives_up_ns: 100 };
    const ALL: [Fate; 7] = [
        Fate::Normal,
        Fate::LostRequest,
        Fate::LostReply,
        Fate::LateEffect { after_ns: 5 },
        Fate::SentTwice { after_ns: 5 },
        Fate::Slow { by_ns: 5 },
        Fate::Refused,
    ];

    #[test]
    fn a_client_that_is_told_for_certain_is_told_the_truth() {
        for fate in ALL {
            let course = fate.course(TIMING);
            let is_certain = course.told.is_some_and(|(_, told)| told.applied() == Applied::No);
            let has_effect = course.effects_ns[0].is_some();
            assert!(!(is_certain && has_effect), "{fate:?}");
            assert!(course.told.is_some() || has_effect, "{fate:?} is answered by nobody");
        }
    }

    #[test]
    fn a_late_effect_comes_behind_the_time_out_and_a_second_one_behind_the_first() {
        let late = Fate::LateEffect { after_ns: 5 }.course(TIMING);
        assert_eq!(late.effects_ns, [Some(105), None]);
        assert_eq!(late.told, Some((100, Told::TimedOut)));
        let twice = Fate::SentTwice { after_ns: 5 }.course(TIMING);
        assert_eq!((twice.effects_ns, twice.told), ([Some(10), Some(15)], None));
    }

    #[test]
    fn each_fate_is_drawn_as_often_as_its_rate_says() {
        let each = 100;
        let rates = Rates {
            lost_request: each,
            lost_reply: each,
            late_effect: each,
            refused: each,
            slow: each,
            sent_twice: each,
        };
        let mut rng = Rng::new(1);
        let delays = Delays { late_ns: 1, slow_ns: 1 };
        let mut normal = 0;
        let mut others = [0_u32; 6];
        for _ in 0..20_000 {
            match rates.draw(&mut rng, delays) {
                Fate::Normal => normal += 1,
                Fate::LostRequest => others[0] += 1,
                Fate::LostReply => others[1] += 1,
                Fate::LateEffect { .. } => others[2] += 1,
                Fate::Refused => others[3] += 1,
                Fate::Slow { .. } => others[4] += 1,
                Fate::SentTwice { .. } => others[5] += 1,
            }
        }
        assert!((7_600..8_400).contains(&normal), "{normal}");
        assert!(others.iter().all(|count| (1_800..2_200).contains(count)), "{others:?}");
        let calm = Rates::default();
        assert!(calm.is_calm() && calm.draw(&mut rng, delays) == Fate::Normal);
    }
}
