"""Advanced option orders and the limits before a trade over real sockets."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, PERPETUAL, PUT, Account, Venue

ORDERS = f"user.orders.{CALL}.raw"


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


def refused(client: Client, method: str, **params: Any) -> int:
    """The code of a call that must fail."""
    answer = client.call(method, **params)
    assert "error" in answer, answer
    return answer["error"]["code"]


def buy(client: Client, **params: Any) -> dict[str, Any]:
    return client.result("private/buy", **{"instrument_name": CALL, "amount": 1, **params})["order"]


def test_an_order_by_vol_follows_the_marks(venue: Venue, alice: Client) -> None:
    ticker = alice.result("public/ticker", instrument_name=CALL)
    order = buy(alice, advanced="implv", price=ticker["mark_iv"] - 5, label="vol")
    assert (order["advanced"], order["implv"]) == ("implv", ticker["mark_iv"] - 5)
    assert "usd" not in order
    assert 0 < order["price"] < ticker["mark_price"]
    alice.result("private/subscribe", channels=[ORDERS])
    venue.publish(INDEX * 1.02)
    moved = alice.wait_for(ORDERS)
    assert moved["order_id"] == order["order_id"]
    assert moved["price"] > order["price"]
    assert (moved["implv"], moved["replaced"], moved["order_state"]) == (order["implv"], False, "open")
    edited = alice.result("private/edit", order_id=order["order_id"], advanced="implv", price=30.25, amount=2)["order"]
    assert (edited["implv"], edited["amount"], edited["replaced"]) == (30.25, 2, True)
    assert edited["price"] < moved["price"]
    kept = alice.result("private/edit", order_id=order["order_id"], advanced="implv", amount=1)["order"]
    assert (kept["implv"], kept["price"]) == (30.25, edited["price"])
    state = alice.result("private/get_order_state", order_id=order["order_id"])
    assert (state["advanced"], state["implv"]) == ("implv", 30.25)


def test_an_order_in_dollars_trades_like_any_other(alice: Client, bob: Client) -> None:
    dollars = 50 * (alice.result("public/ticker", instrument_name=CALL)["mark_price"] * INDEX // 50)
    order = buy(alice, advanced="usd", price=dollars + 49.99)
    assert (order["advanced"], order["usd"], order["price"]) == ("usd", dollars + 49.99, dollars / INDEX)
    sold = bob.result("private/sell", instrument_name=CALL, amount=1, price=order["price"])
    assert sold["order"]["order_state"] == "filled"
    (trade,) = alice.result("private/get_user_trades_by_order", order_id=order["order_id"])
    assert (trade["advanced"], trade["price"]) == ("usd", order["price"])
    assert "advanced" not in sold["trades"][0]


@pytest.mark.parametrize(
    ("code", "params"),
    [
        (11038, {"instrument_name": PERPETUAL, "amount": 10, "advanced": "usd", "price": 5_000}),
        (11039, {"advanced": "implv", "price": 50, "post_only": True}),
        (11047, {"advanced": "implv", "type": "market"}),
        (11047, {"advanced": "implv", "price": 50, "time_in_force": "fill_or_kill"}),
        (-32602, {"advanced": "vol", "price": 50}),
        (-32602, {"advanced": "implv"}),
        (-32602, {"advanced": "implv", "price": -3}),
        (-32602, {"advanced": "implv", "price": 1e300}),
        (10043, {"advanced": "implv", "price": 50.1234567}),
        (11047, {"advanced": "implv", "price": 2_000.000001}),
    ],
)
def test_what_cannot_be_is_refused_by_its_code(alice: Client, code: int, params: dict[str, Any]) -> None:
    assert refused(alice, "private/buy", **{"instrument_name": CALL, "amount": 1, **params}) == code
    assert alice.result("private/get_open_orders") == []


def test_edits_must_repeat_how_the_order_is_priced(alice: Client) -> None:
    advanced, common = buy(alice, advanced="implv", price=40), buy(alice, price=0.01)
    same = {"order_id": advanced["order_id"]}
    assert refused(alice, "private/edit", **same, amount=2) == -32602
    assert refused(alice, "private/edit", **same, amount=2, price=0.0123456) == -32602
    assert refused(alice, "private/edit", **same, amount=2, advanced="usd", price=4_000) == 11041
    assert refused(alice, "private/edit", **same, advanced="implv", post_only=True) == 11039
    assert refused(alice, "private/edit", order_id=common["order_id"], advanced="implv", price=40) == 11041
    found = {order["order_id"]: order.get("implv") for order in alice.result("private/get_open_orders")}
    assert found == {advanced["order_id"]: 40, common["order_id"]: None}


def test_the_ticker_shows_the_bands_that_orders_meet(alice: Client) -> None:
    for name in (CALL, PUT, PERPETUAL):
        ticker = alice.result("public/ticker", instrument_name=name)
        amount = 10 if name == PERPETUAL else 1
        step = 0.5 if name == PERPETUAL else 0.0005
        params = {"instrument_name": name, "amount": amount}
        assert refused(alice, "private/buy", **params, price=round(ticker["max_price"] + step, 4)) == 10007
        alice.result("private/buy", **params, price=ticker["max_price"], type="limit")
        alice.result("private/cancel_all")
