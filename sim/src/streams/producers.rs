//! Producers: each publishes its messages in order, a few at a time, and again when it does not know what became of them.

use silvertine_streams::{Publication, Streams};

use super::{
    fault::Fault,
    network::Network,
    op::{Client, Request},
    plan::{MS, Plan},
    stage::{Event, Stage},
};

/// Messages in one request at most.
const BATCH_MAX: u64 = 3;

#[derive(Default)]
struct Producer {
    /// Places of its messages in [`Plan::sends`].
    sends: Vec<usize>,
    /// How many of them are acknowledged.
    acknowledged: usize,
    /// How many are under way.
    batch: usize,
}

pub(super) struct Producers(Vec<Producer>);

impl Producers {
    pub(super) fn new(plan: &Plan, stage: &mut Stage<'_>) -> Self {
        let last = plan.sends.iter().map(|send| send.producer).max().unwrap_or(0);
        let count = last as usize + 1;
        let mut producers: Vec<_> = (0..count).map(|_| Producer::default()).collect();
        for (at, send) in plan.sends.iter().enumerate() {
            producers[send.producer as usize].sends.push(at);
        }
        for producer in 0..count {
            stage.at(0, Event::Produce(producer));
        }
        Self(producers)
    }

    /// Whether everything is published and acknowledged.
    pub(super) fn are_done(&self) -> bool {
        self.0.iter().all(|producer| producer.acknowledged == producer.sends.len())
    }

    /// A producer publishes what is due, unless it waits for an answer.
    pub(super) fn produce<S: Streams>(
        &mut self,
        producer: usize,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        let one = &mut self.0[producer];
        if one.batch > 0 {
            return;
        }
        let plan = stage.plan;
        let left = &one.sends[one.acknowledged..];
        let Some(&first) = left.first() else { return };
        if plan.sends[first].at_ns > stage.now_ns() {
            stage.at(plan.sends[first].at_ns, Event::Produce(producer));
            return;
        }
        let most = 1 + stage.dice.below(BATCH_MAX) as usize;
        let due = left.iter().copied().take(most);
        let due: Vec<usize> =
            due.filter(|&send| plan.sends[send].at_ns <= stage.now_ns()).collect();
        one.batch = due.len();
        let client = Client::Producer(producer as u32);
        let mut publications = Vec::with_capacity(due.len());
        for send in due {
            let label = plan.sends[send].label;
            publications.push(Publication::new(plan.stream_of(label), plan.message(label)));
            if plan.sends[..send].iter().any(|before| before.label == label) {
                stage.strike(client, Fault::Twice);
            }
        }
        network.send(client, Request::Publish(publications), stage);
    }

    /// The store has answered a producer, or has not.
    pub(super) fn answered<S: Streams>(
        &mut self,
        producer: usize,
        well: bool,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        let one = &mut self.0[producer];
        let batch = std::mem::take(&mut one.batch);
        if well {
            one.acknowledged += batch;
            self.produce(producer, network, stage);
        } else {
            let pause_ns = MS * (20 + stage.dice.below(200));
            stage.at(stage.now_ns() + pause_ns, Event::Produce(producer));
        }
    }
}
