
-- Ends the handling of messages. ARGV: milliseconds that keys are remembered, the most keys; then what is plainly
-- done, lane by lane: number of lanes, per lane its number and the ids; then the others: how many, per message
--   k lane id key (empty: its own place) number-of-outputs, per output target and fields   done
--   r lane id milliseconds tries                                                           to be tried again
--   f lane id                                                                              free for others
--   d lane id story fields                                                                 dead
-- Answers which of the plain ones were lost, and per other A(pplied), D(uplicate) or L(ost).
local window, cap = number(), number()
local plain, others, buries = {}, {}, false
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
    lane.finished, lane.done, lane.duplicates, lane.dead = {}, 0, 0, 0
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

local lost, ordinal = {}, 0
for _, batch in ipairs(plain) do
  local lane = batch[1]
  local ids, stream = finished(lane), lane.stream
  for i = batch[2], batch[3] do
    ordinal = ordinal + 1
    if call('XACK', stream, group, ARGV[i]) == 1 then
      ids[#ids + 1] = ARGV[i]
    else
      lost[#lost + 1] = ordinal
    end
  end
  lane.done = #ids
end

local remembered = false
local function done(one)
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

for _, lane in ipairs(touched) do
  local ids = lane.finished
  if #ids > 0 then
    -- Most messages were never tried before, so most lanes have neither.
    local rest = call('EXISTS', lane.tries, lane.due) > 0
    for from = 1, #ids, TRIM_MAX do
      local to = math.min(from + TRIM_MAX - 1, #ids)
      if rest then
        call('HDEL', lane.tries, unpack(ids, from, to))
        call('ZREM', lane.due, unpack(ids, from, to))
      end
      -- Should somebody remove the group, these are not delivered again.
      call('RPUSH', lane.recent, int(now) .. ' ' .. int(to - from + 1) .. ' ' .. table.concat(ids, ' ', from, to))
    end
    local recent = call('HINCRBY', lane.n, 'recent', #ids)
    while recent > cap do
      local oldest = call('LPOP', lane.recent)
      if not oldest then
        call('HSET', lane.n, 'recent', 0)
        break
      end
      recent = call('HINCRBY', lane.n, 'recent', -tonumber(string.match(oldest, '^%d+ (%d+)')))
    end
    if lane.done > 0 then call('HINCRBY', lane.n, 'done', lane.done) end
    if lane.duplicates > 0 then call('HINCRBY', lane.n, 'duplicates', lane.duplicates) end
    if lane.dead > 0 then call('HINCRBY', lane.n, 'dead', lane.dead) end
  end
end
if remembered then
  call('ZREMRANGEBYSCORE', done_key, '-inf', '(' .. int(now - window))
  call('ZREMRANGEBYRANK', done_key, 0, -cap - 1)
end
trim_all()
return {lost, results}
