#!lua name=margrave_fund

-- The shared insurance fund: balances, leases and history on a Redis-compatible server (7.0 or later).
--
-- Every call is one function: checked, applied and recorded as a whole. Amounts are whole minor units and
-- stay decimal strings here; sums are made by HINCRBY on 64-bit integers, because Lua's numbers are doubles
-- and lose units from 2^53 on. Every write is idempotent by its id, fenced by (venue, epoch) and appended to
-- the history.
--
-- KEYS[1] is the fund's name in braces, e.g. {margrave-fund}; all keys begin with it and so share a cluster
-- slot:
--   <fund>:epochs                  hash    venue -> highest epoch seen
--   <fund>:currency:<currency>     hash    balance = free + leased; event_cap: most that one lease may hold
--   <fund>:claims:<currency>       hash    venue -> its part of the balance
--   <fund>:available:<currency>    hash    venue -> its claim less what its open leases hold
--   <fund>:lease:<venue>:<lease>   hash    currency, asked, first_granted, granted, state, used, released
--   <fund>:leases                  hash    "<venue> <lease>" -> currency, for the open leases
--   <fund>:operation:<venue>:<op>  hash    kind, arguments and answer of a finished operation
--   <fund>:history                 stream  every operation, in order
-- ARGV begins with venue, epoch in every writing function.
--
-- A venue leases and debits its own claim only, so venues that share a server cannot starve each other; one lease, which
-- is one default, holds at most the currency's event cap.

local VERSION = '2'
local INT64_MAX = '9223372036854775807'

local function refuse(code, message)
  return redis.error_reply(code .. ' ' .. message)
end

-- Compares canonical non-negative decimal strings: -1, 0 or 1.
local function compare(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  if a == b then return 0 end
  return a < b and -1 or 1
end

local function is_amount(text)
  return (text == '0' or string.match(text, '^[1-9]%d*$') ~= nil) and compare(text, INT64_MAX) <= 0
end

local function is_name(text)
  return #text > 0 and #text <= 128 and string.match(text, '^[%w%.:_%-/]+$') ~= nil
end

local function get(key, field)
  return redis.call('HGET', key, field) or '0'
end

-- The head of a call. A venue has no colon, so that keys made of a venue and an id cannot collide.
local function open_call(keys, args, count)
  if #keys ~= 1 or #args ~= count + 2 then return nil, refuse('BADCALL', 'wrong number of arguments') end
  local call = { fund = keys[1], venue = args[1], epoch = args[2] }
  if not is_name(call.venue) or string.find(call.venue, ':', 1, true) or not is_amount(call.epoch) then
    return nil, refuse('BADCALL', 'venue or epoch is malformed')
  end
  return call
end

-- Refuses a stale process; a newer epoch takes over at its first call.
local function fence(call)
  local key = call.fund .. ':epochs'
  local known = redis.call('HGET', key, call.venue)
  if known then
    local order = compare(call.epoch, known)
    if order < 0 then
      return refuse('FENCED', 'epoch ' .. call.epoch .. ' is over for ' .. call.venue .. ', now ' .. known)
    end
    if order == 0 then return nil end
  end
  redis.call('HSET', key, call.venue, call.epoch)
  return nil
end

local function negate(amount)
  if amount == '0' then return amount end
  if string.sub(amount, 1, 1) == '-' then return string.sub(amount, 2) end
  return '-' .. amount
end

-- Adds to several integer fields or to none: an overflow undoes what was done before it.
-- changes: list of {key, field, signed decimal string}
local function add_all(changes)
  for i, change in ipairs(changes) do
    local reply = redis.pcall('HINCRBY', change[1], change[2], change[3])
    if type(reply) == 'table' and reply.err then
      for j = i - 1, 1, -1 do
        redis.call('HINCRBY', changes[j][1], changes[j][2], negate(changes[j][3]))
      end
      return refuse('OVERFLOW', 'a sum would leave 64 bits: ' .. change[2])
    end
  end
  return nil
end

local function record(call, kind, id, currency, amount, granted)
  local purse = call.fund .. ':currency:' .. currency
  redis.call('XADD', call.fund .. ':history', '*', 'kind', kind, 'venue', call.venue, 'epoch', call.epoch,
    'id', id, 'currency', currency, 'amount', amount, 'result', granted,
    'balance', get(purse, 'balance'), 'free', get(purse, 'free'))
end

-- The smaller of two decimal strings, nothing below zero.
local function least(a, b)
  if string.sub(a, 1, 1) == '-' or string.sub(b, 1, 1) == '-' then return '0' end
  return compare(a, b) <= 0 and a or b
end

-- What the venue may still lease or debit. Where nobody has kept count (data of library 1) it is counted now.
local function available(call, currency)
  local key = call.fund .. ':available:' .. currency
  local known = redis.call('HGET', key, call.venue)
  if known then return known end
  redis.call('HSET', key, call.venue, get(call.fund .. ':claims:' .. currency, call.venue))
  local head = call.venue .. ' '
  for _, name in ipairs(redis.call('HKEYS', call.fund .. ':leases')) do
    if string.sub(name, 1, #head) == head then
      local lease = redis.call('HMGET', call.fund .. ':lease:' .. call.venue .. ':' .. string.sub(name, #head + 1),
        'currency', 'granted')
      if lease[1] == currency then redis.call('HINCRBY', key, call.venue, negate(lease[2])) end
    end
  end
  return redis.call('HGET', key, call.venue)
end

-- What an operation id answered before. Returns nothing where it is new, else the answer or a refusal.
local function repeated(key, kind, subject, amount)
  local kept = redis.call('HMGET', key, 'kind', 'subject', 'amount', 'first', 'second')
  if not kept[1] then return nil end
  if kept[1] ~= kind or kept[2] ~= subject or kept[3] ~= amount then
    return refuse('CONFLICT', 'this id was used for ' .. kept[1] .. ' ' .. kept[2] .. ' ' .. kept[3])
  end
  return { kept[4], kept[5] }
end

local function keep(key, kind, subject, amount, first, second)
  redis.call('HSET', key, 'kind', kind, 'subject', subject, 'amount', amount, 'first', first,
    'second', second)
end
