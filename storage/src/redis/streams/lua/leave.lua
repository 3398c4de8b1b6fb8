
-- Makes everything that a member holds due for others.
local PAGE = 1000
for _, lane in ipairs(lanes) do touch(lane) end
for _, lane in ipairs(lanes) do
  local from = '-'
  repeat
    local held = call('XPENDING', lane.stream, group, from, '+', PAGE, me)
    for _, entry in ipairs(held) do
      wait_until(lane, entry[1], now)
      from = '(' .. entry[1]
    end
  until #held < PAGE
  -- Deleting a consumer deletes what it holds, and what is gone from its stream is held still.
  if #call('XPENDING', lane.stream, group, '-', '+', 1, me) == 0 then
    call('XGROUP', 'DELCONSUMER', lane.stream, group, me)
  end
end
ring()
return 1
