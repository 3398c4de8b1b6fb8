//! Small events, batches and commits: what the laws write, for an author's own tests too.

use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    event::{Event, EventId, Header, Liquidity, Origin, Side, System, Topic},
    log::{Batch, Commit, CommitId, IngressMessage, Lease, OwnerId, Snapshot},
    numbers::{Money, Price, Qty, Ratio},
    pos::Pos,
    text::{Name, Symbol},
    time::Nanos,
};

/// An owner.
pub const ALICE: OwnerId = OwnerId(0xa11ce);
/// Another owner.
pub const BOB: OwnerId = OwnerId(0xb0b);
/// A third owner.
pub const CAROL: OwnerId = OwnerId(0xca201);

/// A name.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a short name")
}

/// An entry of any topic; its content depends on its number, so that no two are alike.
#[must_use]
pub fn entry(pos: Pos, topic: Topic) -> Event {
    let (symbol, strategy) = (Symbol::new("X").expect("valid"), name("s"));
    let id = EventId(pos.seq.into());
    let (price, qty) = (Price::from_units(pos.seq as i64), Qty::from_units(1));
    let body = match topic {
        Topic::MarketData => silvertine_engine::event::Trade {
            symbol,
            trade_id: pos.seq,
            price,
            qty,
            aggressor: Side::Buy,
        }
        .into(),
        Topic::Signal => {
            silvertine_engine::event::Signal { symbol, strategy, strength: Ratio::ONE }.into()
        }
        Topic::Order => silvertine_engine::event::Order {
            order_id: id,
            symbol,
            strategy,
            side: Side::Sell,
            qty,
            kind: silvertine_engine::event::OrderKind::Limit { price },
            status: silvertine_engine::event::OrderStatus::Submitted,
        }
        .into(),
        Topic::Fill => silvertine_engine::event::Fill {
            order_id: id,
            symbol,
            strategy,
            side: Side::Buy,
            qty,
            price,
            commission: Money::from_units(1),
            liquidity: Liquidity::Maker,
        }
        .into(),
        Topic::System => System::CircuitClosed { handler: strategy }.into(),
    };
    let time = Nanos::from_ms(pos.ms).expect("in range");
    let header = Header {
        id,
        event_time: time,
        recv_time: time,
        source: name("fixture"),
        source_seq: pos.seq,
        correlation: id,
        causation: None,
    };
    Event { pos, time, origin: Origin::Input, header, body }
}

/// What a commit writes, owned.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The head that it builds on.
    pub expected: Pos,
    /// Its entries.
    pub entries: Batch,
    /// The digest over the log with these entries in it.
    pub digest: Digest,
    /// The checkpoint.
    pub checkpoint: Vec<u8>,
    /// A snapshot, and from where on older ones are kept.
    pub snapshot: Option<(Vec<u8>, Pos)>,
    /// What of the ingress it consumes.
    pub ingress_done: Option<silvertine_engine::log::IngressCursor>,
}

impl Draft {
    /// A batch of entries of these topics on top of a head.
    #[must_use]
    pub fn on(head: Pos, digest: Digest, topics: &[Topic]) -> Self {
        let mut entries = Batch::default();
        let mut chained = digest;
        for (n, &topic) in topics.iter().enumerate() {
            let seq = head.seq + 1 + n as u64;
            let pos = Pos { ms: head.ms.max(1_000) + n as u64 / 2, seq };
            chained = chained.chain(entries.push(&entry(pos, topic)));
        }
        Self {
            expected: head,
            entries,
            digest: chained,
            checkpoint: format!("after {}", head.seq).into_bytes(),
            snapshot: None,
            ingress_done: None,
        }
    }

    /// The same with a snapshot.
    #[must_use]
    pub fn with_snapshot(mut self, bytes: &[u8], keep_from: Pos) -> Self {
        self.snapshot = Some((bytes.to_vec(), keep_from));
        self
    }

    /// The commit that an owner makes of it.
    #[must_use]
    pub fn commit<'a>(&'a self, lease: &Lease) -> Commit<'a> {
        Commit {
            id: CommitId::derive(lease, self.expected, self.digest),
            expected: self.expected,
            entries: &self.entries,
            digest: self.digest,
            checkpoint: &self.checkpoint,
            snapshot: self
                .snapshot
                .as_ref()
                .map(|(bytes, keep_from)| Snapshot { bytes, keep_from: *keep_from }),
            ingress_done: self.ingress_done.as_ref(),
        }
    }

    /// The head once it is in the log.
    #[must_use]
    pub fn head(&self) -> Pos {
        self.entries.last_pos().unwrap_or(self.expected)
    }
}

/// A message of a producer, whose payload depends on its number.
#[must_use]
pub fn message(producer: &str, seq: u64) -> IngressMessage {
    let payload = format!("{producer} says {seq}").into_bytes();
    IngressMessage { producer: name(producer), seq, codec: Codec::Json, payload }
}
