
-- Streams that are appended to. KEYS: per target stream, counts. ARGV: number of targets; per target the most
-- messages (empty: any number), how many more are let pass, grow|refuse|cut, milliseconds that messages are
-- kept (empty: for ever), the groups that must have handled what is trimmed.
local TRIM_MAX, ROUNDS = 1000, 16
local targets = {}
for i = 1, number() do
  local target = {stream = key(), counts = key(), max = tonumber(take()), slack = number(), full = take(),
    keep = tonumber(take()), groups = {}, coming = 0, added = false}
  for g = 1, number() do target.groups[g] = take() end
  targets[i] = target
end

-- The oldest id that a group has not handled; nil where nobody consumes. A group that should be there and is not
-- has handled nothing.
local function floor_of(target)
  local floor, last = nil, {}
  for _, info in ipairs(call('XINFO', 'GROUPS', target.stream)) do
    info = pairs_of(info)
    last[info.name] = info['last-delivered-id']
    local first = behind(info['last-delivered-id'])
    if info.pending > 0 then
      local oldest = call('XPENDING', target.stream, info.name, '-', '+', 1)[1][1]
      if below(oldest, first) then first = oldest end
    end
    if not floor or below(first, floor) then floor = first end
  end
  for _, name in ipairs(target.groups) do
    if not last[name] then floor = '0-0' end
  end
  return floor, last
end

-- Says why the messages that are coming cannot be taken, before anything is written.
local function refusal()
  for _, target in ipairs(targets) do
    if target.coming > 0 then
      local wrong = wrong_kind(target.stream, 'stream')
      if wrong then return wrong end
      if target.full == 'refuse' and target.max then
        local length = call('XLEN', target.stream)
        local surplus = length + target.coming - target.max
        local floor = surplus > 0 and length > 0 and floor_of(target)
        if surplus > 0 and (floor or length == 0) and #target.groups > 0 then
          local handled = floor and #call('XRANGE', target.stream, '-', '(' .. floor, 'COUNT', surplus) or 0
          if handled < surplus then
            return redis.error_reply('FULL ' .. target.stream .. ' holds ' .. int(length)
              .. ' messages, some of which a group has not handled; it is full')
          end
        end
      end
    end
  end
end

-- Appends the fields that stand from one argument to another.
local function append(target, from, to)
  target.added = true
  return call('XADD', target.stream, '*', unpack(ARGV, from, to))
end

local function cut(target, entries, surplus, floor, last)
  local count = 0
  for i = 1, surplus do
    local id = entries[i][1]
    if not below(id, floor) then count = count + 1 end
    for name, delivered in pairs(last) do
      if below(delivered, id) then call('HINCRBY', target.counts, 'skipped ' .. target.stream .. ' ' .. name, 1) end
    end
  end
  call('HINCRBY', target.counts, 'cut ' .. target.stream, count)
end

-- Keeps a stream as long as it may be, as far as its groups allow it.
local function trim(target)
  if target.max and call('XLEN', target.stream) > target.max + target.slack then
    local floor, last = floor_of(target)
    if not floor then
      call('XTRIM', target.stream, 'MAXLEN', '=', target.max)
    else
      for _ = 1, ROUNDS do
        local surplus = math.min(call('XLEN', target.stream) - target.max, TRIM_MAX)
        if surplus <= 0 then break end
        local entries = call('XRANGE', target.stream, '-', '+', 'COUNT', surplus + 1)
        local kept = entries[surplus + 1][1]
        if not below(floor, kept) then
          call('XTRIM', target.stream, 'MINID', '=', kept)
        elseif target.full == 'cut' then
          cut(target, entries, surplus, floor, last)
          call('XTRIM', target.stream, 'MINID', '=', kept)
        else
          call('XTRIM', target.stream, 'MINID', '=', floor)
          break
        end
      end
    end
  end
  if target.keep then
    local kept = int(math.max(now - target.keep, 0)) .. '-0'
    local first = call('XRANGE', target.stream, '-', '+', 'COUNT', 1)[1]
    if first and below(first[1], kept) then
      local floor = floor_of(target)
      if floor and below(floor, kept) then kept = floor end
      call('XTRIM', target.stream, 'MINID', '=', kept)
    end
  end
end

local function trim_all()
  for _, target in ipairs(targets) do
    if target.added then trim(target) end
  end
end
