"""Margin kernels: a chain repriced over a scenario grid, and the worst losses of a population.

The chain and the grid are those of the kernels' design: 500 (strike, expiry) pairs, calls and puts, 40 scenarios.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest import bench_bands, bench_buckets, kernel_loops, margin_peers
from loadtest.report import Figure, progress
from margin_ext import portfolio, risk_array
from margin_ext.kernels import instruction_set

PAIRS, SCENARIOS = 500, 40
ACCOUNTS, POSITIONS = 100_000, 20
SPOT_USD = 65_000.0
EXPIRY_DAYS = np.array([0.25, 1, 2, 3, 7, 14, 21, 30, 61, 91, 182, 273, 365.0])
FILLS = 200_000
RUNS = 30
REPRICE_GOAL_NS = {"avx512": 1.0, "avx2": 1.875}
ACCOUNTS_GOAL_MS = {"avx512": 3.5, "avx2": 4.0}
Array = NDArray[np.float64]


class Chain(NamedTuple):
    """Pairs [P] with their expiry, forwards and years [E], and the scenario columns [S]."""

    strike: Array
    expiry: NDArray[np.int32]
    vol: Array
    forward: Array
    years: Array
    spot_multiplier: Array
    vol_multiplier: Array


def chain() -> Chain:
    """A skewed chain around SPOT_USD: 13 expiries, strikes within 3.2 standard deviations."""
    years = EXPIRY_DAYS / 365.0
    forward = SPOT_USD * np.exp(0.06 * years)
    expiry = np.sort(np.arange(PAIRS) % len(years)).astype(np.int32)
    level = 0.55 + 0.05 * np.sin(np.arange(len(years)))
    strike, vol = np.empty(PAIRS), np.empty(PAIRS)
    for number in range(len(years)):
        mine = expiry == number
        away = np.linspace(-3.2, 3.2, int(mine.sum()))
        deviation = level[number] * np.sqrt(years[number])
        strike[mine] = forward[number] * np.exp(away * deviation)
        moneyness = away * level[number]
        vol[mine] = np.clip(level[number] * (1 - 0.10 * moneyness + 0.12 * moneyness**2), 0.2, 3.0)
    moves = [(move, shock) for move in np.linspace(-0.16, 0.16, 9) for shock in (1, 0, -1)]
    moves += [(move, 1) for move in (-0.66, -0.5, -0.33, -0.25, 0.25, 0.33, 0.5, 1, 2, 3, 4, 5)]
    moves.append((-0.33, 0))
    shock = np.array([one for _, one in moves])
    power = np.where(EXPIRY_DAYS < 30, 0.3, 0.13)
    scale = ((30.0 / EXPIRY_DAYS) ** power)[:, None]
    multiplier = np.where(shock == 1, 1 + 0.5 * scale, np.where(shock == -1, np.maximum(1 - 0.25 * scale, 0.05), 1.0))
    spot = 1.0 + np.array([move for move, _ in moves])
    return Chain(strike, expiry, vol, forward, years, spot, np.ascontiguousarray(multiplier))


def median_ns(action: Callable[[], Any], runs: int = RUNS) -> float:
    """Median time of an action in ns, after a warm-up."""
    action()
    found = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        action()
        found.append(time.perf_counter_ns() - started)
    return statistics.median(found)


def reprice_figure(runs: int) -> Figure:
    """Time per price of the whole repricing into integer rows, as the engine calls it; peers price the same chain."""
    one = chain()
    out = risk_array.allocate_rows(2 * PAIRS, SCENARIOS, False)

    def from_python() -> None:
        risk_array.reprice(*one, index_price=SPOT_USD, lot_coin=1.0, inverse=False, out=out)

    prices = 2 * PAIRS * SCENARIOS
    peers = {"with checks, from Python": median_ns(from_python, runs) / prices}
    expected = out.rows_usd.copy()
    waits_ns = kernel_loops.time_reprice(*one, SPOT_USD, out.rows_usd, 10 * runs)
    if not np.array_equal(out.rows_usd, expected):
        raise RuntimeError("the compiled call's rows are not those of the Python entry")
    forward = one.forward[one.expiry][:, None] * one.spot_multiplier
    deviation = (one.vol[:, None] * one.vol_multiplier[one.expiry]) * np.sqrt(one.years[one.expiry])[:, None]
    strike = np.broadcast_to(one.strike[:, None], forward.shape)
    for name, priced in margin_peers.pricers(forward, strike, deviation).items():
        _agree(one, out, name, *priced())
        peers[name] = median_ns(priced, max(3, runs // 10)) / prices
    isa = instruction_set()
    note = f"{2 * PAIRS} options x {SCENARIOS} scenarios, {isa}"
    return Figure(statistics.median(waits_ns) / prices, "ns/price", REPRICE_GOAL_NS.get(isa), peers, note)


def _agree(one: Chain, out: risk_array.RiskRows, name: str, call: Array, put: Array) -> None:
    """Our rows must be the peer's P&L to a cent, or the comparison means nothing."""
    still = np.flatnonzero((one.spot_multiplier == 1.0) & np.all(one.vol_multiplier == 1.0, axis=0))[0]
    for ours, theirs in ((out.rows_usd[0::2], call), (out.rows_usd[1::2], put)):
        worst = float(np.max(np.abs(ours - (theirs - theirs[:, [still]]) * 1e4)))
        if worst > 100.0:
            raise RuntimeError(f"our rows and those of {name} differ by {worst / 1e4:.4f} USD")


def accounts_figure(runs: int) -> Figure:
    """Worst losses of all accounts; peers: scipy.sparse and a numpy gather, checked for equal results."""
    rng = np.random.default_rng(7)
    count = ACCOUNTS * POSITIONS
    rows = random_rows(rng)
    start = np.arange(0, count + 1, POSITIONS)
    row_index = rng.integers(0, len(rows), count).astype(np.uint16)
    lots = rng.integers(-50, 51, count).astype(np.int32)
    expected, waits_ns = kernel_loops.time_accounts(rows, start, row_index, lots, runs)
    slow = max(3, runs // 10)
    peers = {
        "with checks, from Python": median_ns(lambda: portfolio.accounts_worst_loss(rows, start, row_index, lots), slow)
        / 1e6
    }
    sparse = margin_peers.imported("scipy.sparse", "csr_array")
    if sparse is not None:
        matrix = sparse((lots.astype(np.float64), row_index, start), shape=(ACCOUNTS, len(rows)))

        def scipy_sparse() -> Array:
            return np.maximum(0.0, -(matrix @ rows).min(axis=1))

        if not np.array_equal(scipy_sparse(), expected):
            raise RuntimeError("our worst losses and those of scipy.sparse differ")
        peers["scipy.sparse @ dense"] = median_ns(scipy_sparse, slow) / 1e6

    def numpy_gather() -> Array:
        total = np.zeros((ACCOUNTS, SCENARIOS))
        for place in range(POSITIONS):
            total += lots[place::POSITIONS, None] * rows[row_index[place::POSITIONS]]
        return np.maximum(0.0, -total.min(axis=1))

    if not np.array_equal(numpy_gather(), expected):
        raise RuntimeError("our worst losses and those of numpy differ")
    peers["numpy gather"] = median_ns(numpy_gather, slow) / 1e6
    isa = instruction_set()
    note = f"{ACCOUNTS:,} accounts x {POSITIONS} positions x {SCENARIOS} scenarios, {isa}"
    return Figure(statistics.median(waits_ns) / 1e6, "ms", ACCOUNTS_GOAL_MS.get(isa), peers, note)


def random_rows(rng: np.random.Generator) -> Array:
    """Rows [2 x PAIRS, SCENARIOS] of whole numbers."""
    rows = risk_array.aligned_zeros(2 * PAIRS, SCENARIOS)
    rows[:] = np.round(rng.normal(0.0, 1e6, rows.shape))
    return rows


def fill_figures(runs: int) -> dict[str, Figure]:
    """A fill re-margined: the account's vector updated and its worst loss taken; peer: numpy on one account."""
    rng = np.random.default_rng(8)
    rows = random_rows(rng)
    row_index = rng.integers(0, len(rows), FILLS)
    lots = rng.integers(-50, 51, FILLS).astype(np.float64)
    found = {}
    for name, accounts, goal_ns in (("hot", 64, 10.0), ("random", ACCOUNTS, 50.0)):
        vectors = risk_array.aligned_zeros(accounts, SCENARIOS)
        account = rng.integers(0, accounts, FILLS)
        waits_ns = []
        for _ in range(runs):
            vectors[:] = 0.0
            wait_ns, total = kernel_loops.time_fills(vectors, rows, account, row_index, lots)
            waits_ns.append(wait_ns / FILLS)
        peers = {"numpy": _numpy_fills_ns(rows, account, row_index, lots)}
        if not np.isfinite(total):
            raise RuntimeError("the fills did not end in a number")
        note = f"{SCENARIOS} scenarios, {accounts:,} accounts, without charges"
        found[f"margin.fill.{name}"] = Figure(statistics.median(waits_ns), "ns", goal_ns, peers, note)
    return found


def _numpy_fills_ns(rows: Array, account: Any, row_index: Any, lots: Array) -> float:
    """ns per fill of the same on numpy rows, over the first few thousand fills."""
    vectors = np.zeros((int(account.max()) + 1, SCENARIOS))
    few = 5_000
    started = time.perf_counter_ns()
    for number, place, amount in zip(account[:few], row_index[:few], lots[:few], strict=True):
        vector = vectors[number]
        vector += amount * rows[place]
        vector.min()
    return (time.perf_counter_ns() - started) / few


def figures(runs: int = RUNS) -> dict[str, Figure]:
    """`margin.reprice`, `margin.accounts`, `margin.fill.hot`, `.random` and `margin.bands.*`."""
    found = {"margin.reprice": reprice_figure(runs)}
    progress(f"margin: {found['margin.reprice'].value:.2f} ns a price")
    found["margin.accounts"] = accounts_figure(runs)
    found |= fill_figures(max(5, runs // 3)) | bench_bands.figures()
    return found | {"margin.bands.isolated": bench_buckets.figure()}
