//! A message's way through a store, step by step.

use std::time::Duration;

use silvertine::{
    engine::{
        span::Span,
        time::Nanos,
        worker::{
            ConsumerName, GroupName, GroupSpec, Member, Message, Poll, Polled, Publication,
            Settled, Settlement, StreamName, StreamSpec, Streams, Topology, Tries, Verdict, Why,
        },
    },
    sim::executor::block_on,
    storage::streams::MemoryStreams,
};

fn at(seconds: u64) -> Nanos {
    Nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
}

fn stream() -> StreamName {
    StreamName::new("mgmt:trading:commands").expect("a name")
}

fn member(name: &str) -> Member {
    Member {
        stream: stream(),
        group: GroupName::new("trading_consumers").expect("a name"),
        consumer: ConsumerName::new(name).expect("a name"),
    }
}

fn poll(streams: &impl Streams, member: &Member, now: Nanos, own: bool) -> Polled {
    let poll = Poll {
        member,
        limit: 10,
        wait: Duration::ZERO,
        own,
        tend: true,
        reverse: false,
        reclaim_after: Span::from_secs(30),
        now,
    };
    block_on(streams.poll(&poll)).expect("polls")
}

#[test]
fn a_message_is_delivered_retried_reclaimed_and_done_once() {
    let spec = StreamSpec::new(stream()).with_group(GroupSpec::new(member("a").group));
    let topology = Topology { streams: vec![spec], ..Topology::default() };
    let streams = MemoryStreams::in_memory(topology);
    block_on(streams.declare(at(0))).expect("declares");
    let message = Message::json("start").expect("serializes");
    let published = [Publication::new(stream(), message.clone())];
    block_on(streams.publish(&published, at(0))).expect("publishes");

    let (a, b) = (member("a"), member("b"));
    let first = poll(&streams, &a, at(1), true).deliveries;
    assert_eq!((first[0].why, first[0].message.as_ref()), (Why::New, Some(&message)));
    let id = first[0].id.clone();
    let retry = Verdict::Retry {
        tries: Tries { attempts: 1, ..Tries::default() },
        after: Span::from_secs(2),
    };
    let settle = |member, verdict, now| {
        let settlements = [Settlement { id: id.clone(), verdict }];
        block_on(streams.settle(member, &settlements, now)).expect("settles")[0]
    };
    assert_eq!(settle(&a, retry, at(1)), Settled::Applied);
    let early = poll(&streams, &b, at(2), false);
    assert_eq!((early.deliveries.len(), early.next_due), (0, Some(Span::from_secs(1))));
    let due = poll(&streams, &b, at(3), false).deliveries;
    assert_eq!((due[0].why, due[0].tries.attempts, due[0].deliveries), (Why::Due, 1, 2));
    assert_eq!(poll(&streams, &a, at(32), false).deliveries, []);
    let reclaimed = poll(&streams, &a, at(34), false).deliveries;
    assert_eq!(reclaimed[0].why, Why::Reclaimed);
    let done = Verdict::Done { key: "k".to_owned(), emit: vec![] };
    assert_eq!(settle(&a, done.clone(), at(35)), Settled::Applied);
    assert_eq!(settle(&b, done, at(35)), Settled::Lost);
    let stats = block_on(streams.stream_stats(&stream(), at(36))).expect("reads").expect("there");
    assert_eq!((stats.groups[0].done, stats.groups[0].accounted()), (1, stats.added));
}
