"""The formula models on a bare engine.

Figures: Deribit's published standard margin (support pages on margin types, 2022 notice on position-dependent rates).
"""

import pytest

from exchange import config
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import (
    COIN,
    DAY,
    START_NS,
    USDC,
    Driver,
    kinds,
    linear_perpetual,
    make_config,
    only,
    option,
    perpetual,
)

EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
E8 = 10**8


@pytest.fixture
def venue():
    made = Driver(
        [
            perpetual(),
            linear_perpetual(),
            option(90_000, "put", EXPIRY),
            option(110_000, "call", EXPIRY),
            option(100_000, "call", EXPIRY, "USDC"),
            option(105_000, "call", EXPIRY, "USDC"),
        ]
    )
    made.maker = made.account("maker", btc=10_000, usdc=1_000_000_000)
    made.alice = made.account("alice", btc=1_000, usdc=10_000_000, model="segregated_sm")
    made.marks(100_000)
    return made


def mark_units(venue, name):
    market, contract = venue.engine.market(venue.slot(name)), venue.engine.instrument(venue.slot(name))
    return market.mark_price_e8 // contract.price_unit_e8


@pytest.mark.parametrize(("coins", "initial_usd", "maintenance_usd"), [(25, 53_125, 28_125), (350, 1_312_500, 962_500)])
def test_futures_rate_grows_with_size(venue, coins, initial_usd, maintenance_usd) -> None:
    lots = coins * 100_000 // 10
    venue.trade(venue.maker, venue.alice, "BTC-PERPETUAL", "buy", 200_000, lots)
    view = venue.view(venue.alice)
    assert view.initial_margin_minor == pytest.approx(initial_usd / 100_000 * COIN, abs=2)
    assert view.maintenance_margin_minor == pytest.approx(maintenance_usd / 100_000 * COIN, abs=2)
    venue.sound()


def test_short_options_cost_a_share_of_the_coin_and_their_mark(venue) -> None:
    put = f"BTC-{EXPIRY // DAY}-90000-P"
    venue.trade(venue.maker, venue.alice, put, "sell", mark_units(venue, put), 10)
    mark = venue.engine.market(venue.slot(put)).mark_price_e8 / E8
    view = venue.view(venue.alice)
    # a tenth out of the money: max(0.15 - 0.1, 0.1) + mark, and 0.075 + mark
    assert view.initial_margin_minor == pytest.approx((0.10 + mark) * COIN, abs=100)
    assert view.maintenance_margin_minor == pytest.approx((0.075 + mark) * COIN, abs=100)


def test_long_options_cost_their_premium_only(venue) -> None:
    call = f"BTC-{EXPIRY // DAY}-110000-C"
    units = mark_units(venue, call)
    before = venue.view(venue.alice)
    # an open buy reserves its premium and the fee
    venue.place(venue.alice, call, "buy", units, 10)
    fee = 3 * COIN // 10_000
    assert venue.view(venue.alice).initial_margin_minor == units * COIN // 10_000 + fee
    assert kinds(venue.place(venue.maker, call, "sell", units, 10))[:2] == [
        EventKind.ORDER_ACCEPTED,
        EventKind.TRADE_EXECUTED,
    ]
    after = venue.view(venue.alice)
    assert after.initial_margin_minor == after.maintenance_margin_minor == 0
    assert before.available_minor - after.available_minor == units * COIN // 10_000 + fee
    venue.sound()


def test_a_linear_spread_costs_no_more_than_it_can_lose(venue) -> None:
    low, high = (f"USDC-{EXPIRY // DAY}-{strike}-C" for strike in (100_000, 105_000))
    venue.trade(venue.maker, venue.alice, high, "buy", mark_units(venue, high), 10)
    venue.trade(venue.maker, venue.alice, low, "sell", mark_units(venue, low), 10)
    view = venue.view(venue.alice, 1)
    assert view.initial_margin_minor == view.maintenance_margin_minor == 5_000 * USDC
    # selling the bought leg would uncover the other: it costs the full formula
    venue.place(venue.alice, high, "sell", mark_units(venue, high) + 10, 10)
    assert venue.view(venue.alice, 1).initial_margin_minor > 15_000 * USDC
    venue.sound()


def test_orders_are_refused_beyond_the_balance_and_closing_is_always_allowed(venue) -> None:
    poor = venue.account("poor", btc=0.05, model="segregated_sm")
    refused = only(venue.place(poor, "BTC-PERPETUAL", "buy", 200_000, 30_000), EventKind.ORDER_REJECTED)
    assert refused.reason == Reason.NOT_ENOUGH_FUNDS
    venue.trade(venue.maker, poor, "BTC-PERPETUAL", "buy", 200_000, 20_000)
    venue.marks(98_400)
    view = venue.view(poor)
    assert view.available_minor < 0
    assert only(venue.place(poor, "BTC-PERPETUAL", "buy", 190_000, 1), EventKind.ORDER_REJECTED)
    accepted = only(venue.place(poor, "BTC-PERPETUAL", "sell", 196_800, 10_000), EventKind.ORDER_ACCEPTED)
    assert accepted.flags & 32


def test_a_cross_account_counts_all_currencies_in_usd() -> None:
    btc = config.Currency("BTC", 10, underlying="BTC", haircut_ppm=50_000)
    made = Driver([perpetual(), linear_perpetual()], make_config(currencies=(btc, config.Currency("USDC", 6))))
    maker = made.account("maker", btc=1_000, usdc=10_000_000)
    bob = made.account("bob", btc=1, usdc=1_000, model="cross_sm")
    made.marks(100_000)
    made.trade(maker, bob, "BTC_USDC-PERPETUAL", "buy", 1_000_000, 10_000)  # 10 coins
    account = made.engine.account(bob)
    fee = 10 * 100_000 * 0.0005
    assert account.initial_margin_usd_e4 == pytest.approx((0.02 + 10 * 0.00005) * 1_000_000 * 10**4, rel=1e-9)
    assert account.equity_usd_e4 == pytest.approx((95_000 + 1_000 - fee) * 10**4, abs=100)
    made.sound()


def test_switching_to_formulas_is_refused_where_it_would_breach(venue) -> None:
    venue.trade(venue.maker, venue.alice, f"BTC-{EXPIRY // DAY}-110000-C", "sell", 500, 10)
    changed = venue.cold(40, config.ChangeMarginModel("segregated_pm"), venue.alice)
    assert only(changed, EventKind.COMMAND_DONE)
    back = venue.cold(40, config.ChangeMarginModel("segregated_sm"), venue.alice)
    assert only(back, EventKind.COMMAND_DONE)
    venue.sound()
