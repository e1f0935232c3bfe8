"""The two scripts that the server runs: one reads, one compares and writes. They know nothing of what a value
means.

A value is a string, or a hash of the integers and texts of one record, so that many can add to it at once
(``record_leaves``). In a hash the field without a name is its version, and ``*`` the sum that has a limit.
Integers are added by HINCRBY and compared as texts, because those of Lua are doubles. All is checked before
the first write, and a text is never decoded.
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

WRITE = _make(
    _SHARED
    + """\
-- KEYS: mark, leases, what was read, what is written. ARGV: attempt, its moment, the microseconds for which
-- it holds, token, how many keys were read and how many are written, the guards of those read, the writes.
local mark, leases, attempt, token = KEYS[1], KEYS[2], ARGV[1], ARGV[4]
local reads, writes = tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = micros()
if redis.call('GET', mark) == attempt then return answer(1, clock, KEYS, 1, 0) end
local moment = tonumber(ARGV[2])
local missed, is_late = {}, clock < moment or clock > moment + ARGV[3]
for i = 1, reads do
  local key, guard = KEYS[2 + i], ARGV[6 + i]
  local kind, wanted = guard:sub(1, 1), guard:sub(2)
  local fits = true
  if kind == '-' then fits = redis.call('EXISTS', key) == 0
  elseif kind == '=' then fits = redis.pcall('GET', key) == wanted
  elseif kind == '^' then fits = redis.pcall('GETRANGE', key, 0, #wanted - 1) == wanted
  elseif kind == '#' then fits = redis.pcall('HGET', key, '') == wanted end
  if not fits then missed[#missed + 1] = i end
end
-- W text ends: a text. D: nothing any more. P ends number (name value)…: a whole record of leaves.
-- A ends sum limit number (operation name value before)…: additions to a record of leaves.
-- L prefix text index leaf length ends: the next slot of a ring, whose index an A before it has counted on.
local at = 7 + reads
local starts, is_any_leased = {}, redis.call('EXISTS', leases) == 1
for i = 1, writes do
  local key = KEYS[2 + reads + i]
  if is_any_leased and is_leased_by_another(leases, key, token, clock) then
    return answer(2, clock, KEYS, 1, 0, {reads + i})
  end
  starts[i] = at
  local kind = ARGV[at]
  if kind == 'A' then
    local fits = redis.pcall('HEXISTS', key, '') == 1
    for leaf = at + 5, at + 1 + 4 * ARGV[at + 4], 4 do
      local what, now = ARGV[leaf], fits and redis.call('HGET', key, ARGV[leaf + 1])
      if what == '=' and fits then
        fits = (now or '') == ARGV[leaf + 3] or now == ARGV[leaf + 2]
      elseif what ~= '!' and now and not now:find('^-?%d+$') then fits = false end
    end
    if not fits then missed[#missed + 1] = reads + i end
    at = at + 5 + 4 * ARGV[at + 4]
  elseif kind == 'P' then at = at + 3 + 2 * ARGV[at + 2]
  elseif kind == 'D' then at = at + 1
  elseif kind == 'L' then at = at + 7
  else at = at + 3 end
end
local function is_above(sum, limit)
  if sum:sub(1, 1) == '-' then return false end
  if #sum ~= #limit then return #sum > #limit end
  return sum > limit
end
local added = {}
if #missed == 0 and not is_late then
  for i = 1, writes do
    local key, start = KEYS[2 + reads + i], starts[i]
    if ARGV[start] == 'A' and ARGV[start + 2] ~= '' then
      redis.call('HINCRBY', key, '*', ARGV[start + 2])
      added[#added + 1] = {key, ARGV[start + 2]}
      if ARGV[start + 3] ~= '' and is_above(redis.call('HGET', key, '*'), ARGV[start + 3]) then
        missed[#missed + 1] = reads + i
      end
    end
  end
end
if #missed > 0 or is_late then
  for _, one in ipairs(added) do
    redis.call('HINCRBY', one[1], '*', one[2]:sub(1, 1) == '-' and one[2]:sub(2) or '-' .. one[2])
  end
  return answer(0, clock, KEYS, 3, 2 + reads, missed)
end
redis.call('SET', mark, attempt, 'PX', 60000)
if token ~= '' then
  for i = 3, #KEYS do redis.call('HDEL', leases, KEYS[i]) end
end
local function expire(key, ends) if ends ~= '' then redis.call('PEXPIREAT', key, ends) end end
for i = 1, writes do
  local key, start = KEYS[2 + reads + i], starts[i]
  local kind = ARGV[start]
  if kind == 'D' then redis.call('DEL', key)
  elseif kind == 'W' then
    redis.call('SET', key, ARGV[start + 1])
    expire(key, ARGV[start + 2])
  elseif kind == 'P' then
    redis.call('DEL', key)
    redis.call('HSET', key, '', string.format('%.0f', clock))
    for leaf = start + 3, start + 1 + 2 * ARGV[start + 2], 2 do
      redis.call('HSET', key, ARGV[leaf], ARGV[leaf + 1])
    end
    expire(key, ARGV[start + 1])
  elseif kind == 'A' then
    redis.call('HINCRBY', key, '', 1)
    for leaf = start + 5, start + 1 + 4 * ARGV[start + 4], 4 do
      local what, name, value = ARGV[leaf], ARGV[leaf + 1], ARGV[leaf + 2]
      if what == '+' then redis.call('HINCRBY', key, name, value)
      elseif what == '0' then
        redis.call('HINCRBY', key, name, value)
        if redis.call('HGET', key, name) == '0' then redis.call('HDEL', key, name) end
      elseif value == '' then redis.call('HDEL', key, name)
      else redis.call('HSET', key, name, value) end
    end
    if ARGV[start + 1] == '' then redis.call('PERSIST', key) else expire(key, ARGV[start + 1]) end
  else
    local number = redis.call('HGET', ARGV[start + 3], ARGV[start + 4]) - 1
    local slot = ARGV[start + 1] .. string.format('%.0f', number % ARGV[start + 5])
    redis.call('SET', slot, ARGV[start + 2])
    expire(slot, ARGV[start + 6])
  end
end
return answer(1, clock, KEYS, 1, 0)
"""
)
"""Answers 1 when it is written (also by an earlier trip of the same attempt), 2 when another has a lease, and
else 0: with the clock, the values of all that was read, and the places of what did not fit. An attempt that
arrives too late, or before its moment, does not fit either.
"""
