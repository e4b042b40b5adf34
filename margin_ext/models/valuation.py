"""Positions revalued under shocks: forwards scaled, vols replaced, settlement averages partly known.

The prices are those of the compiled Black-76 kernel (`margin_ext.price`), undiscounted.
"""

import numpy as np

from margin_ext import pricer
from margin_ext.models.portfolio import DAYS_PER_YEAR, Floats, Portfolio

SECONDS_PER_YEAR = DAYS_PER_YEAR * 86_400.0


def averaging_years(p: Portfolio, window_seconds: float) -> Floats:
    """[N] years over which variance accrues until the settlement average is complete.

    The average of a driftless price over the last w years has, seen T years ahead, the variance of
    T - 2w/3 years before the window and of T/3 of the part still open inside it (first order in vol^2 T).
    """
    window = window_seconds / SECONDS_PER_YEAR
    if window == 0.0:
        return p.years
    return np.where(p.years >= window, p.years - window * (2.0 / 3.0), p.years / 3.0)


def unit_values(p: Portfolio, multiplier: Floats, vol: Floats, years: Floats) -> Floats:
    """[N, S] value per unit of size in the settlement currency with forwards at forward x multiplier.

    multiplier, vol broadcast to [N, S]; years [N]. An option whose average is partly known is priced on
    a A + (1 - a) F m, with the vol that the open part lends to the whole. Futures: F (linear, per coin), -1/F
    (inverse, per USD).
    """
    known = (p.average_fraction * p.average_price)[:, None]
    open_part = ((1.0 - p.average_fraction) * p.forward)[:, None] * multiplier
    fixing, vol, inverse = np.broadcast_arrays(known + open_part, vol, p.inverse[:, None])
    out = np.where(inverse, -1.0 / fixing, fixing)
    at = p.is_option
    if at.any():
        f = fixing[at]
        share = np.broadcast_to(open_part, fixing.shape)[at] / f
        value = pricer.price(f, p.strike[at, None], vol[at] * share, years[at, None], p.is_call[at, None])
        out[at] = np.where(inverse[at], value / f, value)
    return out


def marks(p: Portfolio, window_seconds: float = 0.0) -> Floats:
    """[N] marks in the quote unit: as given, else the fixing of futures and the Black-76 value of options."""
    model = unit_values(p, np.ones((1, 1)), p.vol[:, None], averaging_years(p, window_seconds))[:, 0]
    model = np.where(p.is_option, model, p.fixing)
    return np.where(np.isnan(p.mark), model, p.mark)


def position_values(p: Portfolio, window_seconds: float = 0.0) -> Floats:
    """[N] what each adds to equity, in its settlement currency: options' value, futures' unrealised P&L."""
    mark = marks(p, window_seconds)
    out = p.size * mark
    inverse, linear = ~p.is_option & p.inverse, ~p.is_option & ~p.inverse
    entry = np.where(np.isnan(p.entry), mark, p.entry)
    out[inverse] = p.size[inverse] * (1.0 / entry[inverse] - 1.0 / mark[inverse])
    out[linear] = p.size[linear] * (mark[linear] - entry[linear])
    return out


def equities(p: Portfolio, window_seconds: float = 0.0) -> Floats:
    """[C] cash and position values of each currency."""
    cash = np.array([c.cash for c in p.currencies], dtype=np.float64)
    return cash + np.bincount(p.settlement, position_values(p, window_seconds), len(p.currencies))


def surface(p: Portfolio, moves: Floats, vol_multipliers: Floats, underlying: int | None = None) -> Floats:
    """[M, V] P&L in USD of positions (of one underlying) with prices moved and vols multiplied, all of them alike."""
    at = np.ones(len(p), dtype=bool) if underlying is None else p.underlying == underlying
    part = p.take(at)
    moves, vol_multipliers = np.asarray(moves, dtype=np.float64), np.asarray(vol_multipliers, dtype=np.float64)
    shape = (len(moves), len(vol_multipliers))
    multiplier = np.repeat(1.0 + moves, shape[1])
    shocked = part.vol[:, None] * np.tile(vol_multipliers, shape[0])
    base = unit_values(part, np.ones(1), part.vol[:, None], part.years)
    change = (unit_values(part, multiplier, shocked, part.years) - base) * part.size[:, None]
    usd = change * np.where(part.inverse[:, None], part.index[:, None] * multiplier, 1.0)
    return usd.sum(axis=0).reshape(shape)


def deltas(p: Portfolio, window_seconds: float = 0.0) -> Floats:
    """[N] coins: size / F of inverse futures, size of linear ones, options' forward delta of the dollar price.

    What an average has fixed no longer moves: the delta falls with the open part.
    """
    unit = np.where(p.inverse, 1.0 / p.fixing, 1.0) * (1.0 - p.average_fraction)
    at = p.is_option
    if at.any():
        fixing, known = p.fixing[at], p.average_fraction[at] * p.average_price[at]
        years = averaging_years(p, window_seconds)[at]
        share = 1.0 - known / fixing
        found = pricer.greeks(fixing, p.strike[at], p.vol[at] * share, years, p.is_call[at])
        # the open part's share of the whole, and so the vol of the whole, moves with the forward too
        unit[at] = (found.delta + found.vega * p.vol[at] * known / fixing**2) * (1.0 - p.average_fraction[at])
    return p.size * unit
