//! Keys of messages that are done: how a message that is published twice is recognised.

use silvertine_engine::time::Nanos;
use silvertine_streams::{GroupSpec, Member, StoreErrorKind};

use super::{
    keys::{Key, Tag},
    kv::{Kv, Step},
};

/// Whether a message with this key was done within the window.
pub(super) fn is_done<K: Kv>(
    step: &Step<'_, K>,
    member: &Member,
    spec: &GroupSpec,
    key: &str,
    now: Nanos,
) -> Result<bool, StoreErrorKind> {
    let at = step.load::<Nanos>(&done_key(member, key))?;
    Ok(at.is_some_and(|at| at.saturating_add(spec.idempotency_window.duration()) >= now))
}

/// Where the time is kept at which a message with this key was done.
pub(super) fn done_key(member: &Member, key: &str) -> Vec<u8> {
    Key::of(Tag::Done, &member.stream).group(&member.group).bytes(key.as_bytes()).done()
}
