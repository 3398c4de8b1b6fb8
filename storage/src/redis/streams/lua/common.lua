
-- What all scripts share: taking arguments one after the other, the server's time, ids compared as text (a
-- number of Lua is a double and would corrupt 64 bits).
local call = redis.call
local arg_at, key_at = 0, 0
local function take() arg_at = arg_at + 1 return ARGV[arg_at] end
local function number() return tonumber(take()) end
local function key() key_at = key_at + 1 return KEYS[key_at] end
-- Passes over so many arguments and says where they stand.
local function span()
  local count, from = number(), arg_at + 1
  arg_at = arg_at + count
  return from, arg_at
end
local function int(n) return string.format('%.0f', n) end

local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local MAX = '18446744073709551615'
-- No message stands behind it. The very last id will not do: XREADGROUP takes it for `>`.
local LAST = MAX .. '-18446744073709551614'

local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function below(a, b)
  local ams, aseq = string.match(a, '^(%d+)%-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)%-(%d+)$')
  if ams ~= bms then return less(ams, bms) end
  return less(aseq, bseq)
end
-- The id right behind, or the same one where a double could not count on.
local function behind(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  if #seq > 15 then return id end
  return ms .. '-' .. int(tonumber(seq) + 1)
end
-- An id with nothing of ours between it and this one.
local function before(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  if seq ~= '0' and #seq <= 15 then return ms .. '-' .. int(tonumber(seq) - 1) end
  if ms == '0' then return '0-0' end
  return int(tonumber(ms) - 1) .. '-' .. MAX
end
local function pairs_of(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end
local function wrong_kind(name, wanted)
  local kind = call('TYPE', name).ok
  if kind == 'none' or kind == wanted then return nil end
  return redis.error_reply('WRONGTYPE the key ' .. name .. ' holds a ' .. kind .. ', not a ' .. wanted)
end
