//! Groups, streams and whole databases that somebody removes.

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{Regrouped, Settled, StreamSpec, Streams, Why};

use crate::fixture::{
    Fixture, dead, done, group, group_spec, keyed, message, numbered, retry, run, spec, stream,
    texts,
};

const DESTROY: &str = "XGROUP DESTROY mgmt:trading:commands trading_consumers";

#[test]
fn a_group_that_was_removed_goes_on_where_it_was() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 6)).await;
        let held =
            fixture.fetch_with("a", |fetch| fetch.limit = 5).await.expect("fetches").deliveries;
        let hour = Span::from_secs(3600);
        let settlements = [
            done(&held[0].id),
            keyed(&held[2].id, "k", vec![]),
            retry(&held[3].id, 2, hour),
            dead(&held[4].id, held[4].message.clone()),
        ];
        fixture.settle("a", &settlements).await;
        fixture.server.send(DESTROY);
        let polled = fixture.fetch("b").await;
        assert_eq!(polled.regrouped.len(), 1);
        let Regrouped { stream: regrouped, at } = &polled.regrouped[0];
        assert_eq!((regrouped, *at), (&stream(), Pos::ZERO));
        // The second was held, the last not delivered yet; the fourth still waits with what was on record.
        assert_eq!(texts(&polled.deliveries), ["1", "5"]);
        assert_eq!((polled.deliveries[0].why, polled.deliveries[1].why), (Why::Due, Why::New));
        assert!(polled.next_due > Some(Span::from_secs(3000)));
        assert_eq!(fixture.fetch("b").await.regrouped, []);
        let counts = fixture.counts().await;
        assert_eq!((counts.done, counts.dead, counts.held, counts.retrying), (2, 1, 2, 1));
    });
}

#[test]
fn a_settlement_finds_its_group_removed_and_takes_effect() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 3)).await;
        let held = fixture.fetch_new("a").await;
        fixture.server.send(DESTROY);
        assert_eq!(fixture.settle("a", &[done(&held[1].id)]).await, [Settled::Applied]);
        let rest = fixture.fetch("b").await;
        assert_eq!(
            (texts(&rest.deliveries), rest.regrouped.len()),
            (vec!["0".to_owned(), "2".to_owned()], 1)
        );
        fixture.counts().await;
    });
}

#[test]
fn a_group_begins_where_all_before_was_handled() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 5)).await;
        let held = fixture.fetch("a").await.deliveries;
        let settlements: Vec<_> = held[..3].iter().map(|one| done(&one.id)).collect();
        fixture.settle("a", &settlements).await;
        // A look notes how far all is handled.
        fixture.fetch("a").await;
        fixture.server.send("DEL {mgmt:trading:commands}:recent::trading_consumers");
        fixture.server.send(DESTROY);
        assert_eq!(texts(&fixture.fetch("b").await.deliveries), ["3", "4"]);
    });
}

#[test]
fn a_stream_that_was_deleted_and_a_flushed_server_begin_anew() {
    run(async {
        for command in ["DEL mgmt:trading:commands", "FLUSHALL"] {
            let fixture = Fixture::new(spec()).await;
            fixture.publish(numbered(0, 3)).await;
            let held = fixture.fetch_new("a").await;
            fixture.settle("a", &[retry(&held[0].id, 1, Span::ZERO)]).await;
            fixture.server.send(command);
            fixture.publish(numbered(3, 5)).await;
            let polled = fixture.fetch("a").await;
            assert_eq!(texts(&polled.deliveries), ["3", "4"], "{command}");
            assert!(!polled.regrouped.is_empty());
            let settlements: Vec<_> = polled.deliveries.iter().map(|one| done(&one.id)).collect();
            assert_eq!(fixture.settle("a", &settlements).await, [Settled::Applied; 2]);
            assert_eq!(fixture.settle("a", &[done(&held[1].id)]).await, [Settled::Lost]);
        }
    });
}

#[test]
fn an_ordered_group_that_was_removed_keeps_its_lines() {
    run(async {
        let mut ordered = group_spec();
        ordered.order_by = Some("pair".to_owned());
        let fixture = Fixture::new(StreamSpec::new(stream()).with_group(ordered)).await;
        let pairs = ["btc", "btc", "eth", "btc"];
        let messages = pairs.iter().enumerate();
        let messages = messages.map(|(n, pair)| message(&format!("{pair}{n}")).with("pair", *pair));
        fixture.publish(messages.collect()).await;
        let held = fixture.fetch_new("a").await;
        assert_eq!(texts(&held), ["btc0", "eth2"]);
        fixture.settle("a", &[done(&held[0].id)]).await;
        fixture.server.send(DESTROY);
        let again = fixture.fetch("b").await;
        assert_eq!(texts(&again.deliveries), ["btc1", "eth2"]);
        assert_eq!(again.regrouped.len(), 1);
        fixture.settle("b", &[done(&again.deliveries[0].id)]).await;
        assert_eq!(texts(&fixture.fetch("b").await.deliveries), ["btc3"]);
        fixture.counts().await;
    });
}

#[test]
fn the_redriven_letters_of_a_group_are_regrouped_too() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let redrives = stream().redrives(&group());
        fixture.server.send(&format!("XGROUP DESTROY {redrives} trading_consumers"));
        fixture.publish_to(&redrives, vec![message("r")]).await.expect("publishes");
        let polled = fixture.fetch("a").await;
        assert_eq!(polled.regrouped[0].stream, redrives);
        assert_eq!(texts(&polled.deliveries), ["r"]);
        fixture.streams.declare(Nanos::ZERO).await.expect("declares");
    });
}
