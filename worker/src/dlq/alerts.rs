//! Telling the monitoring stream when dead letters need somebody's attention.

use std::collections::BTreeMap;

use silvertine_streams::{Message, Publication, StoreError, StreamName, Streams};

use super::{DeadLetters, Filter};
use crate::clock::now;

/// Where alerts are published, if the topology has it.
const MONITORING: &str = "monitoring:events";
/// The record of what was published last, so that of many workers one publishes it.
const SAID: &str = "alerts";

/// Looks whether a stream's limits are passed, and publishes what has changed since somebody last looked. Returns what is
/// wrong now.
///
/// # Errors
/// The store fails; looking again is safe.
pub async fn watch_alerts<S: Streams>(letters: &DeadLetters<S>) -> Result<Vec<String>, StoreError> {
    let (streams, stream) = (&letters.streams, &letters.stream);
    let Some(spec) = streams.topology().stream(stream) else { return Ok(Vec::new()) };
    let limits = &spec.alerts;
    if limits.depth.is_none() && limits.growth_per_minute.is_none() && limits.age.is_none() {
        return Ok(Vec::new());
    }
    let alerts = letters.stats(&Filter::default()).await?.alerts(limits);
    // Numbers grow all the time; what matters is which limits are passed.
    let which: Vec<&str> = alerts.iter().filter_map(|alert| alert.rsplit(", ").next()).collect();
    let now_said = serde_json::to_vec(&which).expect("texts serialize");
    let said = streams.record(stream, SAID).await?;
    let nothing_new = said.as_deref().unwrap_or(b"[]") == now_said;
    let Ok(monitoring) = StreamName::new(MONITORING) else { return Ok(alerts) };
    if nothing_new || streams.topology().stream(&monitoring).is_none() {
        return Ok(alerts);
    }
    if streams.swap_record(stream, SAID, said.as_deref(), Some(&now_said)).await? {
        let event = BTreeMap::from([
            ("stream", serde_json::json!(stream)),
            ("alerts", serde_json::json!(alerts)),
        ]);
        let message = Message::json(&event).expect("an alert has no map of other keys");
        let message = message.with_type("dead_letter_alert");
        streams.publish(&[Publication::new(monitoring, message)], now()).await?;
    }
    Ok(alerts)
}
