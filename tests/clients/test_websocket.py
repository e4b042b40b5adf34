"""A plain `websockets` client: log in, subscribe, trade, see the fills; two clients, one book."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.clients.venue import CALL, PERPETUAL, Account, Venue


class Client:
    """Request and answer over one connection; notifications are kept."""

    def __init__(self, connection: ClientConnection):
        self.connection = connection
        self.notes: list[dict[str, Any]] = []
        self._last_id = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self.connection.send(json.dumps(request))
        while True:
            message = json.loads(self.connection.recv(timeout=5))
            if message.get("id") == self._last_id:
                return message
            self.notes.append(message["params"])

    def result(self, method: str, **params: Any) -> Any:
        answer = self.call(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    def login(self, account: Account) -> "Client":
        self.result(
            "public/auth",
            grant_type="client_credentials",
            client_id=account.client_id,
            client_secret=account.secret,
        )
        return self

    def wait_for(self, channel: str) -> Any:
        """Data of the next notification on a channel."""
        while True:
            for place, note in enumerate(self.notes):
                if note["channel"] == channel:
                    return self.notes.pop(place)["data"]
            self.notes.append(json.loads(self.connection.recv(timeout=5))["params"])


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        yield Client(connection).login(venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    with connect(venue.ws) as connection:
        yield Client(connection).login(venue.bob)


def test_subscribe_trade_and_see_own_fills(alice: Client, bob: Client) -> None:
    for client in (alice, bob):
        client.result("private/subscribe", channels=["user.orders.any.any.raw", "user.trades.any.any.raw"])
    bob.result("public/subscribe", channels=[f"book.{PERPETUAL}.raw", f"trades.{PERPETUAL}.raw"])
    assert bob.wait_for(f"book.{PERPETUAL}.raw")["type"] == "snapshot"
    resting = alice.result("private/sell", instrument_name=PERPETUAL, amount=50, price=100_000, label="a")
    change = bob.wait_for(f"book.{PERPETUAL}.raw")
    assert change["asks"] == [["new", 100_000.0, 50.0]]
    filled = bob.result("private/buy", instrument_name=PERPETUAL, amount="50", type="market")
    assert filled["order"]["order_state"] == "filled"
    assert bob.wait_for("user.trades.any.any.raw")[0]["trade_id"] == filled["trades"][0]["trade_id"]
    assert alice.wait_for("user.orders.any.any.raw")["order_state"] == "open"
    assert alice.wait_for("user.orders.any.any.raw")["order_state"] == "filled"
    (own,) = alice.wait_for("user.trades.any.any.raw")
    assert (own["order_id"], own["label"], own["state"]) == (resting["order"]["order_id"], "a", "filled")
    after = bob.wait_for(f"book.{PERPETUAL}.raw")
    assert after["asks"] == [["delete", 100_000.0, 0.0]]
    assert after["prev_change_id"] == change["change_id"]
    assert bob.wait_for(f"trades.{PERPETUAL}.raw")[0]["price"] == 100_000.0


def test_marks_move_tickers_index_and_portfolio(alice: Client, venue: Venue) -> None:
    channels = [f"ticker.{CALL}.100ms", "deribit_price_index.btc_usd", "user.portfolio.btc"]
    assert alice.result("public/subscribe", channels=channels) == channels
    before = alice.wait_for(f"ticker.{CALL}.100ms")
    assert alice.wait_for("deribit_price_index.btc_usd")["price"] == 100_000.0
    assert alice.wait_for("user.portfolio.btc")["currency"] == "BTC"
    venue.publish(101_000)
    try:
        after = alice.wait_for(f"ticker.{CALL}.100ms")
        assert after["mark_price"] > before["mark_price"]
        assert after["underlying_price"] == 101_000.0
        assert alice.wait_for("deribit_price_index.btc_usd")["price"] == 101_000.0
    finally:
        venue.publish(100_000)


def test_post_only_reduce_only_and_time_in_force(alice: Client, bob: Client) -> None:
    ask = alice.result("private/sell", instrument_name=PERPETUAL, amount=10, price=100_010)["order"]
    crossing = {"instrument_name": PERPETUAL, "amount": 10, "price": 100_020, "post_only": True}
    refused = bob.call("private/buy", **crossing, reject_post_only=True)
    assert refused["error"]["code"] == 11054
    moved = bob.result("private/buy", **crossing)["order"]
    assert (moved["price"], moved["order_state"]) == (100_009.5, "open")
    assert bob.result("private/cancel", order_id=moved["order_id"])["order_state"] == "cancelled"
    reduce = {"instrument_name": CALL, "amount": 0.1, "price": 0.45, "reduce_only": True}
    assert bob.call("private/sell", **reduce)["error"]["code"] == 11030
    sweep = {"instrument_name": PERPETUAL, "amount": 30, "price": 100_010}
    partly = bob.result("private/buy", **sweep, time_in_force="immediate_or_cancel")["order"]
    assert (partly["order_state"], partly["filled_amount"]) == ("cancelled", 10.0)
    assert bob.call("private/buy", **sweep, time_in_force="fill_or_kill")["error"]["code"] == 11030
    assert alice.result("private/get_order_state", order_id=ask["order_id"])["order_state"] == "filled"
    closed = bob.call("private/close_position", instrument_name=PERPETUAL, type="limit", price=100_000)
    assert closed["result"]["order"]["reduce_only"] is True
    bob.result("private/cancel_all")


def test_cancel_on_disconnect_by_a_dropped_socket(venue: Venue, alice: Client) -> None:
    with connect(venue.ws) as connection:
        doomed = Client(connection).login(venue.alice)
        doomed.result("private/enable_cancel_on_disconnect")
        order = doomed.result("private/buy", instrument_name=PERPETUAL, amount=10, price=95_000)["order"]
        alice.result("private/subscribe", channels=["user.orders.BTC-PERPETUAL.raw"])
        connection.socket.close()
    ended = alice.wait_for("user.orders.BTC-PERPETUAL.raw")
    assert (ended["order_id"], ended["cancel_reason"]) == (order["order_id"], "cancel_on_disconnect")


def test_cancelling_many_ways(alice: Client) -> None:
    def place(label: str, name: str = PERPETUAL, amount: float = 10, price: float = 95_000) -> None:
        alice.result("private/buy", instrument_name=name, amount=amount, price=price, label=label)

    place("x"), place("y"), place("x", CALL, 0.1, 0.001)
    assert alice.result("private/cancel_by_label", label="x") == 2
    place("z", CALL, 0.1, 0.001)
    assert alice.result("private/cancel_all_by_currency", currency="BTC", kind="option") == 1
    assert alice.result("private/cancel_all_by_currency", currency="USDC") == 0
    assert alice.result("private/cancel_all_by_instrument", instrument_name=PERPETUAL, type="stop") == 0
    detailed = alice.result("private/cancel_all_by_kind_or_type", currency=["BTC"], kind="future", detailed=True)
    assert [group["instrument_name"] for group in detailed] == [PERPETUAL]
    assert detailed[0]["result"][0]["label"] == "y"
    assert alice.result("private/get_open_orders") == []
    history = alice.result("private/get_order_history_by_currency", currency="BTC", include_unfilled=True)
    assert history[0]["label"] == "y"


def test_reads_have_the_required_members(alice: Client) -> None:
    for instrument in alice.result("public/get_instruments", currency="any"):
        required = {"instrument_name", "kind", "base_currency", "quote_currency", "settlement_currency"}
        required |= {"tick_size", "tick_size_steps", "min_trade_amount", "contract_size", "price_index"}
        required |= {"is_active", "state", "creation_timestamp", "expiration_timestamp", "instrument_id"}
        assert required <= set(instrument)
    assert alice.result("public/get_instruments", currency="SOL") == []
    ticker = alice.result("public/ticker", instrument_name=CALL)
    assert {"greeks", "mark_iv", "bid_iv", "ask_iv", "underlying_price", "underlying_index"} <= set(ticker)
    assert {"volume", "low", "high", "price_change", "volume_usd"} <= set(ticker["stats"])
    perpetual = alice.result("public/get_order_book", instrument_name=PERPETUAL, depth=20)
    assert {"funding_8h", "current_funding", "bids", "asks", "change_id"} <= set(perpetual)
    summary = alice.result("private/get_account_summary", currency="BTC", extended=True)
    assert {"equity", "balance", "available_funds", "initial_margin", "margin_model", "username"} <= set(summary)
    assert alice.result("public/status")["locked"] == "false"
    assert alice.result("public/get_index_price", index_name="btc_usd")["index_price"] == 100_000.0
    assert alice.result("public/get_auctions") == []
    assert alice.call("private/place_bid", auction_id=1, phase=1, limit=0.1)["error"]["code"] == 13020
