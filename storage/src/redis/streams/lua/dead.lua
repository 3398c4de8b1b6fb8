
-- The queue of dead letters. KEYS: letters, states. ARGV: milliseconds that letters are kept (empty: for ever).
local RETIRE_MAX = 64
local dead_key, state_key, dead_keep = key(), key(), tonumber(take())

-- Puts a letter on the queue: the message's own fields, which stand from one argument to another, and its story.
local function bury(from, to, story)
  if dead_keep then
    local kept = int(math.max(now - dead_keep, 0)) .. '-0'
    for _, letter in ipairs(call('XRANGE', dead_key, '-', '(' .. kept, 'COUNT', RETIRE_MAX)) do
      call('XDEL', dead_key, letter[1])
      call('HDEL', state_key, letter[1])
    end
  end
  local fields = {unpack(ARGV, from, to)}
  fields[#fields + 1] = 'sv-dead'
  fields[#fields + 1] = story
  return call('XADD', dead_key, '*', unpack(fields))
end
