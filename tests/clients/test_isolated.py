"""Isolated positions over the wire: modes, orders, collateral, liquidation, and how accounts see them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_history import settle
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, Venue


@pytest.fixture
def pair(venue: Venue) -> Iterator[tuple[Client, Client]]:
    """A fresh account and a rich one that takes the other side."""
    venue.publish(INDEX)
    number = time.monotonic_ns()
    own, other = venue.account(f"own-{number}"), venue.account(f"other-{number}", btc="10000", usdc="100000000")
    with connect(venue.ws, compression=None) as one, connect(venue.ws, compression=None) as two:
        clients = Client(one).login(own), Client(two).login(other)
        yield clients
        for client in clients:
            client.result("private/cancel_all")


def error(client: Client, method: str, **params: Any) -> tuple[int, str]:
    found = client.call(method, **params)["error"]
    return found["code"], found.get("data", {}).get("reason", "")


def isolate(client: Client, name: str = PERPETUAL, leverage: float = 10) -> dict[str, Any]:
    found: dict[str, Any] = client.result(
        "private/set_margin_mode", instrument_name=name, margin_mode="isolated", leverage=leverage
    )
    return found


def traded(buyer: Client, seller: Client, name: str, amount: float, price: float, maker: Client) -> None:
    """A trade of two, the maker's order first."""
    first, second = ("private/buy", "private/sell") if maker is buyer else ("private/sell", "private/buy")
    taker = seller if maker is buyer else buyer
    maker.result(first, instrument_name=name, amount=amount, price=price)
    done = taker.result(second, instrument_name=name, amount=amount, price=price)
    assert sum(trade["amount"] for trade in done["trades"]) == amount


def until(client: Client, channel: str, wanted: Callable[[Any], Any]) -> Any:
    """The first notification on a channel that is wanted."""
    while not wanted(found := client.wait_for(channel)):
        pass
    return found


def balance(client: Client, currency: str = "BTC") -> dict[str, Any]:
    found: dict[str, Any] = client.result("private/get_account_summary", currency=currency)
    return found


def test_a_position_in_a_bucket_shows_under_its_account(pair: tuple[Client, Client]) -> None:
    own, other = pair
    own.result("private/subscribe", channels=["user.liquidation"])
    made = isolate(own)
    told = until(own, "user.liquidation", lambda data: data["type"] == "margin_mode_changed")
    assert (told["instrument_name"], told["isolated"]) == (PERPETUAL, 1)
    own.result("private/unsubscribe", channels=["user.liquidation"])
    assert (made["margin_mode"], made["leverage"], made["collateral"]) == ("isolated", 10, 0)
    before = balance(own)["balance"]
    order = own.result("private/buy", instrument_name=PERPETUAL, amount=100_000, price=INDEX, label="mine")["order"]
    (listed,) = own.result("private/get_open_orders_by_instrument", instrument_name=PERPETUAL)
    assert listed["order_id"] == order["order_id"] and listed["label"] == "mine"
    assert own.result("private/get_order_state", order_id=order["order_id"])["order_state"] == "open"
    margin = 100_000 / INDEX / 10
    summary = balance(own)
    assert before - summary["balance"] == pytest.approx(summary["isolated_collateral"])
    assert summary["isolated_collateral"] > margin
    assert summary["initial_margin"] == 0 and summary["isolated_initial_margin"] >= margin
    other.result("private/sell", instrument_name=PERPETUAL, amount=100_000, price=INDEX)
    (position,) = own.result("private/get_positions", currency="BTC")
    assert (position["margin_mode"], position["leverage"], position["size"]) == ("isolated", 10, 100_000)
    assert position["user_id"] == own.result("private/get_account_summary", currency="BTC", extended=True)["id"]
    assert position["collateral"] == pytest.approx(margin) and position["initial_margin"] == pytest.approx(margin)
    assert 90_000 < position["bankruptcy_price"] < position["estimated_liquidation_price"] < 92_000
    assert own.result("private/get_position", instrument_name=PERPETUAL)["size"] == 100_000
    (theirs,) = other.result("private/get_positions", currency="BTC")
    assert theirs["margin_mode"] == "cross"
    (trade,) = own.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL)["trades"]
    assert trade["order_id"] == order["order_id"]
    (mapped,) = own.result("private/get_liquidation_map")
    assert (mapped["instrument_name"], mapped["margin_mode"]) == (PERPETUAL, "isolated")
    (mode,) = own.result("private/get_margin_modes")
    assert mode["instrument_name"] == PERPETUAL and mode["available_collateral"] == 0
    closed = own.result("private/close_position", instrument_name=PERPETUAL, type="limit", price=INDEX)
    assert closed["order"]["reduce_only"]
    other.result("private/buy", instrument_name=PERPETUAL, amount=100_000, price=INDEX)
    assert own.result("private/get_positions", currency="BTC") == []
    assert balance(own)["balance"] == pytest.approx(before)


def test_collateral_and_leverage(pair: tuple[Client, Client]) -> None:
    own, other = pair
    isolate(own, LINEAR, 20)
    traded(other, own, LINEAR, 1, INDEX, maker=own)
    (before,) = own.result("private/get_positions", currency="USDC")
    added = own.result("private/add_collateral", instrument_name=LINEAR, amount=1_000)
    assert added["collateral"] == pytest.approx(before["collateral"] + 1_000)
    assert added["available_collateral"] == pytest.approx(1_000)
    assert added["estimated_liquidation_price"] > before["estimated_liquidation_price"]
    assert error(own, "private/remove_collateral", instrument_name=LINEAR, amount=1_000.5) == (
        11030, "insufficient_withdrawable",
    )  # fmt: skip
    assert own.result("private/remove_collateral", instrument_name=LINEAR, amount=1_000)["available_collateral"] == 0
    assert isolate(own, LINEAR, 4)["collateral"] == pytest.approx(INDEX / 4)
    assert error(own, "private/add_collateral", instrument_name=LINEAR, amount=10**7) == (10009, "not_enough_funds")


def test_refusals_name_what_is_wrong(pair: tuple[Client, Client]) -> None:
    own, _ = pair
    wrong: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"instrument_name": CALL}, (10031, "futures_and_perpetuals_only")),
        ({"instrument_name": "NONE"}, (-32602, "instrument not found")),
        ({"margin_mode": "both"}, (-32602, "invalid value")),
        ({"leverage": 0}, (-32602, "leverage_out_of_range")),
        ({"leverage": 0.5}, (-32602, "leverage_out_of_range")),
        ({"leverage": 101}, (-32602, "leverage_out_of_range")),
        ({"leverage": 10.001}, (-32602, "must be a multiple of 0.01")),
        ({"leverage": None}, (-32602, "value required")),
        ({"margin_mode": "cross"}, (-32602, "of isolated positions only")),
    ]
    for change, expected in wrong:
        params = {"instrument_name": PERPETUAL, "margin_mode": "isolated", "leverage": 10} | change
        assert error(own, "private/set_margin_mode", **params) == expected, change
    assert error(own, "private/add_collateral", instrument_name=PERPETUAL, amount=1) == (11030, "not_isolated")
    for amount, reason in ((0, "must be positive"), (-1, "must be positive"), (1e-11, "finer than the currency")):
        assert error(own, "private/add_collateral", instrument_name=PERPETUAL, amount=amount) == (-32602, reason)
    own.result("private/buy", instrument_name=PERPETUAL, amount=10, price=90_000)
    assert error(own, "private/set_margin_mode", instrument_name=PERPETUAL, margin_mode="isolated", leverage=2) == (
        11030, "mode_in_use",
    )  # fmt: skip
    own.result("private/cancel_all")
    isolate(own)
    order = own.result("private/buy", instrument_name=PERPETUAL, amount=10, price=90_000)["order"]
    assert error(own, "private/set_margin_mode", instrument_name=PERPETUAL, margin_mode="cross")[1] == "mode_in_use"
    edited = own.result("private/edit", order_id=order["order_id"], amount=20, price=91_000)["order"]
    assert edited["amount"] == 20 and edited["order_id"] == order["order_id"]
    assert own.result("private/cancel", order_id=order["order_id"])["order_state"] == "cancelled"
    back = own.result("private/set_margin_mode", instrument_name=PERPETUAL, margin_mode="cross")
    assert back == {"instrument_name": PERPETUAL, "margin_mode": "cross"}
    assert own.result("private/get_margin_modes") == []


def test_margins_of_an_order_are_those_of_the_bucket(pair: tuple[Client, Client]) -> None:
    own, _ = pair
    isolate(own, leverage=5)
    said = own.result("private/get_margins", instrument_name=PERPETUAL, amount=50_000, price=INDEX)
    order = own.result("private/buy", instrument_name=PERPETUAL, amount=50_000, price=INDEX)["order"]
    assert balance(own)["isolated_initial_margin"] == pytest.approx(said["buy"], abs=1e-9)
    assert said["buy"] == pytest.approx(0.5 / 5 + 0.5 * 0.0005, rel=1e-6)
    (one,) = own.result("private/get_order_margin_by_ids", ids=[order["order_id"]])
    assert one["initial_margin"] == pytest.approx(said["buy"], rel=1e-6)


def test_channels_tell_the_account(venue: Venue, pair: tuple[Client, Client]) -> None:
    own, other = pair
    isolate(own, leverage=50)
    channels = [f"user.changes.{PERPETUAL}.raw", "user.liquidation", "user.portfolio.btc"]
    assert own.result("private/subscribe", channels=channels) == channels
    traded(own, other, PERPETUAL, 100_000, INDEX, maker=own)
    change = until(own, f"user.changes.{PERPETUAL}.raw", lambda data: data["trades"])
    assert change["positions"][0]["margin_mode"] == "isolated"
    portfolio = until(own, "user.portfolio.btc", lambda data: data["isolated_equity"] == 0.02)
    assert portfolio["initial_margin"] == 0
    venue.publish(INDEX * 0.9863)
    warned = until(own, "user.liquidation", lambda data: data["type"] == "level_changed")
    assert (warned["instrument_name"], warned["margin_mode"], warned["level"]) == (PERPETUAL, "isolated", 1)
    venue.publish(INDEX)


def test_the_history_is_the_accounts(venue: Venue, pair: tuple[Client, Client]) -> None:
    own, other = pair
    isolate(own)
    traded(own, other, PERPETUAL, 10_000, INDEX, maker=own)
    traded(other, own, PERPETUAL, 10_000, INDEX, maker=own)
    stop = own.result(
        "private/buy", instrument_name=PERPETUAL, amount=10, type="stop_market", trigger="index_price",
        trigger_price=INDEX * 1.2,
    )["order"]  # fmt: skip
    assert own.result("private/get_open_orders_by_instrument", instrument_name=PERPETUAL, type="stop_all")
    own.result("private/cancel", order_id=stop["order_id"])
    settle(venue)
    orders = own.result("private/get_order_history_by_instrument", instrument_name=PERPETUAL)
    assert [order["order_state"] for order in orders] == ["filled", "filled"]
    trades = own.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL)["trades"]
    assert [trade["direction"] for trade in trades] in (["buy", "sell"], ["sell", "buy"])
    span = {"start_timestamp": 0, "end_timestamp": own.result("public/get_time")}
    log = own.result("private/get_transaction_log", currency="BTC", count=50, **span)["logs"]
    moved = [entry["change"] for entry in log if entry["type"] == "collateral"]
    assert sum(moved) == pytest.approx(0) and min(moved) < -0.01
    assert sum(entry["type"] == "trade" for entry in log) == 2
