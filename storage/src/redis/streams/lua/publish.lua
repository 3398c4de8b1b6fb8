
-- ARGV: number of messages; per message its target and its fields. Answers the ids.
local messages = {}
for i = 1, number() do
  local target = targets[number()]
  local from, to = span()
  target.coming = target.coming + 1
  messages[i] = {target, from, to}
end
local refused = refusal()
if refused then return refused end
local ids = {}
for i, message in ipairs(messages) do ids[i] = append(message[1], message[2], message[3]) end
trim_all()
return ids
