"""Stress figures the slow way: every account, move and vol by itself, from views and a textbook Black-76."""

import math

from exchange.risk.stress import MOVES_PPM, VOLS

DAY_NS = 86_400 * 10**9


def black(forward, strike, vol, years, call):
    if vol <= 0 or years <= 0:
        return max(0.0, forward - strike if call else strike - forward)
    width = vol * math.sqrt(years)
    upper = math.log(forward / strike) / width + width / 2
    first, second = (0.5 * math.erfc(-d / math.sqrt(2)) for d in (upper, upper - width))
    price = forward * first - strike * second
    return price if call else price - forward + strike


def raised(parameters, vol, days):
    days = max(days, 1.0)
    power = (
        parameters.vega_power_short_ppm
        if days < parameters.vega_power_boundary_days
        else parameters.vega_power_long_ppm
    )
    up = 1 + parameters.vol_up_ppm / 1e6 * (30 / days) ** (power / 1e6)
    return max(vol * up, parameters.vol_up_floor_e6 / 1e6)


def lot_change(engine, slot, move, vol_name):
    """USD per lot at the moved index, against today's value moved along."""
    spec, market = engine.instrument(slot), engine.market(slot)
    size, index = spec.lot_size_e8 / 1e8, market.index_price_e8 / 1e8
    if spec.kind != "option":
        mark = market.mark_price_e8 / 1e8
        return size * move * (index / mark if spec.inverse else mark)
    underlying = engine.underlying_index(spec.underlying)
    years = (spec.expiry_ns - engine.marks_time_ns(underlying)) / (365 * DAY_NS)
    forward, vol = market.forward_e8 / 1e8, market.mark_vol_e6 / 1e6
    matrix = engine.config.underlyings[underlying].matrix
    moved_vol = raised(matrix, vol, years * 365) if vol_name == "up" else vol
    call, strike = spec.option_type == "call", spec.strike_e8 / 1e8
    before = black(forward, strike, vol, years, call)
    after = black(forward * (1 + move), strike, moved_vol, years, call)
    if spec.inverse:
        return size * index / forward * (after - before * (1 + move))
    return size * (after - before)


def entities(engine, account):
    """[(settlements, balance, maintenance in USD)] of an account."""
    config = engine.config
    if account.margin_model.startswith("cross"):
        equity, _, maintenance = engine.exposure.margins(account.account_id, 0)
        return [([c.name for c in config.currencies], equity / 1e4, maintenance / 1e4)]
    found = []
    for number, currency in enumerate(config.currencies):
        equity, _, maintenance = engine.exposure.margins(account.account_id, number)
        unit = usd(engine, currency) / 10**currency.exponent
        found.append(([currency.name], equity * unit, maintenance * unit))
    return found


def usd(engine, currency):
    if currency.underlying is None:
        return 1.0
    return engine.index_price(engine.underlying_index(currency.underlying)) / 1e8


def figures(engine):
    """{(set, move, vol): (below, deficit, two largest)}; sets: names of underlyings and "all". USD."""
    names = [u.name for u in engine.config.underlyings]
    found = {}
    for chosen in [*names, "all"]:
        for ppm in MOVES_PPM:
            for vol in VOLS:
                moved = names if chosen == "all" else [chosen]
                found[chosen, ppm, vol] = one(engine, moved, ppm / 1e6, vol)
    return found


def isolated(engine, moved, move, vol):
    """{account: (owner, instrument, lots, what its bucket is worth in USD after the move)} of every bucket."""
    found = {}
    for account_id in engine.account_ids():
        for bucket in engine.buckets(account_id):
            own = engine.account(bucket.bucket_account_id)
            spec = engine.instrument(bucket.instrument)
            number = next(n for n, c in enumerate(engine.config.currencies) if c.name == spec.settlement)
            currency = engine.config.currencies[number]
            worth = bucket.equity_minor / 10**currency.exponent * usd(engine, currency)
            worth *= 1 + move if currency.underlying in moved else 1
            lots = sum(p.quantity_lots for p in engine.positions(bucket.bucket_account_id))
            if spec.underlying in moved:
                worth += lots * lot_change(engine, bucket.instrument, move, vol)
            found[bucket.bucket_account_id] = (own.owner_id, bucket.instrument, lots, worth)
    return found


def torn_up(engine, account_id, moved, move, vol, lack):
    """The share of a bucket's position that its owner's opposite buckets take at its bankruptcy price."""
    if engine.holder(account_id) == account_id:
        return 0.0
    buckets = isolated(engine, moved, move, vol)
    owner, slot, lots, _ = buckets[account_id]
    mine = [b for b in buckets.values() if b[:2] == (owner, slot)]
    share = lots / sum(b[2] for b in mine if b[2] * lots > 0) if lots else 0.0
    taken = sum(min(abs(b[2]) * share / abs(lots), b[3] * share / lack) for b in mine if b[2] * lots < 0 and b[3] > 0)
    return min(1.0, taken)


def one(engine, moved, move, vol):
    below = deficit = 0.0
    groups = {}
    for account_id in engine.account_ids():
        account = engine.account(account_id)
        held = [p for p in engine.positions(account_id) if p.quantity_lots]
        for settlements, balance, maintenance in entities(engine, account):
            change = premium = base = notional = 0.0
            for currency, view in zip(engine.config.currencies, account.currencies, strict=True):
                if currency.name in settlements:
                    worth = view.equity_minor / 10**currency.exponent * usd(engine, currency)
                    base += worth
                    change += worth * move if currency.underlying in moved else 0.0
            for position in held:
                spec = engine.instrument(position.instrument)
                if spec.settlement not in settlements:
                    continue
                size = abs(position.quantity_lots) * spec.lot_size_e8 / 1e8
                dollars = spec.inverse and spec.kind != "option"
                notional += size * (1.0 if dollars else engine.market(position.instrument).index_price_e8 / 1e8)
                if spec.underlying in moved:
                    moved_by = position.quantity_lots * lot_change(engine, position.instrument, move, vol)
                    change += moved_by
                    premium += moved_by if spec.kind == "option" else 0.0
                    if spec.kind == "option" and spec.inverse:  # the coins that it is worth move with the index
                        coins = position.quantity_lots * engine.market(position.instrument).mark_price_e8 / 1e8
                        size = spec.lot_size_e8 / 1e8
                        premium += coins * size * engine.market(position.instrument).index_price_e8 / 1e8 * move
            if notional == 0 and base >= 0:
                continue
            if balance + change - (premium if account.margin_model.endswith("_sm") else 0.0) < maintenance:
                below += notional
            if base + change < 0:
                lack = -(base + change)
                lack -= lack * torn_up(engine, account_id, moved, move, vol, lack)
                deficit += lack
                groups[account.owner_id] = groups.get(account.owner_id, 0.0) + lack
    return below, deficit, sum(sorted(groups.values(), reverse=True)[:2])
