//! Producers: they publish the inputs to the ingress.

use silvertine_engine::log::{EventLog, IngressMessage};

use crate::log::{
    fault::FaultKind,
    world::client::{SimLog, Slept, sleep},
};

/// Messages that a producer publishes at once.
const PUBLISHED_AT_ONCE: usize = 7;
/// How many messages a producer that restarts sends again.
pub(super) const SENT_AGAIN: usize = 10;

/// Publishes the messages of a producer in order, each as often as it takes.
pub(super) async fn publish<L: EventLog + Default>(
    log: &SimLog<L>,
    number: usize,
    messages: &[IngressMessage],
) {
    let rest = |ns: u64| {
        let until = sleep(&log.world, log.process, ns);
        Slept { world: log.world.clone(), until }
    };
    let mut next = 0;
    loop {
        if std::mem::take(&mut log.world.lock().producers[number].resend) && next > 0 {
            next = usize::saturating_sub(next, SENT_AGAIN);
            log.world.lock().count_felt(FaultKind::ProducerRestart);
        }
        if next == messages.len() {
            return;
        }
        let end = (next + PUBLISHED_AT_ONCE).min(messages.len());
        match log.publish(&messages[next..end]).await {
            Ok(_) => {
                next = end;
                rest(3_000_000).await;
            }
            Err(_) => rest(250_000_000).await,
        }
    }
}
