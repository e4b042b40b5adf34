"""The `matrix` model's parts, each against its formula written out, and what must hold of any requirement."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import margin_ext
from margin_ext.models import Currency, MatrixSet, Portfolio, PortfolioError, Underlying, matrix, portfolio, shipped
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters import (
    Concentration,
    ExpiryBasis,
    GridColumn,
    Peg,
    RateTier,
    Skew,
)
from margin_ext.models.result import Requirement

S = 100_000.0


def bare(**changes: Any) -> MatrixSet:
    """No charge but those of `changes`; factors 1, dollars."""
    base = {"name": "bare", "numeraire": "usd", "maintenance_factor_ppm": 1_000_000}
    return checked(MatrixSet(**(base | changes)))


def only(p: Portfolio, s: MatrixSet) -> Requirement:
    (one,) = matrix.margin(p, s).requirements
    return one


def futures(lots: Any, days: Any, settlement: Any = "USDC", index: float = S, **market: Any) -> Portfolio:
    """Coins of linear, dollars of inverse futures."""
    kind = ["future" if d else "perpetual" for d in np.atleast_1d(days)]
    return portfolio(
        [Underlying(name="BTC", index_usd=index, **market)], kind=kind, lots=lots, days=days, settlement=settlement
    )


def options(strike: Any, lots: Any, days: Any, is_call: Any = True, vol: float = 0.6, **more: Any) -> Portfolio:
    return portfolio(
        {"BTC": S}, kind="option", settlement="USDC", strike=strike, lots=lots, days=days, vol=vol, is_call=is_call,
        **more,
    )  # fmt: skip


def value(strike: float, days: float, forward: float = S, vol: float = 0.6, is_call: bool = True) -> float:
    return margin_ext.price(forward, strike, vol, days / 365, is_call)


# ------------------------------------------------------------------------------------------------ scenarios


def test_a_linear_future_loses_the_edge() -> None:
    one = only(futures(2.0, 0), bare())
    assert one.initial == pytest.approx(32_000.0)
    assert one.scenarios[one.worst_scenario].move == -0.16
    assert one.pnl[0] == 0.0


def test_vol_moves_follow_the_tenor_with_days_floored_at_one() -> None:
    grid = (GridColumn(move_ppm=0, vol="up"), GridColumn(move_ppm=0, vol="down"))
    for days, base in ((0.25, 30.0**0.3), (1, 30.0**0.3), (29, (30 / 29) ** 0.3), (30, 1.0), (365, (30 / 365) ** 0.13)):
        one = only(options(S, 1.0, days), bare(columns=grid))
        up, down = max(0.5, 0.6 * (1 + 0.5 * base)), 0.6 * max(0.01, 1 - 0.25 * base)
        now = value(S, days)
        assert one.pnl == pytest.approx([value(S, days, vol=up) - now, value(S, days, vol=down) - now], rel=1e-9)


@pytest.mark.parametrize(("clamp", "long_gain", "long_loss"), [("both", 0.16, -0.16), ("gains", 0.16, -0.5),
                                                                 ("none", 1.0, -0.5)])  # fmt: skip
def test_extended_moves_of_futures(clamp: str, long_gain: float, long_loss: float) -> None:
    grid = tuple(GridColumn(move_ppm=move, extended=True) for move in (1_000_000, -500_000))
    one = only(futures(1.0, 0), bare(columns=grid, future_clamp=clamp))
    assert one.pnl == pytest.approx([S * long_gain * 0.16, S * long_loss * 0.32])
    short = only(futures(-1.0, 0), bare(columns=grid, future_clamp=clamp))
    gain, loss = (0.16, -0.16) if clamp == "both" else (0.16, -1.0) if clamp == "gains" else (0.5, -1.0)
    assert short.pnl == pytest.approx([S * loss * 0.16, S * gain * 0.32])


def test_own_weights_and_the_dampener() -> None:
    column = GridColumn(move_ppm=1_000_000, vol="up", extended=True, weight_ppm=100_000)
    p = options(200_000.0, -10.0, 30)
    loss = 10 * 0.1 * (value(200_000.0, 30, 2 * S, 0.9) - value(200_000.0, 30))
    assert only(p, bare(columns=(column,))).worst == pytest.approx(loss)
    ratio = 1 / 0.16 - 1
    dampened = only(p, bare(columns=(column,), extended_dampener_usd=1_000))
    assert dampened.worst == pytest.approx(loss - ratio * 1_000)
    assert only(p, bare(columns=(column,), extended_dampener_usd=10**6)).worst == 0.0


def test_coin_rows_of_an_extended_column_carry_the_coin_factor() -> None:
    grid = (GridColumn(move_ppm=1_000_000, extended=True),)
    p = futures(-S, 0, "BTC")
    usd = only(p, bare(columns=grid)).pnl[0]
    coin = only(p, bare(columns=grid, numeraire="coin")).pnl[0]
    assert coin == pytest.approx(-(1 - 1 / 1.16) * 0.16 * 2 / 1.16)
    assert usd == pytest.approx(-(1 - 1 / 1.16) * 0.16 * 2 * S)


def test_skew_scenarios_tilt_and_bend_each_expiry_against_the_book() -> None:
    skew = Skew(cap_base_ppm=250_000, cap_slope_ppm=-100_000, width_ppm=4_000_000, vol_base_ppm=600_000)
    strike, lots, days = np.array([80_000.0, 130_000.0, 150_000.0]), np.array([1.0, -2.0, 3.0]), np.array([30, 30, 200])
    one = only(options(strike, lots, days), bare(skew=skew))
    expected = []
    for bend in (False, True):
        change = np.zeros(3)
        for i in range(3):
            root = math.sqrt(days[i] / 365)
            cap, edge = 0.25 - 0.1 * root, 4 * root * 0.6
            k = math.log(strike[i] / S)
            shift = min(cap, max(-cap, (abs(k) if bend else k) * cap / edge))
            change[i] = lots[i] * (value(strike[i], days[i], vol=0.6 * (1 + shift)) - value(strike[i], days[i]))
        expected.append(-abs(change[0] + change[1]) - abs(change[2]))
    assert one.pnl[-2:] == pytest.approx(expected, rel=1e-9)
    assert [s.label for s in one.scenarios[-2:]] == ["skew tilted", "skew bent"]


def test_basis_of_expiries_moves_each_forward_the_worse_way() -> None:
    basis = ExpiryBasis(move_ppm=45_000, add_ppm=500_000, multiplier_ppm=2_000_000)
    one = only(futures([1.0, -1.0, 5.0], [73, 146, 0]), bare(expiry_basis=basis))
    # both expiries lose 4.5 %, times 0.5 + 2 T; the perpetual has no basis of an expiry
    assert one.pnl[-1] == pytest.approx(-0.045 * S * (0.5 + 2 * 0.2 + 0.5 + 2 * 0.4))


def test_settlement_averages_take_the_risk_out_of_a_future() -> None:
    fraction = np.array([0.0, 0.5, 1.0])
    for settlement, lots in (("USDC", 1.0), ("BTC", S)):
        for known in fraction:
            p = portfolio(
                {"BTC": S}, kind="future", settlement=settlement, lots=lots, days=0.01, average_fraction=known,
                average_price=S,
            )  # fmt: skip
            one = only(p, bare(settlement_window_seconds=1_800, minimum_move_ppm=10_000))
            assert one.scaled["roll"] == pytest.approx((1 - known) * 0.01 * S)
            fixing = known + (1 - known) * 0.84
            edge = (1 - known) * 0.16 * S if settlement == "USDC" else S * 0.84 * (1 / fixing - 1)
            # in dollars the coin itself is worth less at the edge
            assert one.worst == pytest.approx(edge, abs=1e-6)


# ------------------------------------------------------------------------------------------------ charges


def test_roll_is_per_expiry_and_delta_shock_is_net() -> None:
    s = bare(
        annualised_move_risk_ppm=75_000, minimum_move_ppm=10_000, delta_threshold_usd=500_000,
        delta_move_per_coin_e9=20_000_000, delta_move_max_ppm=30_000,
    )  # fmt: skip
    one = only(futures([10.0, -3.0, 4.0], [0, 30, 365]), s)
    assert one.scaled["roll"] == pytest.approx(S * (0.1 + 0.03 + 4 * math.expm1(0.075)))
    assert one.scaled["delta"] == pytest.approx(S * 11 * 0.03)  # 11 net, 6 above: 12 %, at most 3 %
    smaller = only(futures(6.0, 0), s)
    assert smaller.scaled["delta"] == pytest.approx(S * 6 * 0.02)
    assert only(futures(5.0, 0), s).scaled["delta"] == 0.0
    assert smaller.initial == pytest.approx(0.16 * 6 * S + sum(smaller.scaled.values()))


def test_factors_scale_scenarios_and_shocks_not_contingencies() -> None:
    s = bare(
        initial_factor_ppm=1_200_000, maintenance_factor_ppm=800_000, minimum_move_ppm=10_000,
        future_initial_ppm=40_000, future_maintenance_ppm=30_000,
    )  # fmt: skip
    one = only(futures([1.0, -1.0], [0, 30]), s)
    assert one.worst == 0.0 and one.worst_scenario is None
    assert one.initial == pytest.approx(S * (1.2 * 0.02 + 0.04 * 2))
    assert one.maintenance == pytest.approx(S * (0.8 * 0.02 + 0.03 * 2))


def test_short_options_net_per_strike_and_expiry() -> None:
    s = bare(short_option_initial_ppm=10_000, short_option_maintenance_ppm=6_000)
    strike = [S, S, S, 120_000.0, 120_000.0]
    p = options(strike, [-3.0, 1.0, -5.0, -2.0, 4.0], [30, 30, 60, 30, 30], is_call=[True, False, True, True, True])
    assert only(p, s).added["short_options"].initial == pytest.approx(0.01 * S * 7)
    assert only(p, s).added["short_options"].maintenance == pytest.approx(0.006 * S * 7)


def test_hedges_between_settlements_pay_for_basis_and_peg() -> None:
    tiers = tuple(
        RateTier(above_usd=above, rate_ppm=rate)
        for above, rate in ((0, 7_500), (1_000_000, 17_500), (5_000_000, 25_000))
    )
    s = bare(settlement_basis_ppm=1_000, peg=Peg(tiers=tiers, loss_factor_ppm=4_000_000))
    p = futures([-120.0, 10_000_000.0], [0, 0], ["USDC", "BTC"])
    one = only(p, s)
    assert one.added["settlement_basis"].initial == pytest.approx(10_000.0)
    assert one.added["peg"].maintenance == pytest.approx(202_500.0)
    assert one.added["peg_loss"].initial == 0.0
    same_way = only(futures([120.0, 10_000_000.0], [0, 0], ["USDC", "BTC"]), s)
    assert same_way.added["peg"].initial == 0.0


def test_a_fallen_dollar_currency_raises_the_initial_margin() -> None:
    usdc = Currency(name="USDC", price_usd=0.97)
    p = portfolio({"BTC": S}, [usdc], kind="perpetual", settlement="USDC", lots=1.0)
    one = only(p, bare(peg=Peg(loss_factor_ppm=4_000_000)))
    assert one.initial == pytest.approx(16_000 * (1 + 4 * 0.02))
    assert one.maintenance == pytest.approx(16_000)


def test_concentration_is_the_owners_and_borne_by_share() -> None:
    s = bare(concentration=Concentration(open_interest_share_ppm=100_000, open_interest_rate_ppm=50_000))
    alone = futures(-30.0, 0, open_interest_coins=200.0, depth_coins=50.0)
    charge = S * (0.05 * 10 + 30 * 0.01 * 30 / 100)
    assert only(alone, s).added["concentration"].initial == pytest.approx(charge)
    owned = futures(-15.0, 0, open_interest_coins=200.0, depth_coins=50.0, owner_delta_coins=-30.0)
    assert only(owned, s).added["concentration"].maintenance == pytest.approx(charge / 2)
    assert only(futures(-30.0, 0), s).added["concentration"].initial == 0.0
    empty_book = futures(-30.0, 0, depth_coins=0.0)
    assert only(empty_book, s).added["concentration"].initial == pytest.approx(S * 30 * 0.2)


def test_hedges_that_expire_soon_do_not_count_beyond_the_horizon() -> None:
    p = futures([10.0, -10.0], [0.5, 40])
    both = only(p, bare(minimum_move_ppm=10_000))
    later = only(p, bare(minimum_move_ppm=10_000, horizon_days=1))
    assert both.initial == pytest.approx(20_000)
    assert later.initial == pytest.approx(160_000 + 10_000)
    assert later.book == "beyond the horizon" and later.positions == (0, 1)
    risk = futures([10.0, -1.0], [0.5, 40])
    assert only(risk, bare(horizon_days=1)).book == "all"
    everything = only(futures([10.0], [0.5]), bare(horizon_days=1))
    assert everything.initial == pytest.approx(160_000)


# ------------------------------------------------------------------------------------------------ entities


def test_coin_numeraire_has_a_requirement_per_chain() -> None:
    p = portfolio(
        {"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "BTC", "ETH"], settlement=["BTC", "USDC", "USDC"],
        kind="perpetual", lots=[S, -1.0, -10.0],
    )  # fmt: skip
    result = matrix.margin(p, bare(numeraire="coin"))
    assert [one.scope for one in result.requirements] == ["BTC/BTC", "BTC/USDC", "ETH/USDC"]
    assert result.totals["BTC"].initial == pytest.approx(1 / 0.84 - 1)
    assert result.totals["USDC"].initial == pytest.approx(16_000 + 6_400)
    assert matrix.margin(p, bare()).totals["USD"].initial == pytest.approx(6_400.0)  # the BTC books net in USD


def test_cash_in_a_coin_is_a_position_after_haircut() -> None:
    coin = Currency(name="BTC", underlying="BTC", cash=0.5, haircut_ppm=100_000)
    dollars = Currency(name="USDC", cash=20_000.0)
    alone = portfolio({"BTC": S}, [coin, dollars], kind="perpetual", lots=0.0)
    assert only(alone, bare()).initial == pytest.approx(7_200)
    assert matrix.collateral_value(alone) == pytest.approx(65_000)
    for lots, expected in ((1.0, 24_200), (-1.0, 9_800)):
        p = portfolio({"BTC": S}, [coin, dollars], kind="perpetual", settlement="USDC", lots=lots)
        assert only(p, bare(minimum_move_ppm=10_000)).initial == pytest.approx(expected)


def test_cash_without_positions_needs_margin_in_dollars() -> None:
    coin = Currency(name="ETH", underlying="ETH", cash=10.0)
    p = portfolio({"BTC": S, "ETH": 4_000.0}, [coin], underlying="BTC", settlement="USDC", kind="perpetual", lots=0.0)
    found = {one.scope: one.initial for one in matrix.margin(p, bare()).requirements}
    assert found == {"BTC": 0.0, "ETH": pytest.approx(6_400)}


def test_same_columns_of_underlyings_add_up_with_gains_offset() -> None:
    p = portfolio({"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "ETH"], settlement="USDC", kind="perpetual",
                  lots=[1.0, -10.0])  # fmt: skip
    whole = bare(aggregation="scenario", pnl_offset_ppm=600_000)
    result = matrix.margin(p, whole)
    # -16 %: BTC loses 16,000, ETH gains 6,400 x 0.6
    assert result.totals["USD"].initial == pytest.approx(16_000 - 3_840)
    capped = matrix.margin(p, bare(aggregation="scenario", pnl_offset_ppm=600_000, pnl_offset_cap_usd=1_000))
    assert capped.totals["USD"].initial == pytest.approx(15_000)
    none = matrix.margin(p, bare(aggregation="scenario"))
    assert none.totals["USD"].initial == pytest.approx(16_000)
    assert matrix.margin(p, bare()).totals["USD"].initial == pytest.approx(22_400)
    assert none.aggregate_pnl.min() == pytest.approx(-16_000)


def test_sets_that_do_not_fit_are_refused() -> None:
    p = futures(1.0, 0)
    with pytest.raises(PortfolioError, match="none for BTC"):
        matrix.margin(p, {"ETH": bare()})
    both = portfolio({"BTC": S, "ETH": 4_000.0}, underlying=["BTC", "ETH"], kind="perpetual", lots=1.0)
    with pytest.raises(PortfolioError, match="different numeraires"):
        matrix.margin(both, {"BTC": bare(), "ETH": bare(numeraire="coin")})
    with pytest.raises(PortfolioError, match="different aggregations"):
        matrix.margin(both, {"BTC": bare(), "ETH": bare(aggregation="scenario")})


def test_the_result_holds_all_that_reproduces_it() -> None:
    s = shipped("matrix_btc")
    p = portfolio({"BTC": S}, kind=["perpetual", "option"], lots=[10_000, -10], lot_size=[10, 0.1], days=[0, 30],
                  strike=[0, 110_000], vol=[0, 0.6])  # fmt: skip
    one = only(p, s)
    risk = one.worst + sum(one.scaled.values())
    assert one.initial == one.initial_factor * risk + sum(charge.initial for charge in one.added.values())
    assert one.maintenance == pytest.approx(0.8 * risk)
    assert one.worst == one.loss[one.worst_scenario] == -one.pnl[one.worst_scenario]
    assert one.parameter_set.name == "matrix_btc" and len(one.parameter_set.sha256) == 64
    plain = msgspec.json.decode(msgspec.json.encode(matrix.margin(p, s).to_dict()))
    assert plain["requirements"][0]["initial"] == one.initial
    assert plain["requirements"][0]["pnl"] == one.pnl.tolist()
    # the example of docs/margin.md, whose engine figures add 10,010 units of 1e-10
    assert one.initial == pytest.approx(0.1934107610 - 10_010e-10, abs=0.5 * 10_010e-10)


# ------------------------------------------------------------------------------------------------ properties

POSITIONS = st.lists(
    st.tuples(
        st.sampled_from(["perpetual", "future", "option"]),
        st.sampled_from(["BTC", "USDC"]),
        st.booleans(),
        st.sampled_from([70_000.0, 95_000.0, 100_000.0, 140_000.0]),
        st.sampled_from([0.5, 7.0, 45.0, 300.0]),
        st.floats(-50, 50).filter(lambda x: abs(x) > 1e-3),
    ),
    min_size=1,
    max_size=6,
)
CHARGED = bare(
    annualised_move_risk_ppm=75_000, minimum_move_ppm=10_000, extended_moves_ppm=(-660_000, 1_000_000, 5_000_000),
    short_option_initial_ppm=5_000, short_option_maintenance_ppm=3_000, future_initial_ppm=2_000, skew=Skew(),
)  # fmt: skip


def book(rows: list[tuple[str, str, bool, float, float, float]]) -> Portfolio:
    kind, settlement, is_call, strike, days, lots = (list(column) for column in zip(*rows, strict=True))
    for i, one in enumerate(kind):
        days[i] = 0.0 if one == "perpetual" else days[i]
        lots[i] *= 100_000.0 if one != "option" and settlement[i] == "BTC" else 1.0
    return portfolio({"BTC": S}, kind=kind, settlement=settlement, is_call=is_call, strike=strike, days=days, lots=lots,
                     vol=0.7)  # fmt: skip


@given(POSITIONS, POSITIONS)
def test_two_books_together_need_no_more_than_apart(one: Any, other: Any) -> None:
    apart = [matrix.margin(book(rows), CHARGED).totals["USD"].initial for rows in (one, other)]
    together = matrix.margin(book(one + other), CHARGED).totals["USD"].initial
    assert together <= sum(apart) * (1 + 1e-9) + 1e-6


@given(POSITIONS, st.floats(0.01, 100))
def test_a_book_scales(rows: Any, factor: float) -> None:
    scaled = [(*row[:5], row[5] * factor) for row in rows]
    small, large = (matrix.margin(book(b), CHARGED).totals["USD"].initial for b in (rows, scaled))
    assert large == pytest.approx(small * factor, rel=1e-9, abs=1e-6)


@given(POSITIONS, st.randoms(use_true_random=False))
def test_the_order_and_the_split_of_rows_do_not_matter(rows: Any, random: Any) -> None:
    split = [(*row[:5], row[5] * part) for row in rows for part in (0.25, 0.75)]
    random.shuffle(split)
    for s in (CHARGED, bare(numeraire="coin", extended_moves_ppm=(5_000_000,), extended_dampener_usd=1_000)):
        before, after = (matrix.margin(book(b), s).totals for b in (rows, split))
        for unit, total in before.items():
            assert after[unit].initial == pytest.approx(total.initial, rel=1e-9, abs=1e-6)
