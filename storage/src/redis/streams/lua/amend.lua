
-- Changes letters that are still as expected. ARGV: the state of a letter nobody has looked at; number of
-- changes; per change
--   m id expected state                  marks it
--   s id expected state target fields    marks it and sends a message
--   x id expected                        removes it
-- then number of messages of the audit; per message target and fields. Answers which were changed.
local fresh = take()
local wrong = wrong_kind(dead_key, 'stream') or wrong_kind(state_key, 'hash')
if wrong then return wrong end
local changes, audit, changed, any = {}, {}, {}, false
local states = {}
for i = 1, number() do
  local one = {verb = take(), id = take(), expected = take()}
  if one.verb ~= 'x' then one.state = take() end
  if one.verb == 's' then
    one.target = targets[number()]
    one.from, one.to = span()
  end
  local state = states[one.id]
  if state == nil then
    state = #call('XRANGE', dead_key, one.id, one.id) > 0
      and (call('HGET', state_key, one.id) or fresh)
  end
  one.applies = state == one.expected
  if one.applies then
    any = true
    states[one.id] = one.state or false
    if one.target then one.target.coming = one.target.coming + 1 end
  else
    states[one.id] = state
  end
  changes[i], changed[i] = one, one.applies and 1 or 0
end
for i = 1, number() do
  local target = targets[number()]
  local from, to = span()
  audit[i] = {target, from, to}
  if any then target.coming = target.coming + 1 end
end
local refused = refusal()
if refused then return refused end
for _, one in ipairs(changes) do
  if one.applies then
    if one.verb == 'x' then
      call('XDEL', dead_key, one.id)
      call('HDEL', state_key, one.id)
    else
      call('HSET', state_key, one.id, one.state)
    end
    if one.verb == 's' then append(one.target, one.from, one.to) end
  end
end
if any then
  for _, message in ipairs(audit) do append(message[1], message[2], message[3]) end
end
trim_all()
return changed
