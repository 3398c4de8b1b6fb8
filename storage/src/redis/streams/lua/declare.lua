
-- Creates one stream and its groups where they are missing. KEYS: stream, counts of each group. ARGV: number of
-- groups; per group its name and `beginning` or `end`.
local stream = key()
local wrong = wrong_kind(stream, 'stream')
if wrong then return wrong end
local groups = {}
for i = 1, number() do
  groups[i] = {name = take(), start = take(), n = key()}
  wrong = wrong_kind(groups[i].n, 'hash')
  if wrong then return wrong end
end
if call('EXISTS', stream) == 0 then
  -- A stream without a group is made by a group that goes.
  call('XGROUP', 'CREATE', stream, '~', '0', 'MKSTREAM')
  call('XGROUP', 'DESTROY', stream, '~')
end
local info = pairs_of(call('XINFO', 'STREAM', stream))
local added, known = info['entries-added'] or info.length, {}
for _, found in ipairs(call('XINFO', 'GROUPS', stream)) do
  found = pairs_of(found)
  known[found.name] = found
end
for _, group in ipairs(groups) do
  local found = known[group.name]
  local begun, at
  if found then
    begun = (tonumber(found['entries-read'] or nil) or added - info.length) - found.pending
  elseif call('HEXISTS', group.n, 'begun') == 0 then
    at = group.start == 'end' and info['last-generated-id'] or '0-0'
    begun = group.start == 'end' and added or added - info.length
    call('XGROUP', 'CREATE', stream, group.name, at)
    call('HSET', group.n, 'floor', at)
  end
  -- A group that was there before and is gone is created by its members, where it had been.
  if begun then call('HSETNX', group.n, 'begun', int(begun)) end
end
return 1
