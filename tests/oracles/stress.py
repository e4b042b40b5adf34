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
            if notional == 0 and base >= 0:
                continue
            if balance + change - (premium if account.margin_model.endswith("_sm") else 0.0) < maintenance:
                below += notional
            if base + change < 0:
                deficit -= base + change
                groups[account.owner_id] = groups.get(account.owner_id, 0.0) - base - change
    return below, deficit, sum(sorted(groups.values(), reverse=True)[:2])
