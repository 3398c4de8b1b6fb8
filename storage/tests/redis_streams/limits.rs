//! Streams that are kept short.

use std::time::Duration;

use silvertine_engine::{
    log::{Applied, LogErrorKind},
    span::Span,
};
use silvertine_streams::{Settled, StreamSpec, Trim, WhenFull, Why};

use crate::bed::{Bed, dead, done, message, numbered, run, spec, stream, texts};

fn limited(max_len: u64, when_full: WhenFull) -> StreamSpec {
    StreamSpec { max_len: Some(max_len), when_full, ..spec() }
}

#[test]
fn a_stream_grows_past_its_maximum_rather_than_lose_what_nobody_has_handled() {
    run(async {
        let bed = Bed::new(limited(5, WhenFull::Grow)).await;
        bed.publish(numbered(0, 8)).await;
        assert_eq!(bed.stats().await.length, 8);
        let all = bed.poll_new("a").await;
        // The second is held still; only what is before it may go.
        let settlements: Vec<_> = [0, 2, 3, 4, 5, 6, 7].map(|n| done(&all[n].id)).into();
        bed.settle("a", &settlements).await;
        bed.publish(numbered(8, 9)).await;
        let stats = bed.stats().await;
        assert_eq!((stats.length, stats.first), (8, Some(all[1].id.id)));
        bed.settle("a", &[done(&all[1].id)]).await;
        bed.publish(numbered(9, 10)).await;
        assert_eq!((bed.stats().await.length, bed.stats().await.cut), (5, 0));
        bed.counts().await;
    });
}

#[test]
fn a_stream_nobody_consumes_keeps_its_maximum() {
    run(async {
        let bed = Bed::new(StreamSpec { max_len: Some(5), ..StreamSpec::new(stream()) }).await;
        bed.publish(numbered(0, 12)).await;
        assert_eq!(bed.stats().await.length, 5);
    });
}

#[test]
fn a_full_stream_refuses_whole_batches_until_there_is_room() {
    run(async {
        let bed = Bed::new(limited(5, WhenFull::Refuse)).await;
        bed.publish(numbered(0, 4)).await;
        let error = bed.publish_to(&stream(), numbered(4, 6)).await.expect_err("full");
        assert!(matches!(&error.kind, LogErrorKind::RefusesWrites { why } if why.contains("full")));
        assert_eq!((error.applied, bed.stats().await.added), (Applied::No, 4));
        let held = bed.poll_new("a").await;
        bed.settle("a", &[done(&held[0].id)]).await;
        bed.publish(numbered(4, 6)).await;
        assert_eq!(bed.stats().await.length, 5);
    });
}

#[test]
fn an_output_that_finds_its_stream_full_leaves_the_message_unsettled() {
    run(async {
        let bed = Bed::new(limited(2, WhenFull::Refuse)).await;
        bed.publish(numbered(0, 2)).await;
        let held = bed.poll_new("a").await;
        let emit = silvertine_streams::Publication::new(stream(), message("out"));
        let settlement = crate::bed::keyed(&held[0].id, "k", vec![emit]);
        bed.try_settle("a", &[done(&held[1].id), settlement]).await.expect_err("full");
        assert_eq!((bed.counts().await.held, bed.counts().await.done), (2, 0));
    });
}

#[test]
fn a_stream_that_cuts_stays_short_counts_what_it_cuts_and_buries_what_was_held() {
    run(async {
        let bed = Bed::new(limited(5, WhenFull::Cut)).await;
        bed.publish(numbered(0, 5)).await;
        let held = bed.poll_with("a", |poll| poll.limit = 2).await.expect("polls").deliveries;
        bed.settle("a", &[crate::bed::release(&held[1].id)]).await;
        bed.publish(numbered(5, 9)).await;
        let stats = bed.stats().await;
        assert_eq!((stats.length, stats.cut), (5, 4));
        let group = &stats.groups[0];
        assert_eq!((group.waiting, group.held, group.retrying), (5, 1, 1));

        // What waited for its retry comes without its content, and whoever finds it so buries it.
        let rest = bed.poll("b").await.deliveries;
        assert_eq!(texts(&rest), ["(gone)", "4", "5", "6", "7", "8"]);
        assert_eq!(rest[0].why, Why::Due);
        assert_eq!(bed.settle("b", &[dead(&rest[0].id, None)]).await, [Settled::Applied]);
        assert_eq!(bed.settle("a", &[dead(&rest[0].id, None)]).await, [Settled::Lost]);
        // So does what a member that died held.
        let gone = loop {
            let reclaimed = bed.poll_until("c").await;
            if let Some(gone) = reclaimed.into_iter().find(|one| one.message.is_none()) {
                break gone;
            }
        };
        assert_eq!((&gone.id, gone.why), (&held[0].id, Why::Reclaimed));
        assert_eq!(bed.settle("c", &[dead(&held[0].id, None)]).await, [Settled::Applied]);
        let group = &bed.stats().await.groups[0];
        assert_eq!((group.dead, group.accounted()), (2, 7), "two were cut that nobody had had");
    });
}

#[test]
fn a_member_learns_that_what_it_held_is_gone() {
    run(async {
        let bed = Bed::new(spec()).await;
        bed.publish(numbered(0, 2)).await;
        let held = bed.poll_new("a").await;
        bed.server.send("XTRIM mgmt:trading:commands MAXLEN 0");
        let own = bed.poll_with("a", |poll| poll.own = true).await.expect("polls").deliveries;
        assert_eq!(texts(&own), ["(gone)", "(gone)"]);
        // A retry of what is gone is not forgotten either.
        bed.settle("a", &[crate::bed::retry(&held[0].id, 1, Span::ZERO)]).await;
        let due = bed.poll("b").await.deliveries;
        assert_eq!((texts(&due), due[0].tries.attempts), (vec!["(gone)".to_owned()], 1));
        assert_eq!(bed.settle("b", &[dead(&held[0].id, None)]).await, [Settled::Applied]);
        assert_eq!(bed.settle("a", &[dead(&held[1].id, None)]).await, [Settled::Applied]);
        assert_eq!(bed.counts().await.dead, 2);
    });
}

#[test]
fn an_approximate_maximum_is_kept_now_and_then() {
    run(async {
        let bed = Bed::new(StreamSpec {
            max_len: Some(50),
            trim: Trim::Approximate,
            ..StreamSpec::new(stream())
        })
        .await;
        bed.publish(numbered(0, 150)).await;
        assert_eq!(bed.stats().await.length, 150);
        bed.publish(numbered(150, 151)).await;
        assert_eq!(bed.stats().await.length, 50);
    });
}

#[test]
fn old_messages_go_once_they_are_handled() {
    run(async {
        let retained = StreamSpec { retention: Some(Span::from_millis(100)), ..spec() };
        let bed = Bed::new(retained).await;
        bed.publish(numbered(0, 3)).await;
        let held = bed.poll_new("a").await;
        bed.settle("a", &[done(&held[0].id), done(&held[2].id)]).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        bed.publish(numbered(3, 4)).await;
        assert_eq!(bed.stats().await.first, Some(held[1].id.id));
        bed.settle("a", &[done(&held[1].id)]).await;
        bed.publish(numbered(4, 5)).await;
        assert_eq!(bed.stats().await.length, 2);
    });
}

#[test]
fn what_a_group_that_was_removed_has_not_handled_is_not_trimmed() {
    run(async {
        let bed = Bed::new(limited(2, WhenFull::Grow)).await;
        bed.publish(numbered(0, 2)).await;
        bed.server.send("XGROUP DESTROY mgmt:trading:commands trading_consumers");
        bed.publish(numbered(2, 6)).await;
        assert_eq!(bed.poll("a").await.deliveries.len(), 6);
    });
}
