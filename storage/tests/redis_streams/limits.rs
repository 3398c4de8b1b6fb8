//! Streams that are kept short.

use std::time::Duration;

use silvertine_engine::{log::Applied, span::Span};
use silvertine_streams::{FetchScope, Settled, StoreErrorKind, StreamSpec, Trim, WhenFull, Why};

use crate::fixture::{
    Fixture, bare_with, dead, done, message, numbered, run, spec, spec_with, stream, texts,
};

fn limited(max_len: u64, when_full: WhenFull) -> StreamSpec {
    spec_with(|spec| (spec.max_len, spec.when_full) = (Some(max_len), when_full))
}

#[test]
fn a_stream_grows_past_its_maximum_rather_than_lose_what_nobody_has_handled() {
    run(async {
        let fixture = Fixture::new(limited(5, WhenFull::Grow)).await;
        fixture.publish(numbered(0, 8)).await;
        assert_eq!(fixture.stats().await.length, 8);
        let all = fixture.fetch_new("a").await;
        // The second is held still; only what is before it may go.
        let settlements: Vec<_> = [0, 2, 3, 4, 5, 6, 7].map(|n| done(&all[n].id)).into();
        fixture.settle("a", &settlements).await;
        fixture.publish(numbered(8, 9)).await;
        let stats = fixture.stats().await;
        assert_eq!((stats.length, stats.first), (8, Some(all[1].id.id)));
        fixture.settle("a", &[done(&all[1].id)]).await;
        fixture.publish(numbered(9, 10)).await;
        assert_eq!((fixture.stats().await.length, fixture.stats().await.cut), (5, 0));
        fixture.counts().await;
    });
}

#[test]
fn a_stream_nobody_consumes_keeps_its_maximum() {
    run(async {
        let fixture = Fixture::new(bare_with(|spec| spec.max_len = Some(5))).await;
        fixture.publish(numbered(0, 12)).await;
        assert_eq!(fixture.stats().await.length, 5);
    });
}

#[test]
fn a_full_stream_refuses_whole_batches_until_there_is_room() {
    run(async {
        let fixture = Fixture::new(limited(5, WhenFull::Refuse)).await;
        fixture.publish(numbered(0, 4)).await;
        let error = fixture.publish_to(&stream(), numbered(4, 6)).await.expect_err("full");
        assert!(
            matches!(&error.kind, StoreErrorKind::RefusesWrites { why } if why.contains("full"))
        );
        assert_eq!((error.applied, fixture.stats().await.added), (Applied::No, 4));
        let held = fixture.fetch_new("a").await;
        fixture.settle("a", &[done(&held[0].id)]).await;
        fixture.publish(numbered(4, 6)).await;
        assert_eq!(fixture.stats().await.length, 5);
    });
}

#[test]
fn an_output_that_finds_its_stream_full_leaves_the_message_unsettled() {
    run(async {
        let fixture = Fixture::new(limited(2, WhenFull::Refuse)).await;
        fixture.publish(numbered(0, 2)).await;
        let held = fixture.fetch_new("a").await;
        let emit = silvertine_streams::Publication::new(stream(), message("out"));
        let settlement = crate::fixture::keyed(&held[0].id, "k", vec![emit]);
        fixture.try_settle("a", &[done(&held[1].id), settlement]).await.expect_err("full");
        assert_eq!((fixture.counts().await.held, fixture.counts().await.done), (2, 0));
    });
}

#[test]
fn a_stream_that_cuts_stays_short_counts_what_it_cuts_and_buries_what_was_held() {
    run(async {
        let fixture = Fixture::new(limited(5, WhenFull::Cut)).await;
        fixture.publish(numbered(0, 5)).await;
        let held =
            fixture.fetch_with("a", |fetch| fetch.limit = 2).await.expect("fetches").deliveries;
        fixture.settle("a", &[crate::fixture::release(&held[1].id)]).await;
        fixture.publish(numbered(5, 9)).await;
        let stats = fixture.stats().await;
        assert_eq!((stats.length, stats.cut), (5, 4));
        let group = &stats.groups[0];
        assert_eq!((group.waiting, group.held, group.retrying), (5, 1, 1));

        // What waited for its retry comes without its content, and whoever finds it so buries it.
        let rest = fixture.fetch("b").await.deliveries;
        assert_eq!(texts(&rest), ["(gone)", "4", "5", "6", "7", "8"]);
        assert_eq!(rest[0].why, Why::Due);
        assert_eq!(fixture.settle("b", &[dead(&rest[0].id, None)]).await, [Settled::Applied]);
        assert_eq!(fixture.settle("a", &[dead(&rest[0].id, None)]).await, [Settled::Lost]);
        // So does what a member that died held.
        let gone = loop {
            let reclaimed = fixture.fetch_until("c").await;
            if let Some(gone) = reclaimed.into_iter().find(|one| one.message.is_none()) {
                break gone;
            }
        };
        assert_eq!((&gone.id, gone.why), (&held[0].id, Why::Reclaimed));
        assert_eq!(fixture.settle("c", &[dead(&held[0].id, None)]).await, [Settled::Applied]);
        let group = &fixture.stats().await.groups[0];
        assert_eq!((group.dead, group.accounted()), (2, 7), "two were cut that nobody had had");
    });
}

#[test]
fn a_member_learns_that_what_it_held_is_gone() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 2)).await;
        let held = fixture.fetch_new("a").await;
        fixture.server.send("XTRIM mgmt:trading:commands MAXLEN 0");
        let own = fixture
            .fetch_with("a", |fetch| fetch.scope = FetchScope::WithOwn)
            .await
            .expect("fetches")
            .deliveries;
        assert_eq!(texts(&own), ["(gone)", "(gone)"]);
        // A retry of what is gone is not forgotten either.
        fixture.settle("a", &[crate::fixture::retry(&held[0].id, 1, Span::ZERO)]).await;
        let due = fixture.fetch("b").await.deliveries;
        assert_eq!((texts(&due), due[0].tries.attempts), (vec!["(gone)".to_owned()], 1));
        assert_eq!(fixture.settle("b", &[dead(&held[0].id, None)]).await, [Settled::Applied]);
        assert_eq!(fixture.settle("a", &[dead(&held[1].id, None)]).await, [Settled::Applied]);
        assert_eq!(fixture.counts().await.dead, 2);
    });
}

#[test]
fn an_approximate_maximum_is_kept_now_and_then() {
    run(async {
        let fixture = Fixture::new(bare_with(|spec| {
            spec.max_len = Some(50);
            spec.trim = Trim::Approximate;
        }))
        .await;
        fixture.publish(numbered(0, 150)).await;
        assert_eq!(fixture.stats().await.length, 150);
        fixture.publish(numbered(150, 151)).await;
        assert_eq!(fixture.stats().await.length, 50);
    });
}

#[test]
fn old_messages_go_once_they_are_handled() {
    run(async {
        let retained = spec_with(|spec| spec.retention = Some(Span::from_millis(100)));
        let fixture = Fixture::new(retained).await;
        fixture.publish(numbered(0, 3)).await;
        let held = fixture.fetch_new("a").await;
        fixture.settle("a", &[done(&held[0].id), done(&held[2].id)]).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        fixture.publish(numbered(3, 4)).await;
        assert_eq!(fixture.stats().await.first, Some(held[1].id.id));
        fixture.settle("a", &[done(&held[1].id)]).await;
        fixture.publish(numbered(4, 5)).await;
        assert_eq!(fixture.stats().await.length, 2);
    });
}

#[test]
fn what_a_group_that_was_removed_has_not_handled_is_not_trimmed() {
    run(async {
        let fixture = Fixture::new(limited(2, WhenFull::Grow)).await;
        fixture.publish(numbered(0, 2)).await;
        fixture.server.send("XGROUP DESTROY mgmt:trading:commands trading_consumers");
        fixture.publish(numbered(2, 6)).await;
        assert_eq!(fixture.fetch("a").await.deliveries.len(), 6);
    });
}
