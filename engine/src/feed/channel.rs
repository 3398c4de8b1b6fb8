//! Inputs from other threads of the same process, through one bounded queue per topic, each with its own policy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::{Feed, FeedError, Polled};
use crate::{
    event::{Invalid, Topic},
    source::Input,
};

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backpressure {
    /// The sender waits.
    #[default]
    Block,
    /// The sender gets an error and the engine stops with one.
    Halt,
    /// The event is dropped and counted. Not allowed for orders and fills.
    Drop,
}

/// Capacity and policy of each topic's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    capacity: [usize; Topic::ALL.len()],
    policy: [Backpressure; Topic::ALL.len()],
}

/// Why a queue cannot have a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// It would drop orders or fills.
    #[error("orders and fills are never dropped; choose block or halt")]
    DropsOrders,
    /// The capacity is zero.
    #[error("a queue holds at least one event")]
    NoCapacity,
}

impl Default for ChannelPolicy {
    fn default() -> Self {
        Self { capacity: [4096; 5], policy: [Backpressure::Block; 5] }
    }
}

impl ChannelPolicy {
    /// Sets one topic's capacity (at least one event) and policy.
    ///
    /// # Errors
    /// [`InvalidPolicy`]: orders and fills are never dropped, and a queue holds at least one event.
    pub fn with(
        mut self,
        topic: Topic,
        capacity: usize,
        policy: Backpressure,
    ) -> Result<Self, InvalidPolicy> {
        if policy == Backpressure::Drop && matches!(topic, Topic::Order | Topic::Fill) {
            return Err(InvalidPolicy::DropsOrders);
        }
        if capacity == 0 {
            return Err(InvalidPolicy::NoCapacity);
        }
        self.capacity[topic.index()] = capacity;
        self.policy[topic.index()] = policy;
        Ok(self)
    }
}

/// Why an input was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueFull {
    /// The queue is full and its policy is to halt; the engine stops too.
    #[error("the queue for {0} is full and its policy is to halt")]
    Halted(Topic),
    /// The event breaks a rule of its kind.
    #[error("refused at the door: {0}")]
    Invalid(Invalid),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// A queue into an engine; clones may be used by any number of threads.
#[derive(Clone, Debug)]
pub struct Publisher {
    policy: ChannelPolicy,
    /// One token per event in the queue; a full channel of tokens is a full queue.
    tokens: [Sender<()>; Topic::ALL.len()],
    events: Sender<Input>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: [AtomicU64; Topic::ALL.len()],
    /// Index of the topic whose queue overflowed, plus one; zero when none did.
    halted: AtomicUsize,
}

impl Publisher {
    /// Sends an input, in order with all others of this queue.
    ///
    /// # Errors
    /// [`QueueFull`] says why it was not sent. A dropped event is no error; it is counted.
    pub fn send(&self, input: Input) -> Result<(), QueueFull> {
        input.check().map_err(QueueFull::Invalid)?;
        let topic = input.body.topic();
        let tokens = &self.tokens[topic.index()];
        match tokens.try_send(()) {
            Ok(()) => {}
            Err(TrySendError::Disconnected(())) => return Err(QueueFull::Stopped),
            Err(TrySendError::Full(())) => match self.policy.policy[topic.index()] {
                Backpressure::Block => tokens.send(()).map_err(|_| QueueFull::Stopped)?,
                Backpressure::Halt => {
                    self.shared.halted.store(topic.index() + 1, Ordering::Release);
                    return Err(QueueFull::Halted(topic));
                }
                Backpressure::Drop => {
                    self.shared.dropped[topic.index()].fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            },
        }
        self.events.send(input).map_err(|_| QueueFull::Stopped)
    }

    /// Events of `topic` that were dropped.
    #[must_use]
    pub fn dropped(&self, topic: Topic) -> u64 {
        self.shared.dropped[topic.index()].load(Ordering::Relaxed)
    }
}

/// The engine's end of the queue. The feed ends when every [`Publisher`] is dropped.
///
/// Queued events are lost when the process ends: producers whose events must survive a crash publish to the partition's
/// ingress instead.
#[derive(Debug)]
pub struct ChannelFeed {
    policy: ChannelPolicy,
    tokens: [Receiver<()>; Topic::ALL.len()],
    events: Receiver<Input>,
    shared: Arc<Shared>,
    pending: Option<Input>,
}

/// Creates a queue into an engine.
#[must_use]
pub fn channel(policy: ChannelPolicy) -> (Publisher, ChannelFeed) {
    let pairs = policy.capacity.map(crossbeam_channel::bounded);
    let (senders, receivers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let senders: [_; 5] = senders.try_into().expect("one per topic");
    let receivers: [_; 5] = receivers.try_into().expect("one per topic");
    // Unbounded, but never longer than all tokens together.
    let (events, incoming) = crossbeam_channel::unbounded();
    let shared = Arc::new(Shared::default());
    let publisher = Publisher { policy, tokens: senders, events, shared: Arc::clone(&shared) };
    let feed = ChannelFeed { policy, tokens: receivers, events: incoming, shared, pending: None };
    (publisher, feed)
}

impl Feed for ChannelFeed {
    /// Blocks the thread, not only the task, for up to `wait`.
    async fn poll(&mut self, wait: Duration) -> Result<Polled, FeedError> {
        if let Some(index) = self.shared.halted.load(Ordering::Acquire).checked_sub(1) {
            let (topic, capacity) = (Topic::ALL[index], self.policy.capacity[index]);
            return Err(FeedError::QueueFull { topic, capacity });
        }
        if self.pending.is_none() {
            match self.events.recv_timeout(wait) {
                Ok(input) => {
                    let token = self.tokens[input.body.topic().index()].try_recv();
                    debug_assert!(token.is_ok(), "every event came with a token");
                    self.pending = Some(input);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(Polled::Idle),
                Err(RecvTimeoutError::Disconnected) => return Ok(Polled::End),
            }
        }
        Ok(self.pending.as_ref().map_or(Polled::Idle, |input| Polled::Ready(input.recv_time)))
    }

    fn take(&mut self) -> Input {
        self.pending.take().expect("poll must have found an input")
    }

    fn checkpoint(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _checkpoint: &[u8]) -> Result<(), FeedError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{
        event::{OperatorAction, System, Trade},
        numbers::{Price, Qty},
        text::{Name, Symbol},
        time::Nanos,
    };

    fn operator(source_seq: u64) -> Input {
        let name = Name::new("op").expect("valid");
        let body = System::Operator { action: OperatorAction::Kill, by: name }.into();
        let time = Nanos::ZERO;
        Input { source: name, source_seq, id: None, event_time: time, recv_time: time, body }
    }

    fn policy(capacity: usize, policy: Backpressure) -> ChannelPolicy {
        ChannelPolicy::default().with(Topic::System, capacity, policy).expect("allowed")
    }

    fn poll(feed: &mut ChannelFeed) -> Result<Polled, FeedError> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(feed.poll(Duration::ZERO)).poll(&mut context) {
            Poll::Ready(polled) => polled,
            Poll::Pending => unreachable!("a channel feed is always ready"),
        }
    }

    #[test]
    fn a_full_queue_with_drop_counts_what_it_drops() {
        let (publisher, mut feed) = channel(policy(2, Backpressure::Drop));
        for seq in 1..=5 {
            publisher.send(operator(seq)).expect("dropping is no error");
        }
        assert_eq!(publisher.dropped(Topic::System), 3);
        assert!(matches!(poll(&mut feed), Ok(Polled::Ready(_))));
        assert_eq!(feed.take().source_seq, 1);
        publisher.send(operator(6)).expect("there is room again");
        assert_eq!(publisher.dropped(Topic::System), 3);
    }

    #[test]
    fn a_full_queue_with_halt_stops_both_ends() {
        let (publisher, mut feed) = channel(policy(1, Backpressure::Halt));
        publisher.send(operator(1)).expect("there is room");
        assert_eq!(publisher.send(operator(2)), Err(QueueFull::Halted(Topic::System)));
        let expected = FeedError::QueueFull { topic: Topic::System, capacity: 1 };
        assert_eq!(poll(&mut feed), Err(expected));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a blocked sender needs a thread of its own")]
    fn a_full_queue_with_block_makes_the_sender_wait_and_keeps_order() {
        let (publisher, mut feed) = channel(policy(1, Backpressure::Block));
        let sender = std::thread::spawn(move || {
            (1..=100).for_each(|seq| publisher.send(operator(seq)).expect("the feed is there"));
        });
        let mut taken = Vec::new();
        loop {
            match poll(&mut feed).expect("no halt") {
                Polled::Ready(_) => taken.push(feed.take().source_seq),
                Polled::Idle => std::thread::yield_now(),
                Polled::End => break,
            }
        }
        sender.join().expect("the sender finishes");
        assert_eq!(taken, (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn orders_and_fills_cannot_be_dropped() {
        for topic in [Topic::Order, Topic::Fill] {
            assert!(ChannelPolicy::default().with(topic, 8, Backpressure::Drop).is_err());
        }
    }

    #[test]
    fn an_invalid_event_does_not_pass_the_door() {
        let (publisher, _feed) = channel(ChannelPolicy::default());
        let trade = Trade {
            symbol: Symbol::new("X").expect("valid"),
            trade_id: 1,
            price: Price::ZERO,
            qty: Qty::ZERO,
            aggressor: crate::event::Side::Buy,
        };
        let refused = publisher.send(Input { body: trade.into(), ..operator(1) });
        assert!(matches!(refused, Err(QueueFull::Invalid(_))));
        let late = publisher.send(Input { recv_time: Nanos::MAX, ..operator(1) });
        assert!(matches!(late, Err(QueueFull::Invalid(Invalid { field: "recv_time", .. }))));
    }
}
