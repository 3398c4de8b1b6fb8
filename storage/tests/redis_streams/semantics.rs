//! A message's way through a group.

use std::time::{Duration, Instant};

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    FetchScope, LaneOrder, Message, MessageId, Publication, Settled, Start, StreamName, StreamSpec,
    Streams, Tries, Why,
};

use crate::fixture::{
    Fixture, both, done, group_spec, keyed, member, message, numbered, release, retry, run, spec,
    spec_with, stream, texts,
};

#[test]
fn a_message_is_delivered_retried_reclaimed_and_done_once() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let ids = fixture.publish(vec![message("start")]).await;
        let first = fixture.fetch("a").await.deliveries;
        assert_eq!((first[0].why, first[0].message.as_ref()), (Why::New, Some(&message("start"))));
        let id = first[0].id.clone();
        assert_eq!((&id.stream, id.id), (&stream(), ids[0]));
        assert_eq!(fixture.counts().await.held, 1);

        assert_eq!(
            fixture.settle("a", &[retry(&id, 1, Span::from_millis(150))]).await,
            [Settled::Applied]
        );
        let early = fixture.fetch("b").await;
        assert_eq!(early.deliveries, []);
        assert!(early.next_due.is_some_and(|due| due <= Span::from_millis(150)), "{early:?}");
        assert_eq!(fixture.counts().await.retrying, 1);
        let due = fixture.fetch_until("b").await;
        assert_eq!((due[0].why, due[0].tries.attempts, due[0].deliveries), (Why::Due, 1, 2));

        let until = Instant::now();
        let reclaimed = fixture.fetch_until("a").await;
        assert!(until.elapsed() >= Duration::from_millis(250), "{:?}", until.elapsed());
        assert_eq!((reclaimed[0].why, reclaimed[0].deliveries), (Why::Reclaimed, 3));
        assert_eq!(reclaimed[0].tries.attempts, 1);
        assert_eq!(fixture.settle("a", &[done(&id)]).await, [Settled::Applied]);
        assert_eq!(fixture.settle("b", &[done(&id)]).await, [Settled::Lost]);
        let counts = fixture.counts().await;
        assert_eq!((counts.done, counts.accounted(), counts.oldest), (1, 1, None));
    });
}

#[test]
fn a_plain_producer_in_any_language_takes_part() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.server.send("XADD mgmt:trading:commands * action start type command");
        let delivered = fixture.fetch_new("a").await;
        let fields = Message::default().with("action", "start").with("type", "command");
        assert_eq!(delivered[0].message, Some(fields));
        assert!(
            fixture
                .server
                .send("XPENDING mgmt:trading:commands trading_consumers")
                .contains("$1\r\na")
        );
    });
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 25)).await;
        fixture.fetch_new("a").await;
        fixture.fetch_new("a").await;
        let own = fixture
            .fetch_with("a", |fetch| fetch.scope = FetchScope::WithOwn)
            .await
            .expect("fetches")
            .deliveries;
        assert_eq!(own.len(), 20, "beyond the limit, and nothing new");
        assert!(own.iter().all(|one| one.why == Why::Own && one.deliveries == 2));
        assert_eq!(fixture.fetch_new("a").await.len(), 5);
    });
}

#[test]
fn what_was_done_under_a_key_is_a_duplicate_and_emits_nothing() {
    run(async {
        let out = StreamName::new("mgmt:results").expect("a name");
        let both = vec![spec(), StreamSpec::new(out.clone())];
        let fixture = Fixture::on(crate::redis_server::RedisServer::start(), both).await;
        let emit = || vec![Publication::new(out.clone(), message("result"))];
        fixture.publish(vec![message("1").with_key("k"), message("2").with_key("k")]).await;
        let both = fixture.fetch_new("a").await;
        assert!(!both[0].done && !both[1].done);
        let settlements = [keyed(&both[0].id, "k", emit()), keyed(&both[1].id, "k", emit())];
        let settled = fixture.settle("a", &settlements).await;
        assert_eq!(settled, [Settled::Applied, Settled::Duplicate]);
        assert_eq!(fixture.settle("a", &settlements).await, [Settled::Lost; 2]);
        let results = fixture.streams.read(&out, Pos::ZERO, 10).await.expect("reads");
        assert_eq!(results.len(), 1);

        fixture.publish(vec![message("3").with_key("k"), message("4").with_key("other")]).await;
        let later = fixture.fetch_new("b").await;
        assert_eq!((later[0].done, later[1].done), (true, false));
        fixture.settle("b", &[release(&later[0].id)]).await;
        assert!(fixture.fetch("b").await.deliveries[0].done, "a script knows it too");
        let counts = fixture.counts().await;
        assert_eq!((counts.done, counts.duplicates, counts.held), (1, 1, 2));
    });
}

#[test]
fn keys_are_forgotten_when_the_window_has_passed() {
    run(async {
        let mut group = group_spec();
        group.idempotency_window = Span::from_millis(50);
        let fixture = Fixture::new(StreamSpec::new(stream()).with_group(group)).await;
        for _ in 0..2 {
            fixture.publish(vec![message("1").with_key("k")]).await;
            let one = fixture.fetch_new("a").await;
            assert!(!one[0].done);
            assert_eq!(
                fixture.settle("a", &[keyed(&one[0].id, "k", vec![])]).await,
                [Settled::Applied]
            );
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
    });
}

#[test]
fn a_retry_stands_in_nobodys_way_and_one_that_left_releases_all() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 4)).await;
        let all = fixture.fetch_new("a").await;
        fixture.settle("a", &[retry(&all[0].id, 1, Span::from_secs(3600)), done(&all[1].id)]).await;
        fixture.streams.leave(&member("a"), Nanos::ZERO).await.expect("leaves");
        fixture.streams.leave(&member("a"), Nanos::ZERO).await.expect("leaves again");
        let rest = fixture.fetch("b").await;
        assert_eq!(texts(&rest.deliveries), ["2", "3"]);
        assert!(rest.deliveries.iter().all(|one| one.why == Why::Due));
        assert!(rest.next_due > Some(Span::from_secs(3590)));
        let counts = fixture.counts().await;
        assert_eq!((counts.held, counts.retrying, counts.done, counts.members), (2, 1, 1, 1));
    });
}

#[test]
fn tries_are_put_on_record_by_the_member_that_holds_the_message_alone() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 1)).await;
        let id = fixture.fetch_new("a").await[0].id.clone();
        let tries = Tries { starts: 1, ..Tries::default() };
        let begin = async |name: &str| {
            let tries = [(id.clone(), tries)];
            fixture.streams.begin(&member(name), &tries, Nanos::ZERO).await.expect("begins")
        };
        assert_eq!(begin("a").await, [true]);
        assert_eq!(begin("b").await, [false]);
        let held = [id.clone(), MessageId { stream: stream(), id: Pos { ms: 1, seq: 1 } }];
        let lost = fixture.streams.extend(&member("a"), &held, Nanos::ZERO).await.expect("extends");
        assert_eq!(lost, held[1..]);
        let reclaimed = fixture.fetch_until("b").await;
        assert_eq!((reclaimed[0].why, reclaimed[0].tries), (Why::Reclaimed, tries));
        assert_eq!(fixture.settle("a", &[release(&id)]).await, [Settled::Lost]);
    });
}

#[test]
fn a_member_that_extends_is_alive() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 1)).await;
        let held = [fixture.fetch_new("a").await[0].id.clone()];
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            fixture.streams.extend(&member("a"), &held, Nanos::ZERO).await.expect("extends");
            assert_eq!(fixture.fetch("b").await.deliveries, []);
        }
    });
}

#[test]
fn urgent_lanes_come_first_unless_the_turn_is_reversed() {
    run(async {
        let urgent = spec_with(|spec| spec.lanes = vec!["urgent".to_owned(), "soon".to_owned()]);
        let fixture = Fixture::new(urgent).await;
        let lanes = [stream(), stream().lane("urgent"), stream().lane("soon")];
        for lane in &lanes {
            let messages = ["1", "2"].map(|n| message(&format!("{lane} {n}")));
            fixture.publish_to(lane, messages.to_vec()).await.expect("publishes");
        }
        let first =
            fixture.fetch_with("a", |fetch| fetch.limit = 3).await.expect("fetches").deliveries;
        let urgent = lanes[1].to_string();
        let soon = lanes[2].to_string();
        assert_eq!(
            texts(&first),
            [format!("{urgent} 1"), format!("{urgent} 2"), format!("{soon} 1")]
        );
        let reversed = fixture
            .fetch_with("a", |fetch| fetch.lanes = LaneOrder::UrgentLast)
            .await
            .expect("fetches");
        let base = stream().to_string();
        assert_eq!(
            texts(&reversed.deliveries),
            [format!("{base} 1"), format!("{base} 2"), format!("{soon} 2")]
        );
        let ids: Vec<_> =
            first.iter().chain(&reversed.deliveries).map(|one| done(&one.id)).collect();
        assert_eq!(fixture.settle("a", &ids).await, [Settled::Applied; 6]);
        for lane in &lanes {
            assert_eq!(fixture.stats_of(lane).await.groups[0].done, 2, "{lane}");
        }
    });
}

#[test]
fn a_poll_waits_for_the_first_message_on_any_lane_and_for_no_longer_than_asked() {
    run(async {
        let lanes = spec_with(|spec| spec.lanes = vec!["urgent".to_owned()]);
        let fixture = Fixture::new(lanes).await;
        let streams = [stream(), stream().lane("urgent"), stream().redrives(&member("a").group)];
        for limit in [1, 10] {
            for at in &streams {
                let wait = Duration::from_secs(60);
                let polling =
                    fixture.fetch_with("a", |fetch| (fetch.wait, fetch.limit) = (wait, limit));
                let publishing = async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    fixture.publish_to(at, vec![message("x")]).await.expect("publishes");
                };
                let (polled, ()) = both(polling, publishing).await;
                let polled = polled.expect("fetches").deliveries;
                assert_eq!((polled.len(), &polled[0].id.stream), (1, at));
                fixture.settle("a", &[done(&polled[0].id)]).await;
            }
            let before = Instant::now();
            let wait = Duration::from_millis(80);
            let nothing =
                fixture.fetch_with("a", |fetch| (fetch.wait, fetch.limit) = (wait, limit)).await;
            assert_eq!(nothing.expect("fetches").deliveries, []);
            assert!(before.elapsed() >= Duration::from_millis(75));
        }
    });
}

#[test]
fn many_members_of_one_process_wait_side_by_side() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let wait = |fetch: &mut silvertine_streams::Fetch<'_>| {
            fetch.wait = Duration::from_secs(60);
        };
        let publishing = async {
            for n in 0..3 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                fixture.publish(vec![message(&n.to_string())]).await;
            }
        };
        let members = both(fixture.fetch_with("a", wait), fixture.fetch_with("b", wait));
        let ((a, b), (c, ())) =
            both(members, both(fixture.fetch_with("c", wait), publishing)).await;
        let got = [a, b, c].map(|polled| texts(&polled.expect("fetches").deliveries).concat());
        let mut sorted = got.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["0", "1", "2"]);
    });
}

#[test]
fn relayed_messages_keep_their_ids_and_are_there_once() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let relayed: Vec<(Pos, Publication)> = (1..=5)
            .map(|n| (Pos { ms: 1000 + n, seq: n }, Publication::new(stream(), message("x"))))
            .collect();
        let relay = async |messages: &[(Pos, Publication)]| {
            fixture.streams.relay(messages, Nanos::ZERO).await.expect("relays")
        };
        assert_eq!(relay(&relayed[..3]).await, 3);
        assert_eq!(relay(&relayed).await, 2);
        assert_eq!(relay(&relayed).await, 0);
        let read = fixture.streams.read(&stream(), relayed[1].0, 2).await.expect("reads");
        assert_eq!(
            read.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [relayed[2].0, relayed[3].0]
        );
        assert_eq!(fixture.fetch_new("a").await.len(), 5);
    });
}

#[test]
fn a_group_that_starts_at_the_end_counts_from_there() {
    run(async {
        let mut group = group_spec();
        group.start = Start::End;
        let early = Fixture::new(StreamSpec::new(stream())).await;
        early.publish(numbered(0, 5)).await;
        let fixture =
            Fixture::on(early.server, vec![StreamSpec::new(stream()).with_group(group)]).await;
        fixture.publish(numbered(5, 7)).await;
        let stats = fixture.stats().await;
        assert_eq!((stats.added, stats.groups[0].waiting), (7, 2));
        assert_eq!(texts(&fixture.fetch_new("a").await), ["5", "6"]);
        assert_eq!(fixture.stats().await.groups[0].accounted(), 2);
    });
}

#[test]
fn declaring_again_changes_nothing() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 3)).await;
        let held = fixture.fetch_new("a").await;
        fixture.settle("a", &[done(&held[0].id)]).await;
        let before = fixture.stats().await;
        fixture.streams.declare(Nanos::ZERO).await.expect("declares again");
        let after = fixture.stats().await;
        assert_eq!(before.groups[0].accounted(), after.groups[0].accounted());
        assert_eq!((after.groups[0].held, after.groups[0].done), (2, 1));
    });
}

#[test]
fn each_settlement_of_a_batch_that_was_settled_in_part_is_told_apart() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 300)).await;
        let mut held = Vec::new();
        while held.len() < 300 {
            held.extend(fixture.fetch_new("a").await);
        }
        let settlements: Vec<_> = held.iter().map(|one| done(&one.id)).collect();
        for one in settlements.chunks(1).step_by(3) {
            fixture.settle("b", one).await;
        }
        let twice: Vec<_> = settlements.iter().chain(&settlements[..1]).cloned().collect();
        let settled = fixture.settle("a", &twice).await;
        for (at, settled) in settled.iter().enumerate() {
            let lost = at % 3 == 0;
            assert_eq!(*settled, if lost { Settled::Lost } else { Settled::Applied }, "{at}");
        }
        fixture.publish(numbered(0, 1)).await;
        let one = done(&fixture.fetch_new("a").await[0].id);
        assert_eq!(
            fixture.settle("a", &[one.clone(), one.clone()]).await,
            [Settled::Applied, Settled::Lost]
        );
        assert_eq!(fixture.settle("a", &[one.clone(), one]).await, [Settled::Lost; 2]);
        assert_eq!(fixture.counts().await.done, 301);
    });
}
