
-- Puts tries on record. ARGV: number of messages; per message lane, id and tries. Answers which are still ours.
local ours = {}
touch(lanes[1])
for i = 1, number() do
  local lane, id, tries = lanes[number()], take(), take()
  touch(lane)
  ours[i] = is_ours(lane, id) and 1 or 0
  if ours[i] == 1 then call('HSET', lane.tries, id, tries) end
end
return ours
