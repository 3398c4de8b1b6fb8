//! The Lua that makes writes atomic.
//!
//! All begin with a `#!lua` shebang: Redis then refuses a whole script before its first line when it
//! is out of memory, read-only or cannot persist. Lua has no rollback, so each script checks
//! everything that could fail before its first write. Ids are compared as text, and numbers of entries taken
//! apart: Lua's numbers are doubles and would corrupt 64-bit integers.

use redis::{Cmd, Script, Value};

use super::link::{Failed, Link};

/// A script and the hash by which a server that has seen it knows it.
pub(super) struct Lua {
    code: String,
    hash: String,
}

impl Lua {
    pub(super) fn new(parts: &[&str]) -> Self {
        Self::from_code(format!("#!lua{}", parts.concat()))
    }

    /// One that tells Redis how it behaves: `allow-oom`, `no-writes`.
    pub(super) fn with_flags(flags: &str, parts: &[&str]) -> Self {
        Self::from_code(format!("#!lua flags={flags}{}", parts.concat()))
    }

    fn from_code(code: String) -> Self {
        let hash = Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }
}

/// The same as one command of a transaction. A server that does not know the script answers `NOSCRIPT` there.
pub(super) fn queue(script: &Lua, fill: impl Fn(&mut Cmd)) -> Cmd {
    let mut by_hash = redis::cmd("EVALSHA");
    by_hash.arg(&script.hash);
    fill(&mut by_hash);
    by_hash
}

/// Runs a script by its hash; the server that does not know it gets its text.
pub(super) async fn run(
    link: &Link,
    script: &Lua,
    fill: impl Fn(&mut Cmd),
) -> Result<Value, Failed> {
    match link.call(&queue(script, &fill)).await {
        Err(Failed { error, .. }) if error.code() == Some("NOSCRIPT") => {
            let mut by_text = redis::cmd("EVAL");
            by_text.arg(&script.code);
            fill(&mut by_text);
            link.call(&by_text).await
        }
        answer => answer,
    }
}

/// Version of the layout of a partition's keys.
pub(super) const FORMAT_VERSION: u64 = 1;

pub(super) struct Scripts {
    pub(super) acquire: Lua,
    pub(super) commit: Lua,
    pub(super) trim: Lua,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            acquire: Lua::new(&[ACQUIRE]),
            commit: Lua::new(&[AS_OWNER, COMMIT]),
            trim: Lua::new(&[AS_OWNER, TRIM]),
        }
    }
}

/// KEYS: meta, snapshots, five topics, producers. ARGV: owner, manifest, format version.
/// Answers `OK` and the meta fields, `WRONGKEY` and a key, or `VERSION` and what was found.
const ACQUIRE: &str = r"
local wanted = {'hash', 'hash', 'stream', 'stream', 'stream', 'stream', 'stream', 'set'}
for i = 1, #wanted do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= wanted[i] then return {'WRONGKEY', KEYS[i], found} end
end
local meta = redis.call('HMGET', KEYS[1], 'v', 'owner', 'head')
if not meta[1] then
  for i = 1, 7 do
    if redis.call('EXISTS', KEYS[i]) == 1 then return {'WRONGKEY', KEYS[i], 'leftover without meta'} end
  end
  redis.call('HSET', KEYS[1], 'v', ARGV[3], 'epoch', '1', 'owner', ARGV[1], 'head', '0-0',
    'trimmed', '0-0', 'digest', '', 'commit', '', 'checkpoint', '', 'manifest', ARGV[2])
elseif meta[1] ~= ARGV[3] then
  return {'VERSION', meta[1]}
elseif meta[2] ~= ARGV[1] then
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  redis.call('HSET', KEYS[1], 'owner', ARGV[1])
end
return {'OK', redis.call('HMGET', KEYS[1], 'epoch', 'head', 'trimmed', 'digest', 'commit',
  'checkpoint', 'manifest'), redis.call('HKEYS', KEYS[2])}
";

/// How scripts of owners begin. KEYS: meta, snapshots, five topics. ARGV: epoch, owner.
/// Answers `GONE`, `BROKEN` and a field of meta, or `FENCED` and the epoch.
///
/// Entries are numbered without gaps over all topics, so head and trimmed position tell how many the streams
/// hold together. Where they hold another number, somebody has deleted, trimmed or written behind our back.
const AS_OWNER: &str = r"
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'head', 'trimmed', 'commit')
local head = string.match(meta[3] or '', '^%d+%-(%d+)$')
local trimmed = string.match(meta[4] or '', '^%d+%-(%d+)$')
if not (meta[1] and meta[2] and head and trimmed and meta[5]) then
  if redis.call('EXISTS', KEYS[1]) == 0 then return {'GONE'} end
  return {'BROKEN', not meta[1] and 'epoch' or not meta[2] and 'owner' or not head and 'head'
    or not trimmed and 'trimmed' or 'commit'}
end
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return {'FENCED', meta[1]} end

local function part(number, from, to) return tonumber(string.sub(number, from, to)) or 0 end

local function miscounted(found)
  local expected
  if #head < 16 then
    expected = tonumber(head) - tonumber(trimmed)
  else
    expected = (part(head, 1, -10) - part(trimmed, 1, -10)) * 1e9
      + part(head, -9, -1) - part(trimmed, -9, -1)
  end
  if found == expected then return nil end
  return {'MISCOUNTED', meta[3], string.format('%.0f', expected), string.format('%.0f', found)}
end
";

/// KEYS: meta, snapshots, five topics, then one ingress stream per consumed producer.
/// ARGV: 1 epoch, 2 owner, 3 commit id, 4 expected head, 5 new head, 6 digest, 7 checkpoint,
/// 8 snapshot (empty: none), 9 number of snapshots to drop, 10–14 entries per topic, then the positions
/// of those snapshots, then per ingress stream the first id to keep, then (id, bytes) per entry, topic
/// by topic.
const COMMIT: &str = r"
if meta[5] == ARGV[3] then return {'DUPLICATE', meta[3]} end
if meta[3] ~= ARGV[4] then return {'CONFLICT', meta[3]} end

local function above(id, last)
  local ams, aseq = string.match(id, '^(%d+)%-(%d+)$')
  local bms, bseq = string.match(last, '^(%d+)%-(%d+)$')
  if #ams ~= #bms then return #ams > #bms end
  if ams ~= bms then return ams > bms end
  if #aseq ~= #bseq then return #aseq > #bseq end
  return aseq > bseq
end

local dropped = tonumber(ARGV[9])
local ingress = #KEYS - 7
local first = 15 + dropped + ingress
local at = first
local found = 0
for topic = 1, 5 do
  local count = tonumber(ARGV[9 + topic])
  if count == 0 then
    found = found + redis.call('XLEN', KEYS[2 + topic])
  else
    local stream = redis.pcall('XINFO', 'STREAM', KEYS[2 + topic])
    if stream.err then
      if not string.find(stream.err, 'no such key') then return redis.error_reply(stream.err) end
    else
      for i = 1, #stream, 2 do
        local field = stream[i]
        if field == 'length' then
          found = found + stream[i + 1]
        elseif field == 'last-generated-id' and not above(ARGV[at], stream[i + 1]) then
          return {'FOREIGN', KEYS[2 + topic], stream[i + 1]}
        end
      end
    end
  end
  at = at + 2 * count
end
if at ~= #ARGV + 1 then return redis.error_reply('ERR commit arguments do not add up') end
local wrong = miscounted(found)
if wrong then return wrong end
redis.call('HLEN', KEYS[2])
for i = 1, ingress do redis.call('XLEN', KEYS[7 + i]) end

at = first
local call = redis.call
for topic = 1, 5 do
  local key = KEYS[2 + topic]
  for i = 1, tonumber(ARGV[9 + topic]) do
    call('XADD', key, ARGV[at], 'e', ARGV[at + 1])
    at = at + 2
  end
end
for i = 1, dropped do call('HDEL', KEYS[2], ARGV[14 + i]) end
if ARGV[8] ~= '' then call('HSET', KEYS[2], ARGV[5], ARGV[8]) end
for i = 1, ingress do call('XTRIM', KEYS[7 + i], 'MINID', ARGV[14 + dropped + i]) end
call('HSET', KEYS[1], 'head', ARGV[5], 'digest', ARGV[6], 'commit', ARGV[3], 'checkpoint', ARGV[7])
return {'OK', ARGV[5]}
";

/// KEYS: meta, snapshots, five topics. ARGV: epoch, owner, position, first id to keep, then the
/// positions of snapshots to drop.
const TRIM: &str = r"
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then return {'OK', 0} end
local found = 0
for topic = 1, 5 do found = found + redis.call('XLEN', KEYS[2 + topic]) end
local wrong = miscounted(found)
if wrong then return wrong end
local removed = 0
for topic = 1, 5 do removed = removed + redis.call('XTRIM', KEYS[2 + topic], 'MINID', ARGV[4]) end
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('HSET', KEYS[1], 'trimmed', ARGV[3])
return {'OK', removed}
";
