"""The `standard` model: option formulas, futures schedules, spreads capped at what they can lose."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin_ext.models import Portfolio, PortfolioError, StandardSet, margin, marks, portfolio, shipped, standard
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters_formula import FutureSchedule, FutureTier
from margin_ext.models.result import Requirement

S = 100_000.0
FLAT = (FutureSchedule(underlying="BTC", tiers=(FutureTier(initial_ppm=20_000, maintenance_ppm=10_000),)),)


def made(**changes: Any) -> StandardSet:
    return checked(StandardSet(**({"name": "own", "futures": FLAT} | changes)))


def option(settlement: str, strike: Any, is_call: Any, lots: Any, mark: Any, days: Any = 30.0) -> Portfolio:
    return portfolio({"BTC": S}, kind="option", settlement=settlement, strike=strike, is_call=is_call, lots=lots,
                     mark=mark, days=days, vol=0.6)  # fmt: skip


def only(p: Portfolio, s: StandardSet | None = None) -> Requirement:
    (one,) = margin(p, s or made()).requirements
    return one


@pytest.mark.parametrize(
    ("strike", "is_call", "mark", "initial", "maintenance"),
    [
        (100_000, True, 0.03, 0.15 + 0.03, 0.075 + 0.03),
        (103_000, True, 0.02, 0.12 + 0.02, 0.075 + 0.02),
        (130_000, True, 0.001, 0.10 + 0.001, 0.075 + 0.001),
        (80_000, True, 0.21, 0.15 + 0.21, 0.075 + 0.21),  # in the money: nothing to deduct
        (90_000, False, 0.02, 0.10 + 0.02, 0.075 + 0.02),
        (120_000, False, 0.22, 0.15 + 0.22, 0.075 + 0.22),
        (300_000, False, 2.0, 0.15 + 2.0, 0.15 + 2.0),  # deep: 7.5 % of the mark
        (400_000, False, 3.0, 0.225 + 3.0, 0.225 + 3.0),  # initial is at least maintenance
    ],
)
@pytest.mark.parametrize("settlement", ["BTC", "USDC"])
def test_short_options(
    strike: float, is_call: bool, mark: float, initial: float, maintenance: float, settlement: str
) -> None:
    unit = 1.0 if settlement == "BTC" else S
    one = only(option(settlement, strike, is_call, -2.0, mark * unit))
    assert (one.unit, one.initial, one.maintenance) == (
        settlement, pytest.approx(2 * initial * unit), pytest.approx(2 * maintenance * unit),
    )  # fmt: skip


def test_long_options_need_nothing() -> None:
    one = only(option("BTC", [90_000, 120_000], [True, False], 3.0, 0.2))
    assert (one.initial, one.maintenance) == (0.0, 0.0)


def test_marks_are_modelled_where_none_is_given() -> None:
    p = option("BTC", 110_000, True, -1.0, np.nan)
    assert only(p).initial == pytest.approx(0.10 + float(marks(p)[0]))


@pytest.mark.parametrize(("settlement", "value"), [("BTC", 1.0), ("USDC", S)])
def test_futures_by_tier_and_slope(settlement: str, value: float) -> None:
    tiers = (
        FutureTier(initial_ppm=20_000, maintenance_ppm=13_333, slope_ppb_per_coin=50_000),
        FutureTier(above_coins=100, initial_ppm=50_000, maintenance_ppm=33_333),
    )
    s = made(futures=(FutureSchedule(underlying="BTC", tiers=tiers),))
    lot = S if settlement == "BTC" else 1.0
    for coins, initial, maintenance in ((40, 0.022, 0.015333), (-40, 0.022, 0.015333), (100, 0.05, 0.033333)):
        p = portfolio({"BTC": S}, kind="perpetual", settlement=settlement, lots=coins, lot_size=lot)
        one = only(p, s)
        assert one.initial == pytest.approx(abs(coins) * initial * value)
        assert one.maintenance == pytest.approx(abs(coins) * maintenance * value)


def test_a_settlement_may_have_a_schedule_of_its_own() -> None:
    own = FutureSchedule(
        underlying="BTC", settlement="USDC", tiers=(FutureTier(initial_ppm=40_000, maintenance_ppm=20_000),)
    )
    p = portfolio({"BTC": S}, kind="future", days=30.0, settlement=["BTC", "USDC"], lots=[S, 1.0])
    result = margin(p, made(futures=(*FLAT, own)))
    assert result.totals["BTC"].initial == pytest.approx(0.02)
    assert result.totals["USDC"].initial == pytest.approx(4_000)
    with pytest.raises(PortfolioError, match="no futures schedule for BTC settled in BTC"):
        margin(p, made(futures=(own,)))


def test_positions_do_not_net() -> None:
    p = portfolio({"BTC": S}, kind=["perpetual", "future"], days=[0, 30], settlement="USDC", lots=[1.0, -1.0])
    assert only(p).initial == pytest.approx(4_000)
    assert only(p).position_initial.tolist() == pytest.approx([2_000, 2_000])


UNPAIRED = {"unpaired_initial_ppm": 1_200_000, "unpaired_maintenance_ppm": 1_100_000}


def spread(strikes: Any, is_call: Any, lots: Any, settlement: str = "USDC", **more: Any) -> Requirement:
    mark = np.full(len(strikes), 3_000.0 if settlement == "USDC" else 0.03)
    return only(option(settlement, strikes, is_call, lots, mark, **more), made(cap_spreads=True, **UNPAIRED))


def test_spreads_need_no_more_than_they_can_lose() -> None:
    assert spread([100_000, 104_000], True, [-1.0, 1.0]).initial == pytest.approx(4_000)
    assert spread([100_000, 104_000], True, [1.0, -1.0]).initial == 0.0
    assert spread([100_000, 104_000], False, [2.0, -2.0]).maintenance == pytest.approx(8_000)
    condor = spread([90_000, 92_000, 110_000, 113_000], [False, False, True, True], [1.0, -1.0, -1.0, 1.0])
    assert condor.initial == pytest.approx(3_000)
    assert condor.added["spread_cap"].initial == pytest.approx(3_000 - condor.position_initial.sum())


def test_what_has_no_bound_is_not_capped() -> None:
    naked = spread([100_000], True, [-1.0])
    assert (naked.initial, naked.maintenance) == (pytest.approx(18_000), pytest.approx(10_500))
    ratio = spread([100_000, 101_000], True, [-2.0, 1.0])
    assert ratio.initial == pytest.approx(2 * 18_000)  # 1,000 + 1.2 forwards would be more
    large = option("USDC", [100_000, 104_000], True, [-10.0, 9.0], 3_000.0)
    assert only(large, made(cap_spreads=True, **UNPAIRED)).initial == pytest.approx(10 * 4_000 + 1.2 * S)
    assert only(large, made(cap_spreads=True)).initial == pytest.approx(10 * 18_000)


def test_caps_hold_per_expiry_and_in_dollars_only() -> None:
    other_expiry = spread([100_000, 104_000], True, [-1.0, 1.0], days=[30.0, 60.0])
    assert other_expiry.initial == pytest.approx(18_000)
    inverse = spread([100_000, 104_000], True, [-1.0, 1.0], "BTC")
    assert inverse.initial == pytest.approx(0.18)
    assert "spread_cap" not in inverse.added
    plain = only(option("USDC", [100_000, 104_000], True, [-1.0, 1.0], [3_000, 2_000]), made())
    assert plain.initial == pytest.approx(18_000)


@given(
    st.lists(
        st.tuples(st.sampled_from([60, 90, 100, 110, 150]), st.booleans(), st.integers(-5, 5)), min_size=1, max_size=6
    )
)
def test_the_cap_is_the_worst_payoff_of_any_price(legs: list[tuple[int, bool, int]]) -> None:
    strike, is_call, lots = (np.array(column, dtype=float) for column in zip(*legs, strict=True))
    p = option("USDC", strike * 1_000, is_call.astype(bool), lots, 1_000.0)
    loss, _ = standard.spread_loss(p, made(**UNPAIRED))
    prices = np.linspace(0, 200_000, 401)
    intrinsic = np.where(p.is_call[:, None], prices - p.strike[:, None], p.strike[:, None] - prices).clip(0)
    payoff = (p.size[:, None] * intrinsic).sum(axis=0)
    naked = max(0.0, -p.size[p.is_call].sum())
    if naked == 0:
        assert loss == pytest.approx(max(0.0, -payoff.min()))
    else:
        # below the highest strike the payoff is bounded; beyond it a share of the forward stands for the rest
        bounded = max(0.0, -payoff[prices <= p.strike.max()].min())
        assert loss == pytest.approx(bounded + 1.2 * S * naked)


def test_the_shipped_set_knows_three_coins() -> None:
    p = portfolio({"BTC": S, "ETH": 4_000.0, "SOL": 200.0}, underlying=["BTC", "ETH", "SOL"],
                  settlement=["BTC", "ETH", "USDC"], kind="perpetual", lots=[S, 4_000.0, 1.0])  # fmt: skip
    rates = [0.02 + 5e-5, 0.02 + 4e-6, (0.04 + 5e-6) * 200]
    assert [one.initial for one in margin(p, shipped("standard")).requirements] == pytest.approx(rates)
