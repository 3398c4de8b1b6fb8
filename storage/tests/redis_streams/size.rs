//! Groups with a great many messages in every place. Nothing is timed; what scans them all would take minutes.

use silvertine_engine::{pos::Pos, span::Span};
use silvertine_streams::{FetchScope, Streams};

use crate::fixture::{Fixture, dead, done, member, message, retry, run, spec, stream};

const PENDING: usize = 1_000_000;
const WAITING: usize = 100_000;
const DEAD: usize = 100_000;
const ROUNDS: usize = 300;

#[test]
fn polls_and_settlements_do_not_look_through_what_is_pending() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        for _ in 0..(PENDING + WAITING + DEAD) / 1000 {
            fixture.publish(vec![message("x"); 1000]).await;
        }
        // One member holds most of them, and lives.
        let take = async |count: usize| {
            let mut ids = Vec::new();
            while ids.len() < count {
                let polled = fixture.fetch_with("hoarder", |fetch| {
                    (fetch.limit, fetch.scope) = (1000, FetchScope::NewOnly);
                });
                ids.extend(polled.await.expect("fetches").deliveries.into_iter().map(|one| one.id));
            }
            ids
        };
        for chunk in take(WAITING).await.chunks(250) {
            let hour = Span::from_secs(3600);
            let retries: Vec<_> = chunk.iter().map(|id| retry(id, 1, hour)).collect();
            fixture.settle("hoarder", &retries).await;
        }
        for chunk in take(DEAD).await.chunks(250) {
            let letters: Vec<_> = chunk.iter().map(|id| dead(id, Some(message("x")))).collect();
            fixture.settle("hoarder", &letters).await;
        }
        take(PENDING).await;
        let alive = [silvertine_streams::MessageId { stream: stream(), id: Pos::ZERO }];
        for _ in 0..ROUNDS {
            let now = silvertine_engine::time::Nanos::ZERO;
            fixture.streams.extend(&member("hoarder"), &alive, now).await.expect("extends");
            fixture.publish(vec![message("y"); 10]).await;
            let polled = fixture.fetch("worker").await.deliveries;
            let settlements: Vec<_> = polled.iter().map(|one| done(&one.id)).collect();
            fixture.settle("worker", &settlements).await;
        }
        let counts = fixture.counts().await;
        assert_eq!(counts.retrying as usize, WAITING);
        assert_eq!((counts.held as usize, counts.done as usize), (PENDING, ROUNDS * 10));
        let mut after = Pos::ZERO;
        for _ in 0..DEAD / 500 {
            let page = fixture.streams.dead_letters(&stream(), after, 500).await.expect("reads");
            after = page.last().expect("a page").0;
        }
        assert_eq!(fixture.stats().await.dead as usize, DEAD);
    });
}
