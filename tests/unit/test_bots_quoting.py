"""What the house maker wants in the book: ticks, bounds, widths, skews, and the orders that get it there."""

import math

import numpy as np
import pytest

from loadtest.bots.contracts import E8, Contract, near_the_money, number
from loadtest.bots.quoting import (
    BUY,
    SELL,
    Market,
    Resting,
    Style,
    Turbulence,
    changes,
    future_quotes,
    option_quotes,
    tolerance_e8,
)

DAY_MS = 86_400_000


def contract(kind: str = "perpetual", strike: float = 0.0, expiry_ms: int = DAY_MS, name: str = "") -> Contract:
    option = kind == "option"
    return Contract(
        name=name or kind,
        kind=kind,
        base="BTC",
        settlement="BTC",
        inverse=True,
        index_name="btc_usd",
        tick_e8=10_000 if option else 50_000_000,
        tick_steps_e8=((500_000, 50_000),) if option else (),
        step_e8=E8 // 10 if option else 10 * E8,
        min_amount_e8=E8 // 10 if option else 10 * E8,
        strike=strike,
        expiry_ms=expiry_ms,
    )


def market(mark: float = 100_000.0, index: float = 100_000.0, **fields: float) -> Market:
    return Market(mark=mark, index=index, min_price=mark * 0.8, max_price=mark * 1.2, **fields)


OPTION = {"delta": 0.5, "vega": 100.0, "mark_iv": 50.0}


def test_prices_are_rounded_outwards_onto_the_tick_that_holds_there(rng: np.random.Generator) -> None:
    option = contract("option")
    for price in rng.uniform(0.0001, 0.2, 2_000):
        down, up = option.price_down_e8(price), option.price_up_e8(price)
        assert down <= price * E8 + 1 and up >= price * E8 - 1
        for found in (down, up):
            assert found % (50_000 if found >= 500_000 else 10_000) == 0
        assert up - down <= 50_000
    assert number(contract().price_down_e8(100_000.7)) == 100_000.5
    assert number(contract().price_up_e8(100_000.7)) == 100_001.0
    assert option.price_down_e8(0.00004) == 0
    assert option.price_up_e8(0.00004) == 10_000


def test_amounts_are_whole_steps_and_at_least_the_least() -> None:
    assert contract().amount_e8(25_004.0, 100_000.0) == 25_000 * E8
    assert contract().amount_e8(1.0, 100_000.0) == 10 * E8
    assert contract("option").amount_e8(26_000.0, 100_000.0) == 3 * E8 // 10
    assert contract("option").whole_e8(0.05) == 0
    assert contract("option").whole_e8(0.39) == 3 * E8 // 10


def test_futures_are_quoted_on_both_sides_of_fair_in_order() -> None:
    quotes = future_quotes(contract(), market(), Style(), 0.0, 0.0, 1_000 * E8)
    bids = [quote.price_e8 for quote in quotes if quote.side == BUY]
    asks = [quote.price_e8 for quote in quotes if quote.side == SELL]
    assert len(bids) == len(asks) == Style().levels
    assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
    assert bids[0] < 100_000 * E8 < asks[0]
    assert (asks[0] - bids[0]) / (2 * 100_000 * E8) == pytest.approx(Style().half_spread, rel=0.05)


def test_spreads_widen_with_volatility_up_to_a_limit_and_stay_in_bounds() -> None:
    def half(sigma: float) -> float:
        quotes = future_quotes(contract(), market(), Style(), 0.0, sigma, 1_000 * E8)
        best = {quote.side: quote.price_e8 for quote in quotes if quote.level == 0}
        for quote in quotes:
            assert quote.price_e8 <= 120_000 * E8 if quote.side == BUY else quote.price_e8 >= 80_000 * E8
        return (best[SELL] - best[BUY]) / (2 * 100_000 * E8)

    assert half(0.0) < half(0.001) < half(0.005)
    assert half(0.005) == pytest.approx(0.01, rel=0.01)
    assert half(1.0) == pytest.approx(Style().widest_half_spread, rel=0.01)
    # A bound tighter than the quotes moves them onto it: the maker goes on quoting.
    tight = Market(mark=90_000.0, index=100_000.0, min_price=99_000.0, max_price=91_000.0)
    quotes = future_quotes(contract(), tight, Style(), 0.0, 0.0, 1_000 * E8)
    assert all(quote.price_e8 <= 91_000 * E8 for quote in quotes if quote.side == BUY)
    assert all(quote.price_e8 >= 99_000 * E8 for quote in quotes if quote.side == SELL)
    assert {quote.side for quote in quotes} == {BUY, SELL}


def test_inventory_leans_the_quotes_and_ends_one_side() -> None:
    flat, long, full = (
        future_quotes(contract(), market(), Style(), inventory, 0.0, 1_000 * E8) for inventory in (0.0, 0.5, 1.0)
    )
    assert long[0].price_e8 < flat[0].price_e8
    assert long[0].amount_e8 == flat[0].amount_e8 // 2
    assert {quote.side for quote in full} == {SELL}
    assert {q.side for q in future_quotes(contract(), market(), Style(), -2.0, 0.0, 1_000 * E8)} == {BUY}
    long_option = option_quotes(contract("option"), market(0.05, **OPTION), Style(), 1.0, 0.0, E8)
    assert {quote.side for quote in long_option} == {SELL}


def test_options_are_quoted_around_their_mark_wider_with_vega_and_vol() -> None:
    def half_e8(**fields: float) -> int:
        shown = market(0.05, **(OPTION | fields))
        quotes = option_quotes(contract("option"), shown, Style(), 0.0, 0.0, E8)
        best = {quote.side: quote.price_e8 for quote in quotes if quote.level == 0}
        assert best[BUY] < 5_000_000 < best[SELL]
        return (best[SELL] - best[BUY]) // 2

    assert half_e8() < half_e8(vega=300.0)
    assert half_e8() < half_e8(mark_iv=200.0)
    worthless = option_quotes(contract("option"), market(0.00005, **OPTION), Style(), 0.0, 0.0, E8)
    assert {quote.side for quote in worthless} == {SELL}, "no price below one tick to buy at"


def test_a_closed_market_or_one_without_index_gets_no_quotes() -> None:
    shut = Market(mark=1.0, index=1.0, min_price=0.5, max_price=2.0, open=False)
    assert future_quotes(contract(), shut, Style(), 0.0, 0.0, E8) == []
    assert option_quotes(contract("option"), shut, Style(), 0.0, 0.0, E8) == []
    assert future_quotes(contract(), market(index=0.0), Style(), 0.0, 0.0, E8) == []


def test_turbulence_measures_volatility_and_forgets_it(rng: np.random.Generator) -> None:
    found = Turbulence(half_life_s=20.0)
    price, now_s = 100_000.0, 0.0
    for step in rng.normal(0.0, 0.001 * math.sqrt(0.1), 4_000):
        price, now_s = price * math.exp(step), now_s + 0.1
        found.update(price, now_s)
    assert found.sigma(1.0) == pytest.approx(0.001, rel=0.25)
    assert found.sigma(4.0) == pytest.approx(2 * found.sigma(1.0))
    stormy = found.sigma(1.0)
    for _ in range(100):
        now_s += 1.0
        found.update(price, now_s)
    assert found.sigma(1.0) < 0.3 * stormy


def test_orders_stay_unless_price_or_amount_have_gone_astray() -> None:
    quotes = future_quotes(contract(), market(), Style(levels=2), 0.0, 0.0, 1_000 * E8)
    within = tolerance_e8(quotes)
    assert 0 < within < quotes[1].price_e8 - quotes[0].price_e8
    resting = {(q.side, q.level): Resting(f"{q.side}{q.level}", q.price_e8, q.amount_e8, 0) for q in quotes}
    assert changes(resting, quotes, within) == []
    resting[BUY, 0].asked_e8 -= within
    assert changes(resting, quotes, within) == []
    resting[BUY, 0].asked_e8 -= 1
    assert [change.key for change in changes(resting, quotes, within)] == [(BUY, 0)]
    resting[BUY, 0].asked_e8 += within + 1
    resting[SELL, 1].filled_e8 = resting[SELL, 1].amount_e8 * 6 // 10
    assert [change.key for change in changes(resting, quotes, within)] == [(SELL, 1)]


def test_cancels_come_first_and_then_the_side_that_moves_away() -> None:
    quotes = future_quotes(contract(), market(), Style(levels=2), 0.0, 0.0, 1_000 * E8)
    assert [change.resting for change in changes({}, quotes, 0)] == [None] * 4
    for shift, first in ((-(100 * E8), SELL), (100 * E8, BUY)):
        resting = {(q.side, q.level): Resting(f"{q.side}{q.level}", q.price_e8 + shift, q.amount_e8, 0) for q in quotes}
        resting[BUY, 7] = Resting("stray", E8, E8, 0)
        todo = changes(resting, quotes, 0)
        assert todo[0].quote is None and todo[0].key == (BUY, 7)
        assert [change.key[0] for change in todo[1:3]] == [first, first]
        assert len(todo) == 5


def test_the_options_nearest_the_money_of_the_first_expiries_are_chosen() -> None:
    chain = [
        contract("option", strike=strike, expiry_ms=day * DAY_MS, name=f"{day}-{strike:.0f}-{kind}")
        for day in (1, 2, 3)
        for strike in (80_000.0, 90_000.0, 100_000.0, 110_000.0, 120_000.0)
        for kind in "CP"
    ]
    found = near_the_money([*chain, contract()], 101_000.0, 0, 2, 3)
    assert {one.strike for one in found} == {90_000.0, 100_000.0, 110_000.0}
    assert {one.expiry_ms for one in found} == {DAY_MS, 2 * DAY_MS}
    assert len(found) == 12
    later = near_the_money(chain, 101_000.0, DAY_MS - 60_000, 2, 1)
    assert {one.expiry_ms for one in later} == {2 * DAY_MS, 3 * DAY_MS}, "what is about to expire is passed over"
