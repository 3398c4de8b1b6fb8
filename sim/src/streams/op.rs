//! Operations on a store of streams as data, so that they can be lost, delayed and come late.

use silvertine_engine::{executor::block_on, pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    Amendment, DeadLetter, Fetch, FetchScope, Fetched, LaneOrder, Member, MessageId, Publication,
    Settled, Settlement, StoreError, StreamName, Streams, Tries,
};

use crate::kernel::catalogue::catalogue;

catalogue! {
    /// An operation on the store.
    pub enum OpKind {
        Publish "publish" "append messages";
        Fetch "poll" "ask for messages";
        Begin "begin" "put on record that a handler is about to start";
        Settle "settle" "say how the handling of messages ended";
        Extend "extend" "show that messages are still worked on";
        Leave "leave" "leave the group";
        Letters "dead letters" "look at dead letters";
        Amend "amend" "change dead letters";
    }
}

/// Who asks something of the store. A member that starts again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Member(u32),
    Producer(u32),
    Operator(u32),
}

/// What a client asks of the store.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Publish(Vec<Publication>),
    Fetch { member: Member, ask: Ask },
    Begin { member: Member, tries: Vec<(MessageId, Tries)> },
    Settle { member: Member, settlements: Vec<Settlement> },
    Extend { member: Member, held: Vec<MessageId> },
    Leave { member: Member },
    Letters { stream: StreamName, after: Pos },
    Amend { stream: StreamName, amendments: Vec<Amendment>, audit: Vec<Publication> },
}

/// What a poll asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) limit: usize,
    pub(super) wait_ns: u64,
    pub(super) scope: FetchScope,
    pub(super) lanes: LaneOrder,
    pub(super) reclaim_after: Span,
}

/// What the store says to it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Published(Vec<Pos>),
    Fetched(Fetched),
    Began(Vec<bool>),
    Settled(Vec<Settled>),
    Extended(Vec<MessageId>),
    Left,
    Letters(Vec<(Pos, DeadLetter)>),
    Amended(Vec<bool>),
}

impl Request {
    pub(super) const fn kind(&self) -> OpKind {
        match self {
            Self::Publish(_) => OpKind::Publish,
            Self::Fetch { .. } => OpKind::Fetch,
            Self::Begin { .. } => OpKind::Begin,
            Self::Settle { .. } => OpKind::Settle,
            Self::Extend { .. } => OpKind::Extend,
            Self::Leave { .. } => OpKind::Leave,
            Self::Letters { .. } => OpKind::Letters,
            Self::Amend { .. } => OpKind::Amend,
        }
    }

    /// For how long the client asks to wait, in nanoseconds.
    pub(super) const fn waits_ns(&self) -> u64 {
        match self {
            Self::Fetch { ask, .. } => ask.wait_ns,
            _ => 0,
        }
    }

    /// Whether polls that wait for something to arrive look again after it.
    pub(super) const fn notifies(&self) -> bool {
        !matches!(self, Self::Fetch { .. } | Self::Letters { .. } | Self::Extend { .. })
    }
}

/// Letters that an operator looks at.
const LETTERS_MAX: usize = 64;

/// Carries a request out at `now`, by the store's clock.
pub(super) fn execute<S: Streams>(
    store: &S,
    request: &Request,
    now: Nanos,
) -> Result<Answer, StoreError> {
    block_on(async {
        Ok(match request {
            Request::Publish(messages) => Answer::Published(store.publish(messages, now).await?),
            Request::Fetch { member, ask } => {
                let poll = Fetch {
                    member,
                    limit: ask.limit,
                    // Waiting is the simulated server's affair.
                    wait: std::time::Duration::ZERO,
                    scope: ask.scope,
                    lanes: ask.lanes,
                    reclaim_after: ask.reclaim_after,
                    now,
                };
                Answer::Fetched(store.fetch(&poll).await?)
            }
            Request::Begin { member, tries } => {
                Answer::Began(store.begin(member, tries, now).await?)
            }
            Request::Settle { member, settlements } => {
                Answer::Settled(store.settle(member, settlements, now).await?)
            }
            Request::Extend { member, held } => {
                Answer::Extended(store.extend(member, held, now).await?)
            }
            Request::Leave { member } => {
                store.leave(member, now).await?;
                Answer::Left
            }
            Request::Letters { stream, after } => {
                Answer::Letters(store.dead_letters(stream, *after, LETTERS_MAX).await?)
            }
            Request::Amend { stream, amendments, audit } => {
                Answer::Amended(store.amend(stream, amendments, audit, now).await?)
            }
        })
    })
}
