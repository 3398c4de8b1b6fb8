
-- One group with its lanes. KEYS: done, order, parked, bell; per lane stream, due, tries, counts, recent.
-- ARGV: group, member, field that orders (empty: none), number of lanes.
--
-- Waiting and parked messages stay in the group's list of pending entries, owned by consumers of these names, so
-- nothing is copied and nothing acknowledged before it is done or dead. XCLAIM would drop an entry whose message
-- is gone, so it is never called on one.
local WAITING, PARKED = '~waiting', '~parked'
local group, me, order_by = take(), take(), take()
local done_key, order_key, parked_key, bell_key = key(), key(), key(), key()
local lanes = {}
for i = 1, number() do
  lanes[i] = {stream = key(), due = key(), tries = key(), n = key(), recent = key()}
end

-- Shows a sign of life and fails where the group is gone: an empty look at what is held.
local function touch(lane)
  if lane.touched then return end
  call('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', lane.stream, LAST)
  lane.touched = true
end

local function message(lane, id)
  local found = call('XRANGE', lane.stream, id, id)[1]
  return found and found[2]
end

-- The list entry of a message: id, owner, idle time, deliveries.
local function pending(lane, id) return call('XPENDING', lane.stream, group, id, id, 1)[1] end

local function is_ours(lane, id)
  local found = pending(lane, id)
  return found and found[2] == me
end

local function wait_until(lane, id, due)
  if message(lane, id) then call('XCLAIM', lane.stream, group, WAITING, 0, id, 'JUSTID') end
  call('ZADD', lane.due, int(due), id)
end

-- Wakes members that wait for an ordering key to be free.
local function ring()
  if order_by ~= '' then call('XADD', bell_key, 'MAXLEN', 1, '*', 'r', '') end
end

local function order_name(lane, id) return lane.stream .. ' ' .. id end

-- Notes that a message is next in line for its ordering key; false when another is before it.
local function enter(lane, id, print)
  local name = order_name(lane, id)
  local holder = call('HGET', order_key, 'h' .. print)
  if holder == name then return true end
  call('HSET', order_key, 'm' .. name, print)
  if not holder then
    call('HSET', order_key, 'h' .. print, name)
    return true
  end
  local turn = string.format('%016.0f', call('HINCRBY', order_key, 'turn', 1))
  call('ZADD', parked_key, 0, print .. ':' .. turn .. ':' .. name)
  return false
end

local function queue(print, ...)
  return call('ZRANGEBYLEX', parked_key, '[' .. print .. ':', '(' .. print .. ';', ...)
end

-- The message is finished: the next with its ordering key comes up.
local function pass_on(lane, id)
  if order_by == '' then return end
  local name = order_name(lane, id)
  local print = call('HGET', order_key, 'm' .. name)
  if not print then return end
  call('HDEL', order_key, 'm' .. name)
  if call('HGET', order_key, 'h' .. print) ~= name then
    for _, member in ipairs(queue(print)) do
      if string.sub(member, -#name - 1) == ':' .. name then call('ZREM', parked_key, member) end
    end
    return
  end
  local next = queue(print, 'LIMIT', 0, 1)[1]
  if not next then
    call('HDEL', order_key, 'h' .. print)
    return
  end
  call('ZREM', parked_key, next)
  local stream, next_id = string.match(next, '^%x+:%d+:(.+) (.-)$')
  call('HSET', order_key, 'h' .. print, stream .. ' ' .. next_id)
  for _, other in ipairs(lanes) do
    if other.stream == stream then wait_until(other, next_id, now) end
  end
  ring()
end

local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function is_done(name, window)
  local at = call('ZSCORE', done_key, name)
  return at and tonumber(at) + window >= now
end
