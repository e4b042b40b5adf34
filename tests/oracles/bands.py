"""Naive price bands, order sizes and prices in vol, from the last marks. Rules: docs/orders.md, decision 0008."""

import margin_ext
from exchange.commands import Advanced
from exchange.config import Limits
from tests.oracles.averaging import fixing_of, variance_years
from tests.oracles.book import BUY
from tests.oracles.contract import E8, PPM, Contract, ceil_div
from tests.oracles.grid import Grid

HIGHEST_VALUE_E8 = 10**17
HIGHEST_VOL_E8 = 20 * E8
NO_PRICE = 1 << 62


def years_left(c: Contract, time_ns: int | None = None) -> float:
    """To expiry, from a time, else that of the last marks."""
    return variance_years(c, c.priced_ns if time_ns is None else time_ns)


def price_and_share(c: Contract) -> tuple[float, float]:
    """What the option's price rests on, and of its vol what the open part of a settlement average lends to it."""
    fixing = fixing_of(c, c.forward_e8)
    return (fixing.price_e8 / 1e8, fixing.share) if fixing else (c.forward_e8 / 1e8, 1.0)


def price_at_vol(grid: Grid, c: Contract, vol: float, index_e8: int) -> int | None:
    """The option's price in 1e-8 of its quote currency with all but the vol as at its mark."""
    if c.forward_e8 == 0:
        return None
    is_call = c.spec.option_type == "call"
    price, share = price_and_share(c)
    priced = margin_ext.reprice(
        [c.spec.strike_e8 / 1e8], [0], [vol * share], [price], [years_left(c)], grid.multiplier,
        [[1.0] * len(grid.columns)], index_price=index_e8 / 1e8, lot_coin=c.spec.lot_size_e8 / 1e8,
        inverse=c.spec.inverse, vol_floor=grid.vol_floor, weight=grid.weight, coin_factor=grid.coin_factor,
        call_row=[0 if is_call else -1], put_row=[-1 if is_call else 0],
    )  # fmt: skip
    return round(float(priced.mark[0]) * 1e8)


def vega_e8(c: Contract, time_ns: int | None = None) -> int:
    """What a lot gains with a vol point, 1e-8 USD, at the last marks and a time, else theirs; combos: their legs."""
    if c.legs:
        return sum(ratio * vega_e8(leg, time_ns) for leg, ratio in c.legs)
    if not c.is_option or c.forward_e8 == 0 or c.vol_e6 == 0:
        return 0
    price, share = price_and_share(c)
    found = margin_ext.greeks(
        [price],
        [c.spec.strike_e8 / 1e8],
        [c.vol_e6 / 1e6 * share],
        [years_left(c, time_ns)],
        c.spec.option_type == "call",
    )
    return round(float(found.vega[0]) * share * (c.spec.lot_size_e8 / 1e8) * 1e6)


def coins_value_e16(c: Contract, index_e8: int) -> int:
    """What a lot is on, in 1e-16 USD; of a combo its largest leg."""
    if c.legs:
        return max(abs(ratio) * coins_value_e16(leg, index_e8) for leg, ratio in c.legs)
    return c.spec.lot_size_e8 * (E8 if c.is_inverse_future else index_e8)


def edges(grid: Grid, c: Contract, limits: Limits, index_e8: int) -> tuple[int, int]:
    """(highest price of a buy, lowest of a sell) in units."""
    band = c.mark_price_e8 * limits.price_band_ppm // PPM
    if c.is_option:
        band += (E8 if c.spec.inverse else index_e8) * limits.option_band_coin_ppm // PPM
    top, bottom = c.mark_price_e8 + band, c.mark_price_e8 - band
    share = limits.option_band_vol_ppm
    if c.is_option and share:
        unit = c.spec.price_unit_e8
        least = limits.option_band_ticks * c.tick(c.mark_price_e8 // unit) * unit
        above = price_at_vol(grid, c, c.vol_e6 * (PPM + share) / 1e12, index_e8)
        below = price_at_vol(grid, c, c.vol_e6 * max(0, PPM - share) / 1e12, index_e8)
        if above is not None and below is not None:
            top = min(top, max(above, c.mark_price_e8 + least))
            bottom = max(bottom, min(below, c.mark_price_e8 - least))
    highest = c.tick_floor(top // c.spec.price_unit_e8) or c.tick(1)
    return highest, c.tick_ceil(ceil_div(bottom, c.spec.price_unit_e8))


def advanced_price(
    grid: Grid, c: Contract, side: int, kind: int, value_e8: int, band: tuple[int, int], index_e8: int
) -> int | None:
    """What an advanced order's value means: on tick, in the band; None where it means nothing."""
    if not c.is_option or not c.marked or not 0 < value_e8 <= HIGHEST_VALUE_E8:
        return None
    unit, tick = c.spec.price_unit_e8, c.tick(1)
    if kind == Advanced.USD and c.spec.inverse:
        low, high = value_e8 * E8 // index_e8, ceil_div(value_e8 * E8, index_e8)
    elif kind == Advanced.IMPLIED_VOL and value_e8 <= HIGHEST_VOL_E8:
        price = price_at_vol(grid, c, value_e8 / 1e8, index_e8)
        if price is None:
            return None
        low = high = price
    else:
        return None
    if side == BUY:
        return max(min(c.tick_floor(min(low, NO_PRICE) // unit), band[0]), tick)
    return max(c.tick_ceil(ceil_div(min(high, NO_PRICE), unit)), band[1])
