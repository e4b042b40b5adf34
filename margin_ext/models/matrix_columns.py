"""The columns of a `matrix` set: moves, weights, shocked vols; the same form as the engine's grid."""

from fractions import Fraction

import numpy as np

from margin_ext.kernels import log, power
from margin_ext.models.parameters import PPM, GridColumn, MatrixSet, Skew
from margin_ext.models.portfolio import Floats, Portfolio
from margin_ext.models.result import Scenario

VOLS = ("same", "up", "down")


def grid_columns(s: MatrixSet) -> list[GridColumn]:
    """The set's own columns, or price steps nearest first x vols, then the extended moves with vol up."""
    if s.columns:
        return list(s.columns)
    steps = s.price_steps_per_side
    nearest_first = sorted(range(-steps, steps + 1), key=lambda step: (abs(step), step))
    grid = [GridColumn(move_ppm=s.price_range_ppm * step // steps, vol=vol) for step in nearest_first for vol in VOLS]
    return grid + [GridColumn(move_ppm=move, vol="up", extended=True) for move in s.extended_moves_ppm]


def scenarios(s: MatrixSet) -> tuple[Scenario, ...]:
    """Each column with its weight, coin factor and dampener ratio (exact fractions, rounded once)."""
    found = []
    reach = Fraction(s.price_range_ppm, PPM)
    for column in grid_columns(s):
        move = Fraction(column.move_ppm, PPM)
        weight, factor, ratio = Fraction(1), Fraction(1), Fraction(0)
        if column.extended:
            weight = Fraction(s.extended_factor_ppm, PPM) * reach / abs(move)
            factor = (1 + move) / (1 + (reach if move > 0 else -reach))
            ratio = max(abs(move) / reach, Fraction(1)) - 1
        if column.weight_ppm is not None:
            weight = Fraction(column.weight_ppm, PPM)
        label = f"{float(move) * 100:+.4g} % vol {column.vol}" + (" extended" if column.extended else "")
        found.append(
            Scenario(label, float(move), column.vol, float(weight), column.extended, float(factor), float(ratio))
        )
    return tuple(found)


def multipliers(s: MatrixSet) -> Floats:
    """[S] 1 + move."""
    return np.array([(PPM + column.move_ppm) / PPM for column in grid_columns(s)])


def shocked_vols(s: MatrixSet, p: Portfolio) -> Floats:
    """[N, S]: vol up max(floor, vol (1 + up b)), down vol max(least, 1 - down b), b = (30 / days)^power.

    Days to expiry are floored at one; the short power applies below the boundary, the long one from it on.
    """
    days = np.maximum(p.days, 1.0)
    base = np.empty(len(p))
    for row, one in enumerate(days):
        short = one < s.vega_power_boundary_days
        base[row] = power(30.0 / one, (s.vega_power_short_ppm if short else s.vega_power_long_ppm) / PPM)
    up = np.maximum(p.vol * (1.0 + s.vol_up_ppm / PPM * base), s.vol_up_floor_e6 / PPM)
    down = p.vol * np.maximum(s.vol_multiplier_floor_ppm / PPM, 1.0 - s.vol_down_ppm / PPM * base)
    by_kind = {"same": p.vol, "up": up, "down": down}
    return np.stack([by_kind[column.vol] for column in grid_columns(s)], axis=1)


def skewed_vols(skew: Skew, p: Portfolio) -> Floats:
    """[N, 2] vols under a tilt and a bend of the smile: vol (1 + clip(k cap / k*, -cap, cap)).

    k = ln(K / F), in the second column |k|; cap = base + slope sqrt(T), k* = max(least, width sqrt(T) (vol base + vol
    slope sqrt(T))). Source of the form: Derive v2-core, PMRMLib_2.
    """
    root = np.sqrt(p.years)
    cap = np.maximum(skew.cap_base_ppm / PPM + skew.cap_slope_ppm / PPM * root, 0.0)
    edge = skew.width_ppm / PPM * root * (skew.vol_base_ppm / PPM + skew.vol_slope_ppm / PPM * root)
    edge = np.maximum(edge, skew.minimum_log_moneyness_ppm / PPM)
    k = np.array([log(a / b) if option else 0.0 for a, b, option in zip(p.strike, p.fixing, p.is_option, strict=True)])
    tilt = np.clip(k * cap / edge, -cap, cap)
    bend = np.clip(np.abs(k) * cap / edge, -cap, cap)
    return p.vol[:, None] * np.maximum(1.0 + np.stack([tilt, bend], axis=1), 0.0)
