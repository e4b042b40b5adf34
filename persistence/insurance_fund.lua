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
--   <fund>:currency:<currency>     hash    balance = free + leased
--   <fund>:claims:<currency>       hash    venue -> its part of the balance, negative if it drew more
--   <fund>:lease:<venue>:<lease>   hash    currency, asked, first_granted, granted, state, used, released
--   <fund>:leases                  hash    "<venue> <lease>" -> currency, for the open leases
--   <fund>:operation:<venue>:<op>  hash    kind, arguments and answer of a finished operation
--   <fund>:history                 stream  every operation, in order
-- ARGV begins with venue, epoch in every writing function.

local VERSION = '1'
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

-- Credits and debits. args: venue, epoch, op_id, currency, amount. Answer: {balance, free} after it.
local function transfer(kind, sign)
  return function(keys, args)
    local call, bad = open_call(keys, args, 3)
    if bad then return bad end
    local op_id, currency, amount = args[3], args[4], args[5]
    if not is_name(op_id) or not is_name(currency) or not is_amount(amount) then
      return refuse('BADCALL', 'id, currency or amount is malformed')
    end
    local refused = fence(call)
    if refused then return refused end
    local op_key = call.fund .. ':operation:' .. call.venue .. ':' .. op_id
    local answer = repeated(op_key, kind, currency, amount)
    if answer then return answer end
    local purse = call.fund .. ':currency:' .. currency
    if sign < 0 and compare(amount, get(purse, 'free')) > 0 then
      return refuse('INSUFFICIENT', 'only ' .. get(purse, 'free') .. ' is free')
    end
    local delta = sign < 0 and negate(amount) or amount
    refused = add_all({
      { call.fund .. ':claims:' .. currency, call.venue, delta },
      { purse, 'balance', delta },
      { purse, 'free', delta },
    })
    if refused then return refused end
    answer = { get(purse, 'balance'), get(purse, 'free') }
    keep(op_key, kind, currency, amount, answer[1], answer[2])
    record(call, kind, op_id, currency, amount, amount)
    return answer
  end
end

-- Moves what is wanted, or what is left, from free to leased. Both lie within the balance, so no sum can
-- overflow.
local function grant(call, lease_key, currency, wanted)
  local purse = call.fund .. ':currency:' .. currency
  local free = get(purse, 'free')
  local granted = compare(wanted, free) <= 0 and wanted or free
  redis.call('HINCRBY', purse, 'free', negate(granted))
  redis.call('HINCRBY', purse, 'leased', granted)
  redis.call('HINCRBY', lease_key, 'granted', granted)
  return granted
end

-- args: venue, epoch, lease_id, currency, amount. Answer: {granted now, granted in all}.
local function reserve(keys, args)
  local call, bad = open_call(keys, args, 3)
  if bad then return bad end
  local lease_id, currency, amount = args[3], args[4], args[5]
  if not is_name(lease_id) or not is_name(currency) or not is_amount(amount) then
    return refuse('BADCALL', 'lease, currency or amount is malformed')
  end
  local refused = fence(call)
  if refused then return refused end
  local lease_key = call.fund .. ':lease:' .. call.venue .. ':' .. lease_id
  local known = redis.call('HMGET', lease_key, 'currency', 'asked', 'first_granted')
  if known[1] then
    if known[1] ~= currency or known[2] ~= amount then
      return refuse('CONFLICT', 'lease ' .. lease_id .. ' was asked as ' .. known[2] .. ' ' .. known[1])
    end
    return { known[3], known[3] }
  end
  local granted = grant(call, lease_key, currency, amount)
  redis.call('HSET', lease_key, 'currency', currency, 'asked', amount, 'first_granted', granted,
    'state', 'open', 'epoch', call.epoch)
  redis.call('HSET', call.fund .. ':leases', call.venue .. ' ' .. lease_id, currency)
  record(call, 'reserve', lease_id, currency, amount, granted)
  return { granted, granted }
end

-- args: venue, epoch, lease_id, op_id, amount. Answer: {granted now, granted in all}.
local function top_up(keys, args)
  local call, bad = open_call(keys, args, 3)
  if bad then return bad end
  local lease_id, op_id, amount = args[3], args[4], args[5]
  if not is_name(lease_id) or not is_name(op_id) or not is_amount(amount) then
    return refuse('BADCALL', 'lease, id or amount is malformed')
  end
  local refused = fence(call)
  if refused then return refused end
  local op_key = call.fund .. ':operation:' .. call.venue .. ':' .. op_id
  local answer = repeated(op_key, 'top_up', lease_id, amount)
  if answer then return answer end
  local lease_key = call.fund .. ':lease:' .. call.venue .. ':' .. lease_id
  local lease = redis.call('HMGET', lease_key, 'state', 'currency')
  if not lease[1] then return refuse('NOLEASE', 'there is no lease ' .. lease_id) end
  if lease[1] ~= 'open' then return refuse('SETTLED', 'lease ' .. lease_id .. ' is settled') end
  local granted = grant(call, lease_key, lease[2], amount)
  answer = { granted, get(lease_key, 'granted') }
  keep(op_key, 'top_up', lease_id, amount, answer[1], answer[2])
  record(call, 'top_up', lease_id, lease[2], amount, granted)
  return answer
end

-- args: venue, epoch, lease_id, used. Answer: {used, released}.
local function settle(keys, args)
  local call, bad = open_call(keys, args, 2)
  if bad then return bad end
  local lease_id, used = args[3], args[4]
  if not is_name(lease_id) or not is_amount(used) then
    return refuse('BADCALL', 'lease or amount is malformed')
  end
  local refused = fence(call)
  if refused then return refused end
  local lease_key = call.fund .. ':lease:' .. call.venue .. ':' .. lease_id
  local lease = redis.call('HMGET', lease_key, 'state', 'currency', 'granted', 'used', 'released')
  if not lease[1] then return refuse('NOLEASE', 'there is no lease ' .. lease_id) end
  if lease[1] ~= 'open' then
    if lease[4] ~= used then
      return refuse('CONFLICT', 'lease ' .. lease_id .. ' was settled with ' .. lease[4])
    end
    return { lease[4], lease[5] }
  end
  local currency, granted = lease[2], lease[3]
  if compare(used, granted) > 0 then
    return refuse('EXCEEDED', 'lease ' .. lease_id .. ' holds ' .. granted)
  end
  local purse = call.fund .. ':currency:' .. currency
  refused = add_all({
    { call.fund .. ':claims:' .. currency, call.venue, negate(used) },
    { lease_key, 'released', granted },
    { lease_key, 'released', negate(used) },
  })
  if refused then return refused end
  local released = get(lease_key, 'released')
  redis.call('HINCRBY', purse, 'balance', negate(used))
  redis.call('HINCRBY', purse, 'leased', negate(granted))
  redis.call('HINCRBY', purse, 'free', released)
  redis.call('HSET', lease_key, 'state', 'settled', 'used', used)
  redis.call('HDEL', call.fund .. ':leases', call.venue .. ' ' .. lease_id)
  record(call, 'settle', lease_id, currency, used, released)
  return { used, released }
end

-- args: venue, epoch. Makes this epoch the venue's current one, so that an older process is refused from now
-- on.
local function attach(keys, args)
  local call, bad = open_call(keys, args, 0)
  if bad then return bad end
  return fence(call) or redis.status_reply('OK')
end

-- args: currency. Answer: {balance, free, leased, venue, claim, venue, claim, ...}.
local function state(keys, args)
  if #keys ~= 1 or #args ~= 1 or not is_name(args[1]) then
    return refuse('BADCALL', 'one currency is expected')
  end
  local purse = keys[1] .. ':currency:' .. args[1]
  local answer = { get(purse, 'balance'), get(purse, 'free'), get(purse, 'leased') }
  for _, word in ipairs(redis.call('HGETALL', keys[1] .. ':claims:' .. args[1])) do
    answer[#answer + 1] = word
  end
  return answer
end

-- args: venue. Answer: {lease_id, currency, granted, epoch, ...} for its open leases.
local function leases(keys, args)
  if #keys ~= 1 or #args ~= 1 or not is_name(args[1]) then
    return refuse('BADCALL', 'one venue is expected')
  end
  local answer, head = {}, args[1] .. ' '
  for _, name in ipairs(redis.call('HKEYS', keys[1] .. ':leases')) do
    if string.sub(name, 1, #head) == head then
      local lease_id = string.sub(name, #head + 1)
      local lease_key = keys[1] .. ':lease:' .. args[1] .. ':' .. lease_id
      local lease = redis.call('HMGET', lease_key, 'currency', 'granted', 'epoch')
      for _, word in ipairs({ lease_id, lease[1], lease[2], lease[3] }) do answer[#answer + 1] = word end
    end
  end
  return answer
end

redis.register_function('margrave_fund_endow', transfer('endow', 1))
redis.register_function('margrave_fund_credit', transfer('credit', 1))
redis.register_function('margrave_fund_debit', transfer('debit', -1))
redis.register_function('margrave_fund_reserve', reserve)
redis.register_function('margrave_fund_top_up', top_up)
redis.register_function('margrave_fund_settle', settle)
redis.register_function('margrave_fund_attach', attach)
redis.register_function{ function_name = 'margrave_fund_state', callback = state, flags = { 'no-writes' } }
redis.register_function{ function_name = 'margrave_fund_leases', callback = leases, flags = { 'no-writes' } }
redis.register_function{ function_name = 'margrave_fund_version', callback = function() return VERSION end,
  flags = { 'no-writes' } }
