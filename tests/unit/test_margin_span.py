"""The `span16` model: scenario order, risk arrays, deltas, spreads, credits and the floor, each written out."""

from typing import Any

import numpy as np
import pytest

import margin_ext
from margin_ext.models import CreditSet, Portfolio, PortfolioError, SpanSet, margin, portfolio, shipped, span
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters import Concentration
from margin_ext.models.parameters_formula import CalendarSpread, InterCommodityCredit, SpanTier, SpreadLeg
from margin_ext.models.portfolio import Underlying as Market
from margin_ext.models.result import Requirement

S = 100_000.0
DAY = 1 / 365


def bare(**changes: Any) -> SpanSet:
    return checked(SpanSet(**({"name": "bare", "price_scan_range_ppm": 150_000} | changes)))


def futures(lots: Any, days: Any, **more: Any) -> Portfolio:
    return portfolio({"BTC": S}, kind="future", settlement="USDC", lots=lots, days=days, **more)


def only(p: Portfolio, s: SpanSet) -> Requirement:
    (one,) = margin(p, s).requirements
    return one


def test_scenarios_stand_in_span_order() -> None:
    table = span.scenarios(bare())
    thirds = [0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3]
    assert [one.move for one in table[:14]] == pytest.approx([0.05 * n for n in thirds])
    assert [one.vol for one in table] == ["up", "down"] * 7 + ["same", "same"]
    assert [one.move for one in table[14:]] == pytest.approx([0.3, -0.3])
    assert [one.weight for one in table] == [1.0] * 14 + [0.35, 0.35]


@pytest.mark.parametrize(("kind", "up", "down"), [("relative", 0.75, 0.45), ("points", 0.85, 0.35)])
def test_risk_arrays_are_losses_after_a_day(kind: str, up: float, down: float) -> None:
    s = bare(vol_scan_range_ppm=250_000, vol_scan_kind=kind)
    p = portfolio({"BTC": S}, kind=["option", "future"], settlement="USDC", strike=[110_000, 0], vol=[0.6, 0],
                  days=[30, 30], lots=[1, -1], is_call=False)  # fmt: skip
    arrays = span.risk_arrays(p, s)
    now = margin_ext.price(S, 110_000.0, 0.6, 30 * DAY, False)
    for column, (move, vol, weight) in enumerate(
        [(m * 0.05, v, 1.0) for m in span.THIRDS for v in (up, down)] + [(0.3, 0.6, 0.35), (-0.3, 0.6, 0.35)]
    ):
        then = margin_ext.price(S * (1 + move), 110_000.0, vol, 29 * DAY, False)
        assert arrays[0, column] == pytest.approx((now - then) * weight, rel=1e-12, abs=1e-9)
        assert arrays[1, column] == pytest.approx(-S * move * weight, abs=1e-9)


def test_inverse_contracts_are_valued_at_the_shocked_coin() -> None:
    p = portfolio({"BTC": S}, kind="future", lots=1.0, days=30)
    moves = np.array([one.move for one in span.scenarios(bare())])
    weights = np.array([one.weight for one in span.scenarios(bare())])
    # a dollar of an inverse future gains m dollars at the shocked index
    assert span.risk_arrays(p, bare())[0] == pytest.approx(-moves * weights, abs=1e-12)


def test_concentration_is_added_after_the_factors() -> None:
    """Long 30 of the owner's 40, of 100 open: 30 beyond a tenth, at 5 %, three quarters of it. Options' deltas are
    those of today, not the composite ones."""
    market = Market(name="BTC", index_usd=S, open_interest_coins=100.0, owner_delta_coins=40.0)
    terms = Concentration(open_interest_share_ppm=100_000, depth_move_ppm=0)
    plain, asked = bare(initial_factor_ppm=2_000_000), bare(initial_factor_ppm=2_000_000, concentration=terms)
    p = portfolio([market], kind="future", settlement="USDC", lots=30.0, days=30)
    before, after = only(p, plain), only(p, asked)
    assert after.added["concentration"].initial == pytest.approx(0.75 * 30 * 0.05 * S)
    assert after.initial - before.initial == pytest.approx(0.75 * 30 * 0.05 * S)
    assert after.maintenance - before.maintenance == pytest.approx(0.75 * 30 * 0.05 * S)
    market = Market(name="BTC", index_usd=S, open_interest_coins=0.0)
    p = portfolio([market], kind="option", settlement="USDC", strike=110_000, vol=0.6, days=30, lots=-1)
    delta = float(margin_ext.greeks(S, 110_000.0, 0.6, 30 * DAY).delta)
    assert only(p, asked).added["concentration"].initial == pytest.approx(delta * 0.05 * S)


def test_time_ends_at_expiry() -> None:
    p = portfolio({"BTC": S}, kind="option", settlement="USDC", strike=90_000, vol=0.6, days=0.5, lots=1.0)
    arrays = span.risk_arrays(p, bare())
    now = margin_ext.price(S, 90_000.0, 0.6, 0.5 * DAY)
    assert arrays[0, :2] == pytest.approx([now - 10_000.0] * 2, rel=1e-12)
    assert arrays[0, 12] == pytest.approx(now)  # -15 %: worthless


def test_composite_delta_weighs_seven_prices() -> None:
    s = bare()
    p = portfolio({"BTC": S}, kind=["option", "option", "future"], settlement="USDC", strike=[100_000, 100_000, 0],
                  is_call=[True, False, True], vol=0.6, days=30, lots=1.0)  # fmt: skip
    call, put, future = span.composite_deltas(p, s)
    weights = dict(zip(span.THIRDS, (0.270, 0.217, 0.217, 0.110, 0.110, 0.037, 0.037), strict=True))
    expected = sum(w * margin_ext.greeks(S * (1 + n * 0.05), S, 0.6, 29 * DAY).delta for n, w in weights.items()) / sum(
        weights.values()
    )
    assert call == pytest.approx(expected, rel=1e-12)
    assert future == 1.0
    assert call - put == pytest.approx(1.0, rel=1e-12)


TIERS = (SpanTier(name="near", from_days=0, to_days=31), SpanTier(name="far", from_days=31, to_days=400))


def test_calendar_spreads_are_served_by_priority_and_consume() -> None:
    spreads = (
        CalendarSpread(priority=2, first="near", second="far", rate_ppm=30_000),
        CalendarSpread(priority=1, first="near", second="near", rate_ppm=10_000),
    )
    s = bare(tiers=TIERS, calendar=spreads)
    # near: long 5, short 2; far: short 4. Two spreads inside near, then three of near against far
    one = only(futures([5.0, -2.0, -4.0], [7, 14, 60]), s)
    assert one.scaled["calendar"] == pytest.approx(S * (2 * 0.01 + 3 * 0.03))
    assert one.figures["calendar_spreads"] == pytest.approx(5.0)
    # without the first priority five near deltas would have met four far ones
    alone = only(futures([5.0, -2.0, -4.0], [7, 14, 60]), bare(tiers=TIERS, calendar=spreads[:1]))
    assert alone.scaled["calendar"] == pytest.approx(S * 4 * 0.03)
    assert only(futures([5.0, 4.0], [7, 60]), s).scaled["calendar"] == 0.0
    assert only(futures([-5.0, 4.0], [7, 60]), s).scaled["calendar"] == pytest.approx(S * 4 * 0.03)


def test_spread_ratios() -> None:
    spread = CalendarSpread(priority=1, first="near", second="far", first_ratio_ppm=2_000_000, rate_ppm=30_000)
    one = only(futures([5.0, -4.0], [7, 60]), bare(tiers=TIERS, calendar=(spread,)))
    assert one.scaled["calendar"] == pytest.approx(S * 2.5 * 0.03)


def test_delivery_is_charged_on_what_expires_soon() -> None:
    s = bare(delivery_ppm=10_000, delivery_days=2)
    one = only(futures([3.0, -1.0, 7.0], [1, 2, 3]), s)
    assert one.scaled["delivery"] == pytest.approx(S * 4 * 0.01)


@pytest.mark.parametrize(("method", "count"), [("gross", 5.0), ("maximum", 3.0)])
def test_short_options_need_a_minimum(method: str, count: float) -> None:
    s = bare(short_option_minimum_ppm=10_000, short_option_method=method)
    p = portfolio({"BTC": S}, kind="option", settlement="USDC", strike=[400_000.0, 20_000.0, 20_000.0], vol=0.4,
                  days=20.0, is_call=[True, False, False], lots=[-3.0, -2.0, 1.0])  # fmt: skip
    one = only(p, s)
    assert one.figures["short_option_minimum"] == pytest.approx(S * count * 0.01)
    assert one.maintenance == pytest.approx(S * count * 0.01, rel=1e-6)
    assert one.worst + sum(one.scaled.values()) == pytest.approx(S * count * 0.01)


def test_option_value_is_taken_off_and_never_below_zero() -> None:
    p = portfolio({"BTC": S}, kind="option", settlement="USDC", strike=S, vol=0.6, days=30, lots=2.0)
    value = 2 * margin_ext.price(S, S, 0.6, 30 * DAY)
    one = only(p, bare())
    assert one.added["net_option_value"].initial == pytest.approx(-value)
    assert one.maintenance == 0.0 < one.worst < value
    sold = portfolio({"BTC": S}, kind="option", settlement="USDC", strike=S, vol=0.6, days=30, lots=-2.0)
    assert only(sold, bare()).maintenance == pytest.approx(only(sold, bare()).worst + value)
    lifted = only(sold, bare(initial_factor_ppm=1_100_000))
    assert lifted.initial == pytest.approx(1.1 * lifted.worst + value)


def test_credits_between_underlyings_by_price_risk_per_delta() -> None:
    p = portfolio({"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "ETH"], settlement="USDC", kind="future", days=30,
                  lots=[2.0, -30.0])  # fmt: skip
    legs = (
        SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
        SpreadLeg(underlying="ETH", ratio_ppm=20_000_000, side="short"),
    )
    credit = CreditSet(name="pair", credits=(InterCommodityCredit(priority=1, legs=legs, rate_ppm=700_000),))
    result = margin(p, bare(), credit_set=credit)
    found = {one.scope: one for one in result.requirements}
    # 1.5 spreads: 1.5 BTC at 15,000 a delta and 30 ETH at 600 a delta, 70 % of it
    assert found["BTC"].scaled["intercommodity_credit"] == pytest.approx(-1.5 * 15_000 * 0.7)
    assert found["ETH"].scaled["intercommodity_credit"] == pytest.approx(-30 * 600 * 0.7)
    assert result.totals["USD"].maintenance == pytest.approx(30_000 + 18_000 - 0.7 * (22_500 + 18_000))
    turned = portfolio({"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "ETH"], settlement="USDC", kind="future",
                       days=30, lots=[-2.0, 30.0])  # fmt: skip
    assert margin(turned, bare(), credit_set=credit).totals["USD"].maintenance == pytest.approx(
        result.totals["USD"].maintenance
    )
    same_way = portfolio({"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "ETH"], settlement="USDC", kind="future",
                         days=30, lots=[2.0, 30.0])  # fmt: skip
    assert margin(same_way, bare(), credit_set=credit).totals["USD"].maintenance == pytest.approx(48_000)


def test_price_risk_leaves_out_what_vol_and_time_do() -> None:
    p = portfolio({"BTC": S}, kind="option", settlement="USDC", strike=S, vol=0.6, days=30, lots=-1.0)
    one = only(p, bare())
    losses = one.loss
    paired = one.worst_scenario ^ 1
    time = (losses[0] + losses[1]) / 2
    assert one.figures["time_risk"] == pytest.approx(time)
    assert one.figures["price_risk"] == pytest.approx((losses[one.worst_scenario] + losses[paired]) / 2 - time)


def test_what_has_no_set_is_refused() -> None:
    with pytest.raises(PortfolioError, match="none for BTC"):
        margin(futures(1.0, 30), {"ETH": bare()})
    assert margin(futures(1.0, 30), shipped("span16")).totals["USD"].initial == pytest.approx(1.1 * 0.16 * S)
