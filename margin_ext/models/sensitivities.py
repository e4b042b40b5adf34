"""Greeks of positions and portfolios, in USD and coins, by the compiled Black-76 kernel."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from margin_ext import pricer
from margin_ext.models.portfolio import PERPETUAL, Floats, Portfolio
from margin_ext.models.valuation import averaging_years, deltas

TENOR_DAYS = (7.0, 30.0, 90.0, 180.0, 365.0)


class PositionGreeks(NamedTuple):
    """[N] each, of the signed positions; see `greeks`."""

    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    rho: Floats


class UnderlyingGreeks(msgspec.Struct, frozen=True):
    """Sums over the positions on one underlying."""

    delta_coins: float
    gamma: float
    vega: float
    theta: float
    rho: float
    tenor_days: tuple[float, ...]
    vega_by_tenor: tuple[float, ...]
    """One more than `tenor_days`: up to the first (with it), between, and beyond the last."""


def greeks(p: Portfolio, window_seconds: float = 0.0) -> PositionGreeks:
    """Delta in coins, gamma in coins per USD, vega in USD per 1.00 of vol, theta in USD per year, rho in USD per 1.00.

    Of the dollar price in the forward (inverse options too, their value in coins taken at the forward), the spot held
    for rho. Futures: delta (inverse size / F), dated ones rho = delta F T; perpetuals delta alone. Of a settlement
    average that is partly known only the open part moves; its gamma holds that part's share of the whole fixed.
    """
    open_part = 1.0 - p.average_fraction
    delta = deltas(p, window_seconds)
    rho = np.where(p.is_option | (p.kind == PERPETUAL), 0.0, delta * p.forward * p.years)
    gamma, vega, theta = np.zeros(len(p)), np.zeros(len(p)), np.zeros(len(p))
    at = p.is_option
    if at.any():
        share = open_part[at] * p.forward[at] / p.fixing[at]
        years = averaging_years(p, window_seconds)[at]
        unit = pricer.greeks(p.fixing[at], p.strike[at], p.vol[at] * share, years, p.is_call[at])
        gamma[at] = p.size[at] * unit.gamma * open_part[at] ** 2
        vega[at] = p.size[at] * unit.vega * share
        theta[at] = p.size[at] * unit.theta
        rho[at] = p.size[at] * unit.rho * open_part[at]
    return PositionGreeks(delta, gamma, vega, theta, rho)


def by_underlying(
    p: Portfolio, tenor_days: Sequence[float] = TENOR_DAYS, window_seconds: float = 0.0
) -> dict[str, UnderlyingGreeks]:
    """Sums by underlying's name, for those held; vega also by days to expiry."""
    each = greeks(p, window_seconds)
    bucket = np.searchsorted(np.asarray(tenor_days, dtype=np.float64), p.days, side="left")
    found = {}
    for place in sorted(set(p.underlying.tolist())):
        at = p.underlying == place
        sums = [float(values[at].sum()) for values in each]
        tenors = np.bincount(bucket[at], each.vega[at], len(tenor_days) + 1)
        found[p.underlyings[place].name] = UnderlyingGreeks(
            *sums, tuple(float(days) for days in tenor_days), tuple(tenors.tolist())
        )
    return found
