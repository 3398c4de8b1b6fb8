
-- Ends the handling of messages. ARGV: milliseconds that keys are remembered, the most keys; then what is plainly
-- done, lane by lane: number of lanes, per lane its number and the ids; then the others: how many, per message
--   k lane id key (empty: its own place) number-of-outputs, per output target and fields   done
--   r lane id milliseconds tries                                                           to be tried again
--   f lane id                                                                              free for others
--   d lane id story fields                                                                 dead
-- Answers which of the plain ones were lost, and per other A(pplied), D(uplicate) or L(ost).
local window, cap = number(), number()
-- Finished ids are remembered in any case: they tell what was lost, and what a new group need not deliver.
local CHUNK, RECENT_MIN = 1000, 10000
local plain, others, buries = {}, {}, false
touch(lanes[1])
for i = 1, number() do
  local lane = lanes[number()]
  local from, to = span()
  touch(lane)
  plain[i] = {lane, from, to}
end
for i = 1, number() do
  local one = {verb = take(), lane = lanes[number()], id = take()}
  touch(one.lane)
  if one.verb == 'k' then
    one.key, one.outputs = take(), {}
    local is_new = one.key == '' or not is_done(one.key, window)
    for o = 1, number() do
      local target = targets[number()]
      local from, to = span()
      one.outputs[o] = {target, from, to}
      if is_new then target.coming = target.coming + 1 end
    end
  elseif one.verb == 'r' then
    one.after, one.tries = number(), take()
  elseif one.verb == 'd' then
    one.story = take()
    one.from, one.to = span()
    buries = true
  end
  others[i] = one
end
local refused = refusal() or (buries and wrong_kind(dead_key, 'stream'))
if refused then return refused end

-- From here on nothing fails.
local touched = {}
local function finished(lane)
  if not lane.finished then
    lane.finished, lane.plain, lane.done, lane.duplicates, lane.dead = {}, {}, 0, 0, 0
    touched[#touched + 1] = lane
  end
  return lane.finished
end

-- Takes a message out of everything; whoever holds it.
local function finish(lane, id)
  if call('XACK', lane.stream, group, id) == 0 then return false end
  local ids = finished(lane)
  ids[#ids + 1] = id
  pass_on(lane, id)
  return true
end

-- Which of these ids were not acknowledged: XACK tells only how many. They were finished before, and so they are
-- among the recent ones; what a foreign hand has acknowledged cannot be told from what is done.
local function find_lost(lane, from, to, missing)
  local asked, lost, all = {}, {}, missing > to - from
  for i = from, to do
    local id = ARGV[i]
    if all or asked[id] then
      lost[i] = true
      missing = missing - 1
    end
    asked[id] = asked[id] or i
  end
  local last = -1
  while missing > 0 do
    local lines = call('LRANGE', lane.recent, last - 99, last)
    for l = #lines, 1, -1 do
      for id in string.gmatch(lines[l], '%d+%-%d+') do
        if asked[id] and not lost[asked[id]] then
          lost[asked[id]] = true
          missing = missing - 1
        end
      end
    end
    if #lines < 100 then break end
    last = last - 100
  end
  return lost
end

local lost, ordinal = {}, 0
for _, batch in ipairs(plain) do
  local lane = batch[1]
  local ids = finished(lane)
  for from = batch[2], batch[3], CHUNK do
    local to = math.min(from + CHUNK - 1, batch[3])
    local acknowledged = call('XACK', lane.stream, group, unpack(ARGV, from, to))
    lane.done = lane.done + acknowledged
    local missing = to - from + 1 - acknowledged
    if missing == 0 then
      lane.plain[#lane.plain + 1] = {from, to}
    else
      local gone = find_lost(lane, from, to, missing)
      for i = from, to do
        if gone[i] then lost[#lost + 1] = ordinal + i - batch[2] + 1 else ids[#ids + 1] = ARGV[i] end
      end
    end
  end
  ordinal = ordinal + batch[3] - batch[2] + 1
end

local remembered = false
local function done(one)
  -- Nobody has had what is parked, unless before somebody removed the group.
  local found = order_by ~= '' and pending(one.lane, one.id)
  if found and found[2] == PARKED then return 'L' end
  if not finish(one.lane, one.id) then return 'L' end
  if one.key ~= '' and is_done(one.key, window) then
    one.lane.duplicates = one.lane.duplicates + 1
    return 'D'
  end
  one.lane.done = one.lane.done + 1
  if one.key ~= '' and window > 0 then
    call('ZADD', done_key, int(now), one.key)
    remembered = true
  end
  for _, output in ipairs(one.outputs) do append(output[1], output[2], output[3]) end
  return 'A'
end

local function dead(one)
  local found = pending(one.lane, one.id)
  -- What is gone from its stream cannot change hands: whoever found it so may bury it.
  if not found or (found[2] ~= me and message(one.lane, one.id)) then return 'L' end
  finish(one.lane, one.id)
  one.lane.dead = one.lane.dead + 1
  bury(one.from, one.to, one.story)
  return 'A'
end

local results = {}
for i, one in ipairs(others) do
  if one.verb == 'k' then
    results[i] = done(one)
  elseif one.verb == 'd' then
    results[i] = dead(one)
  elseif not is_ours(one.lane, one.id) then
    results[i] = 'L'
  else
    if one.verb == 'r' then call('HSET', one.lane.tries, one.id, one.tries) end
    wait_until(one.lane, one.id, now + (one.after or 0))
    if one.verb == 'f' then ring() end
    results[i] = 'A'
  end
end

local function remember(lane, ids, from, to)
  -- Most messages were never tried before, so most lanes have neither.
  if call('EXISTS', lane.tries, lane.due) > 0 then
    call('HDEL', lane.tries, unpack(ids, from, to))
    call('ZREM', lane.due, unpack(ids, from, to))
  end
  local count = to - from + 1
  call('RPUSH', lane.recent, int(now) .. ' ' .. int(count) .. ' ' .. table.concat(ids, ' ', from, to))
  local recent = call('HINCRBY', lane.n, 'recent', count)
  while recent > math.max(cap, RECENT_MIN) do
    local oldest = call('LPOP', lane.recent)
    if not oldest then
      call('HSET', lane.n, 'recent', 0)
      break
    end
    recent = call('HINCRBY', lane.n, 'recent', -tonumber(string.match(oldest, '^%d+ (%d+)')))
  end
end

for _, lane in ipairs(touched) do
  for _, chunk in ipairs(lane.plain) do remember(lane, ARGV, chunk[1], chunk[2]) end
  for from = 1, #lane.finished, CHUNK do
    remember(lane, lane.finished, from, math.min(from + CHUNK - 1, #lane.finished))
  end
  if lane.done > 0 then call('HINCRBY', lane.n, 'done', lane.done) end
  if lane.duplicates > 0 then call('HINCRBY', lane.n, 'duplicates', lane.duplicates) end
  if lane.dead > 0 then call('HINCRBY', lane.n, 'dead', lane.dead) end
end
if remembered then
  call('ZREMRANGEBYSCORE', done_key, '-inf', '(' .. int(now - window))
  call('ZREMRANGEBYRANK', done_key, 0, -cap - 1)
end
trim_all()
return {lost, results}
