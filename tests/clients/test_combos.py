"""Combos over the wire: created once whoever asks, traded at negative prices, seen in books, trades and histories."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from gateway.archive_prices import day_bars
from gateway.history import DayStats
from tests.clients.test_ccxt import client as ccxt_client
from tests.clients.test_history import forget, settle
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, FUTURE, INDEX, PERPETUAL, PUT, Account, Venue

SPREAD, STRADDLE = "BTC-FS-27DEC30_PERP", "BTC-STRD-27DEC30-100000"
LEGS = [
    {"instrument_name": FUTURE, "direction": "buy", "amount": 10},
    {"instrument_name": PERPETUAL, "direction": "sell", "amount": 10},
]
BOTH = [
    {"instrument_name": CALL, "direction": "buy", "amount": 1},
    {"instrument_name": PUT, "direction": "buy", "amount": 1},
]


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    venue.publish(INDEX)


def logged_in(venue: Venue, account: Account) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        yield client
        client.result("private/cancel_all")


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


def error(client: Client, method: str, **params: Any) -> dict[str, Any]:
    return client.call(method, **params)["error"]


def create(client: Client, legs: list[dict[str, Any]]) -> dict[str, Any]:
    return client.result("private/create_combo", trades=legs)


def test_the_same_legs_are_the_same_combo(alice: Client, bob: Client) -> None:
    made = create(alice, LEGS)
    assert made["id"] == SPREAD
    assert made["legs"] == [
        {"instrument_name": FUTURE, "amount": 1},
        {"instrument_name": PERPETUAL, "amount": -1},
    ]
    assert (made["state"], made["direction"]) == ("active", "buy")
    turned = [{**leg, "direction": "sell" if leg["direction"] == "buy" else "buy"} for leg in reversed(LEGS)]
    again = create(bob, turned)
    assert again == made | {"direction": "sell"}
    assert made["id"] in alice.result("public/get_combo_ids", currency="BTC")
    assert [one["id"] for one in alice.result("public/get_combos", currency="BTC")].count(SPREAD) == 1
    assert alice.result("public/get_combo_details", combo_id=SPREAD)["legs"] == made["legs"]
    assert alice.result("public/get_combos", currency="ETH") == []


def test_listings_show_combos_unless_another_kind_is_asked_for(alice: Client) -> None:
    create(alice, LEGS)
    create(alice, BOTH)

    def names(**params: Any) -> set[str]:
        return {one["instrument_name"] for one in alice.result("public/get_instruments", currency="BTC", **params)}

    assert names() == names(kind="any")
    assert not (names(kind="future") | names(kind="option")) & {SPREAD, STRADDLE}
    assert names(kind="any") >= {SPREAD, STRADDLE, PERPETUAL}
    assert STRADDLE in names(kind="option_combo")
    assert SPREAD not in names(kind="option_combo")
    assert names(kind="combo") >= {SPREAD, STRADDLE}
    assert PERPETUAL not in names(kind="combo")
    shown = alice.result("public/get_instrument", instrument_name=SPREAD)
    assert (shown["kind"], shown["quote_currency"]) == ("future_combo", "USD")
    shown = alice.result("public/get_instrument", instrument_name=STRADDLE)
    assert (shown["kind"], shown["quote_currency"], shown["tick_size"]) == ("option_combo", "BTC", 0.0001)


@pytest.mark.parametrize(
    "legs",
    [
        LEGS[:1],
        [LEGS[0], LEGS[0]],
        [LEGS[0], BOTH[0]],
        [{**BOTH[0], "amount": 2}, {**BOTH[1], "amount": 3}],
        [{**BOTH[0], "amount": 1}, {**BOTH[1], "amount": 12}],
        [{**BOTH[0], "direction": "up"}, BOTH[1]],
    ],
    ids=["one", "twice", "mixed", "no one", "ratio", "direction"],
)
def test_legs_that_make_no_combo(alice: Client, legs: list[dict[str, Any]]) -> None:
    assert error(alice, "private/create_combo", trades=legs)["code"] == -32602


def test_a_combo_trades_below_zero(venue: Venue, alice: Client, bob: Client) -> None:
    create(alice, LEGS)
    public = [f"trades.{SPREAD}.raw", f"book.{SPREAD}.raw", f"trades.{FUTURE}.raw"]
    assert bob.result("private/subscribe", channels=[f"user.combo_trades.{SPREAD}.raw"])
    assert bob.result("public/subscribe", channels=public) == public
    resting = bob.result("private/buy", instrument_name=SPREAD, amount=100, price=-20, type="limit")["order"]
    assert (resting["price"], resting["instrument_name"]) == (-20.0, SPREAD)
    assert alice.result("public/get_order_book", instrument_name=SPREAD)["bids"] == [[-20.0, 100.0]]
    answer = alice.result("private/sell", instrument_name=SPREAD, amount=40, price=-30, type="limit")
    (trade,) = answer["trades"]
    assert (trade["price"], trade["amount"], trade["fee"]) == (-20.0, 40.0, 0.0)
    assert answer["order"]["average_price"] == -20.0
    assert [(leg["instrument_name"], leg["direction"], leg["amount"]) for leg in trade["legs"]] == [
        (FUTURE, "sell", 40.0),
        (PERPETUAL, "buy", 40.0),
    ]
    prices = [leg["price"] for leg in trade["legs"]]
    assert prices[0] - prices[1] == -20.0
    assert {leg["combo_id"] for leg in trade["legs"]} == {SPREAD}
    assert {leg["combo_trade_id"] for leg in trade["legs"]} == {trade["trade_id"]}
    assert sum(leg["fee"] > 0 for leg in trade["legs"]) == 1
    assert len(bob.wait_for(f"user.combo_trades.{SPREAD}.raw")[0]["legs"]) == 2
    assert bob.wait_for(f"trades.{SPREAD}.raw")[0]["price"] == -20.0
    (leg,) = bob.wait_for(f"trades.{FUTURE}.raw")
    assert (leg["combo_id"], leg["price"]) == (SPREAD, prices[0])
    positions = {one["instrument_name"]: one["size"] for one in alice.result("private/get_positions", currency="BTC")}
    assert (positions[FUTURE], positions[PERPETUAL]) == (-40.0, 40.0)
    assert SPREAD not in positions
    ticker = alice.result("public/ticker", instrument_name=SPREAD)
    assert (ticker["last_price"], ticker["best_bid_price"], ticker["mark_price"]) == (-20.0, -20.0, 0.0)


def test_histories_keep_combos_and_legs_together(venue: Venue, alice: Client, bob: Client) -> None:
    create(alice, BOTH)
    price = round(alice.result("public/ticker", instrument_name=STRADDLE)["mark_price"], 4)
    bob.result("private/sell", instrument_name=STRADDLE, amount=2, price=price, type="limit")
    answer = alice.result("private/buy", instrument_name=STRADDLE, amount=2, price=price, type="limit", label="both")
    combo_trade = answer["trades"][0]
    for _ in range(2):
        shown = alice.result("private/get_user_trades_by_instrument", instrument_name=STRADDLE, count=1)["trades"][0]
        assert shown["trade_id"] == combo_trade["trade_id"]
        assert [leg["trade_id"] for leg in shown["legs"]] == [leg["trade_id"] for leg in combo_trade["legs"]]
        leg = alice.result("private/get_user_trades_by_instrument", instrument_name=PUT, count=1)["trades"][0]
        assert (leg["combo_id"], leg["combo_trade_id"]) == (STRADDLE, combo_trade["trade_id"])
        public = alice.result("public/get_last_trades_by_instrument", instrument_name=CALL, count=1)["trades"][0]
        assert public["combo_id"] == STRADDLE
        order_id = answer["order"]["order_id"]
        found = alice.result("private/get_user_trades_by_order", order_id=order_id)
        assert len(found) == 3
        closed = alice.result("private/get_order_history_by_currency", currency="BTC", kind="option_combo", count=1)
        assert closed[0]["order_id"] == order_id
        assert closed[0]["average_price"] == pytest.approx(price)
        # what memory has answers first; then the store alone does
        settle(venue)
        forget(venue)


def candles(client: Client, name: str) -> dict[str, Any]:
    chart = {"resolution": "1", "start_timestamp": int(time.time() * 1000) - 3_600_000, "end_timestamp": 1 << 42}
    return client.result("public/get_tradingview_chart_data", instrument_name=name, **chart)


def test_legs_count_as_volume_and_set_no_price(venue: Venue, alice: Client, bob: Client) -> None:
    """From memory, on the channel and from the store; a chart begins with the first trade in the book."""
    create(alice, BOTH)
    channel = f"chart.trades.{PUT}.1D"
    price = round(alice.result("public/ticker", instrument_name=STRADDLE)["mark_price"], 4)

    def trade(name: str, price: float) -> None:
        bob.result("private/sell", instrument_name=name, amount=1, price=price, type="limit")
        alice.result("private/buy", instrument_name=name, amount=1, price=price, type="limit")

    trade(STRADDLE, price)
    stats = alice.result("public/ticker", instrument_name=PUT)["stats"]
    assert stats["volume"] >= 1.0 and (stats["high"], stats["low"], stats["price_change"]) == (None, None, None)
    assert candles(alice, PUT)["status"] == "no_data"
    assert alice.result("public/subscribe", channels=[channel]) == [channel]
    own = round(alice.result("public/ticker", instrument_name=PUT)["mark_price"] * 1.02, 3)
    trade(PUT, own)
    first = alice.wait_for(channel)
    trade(STRADDLE, price)
    second = alice.wait_for(channel)
    assert [second[name] for name in ("open", "high", "low", "close")] == [own] * 4
    assert second["volume"] == first["volume"] + 1.0
    after = alice.result("public/ticker", instrument_name=PUT)["stats"]
    assert (after["high"], after["low"], after["volume"]) == (own, own, stats["volume"] + 2.0)
    for _ in range(2):
        chart = candles(alice, PUT)
        assert {*chart["open"], *chart["high"], *chart["low"], *chart["close"]} == {own}
        assert 2.0 <= sum(chart["volume"]) <= after["volume"]
        settle(venue)
        forget(venue)
    name, engine = PUT, venue.core.engine
    listing = venue.gateway.listing(name)
    bars = venue.run(lambda: day_bars(venue.gateway.archive.reader, listing, engine.time_ns, INDEX))
    again = DayStats(bars).read(venue.run(lambda: engine.time_ns), listing)
    assert again == {**after, "volume_usd": again["volume_usd"], "volume_notional": again["volume_usd"]}
    assert again["volume_usd"] == pytest.approx(after["volume_usd"], rel=0.02)  # at today's index


def test_ccxt_trades_a_combo(venue: Venue, alice: Client) -> None:
    """ccxt as it is: it finds combos among the markets and knows them by their own name."""
    create(alice, LEGS)
    exchange = ccxt_client(venue, venue.bob)
    market = exchange.load_markets()[SPREAD]
    assert (market["id"], market["future"], market["precision"]["price"]) == (SPREAD, True, 0.5)
    made = exchange.create_order(SPREAD, "limit", "buy", 50, -60.5)
    assert (made["status"], made["price"], made["amount"]) == ("open", -60.5, 50.0)
    assert exchange.fetch_order_book(SPREAD)["bids"][-1][0] == -60.5
    assert made["id"] in [order["id"] for order in exchange.fetch_open_orders(SPREAD)]
    assert exchange.edit_order(made["id"], SPREAD, "limit", "buy", 40, -60.5)["amount"] == 40.0
    assert exchange.cancel_order(made["id"], SPREAD)["status"] == "canceled"
    alice.result("private/sell", instrument_name=SPREAD, amount=10, price=-10)
    taken = exchange.create_order(SPREAD, "market", "buy", 10)
    assert (taken["status"], taken["filled"]) == ("closed", 10.0)
    assert exchange.fetch_my_trades(SPREAD, limit=1)[0]["price"] == -10.0


def test_leg_prices(alice: Client) -> None:
    mark = alice.result("public/ticker", instrument_name=FUTURE)["mark_price"]
    found = alice.result("private/get_leg_prices", legs=LEGS, price=12.5)
    assert found["amount"] == 10.0
    assert [(leg["instrument_name"], leg["direction"], leg["ratio"]) for leg in found["legs"]] == [
        (FUTURE, "buy", 1),
        (PERPETUAL, "sell", 1),
    ]
    assert [leg["price"] for leg in found["legs"]] == [pytest.approx(mark + 12.5), pytest.approx(mark)]
    assert error(alice, "private/get_leg_prices", legs=LEGS, price=0.3)["code"] == 10043


def test_orders_that_combos_do_not_have(alice: Client) -> None:
    create(alice, LEGS)
    base = {"instrument_name": SPREAD, "amount": 10, "price": 0, "type": "limit"}
    assert error(alice, "private/buy", **base, reduce_only=True)["data"]["reason"] == "bad_terms"
    assert error(alice, "private/buy", **base | {"price": 1e6})["code"] == 10007
    assert error(alice, "private/sell", **base | {"price": -1e6})["code"] == 10005
    assert error(alice, "private/buy", **base | {"price": 0.1})["code"] == 10043


def test_cancelling_by_kind_and_with_the_legs(alice: Client) -> None:
    create(alice, LEGS)
    for _ in range(2):
        alice.result("private/buy", instrument_name=SPREAD, amount=10, price=-50, type="limit")
    assert alice.result("private/cancel_all_by_currency", currency="BTC", kind="future") == 0
    assert alice.result("private/cancel_all_by_instrument", instrument_name=FUTURE) == 0
    assert alice.result("private/cancel_all_by_instrument", instrument_name=FUTURE, include_combos=True) == 2
    alice.result("private/buy", instrument_name=SPREAD, amount=10, price=-50, type="limit")
    assert alice.result("private/cancel_all_by_currency", currency="BTC", kind="combo") == 1


def test_the_volume_of_a_spread_is_coins(venue: Venue, alice: Client, bob: Client) -> None:
    """Its price is a difference, so the coins behind its dollars are those at the index; in memory and in the store."""
    create(alice, LEGS)
    before = alice.result("public/ticker", instrument_name=SPREAD)["stats"]
    for side, client in (("sell", bob), ("buy", alice)):
        client.result(f"private/{side}", instrument_name=SPREAD, amount=5_000, price=-1.5, type="limit")
    after = alice.result("public/ticker", instrument_name=SPREAD)["stats"]
    assert after["volume"] - before["volume"] == pytest.approx(5_000 / INDEX)
    assert after["volume_usd"] - before["volume_usd"] == 5_000
    for _ in range(2):
        chart = candles(alice, SPREAD)
        assert sum(chart["volume"]) == pytest.approx(after["volume"])
        assert sum(chart["cost"]) == pytest.approx(after["volume_usd"])
        settle(venue)
        forget(venue)
    listing, engine = venue.gateway.listing(SPREAD), venue.core.engine
    bars = venue.run(lambda: day_bars(venue.gateway.archive.reader, listing, engine.time_ns, INDEX))
    assert DayStats(bars).read(venue.run(lambda: engine.time_ns), listing) == after
