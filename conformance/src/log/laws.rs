//! The laws that one user of a log at a time can check, each a function over any log.

use std::time::Duration;

use silvertine_engine::{
    digest::Digest,
    event::{Topic, TopicSet},
    log::{
        Applied, Batch, EventLog, IngressCursor, Lease, LogError, LogErrorKind, Page, Published,
        RangeQuery,
    },
    pos::Pos,
};

use super::{
    FixedHistory, LogFixture,
    draft::{ALICE, BOB, CAROL, Draft, message, name},
    harness::Harness,
};
use crate::breach::{Must, ensure, ensure_eq, refused};

pub const ALL: &[Topic] = &Topic::ALL;

pub async fn acquire<L: EventLog>(log: &L) -> Lease {
    log.acquire(ALICE, b"manifest").await.must("acquires").lease
}

/// Commits batches of these sizes, topics in turn; returns the head, its digest and everything written.
pub async fn write<L: EventLog>(log: &L, lease: &Lease, sizes: &[usize]) -> (Pos, Digest, Batch) {
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut written = Batch::default();
    let mut topics = Topic::ALL.into_iter().cycle();
    for &size in sizes {
        let topics: Vec<Topic> = topics.by_ref().take(size).collect();
        let draft = Draft::on(head, digest, &topics);
        let committed = log.commit(lease, &draft.commit(lease)).await.must("commits");
        ensure_eq!((committed.head, committed.duplicate), (draft.head(), false));
        for entry in draft.entries.iter() {
            written.push_encoded(entry.bytes).must("encoded");
        }
        (head, digest) = (draft.head(), draft.digest);
    }
    (head, digest, written)
}

async fn read_all<L: EventLog>(log: &L, topics: TopicSet, limit: usize, from: Pos) -> Batch {
    let mut all = Batch::default();
    let mut after = Some(from);
    while let Some(position) = after {
        let query = RangeQuery { after: position, topics, limit };
        let Page { entries, next } = log.range(query).await.must("reads");
        ensure!(entries.len() <= limit, "a page keeps its limit");
        ensure!(next.is_none() || !entries.is_empty(), "a page that goes on holds something");
        for entry in entries.iter() {
            ensure!(topics.contains(entry.topic), "only what was asked for");
            all.push_encoded(entry.bytes).must("encoded");
        }
        after = next;
    }
    all
}

async fn everything<L: EventLog>(log: &L) -> Batch {
    read_all(log, TopicSet::ALL, 100, Pos::ZERO).await
}

fn kind<T: std::fmt::Debug>(result: Result<T, LogError>) -> LogErrorKind {
    refused(result, "it is refused").kind
}

pub async fn l1_positions_strictly_increase_and_lower_ones_are_refused(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (head, digest, _) = write(&log, &lease, &[3, 4, 5]).await;
    let read = everything(&log).await;
    let positions: Vec<Pos> = read.iter().map(|entry| entry.pos).collect();
    ensure!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    // Entries that begin below the head, though the head is expected rightly.
    let mut low = Draft::on(Pos { ms: head.ms, seq: head.seq - 2 }, digest, ALL);
    low.expected = head;
    let refused = log.commit(&lease, &low.commit(&lease)).await;
    ensure!(matches!(kind(refused), LogErrorKind::Invalid { .. }));
    ensure_eq!(everything(&log).await, read);
}

pub async fn l2_range_equals_commit_order_for_any_topics_and_page_size(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (_, _, written) = write(&log, &lease, &[1, 7, 2, 30, 5]).await;
    for limit in [1, 2, 3, 7, 44, 45, 46, 1000] {
        for bits in 0..32_u8 {
            let chosen: Vec<Topic> =
                Topic::ALL.into_iter().filter(|&topic| bits & 1 << topic as u8 != 0).collect();
            let topics = TopicSet::of(&chosen);
            let read = read_all(&log, topics, limit, Pos::ZERO).await;
            let expected: Vec<_> =
                written.iter().filter(|entry| topics.contains(entry.topic)).collect();
            ensure_eq!(read.iter().collect::<Vec<_>>(), expected, "{topics:?} limit {limit}");
        }
    }
    let middle = written.get(17).pos;
    let behind = read_all(&log, TopicSet::ALL, 4, middle).await;
    ensure_eq!(behind.first_pos().map(|pos| pos.seq), Some(middle.seq + 1));
    ensure_eq!(behind.len(), written.len() - 18);
}

pub async fn l2_range_never_goes_past_the_committed_head(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (head, _, written) = write(&log, &lease, &[5]).await;
    ensure_eq!(everything(&log).await, written);
    let beyond = log.range(RangeQuery::all_after(head)).await.must("reads");
    ensure!(beyond.entries.is_empty() && beyond.next.is_none());
    let far = Pos { ms: head.ms + 1_000, seq: head.seq + 1_000 };
    let beyond = log.range(RangeQuery::all_after(far)).await.must("reads");
    ensure!(beyond.entries.is_empty() && beyond.next.is_none());
}

pub async fn l3_a_refused_commit_leaves_nothing(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (head, digest, _) = write(&log, &lease, &[5]).await;
    log.publish(&[message("p", 1)]).await.must("publishes");
    let before = (log.head().await.must("reads"), everything(&log).await);
    let wrong = Pos { ms: head.ms, seq: head.seq + 1 };
    let mut draft = Draft::on(wrong, digest, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 1)]));
    let refused = log.commit(&lease, &draft.commit(&lease)).await;
    ensure_eq!(kind(refused), LogErrorKind::Conflict { expected: wrong, head });
    ensure_eq!((log.head().await.must("reads"), everything(&log).await), before);
    ensure_eq!(log.snapshots().await.must("reads"), []);
    let waiting = log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO).await.must("reads");
    ensure_eq!(waiting, [message("p", 1)]);
    drop(log);
    harness.reopen();
    let log = harness.log();
    ensure_eq!((log.head().await.must("reads"), everything(&log).await), before);
    let acquired = log.acquire(ALICE, b"").await.must("acquires");
    ensure_eq!(acquired.checkpoint, b"after 0");
}

pub async fn l4_the_same_commit_again_is_a_duplicate_and_changes_nothing(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL).with_snapshot(b"one", Pos::ZERO);
    let first = log.commit(&lease, &draft.commit(&lease)).await.must("commits");
    ensure!(!first.duplicate);
    let stats = log.stats().await.must("reads");
    for _ in 0..3 {
        let again = log.commit(&lease, &draft.commit(&lease)).await.must("is recognised");
        ensure_eq!((again.head, again.duplicate), (first.head, true));
    }
    ensure_eq!(everything(&log).await, draft.entries);
    let after = log.stats().await.must("reads");
    ensure_eq!((after.entries, after.snapshots), (stats.entries, stats.snapshots));
    // Another commit on the same expected head is no repetition.
    let other = Draft::on(Pos::ZERO, Digest::EMPTY, &[Topic::Fill]);
    let refused = log.commit(&lease, &other.commit(&lease)).await;
    ensure!(matches!(kind(refused), LogErrorKind::Conflict { .. }));
}

pub async fn l4_a_duplicate_is_recognised_after_a_restart(harness: &mut Harness<impl LogFixture>) {
    let lease = acquire(&harness.log()).await;
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    harness.log().commit(&lease, &draft.commit(&lease)).await.must("commits");
    harness.reopen();
    let again = harness.log().commit(&lease, &draft.commit(&lease)).await.must("is recognised");
    ensure!(again.duplicate);
    ensure_eq!(everything(&harness.log()).await, draft.entries);
}

pub async fn l5_every_earlier_owner_is_fenced(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    let mut earlier = Vec::new();
    for owner in [ALICE, BOB, CAROL, ALICE] {
        earlier.push(log.acquire(owner, b"m").await.must("acquires").lease);
    }
    let newest = earlier.pop().must("four of them");
    ensure!(earlier.iter().all(|lease| lease.epoch < newest.epoch));
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    for round in 0..2 {
        for lease in &earlier {
            let fenced = LogErrorKind::Fenced { ours: lease.epoch, current: newest.epoch };
            ensure_eq!(kind(log.commit(lease, &draft.commit(lease)).await), fenced);
            if round == 1 {
                ensure_eq!(kind(log.trim(lease, draft.head()).await), fenced);
            }
        }
        if round == 0 {
            ensure!(everything(&log).await.is_empty());
            log.commit(&newest, &draft.commit(&newest)).await.must("the owner commits");
        }
    }
    drop(log);
    harness.reopen();
    let log = harness.log();
    ensure_eq!(everything(&log).await, draft.entries);
    let stale = Draft::on(draft.head(), draft.digest, ALL);
    let refused = log.commit(&earlier[0], &stale.commit(&earlier[0])).await;
    ensure!(matches!(kind(refused), LogErrorKind::Fenced { .. }));
}

pub async fn l5_a_former_owner_does_not_read_the_ingress_as_the_owner(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    log.publish(&[message("p", 1), message("p", 2)]).await.must("publishes");
    let first = acquire(&log).await;
    let nothing = IngressCursor::new();
    let read = async |lease: Option<&Lease>, wait| log.ingress(lease, &nothing, 10, wait).await;
    ensure_eq!(read(Some(&first), Duration::ZERO).await.must("is the owner").len(), 2);
    log.acquire(BOB, b"").await.must("acquires");
    for wait in [Duration::ZERO, Duration::from_millis(5)] {
        let refused = read(Some(&first), wait).await.err().must("a former owner is refused");
        ensure!(matches!(refused.kind, LogErrorKind::Fenced { .. }), "{refused}");
        ensure_eq!(refused.applied, Applied::No);
    }
    ensure_eq!(read(None, Duration::ZERO).await.must("anybody may look").len(), 2);
}

pub async fn l5_the_same_owner_acquires_again_without_fencing_itself(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let first = acquire(&log).await;
    ensure_eq!(acquire(&log).await, first);
    write(&log, &first, &[3]).await;
    ensure_eq!(acquire(&log).await, first);
}

pub async fn l6_a_restart_between_any_two_operations_loses_nothing(
    harness: &mut Harness<impl LogFixture>,
) {
    let lease = acquire(&harness.log()).await;
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut written = Batch::default();
    for round in 0..6_u64 {
        harness.reopen();
        let draft = Draft::on(head, digest, ALL).with_snapshot(&[round as u8; 9], Pos::ZERO);
        harness.log().commit(&lease, &draft.commit(&lease)).await.must("commits");
        draft.entries.iter().for_each(|entry| written.push_encoded(entry.bytes).must("encoded"));
        (head, digest) = (draft.head(), draft.digest);
        harness.reopen();
        let log = harness.log();
        log.publish(&[message("p", round + 1)]).await.must("publishes");
        let found = log.head().await.must("reads").must("exists");
        ensure_eq!((found.pos, found.digest), (head, digest));
        drop(log);
        harness.reopen();
        let log = harness.log();
        ensure_eq!(everything(&log).await, written);
        ensure_eq!(log.snapshot(head).await.must("reads"), Some(vec![round as u8; 9]));
        let waiting = log.ingress(None, &IngressCursor::new(), 100, Duration::ZERO).await;
        ensure_eq!(waiting.must("reads").len() as u64, round + 1);
    }
}

/// Three commits with a snapshot each; returns their positions.
async fn with_snapshots<L: EventLog>(log: &L, lease: &Lease) -> (Vec<Pos>, Digest) {
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut positions = Vec::new();
    for n in 0..3_u8 {
        let draft = Draft::on(head, digest, ALL).with_snapshot(&[n], Pos::ZERO);
        log.commit(lease, &draft.commit(lease)).await.must("commits");
        (head, digest) = (draft.head(), draft.digest);
        positions.push(head);
    }
    (positions, digest)
}

pub async fn l8_trimming_stops_at_the_floor_and_readers_below_are_told(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (snapshots, _) = with_snapshots(&log, &lease).await;
    let above = Pos { ms: snapshots[2].ms, seq: snapshots[2].seq + 1 };
    ensure!(matches!(kind(log.trim(&lease, above).await), LogErrorKind::Invalid { .. }));
    let between = Pos { ms: snapshots[0].ms, seq: snapshots[0].seq + 1 };
    ensure_eq!(log.trim(&lease, between).await, Ok(0), "not a snapshot");
    ensure_eq!(everything(&log).await.len(), 15);
    ensure_eq!(log.trim(&lease, snapshots[1]).await, Ok(10));
    ensure_eq!(log.snapshots().await.must("reads"), snapshots[1..]);
    drop(log);
    for restarted in [false, true] {
        if restarted {
            harness.reopen();
        }
        let log = harness.log();
        for below in [Pos::ZERO, snapshots[0], Pos { seq: snapshots[1].seq - 1, ..snapshots[1] }] {
            let refused = log.range(RangeQuery::all_after(below)).await;
            ensure_eq!(kind(refused), LogErrorKind::Trimmed { through: snapshots[1] });
        }
        let rest = read_all(&log, TopicSet::ALL, 2, snapshots[1]).await;
        ensure_eq!(rest.len(), 5);
    }
}

pub async fn l8_trimming_changes_neither_positions_nor_digest(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    log.trim(&lease, snapshots[2]).await.must("trims");
    let head = log.head().await.must("reads").must("exists");
    ensure_eq!((head.pos, head.digest, head.trimmed), (snapshots[2], digest, snapshots[2]));
    let draft = Draft::on(head.pos, head.digest, ALL);
    log.commit(&lease, &draft.commit(&lease)).await.must("goes on");
    let rest = read_all(&log, TopicSet::ALL, 100, snapshots[2]).await;
    ensure_eq!(rest, draft.entries);
}

pub async fn ingress_is_idempotent_by_producer_and_number(harness: &mut Harness<impl LogFixture>) {
    use Published::{Duplicate, Stored};
    let log = harness.log();
    acquire(&log).await;
    let sent = [message("p", 1), message("q", 1), message("p", 2), message("p", 2)];
    let answers = log.publish(&sent).await.must("publishes");
    ensure_eq!(answers, [Stored, Stored, Stored, Duplicate]);
    drop(log);
    harness.reopen();
    let log = harness.log();
    let again = [message("p", 1), message("p", 2), message("p", 5), message("p", 4)];
    let answers = log.publish(&again).await.must("publishes");
    ensure_eq!(answers, [Duplicate, Duplicate, Stored, Duplicate]);
    let waiting = log.ingress(None, &IngressCursor::new(), 100, Duration::ZERO).await.must("reads");
    let expected = [message("p", 1), message("p", 2), message("p", 5), message("q", 1)];
    ensure_eq!(waiting, expected);
    ensure!(log.publish(&[message("p", 0)]).await.is_err());
}

pub async fn consumed_ingress_stays_refused_after_it_is_discarded(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let sent: Vec<_> = (1..=10).map(|seq| message("p", seq)).collect();
    log.publish(&sent).await.must("publishes");
    let mut draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 10)]));
    log.commit(&lease, &draft.commit(&lease)).await.must("commits");
    ensure_eq!(log.stats().await.must("reads").ingress, 0);
    drop(log);
    harness.reopen();
    let answers = harness.log().publish(&sent).await.must("publishes");
    ensure!(answers.iter().all(|&answer| answer == Published::Duplicate));
}

pub async fn ingress_is_in_order_for_each_producer_and_limited(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    acquire(&log).await;
    let nothing = log.ingress(None, &IngressCursor::new(), 10, Duration::from_millis(2)).await;
    ensure_eq!(nothing.must("an empty ingress is no error"), []);
    for seq in 1..=300 {
        log.publish(&[message("p", seq), message("q", seq)]).await.must("publishes");
    }
    let mut cursor = IngressCursor::new();
    let mut seen = 0;
    loop {
        let wait = Duration::from_millis(2);
        let page = log.ingress(None, &cursor, 70, wait).await.must("reads");
        ensure!(page.len() <= 70);
        if page.is_empty() {
            break;
        }
        for got in page {
            let last = cursor.insert(got.producer, got.seq).unwrap_or(0);
            ensure_eq!(got.seq, last + 1);
            seen += 1;
        }
    }
    ensure_eq!(seen, 600);
}

pub async fn a_snapshot_comes_back_byte_for_byte_and_old_ones_go(
    harness: &mut Harness<impl LogFixture>,
) {
    let log = harness.log();
    let lease = acquire(&log).await;
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    let large: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let draft = Draft::on(snapshots[2], digest, ALL).with_snapshot(&large, snapshots[1]);
    log.commit(&lease, &draft.commit(&lease)).await.must("commits");
    drop(log);
    harness.reopen();
    let log = harness.log();
    let kept = [snapshots[1], snapshots[2], draft.head()];
    ensure_eq!(log.snapshots().await.must("reads"), kept);
    ensure_eq!(log.snapshot(draft.head()).await.must("reads"), Some(large));
    ensure_eq!(log.snapshot(snapshots[0]).await.must("reads"), None);
}

pub async fn manifest_and_checkpoint_come_back(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    let first = log.acquire(ALICE, b"first").await.must("acquires");
    ensure_eq!((first.manifest.as_slice(), first.checkpoint.as_slice()), (&b"first"[..], &b""[..]));
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    log.commit(&first.lease, &draft.commit(&first.lease)).await.must("commits");
    drop(log);
    harness.reopen();
    let second = harness.log().acquire(BOB, b"second").await.must("acquires");
    ensure_eq!(second.manifest, b"first");
    ensure_eq!(second.checkpoint, draft.checkpoint);
    ensure_eq!((second.head.pos, second.head.digest), (draft.head(), draft.digest));
    ensure_eq!(harness.log().manifest().await.must("reads"), Some(b"first".to_vec()));
}

/// Entries, snapshots and messages that are kept.
async fn counts<L: EventLog>(log: &L) -> (u64, u64, u64) {
    let stats = log.stats().await.must("reads");
    ensure!(stats.bytes > 0, "what is kept takes room");
    (stats.entries, stats.snapshots, stats.ingress)
}

pub async fn stats_count_what_is_kept(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    let lease = acquire(&log).await;
    ensure_eq!(log.stats().await.must("reads").entries, 0);
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    log.publish(&[message("p", 1), message("p", 2), message("q", 9)]).await.must("publishes");
    ensure_eq!(counts(&log).await, (15, 3, 3));
    log.trim(&lease, snapshots[1]).await.must("trims");
    ensure_eq!(counts(&log).await, (5, 2, 3));
    let mut draft = Draft::on(snapshots[2], digest, ALL);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 2), (name("q"), 8)]));
    log.commit(&lease, &draft.commit(&lease)).await.must("commits");
    ensure_eq!(counts(&log).await, (10, 2, 1));
    drop(log);
    harness.reopen();
    ensure_eq!(counts(&harness.log()).await, (10, 2, 1));
}

pub async fn a_log_that_nobody_acquired_does_not_exist(harness: &mut Harness<impl LogFixture>) {
    let log = harness.log();
    ensure_eq!(log.head().await.must("reads"), None);
    ensure_eq!(log.manifest().await.must("reads"), None);
    ensure!(everything(&log).await.is_empty());
}

pub async fn l9_a_fixed_history_leaves_exactly_the_bytes_that_were_committed(
    harness: &mut Harness<impl LogFixture>,
) {
    let (written, digest) = commit_a_fixed_history(&harness.log()).await;
    harness.reopen();
    let log = harness.log();
    let head = log.head().await.must("reads").must("exists");
    ensure_eq!((head.pos, head.digest), (written.last_pos().must("is not empty"), digest));
    ensure_eq!(everything(&log).await, written);
    let chained = written.iter().fold(Digest::EMPTY, |so_far, entry| so_far.chain(entry.bytes));
    ensure_eq!(chained, digest, "the digest of what was written");
}

async fn commit_a_fixed_history<L: EventLog>(log: &L) -> (Batch, Digest) {
    let lease = acquire(log).await;
    let (head, digest, mut written) = write(log, &lease, &[1, 5, 17, 40]).await;
    let draft = Draft::on(head, digest, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    log.commit(&lease, &draft.commit(&lease)).await.must("commits");
    draft.entries.iter().for_each(|entry| written.push_encoded(entry.bytes).must("encoded"));
    (written, draft.digest)
}

/// Plays the fixed history of L9 and reads everything that it left behind.
pub async fn written_by_a_fixed_history(harness: &mut Harness<impl LogFixture>) -> FixedHistory {
    commit_a_fixed_history(&harness.log()).await;
    harness.reopen();
    let log = harness.log();
    let head = log.head().await.must("reads").must("exists");
    let snapshots = log.snapshots().await.must("reads");
    FixedHistory { entries: everything(&log).await, digest: head.digest, snapshots }
}
