"""The two scripts that the server runs: one reads, one compares and writes. They know nothing of what a value
means.

A value is a string, or a hash of the integers and texts of one record, so that many can add to it at once
(``record_leaves``), whoever has a lease on it. In a hash the field without a name is its version, which
additions leave as it is, and ``*`` the sum that has a limit. Integers are texts of digits, because those of
Lua are doubles. All is checked before the first write, and a text is never decoded.
"""

from __future__ import annotations

from llmfail.store.redis.script import make_script

_SHARED = """\
local function value_of(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then return redis.call('HGETALL', key) end
  return kind == 'string' and redis.call('GET', key)
end
local function micros() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
local function is_leased_by_another(leases, key, token, clock)
  local held = redis.call('HGET', leases, key)
  if not held or held:sub(1, 16) == token then return false end
  return tonumber(held:sub(17)) > clock
end
local function answer(status, clock, keys, from, to, missed)
  local found = {}
  for i = from, to do found[#found + 1] = value_of(keys[i]) end
  return {status, string.format('%.0f', clock or micros()), found, missed or {}}
end
"""

READ = make_script(
    _SHARED
    + """\
-- KEYS: leases, what is to be leased, what is read. ARGV: token, microseconds it lasts, how many to lease.
local token, last = ARGV[1], 1 + ARGV[3]
if last > 1 then
  local clock = micros()
  for i = 2, last do
    if is_leased_by_another(KEYS[1], KEYS[i], token, clock) then return answer(2, clock, KEYS, 1, 0) end
  end
  for i = 2, last do
    redis.call('HSET', KEYS[1], KEYS[i], token .. string.format('%.0f', clock + ARGV[2]))
  end
  redis.call('PEXPIRE', KEYS[1], 60000)
end
return answer(1, nil, KEYS, last + 1, #KEYS)
"""
)
"""Answers 1 with the clock and the values, or 2 when another has a lease. The clock is read after the values,
so that no value is of a later moment.
"""

_SUMS = """\
-- Decimal texts are added by their halves, each of which is an exact number, beyond what one number holds.
local HALF = 100000000000000
local function halves(text)
  local digits = text:gsub('^-', '')
  local sign = text:sub(1, 1) == '-' and -1 or 1
  return sign * (tonumber(digits:sub(1, -15)) or 0), sign * tonumber(digits:sub(-14))
end
local function add(one, other)
  if #one < 15 and #other < 15 then return string.format('%d', one + other) end
  local high, low = halves(one)
  local more_high, more_low = halves(other)
  high, low = high + more_high, low + more_low
  if high > 0 and low < 0 then high, low = high - 1, low + HALF end
  if high < 0 and low > 0 then high, low = high + 1, low - HALF end
  if math.abs(low) >= HALF then
    local carry = low > 0 and 1 or -1
    high, low = high + carry, low - carry * HALF
  end
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%014.0f', high, math.abs(low))
end
local function is_above(sum, limit)
  if sum:sub(1, 1) == '-' then return false end
  if #sum ~= #limit then return #sum > #limit end
  return sum > limit
end
"""

WRITE = make_script(
    _SHARED
    + _SUMS
    + """\
-- KEYS: mark, leases, what was read, what else is written. ARGV: a packed list, then the wanted texts, heads
-- and versions. The list: attempt, its moment, the microseconds for which it holds, token, how many keys were
-- read, and of these the places of what was absent, of texts, heads, versions; then the writes, each with
-- its place.
local call, pcall, mark, leases = redis.call, redis.pcall, KEYS[1], KEYS[2]
local attempt, moment, lasts, token, reads, absent, texts, heads, versions, writes =
  unpack(cmsgpack.unpack(ARGV[1]))
local clock = micros()
if call('GET', mark) == attempt then return answer(1, clock, KEYS, 1, 0) end
local missed, is_late = {}, clock < moment or clock > moment + lasts
local function miss(place) missed[#missed + 1] = place end
local function keys_of(places, from, first)
  local keys = {first}
  for i = from, math.min(from + 4999, #places) do keys[#keys + 1] = KEYS[2 + places[i]] end
  return keys
end
local is_any_leased = false
for from = 1, math.max(#absent, 1), 5000 do
  if call('EXISTS', unpack(keys_of(absent, from, leases))) > 0 then
    is_any_leased = call('EXISTS', leases) == 1
    for i = from, math.min(from + 4999, #absent) do
      if call('EXISTS', KEYS[2 + absent[i]]) == 1 then miss(absent[i]) end
    end
  end
end
for from = 1, #texts, 5000 do
  local found = call('MGET', unpack(keys_of(texts, from)))
  for i = 1, #found do
    if found[i] ~= ARGV[from + i] then miss(texts[from + i - 1]) end
  end
end
local wanted_at = 1 + #texts
for i, place in ipairs(heads) do
  local head = ARGV[wanted_at + i]
  if pcall('GETRANGE', KEYS[2 + place], 0, #head - 1) ~= head then miss(place) end
end
local version_of = {}
for i, place in ipairs(versions) do version_of[place] = ARGV[wanted_at + #heads + i] end
-- W text ends: a text. D: nothing any more. P ends (name value)...: a whole record of leaves.
-- A ends sum limit changes told names added others: additions to a record of leaves; the names are that of
-- the version, those of what is added, those of others (operation value before)... and that of the sum.
-- L text ends prefix index leaf length later: the next slot of a ring, once its index has been changed.
local function change_leaf(operation, now, value, before)
  if operation == '0' then
    if now and now:byte() == 61 then return false end
    local sum = now and add(now, value) or value
    return true, sum ~= '0' and sum
  end
  if operation == '>' then
    local floor, ceiling = before:match('^(.*):(.*)$')
    local number = now and tonumber((now:gsub('^=', '')))
    if not number or (ceiling ~= '' and number > ceiling + (clock - moment) / 1000000) then return false end
    return true, string.format('=%.17g', math.max(number, tonumber(floor) or number) + value)
  end
  local is_same = (now or '') == before
  if not is_same and (operation == '?' or (operation == '=' and now ~= value)) then return false end
  if not is_same and operation == '~' then return true, now end
  return true, value ~= '' and value
end
local function change_record(place, write)
  local _, _, _, sum, limit, changes, _, names, added, others = unpack(write)
  local found, wanted = pcall('HMGET', KEYS[2 + place], unpack(names)), version_of[place]
  version_of[place] = nil
  if found.err or not found[1] or (wanted and found[1] ~= wanted) then return nil end
  local made, gone, n = {}, {}, 0
  for i = 1, #added do
    local now, value = found[1 + i], added[i]
    if now then
      if now:byte() == 61 then return nil end
      value = add(now, value)
    end
    made[n + 1], made[n + 2], n = names[1 + i], value, n + 2
  end
  local at = 1 + #added
  for i = 1, #others, 3 do
    at = at + 1
    local now = found[at]
    local fits, value = change_leaf(others[i], now, others[i + 1], others[i + 2])
    if not fits then return nil end
    if not value then
      if now then gone[#gone + 1] = names[at] end
    elseif value ~= now then
      made[n + 1], made[n + 2], n = names[at], value, n + 2
    end
  end
  if sum ~= '' then
    sum = add(found[#names] or '0', sum)
    if limit ~= '' and is_above(sum, limit) then return nil end
    made[n + 1], made[n + 2], n = '*', sum, n + 2
  end
  if changes then made[n + 1], made[n + 2] = '', add(found[1], '1') end
  return {made, gone}
end
local records = {}
for i, write in ipairs(writes) do
  local kind, place = write[1], write[2]
  local is_joint = kind == 'L' or (kind == 'A' and not write[6])
  if is_any_leased and not is_joint and is_leased_by_another(leases, KEYS[2 + place], token, clock) then
    return answer(2, clock, KEYS, 1, 0, {place})
  end
  if kind == 'A' then
    records[i] = change_record(place, write)
    if not records[i] then miss(place) end
  end
end
for place, wanted in pairs(version_of) do
  if pcall('HGET', KEYS[2 + place], '') ~= wanted then miss(place) end
end
if #missed > 0 or is_late then return answer(0, clock, KEYS, 3, 2 + reads, missed) end
call('SET', mark, attempt, 'PX', 60000)
if token ~= '' then
  for i = 3, #KEYS do call('HDEL', leases, KEYS[i]) end
end
local function store_text(key, text, ends)
  if ends == '' then call('SET', key, text) else call('SET', key, text, 'PXAT', ends) end
end
local told = {}
for i, write in ipairs(writes) do
  local kind, key, one, two = write[1], KEYS[2 + write[2]], write[3], write[4]
  if kind == 'D' then call('DEL', key)
  elseif kind == 'W' then store_text(key, one, two)
  elseif kind == 'P' then
    call('DEL', key)
    call('HSET', key, '', string.format('%.0f', clock))
    for leaf = 1, #two, 2 do call('HSET', key, two[leaf], two[leaf + 1]) end
    if one ~= '' then call('PEXPIREAT', key, one) end
  elseif kind == 'A' then
    local made, gone = records[i][1], records[i][2]
    if #made > 0 then call('HSET', key, unpack(made)) end
    if #gone > 0 then call('HDEL', key, unpack(gone)) end
    if one == '' then call('PERSIST', key)
    elseif one ~= '=' then call('PEXPIREAT', key, one) end
    if write[7] then told[#told + 1] = call('HGETALL', key) end
  else
    local number = call('HGET', write[6], write[7]) - 1 - write[9]
    store_text(write[5] .. string.format('%.0f', number % write[8]), one, two)
  end
end
if #told == 0 then return {ok = string.format('%.0f', clock)} end
return {1, string.format('%.0f', clock), told, {}}
"""
)
"""Answers 1 when it is written (also by an earlier trip of the same attempt), 2 when another has a lease, and
else 0: with the clock, the values of all that was read, and the places of what did not fit. An attempt that
arrives too late, or before its moment, does not fit either. The clock alone says that it is written.
"""
