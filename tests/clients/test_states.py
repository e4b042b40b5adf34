"""An auction and the kill switch as clients and the operator see them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from gateway.admin import AdminClient, AdminServer
from gateway.admin_operations import AdminError
from tests.clients.test_websocket import Client
from tests.clients.venue import INDEX, PERPETUAL, Account, Venue

BOOK, STATES = f"book.{PERPETUAL}.raw", "instrument.state.future.BTC"


@pytest.fixture(scope="module")
def admin_path(venue: Venue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    server = AdminServer(venue.gateway, tmp_path_factory.mktemp("admin") / "admin.sock")
    venue._await(server.start())
    yield server.path
    venue._await(server.stop())


@pytest.fixture
def admin(admin_path: Path) -> Iterator[AdminClient]:
    with AdminClient(admin_path) as client:
        yield client


def logged_in(venue: Venue, account: Account) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(account)
        yield client
        client.result("private/cancel_all")


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    venue.publish(INDEX)
    yield from logged_in(venue, venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


def reason(client: Client, side: str, **params: Any) -> tuple[int, str]:
    error = client.call(f"private/{side}", instrument_name=PERPETUAL, amount=50, **params)["error"]
    return error["code"], error["data"]["reason"]


def rebuilt(client: Client, messages: int) -> tuple[dict[float, float], dict[float, float]]:
    """The book as the next messages of its channel give it."""
    sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
    for _ in range(messages):
        data = client.wait_for(BOOK)
        for side, name in enumerate(("bids", "asks")):
            for action, price, amount in data[name]:
                sides[side][price] = amount
                if action == "delete":
                    del sides[side][price]
    return sides


def test_an_auction_from_its_start_to_its_trades(alice: Client, bob: Client, admin: AdminClient) -> None:
    bob.result("public/subscribe", channels=[STATES, BOOK])
    assert bob.wait_for(BOOK)["type"] == "snapshot"
    until_ns = time.time_ns() + 3_600 * 10**9
    admin.call("set_instrument_state", name=PERPETUAL, state="auction", until_ns=until_ns)
    assert bob.wait_for(STATES)["state"] == "auction"
    assert reason(alice, "buy", type="market") == (11030, "auction_only")
    alice.result("private/buy", instrument_name=PERPETUAL, amount=100, price=100_200)
    bob.result("private/sell", instrument_name=PERPETUAL, amount=40, price=99_800)
    bob.result("private/sell", instrument_name=PERPETUAL, amount=80, price=100_100)
    shown = bob.result("public/ticker", instrument_name=PERPETUAL)
    assert (shown["state"], shown["best_bid_price"], shown["best_ask_price"]) == ("auction", 100_200, 99_800)
    assert (shown["indicative_price"], shown["indicative_amount"]) == (100_100, 100)
    assert shown["auction_until"] == until_ns // 1_000_000
    assert bob.result("public/get_order_book", instrument_name=PERPETUAL)["indicative_price"] == 100_100
    listed = bob.result("public/get_instrument", instrument_name=PERPETUAL)
    assert (listed["state"], listed["is_active"]) == ("auction", True)
    admin.call("set_instrument_state", name=PERPETUAL, state="open")
    assert bob.wait_for(STATES)["state"] == "started"
    shown = bob.result("public/ticker", instrument_name=PERPETUAL)
    assert (shown["state"], shown["last_price"]) == ("open", 100_100)
    assert "indicative_price" not in shown
    own = alice.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL)["trades"]
    assert [(t["price"], t["amount"]) for t in own] == [(100_100, 60), (100_100, 40)]
    # three orders, then one change in which the levels of both sides went
    assert rebuilt(bob, 4) == ({}, {100_100.0: 20.0})


def test_the_kill_switch_in_the_operators_hand(alice: Client, bob: Client, admin: AdminClient, venue: Venue) -> None:
    alice.result("private/subscribe", channels=["user.orders.any.any.raw"])
    placed = alice.result("private/buy", instrument_name=PERPETUAL, amount=50, price=95_000)["order"]
    assert admin.call("kill_switch", scope="account", target="alice") == {"cancelled": 1}
    assert alice.wait_for("user.orders.any.any.raw")["order_state"] == "open"
    ended = alice.wait_for("user.orders.any.any.raw")
    assert (ended["order_id"], ended["cancel_detail"]) == (placed["order_id"], "kill_switch")
    assert admin.call("stopped") == [{"scope": "account", "target": str(venue.alice.account_id)}]
    assert reason(alice, "buy", price=95_000) == (10019, "trading_stopped")
    bob.result("private/buy", instrument_name=PERPETUAL, amount=50, price=95_000)
    assert admin.call("kill_switch", scope="underlying", target="BTC") == {"cancelled": 1}
    assert reason(bob, "buy", price=95_000) == (10019, "trading_stopped")
    admin.call("kill_switch", scope="account", target=str(venue.alice.account_id), on=False)
    assert admin.call("stopped") == [{"scope": "underlying", "target": "BTC"}]
    admin.call("kill_switch", scope="underlying", target="BTC", on=False)
    for scope, target, word in (
        ("account", "nobody", "unknown_account"), ("underlying", "DOGE", "unknown_underlying"),
        ("venue", "x", "bad_payload"), ("everything", "", "bad_request"),
    ):  # fmt: skip
        with pytest.raises(AdminError) as refused:
            admin.call("kill_switch", scope=scope, target=target)
        assert refused.value.reason == word
    assert admin.call("audit")["faults"] == []
