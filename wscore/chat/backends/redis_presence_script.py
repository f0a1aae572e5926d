"""The part of the script that knows who is present where; imports nothing.

Each process tells who is present at itself; who is present elsewhere each finds out for itself, as
a user may be at several. A process is known for as long as it says now and then that it is there;
what one leaves behind that is not, another one removes. Nothing of this outlives a log's epoch.

Keys, after the tag: ``processes`` (sorted set: until when each is known, in ms), ``rooms:PROCESS``
(set of rooms where it has users), ``here:PROCESS:ROOM`` (set of their names); of a room
``at:ROOM`` (set of processes), ``users:ROOM`` (hash: at how many processes each is),
``changes:ROOM`` (the last ones, each a sign, the process and, after ``:``, the user: ``+`` is
there, ``-`` is not, ``!`` the process is gone; ``version`` of the log counts them); ``crowds``
(sorted set of rooms by how many users are present).
"""

PRESENCE = """
local CHANGES = 500  -- of a room that are kept for those who are behind
local CROWD = 200  -- of so many users no change is worth to wake everybody

local function forget_present(key)
  for _, process in ipairs(redis.call('SMEMBERS', P .. 'at:' .. key)) do
    redis.call('DEL', P .. 'here:' .. process .. ':' .. key)
    redis.call('SREM', P .. 'rooms:' .. process, key)
  end
  redis.call('DEL', P .. 'at:' .. key, P .. 'users:' .. key, P .. 'changes:' .. key)
  redis.call('ZREM', P .. 'crowds', key)
end

local function elsewhere(log, key, process, since)
  local version = int(log.version)
  local behind = since == '' and -1 or log.version - tonumber(since)
  if behind == 0 then return {version, 'same'} end
  local changes = P .. 'changes:' .. key
  if behind > 0 and behind <= redis.call('LLEN', changes) then
    return {version, 'changes', redis.call('LRANGE', changes, -behind, -1)}
  end
  local found = {version, 'all'}
  for _, other in ipairs(redis.call('SMEMBERS', P .. 'at:' .. key)) do
    if other ~= process then
      found[#found + 1] = {other, redis.call('SMEMBERS', P .. 'here:' .. other .. ':' .. key)}
    end
  end
  return found
end
"""
"""What the rest of the script calls."""

PRESENCE_COMMANDS = """
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function touch(process, lease)
  local before = redis.call('ZSCORE', P .. 'processes', process)
  redis.call('ZADD', P .. 'processes', int(now() + tonumber(lease)), process)
  return before and tonumber(before) > now()
end

local function change(log, key, what)
  log.version = redis.call('HINCRBY', log.at, 'version', 1)
  redis.call('RPUSH', P .. 'changes:' .. key, what)
  redis.call('LTRIM', P .. 'changes:' .. key, -CHANGES, -1)
  local crowd = redis.call('HLEN', P .. 'users:' .. key)
  if crowd == 0 then
    redis.call('ZREM', P .. 'crowds', key)
  else
    redis.call('ZADD', P .. 'crowds', crowd, key)
  end
  if crowd <= CROWD then news[log.name] = log end
  changed[log.name] = log
end

local function discount(key, user)
  if redis.call('HINCRBY', P .. 'users:' .. key, user, -1) < 1 then
    redis.call('HDEL', P .. 'users:' .. key, user)
  end
end

local function part(process, key)
  redis.call('SREM', P .. 'rooms:' .. process, key)
  redis.call('SREM', P .. 'at:' .. key, process)
end

-- Forgets a process, some rooms at a time; returns whether there is more to do.
local function remove(process, most)
  for _, key in ipairs(redis.call('SRANDMEMBER', P .. 'rooms:' .. process, most)) do
    local log = look('room', key)
    local here = P .. 'here:' .. process .. ':' .. key
    for _, user in ipairs(redis.call('SMEMBERS', here)) do discount(key, user) end
    redis.call('DEL', here)
    part(process, key)
    if log then change(log, key, '!' .. process) end
  end
  if redis.call('EXISTS', P .. 'rooms:' .. process) == 1 then return true end
  redis.call('ZREM', P .. 'processes', process)
  return false
end

function run.enter(process, lease, key, user)
  local log = look('room', key)
  if not log then return {'lost'} end
  local is_known = touch(process, lease)
  if redis.call('SADD', P .. 'here:' .. process .. ':' .. key, user) == 1 then
    redis.call('SADD', P .. 'rooms:' .. process, key)
    redis.call('SADD', P .. 'at:' .. key, process)
    redis.call('HINCRBY', P .. 'users:' .. key, user, 1)
    change(log, key, '+' .. process .. ':' .. user)
  end
  return {is_known and 'known' or 'new'}
end

function run.leave(process, key, user)
  local log = look('room', key)
  if not log then return {'lost'} end
  local here = P .. 'here:' .. process .. ':' .. key
  if redis.call('SREM', here, user) == 1 then
    discount(key, user)
    if redis.call('EXISTS', here) == 0 then part(process, key) end
    change(log, key, '-' .. process .. ':' .. user)
  end
  return {'known'}
end

function run.alive(process, lease, reap, most)
  local is_known = touch(process, lease)
  local is_more = '0'
  if reap == '1' then
    local dead = redis.call('ZRANGEBYSCORE', P .. 'processes', '-inf', int(now()), 'LIMIT', 0, 1)
    if dead[1] then
      remove(dead[1], tonumber(most))
      is_more = '1'
    end
  end
  return {is_known and 'known' or 'new', is_more}
end

function run.gone(process, most)
  return {'gone', remove(process, tonumber(most)) and '1' or '0'}
end

function run.type(kind, key, process, user)
  redis.call('PUBLISH', P .. 'news:' .. kind .. ':' .. key, 'typing:' .. process .. ':' .. user)
  return {'said'}
end
"""
"""What processes tell; they use what the script has before."""
