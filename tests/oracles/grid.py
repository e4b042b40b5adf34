"""The `matrix` scenario grid and the pricing of contracts over it, from configuration and margin_ext alone.

The price kernels are shared with the engine (they have twins of their own); everything around them, how
columns follow from parameters and how rows, marks and deltas become integers, is written anew.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

import margin_ext
from exchange.config import MatrixParameters
from margin_ext import greeks
from margin_ext.kernels import exp, log, power
from tests.oracles.averaging import Fixing, fixing_of, variance_years
from tests.oracles.contract import E8, PPM, Contract, ceil_div

DAY_NS = 86_400 * 10**9
YEAR_NS = 365 * DAY_NS
SAME, UP, DOWN = range(3)
LANES = 8


@dataclass(frozen=True)
class Column:
    """One scenario: relative move of the index, vol move, weight of its P&L."""

    move: Fraction
    vol: int
    extended: bool = False
    weight: Fraction = Fraction(1)
    coin_factor: Fraction = Fraction(1)
    dampener: Fraction = Fraction(0)


def extended_column(p: MatrixParameters, ppm: int, vol: int) -> Column:
    """A move beyond the range: weight, coin factor, multiple of the dampener."""
    reach, move = Fraction(p.price_range_ppm, PPM), Fraction(ppm, PPM)
    weight = Fraction(p.extended_factor_ppm, PPM) * reach / abs(move)
    edge = 1 + reach if move > 0 else 1 - reach
    excess = max(abs(move) / reach, Fraction(1)) - 1
    return Column(move, vol, True, weight, (1 + move) / edge, excess)


def matrix_columns(p: MatrixParameters) -> list[Column]:
    """Price buckets nearest first, three vols each; the extended moves, vol up only. Or a grid of one's own."""
    out = []
    for own in p.columns or ():
        vol = {"same": SAME, "up": UP, "down": DOWN}[own.vol]
        column = extended_column(p, own.move_ppm, vol) if own.extended else Column(Fraction(own.move_ppm, PPM), vol)
        weight = column.weight if own.weight_ppm is None else Fraction(own.weight_ppm, PPM)
        out.append(replace(column, weight=weight))
    if out:
        return out
    for step in sorted(range(-p.price_steps_per_side, p.price_steps_per_side + 1), key=lambda s: (abs(s), s)):
        move = Fraction(p.price_range_ppm * step // p.price_steps_per_side, PPM)
        out += [Column(move, vol) for vol in (SAME, UP, DOWN)]
    return out + [extended_column(p, ppm, UP) for ppm in p.extended_moves_ppm]


def padded(columns: list[Column], size: int) -> list[Column]:
    """With weightless columns up to a size, and a multiple of eight."""
    size = max(size, len(columns))
    return columns + [Column(Fraction(0), SAME, weight=Fraction(0))] * (size + -size % LANES - len(columns))


class Grid:
    """Columns of one underlying, and the figures that follow the index and the time."""

    averaged = False
    """Whether its contracts are priced on settlement averages."""

    def __init__(self, parameters: MatrixParameters, coin_exponent: int | None, size: int = 0) -> None:
        self.parameters = parameters
        self.columns = padded(matrix_columns(parameters), size)
        self.coin_exponent = coin_exponent
        self.multiplier = np.array([(PPM + int(c.move * PPM)) / PPM for c in self.columns])
        self.weight = np.array([float(c.weight) for c in self.columns])
        self.coin_factor = np.array([float(c.coin_factor) for c in self.columns])
        floor = parameters.vol_up_floor_e6 / 1e6
        self.vol_floor = np.array([floor if c.vol == UP else 0.0 for c in self.columns])
        reach = parameters.price_range_ppm / PPM
        self.clamp = np.array([reach if c.extended else 0.0 for c in self.columns])
        dollars = parameters.extended_dampener_usd
        self.dampener_usd = [round(float(c.dampener) * dollars * 1e4) for c in self.columns]
        self.dampener_coin = [0] * len(self.columns)
        self.coin_price_q40 = [0] * len(self.columns)
        self.coin_base_q40 = 0
        self.delta_threshold_e10 = 0

    def refresh(self, index_e8: int) -> None:
        """What depends on the index: coin prices (1e-4 USD per minor unit, 2**-40), dampener, threshold."""
        index = index_e8 / 1e8
        amount = self.parameters.extended_dampener_usd * 1e4
        self.dampener_coin = [round(float(c.dampener) * (amount / index) * 1e6) for c in self.columns]
        self.delta_threshold_e10 = round(self.parameters.delta_threshold_usd / index * 1e10)
        if self.coin_exponent is not None:
            unit = index * 1e4 / 10**self.coin_exponent * 2.0**40
            self.coin_base_q40 = round(unit)
            shocked = zip(self.weight, self.multiplier, strict=True)
            self.coin_price_q40 = [round(unit * float(1.0 + w * (m - 1.0))) for w, m in shocked]

    def roll_move_q32(self, expiry_ns: int, time_ns: int) -> int:
        """max(minimum move, exp(annual risk x years) - 1) in 2**-32."""
        years = (expiry_ns - time_ns) / YEAR_NS if expiry_ns > time_ns else 0.0
        growth = exp(self.parameters.annualised_move_risk_ppm / PPM * years) - 1.0
        return round(max(growth, self.parameters.minimum_move_ppm / PPM) * 2.0**32)

    def vol_multipliers(self, expiry_ns: int, time_ns: int, vol: float) -> list[float]:
        """Vol x (1 + up (30 / days)**p) and x max(floor, 1 - down (30 / days)**p), days at least one."""
        p = self.parameters
        days = max((expiry_ns - time_ns) / DAY_NS, 1.0)
        short = days < p.vega_power_boundary_days
        base = power(30.0 / days, (p.vega_power_short_ppm if short else p.vega_power_long_ppm) / PPM)
        by_kind = {
            SAME: 1.0,
            UP: 1.0 + p.vol_up_ppm / PPM * base,
            DOWN: max(p.vol_multiplier_floor_ppm / PPM, 1.0 - p.vol_down_ppm / PPM * base),
        }
        return [by_kind[c.vol] for c in self.columns]

    def price_option(self, c: Contract, forward_e8: int, index_e8: int, time_ns: int) -> None:
        """Rows, mark and delta of one option, priced on its own."""
        years = variance_years(c, time_ns)
        lot = c.spec.lot_size_e8 / 1e8
        is_call = c.spec.option_type == "call"
        fixing = fixing_of(c, forward_e8)
        own, weight, factor, ratio = self.own_columns(c, fixing, self.multiplier)
        share = fixing.share if fixing else 1.0
        price = (fixing.price_e8 if fixing else forward_e8) / 1e8
        shocks = np.array(self.vol_multipliers(c.spec.expiry_ns, time_ns, c.vol_e6 / 1e6))
        priced = margin_ext.reprice(
            [c.spec.strike_e8 / 1e8], [0], [c.vol_e6 / 1e6 * share], [price], [years], own,
            [shocks * ratio], index_price=index_e8 / 1e8, lot_coin=lot, inverse=c.spec.inverse,
            vol_floor=self.vol_floor * (share * ratio), weight=weight, coin_factor=factor,
            call_row=[0 if is_call else -1], put_row=[-1 if is_call else 0],
        )  # fmt: skip
        c.rows_usd = [int(x) for x in priced.rows_usd[0]]
        c.rows_coin = [int(x) for x in priced.rows_coin[0]] if c.spec.inverse else [0] * len(self.columns)
        mark = float(priced.mark[0])
        c.mark_minor = round(mark * c.lot_scale_minor)
        c.mark_price_e8 = round(mark * 1e8)
        c.coin_delta = float(priced.delta[0])
        if fixing:
            vega = greeks([price], [c.spec.strike_e8 / 1e8], [c.vol_e6 / 1e6 * share], [years], is_call).vega
            more = float(vega[0]) * (c.vol_e6 / 1e6) * ((1.0 - share) / price)
            c.coin_delta = fixing.open * (c.coin_delta + more)
        c.delta_e10 = c.charged_e10 = round(c.coin_delta * lot * 1e10)
        left = c.spec.expiry_ns - time_ns
        self.shift_option(c, fixing, price, index_e8, years, left / YEAR_NS if left > 0 else 0.0)
        dollars = lot * (index_e8 / 1e8) * 1e4
        self._mark(c, max(lot * 1e10, dollars) if c.spec.inverse else dollars, float(priced.row_max[0]))

    def own_columns(
        self, c: Contract, fixing: Fixing | None, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(multipliers of what the contract settles at, weights, factors of coin rows, the forward's multipliers over
        the first), where its forward is multiplied by `own`."""
        if fixing is None:
            return own, self.weight, self.coin_factor, np.ones(len(own))
        moved = fixing.moved(own)
        ratio = self.multiplier / moved
        return moved, self.weight * ratio if c.spec.inverse else self.weight, self.coin_factor / ratio, ratio

    def price_future(self, c: Contract, index_e8: int) -> None:
        """Rows, mark value and delta of a future whose mark price is set."""
        mark = c.mark_price_e8 / 1e8
        lot = c.spec.lot_size_e8 / 1e8
        fixing = fixing_of(c, c.forward_e8) if c.spec.kind == "future" else None
        own, clamp = self.multiplier, self.clamp
        if fixing:
            bounded = np.clip(own, 1.0 - self.clamp, 1.0 + self.clamp)
            own, clamp = np.where(self.clamp > 0.0, bounded, own), np.zeros(len(own))
        own, weight, factor, _ = self.own_columns(c, fixing, own)
        priced = margin_ext.reprice_future(
            mark, own, index_price=index_e8 / 1e8, inverse=c.spec.inverse, lot_usd=lot,
            lot_coin=lot, weight=weight, coin_factor=factor, future_move_clamp=clamp,
        )  # fmt: skip
        c.rows_usd = [int(x) for x in priced.row_usd]
        c.rows_coin = [int(x) for x in priced.row_coin] if c.spec.inverse else [0] * len(self.columns)
        c.mark_minor = -round(c.lot_scale_minor / mark) if c.spec.inverse else round(mark * c.lot_scale_minor)
        c.delta_e10 = c.charged_e10 = round(priced.delta_coin * (fixing.open if fixing else 1.0) * 1e10)
        self.shift_future(c, fixing, index_e8)
        self._mark(c, priced.delta_coin * 1e10, priced.row_max)

    # ------------------------------------------------------------------ shifts of single expiries

    def shifted(self, c: Contract, fixing: Fixing | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(multipliers: none, none, down, up, padding; weights that take the index back; the forward's over those)."""
        basis = getattr(self.parameters, "expiry_basis", None)
        move = basis.move_ppm / PPM if basis else 0.0
        spot = np.array([1.0, 1.0, 1.0 - move, 1.0 + move, *[1.0] * 4])
        moved = fixing.moved(spot) if fixing else spot
        return moved, (1.0 / moved if c.spec.inverse else np.ones(8)) * np.array([1.0] * 4 + [0.0] * 4), spot / moved

    def skewed(self, c: Contract, forward: float, years: float) -> list[float]:
        """Vol multipliers of the tilted and the bent smile."""
        skew = getattr(self.parameters, "skew", None)
        if skew is None:
            return [1.0, 1.0]
        root = math.sqrt(years)
        cap = max(skew.cap_base_ppm / PPM + skew.cap_slope_ppm / PPM * root, 0.0)
        edge = skew.width_ppm / PPM * root * (skew.vol_base_ppm / PPM + skew.vol_slope_ppm / PPM * root)
        k = log((c.spec.strike_e8 / 1e8) / forward)
        tilt = min(max(k * cap / max(edge, skew.minimum_log_moneyness_ppm / PPM), -cap), cap)
        return [1.0 + tilt, 1.0 + abs(tilt)]

    def shift_option(
        self, c: Contract, fixing: Fixing | None, price: float, index_e8: int, years: float, left: float
    ) -> None:
        """`left`: years to expiry, which smiles bend by; `years` of variance."""
        spot, weight, ratio = self.shifted(c, fixing)
        is_call = c.spec.option_type == "call"
        vol = c.vol_e6 / 1e6 * (fixing.share if fixing else 1.0)
        priced = margin_ext.reprice(
            [c.spec.strike_e8 / 1e8], [0], [vol], [price], [years], spot,
            [np.array([*self.skewed(c, price, left), *[1.0] * 6]) * ratio], index_price=index_e8 / 1e8,
            lot_coin=c.spec.lot_size_e8 / 1e8, inverse=c.spec.inverse, weight=weight, coin_factor=spot,
            call_row=[0 if is_call else -1], put_row=[-1 if is_call else 0],
        )  # fmt: skip
        c.shifts_usd = [int(x) for x in priced.rows_usd[0][:4]]
        c.shifts_coin = [int(x) for x in priced.rows_coin[0][:4]] if c.spec.inverse else [0] * 4

    def shift_future(self, c: Contract, fixing: Fixing | None, index_e8: int) -> None:
        c.shifts_usd = c.shifts_coin = [0] * 4
        if c.spec.kind == "perpetual":
            return
        spot, weight, _ = self.shifted(c, fixing)
        lot = c.spec.lot_size_e8 / 1e8
        priced = margin_ext.reprice_future(
            c.mark_price_e8 / 1e8, spot, index_price=index_e8 / 1e8, inverse=c.spec.inverse, lot_usd=lot, lot_coin=lot,
            weight=weight, coin_factor=spot,
        )  # fmt: skip
        c.shifts_usd = [int(x) for x in priced.row_usd[:4]]
        c.shifts_coin = [int(x) for x in priced.row_coin[:4]] if c.spec.inverse else [0] * 4

    def basis_scale_e9(self, expiry_ns: int, time_ns: int) -> int:
        basis = getattr(self.parameters, "expiry_basis", None)
        left = max(expiry_ns - time_ns, 0)
        return basis.add_ppm * 1_000 + ceil_div(basis.multiplier_ppm * 1_000 * left, YEAR_NS) if basis else 0

    @staticmethod
    def _mark(c: Contract, notional: float, row_max: float) -> None:
        cap = c.row_cap
        if cap == 0:
            cap = 1024
            while cap < 32 * notional:
                cap *= 2
        while cap < row_max:
            cap *= 2
        c.row_cap = cap
        c.marked = True


def usd_of_coin(minor: int, price_q40: int) -> int:
    """Minor units of a coin in 1e-4 USD, rounded down."""
    return minor * price_q40 >> 40


def notional_e8(index_e8: int, inverse: bool, lot_scale_minor: int) -> int:
    """One lot's value at the index in minor units of its settlement currency, rounded down."""
    return lot_scale_minor * E8 // index_e8 if inverse else lot_scale_minor * index_e8 // E8
