
-- ARGV: number of messages; per message its target, its id and its fields. Answers how many were new.
local messages = {}
for i = 1, number() do
  local target, id = targets[number()], take()
  local from, to = span()
  if not target.last then
    target.last = '0-0'
    local wrong = wrong_kind(target.stream, 'stream')
    if wrong then return wrong end
    if call('EXISTS', target.stream) == 1 then
      target.last = pairs_of(call('XINFO', 'STREAM', target.stream))['last-generated-id']
    end
  end
  if below(target.last, id) then
    target.last = id
    target.coming = target.coming + 1
    messages[#messages + 1] = {target, id, from, to}
  end
end
local refused = refusal()
if refused then return refused end
for _, message in ipairs(messages) do
  call('XADD', message[1].stream, message[2], unpack(ARGV, message[3], message[4]))
  message[1].added = true
end
trim_all()
return #messages
