
-- ARGV: number of letters; per letter its state (empty: new), its story and its fields. Answers the ids.
local wrong = wrong_kind(dead_key, 'stream') or wrong_kind(state_key, 'hash')
if wrong then return wrong end
local ids = {}
for i = 1, number() do
  local state, story = take(), take()
  local from, to = span()
  ids[i] = bury(from, to, story)
  if state ~= '' then call('HSET', state_key, ids[i], state) end
end
return ids
