"""Published portfolio-margin figures of one position, reproduced through the engine.

Source: a published portfolio-margin simulation of a short ETH perpetual of 0.999487053 coins, price range 18 %.
Lots of 100 USD at an index of 3,000 / 0.999487053 make the position exact to 1e-12; what is left is the rounding of
rows (half a unit of 1e-10 per lot and column) and the unit per lot that a requirement adds.
"""

import pytest

from exchange.config import Fees, Instrument, Limits, MatrixParameters, Underlying
from exchange.risk.scenarios import columns
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench

POSITION_COINS = 0.999487053
LOTS = 30
UNIT = 1e-10
ETH = MatrixParameters(
    price_range_ppm=180_000, vol_up_ppm=400_000, vol_down_ppm=250_000, annualised_move_risk_ppm=50_000,
    minimum_move_ppm=5_000, extended_dampener_usd=200_000, delta_threshold_usd=20_000_000,
    delta_move_per_coin_e9=4_000, delta_move_max_ppm=100_000, maintenance_factor_ppm=800_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def short() -> Bench:
    """Account 1 is short the position, account 2 long."""
    contract = Instrument(
        name="ETH-PERPETUAL", kind="perpetual", underlying="ETH", settlement="ETH", inverse=True,
        price_unit_e8=5 * 10**6, lot_size_e8=100 * 10**8,
        max_quantity_lots=100_000, fees=Fees(maker_ppm=0, taker_ppm=0),
    )  # fmt: skip
    underlyings = (
        Underlying(name="BTC", index_name="btc_usd"),
        Underlying(name="ETH", index_name="eth_usd", matrix=ETH),
    )
    bench = Bench(world.configuration(underlyings=underlyings, instruments=(contract,), limits=Limits()))
    for name in ("short", "long"):
        bench.account(name, ETH=100 * world.COIN)
    bench.marks(LOTS * 100 / POSITION_COINS, underlying=1)
    bench.place(2, 0, BUY, 60_000, LOTS)
    assert bench.place(1, 0, SELL, 60_000, LOTS)[-1].quantity_lots == LOTS
    return bench


def cell(bench: Bench, move_ppm: int, extended: bool = False) -> float:
    """The position's P&L in coins in the unshocked-vol column of a move."""
    grid = columns(ETH)
    at = next(i for i, c in enumerate(grid) if c.move_ppm == move_ppm and c.extended == extended)
    return -LOTS * bench.engine.rows.row(0, False)[at] * UNIT


def test_cells(short: Bench) -> None:
    assert cell(short, 0) == 0
    assert cell(short, -180_000) == pytest.approx(0.219399597, abs=LOTS * UNIT / 2 + 5e-10)
    assert cell(short, 180_000) == pytest.approx(-0.15246412672881357, abs=LOTS * UNIT / 2)


def test_requirements(short: Bench) -> None:
    _, initial, maintenance = short.margins(1, 2)
    roll = 0.004997435265
    slack = LOTS * 1.5 * UNIT + 2 * UNIT
    published = 0.15246412672881357 + roll
    assert published == pytest.approx(0.157461562, abs=5e-10)
    assert -LOTS * UNIT / 2 <= initial * UNIT - published <= slack
    assert -LOTS * UNIT / 2 <= maintenance * UNIT - 0.125969249812 <= slack


def test_the_long_side_loses_most_at_the_lower_edge(short: Bench) -> None:
    _, initial, _ = short.margins(2, 2)
    assert initial * UNIT == pytest.approx(0.219399597 + 0.004997435265, abs=LOTS * 1.5 * UNIT + 1e-9)


def test_extended_weights_are_range_over_move() -> None:
    """With a range of 16 % the published weights 24, 48, 32, 16, 8, 5.33, 4 and 3.2 %."""
    grid = [c for c in columns(MatrixParameters(price_range_ppm=160_000)) if c.extended]
    weights = {c.move_ppm // 10_000: c.weight[0] / c.weight[1] for c in grid}
    published = {-66: 0.24, -33: 0.48, 50: 0.32, 100: 0.16, 200: 0.08, 300: 0.0533, 400: 0.04, 500: 0.032}
    assert weights == pytest.approx(published, abs=0.005)
    assert weights[50] == 0.32
    assert weights[500] == 0.032


def test_extended_cells(short: Bench) -> None:
    """Clamped at the range, weighted, in coins of the shocked price: q (1 - 1/1.18) x .18/|m| x (1 + m)/1.18."""
    for move in (0.5, 1.0, 5.0):
        expected = -POSITION_COINS * (1 - 1 / 1.18) * (0.18 / move) * (1 + move) / 1.18
        assert cell(short, round(move * 1e6), True) == pytest.approx(expected, abs=LOTS * UNIT)
