"""What Redis does in one piece: the script through which everything is read and written.

Imports the other ``script`` modules. One call carries any number of commands and is atomic: either
all of them took effect, or, where the script is not loaded, none. Beside what it is asked, it looks
after epochs:

* ``life`` is a name for this life of a shard's data, given by `ENTER`. A log that was last touched
  in another life may have lost its end and gets a new epoch.
* A log whose stream does not hold as many entries as it should is begun anew.

All keys of a shard carry one hash tag and so lie on one node. Inboxes and names share a shard, as a
direct message goes to two inboxes, any two, in one piece; see `redis_shards` for rooms.

Keys, after the tag: ``life`` (hash: life, run, before, format); of a log ``log:KIND:KEY`` (hash:
name, secret, life, epoch, start, last, version), ``stream:...`` (its entries, with ids
``OFFSET-0``), ``ids:...`` (hash: by ``SENDER:ID`` what is remembered of a message, as
``OFFSET:TIME:DIGEST:TO``) and ``forget:...`` (when to forget those whose entry is trimmed);
``made:KIND`` (sorted set of logs by age), ``sequence`` (how many were made), ``touched`` (rooms by
the time of their last entry), and those of `redis_presence_script` and `redis_changes_script`. On
the channel ``news:KIND:KEY`` is said how far a log is.
"""

from .redis_changes_script import CHANGES, CHANGES_COMMANDS
from .redis_presence_script import PRESENCE, PRESENCE_COMMANDS

ENTER = """
-- KEYS: life. ARGV: whether this server lost nothing when it started, a new name.
local FORMAT = '2'  -- of the keys, and what is written to them: others must not work with these
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
-- Changes when a replica is made the primary; nothing but zeros where that never was.
local before = string.match(redis.call('INFO', 'replication'), 'master_replid2:(%x+)') or ''
local found = redis.call('HMGET', KEYS[1], 'life', 'run', 'before', 'format')
if found[4] and found[4] ~= FORMAT then
  return redis.error_reply('FORMAT the data is of another version of wscore: format ' .. found[4]
                           .. ', not ' .. FORMAT)
end
local was_never = string.match(before, '^0*$')
local is_same = found[2] == run and (was_never or found[3] == before)
local life = found[1]
if not life or not (is_same or ARGV[1] == '1') then life = ARGV[2] end
if life ~= found[1] then
  local P = string.sub(KEYS[1], 1, -5)
  redis.call('DEL', P .. 'changed', P .. 'marks')
  redis.call('HDEL', KEYS[1], 'changes', 'forgotten')
end
-- Also where nothing is new: a replica must not pass for the primary.
redis.call('HSET', KEYS[1], 'life', life, 'run', run, 'before', before, 'format', FORMAT)
return run
"""
"""Begins a life, where there is none or where the server may have lost the end of the last one.

To be called on every new connection. Returns what names this run of the server: the ``RUN`` of the
script.
"""

CHAT = (
    """
-- KEYS: life. ARGV: a random seed, then each command as a MessagePack array.
local P = string.sub(KEYS[1], 1, -5)
local life, run_of_life, last_change, forgotten =
  unpack(redis.call('HMGET', KEYS[1], 'life', 'run', 'changes', 'forgotten'))
if not life then return redis.error_reply('NOLIFE the data is gone') end
if run_of_life ~= RUN then return redis.error_reply('NOLIFE another one served it') end

last_change, forgotten = tonumber(last_change or 0), tonumber(forgotten or 0)

local renewed = 0
local function fresh()
  renewed = renewed + 1
  return string.sub(redis.sha1hex(ARGV[1] .. ':' .. renewed), 1, 16)
end

local function int(number) return string.format('%.0f', number) end

local news = {}  -- which logs to tell of at once, by name; all of them have changed

local function drop(name)
  redis.call('DEL', P .. 'stream:' .. name, P .. 'ids:' .. name, P .. 'forget:' .. name)
end

"""
    + CHANGES
    + PRESENCE
    + """
local function renew(kind, key, log)
  log.epoch, log.version = fresh(), 0
  redis.call('HSET', log.at, 'start', int(log.start), 'last', int(log.last), 'epoch', log.epoch,
             'life', life, 'version', 0)
  if kind == 'room' then forget_present(key) end
end

local function look(kind, key)
  local name = kind .. ':' .. key
  local at = P .. 'log:' .. name
  local m = redis.call('HMGET', at, 'epoch', 'start', 'last', 'name', 'secret', 'life',
                       'version')
  if not m[1] then return nil end
  local log = {name = name, at = at, epoch = m[1], start = tonumber(m[2]), last = tonumber(m[3]),
               text = m[4], secret = m[5], version = tonumber(m[7] or 0)}
  local held = redis.call('XLEN', P .. 'stream:' .. name)
  if held ~= log.last - log.start + 1 then
    drop(name)
    log.start, log.last = 1, 0
    renew(kind, key, log)
    changed[name] = log
  elseif m[6] ~= life then
    renew(kind, key, log)  -- of a new life all are told anyway
  end
  return log
end

local function make(kind, key, text, secret, most, age)
  if redis.call('ZCARD', P .. 'made:' .. kind) >= tonumber(most) then return nil end
  local name = kind .. ':' .. key
  local at = P .. 'log:' .. name
  drop(name)
  if kind == 'room' then forget_present(key) end
  local log = {name = name, at = at, epoch = fresh(), start = 1, last = 0, text = text,
               version = 0}
  redis.call('HSET', at, 'name', text, 'secret', secret, 'life', life, 'epoch', log.epoch,
             'start', 1, 'last', 0, 'version', 0)
  age = age or redis.call('INCR', P .. 'sequence')
  redis.call('ZADD', P .. 'made:' .. kind, age, key)
  return log
end

local function append(log, sender, from, to, totext, text, id, time, digest)
  log.last = redis.call('HINCRBY', log.at, 'last', 1)
  local offset = int(log.last)
  redis.call('XADD', P .. 'stream:' .. log.name, offset .. '-0', 'from', from, 'to', totext,
             'text', text, 'time', time, 'id', id, 'key', sender)
  redis.call('HSET', P .. 'ids:' .. log.name, sender .. ':' .. id,
             offset .. ':' .. time .. ':' .. digest .. ':' .. to)
  news[log.name] = log
  changed[log.name] = log
end

local function before(log, sender, to, id, digest)
  local found = redis.call('HGET', P .. 'ids:' .. log.name, sender .. ':' .. id)
  if not found then return nil end
  local offset, time, known, whom = string.match(found, '^(%d+):(%-?%d+):(%x+):(.*)$')
  if known ~= digest or whom ~= to then return {'conflict'} end
  -- Something has to be written, or WAIT would not wait for the first one.
  redis.call('HINCRBY', log.at, 'repeats', 1)
  return {'duplicate', log.epoch, offset, time}
end

local run = {}

function run.claim(key, text, secret, most)
  local log = look('inbox', key) or make('inbox', key, text, secret, most)
  if not log then return {'full'} end
  if log.secret and log.secret ~= secret then return {'taken'} end
  return {'head', log.text, log.epoch, int(log.last)}
end

function run.open(key, text, most, process, age)
  local log = look('room', key) or make('room', key, text, '', most, age)
  if not log then return {'full'} end
  return {'head', log.text, log.epoch, int(log.last), elsewhere(log, key, process, '')}
end

-- Where rooms lie elsewhere: there may be this one, too, and it is so old; how a user is spelled.
function run.reserve(key, most)
  local age = redis.call('ZSCORE', P .. 'made:room', key)
  if not age then
    if redis.call('ZCARD', P .. 'made:room') >= tonumber(most) then return {'full'} end
    age = redis.call('INCR', P .. 'sequence')
    redis.call('ZADD', P .. 'made:room', age, key)
  end
  return {'reserved', int(tonumber(age))}
end

function run.name(key)
  return {'name', redis.call('HGET', P .. 'log:inbox:' .. key, 'name') or ''}
end

function run.post(sender, from, key, text, id, time, digest, epoch)
  local log = look('room', key)
  if from == '' then from = redis.call('HGET', P .. 'log:inbox:' .. sender, 'name') end
  if not log or not from or (epoch ~= '' and epoch ~= log.epoch) then return {'lost'} end
  local known = before(log, sender, '', id, digest)
  if known then return known end
  append(log, sender, from, '', '', text, id, time, digest)
  redis.call('ZADD', P .. 'touched', time, key)
  return {'stored', log.epoch, int(log.last), time}
end

function run.send(sender, to, text, id, time, digest, epoch)
  local own = look('inbox', sender)
  if not own or (epoch ~= '' and epoch ~= own.epoch) then return {'lost'} end
  local known = before(own, sender, to, id, digest)
  if known then return known end
  local other = own
  if to ~= sender then other = look('inbox', to) end
  if not other then return {'unknown'} end
  append(own, sender, own.text, to, other.text, text, id, time, digest)
  if to ~= sender then
    append(other, sender, own.text, to, other.text, text, id, time, digest)
  end
  return {'stored', own.epoch, int(own.last), time}
end

local function page(log, first, last, limit, newest)
  local found = {}
  local stream = P .. 'stream:' .. log.name
  if limit ~= '0' then
    if newest == '1' then
      found = redis.call('XREVRANGE', stream, last, first, 'COUNT', limit)
    else
      found = redis.call('XRANGE', stream, first, last, 'COUNT', limit)
    end
  end
  return {'page', log.epoch, int(log.start), int(log.last), found}
end

function run.read(kind, key, first, last, limit, newest)
  local log = look(kind, key)
  return log and page(log, first, last, limit, newest) or {'lost'}
end

function run.news(kind, key, first, limit, process, since, epoch)
  local log = look(kind, key)
  if not log then return {'lost'} end
  -- Who asks has seen what is not here: it was put back to an older state.
  if epoch == log.epoch and tonumber(first) > log.last + 1 then
    renew(kind, key, log)
    changed[log.name] = log
  end
  local found = page(log, first, '+', limit, '0')
  if kind == 'room' then found[6] = elsewhere(log, key, process, since) end
  return found
end

function run.ping() return {'pong'} end

function run.rooms(limit)
  limit = tonumber(limit)
  local keys, listed = {}, {}
  local function list(found)
    local most = #keys + limit
    for _, key in ipairs(found) do
      if not listed[key] and #keys < most then
        listed[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  list(redis.call('ZREVRANGE', P .. 'crowds', 0, limit - 1))
  list(redis.call('ZREVRANGE', P .. 'touched', 0, 2 * limit - 1))
  list(redis.call('ZREVRANGE', P .. 'made:room', 0, 3 * limit - 1))
  local found = {'rooms'}
  for index = 1, math.min(#keys, limit) do
    local key = keys[index]
    local m = redis.call('HMGET', P .. 'log:room:' .. key, 'name', 'last')
    if m[1] then
      found[#found + 1] = {key, m[1], m[2], redis.call('ZSCORE', P .. 'crowds', key) or '0',
                           redis.call('ZSCORE', P .. 'touched', key) or '0',
                           redis.call('ZSCORE', P .. 'made:room', key) or '0'}
    end
  end
  return found
end

local function forget(kind, key, log, now, most)
  -- Of a direct message both inboxes remember the id for as long as either keeps the entry.
  local due = redis.call('ZRANGEBYSCORE', P .. 'forget:' .. log.name, '-inf', '(' .. now,
                         'LIMIT', 0, most)
  for _, field in ipairs(due) do
    local value = redis.call('HGET', P .. 'ids:' .. log.name, field)
    local to = value and string.match(value, '^%d+:%-?%d+:%x+:(.*)$') or ''
    local other = kind == 'inbox' and to ~= '' and to ~= key and look('inbox', to)
    local copy = other and redis.call('HGET', P .. 'ids:' .. other.name, field)
    if copy and tonumber(string.match(copy, '^%d+')) >= other.start then
      redis.call('ZADD', P .. 'forget:' .. log.name, int(tonumber(now) + 3600000), field)
    else
      redis.call('HDEL', P .. 'ids:' .. log.name, field)
      redis.call('ZREM', P .. 'forget:' .. log.name, field)
    end
  end
  return #due
end

local function trim(kind, key, log, keep, oldest, memory, most)
  local stream = P .. 'stream:' .. log.name
  local bound = 1
  if keep ~= '' then bound = log.last - tonumber(keep) + 1 end
  local function goes(entry)
    return tonumber(string.match(entry[1], '^%d+')) < bound
      or tonumber(entry[2][8]) < tonumber(oldest)
  end
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not first or not goes(first) then return 0 end
  local count = 0
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', most)) do
    if not goes(entry) then break end
    local sender, field = entry[2][12], entry[2][12] .. ':' .. entry[2][10]
    if kind == 'inbox' and sender ~= key then
      redis.call('HDEL', P .. 'ids:' .. log.name, field)
    else
      redis.call('ZADD', P .. 'forget:' .. log.name,
                 int(tonumber(entry[2][8]) + tonumber(memory)), field)
    end
    count = count + 1
  end
  log.start = log.start + count
  redis.call('XTRIM', stream, 'MINID', int(log.start) .. '-0')
  redis.call('HSET', log.at, 'start', int(log.start))
  return count
end

function run.trim(kind, from, logs, keep, oldest, now, memory, most)
  local first = tonumber(from)
  local keys = redis.call('ZRANGE', P .. 'made:' .. kind, first, first + tonumber(logs) - 1)
  for index, key in ipairs(keys) do
    local log = look(kind, key)
    if log then
      local count = trim(kind, key, log, keep, oldest, memory, most)
                  + forget(kind, key, log, now, most)
      -- A step is short: look at this one again, after those who wait.
      if count >= tonumber(most) then return {'next', int(first + index - 1)} end
    end
  end
  if #keys < tonumber(logs) then return {'end'} end
  return {'next', int(first + #keys)}
end

"""
    + PRESENCE_COMMANDS
    + CHANGES_COMMANDS
    + """
local results = {}
for index = 2, #ARGV do
  local command = cmsgpack.unpack(ARGV[index])
  results[index - 1] = run[command[1]](unpack(command, 2))
end
for name, log in pairs(news) do
  redis.call('PUBLISH', P .. 'news:' .. name,
             log.epoch .. ':' .. int(log.last) .. ':' .. int(log.version))
end
record()
return results
"""
)
"""Carries out commands; see `run` in it for what there is. `redis_shards` says it its ``RUN``."""
