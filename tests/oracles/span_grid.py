"""The `span16` grid written anew: its columns, what time leaves of a width, and composite deltas."""

import math
from fractions import Fraction

import numpy as np

from exchange.config import Config
from exchange.parameters_span import SpanParameters
from margin_ext import pricer
from tests.oracles.averaging import average_years, fixing_of
from tests.oracles.contract import PPM, Contract, ceil_div
from tests.oracles.grid import DAY_NS, DOWN, SAME, UP, YEAR_NS, Column, Grid, matrix_columns, padded

STEPS = (0, 1, -1, 2, -2, 3, -3)


class SpanGrid(Grid):
    """Columns of one underlying that is margined by `span16`."""

    def __init__(self, parameters: SpanParameters, coin_exponent: int | None, size: int) -> None:
        self.span = self.parameters = parameters
        self.coin_exponent = coin_exponent
        reach = Fraction(parameters.price_scan_range_ppm, PPM)
        self.columns = [Column(reach * step / 3, vol) for step in STEPS for vol in (UP, DOWN)]
        far = reach * Fraction(parameters.extreme_multiple_ppm, PPM)
        cover = Fraction(parameters.extreme_cover_ppm, PPM)
        self.columns += [Column(move, SAME, weight=cover) for move in (far, -far)]
        self.columns = padded(self.columns, size)
        self.price_moves = [1 + reach * step / 3 for step in STEPS]
        self.multiplier = np.array([float(1 + c.move) for c in self.columns])
        self.weight = np.array([float(c.weight) for c in self.columns])
        self.coin_factor = np.ones(len(self.columns))
        self.vol_floor = self.clamp = np.zeros(len(self.columns))
        self.dampener_usd = self.dampener_coin = [0] * len(self.columns)
        self.coin_price_q40 = [0] * len(self.columns)
        self.coin_base_q40 = self.delta_threshold_e10 = 0

    def refresh(self, index_e8: int) -> None:
        """Coin prices."""
        if self.coin_exponent is not None:
            unit = index_e8 / 1e8 * 1e4 / 10**self.coin_exponent * 2.0**40
            self.coin_base_q40 = round(unit)
            shocked = zip(self.weight, self.multiplier, strict=True)
            self.coin_price_q40 = [round(unit * float(1.0 + w * (m - 1.0))) for w, m in shocked]

    def roll_move_q32(self, expiry_ns: int, time_ns: int) -> int:
        """The delivery charge of an expiry, 2**-32 of its delta."""
        near = expiry_ns and expiry_ns - time_ns <= self.span.delivery_days * DAY_NS
        return ceil_div(self.span.delivery_ppm << 32, PPM) if near else 0

    def vol_multipliers(self, expiry_ns: int, time_ns: int, vol: float) -> list[float]:
        """Widths after the look-ahead over widths now."""
        left = expiry_ns - time_ns
        later = max(left - self.span.look_ahead_days * DAY_NS, 0)
        rest = math.sqrt(later / left) if left > 0 else 0.0
        if self.averaged and left > 0:
            rest = math.sqrt(average_years(later) / average_years(left))
        shock = self.span.vol_scan_range_ppm / PPM
        if self.span.vol_scan_kind == "points":
            shock = shock / vol
        return [{SAME: 1.0, UP: 1.0 + shock, DOWN: max(0.0, 1.0 - shock)}[c.vol] * rest for c in self.columns]

    def price_option(self, c: Contract, forward_e8: int, index_e8: int, time_ns: int) -> None:
        """As on any grid; charges are on the composite delta."""
        super().price_option(c, forward_e8, index_e8, time_ns)
        years = (c.spec.expiry_ns - time_ns) / YEAR_NS if c.spec.expiry_ns > time_ns else 0.0
        later = max(years - self.span.look_ahead_days * DAY_NS / YEAR_NS, 0.0)
        if c.averaged:
            later = average_years(c.spec.expiry_ns - time_ns - self.span.look_ahead_days * DAY_NS)
        fixing, own = fixing_of(c, forward_e8), np.array([float(move) for move in self.price_moves])
        moved = fixing.moved(own) if fixing else own
        base = (fixing.price_e8 if fixing else forward_e8) / 1e8
        vols = c.vol_e6 / 1e6 * fixing.share * (own / moved) if fixing else np.full(len(own), c.vol_e6 / 1e6)
        open_part = fixing.open if fixing else 1.0
        deltas = pricer.greeks(base * moved, c.spec.strike_e8 / 1e8, vols, later, True).delta
        total = sum(self.span.delta_weights_ppm)
        composite = 0.0
        for weight, delta in zip(self.span.delta_weights_ppm, deltas, strict=True):
            composite += weight / total * float(delta)
        composite -= 0.0 if c.spec.option_type == "call" else 1.0
        c.charged_e10 = round(composite * open_part * (c.spec.lot_size_e8 / 1e8) * 1e10)


def grids_of(config: Config) -> list[Grid]:
    """Every underlying's grid, all padded to the same number of columns."""
    exponents = {c.underlying: c.exponent for c in config.currencies if c.underlying}
    spans = [u.span if isinstance(u.span, SpanParameters) else None for u in config.underlyings]
    size = max(16 if s else len(matrix_columns(u.matrix)) for s, u in zip(spans, config.underlyings, strict=True))
    found: list[Grid] = []
    for span, u in zip(spans, config.underlyings, strict=True):
        exponent = exponents.get(u.name)
        found.append(SpanGrid(span, exponent, size) if span else Grid(u.matrix, exponent, size))
        found[-1].averaged = u.settlement_averaging is True
    return found
