"""Published margin figures reproduced by the models of margin_ext; each test names its source.

What a figure is exact to is what its source prints.
"""

import math

import numpy as np
import pytest

from margin_ext.models import (
    Currency,
    MatrixSet,
    Portfolio,
    StandardSet,
    Underlying,
    identity,
    isolated,
    loads,
    margin,
    matrix,
    matrix_charges,
    matrix_columns,
    portfolio,
    position_values,
    shipped,
    span,
)
from margin_ext.models.parameters import RateTier
from margin_ext.models.parameters_formula import (
    FutureSchedule,
    FutureTier,
    IsolatedSet,
    LeverageTier,
    SpanSet,
)

FLAT = (FutureSchedule(underlying="BTC", tiers=(FutureTier(initial_ppm=20_000, maintenance_ppm=10_000),)),)


# ------------------------------------------------------------------------------------------------ matrix


@pytest.fixture(scope="module")
def short_eth() -> Portfolio:
    """Short 0.999487053 ETH of the perpetual at 3,000 USD."""
    return portfolio({"ETH": 3_000.0}, kind="perpetual", lots=-0.999487053 * 3_000.0)


def test_portfolio_margin_simulation_of_a_short_perpetual(short_eth: Portfolio) -> None:
    """Deribit, a response of `private/pme/simulate`, ETH at a price range of 18 % (2026-02)."""
    (one,) = margin(short_eth, shipped("matrix_eth")).requirements
    cells = {round(s.move, 6): pnl for s, pnl in zip(one.scenarios, one.pnl, strict=True) if s.vol == "same"}
    assert cells[-0.18] == pytest.approx(0.219399597, abs=5e-10)
    assert cells[0.18] == pytest.approx(-0.15246412672881357, rel=1e-15)
    aggregated = matrix.offset_gains(np.array([cells[-0.18], cells[0.18]]), 0.6)
    assert aggregated == pytest.approx([0.1316397582, -0.15246412672881357], abs=5e-11)
    assert one.scaled["roll"] == pytest.approx(0.004997435265, rel=1e-15)
    assert one.initial == pytest.approx(0.157461562, abs=5e-10)
    assert one.maintenance == pytest.approx(0.125969249812, abs=5.5e-10)


PARADEX = """
model = "matrix"
name = "paradex"
numeraire = "usd"
vol_up_ppm = 400_000
vol_down_ppm = 220_000
maintenance_factor_ppm = 500_000
price_range_ppm = 160_000
"""
PARADEX_GRID = [(move, "up") for move in (-16, 16)]
PARADEX_GRID += [(move, vol) for move in (-12, -8, -4, 0, 4, 8, 12) for vol in ("up", "down")]
PARADEX_TAILS = {-66: 24, -33: 48, 50: 32, 100: 16, 200: 8, 300: 5.33, 400: 4, 500: 3.2}


def paradex() -> MatrixSet:
    columns = "".join(f'[[columns]]\nmove_ppm = {move * 10_000}\nvol = "{vol}"\n' for move, vol in PARADEX_GRID)
    tails = "".join(f'[[columns]]\nmove_ppm = {move * 10_000}\nvol = "up"\nextended = true\n' for move in PARADEX_TAILS)
    return loads(PARADEX + columns + tails)


def test_tail_weights_are_range_over_move() -> None:
    """Paradex, docs.paradex.trade/risk/portfolio-margin: 24 scenarios and the weights of the eight tails."""
    table = matrix_columns.scenarios(paradex())
    assert len(table) == 24
    weights = {round(one.move * 100): one.weight * 100 for one in table if one.extended}
    assert weights == pytest.approx(PARADEX_TAILS, abs=0.5)  # printed in whole percent from 24 to 8
    assert [weights[move] for move in (50, 100, 200, 400, 500)] == pytest.approx([32, 16, 8, 4, 3.2], rel=1e-12)


DERIVE = """
model = "matrix"
name = "pmrm"
numeraire = "usd"
price_range_ppm = 180_000
vol_up_ppm = 500_000
vol_down_ppm = 275_000
vol_up_floor_e6 = 450_000
vega_power_short_ppm = 300_000
vega_power_long_ppm = 130_000
future_clamp = "none"
maintenance_factor_ppm = 800_000
future_initial_ppm = 40_000
future_maintenance_ppm = 30_000
short_option_initial_ppm = 5_000
short_option_maintenance_ppm = 3_000
discounted = true

[expiry_basis]
move_ppm = 45_000
add_ppm = 500_000
multiplier_ppm = 2_000_000

[static_discount]
long_base_ppm = 950_000
long_multiplier_ppm = 1_000_000
long_add_ppm = 80_000
short_base_ppm = 1_040_000
short_multiplier_ppm = 500_000
short_add_ppm = 80_000
"""
DERIVE_GRID = [(move, vol) for move in (0, 45, 90, 135, -45, -90, -135) for vol in ("same", "up", "down")]
DERIVE_GRID += [(180, "up"), (-180, "up")]


def svi_vol(strike: float, forward: float, a: float, b: float, rho: float, m: float, sigma: float, tau: float) -> float:
    """Raw SVI (Gatheral): total variance over tau."""
    k = math.log(strike / forward)
    return math.sqrt((a + b * (rho * (k - m) + math.sqrt((k - m) ** 2 + sigma**2))) / tau)


def test_a_short_call_under_derives_portfolio_manager() -> None:
    """Derive v2-core, a fixture of PMRM_2: short one BTC call, no tails in its grid."""
    s = loads(DERIVE + "".join(f'[[columns]]\nmove_ppm = {m * 1_000}\nvol = "{v}"\n' for m, v in DERIVE_GRID))
    forward, years, rate = 95_776.67392708939, 794_852 / 31_536_000, 0.15
    vol = svi_vol(
        100_000.0, forward, 0.002138900837067276, 0.041639765820381208, -0.290894349076049536,
        -0.026351062568175804, 0.062563079314213912, 0.02520611364789,
    )  # fmt: skip
    assert vol == pytest.approx(0.4538039243, abs=5e-11)
    p = portfolio(
        [Underlying(name="BTC", index_usd=95_663.50604855, rate=rate)], [Currency(name="USD")], kind="option",
        settlement="USD", strike=100_000.0, days=years * 365, forward=forward, vol=vol, lots=-1.0,
    )  # fmt: skip
    (one,) = margin(p, s).requirements
    value = float(position_values(p)[0]) * math.exp(-rate * years)
    assert value == pytest.approx(-1_186.41857, abs=5e-6)
    assert one.worst == pytest.approx(12_939.31202, abs=5e-6)
    assert (one.scenarios[one.worst_scenario].move, one.scenarios[one.worst_scenario].vol) == (0.18, "up")
    assert one.pnl[-1] == pytest.approx(-947.20980, abs=5e-6)
    assert one.added["short_options"].maintenance == pytest.approx(286.99052, abs=5e-6)
    assert one.added["short_options"].initial == pytest.approx(286.99052 + 191.32701, abs=1e-5)
    assert value - one.initial == pytest.approx(-14_604.04812, abs=5e-6)
    assert value - one.maintenance == pytest.approx(-11_824.85870, abs=5e-6)


def test_depeg_tiers() -> None:
    """OKX, parameter notice of 2025-01-02: 10m USD hedged between stablecoins at the first row of prices."""
    rates = ((0, 7_500), (1_000_000, 17_500), (5_000_000, 25_000))
    tiers = [RateTier(above_usd=above, rate_ppm=rate) for above, rate in rates]
    assert matrix_charges.tiered(tiers, 10e6) == pytest.approx(202_500, rel=1e-15)
    assert matrix_charges.tiered(tiers, 10e6) == pytest.approx(1e6 * 0.0075 + 4e6 * 0.0175 + 5e6 * 0.025, rel=1e-15)


# ------------------------------------------------------------------------------------------------ span16

# McMillan, "Options as a Strategic Investment", chapter 34: P&L of a long S&P 500 futures call by SPAN scenario.
SP_CALL = [460, -610, 2640, 1730, -1270, -2340, 5210, 4540, -2540, -3430, 8060, 7640, -3380, -3990, 3130, -1500]


def sp_future() -> np.ndarray:
    """Loss of a long future whose price scan range is 10,000 USD, extreme 2 x range x 35 %."""
    s = SpanSet(name="sp", price_scan_range_ppm=100_000, extreme_multiple_ppm=2_000_000, extreme_cover_ppm=350_000)
    p = portfolio({"SP": 100_000.0}, kind="future", settlement="USD", lots=1.0, days=60)
    return span.risk_arrays(p, s)[0]


def test_the_sp_future() -> None:
    """McMillan, chapter 34: the range, and 7,000 in the extreme scenarios."""
    assert sp_future()[[0, 10, 12, 14, 15]] == pytest.approx([0, -10_000, 10_000, -7_000, 7_000])
    assert span.scan_risk(sp_future()[None, :], np.array([1.0]))[0] == pytest.approx(10_000)


@pytest.mark.parametrize(("futures", "calls", "risk", "scenario"), [(0, 1, 3_990, 14), (1, -1, 6_620, 13)])
def test_the_sp_call_and_the_covered_write(futures: int, calls: int, risk: float, scenario: int) -> None:
    """McMillan, chapter 34: a long call needs 3,990 (scenario 14), a covered write 6,620 (scenario 13)."""
    arrays = np.stack([sp_future(), -np.array(SP_CALL, dtype=float)])
    found, worst, losses = span.scan_risk(arrays, np.array([futures, calls]))
    assert (found, worst + 1) == (pytest.approx(risk), scenario)
    assert losses.max() == found


# ------------------------------------------------------------------------------------------------ standard


def test_standard_margin_of_a_short_put() -> None:
    """Deribit, margin article: S = 100,000, put 90,000, mark 0.02: initial 0.12, maintenance 0.095 BTC."""
    p = portfolio({"BTC": 100_000.0}, kind="option", strike=90_000, is_call=False, lots=-1, mark=0.02, vol=0.5, days=20)
    (one,) = margin(p, shipped("standard")).requirements
    assert (one.initial, one.maintenance) == (pytest.approx(0.12, rel=1e-14), pytest.approx(0.095, rel=1e-14))


@pytest.mark.parametrize(
    ("coins", "initial", "maintenance"), [(25, 53_125, 28_125), (350, 1_312_500, 0.0275 * 35_000_000)]
)
def test_standard_margin_of_futures(coins: int, initial: float, maintenance: float) -> None:
    """Deribit, notice of 2022-01-11: 25 BTC at 100,000: 2.125 % and 1.125 %; 350 BTC: 3.75 %."""
    p = portfolio({"BTC": 100_000.0}, kind="perpetual", settlement="USDC", lots=coins)
    (one,) = margin(p, shipped("standard")).requirements
    assert (one.initial, one.maintenance) == (pytest.approx(initial), pytest.approx(maintenance))
    inverse = portfolio({"BTC": 100_000.0}, kind="perpetual", lots=coins * 100_000)
    assert margin(inverse, shipped("standard")).totals["BTC"].initial == pytest.approx(initial / 100_000)


def test_cross_margin_of_a_short_put_elsewhere() -> None:
    """Bybit help, option margin: S = 20,250, put 18,500, mark 290: maintenance 938, initial 2,315 USD."""
    s = StandardSet(
        name="bybit", call_maintenance_ppm=30_000, put_maintenance_ppm=30_000, put_maintenance_of_mark_ppm=30_000,
        liquidation_fee_ppm=2_000, futures=FLAT,
    )  # fmt: skip
    p = portfolio({"BTC": 20_250.0}, kind="option", settlement="USDC", strike=18_500, is_call=False, lots=-1, mark=290,
                  vol=0.5, days=20)  # fmt: skip
    (one,) = margin(p, s).requirements
    assert (one.maintenance, one.initial) == (pytest.approx(938), pytest.approx(2_315))


def test_a_short_call_under_derives_standard_manager() -> None:
    """Derive v2-core, a StandardManager fixture with rates 15 % and 7.5 %: ETH call 1,500, 500,400 s to expiry.

    Their margins are signed and hold the option's own (negative) value.
    """
    s = StandardSet(
        name="derive", option_initial_floor_ppm=130_000, put_maintenance_of_mark_ppm=75_000,
        put_initial_over_maintenance_ppm=1_050_000, cap_spreads=True, unpaired_initial_ppm=1_200_000,
        unpaired_maintenance_ppm=1_100_000, futures=FLAT,
    )  # fmt: skip
    forward, years = 1_500.8332793, 500_400 / 31_536_000
    vol = svi_vol(1_500.0, forward, 1.0, 1.5, -0.1, -0.05, 0.05, 1.0)
    p = portfolio({"ETH": 1_500.0}, kind="option", settlement="USDC", strike=1_500.0, forward=forward, vol=vol,
                  days=years * 365, lots=-1)  # fmt: skip
    (one,) = margin(p, s).requirements
    assert float(position_values(p)[0]) == pytest.approx(-79.3715852, abs=5e-8)
    assert -one.maintenance == pytest.approx(-191.8715852, abs=5e-8)
    assert -one.initial == pytest.approx(-304.3715852, abs=5e-8)


# ------------------------------------------------------------------------------------------------ isolated


def test_isolated_long_at_a_hundred_times() -> None:
    """BitMEX, isolated margin example: long at 6,000, 100x: bankrupt at 5,940, liquidated at 5,970 (0.5 % of entry)."""
    tiers = (LeverageTier(above_usd=0, initial_ppm=10_000, maintenance_ppm=5_000),)
    s = IsolatedSet(name="bitmex", maintenance_basis="entry", tiers=tiers)
    assert isolated.bankruptcy_price(6_000.0, 1.0, 60.0, False) == pytest.approx(5_940, rel=1e-15)
    assert isolated.liquidation_price(6_000.0, 1.0, 60.0, False, s) == pytest.approx(5_970, rel=1e-15)


def test_a_figure_carries_the_set_that_made_it() -> None:
    """Every result above can be made again from the hash of its parameters."""
    one = margin(portfolio({"BTC": 1.0}, kind="perpetual", settlement="USD", lots=1.0), paradex()).requirements[0]
    assert one.parameter_set == identity(paradex())
    assert one.parameter_set.sha256 != identity(shipped("matrix_btc")).sha256
