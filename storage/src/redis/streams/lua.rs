//! The scripts of named streams, put together from their parts.
//!
//! Each checks everything that could fail before its first write. Redis refuses those that need memory whole when
//! it has none; those that hand messages over and take what was done back run all the same, because only they
//! can make room.

use crate::redis::scripts::Lua;

pub(super) struct Scripts {
    pub(super) declare: Lua,
    pub(super) regroup: Lua,
    pub(super) publish: Lua,
    pub(super) trim: Lua,
    pub(super) relay: Lua,
    pub(super) fetch: Lua,
    pub(super) begin: Lua,
    pub(super) settle: Lua,
    /// The same without outputs and dead letters.
    pub(super) settle_only: Lua,
    pub(super) extend: Lua,
    pub(super) leave: Lua,
    pub(super) stats: Lua,
    pub(super) bury: Lua,
    pub(super) amend: Lua,
    pub(super) swap: Lua,
}

const COMMON: &str = include_str!("lua/common.lua");
const GROUP: &str = include_str!("lua/group.lua");
const APPEND: &str = include_str!("lua/append.lua");
const DEAD: &str = include_str!("lua/dead.lua");
const SETTLE: &str = include_str!("lua/settle.lua");

impl Scripts {
    pub(super) fn new() -> Self {
        let lean = |parts: &[&str]| Lua::with_flags("allow-oom", parts);
        Self {
            declare: Lua::new(&[COMMON, include_str!("lua/declare.lua")]),
            regroup: lean(&[COMMON, GROUP, include_str!("lua/regroup.lua")]),
            publish: Lua::new(&[COMMON, APPEND, include_str!("lua/publish.lua")]),
            trim: lean(&[COMMON, APPEND, include_str!("lua/trim.lua")]),
            relay: Lua::new(&[COMMON, APPEND, include_str!("lua/relay.lua")]),
            fetch: lean(&[COMMON, GROUP, include_str!("lua/fetch.lua")]),
            begin: lean(&[COMMON, GROUP, include_str!("lua/begin.lua")]),
            settle: Lua::new(&[COMMON, GROUP, APPEND, DEAD, SETTLE]),
            settle_only: lean(&[COMMON, GROUP, APPEND, DEAD, SETTLE]),
            extend: lean(&[COMMON, GROUP, include_str!("lua/extend.lua")]),
            leave: lean(&[COMMON, GROUP, include_str!("lua/leave.lua")]),
            stats: Lua::with_flags("no-writes", &[COMMON, include_str!("lua/stats.lua")]),
            bury: Lua::new(&[COMMON, DEAD, include_str!("lua/bury.lua")]),
            amend: Lua::new(&[COMMON, APPEND, DEAD, include_str!("lua/amend.lua")]),
            swap: Lua::new(&[COMMON, include_str!("lua/swap.lua")]),
        }
    }
}
