
-- Replaces a small record. KEYS: records. ARGV: name, whether one is expected, which, whether there is a new
-- one, which. Answers whether it was as expected.
local records, name = key(), take()
local expects, expected, sets, new = take() == '1', take(), take() == '1', take()
local found = call('HGET', records, name)
if (found and true or false) ~= expects or (expects and found ~= expected) then return 0 end
if sets then call('HSET', records, name, new) else call('HDEL', records, name) end
return 1
