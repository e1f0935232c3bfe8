"""The two scripts that the server runs: one reads, one compares and writes. They know nothing of what a value
means.

A value is a string, or a hash of the integers and texts of one record, so that many can add to it at once
(``record_leaves``), whoever has a lease on it. In a hash the field without a name is its version, which
additions leave as it is, and ``*`` the sum that has a limit. Integers are texts of digits, because those of
Lua are doubles. All is checked before the first write, and a text is never decoded.
"""

from __future__ import annotations

from hashlib import sha1

from msgspec import Struct


class Script(Struct, frozen=True):
    """A script, and the digest by which the server knows it once it has run it."""

    text: str
    digest: str


def _make(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


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

READ = _make(
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
  if #one < 15 and #other < 15 then return string.format('%.0f', one + other) end
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

WRITE = _make(
    _SHARED
    + _SUMS
    + """\
-- KEYS: mark, leases, what was read, what is written. ARGV: attempt, its moment, the microseconds for which
-- it holds, token, how many keys were read and how many are written, the guards of those read, the writes.
local mark, leases, attempt, token = KEYS[1], KEYS[2], ARGV[1], ARGV[4]
local reads, writes = tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = micros()
if redis.call('GET', mark) == attempt then return answer(1, clock, KEYS, 1, 0) end
local moment = tonumber(ARGV[2])
local missed, is_late = {}, clock < moment or clock > moment + ARGV[3]
local texts, asked = {}, {}
for i = 1, reads do
  local kind = ARGV[6 + i]:sub(1, 1)
  if kind == '=' or kind == '-' then texts[#texts + 1] = KEYS[2 + i]; asked[#texts] = i end
end
local seen = {}
for from = 1, #texts, 5000 do
  local last = math.min(from + 4999, #texts)
  for place, text in ipairs(redis.call('MGET', unpack(texts, from, last))) do
    seen[asked[from + place - 1]] = text
  end
end
for i = 1, reads do
  local key, guard = KEYS[2 + i], ARGV[6 + i]
  local kind, wanted = guard:sub(1, 1), guard:sub(2)
  local fits = true
  if kind == '-' then fits = not seen[i] and redis.call('EXISTS', key) == 0
  elseif kind == '=' then fits = seen[i] == wanted
  elseif kind == '^' then fits = redis.pcall('GETRANGE', key, 0, #wanted - 1) == wanted
  elseif kind == '#' then fits = redis.pcall('HGET', key, '') == wanted end
  if not fits then missed[#missed + 1] = i end
end
-- W text ends: a text. D: nothing any more. P ends number (name value)...: a whole record of leaves.
-- A ends sum limit changes told number (operation name value before)...: additions to a record of leaves.
-- L text ends prefix index leaf length later: the next slot of a ring, once its index has been changed.
local function change_leaf(operation, now, value, before)
  if operation == '+' or operation == '0' then
    if now and not now:find('^-?%d+$') then return false end
    local sum = now and add(now, value) or value
    return true, not (operation == '0' and sum == '0') and sum
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
local function change_record(key, start)
  local names, from, last = {''}, start + 7, start + 3 + 4 * ARGV[start + 6]
  for leaf = from, last, 4 do names[#names + 1] = ARGV[leaf + 1] end
  if ARGV[start + 2] ~= '' then names[#names + 1] = '*' end
  local found = redis.pcall('HMGET', key, unpack(names))
  if found.err or not found[1] then return nil end
  local made, gone = {}, {}
  local function put(name, value, now)
    if not value then gone[#gone + 1] = name
    elseif value ~= now then made[#made + 1] = name; made[#made + 1] = value end
  end
  for leaf = from, last, 4 do
    local now = found[2 + (leaf - from) / 4]
    local fits, value = change_leaf(ARGV[leaf], now, ARGV[leaf + 2], ARGV[leaf + 3])
    if not fits then return nil end
    if now or value then put(ARGV[leaf + 1], value, now) end
  end
  if ARGV[start + 2] ~= '' then
    local sum = add(found[#names] or '0', ARGV[start + 2])
    if ARGV[start + 3] ~= '' and is_above(sum, ARGV[start + 3]) then return nil end
    put('*', sum, found[#names])
  end
  if ARGV[start + 4] ~= '' then put('', add(found[1], '1'), nil) end
  return {made, gone}
end
local at = 7 + reads
local starts, records, is_any_leased = {}, {}, redis.call('EXISTS', leases) == 1
for i = 1, writes do
  local key = KEYS[2 + reads + i]
  starts[i] = at
  local kind = ARGV[at]
  local is_joint = kind == 'L' or (kind == 'A' and ARGV[at + 4] == '')
  if is_any_leased and not is_joint and is_leased_by_another(leases, key, token, clock) then
    return answer(2, clock, KEYS, 1, 0, {reads + i})
  end
  if kind == 'A' then
    records[i] = change_record(key, at)
    if not records[i] then missed[#missed + 1] = reads + i end
    at = at + 7 + 4 * ARGV[at + 6]
  elseif kind == 'P' then at = at + 3 + 2 * ARGV[at + 2]
  elseif kind == 'D' then at = at + 1
  elseif kind == 'L' then at = at + 8
  else at = at + 3 end
end
if #missed > 0 or is_late then return answer(0, clock, KEYS, 3, 2 + reads, missed) end
redis.call('SET', mark, attempt, 'PX', 60000)
if token ~= '' then
  for i = 3, #KEYS do redis.call('HDEL', leases, KEYS[i]) end
end
local function store_text(key, text, ends)
  if ends == '' then redis.call('SET', key, text) else redis.call('SET', key, text, 'PXAT', ends) end
end
local told = {}
for i = 1, writes do
  local key, start = KEYS[2 + reads + i], starts[i]
  local kind = ARGV[start]
  if kind == 'D' then redis.call('DEL', key)
  elseif kind == 'W' then store_text(key, ARGV[start + 1], ARGV[start + 2])
  elseif kind == 'P' then
    redis.call('DEL', key)
    redis.call('HSET', key, '', string.format('%.0f', clock))
    for leaf = start + 3, start + 1 + 2 * ARGV[start + 2], 2 do
      redis.call('HSET', key, ARGV[leaf], ARGV[leaf + 1])
    end
    if ARGV[start + 1] ~= '' then redis.call('PEXPIREAT', key, ARGV[start + 1]) end
  elseif kind == 'A' then
    local made, gone = records[i][1], records[i][2]
    if #made > 0 then redis.call('HSET', key, unpack(made)) end
    if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
    local ends = ARGV[start + 1]
    if ends == '' then redis.call('PERSIST', key)
    elseif ends ~= '=' then redis.call('PEXPIREAT', key, ends) end
    if ARGV[start + 5] ~= '' then told[#told + 1] = redis.call('HGETALL', key) end
  else
    local number = redis.call('HGET', ARGV[start + 4], ARGV[start + 5]) - 1 - ARGV[start + 7]
    local slot = ARGV[start + 3] .. string.format('%.0f', number % ARGV[start + 6])
    store_text(slot, ARGV[start + 1], ARGV[start + 2])
  end
end
return {1, string.format('%.0f', clock), told, {}}
"""
)
"""Answers 1 when it is written (also by an earlier trip of the same attempt), 2 when another has a lease, and
else 0: with the clock, the values of all that was read, and the places of what did not fit. An attempt that
arrives too late, or before its moment, does not fit either.
"""
