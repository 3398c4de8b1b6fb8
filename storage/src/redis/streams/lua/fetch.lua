
-- Hands messages to a member. The last lane holds the group's replays. ARGV: limit, then as 1 or 0: what the
-- member held, dead members and replays, retries, new messages, least urgent lane first, where the lanes stand; then
-- milliseconds after which a member has died, milliseconds that keys are remembered. Retries are looked for without
-- the rest by those who wait for an ordering key to be free.
-- Answers messages {lane, id, fields, why, tries, deliveries, done}; in how many milliseconds the next retry
-- is due (-1: none); whether there is more to look through; where each lane and the bell stand.
local PAGE, PARK_MAX, HEAL_MAX = 1000, 1000, 10000
local limit, own, tend, retries, new = number(), take() == '1', take() == '1', take() == '1', take() == '1'
local reverse, cursors = take() == '1', take() == '1'
local reclaim_after, window = number(), number()
local replays = #lanes
local sorted = {}
for i = 1, replays - 1 do sorted[i] = reverse and replays - i or i end
sorted[replays] = replays

local function last_delivered(lane)
  for _, info in ipairs(call('XINFO', 'GROUPS', lane.stream)) do
    info = pairs_of(info)
    if info.name == group then return info['last-delivered-id'] end
  end
end

if tend or own then
  for _, lane in ipairs(lanes) do
    -- Fails where the group is gone, and nothing has been written yet.
    local oldest = call('XPENDING', lane.stream, group, '-', '+', 1)[1]
    lane.floor = oldest and before(oldest[1]) or last_delivered(lane)
  end
  -- Everything up to there is handled: where the group begins should somebody remove it.
  for _, lane in ipairs(lanes) do
    touch(lane)
    if lane.floor then call('HSET', lane.n, 'floor', lane.floor) end
  end
end

local out, parked = {}, 0
local function deliver(i, id, fields, why, deliveries)
  local tries, done = false, 0
  if why ~= 'n' then tries = call('HGET', lanes[i].tries, id) end
  local name = fields and field(fields, 'key')
  if name and is_done(name, window) then done = 1 end
  out[#out + 1] = {i, id, fields, why, tries, deliveries, done}
end

local function take_own(i)
  local lane, counts, from = lanes[i], {}, '-'
  repeat
    local held = call('XPENDING', lane.stream, group, from, '+', PAGE, me)
    for _, entry in ipairs(held) do
      counts[entry[1]] = entry[4]
      from = '(' .. entry[1]
    end
  until #held < PAGE
  local after, read = '0-0', nil
  repeat
    read = call('XREADGROUP', 'GROUP', group, me, 'COUNT', PAGE, 'STREAMS', lane.stream, after)
    read = read and read[1][2] or {}
    for _, entry in ipairs(read) do
      after = entry[1]
      deliver(i, after, entry[2], 'o', (counts[after] or 0) + 1)
    end
  until #read < PAGE
end

-- Hands over a message that is pending already. One that is gone stays whose it was, and comes again after a
-- while unless it is buried.
local function hand_over(i, id, why, deliveries)
  local lane, fields = lanes[i], message(lanes[i], id)
  if fields then
    call('XCLAIM', lane.stream, group, me, 0, id, 'RETRYCOUNT', deliveries + 1, 'JUSTID')
    call('ZREM', lane.due, id)
    deliver(i, id, fields, why, deliveries + 1)
  elseif why == 'd' then
    call('ZADD', lane.due, int(now + reclaim_after), id)
    deliver(i, id, false, why, deliveries + 1)
  elseif call('ZADD', lane.due, 'NX', int(now + reclaim_after), id) == 1 then
    deliver(i, id, false, why, deliveries + 1)
  end
end

local function is_member(name) return name ~= WAITING and name ~= PARKED end

-- What retries have lost their time, or wait in a line that is no more.
local function heal(lane, name, count)
  if name == WAITING and count > call('ZCARD', lane.due) then
    for _, entry in ipairs(call('XPENDING', lane.stream, group, '-', '+', HEAL_MAX, WAITING)) do
      call('ZADD', lane.due, 'NX', int(now), entry[1])
    end
  elseif name == PARKED and order_by == '' then
    for _, entry in ipairs(call('XPENDING', lane.stream, group, '-', '+', PAGE, PARKED)) do
      wait_until(lane, entry[1], now)
    end
    call('DEL', order_key, parked_key)
  end
end

-- A server that was down has heard of nobody for a while, and that is no reason to take anything away.
local function is_up_for(ms)
  local seconds = string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  return not seconds or (tonumber(seconds) + 1) * 1000 >= ms
end

-- Takes over what members hold that have died. One look serves all members for a while.
local function reclaim()
  local looked = tonumber(call('HGET', lanes[1].n, 'looked') or '0')
  if now - looked < math.min(reclaim_after / 8, 1000) and now >= looked then return end
  local idle, holds, names = {}, {}, {}
  for _, lane in ipairs(lanes) do
    for _, info in ipairs(call('XINFO', 'CONSUMERS', lane.stream, group)) do
      info = pairs_of(info)
      if not is_member(info.name) then
        if info.pending > 0 then heal(lane, info.name, info.pending) end
      elseif info.name ~= me then
        if not idle[info.name] then names[#names + 1] = info.name end
        idle[info.name] = math.min(idle[info.name] or info.idle, info.idle)
        holds[info.name] = (holds[info.name] or 0) + info.pending
      end
    end
  end
  for _, name in ipairs(names) do
    if idle[name] >= reclaim_after and holds[name] > 0 and is_up_for(reclaim_after) then
      for _, i in ipairs(sorted) do
        local room = limit - #out
        -- There is more to take over at once.
        if room <= 0 then return end
        for _, entry in ipairs(call('XPENDING', lanes[i].stream, group, '-', '+', room, name)) do
          hand_over(i, entry[1], 'r', entry[4])
        end
      end
    elseif holds[name] == 0 and idle[name] >= reclaim_after then
      -- It is created again should it come back; what it held would go with it.
      for _, lane in ipairs(lanes) do call('XGROUP', 'DELCONSUMER', lane.stream, group, name) end
    end
  end
  call('HSET', lanes[1].n, 'looked', int(now))
end

local next_due = -1
local function take_due(i)
  local lane, room = lanes[i], limit - #out
  if room > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', lane.due, '-inf', int(now), 'LIMIT', 0, room)) do
      local entry = pending(lane, id)
      if entry then hand_over(i, id, 'd', entry[4]) else call('ZREM', lane.due, id) end
    end
  end
  local first = call('ZRANGE', lane.due, 0, 0, 'WITHSCORES')[2]
  if first then
    local pause = math.max(tonumber(first) - now, 0)
    if next_due < 0 or pause < next_due then next_due = pause end
  end
end

-- Messages that are parked take no room, so it may need more than one look.
local function take_new(i)
  local lane = lanes[i]
  while #out < limit and parked < PARK_MAX do
    local read = call('XREADGROUP', 'GROUP', group, me, 'COUNT', limit - #out, 'STREAMS', lane.stream, '>')
    if not read then return end
    for _, entry in ipairs(read[1][2]) do
      local by = order_by ~= '' and field(entry[2], order_by)
      if by and not enter(lane, entry[1], redis.sha1hex(by)) then
        call('XCLAIM', lane.stream, group, PARKED, 0, entry[1], 'RETRYCOUNT', 0, 'JUSTID')
        parked = parked + 1
      else
        deliver(i, entry[1], entry[2], 'n', 1)
      end
    end
    if order_by == '' then return end
  end
end

if own then
  for _, i in ipairs(sorted) do take_own(i) end
end
if tend then reclaim() end
if retries then
  for _, i in ipairs(sorted) do take_due(i) end
end
if tend then take_new(replays) end
if new then
  for _, i in ipairs(sorted) do
    if i ~= replays then take_new(i) end
  end
end
-- Redis 7.0 takes no notice of a member that it has nothing for.
if #out == 0 and parked == 0 then touch(lanes[1]) end
local places = {}
if cursors then
  for i, lane in ipairs(lanes) do places[i] = last_delivered(lane) or '0-0' end
  local rung = call('XREVRANGE', bell_key, '+', '-', 'COUNT', 1)[1]
  places[#places + 1] = rung and rung[1] or '0-0'
end
return {out, int(next_due), parked >= PARK_MAX and 1 or 0, places}
