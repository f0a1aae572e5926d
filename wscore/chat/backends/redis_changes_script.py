"""The part of the script that knows which logs of a shard changed, and in what order; imports
nothing.

Whoever asks now and then what changed since the last time need not look at what did not. Whatever
changes a log takes note of it in the same call. A log is noted once, with its last change, so that
there is never more than one entry for each; of more than ``LOGS`` the oldest are forgotten.

What was read up to is a *position*: the number of a change, and a random *mark* that is kept for
it. Data that was put back to an older state, or replaced by a copy, does not have the mark, even
when it has come to the same number again. As a position in a log may mean another entry then, a new
life begins. A mark that is missing because it is older than all ``MARKS`` that are kept says
nothing.

Keys, after the tag: ``changed`` (sorted set: of each log, as ``KIND:KEY``, the number of its last
change) and ``marks`` (sorted set: marks by the number that they are of); in ``life`` the fields
``changes`` (the number of the last one) and ``forgotten`` (of the last one that was).
"""

CHANGES = """
local LOGS = 10000
local MARKS = 1000

local changed = {}  -- of which logs there is a change, by name

local function record()
  if not next(changed) then return end
  for name in pairs(changed) do
    last_change = last_change + 1
    redis.call('ZADD', P .. 'changed', int(last_change), name)
  end
  redis.call('HSET', KEYS[1], 'changes', int(last_change))
  local excess = redis.call('ZCARD', P .. 'changed') - LOGS
  if excess > 0 then
    local gone = redis.call('ZPOPMIN', P .. 'changed', excess)
    redis.call('HSET', KEYS[1], 'forgotten', gone[#gone])
  end
end
"""
"""What the rest of the script calls."""

CHANGES_COMMANDS = """
local function begin_life()
  life, last_change, forgotten = fresh(), 0, 0
  redis.call('HSET', KEYS[1], 'life', life, 'changes', 0, 'forgotten', 0)
  redis.call('DEL', P .. 'changed', P .. 'marks')
end

-- Whether what is here is not what a position was given out for.
local function is_other(since, mark)
  if since > last_change then return true end
  local at = redis.call('ZSCORE', P .. 'marks', mark)
  if at then return tonumber(at) ~= since end
  local oldest = redis.call('ZRANGE', P .. 'marks', 0, 0, 'WITHSCORES')[2]
  return not oldest or since >= tonumber(oldest)
end

local function reaches(since, mark)
  if since < forgotten or not redis.call('ZSCORE', P .. 'marks', mark) then return false end
  -- The last change is noted, unless somebody took away what is noted.
  if last_change == 0 then return true end
  local newest = redis.call('ZRANGE', P .. 'changed', -1, -1, 'WITHSCORES')[2]
  if newest and tonumber(newest) == last_change then return true end
  redis.call('HSET', KEYS[1], 'forgotten', int(last_change))
  return since == last_change
end

local function mark_of(change)
  local at = int(change)
  local found = redis.call('ZRANGE', P .. 'marks', at, at, 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not found then
    found = fresh()
    redis.call('ZADD', P .. 'marks', at, found)
    redis.call('ZREMRANGEBYRANK', P .. 'marks', 0, -MARKS - 1)
  end
  return found
end

-- What changed since a position of a life, at most so many logs, and how far they are.
function run.changes(of, since, mark, most)
  since = tonumber(since)
  if of == life and is_other(since, mark) then begin_life() end
  if of ~= life or not reaches(since, mark) then
    return {'all', life, int(last_change), mark_of(last_change)}
  end
  local noted = redis.call('ZRANGE', P .. 'changed', '(' .. int(since), '+inf', 'BYSCORE',
                           'LIMIT', 0, most, 'WITHSCORES')
  local upto, is_more = last_change, '0'
  if #noted == 2 * tonumber(most) then upto, is_more = tonumber(noted[#noted]), '1' end
  local found = {}
  for index = 1, #noted, 2 do
    local m = redis.call('HMGET', P .. 'log:' .. noted[index], 'epoch', 'last', 'version')
    found[#found + 1] = {noted[index], m[1] or '', m[2] or '0', m[3] or '0'}
  end
  return {'changes', life, int(upto), mark_of(upto), is_more, found}
end
"""
"""What processes ask; they use what the script has before."""
