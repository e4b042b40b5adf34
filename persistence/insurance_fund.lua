-- The functions of the shared insurance fund; insurance_fund_base.lua stands before them in the library.

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
    local most = least(available(call, currency), get(purse, 'free'))
    if sign < 0 and compare(amount, most) > 0 then
      return refuse('INSUFFICIENT', 'only ' .. most .. ' of the claim of ' .. call.venue .. ' is free')
    end
    local delta = sign < 0 and negate(amount) or amount
    refused = add_all({
      { call.fund .. ':claims:' .. currency, call.venue, delta },
      { call.fund .. ':available:' .. currency, call.venue, delta },
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

-- Moves what is wanted from free to leased, or as much as the venue's claim, the free part and the event cap leave. All
-- lie within the balance, so no sum can overflow.
local function grant(call, lease_key, currency, wanted)
  local purse = call.fund .. ':currency:' .. currency
  local granted = least(least(wanted, available(call, currency)), get(purse, 'free'))
  local cap = redis.call('HGET', purse, 'event_cap')
  if cap then
    redis.call('HSET', lease_key, 'room', cap)
    redis.call('HINCRBY', lease_key, 'room', negate(get(lease_key, 'granted')))
    granted = least(granted, get(lease_key, 'room'))
    redis.call('HDEL', lease_key, 'room')
  end
  redis.call('HINCRBY', purse, 'free', negate(granted))
  redis.call('HINCRBY', purse, 'leased', granted)
  redis.call('HINCRBY', call.fund .. ':available:' .. currency, call.venue, negate(granted))
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
  available(call, currency)
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
  redis.call('HINCRBY', call.fund .. ':available:' .. currency, call.venue, released)
  redis.call('HSET', lease_key, 'state', 'settled', 'used', used)
  redis.call('HDEL', call.fund .. ':leases', call.venue .. ' ' .. lease_id)
  record(call, 'settle', lease_id, currency, used, released)
  return { used, released }
end

-- args: venue, epoch, op_id, currency, amount. Sets what one lease may hold at most, for every venue; 2^63 - 1: no cap.
-- Leases that hold more keep it. Answer: {cap, balance}.
local function limit(keys, args)
  local call, bad = open_call(keys, args, 3)
  if bad then return bad end
  local op_id, currency, amount = args[3], args[4], args[5]
  if not is_name(op_id) or not is_name(currency) or not is_amount(amount) then
    return refuse('BADCALL', 'id, currency or amount is malformed')
  end
  local refused = fence(call)
  if refused then return refused end
  local op_key = call.fund .. ':operation:' .. call.venue .. ':' .. op_id
  local answer = repeated(op_key, 'limit', currency, amount)
  if answer then return answer end
  local purse = call.fund .. ':currency:' .. currency
  if amount == INT64_MAX then
    redis.call('HDEL', purse, 'event_cap')
  else
    redis.call('HSET', purse, 'event_cap', amount)
  end
  answer = { amount, get(purse, 'balance') }
  keep(op_key, 'limit', currency, amount, answer[1], answer[2])
  record(call, 'limit', op_id, currency, amount, amount)
  return answer
end

-- args: venue, epoch. Makes this epoch the venue's current one, so that an older process is refused from now
-- on.
local function attach(keys, args)
  local call, bad = open_call(keys, args, 0)
  if bad then return bad end
  return fence(call) or redis.status_reply('OK')
end

-- args: currency. Answer: {balance, free, leased, event cap, venue, claim, venue, claim, ...}.
local function state(keys, args)
  if #keys ~= 1 or #args ~= 1 or not is_name(args[1]) then
    return refuse('BADCALL', 'one currency is expected')
  end
  local purse = keys[1] .. ':currency:' .. args[1]
  local cap = redis.call('HGET', purse, 'event_cap') or INT64_MAX
  local answer = { get(purse, 'balance'), get(purse, 'free'), get(purse, 'leased'), cap }
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
redis.register_function('margrave_fund_limit', limit)
redis.register_function('margrave_fund_attach', attach)
redis.register_function{ function_name = 'margrave_fund_state', callback = state, flags = { 'no-writes' } }
redis.register_function{ function_name = 'margrave_fund_leases', callback = leases, flags = { 'no-writes' } }
redis.register_function{ function_name = 'margrave_fund_version', callback = function() return VERSION end,
  flags = { 'no-writes' } }
