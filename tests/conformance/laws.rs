//! The laws, each as a function over any backend.

use std::time::Duration;

use silvertine::engine::{
    digest::Digest,
    event::{Topic, TopicSet},
    log::{
        Applied, Batch, EventLog, IngressCursor, Lease, LogError, LogErrorKind, Page, Published,
        RangeQuery,
    },
    pos::Pos,
};

use crate::{
    beds::Bed,
    fixtures::{ALICE, BOB, CAROL, Draft, message, name},
};

pub const ALL: &[Topic] = &Topic::ALL;

pub async fn acquire<L: EventLog>(log: &L) -> Lease {
    log.acquire(ALICE, b"manifest").await.expect("acquires").lease
}

/// Commits batches of these sizes, topics in turn; returns the head, its digest and everything written.
pub async fn write<L: EventLog>(log: &L, lease: &Lease, sizes: &[usize]) -> (Pos, Digest, Batch) {
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut written = Batch::default();
    let mut topics = Topic::ALL.into_iter().cycle();
    for &size in sizes {
        let topics: Vec<Topic> = topics.by_ref().take(size).collect();
        let draft = Draft::on(head, digest, &topics);
        let committed = log.commit(lease, &draft.commit(lease)).await.expect("commits");
        assert_eq!((committed.head, committed.duplicate), (draft.head(), false));
        for entry in draft.entries.iter() {
            written.push_encoded(entry.bytes).expect("encoded");
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
        let Page { entries, next } = log.range(query).await.expect("reads");
        assert!(entries.len() <= limit, "a page keeps its limit");
        assert!(next.is_none() || !entries.is_empty(), "a page that goes on holds something");
        for entry in entries.iter() {
            assert!(topics.contains(entry.topic), "only what was asked for");
            all.push_encoded(entry.bytes).expect("encoded");
        }
        after = next;
    }
    all
}

async fn everything<L: EventLog>(log: &L) -> Batch {
    read_all(log, TopicSet::ALL, 100, Pos::ZERO).await
}

fn kind<T: std::fmt::Debug>(result: Result<T, LogError>) -> LogErrorKind {
    result.expect_err("must be refused").kind
}

pub async fn l1_positions_strictly_increase_and_lower_ones_are_refused(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (head, digest, _) = write(&log, &lease, &[3, 4, 5]).await;
    let read = everything(&log).await;
    let positions: Vec<Pos> = read.iter().map(|entry| entry.pos).collect();
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    // Entries that begin below the head, though the head is expected rightly.
    let mut low = Draft::on(Pos { ms: head.ms, seq: head.seq - 2 }, digest, ALL);
    low.expected = head;
    let refused = log.commit(&lease, &low.commit(&lease)).await;
    assert!(matches!(kind(refused), LogErrorKind::Invalid { .. }));
    assert_eq!(everything(&log).await, read);
}

pub async fn l2_range_equals_commit_order_for_any_topics_and_page_size(bed: &mut impl Bed) {
    let log = bed.log();
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
            assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{topics:?} limit {limit}");
        }
    }
    let middle = written.get(17).pos;
    let behind = read_all(&log, TopicSet::ALL, 4, middle).await;
    assert_eq!(behind.first_pos().map(|pos| pos.seq), Some(middle.seq + 1));
    assert_eq!(behind.len(), written.len() - 18);
}

pub async fn l2_range_never_goes_past_the_committed_head(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (head, _, written) = write(&log, &lease, &[5]).await;
    assert_eq!(everything(&log).await, written);
    let beyond = log.range(RangeQuery::all_after(head)).await.expect("reads");
    assert!(beyond.entries.is_empty() && beyond.next.is_none());
    let far = Pos { ms: head.ms + 1_000, seq: head.seq + 1_000 };
    let beyond = log.range(RangeQuery::all_after(far)).await.expect("reads");
    assert!(beyond.entries.is_empty() && beyond.next.is_none());
}

pub async fn l3_a_refused_commit_leaves_nothing(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (head, digest, _) = write(&log, &lease, &[5]).await;
    log.publish(&[message("p", 1)]).await.expect("publishes");
    let before = (log.head().await.expect("reads"), everything(&log).await);
    let wrong = Pos { ms: head.ms, seq: head.seq + 1 };
    let mut draft = Draft::on(wrong, digest, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 1)]));
    let refused = log.commit(&lease, &draft.commit(&lease)).await;
    assert_eq!(kind(refused), LogErrorKind::Conflict { expected: wrong, head });
    assert_eq!((log.head().await.expect("reads"), everything(&log).await), before);
    assert_eq!(log.snapshots().await.expect("reads"), []);
    let waiting =
        log.ingress(None, &IngressCursor::new(), 10, Duration::ZERO).await.expect("reads");
    assert_eq!(waiting, [message("p", 1)]);
    drop(log);
    bed.reopen();
    let log = bed.log();
    assert_eq!((log.head().await.expect("reads"), everything(&log).await), before);
    let acquired = log.acquire(ALICE, b"").await.expect("acquires");
    assert_eq!(acquired.checkpoint, b"after 0");
}

pub async fn l4_the_same_commit_again_is_a_duplicate_and_changes_nothing(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL).with_snapshot(b"one", Pos::ZERO);
    let first = log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
    assert!(!first.duplicate);
    let stats = log.stats().await.expect("reads");
    for _ in 0..3 {
        let again = log.commit(&lease, &draft.commit(&lease)).await.expect("is recognised");
        assert_eq!((again.head, again.duplicate), (first.head, true));
    }
    assert_eq!(everything(&log).await, draft.entries);
    let after = log.stats().await.expect("reads");
    assert_eq!((after.entries, after.snapshots), (stats.entries, stats.snapshots));
    // Another commit on the same expected head is no repetition.
    let other = Draft::on(Pos::ZERO, Digest::EMPTY, &[Topic::Fill]);
    let refused = log.commit(&lease, &other.commit(&lease)).await;
    assert!(matches!(kind(refused), LogErrorKind::Conflict { .. }));
}

pub async fn l4_a_duplicate_is_recognised_after_a_restart(bed: &mut impl Bed) {
    let lease = acquire(&bed.log()).await;
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    bed.log().commit(&lease, &draft.commit(&lease)).await.expect("commits");
    bed.reopen();
    let again = bed.log().commit(&lease, &draft.commit(&lease)).await.expect("is recognised");
    assert!(again.duplicate);
    assert_eq!(everything(&bed.log()).await, draft.entries);
}

pub async fn l5_every_earlier_owner_is_fenced(bed: &mut impl Bed) {
    let log = bed.log();
    let mut earlier = Vec::new();
    for owner in [ALICE, BOB, CAROL, ALICE] {
        earlier.push(log.acquire(owner, b"m").await.expect("acquires").lease);
    }
    let newest = earlier.pop().expect("four of them");
    assert!(earlier.iter().all(|lease| lease.epoch < newest.epoch));
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    for round in 0..2 {
        for lease in &earlier {
            let fenced = LogErrorKind::Fenced { ours: lease.epoch, current: newest.epoch };
            assert_eq!(kind(log.commit(lease, &draft.commit(lease)).await), fenced);
            if round == 1 {
                assert_eq!(kind(log.trim(lease, draft.head()).await), fenced);
            }
        }
        if round == 0 {
            assert!(everything(&log).await.is_empty());
            log.commit(&newest, &draft.commit(&newest)).await.expect("the owner commits");
        }
    }
    drop(log);
    bed.reopen();
    let log = bed.log();
    assert_eq!(everything(&log).await, draft.entries);
    let stale = Draft::on(draft.head(), draft.digest, ALL);
    let refused = log.commit(&earlier[0], &stale.commit(&earlier[0])).await;
    assert!(matches!(kind(refused), LogErrorKind::Fenced { .. }));
}

pub async fn l5_a_former_owner_does_not_read_the_ingress_as_the_owner(bed: &mut impl Bed) {
    let log = bed.log();
    log.publish(&[message("p", 1), message("p", 2)]).await.expect("publishes");
    let first = acquire(&log).await;
    let nothing = IngressCursor::new();
    let read = async |lease: Option<&Lease>, wait| log.ingress(lease, &nothing, 10, wait).await;
    assert_eq!(read(Some(&first), Duration::ZERO).await.expect("is the owner").len(), 2);
    log.acquire(BOB, b"").await.expect("acquires");
    for wait in [Duration::ZERO, Duration::from_millis(5)] {
        let refused = read(Some(&first), wait).await.expect_err("is not the owner any more");
        assert!(matches!(refused.kind, LogErrorKind::Fenced { .. }), "{refused}");
        assert_eq!(refused.applied, Applied::No);
    }
    assert_eq!(read(None, Duration::ZERO).await.expect("anybody may look").len(), 2);
}

pub async fn l5_the_same_owner_acquires_again_without_fencing_itself(bed: &mut impl Bed) {
    let log = bed.log();
    let first = acquire(&log).await;
    assert_eq!(acquire(&log).await, first);
    write(&log, &first, &[3]).await;
    assert_eq!(acquire(&log).await, first);
}

pub async fn l6_a_restart_between_any_two_operations_loses_nothing(bed: &mut impl Bed) {
    let lease = acquire(&bed.log()).await;
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut written = Batch::default();
    for round in 0..6_u64 {
        bed.reopen();
        let draft = Draft::on(head, digest, ALL).with_snapshot(&[round as u8; 9], Pos::ZERO);
        bed.log().commit(&lease, &draft.commit(&lease)).await.expect("commits");
        draft.entries.iter().for_each(|entry| written.push_encoded(entry.bytes).expect("encoded"));
        (head, digest) = (draft.head(), draft.digest);
        bed.reopen();
        let log = bed.log();
        log.publish(&[message("p", round + 1)]).await.expect("publishes");
        let found = log.head().await.expect("reads").expect("exists");
        assert_eq!((found.pos, found.digest), (head, digest));
        drop(log);
        bed.reopen();
        let log = bed.log();
        assert_eq!(everything(&log).await, written);
        assert_eq!(log.snapshot(head).await.expect("reads"), Some(vec![round as u8; 9]));
        let waiting = log.ingress(None, &IngressCursor::new(), 100, Duration::ZERO).await;
        assert_eq!(waiting.expect("reads").len() as u64, round + 1);
    }
}

/// Three commits with a snapshot each; returns their positions.
async fn with_snapshots<L: EventLog>(log: &L, lease: &Lease) -> (Vec<Pos>, Digest) {
    let (mut head, mut digest) = (Pos::ZERO, Digest::EMPTY);
    let mut positions = Vec::new();
    for n in 0..3_u8 {
        let draft = Draft::on(head, digest, ALL).with_snapshot(&[n], Pos::ZERO);
        log.commit(lease, &draft.commit(lease)).await.expect("commits");
        (head, digest) = (draft.head(), draft.digest);
        positions.push(head);
    }
    (positions, digest)
}

pub async fn l8_trimming_stops_at_the_floor_and_readers_below_are_told(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (snapshots, _) = with_snapshots(&log, &lease).await;
    let above = Pos { ms: snapshots[2].ms, seq: snapshots[2].seq + 1 };
    assert!(matches!(kind(log.trim(&lease, above).await), LogErrorKind::Invalid { .. }));
    let between = Pos { ms: snapshots[0].ms, seq: snapshots[0].seq + 1 };
    assert_eq!(log.trim(&lease, between).await, Ok(0), "not a snapshot");
    assert_eq!(everything(&log).await.len(), 15);
    assert_eq!(log.trim(&lease, snapshots[1]).await, Ok(10));
    assert_eq!(log.snapshots().await.expect("reads"), snapshots[1..]);
    drop(log);
    for restarted in [false, true] {
        if restarted {
            bed.reopen();
        }
        let log = bed.log();
        for below in [Pos::ZERO, snapshots[0], Pos { seq: snapshots[1].seq - 1, ..snapshots[1] }] {
            let refused = log.range(RangeQuery::all_after(below)).await;
            assert_eq!(kind(refused), LogErrorKind::Trimmed { through: snapshots[1] });
        }
        let rest = read_all(&log, TopicSet::ALL, 2, snapshots[1]).await;
        assert_eq!(rest.len(), 5);
    }
}

pub async fn l8_trimming_changes_neither_positions_nor_digest(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    log.trim(&lease, snapshots[2]).await.expect("trims");
    let head = log.head().await.expect("reads").expect("exists");
    assert_eq!((head.pos, head.digest, head.trimmed), (snapshots[2], digest, snapshots[2]));
    let draft = Draft::on(head.pos, head.digest, ALL);
    log.commit(&lease, &draft.commit(&lease)).await.expect("goes on");
    let rest = read_all(&log, TopicSet::ALL, 100, snapshots[2]).await;
    assert_eq!(rest, draft.entries);
}

pub async fn ingress_is_idempotent_by_producer_and_number(bed: &mut impl Bed) {
    use Published::{Duplicate, Stored};
    let log = bed.log();
    acquire(&log).await;
    let sent = [message("p", 1), message("q", 1), message("p", 2), message("p", 2)];
    let answers = log.publish(&sent).await.expect("publishes");
    assert_eq!(answers, [Stored, Stored, Stored, Duplicate]);
    drop(log);
    bed.reopen();
    let log = bed.log();
    let again = [message("p", 1), message("p", 2), message("p", 5), message("p", 4)];
    let answers = log.publish(&again).await.expect("publishes");
    assert_eq!(answers, [Duplicate, Duplicate, Stored, Duplicate]);
    let waiting =
        log.ingress(None, &IngressCursor::new(), 100, Duration::ZERO).await.expect("reads");
    let expected = [message("p", 1), message("p", 2), message("p", 5), message("q", 1)];
    assert_eq!(waiting, expected);
    assert!(log.publish(&[message("p", 0)]).await.is_err());
}

pub async fn consumed_ingress_stays_refused_after_it_is_discarded(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let sent: Vec<_> = (1..=10).map(|seq| message("p", seq)).collect();
    log.publish(&sent).await.expect("publishes");
    let mut draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 10)]));
    log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
    assert_eq!(log.stats().await.expect("reads").ingress, 0);
    drop(log);
    bed.reopen();
    let answers = bed.log().publish(&sent).await.expect("publishes");
    assert!(answers.iter().all(|&answer| answer == Published::Duplicate));
}

pub async fn ingress_is_in_order_for_each_producer_and_limited(bed: &mut impl Bed) {
    let log = bed.log();
    acquire(&log).await;
    let nothing = log.ingress(None, &IngressCursor::new(), 10, Duration::from_millis(2)).await;
    assert_eq!(nothing.expect("an empty ingress is no error"), []);
    for seq in 1..=300 {
        log.publish(&[message("p", seq), message("q", seq)]).await.expect("publishes");
    }
    let mut cursor = IngressCursor::new();
    let mut seen = 0;
    loop {
        let wait = Duration::from_millis(2);
        let page = log.ingress(None, &cursor, 70, wait).await.expect("reads");
        assert!(page.len() <= 70);
        if page.is_empty() {
            break;
        }
        for got in page {
            let last = cursor.insert(got.producer, got.seq).unwrap_or(0);
            assert_eq!(got.seq, last + 1);
            seen += 1;
        }
    }
    assert_eq!(seen, 600);
}

pub async fn a_snapshot_comes_back_byte_for_byte_and_old_ones_go(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    let large: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let draft = Draft::on(snapshots[2], digest, ALL).with_snapshot(&large, snapshots[1]);
    log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
    drop(log);
    bed.reopen();
    let log = bed.log();
    let kept = [snapshots[1], snapshots[2], draft.head()];
    assert_eq!(log.snapshots().await.expect("reads"), kept);
    assert_eq!(log.snapshot(draft.head()).await.expect("reads"), Some(large));
    assert_eq!(log.snapshot(snapshots[0]).await.expect("reads"), None);
}

pub async fn manifest_and_checkpoint_come_back(bed: &mut impl Bed) {
    let log = bed.log();
    let first = log.acquire(ALICE, b"first").await.expect("acquires");
    assert_eq!((first.manifest.as_slice(), first.checkpoint.as_slice()), (&b"first"[..], &b""[..]));
    let draft = Draft::on(Pos::ZERO, Digest::EMPTY, ALL);
    log.commit(&first.lease, &draft.commit(&first.lease)).await.expect("commits");
    drop(log);
    bed.reopen();
    let second = bed.log().acquire(BOB, b"second").await.expect("acquires");
    assert_eq!(second.manifest, b"first");
    assert_eq!(second.checkpoint, draft.checkpoint);
    assert_eq!((second.head.pos, second.head.digest), (draft.head(), draft.digest));
    assert_eq!(bed.log().manifest().await.expect("reads"), Some(b"first".to_vec()));
}

/// Entries, snapshots and messages that are kept.
async fn counts<L: EventLog>(log: &L) -> (u64, u64, u64) {
    let stats = log.stats().await.expect("reads");
    assert!(stats.bytes > 0, "what is kept takes room");
    (stats.entries, stats.snapshots, stats.ingress)
}

pub async fn stats_count_what_is_kept(bed: &mut impl Bed) {
    let log = bed.log();
    let lease = acquire(&log).await;
    assert_eq!(log.stats().await.expect("reads").entries, 0);
    let (snapshots, digest) = with_snapshots(&log, &lease).await;
    log.publish(&[message("p", 1), message("p", 2), message("q", 9)]).await.expect("publishes");
    assert_eq!(counts(&log).await, (15, 3, 3));
    log.trim(&lease, snapshots[1]).await.expect("trims");
    assert_eq!(counts(&log).await, (5, 2, 3));
    let mut draft = Draft::on(snapshots[2], digest, ALL);
    draft.ingress_done = Some(IngressCursor::from([(name("p"), 2), (name("q"), 8)]));
    log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
    assert_eq!(counts(&log).await, (10, 2, 1));
    drop(log);
    bed.reopen();
    assert_eq!(counts(&bed.log()).await, (10, 2, 1));
}

pub async fn a_log_that_nobody_acquired_does_not_exist(bed: &mut impl Bed) {
    let log = bed.log();
    assert_eq!(log.head().await.expect("reads"), None);
    assert_eq!(log.manifest().await.expect("reads"), None);
    assert!(everything(&log).await.is_empty());
}

/// Everything that one fixed history leaves behind: the entries, and the head's digest.
pub async fn written_by_a_fixed_history(bed: &mut impl Bed) -> (Batch, Digest, Vec<Pos>) {
    let log = bed.log();
    let lease = acquire(&log).await;
    let (head, digest, _) = write(&log, &lease, &[1, 5, 17, 40]).await;
    let draft = Draft::on(head, digest, ALL).with_snapshot(b"snapshot", Pos::ZERO);
    log.commit(&lease, &draft.commit(&lease)).await.expect("commits");
    drop(log);
    bed.reopen();
    let log = bed.log();
    let head = log.head().await.expect("reads").expect("exists");
    (everything(&log).await, head.digest, log.snapshots().await.expect("reads"))
}
