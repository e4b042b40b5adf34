"""P&L of every position in every scenario of a `matrix` set: grid columns, then skew and basis scenarios."""

import numpy as np

from margin_ext.kernels import exp
from margin_ext.models import matrix_columns
from margin_ext.models.parameters import PPM, MatrixSet, StaticDiscount
from margin_ext.models.portfolio import PERPETUAL, Floats, Places, Portfolio, PortfolioError
from margin_ext.models.result import Scenario
from margin_ext.models.valuation import averaging_years, unit_values


class Table:
    """Of the positions of one underlying. `pnl` [N, S] in coins (inverse, coin numeraire) or USD, weighted."""

    def __init__(self, s: MatrixSet, p: Portfolio) -> None:
        self.parameters, self.portfolio = s, p
        self.scenarios = matrix_columns.scenarios(s)
        self.multiplier = matrix_columns.multipliers(s)
        self.weight = np.array([one.weight for one in self.scenarios])
        self.years = averaging_years(p, s.settlement_window_seconds)
        self.in_coin = p.inverse & (s.numeraire == "coin")
        self.base = self._values(np.ones((1, 1)), p.vol[:, None])
        self.pnl = self._grid()
        self._append(*self._skew())
        self._append(*self._basis())

    def _append(self, added: tuple[Scenario, ...], pnl: Floats) -> None:
        self.scenarios += added
        self.pnl = np.concatenate([self.pnl, pnl], axis=1)
        ones = np.ones(len(added))
        self.multiplier = np.concatenate([self.multiplier, ones])
        self.weight = np.concatenate([self.weight, ones])

    def _values(self, multiplier: Floats, vol: Floats) -> Floats:
        """[N, S] per unit of size; options discounted where the set says so."""
        value, p = unit_values(self.portfolio, multiplier, vol, self.years), self.portfolio
        if not self.parameters.discounted:
            return value
        return value * np.where(p.is_option, discounts(p), 1.0)[:, None]

    def _money(self, change: Floats, multiplier: Floats) -> Floats:
        """[N, S] change per unit of size as money of the numeraire, the coin at its shocked index."""
        p = self.portfolio
        usd = np.where((p.inverse & ~self.in_coin)[:, None], p.index[:, None] * multiplier, 1.0)
        return change * p.size[:, None] * usd

    def _grid(self) -> Floats:
        s, p = self.parameters, self.portfolio
        vols = matrix_columns.shocked_vols(s, p)
        value = self._values(self._own_multiplier(), vols)
        if s.static_discount is not None:
            value = value * self._discount(s.static_discount, value)
        pnl = self._money(value - self.base, self.multiplier) * self.weight
        coin_factor = np.array([one.coin_factor for one in self.scenarios])
        return np.where(self.in_coin[:, None], pnl * coin_factor, pnl)

    def _own_multiplier(self) -> Floats:
        """[N, S] of each position's forward: futures may be clamped in extended columns."""
        s, p = self.parameters, self.portfolio
        whole = np.broadcast_to(self.multiplier, (len(p), len(self.multiplier)))
        if s.future_clamp == "none":
            return whole
        reach = s.price_range_ppm / PPM
        clamped = np.clip(whole, 1.0 - reach, 1.0 + reach)
        extended = np.array([one.extended for one in self.scenarios])
        where = extended & ~p.is_option[:, None]
        if s.future_clamp == "gains":
            where = where & (np.sign(p.size)[:, None] * (whole - 1.0) > 0.0)
        return np.where(where, clamped, whole)

    def _discount(self, d: StaticDiscount, value: Floats) -> Floats:
        """[N, S] factor of option values, by the sign of the expiry's shocked value (long or short).

        Long: base x e^(-T (r multiplier + add)). Short: base x e^(T (r multiplier + add)), at most e^(r T), which
        undoes the market's own discount. Source of the form: Derive v2-core, PMRMLib_2.
        """
        p = self.portfolio
        if (p.is_option & p.inverse).any():
            raise PortfolioError("settlement: a static discount is of dollar-settled options")
        out = np.ones_like(value)
        expiry, rows = expiries(p)
        for place, days in enumerate(expiry):
            at = (rows == place) & p.is_option
            if not at.any():
                continue
            years = float(days) / 365.0
            rate = p.underlyings[int(p.underlying[at][0])].rate
            long = d.long_base_ppm / PPM * exp(-years * (rate * d.long_multiplier_ppm + d.long_add_ppm) / PPM)
            short = d.short_base_ppm / PPM * exp(years * (rate * d.short_multiplier_ppm + d.short_add_ppm) / PPM)
            worth = (value[at] * p.size[at, None]).sum(axis=0)
            out[at] = np.where(worth >= 0.0, long, min(exp(rate * years), short))
        return out

    def _skew(self) -> tuple[tuple[Scenario, ...], Floats]:
        """The smile tilted and bent; each expiry counts as a loss, whichever way it moves."""
        s, p = self.parameters, self.portfolio
        if s.skew is None:
            return (), np.empty((len(p), 0))
        vols = np.where(p.is_option[:, None], matrix_columns.skewed_vols(s.skew, p), p.vol[:, None])
        change = self._values(np.ones((1, 2)), vols) - self.base
        pnl = self._money(change, np.ones(2))
        expiry, rows = expiries(p)
        in_usd = self.in_usd(pnl)
        for place in range(len(expiry)):
            at = rows == place
            pnl[at] *= -np.sign(in_usd[at].sum(axis=0))
        return (Scenario("skew tilted", 0.0, "skew"), Scenario("skew bent", 0.0, "skew")), pnl

    def _basis(self) -> tuple[tuple[Scenario, ...], Floats]:
        """Each expiry's forward moves alone, the worse way, times add + multiplier x T."""
        b, p = self.parameters.expiry_basis, self.portfolio
        if b is None:
            return (), np.empty((len(p), 0))
        moves = np.array([1.0 - b.move_ppm / PPM, 1.0 + b.move_ppm / PPM])
        change = self._values(moves[None, :], p.vol[:, None]) - self.base
        both = np.where((p.kind == PERPETUAL)[:, None], 0.0, self._money(change, np.ones(2)))
        pnl = np.zeros((len(p), 1))
        expiry, rows = expiries(p)
        in_usd = self.in_usd(both)
        for place, days in enumerate(expiry):
            at = rows == place
            sums = in_usd[at].sum(axis=0)
            if sums.min() < 0.0:
                scale = (b.add_ppm + b.multiplier_ppm * float(days) / 365.0) / PPM
                pnl[at, 0] = both[at, int(np.argmin(sums))] * scale
        return (Scenario("basis of expiries", 0.0, "same"),), pnl

    def in_usd(self, pnl: Floats) -> Floats:
        """Coin amounts at the index."""
        return np.where(self.in_coin[:, None], pnl * self.portfolio.index[:, None], pnl)


def expiries(p: Portfolio) -> tuple[Floats, Places]:
    """Different days to expiry, rising, and each position's place among them; perpetuals are day 0."""
    days, rows = np.unique(p.days, return_inverse=True)
    return days, rows.astype(np.int64)


def discounts(p: Portfolio) -> Floats:
    """[N] e^(-rate T) at the underlying's rate."""
    rates = np.array([u.rate for u in p.underlyings])[p.underlying]
    return np.array([exp(-rate * years) for rate, years in zip(rates.tolist(), p.years.tolist(), strict=True)])
