"""Implied-vol surfaces over a chain: SSVI for simulated venues, a sticky recorded surface for replays."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.feeds.chain import IntArray, UnderlyingChain
from gateway.feeds.names import E8

FloatArray = npt.NDArray[np.float64]
Stickiness = Literal["strike", "moneyness"]
YEAR_NS = 365 * 86_400 * 1_000_000_000
REFERENCE_YEARS = 30 / 365
"""A vol shock is quoted for this tenor; other tenors feel it by the square root of time, within bounds."""
DAMP_MIN, DAMP_MAX = 0.2, 1.5


def years_between(time_ns: int, expiry_ns: IntArray) -> FloatArray:
    """Years of 365 days from a moment to each expiry; exact subtraction before the division."""
    return (expiry_ns - time_ns) / YEAR_NS


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """The part of a chain that has not expired: expiries from `first_expiry`, pairs from `first_pair` on."""

    first_expiry: int
    first_pair: int
    expiry_ns: IntArray
    pair_expiry: IntArray
    """Index into `expiry_ns` of each pair's expiry."""
    pair_expiry_ns: IntArray
    pair_strike_e8: IntArray
    log_strike: FloatArray


class Grid:
    """Expiries and pairs of a chain as arrays, with the live part at a moment."""

    def __init__(self, chain: UnderlyingChain) -> None:
        self.expiry_ns: IntArray = np.array([expiry.expiry_ns for expiry in chain.expiries], dtype=np.int64)
        self.pair_expiry: IntArray = np.searchsorted(self.expiry_ns, chain.pair_expiry_ns).astype(np.int64)
        self._chain = chain
        self._log_strike: FloatArray = np.log(chain.pair_strike_e8 / E8)
        self._live = self._slice(0)

    def live(self, time_ns: int) -> Live:
        """Expiries strictly after `time_ns`; the same object until the next expiry passes."""
        first = int(np.searchsorted(self.expiry_ns, time_ns, side="right"))
        if first != self._live.first_expiry:
            self._live = self._slice(first)
        return self._live

    def _slice(self, first_expiry: int) -> Live:
        first_pair = int(np.searchsorted(self.pair_expiry, first_expiry))
        return Live(
            first_expiry=first_expiry,
            first_pair=first_pair,
            expiry_ns=self.expiry_ns[first_expiry:],
            pair_expiry=self.pair_expiry[first_pair:] - first_expiry,
            pair_expiry_ns=self._chain.pair_expiry_ns[first_pair:],
            pair_strike_e8=self._chain.pair_strike_e8[first_pair:],
            log_strike=self._log_strike[first_pair:],
        )


class Surface(Protocol):
    """Vols of a chain's live pairs."""

    def vols(self, live: Live, years: FloatArray, forwards: FloatArray, vol_shock: float) -> FloatArray:
        """Annualised vols, shape (live pairs,); years and forwards are per live expiry."""
        ...


class Smile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An SSVI surface: short and long variance, and the shape of the smile."""

    volatility: float = 0.55
    """Instantaneous vol where the shock is nil."""
    long_volatility: float = 0.60
    reversion_per_year: float = 6.0
    rho: float = -0.25
    """Skew: negative where downside strikes cost more."""
    eta: float = 1.2
    """Curvature; eta * (1 + |rho|) <= 2 excludes butterfly arbitrage."""


class SsviSurface:
    """SSVI of Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (2014), eq. 4.1 and remark 4.4.

    w(k, theta) = theta/2 (1 + rho phi k + sqrt((phi k + rho)^2 + 1 - rho^2)), k = ln(K/F), with phi = eta /
    sqrt(theta (1 + theta)) and theta(T) = v_long T + (v - v_long)(1 - exp(-c T)) / c, v = (vol e^shock)^2:
    theta increases with T, so there is neither calendar nor butterfly arbitrage, whatever the shock.
    """

    YEARS_MIN = 300e9 / YEAR_NS

    def __init__(self, smile: Smile) -> None:
        if not (smile.volatility > 0 and smile.long_volatility > 0 and smile.reversion_per_year > 0):
            raise ValueError("volatilities and reversion_per_year must be positive")
        if not (abs(smile.rho) < 1 and smile.eta > 0 and smile.eta * (1 + abs(smile.rho)) <= 2):
            raise ValueError("the smile needs |rho| < 1, eta > 0 and eta * (1 + |rho|) <= 2")
        self._smile = smile

    def vols(self, live: Live, years: FloatArray, forwards: FloatArray, vol_shock: float) -> FloatArray:
        """As `Surface.vols`."""
        smile = self._smile
        tenor = np.maximum(years, self.YEARS_MIN)
        short = (smile.volatility * math.exp(vol_shock)) ** 2
        long = smile.long_volatility**2
        speed = smile.reversion_per_year
        theta = long * tenor + (short - long) * -np.expm1(-speed * tenor) / speed
        phi = smile.eta / np.sqrt(theta * (1 + theta))
        slope = phi[live.pair_expiry] * (live.log_strike - np.log(forwards)[live.pair_expiry])
        shape = 1 + smile.rho * slope + np.sqrt((slope + smile.rho) ** 2 + (1 - smile.rho**2))
        return np.sqrt((0.5 * theta / tenor)[live.pair_expiry] * shape)


class StickySurface:
    """The surface of a snapshot, carried along.

    "strike": each strike keeps its vol. "moneyness": each expiry's smile is kept as a function of d = ln(K/F)
    / sqrt(T), linear between the recorded strikes and flat beyond them. A shock multiplies the vols by
    exp(shock * sqrt(30 days / T)), the root within [0.2, 1.5]. At the snapshot it returns the recorded vols;
    after it nothing excludes static arbitrage.
    """

    def __init__(self, chain: UnderlyingChain, time_ns: int, stickiness: Stickiness = "moneyness") -> None:
        grid = Grid(chain)
        self._stickiness = stickiness
        self._recorded: FloatArray = chain.pair_vol_e6 / 1e6
        forwards = np.array([expiry.forward_e8 for expiry in chain.expiries], dtype=np.float64) / E8
        live = grid.live(time_ns)
        if live.first_expiry:
            raise ValueError("the chain holds an expiry that is not after its own time")
        moneyness = _moneyness(live, years_between(time_ns, grid.expiry_ns), forwards)
        starts = np.searchsorted(grid.pair_expiry, np.arange(len(grid.expiry_ns)))
        self._low: FloatArray = moneyness[starts]
        self._high: FloatArray = moneyness[np.append(starts[1:], len(moneyness)) - 1]
        # every expiry gets its own stretch of one axis, so that one interpolation serves them all
        widths = self._high - self._low
        self._shift: FloatArray = np.concatenate(([0.0], np.cumsum(widths[:-1] + 1.0))) - self._low
        self._knots: FloatArray = moneyness + self._shift[live.pair_expiry]

    def vols(self, live: Live, years: FloatArray, forwards: FloatArray, vol_shock: float) -> FloatArray:
        """As `Surface.vols`."""
        first = live.first_expiry
        if self._stickiness == "strike":
            vols = self._recorded[live.first_pair :]
        else:
            moneyness = _moneyness(live, years, forwards)
            low, high = self._low[first:][live.pair_expiry], self._high[first:][live.pair_expiry]
            place = np.clip(moneyness, low, high) + self._shift[first:][live.pair_expiry]
            vols = np.interp(place, self._knots, self._recorded)
        damp = np.clip(np.sqrt(REFERENCE_YEARS / years), DAMP_MIN, DAMP_MAX)
        factors: FloatArray = np.exp(vol_shock * damp)
        return vols * factors[live.pair_expiry]


def _moneyness(live: Live, years: FloatArray, forwards: FloatArray) -> FloatArray:
    return (live.log_strike - np.log(forwards)[live.pair_expiry]) / np.sqrt(years)[live.pair_expiry]


@dataclass(frozen=True, slots=True)
class ShockRule:
    """How vol answers the spot: log vol moves by -response * log return and halves in each half-life."""

    response: float = 2.0
    half_life_ns: int = 86_400 * 1_000_000_000
    bound: float = 1.2

    def decay(self, shock: float, elapsed_ns: int) -> float:
        """A shock `elapsed_ns` later."""
        return shock * math.exp2(-elapsed_ns / self.half_life_ns)

    def along(self, time_ns: IntArray, prices: FloatArray) -> FloatArray:
        """Shock at each point of a path, 0 at the first; shapes (points,)."""
        shocks = np.zeros(len(prices))
        if len(prices) < 2:
            return shocks
        moves = (-self.response * np.diff(np.log(prices))).tolist()
        keeps = np.exp2(-np.diff(time_ns) / self.half_life_ns).tolist()
        shock = 0.0
        for point, (move, keep) in enumerate(zip(moves, keeps, strict=True), start=1):
            shock = min(max(shock * keep + move, -self.bound), self.bound)
            shocks[point] = shock
        return shocks
