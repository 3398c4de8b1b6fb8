//! What handing over and settling share: a member's sign of life, and who has an ordering key.

use silvertine_engine::time::Nanos;
use silvertine_streams::Member;

use super::{
    keys::{Key, Tag},
    kv::{Kv, Step},
    records::encode,
};

/// Notes that a member is alive.
pub(super) fn touch<K: Kv>(step: &mut Step<'_, K>, member: &Member, now: Nanos) {
    let key = Key::of(Tag::Member, &member.stream).group(&member.group).consumer(&member.consumer);
    // Whoever works shows it by what it changes; an idle member must not make the store sync five times a second.
    step.note(key.done(), encode(&now));
}

/// Whether somebody has an ordering key, and the number of the last that has ever waited behind.
pub(super) fn holder_key(member: &Member, ordered: &[u8; 16]) -> Vec<u8> {
    Key::of(Tag::Holder, &member.stream).group(&member.group).bytes(ordered).done()
}

/// The messages that wait behind the one that has an ordering key, in order.
pub(super) fn queue(member: &Member, ordered: &[u8; 16]) -> Key {
    Key::of(Tag::Queue, &member.stream).group(&member.group).bytes(ordered)
}
