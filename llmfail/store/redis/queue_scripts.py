"""What the server does with a queue. An item is a text with a version, compared by that; it is never decoded.

Beside the items stand their ids in order (``ids``), and two sorted sets: by the moment at which each may be
asked (``due``), and by the moment at which it is too old (``ends``).
"""

from __future__ import annotations

from llmfail.store.redis.script import make_script

_CLOCK = "local function micros() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end\n"

READ_ITEM = make_script(
    _CLOCK
    + """\
local text = redis.call('GET', KEYS[1])
return {string.format('%.0f', micros()), text or ''}
"""
)
"""Answers the clock and the item, empty where there is none."""

FIND_FOLLOWING = make_script("""\
-- KEYS: what the keys of items begin with, ids, due, ends. ARGV: after which id, as ZRANGEBYLEX has it.
for _ = 1, 100 do
  local id = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, 1)[1]
  if not id then return {} end
  local text = redis.call('GET', KEYS[1] .. id)
  if text and text ~= '' then return {id, text} end
  for set = 2, 4 do redis.call('ZREM', KEYS[set], id) end
end
return {}
""")
"""Answers the next item by id, or nothing. An id whose item the server has lost goes."""

WRITE_ITEM = make_script(
    _CLOCK
    + """\
-- KEYS: mark, item, ids, due, ends. ARGV: attempt, its moment, the microseconds for which it holds, with what
-- the item begins, its id, the new text (empty: it goes), when it is due, when it ends, and how many there
-- may be (empty: it is there already).
local attempt, moment, guard, id, text = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[5], ARGV[6]
local clock = micros()
if redis.call('GET', KEYS[1]) == attempt then return 1 end
if clock < moment or clock > moment + ARGV[3] then return 0 end
if redis.call('GETRANGE', KEYS[2], 0, #guard == 0 and -1 or #guard - 1) ~= guard then return 0 end
if ARGV[9] ~= '' and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[9]) then return 2 end
if text == '' then
  redis.call('DEL', KEYS[2])
  for set = 3, 5 do redis.call('ZREM', KEYS[set], id) end
else
  redis.call('SET', KEYS[2], text)
  redis.call('ZADD', KEYS[3], 0, id)
  redis.call('ZADD', KEYS[4], ARGV[7], id)
  redis.call('ZADD', KEYS[5], ARGV[8], id)
end
redis.call('SET', KEYS[1], attempt, 'PX', 60000)
return 1
"""
)
"""Answers 1 when it is written (also by an earlier trip of the same attempt), 2 when the queue is full, and
else 0.
"""

SURVEY = make_script(
    _CLOCK
    + """\
-- KEYS: due, ends.
local now = string.format('%.6f', micros() / 1000000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
return {redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf'), found[2] or '', expired}
"""
)
"""Answers how many are not too old, the next moment at which one is due, and the ids of those too old."""
