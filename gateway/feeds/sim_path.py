"""Simulated index paths: correlated diffusion with jumps and a stochastic vol that leans against the spot.

On a grid of `interval_ns`, per underlying i, with m the market's and e_i its own standard normal draw:

    z_i = b_i m + sqrt(1 - b_i^2) e_i
    x_i <- a x_i + n_i sqrt(dt) (r_i z_i + sqrt(1 - r_i^2) w_i) + j_i |J|
    ln S_i <- ln S_i - v^2 dt / 2 + v sqrt(dt) z_i + g_i J - drift of jumps

x is the shock of log vol, v = vol_i exp(x_i) of the step before. Jumps J are Poisson in time and normal in
size, common to all. Draws come in blocks, each from a generator keyed by (seed, block): the path depends on
seed and grid only, never on how often it is asked.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.feeds.sim_chain import ChainRule
from gateway.feeds.surface import YEAR_NS, FloatArray, Smile

BLOCK = 512
SHOCK_BOUND = 1.5
LOG_RANGE = 2.5
"""A price stays within exp(+-2.5) of its start."""


class SimUnderlying(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One simulated coin."""

    name: str
    start_price: float
    carry_per_year: float = 0.04
    smile: Smile = Smile()
    market_loading: float = 0.92
    """b: correlation with the market factor; two coins correlate by the product."""
    jump_loading: float = 1.0
    vol_of_vol: float = 2.5
    spot_vol_correlation: float = -0.6
    shock_half_life_days: float = 3.0
    shock_per_jump: float = 4.0
    """Rise of log vol per unit of |log jump|."""
    chain: ChainRule = ChainRule()


class Shock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted market move: a common jump at a set moment after the start."""

    after_ns: int
    log_return: float


class SimParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a simulated market depends on, beside its start time."""

    seed: int = 1
    interval_ns: int = 250_000_000
    underlyings: tuple[SimUnderlying, ...] = (
        SimUnderlying(name="BTC", start_price=100_000.0, smile=Smile(volatility=0.50, long_volatility=0.55)),
        SimUnderlying(
            name="ETH",
            start_price=4_000.0,
            jump_loading=1.3,
            smile=Smile(volatility=0.70, long_volatility=0.72),
        ),
    )
    jumps_per_year: float = 24.0
    jump_mean: float = -0.01
    jump_deviation: float = 0.03
    shocks: tuple[Shock, ...] = ()
    linear_expiries: int = 2
    """Linear option twins are listed on so many of the nearest expiries with a dated future."""


class SimPath:
    """The path of all underlyings, a block of BLOCK grid points at a time, in order."""

    def __init__(self, parameters: SimParameters) -> None:
        check(parameters)
        coins = parameters.underlyings
        self._parameters = parameters
        self._years = parameters.interval_ns / YEAR_NS
        self._volatility = np.array([[coin.smile.volatility] for coin in coins])
        self._loading = np.array([[coin.market_loading] for coin in coins])
        self._jump_loading = np.array([[coin.jump_loading] for coin in coins])
        self._shock_per_jump = np.array([[coin.shock_per_jump] for coin in coins])
        self._lean = np.array([[coin.spot_vol_correlation] for coin in coins])
        self._vol_step = np.array([[coin.vol_of_vol] for coin in coins]) * math.sqrt(self._years)
        days = parameters.interval_ns / 86_400e9
        self._keep = np.array([[0.5 ** (days / coin.shock_half_life_days)] for coin in coins])
        mean, deviation = (
            parameters.jump_mean * self._jump_loading,
            parameters.jump_deviation * self._jump_loading,
        )
        growth = np.expm1(mean + 0.5 * deviation**2)
        self._jump_drift = parameters.jumps_per_year * self._years * growth
        self._scripted: dict[int, float] = {}
        for shock in parameters.shocks:
            point = -(-shock.after_ns // parameters.interval_ns) - 1  # the first grid point not before it
            self._scripted[point] = self._scripted.get(point, 0.0) + shock.log_return
        self._block = 0
        self._log_price: FloatArray = np.zeros((len(coins), 1))
        self._shock: FloatArray = np.zeros((len(coins), 1))

    def next_block(self) -> tuple[FloatArray, FloatArray]:
        """(prices in USD, vol shocks) of the next BLOCK grid points, shape (underlyings, BLOCK) each."""
        count = len(self._parameters.underlyings)
        key = np.array([self._parameters.seed, self._block], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        market, jump_sizes = generator.standard_normal((2, BLOCK))
        own, leaning = generator.standard_normal((2, count, BLOCK))
        struck = generator.random(BLOCK) < self._parameters.jumps_per_year * self._years
        jumps = np.where(struck, self._parameters.jump_mean + self._parameters.jump_deviation * jump_sizes, 0.0)
        scripted = np.zeros(BLOCK)
        for point, log_return in self._scripted.items():
            if self._block * BLOCK <= point < (self._block + 1) * BLOCK:
                scripted[point - self._block * BLOCK] = log_return
        jumps = jumps + scripted
        moves = self._loading * market + np.sqrt(1 - self._loading**2) * own
        vol_moves = self._vol_step * (self._lean * moves + np.sqrt(1 - self._lean**2) * leaning)
        vol_moves += self._shock_per_jump * np.abs(jumps)
        raw = self._shocks(vol_moves)
        before = np.concatenate((self._shock, raw[:, :-1]), axis=1)
        vols = self._volatility * np.exp(np.clip(before, -SHOCK_BOUND, SHOCK_BOUND))
        steps = vols * math.sqrt(self._years) * moves - 0.5 * vols**2 * self._years
        steps += self._jump_loading * jumps - self._jump_drift
        logs = self._log_price + np.cumsum(steps, axis=1)
        self._log_price, self._shock = logs[:, -1:], raw[:, -1:]
        self._block += 1
        start = np.array([[coin.start_price] for coin in self._parameters.underlyings])
        prices = start * np.exp(np.clip(logs, -LOG_RANGE, LOG_RANGE))
        return prices, np.clip(raw, -SHOCK_BOUND, SHOCK_BOUND)

    def _shocks(self, moves: npt.NDArray[np.float64]) -> FloatArray:
        """x_k = a x_(k-1) + move_k as a^k (x_0 + sum_j a^-j move_j): a >= 1/2, so a^-512 is finite."""
        powers = self._keep ** np.arange(1, BLOCK + 1)
        shocks: FloatArray = powers * (self._shock + np.cumsum(moves / powers, axis=1))
        return shocks


def check(parameters: SimParameters) -> None:
    """ValueError where a parameter is outside what the model bears."""
    days = parameters.interval_ns / 86_400e9
    if not (parameters.interval_ns > 0 and 0 <= parameters.seed < 1 << 64 and parameters.underlyings):
        raise ValueError("interval_ns must be positive, seed in [0, 2^64), and one underlying at least is needed")
    if not 0 <= parameters.jumps_per_year * parameters.interval_ns / YEAR_NS <= 0.1 or parameters.jump_deviation < 0:
        raise ValueError("jumps must be rarer than one in ten grid steps, their deviation not negative")
    if any(shock.after_ns <= 0 or abs(shock.log_return) > 1 for shock in parameters.shocks):
        raise ValueError("a scripted shock stands after the start and moves the log price by at most 1")
    for coin in parameters.underlyings:
        if coin.start_price <= 0 or coin.shock_half_life_days < days or coin.vol_of_vol < 0:
            raise ValueError(f"{coin.name}: start_price > 0, half-life >= one interval, vol_of_vol >= 0")
        if abs(coin.market_loading) > 1 or abs(coin.spot_vol_correlation) > 1:
            raise ValueError(f"{coin.name}: loadings and correlations lie in [-1, 1]")
