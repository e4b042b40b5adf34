"""Portfolios: defaults, refusals by field and row, values, settlement averages, Greeks."""

import math
from typing import Any

import numpy as np
import pytest

import margin_ext
from margin_ext.models import (
    Currency,
    Portfolio,
    PortfolioError,
    Underlying,
    by_underlying,
    deltas,
    equities,
    greeks,
    marks,
    portfolio,
    position_values,
    surface,
    valuation,
)

INDEX = 100_000.0


def option(**changes: Any) -> Portfolio:
    base = {"kind": "option", "lots": 10.0, "lot_size": 0.1, "strike": 110_000.0, "days": 30.0, "vol": 0.6}
    return portfolio({"BTC": INDEX}, **(base | changes))


def test_scalars_broadcast_and_defaults_fill_in() -> None:
    p = portfolio({"BTC": INDEX}, kind=["perpetual", "future"], lots=[5, -3], lot_size=10, days=[0, 90])
    assert len(p) == 2
    assert p.size.tolist() == [50.0, -30.0]
    assert p.forward.tolist() == [INDEX, INDEX]
    assert p.inverse.all()
    assert [c.name for c in p.currencies] == ["BTC"] and p.currencies[0].underlying == "BTC"


def test_a_settlement_that_is_no_coin_is_a_dollar_currency() -> None:
    p = portfolio(
        {"BTC": INDEX, "ETH": 4_000.0}, underlying=["BTC", "ETH"], settlement="USDC", kind="perpetual", lots=1
    )
    assert not p.inverse.any()
    assert p.index.tolist() == [INDEX, 4_000.0]
    assert p.currencies == (Currency(name="USDC"),)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"lots": [1, 2], "strike": [1, 2, 3]}, "columns of different lengths"),
        ({"size": 1}, "size: no such column"),
        ({"kind": "swap"}, r"kind\[0\]: swap is none of perpetual, future, option"),
        ({"kind": 3}, "kind: must be 0 to 2"),
        ({"underlying": "ETH"}, r"underlying\[0\]: ETH is none of BTC"),
        ({"lots": [1, math.nan]}, r"lots\[1\]: must be finite"),
        ({"lot_size": 0}, r"lot_size\[0\]: must be finite and positive"),
        ({"strike": -1}, r"strike\[0\]: must be finite and positive"),
        ({"vol": [0.5, -0.1]}, r"vol\[1\]: must be finite and not negative"),
        ({"days": math.inf}, r"days\[0\]: must be finite"),
        ({"kind": "perpetual", "days": 1}, r"days\[0\]: must be 0 for a perpetual"),
        ({"forward": 0}, r"forward\[0\]: must be finite and positive"),
        ({"mark": -1}, r"mark\[0\]: must be finite and not negative"),
        ({"entry": 0}, r"entry\[0\]: must be finite and positive"),
        ({"average_fraction": 1.5}, r"average_fraction\[0\]: must be 0 to 1"),
        ({"average_fraction": 0.5}, r"average_price\[0\]: must be positive"),
        ({"vol": "high"}, "vol: must be numbers"),
    ],
)
def test_what_is_wrong_is_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(PortfolioError, match=message):
        option(**columns)


def test_markets_that_do_not_fit_are_refused() -> None:
    both = [Underlying(name="BTC", index_usd=INDEX), Underlying(name="ETH", index_usd=4_000.0)]
    with pytest.raises(PortfolioError, match=r"settlement\[0\]: another coin"):
        portfolio(both, underlying="ETH", settlement="BTC", kind="perpetual", lots=1)
    with pytest.raises(PortfolioError, match="underlying: missing"):
        portfolio(both, kind="perpetual", lots=1)
    with pytest.raises(PortfolioError, match="index_usd of BTC"):
        portfolio({"BTC": 0.0}, kind="perpetual", lots=1)
    with pytest.raises(PortfolioError, match="STETH is of no known underlying"):
        portfolio(both[:1], [Currency(name="STETH", underlying="ETH")], kind="perpetual", lots=1)
    for currency in (Currency(name="USDC", haircut_ppm=1_000_001), Currency(name="USDC", debt_ppm=999_999)):
        with pytest.raises(PortfolioError, match="haircut_ppm of USDC"):
            portfolio(both[:1], [currency], kind="perpetual", lots=1)
    with pytest.raises(PortfolioError, match="cash and price_usd of USDC"):
        portfolio(both[:1], [Currency(name="USDC", cash=math.nan)], kind="perpetual", lots=1)
    for market in ({"rate": math.inf}, {"depth_coins": -1.0}, {"owner_delta_coins": math.nan}):
        with pytest.raises(PortfolioError, match=f"underlyings: {next(iter(market))} of BTC"):
            portfolio([Underlying(name="BTC", index_usd=INDEX, **market)], kind="perpetual", lots=1)
    with pytest.raises(PortfolioError, match="lots: missing"):
        portfolio(both[:1], kind="perpetual")


def test_values_and_marks() -> None:
    p = portfolio(
        {"BTC": INDEX}, [Currency(name="BTC", underlying="BTC", cash=2.0), Currency(name="USDC", cash=500.0)],
        kind=["perpetual", "perpetual", "option", "option", "option"],
        settlement=["BTC", "USDC", "BTC", "USDC", "BTC"], lots=[30_000, 2, -1, 4, 5],
        strike=[0, 0, 110_000, 90_000, 90_000], is_call=[True, True, True, False, False], days=[0, 0, 30, 30, 30],
        vol=[0, 0, 0.6, 0.6, 0.6], entry=[80_000, 99_000, np.nan, np.nan, np.nan], mark=[np.nan] * 4 + [0.03],
    )  # fmt: skip
    call = margin_ext.price(INDEX, 110_000.0, 0.6, 30 / 365)
    put = margin_ext.price(INDEX, 90_000.0, 0.6, 30 / 365, False)
    assert marks(p) == pytest.approx([INDEX, INDEX, call / INDEX, put, 0.03], rel=1e-15)
    values = [30_000 / 80_000 - 30_000 / INDEX, 2_000.0, -call / INDEX, 4 * put, 0.15]
    assert position_values(p) == pytest.approx(values, rel=1e-12)
    assert equities(p) == pytest.approx([2.0 + values[0] + values[2] + values[4], 500.0 + values[1] + values[3]])


def test_an_empty_portfolio_is_one() -> None:
    p = option().take(np.array([], dtype=int))
    assert len(p) == 0
    assert equities(p).tolist() == [0.0]
    assert by_underlying(p) == {}


# ------------------------------------------------------------------------------------------- settlement averages


def test_variance_of_an_average_against_simulation() -> None:
    """The price of an option on a settlement average half of which is known, against drawn paths of the open half."""
    rng = np.random.default_rng(7)
    steps, paths, vol, hours = 225, 20_000, 3.0, 0.25
    p = option(
        strike=100_100.0, days=hours / 24, vol=vol, lots=1, lot_size=1, settlement="USDC", average_fraction=0.5,
        average_price=100_200.0,
    )  # fmt: skip
    dt = hours / 24 / 365 / steps
    draws = rng.standard_normal((paths // 2, steps))
    draws = np.concatenate([draws, -draws])
    walk = np.cumsum(vol * math.sqrt(dt) * draws - vol * vol * dt / 2, axis=1)
    payoff = np.maximum(0.5 * 100_200.0 + 0.5 * INDEX * np.exp(walk).mean(axis=1) - 100_100.0, 0.0)
    error = payoff.std() / math.sqrt(paths)
    assert marks_in_window(p) == pytest.approx(payoff.mean(), abs=4 * error)
    assert abs(float(marks(p)[0]) - payoff.mean()) > 20 * error  # without the averaging variance it is far off


def marks_in_window(p: Portfolio) -> float:
    return float(marks(p, 1_800.0)[0])


def test_averaging_years_meet_where_the_window_begins() -> None:
    window = 1_800.0
    days = np.array([30.0, 1_800.0 / 86_400, 0.0])
    years = valuation.averaging_years(option(days=days), window)
    in_years = window / (86_400 * 365)
    assert years == pytest.approx([30 / 365 - in_years * 2 / 3, in_years / 3, 0.0], rel=1e-12)
    just_inside = valuation.averaging_years(option(days=days[1] * (1 - 1e-9)), window)
    assert just_inside == pytest.approx(years[1], rel=1e-8)


@pytest.mark.parametrize("settlement", ["BTC", "USDC"])
def test_delta_decays_with_what_is_fixed(settlement: str) -> None:
    fraction = np.array([0.0, 0.25, 0.5, 1.0])
    p = portfolio(
        {"BTC": INDEX}, kind="future", settlement=settlement, lots=1, lot_size=INDEX if settlement == "BTC" else 1,
        days=0.01, average_fraction=fraction, average_price=INDEX,
    )  # fmt: skip
    assert deltas(p) == pytest.approx(1.0 - fraction, abs=1e-12)
    assert greeks(p).delta == pytest.approx(1.0 - fraction, abs=1e-12)


def test_a_fixed_average_no_longer_moves() -> None:
    p = option(settlement="USDC", average_fraction=1.0, average_price=112_500.0, lots=1, lot_size=1, days=0.001)
    assert marks(p)[0] == pytest.approx(2_500.0, rel=1e-12)
    assert np.abs(surface(p, [-0.3, 0.0, 0.3], [0.5, 2.0])).max() == 0.0
    assert deltas(p)[0] == 0.0


# --------------------------------------------------------------------------------------------------------- Greeks


def test_greeks_are_the_slopes_of_the_value() -> None:
    """Central differences of values in dollars, linear and partly averaged options alike."""
    fraction, average = np.array([0.0, 0.0, 0.4]), np.array([0.0, 0.0, 101_000.0])
    shape = {
        "settlement": "USDC", "strike": np.array([95_000.0, 120_000.0, 100_500.0]), "is_call": [True, False, True],
        "days": np.array([20.0, 200.0, 3.0]), "lots": [3.0, -2.0, 5.0], "lot_size": 1.0,
        "average_fraction": fraction, "average_price": average,
    }  # fmt: skip

    def value(forward: float = INDEX, vol: float = 0.6) -> Any:
        return position_values(option(**shape, forward=forward, vol=vol))

    found = greeks(option(**shape))
    step = 5.0
    up, same, down = value(INDEX + step), value(), value(INDEX - step)
    assert found.delta == pytest.approx((up - down) / (2 * step), rel=1e-6)
    assert found.gamma[:2] == pytest.approx(((up - 2 * same + down) / step**2)[:2], rel=1e-3)
    assert found.vega == pytest.approx((value(vol=0.601) - value(vol=0.599)) / 0.002, rel=1e-5)


def test_sums_by_underlying_and_tenor() -> None:
    p = portfolio(
        {"BTC": INDEX, "ETH": 4_000.0}, underlying=["BTC"] * 4 + ["ETH"], kind=["option"] * 3 + ["future"] * 2,
        strike=[100_000, 100_000, 90_000, 0, 0], is_call=[True, False, True, True, True], vol=0.6,
        days=[7, 8, 400, 90, 90], lots=[1, -2, 3, 250_000, -8_000], lot_size=1,
    )  # fmt: skip
    each, sums = greeks(p), by_underlying(p, (7, 30, 365))
    assert sums["BTC"].vega_by_tenor == pytest.approx([each.vega[0], each.vega[1], 0.0, each.vega[2]])
    assert sums["BTC"].vega == pytest.approx(sum(sums["BTC"].vega_by_tenor))
    assert sums["ETH"].delta_coins == -2.0
    assert sums["ETH"].rho == pytest.approx(-2.0 * 4_000 * 90 / 365)
    assert sums["BTC"].delta_coins == pytest.approx(float(each.delta[:4].sum()))


def test_the_surface_is_the_sum_of_its_positions() -> None:
    p = portfolio(
        {"BTC": INDEX, "ETH": 4_000.0}, underlying=["BTC", "BTC", "ETH"], settlement=["BTC", "USDC", "ETH"],
        kind=["perpetual", "option", "perpetual"], lots=[50_000, -2, 8_000], strike=[0, 105_000, 0], days=[0, 10, 0],
        vol=[0, 0.5, 0], lot_size=1,
    )  # fmt: skip
    moves, vols = [-0.5, 0.0, 1.0], [0.5, 1.0]
    whole = surface(p, moves, vols)
    assert whole[1, 1] == 0.0
    assert whole == pytest.approx(surface(p, moves, vols, 0) + surface(p, moves, vols, 1))
    # an inverse future worth Q dollars gains Q m of them
    assert surface(p, moves, vols, 1)[:, 0] == pytest.approx([-4_000.0, 0.0, 8_000.0])
    call = margin_ext.price(INDEX / 2, 105_000.0, 0.25, 10 / 365) - margin_ext.price(INDEX, 105_000.0, 0.5, 10 / 365)
    assert surface(p, moves, vols, 0)[0, 0] == pytest.approx(-25_000.0 - 2 * call)
