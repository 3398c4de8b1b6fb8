
-- Creates a group again that somebody removed, on those lanes where it is gone, so that what is known to be
-- finished is not delivered again and everything else is. ARGV: per lane the newest id that is asked about (empty:
-- none). Answers per lane where the group was set, or an empty text where it was there.
local PAGE, COUNT_MAX = 1000, 100000
local answer = {}

local function is_there(lane)
  if call('EXISTS', lane.stream) == 0 then return false end
  for _, info in ipairs(call('XINFO', 'GROUPS', lane.stream)) do
    if pairs_of(info).name == group then return true end
  end
  return false
end

local function recreate(lane, asked)
  local floor = call('HGET', lane.n, 'floor') or '0-0'
  call('XGROUP', 'CREATE', lane.stream, group, floor, 'MKSTREAM')
  local finished, last = {}, asked
  local function reach(id)
    if last == '' or below(last, id) then last = id end
  end
  for _, line in ipairs(call('LRANGE', lane.recent, 0, -1)) do
    for id in string.gmatch(line, '%d+%-%d+') do
      finished[id] = true
      reach(id)
    end
  end
  local waiting = call('ZRANGE', lane.due, 0, -1)
  for _, id in ipairs(waiting) do reach(id) end

  -- All that had been delivered is delivered once more, to those who wait.
  local seen, pending_now, delivered = {}, 0, floor
  while last ~= '' and below(delivered, last) do
    local page = #call('XRANGE', lane.stream, '(' .. delivered, last, 'COUNT', PAGE)
    if page == 0 then break end
    local read = call('XREADGROUP', 'GROUP', group, WAITING, 'COUNT', page, 'STREAMS', lane.stream, '>')
    for _, entry in ipairs(read[1][2]) do
      local id = entry[1]
      delivered = id
      if finished[id] then
        call('XACK', lane.stream, group, id)
      else
        seen[id] = true
        pending_now = pending_now + 1
        local by = order_by ~= '' and field(entry[2], order_by)
        if by and call('HEXISTS', order_key, 'm' .. order_name(lane, id)) == 1 then
          -- In line already, as its holder or behind it.
          by = call('HGET', order_key, 'h' .. redis.sha1hex(by)) ~= order_name(lane, id)
        elseif by then
          by = not enter(lane, id, redis.sha1hex(by))
        end
        if by then
          call('XCLAIM', lane.stream, group, PARKED, 0, id, 'RETRYCOUNT', 0, 'JUSTID')
        else
          call('ZADD', lane.due, 'NX', int(now), id)
        end
      end
    end
  end
  for _, id in ipairs(waiting) do
    if not seen[id] then
      call('ZREM', lane.due, id)
      call('HDEL', lane.tries, id)
    end
  end
  if order_by ~= '' then
    local lines = call('HGETALL', order_key)
    for i = 1, #lines, 2 do
      local stream, id = string.match(lines[i], '^m(.+) (.-)$')
      if stream == lane.stream and not seen[id] then pass_on(lane, id) end
    end
  end

  -- Counts go on from here.
  local left, from = 0, '(' .. delivered
  while left < COUNT_MAX do
    local page = call('XRANGE', lane.stream, from, '+', 'COUNT', PAGE)
    left = left + #page
    if #page < PAGE then break end
    from = '(' .. page[#page][1]
  end
  local info = pairs_of(call('XINFO', 'STREAM', lane.stream))
  local counted = call('HMGET', lane.n, 'done', 'duplicates', 'dead')
  local begun = (info['entries-added'] or info.length) - left - pending_now
  for i = 1, 3 do begun = begun - tonumber(counted[i] or '0') end
  call('HSET', lane.n, 'begun', int(begun), 'floor', floor)
  return floor
end

for i, lane in ipairs(lanes) do
  local wrong = wrong_kind(lane.stream, 'stream')
  if wrong then return wrong end
end
for i, lane in ipairs(lanes) do
  local asked = take()
  answer[i] = is_there(lane) and '' or recreate(lane, asked)
end
return answer
