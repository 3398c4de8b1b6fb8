//! What a worker does for the dead letters of its stream: it redrives them once its circuit has closed again, and
//! looks whether there are more of them than somebody wants to be told of.

use std::time::Duration;

use silvertine_engine::{stop::StopFlag, time::Nanos};
use silvertine_streams::{MemberConfig, Streams};

use crate::{
    clock::now,
    dlq::{Actor, DeadLetters, RedriveOptions, Redriver, watch_alerts},
    notice,
};

/// How often a worker looks whether dead letters need somebody's attention, where limits are set.
const ALERTS_EVERY: Duration = Duration::from_secs(60);

/// What a worker has done for its dead letters so far. Dropped with its worker, it stops what it has started.
pub(crate) struct Tending {
    /// How often the circuit had closed again when dead letters were last redriven.
    redriven_at: u64,
    /// When it was last looked whether dead letters need attention.
    looked: Nanos,
    /// Raised when the worker is gone.
    over: StopFlag,
}

impl Drop for Tending {
    fn drop(&mut self) {
        self.over.request();
    }
}

impl Tending {
    /// Nothing done yet, at `now`.
    pub(crate) fn new(now: Nanos) -> Self {
        Self { redriven_at: 0, looked: now, over: StopFlag::default() }
    }

    /// Starts whatever is to be done by now. `circuit_closed` is how often the circuit has closed again.
    pub(crate) fn tend<S: Streams>(
        &mut self,
        streams: &S,
        config: &MemberConfig,
        circuit_closed: u64,
        stop: &StopFlag,
    ) {
        let time = now();
        let redrive = config.group.auto_redrive && circuit_closed > self.redriven_at;
        let look = time >= self.looked.saturating_add(ALERTS_EVERY);
        if !redrive && !look {
            return;
        }
        let actor = Actor {
            who: format!("worker {}", config.member.consumer),
            why: "the circuit has closed again".to_owned(),
        };
        let letters = DeadLetters::new(streams.clone(), config.member.stream.clone(), actor);
        if look {
            self.looked = time;
            tokio::spawn(look_at_alerts(letters.clone()));
        }
        if redrive {
            self.redriven_at = circuit_closed;
            let options = RedriveOptions::default().with_rate(config.group.redrive_per_second);
            let redriver = Redriver::new(letters, config.member.group.clone(), options);
            let (stop, over) = (stop.clone(), self.over.clone());
            tokio::spawn(async move {
                let stops = || stop.is_requested() || over.is_requested();
                match redriver.run(stops).await {
                    Ok(Some(state)) => tracing::info!(?state, "dead letters were redriven"),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "redriving dead letters failed"),
                }
            });
        }
    }
}

async fn look_at_alerts<S: Streams>(letters: DeadLetters<S>) {
    match watch_alerts(&letters).await {
        Ok(alerts) => {
            alerts.iter().for_each(|alert| tracing::warn!(target: notice::TARGET, "{alert}"));
        }
        Err(error) => tracing::warn!(%error, "looking at the dead letters failed"),
    }
}
