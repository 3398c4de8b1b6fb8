
-- Counts of one stream and its groups; changes nothing. KEYS: stream, its main stream, dead letters, counts; per
-- group its own counts. ARGV: number of groups; per group its name and the milliseconds after which a member has
-- died. Answers nothing where there is no stream.
local stream, main, dead_key, counts = key(), key(), key(), key()
if call('EXISTS', stream) == 0 then return false end
local info = pairs_of(call('XINFO', 'STREAM', stream))
local first = info['first-entry']
local known, groups = {}, {}
for _, found in ipairs(call('XINFO', 'GROUPS', stream)) do
  found = pairs_of(found)
  known[found.name] = found
end
for _ = 1, number() do
  local name, reclaim_after, n = take(), number(), key()
  local found = known[name]
  if found then
    local waits, parked, members = 0, 0, 0
    local held = call('XPENDING', stream, name)
    for _, owner in ipairs(held[4] or {}) do
      if owner[1] == '~waiting' then waits = tonumber(owner[2]) end
      if owner[1] == '~parked' then parked = tonumber(owner[2]) end
    end
    local there = redis.pcall('XINFO', 'CONSUMERS', main, name)
    for _, member in ipairs(there.err and {} or there) do
      member = pairs_of(member)
      if string.sub(member.name, 1, 1) ~= '~' and (member.pending > 0 or member.idle < reclaim_after) then
        members = members + 1
      end
    end
    local last = found['last-delivered-id']
    local unread = last == info['last-generated-id'] and {}
      or call('XRANGE', stream, last == '0-0' and '-' or '(' .. last, '+', 'COUNT', 1)
    local counted = call('HMGET', n, 'done', 'duplicates', 'dead', 'begun')
    local skipped = call('HGET', counts, 'skipped ' .. stream .. ' ' .. name) or '0'
    local oldest = held[2] or (unread[1] and unread[1][1])
    groups[#groups + 1] = {name, int(held[1]), int(waits), int(parked), counted[1] or '0', counted[2] or '0',
      counted[3] or '0', counted[4] or '0', skipped, oldest or '', #unread, int(members)}
  end
end
return {int(info.length), int(info['entries-added'] or info.length), info['last-generated-id'],
  first and first[1] or '', call('HGET', counts, 'cut ' .. stream) or '0',
  stream == main and int(call('XLEN', dead_key)) or '0', int(now), groups}
