//! Laws about readers that are at work while the owner writes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use silvertine_engine::{
    digest::Digest,
    event::{Topic, TopicSet},
    log::{Batch, EventLog, LogErrorKind, RangeQuery},
    pos::Pos,
};

use super::{
    LogFixture,
    draft::Draft,
    harness::Harness,
    laws::{ALL, acquire, write},
};
use crate::{
    breach::{Beside, Must, broken, ensure, ensure_eq},
    runtime::run,
};

pub async fn l2_readers_beside_a_writer_see_no_hole_and_no_uncommitted_entry(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let done = Arc::new(AtomicBool::new(false));
    let some = TopicSet::of(&[Topic::Order, Topic::Fill]);
    let readers: Vec<(TopicSet, Beside<Batch>)> = [TopicSet::ALL, some]
        .into_iter()
        .map(|topics| {
            let (log, done) = (harness.reader(), Arc::clone(&done));
            (topics, Beside::start(move || run(follow(&log, topics, &done))))
        })
        .collect();
    let sizes: Vec<usize> = (0..120).map(|n| 1 + n % 13).collect();
    let (_, _, written) = write(&log, &lease, &sizes).await;
    done.store(true, Ordering::Release);
    for (topics, reader) in readers {
        let seen = reader.join();
        let expected: Vec<_> =
            written.iter().filter(|entry| topics.contains(entry.topic)).collect();
        ensure_eq!(seen.iter().collect::<Vec<_>>(), expected, "{topics:?}");
    }
}

/// Reads page after page until the writer is done and nothing is left.
async fn follow<L: EventLog>(log: &L, topics: TopicSet, done: &AtomicBool) -> Batch {
    let mut seen = Batch::default();
    for limit in [1, 3, 50].into_iter().cycle() {
        let last_round = done.load(Ordering::Acquire);
        let after = seen.last_pos().unwrap_or(Pos::ZERO);
        let head_before = log.head().await.must("reads").must("exists").pos;
        let page = log.range(RangeQuery { after, topics, limit }).await.must("reads");
        let head_after = log.head().await.must("reads").must("exists").pos;
        for entry in page.entries.iter() {
            ensure!(entry.pos <= head_after, "{} is beyond the head {head_after}", entry.pos);
            seen.push_encoded(entry.bytes).must("encoded");
        }
        if topics == TopicSet::ALL {
            let seqs = seen.iter().map(|entry| entry.pos.seq);
            ensure!(seqs.eq(1..=seen.len() as u64), "a hole");
            let last = seen.last_pos().unwrap_or(Pos::ZERO);
            ensure!(page.next.is_some() || last >= head_before, "it ends below the head");
        }
        if last_round && page.next.is_none() && page.entries.is_empty() {
            break;
        }
    }
    seen
}

pub async fn l8_a_reader_beside_a_trimmer_reads_all_that_is_kept_or_is_told(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (log, done) = (harness.reader(), Arc::clone(&done));
        Beside::start(move || run(read_what_is_kept(&log, &done)))
    };
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    // Long logs cut down to one commit each, so that most cuts fall into the middle of a read.
    for _ in 0..8 {
        let mut newest_but_one = head;
        for _ in 0..40 {
            newest_but_one = head;
            let draft = Draft::on(head, digest, ALL).with_snapshot(b"snapshot", Pos::ZERO);
            log.commit(&lease, &draft.commit(&lease)).await.must("commits");
            (head, digest) = (draft.head(), draft.digest);
        }
        ensure_eq!(log.trim(&lease, newest_but_one).await.map(|removed| removed > 0), Ok(true));
    }
    done.store(true, Ordering::Release);
    reader.join();
}

/// Reads from where the log begins, again and again, while its beginning moves.
async fn read_what_is_kept<L: EventLog>(log: &L, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let after = log.head().await.must("reads").must("exists").trimmed;
        match log.range(RangeQuery { limit: 1_000, ..RangeQuery::all_after(after) }).await {
            Ok(page) => {
                let seqs = page.entries.iter().map(|entry| entry.pos.seq);
                let expected = after.seq + 1..=after.seq + page.entries.len() as u64;
                ensure!(seqs.eq(expected), "a hole after {after}");
            }
            Err(error) => match error.kind {
                LogErrorKind::Trimmed { through } => ensure!(through > after),
                other => broken!("after {after}: {other}"),
            },
        }
    }
}
