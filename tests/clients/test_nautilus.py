"""The requests that NautilusTrader 1.231.0's Deribit adapter was seen to send, as it sends them, over real sockets.

Signed posts over HTTP and two WebSocket sessions, one for data and one for orders.
"""

import hashlib
import hmac
import http.client
import json
import time
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, LINEAR, PERPETUAL, Account, Venue

COINS = ("BTC", "ETH", "USDC", "USDT", "EURR")
"""It asks for each of Deribit's currencies, whether the venue has them or not."""


def signature(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Posts:
    """JSON-RPC posts with the signature in a header."""

    def __init__(self, port: int, account: Account):
        self._port, self._account, self._count = port, account, 0

    def __call__(self, method: str, signed: bool = True, **params: Any) -> Any:
        self._count += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        headers = {"content-type": "application/json", "accept": "*/*"}
        if signed:
            now_ms, nonce = int(time.time() * 1000), f"n{self._count}-{time.time_ns()}"
            value = signature(self._account.secret, f"{now_ms}\n{nonce}\nPOST\n/api/v2\n{body}\n")
            headers["authorization"] = (
                f"deri-hmac-sha256 id={self._account.client_id},ts={now_ms},nonce={nonce},sig={value}"
            )
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("POST", "/api/v2", body, headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer


def session(client: Client, account: Account, scope: str) -> None:
    assert client.result("public/set_heartbeat", interval=30) == "ok"
    now_ms, nonce = int(time.time() * 1000), f"{scope}-{time.time_ns()}"
    granted = client.result(
        "public/auth", grant_type="client_signature", client_id=account.client_id, timestamp=now_ms, nonce=nonce,
        data="", scope=scope, signature=signature(account.secret, f"{now_ms}\n{nonce}\n"),
    )  # fmt: skip
    assert {"access_token", "refresh_token", "expires_in", "scope", "token_type"} <= granted.keys()


def reports(post: Posts) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """What it asks for when it starts: (open orders, earlier orders, fills, positions)."""
    opened = post("private/get_open_orders")["result"]
    positions = post("private/get_positions", currency="any")["result"]
    orders, fills = [], []
    for coin in COINS:
        window = {"start_timestamp": 0, "end_timestamp": int(time.time() * 1000) + 1_000}
        answers = [
            post(
                "private/get_order_history_by_currency", currency=coin, count=100, offset=0, include_old=True,
                include_unfilled=True,
            ),
            post("private/get_user_trades_by_currency_and_time", currency=coin, count=1_000, sorting="asc", **window),
        ]  # fmt: skip
        assert not [answer for answer in answers if "error" in answer]
        orders += answers[0]["result"]
        fills += answers[1]["result"]["trades"]
    return opened, orders, fills, positions


@pytest.mark.parametrize(("name", "amount"), [(PERPETUAL, 10.0), (LINEAR, 0.1)])
def test_an_order_a_fill_and_a_cancel(venue: Venue, name: str, amount: float) -> None:
    account = venue.account(f"strategy-{name.lower()}")
    maker = venue.account(f"maker-{name.lower()}")
    post = Posts(venue.port, account)
    futures = post("public/get_instruments", signed=False, currency="any", kind="future")["result"]
    assert {PERPETUAL, LINEAR} <= {one["instrument_name"] for one in futures}
    with connect(venue.ws) as first, connect(venue.ws) as second, connect(venue.ws) as third:
        data, orders, other = Client(first), Client(second), Client(third).login(maker)
        session(data, account, "session:nautilus-data")
        session(orders, account, "session:nautilus-execution")
        for channel in ("user.orders.any.any.raw", "user.trades.any.any.raw", "user.portfolio.any"):
            assert orders.result("private/subscribe", channels=[channel]) == [channel]
        summaries = post("private/get_account_summaries")["result"]["summaries"]
        assert {one["currency"]: one["equity"] for one in summaries}["BTC"] == 10.0
        assert reports(post) == ([], [], [], [])
        data.result("public/subscribe", channels=[f"quote.{name}"])
        data.result("private/subscribe", channels=[f"trades.{name}.raw"])
        other.result("private/sell", instrument_name=name, amount=amount, price=100_000)
        assert data.wait_for(f"quote.{name}")["instrument_name"] == name

        bought = orders.result("private/buy", instrument_name=name, amount=amount, type="market", label="O-1")
        assert bought["order"]["order_state"] == "filled"
        assert orders.wait_for("user.trades.any.any.raw")[0]["trade_id"] == bought["trades"][0]["trade_id"]
        assert orders.wait_for("user.orders.any.any.raw")["label"] == "O-1"
        assert orders.wait_for("user.portfolio.any")["currency"]
        assert data.wait_for(f"trades.{name}.raw")[0]["trade_id"] == bought["trades"][0]["trade_id"]
        resting = orders.result(
            "private/buy", instrument_name=name, amount=amount, type="limit", label="O-2", price=99_000.0,
            time_in_force="good_til_cancelled", post_only=True, reject_post_only=True,
        )["order"]  # fmt: skip
        stop = orders.result(
            "private/sell", instrument_name=name, amount=amount, type="stop_market", label="O-3", trigger_price=90_000,
            trigger="last_price",
        )["order"]  # fmt: skip
        assert (resting["order_state"], stop["order_state"]) == ("open", "untriggered")
        opened, earlier, fills, positions = reports(post)
        assert {one["label"] for one in opened} == {"O-2", "O-3"}
        assert [one["label"] for one in earlier if one["order_state"] == "filled"] == ["O-1"]
        assert [(one["label"], one["order_id"]) for one in fills] == [("O-1", bought["order"]["order_id"])]
        assert [(one["instrument_name"], one["size"], one["direction"]) for one in positions] == [(name, amount, "buy")]

        assert orders.result("private/cancel_all_by_instrument", instrument_name=name) == 2
        other.result("private/buy", instrument_name=name, amount=amount, price=99_900)
        closed = orders.result(
            "private/sell", instrument_name=name, amount=amount, type="market", label="O-4", reduce_only=True
        )
        assert closed["order"]["order_state"] == "filled"
        opened, earlier, fills, positions = reports(post)
        assert (opened, [one["size"] for one in positions if one["size"]]) == ([], [])
        assert {one["label"] for one in earlier if one["order_state"] == "cancelled"} >= {"O-2"}
        assert [one["label"] for one in fills] == ["O-1", "O-4"]
        assert data.result("public/unsubscribe", channels=[f"quote.{name}"]) == [f"quote.{name}"]
        assert data.result("private/unsubscribe", channels=[f"trades.{name}.raw"]) == [f"trades.{name}.raw"]


def test_what_its_data_client_asks_for(venue: Venue) -> None:
    post = Posts(venue.port, venue.alice)
    options = post("public/get_instruments", signed=False, currency="any", kind="option")["result"]
    assert CALL in {one["instrument_name"] for one in options}
    now_ms = int(time.time() * 1000)
    window = {"start_timestamp": now_ms - 3_600_000, "end_timestamp": now_ms}
    book = post("public/get_order_book", signed=False, instrument_name=CALL, depth=10)["result"]
    assert {"bids", "asks", "timestamp", "change_id"} <= book.keys()
    trades = post(
        "public/get_last_trades_by_instrument_and_time", signed=False, instrument_name=CALL, count=1_000,
        sorting="asc", **window,
    )["result"]  # fmt: skip
    assert trades["trades"] == []
    chart = post("public/get_tradingview_chart_data", signed=False, instrument_name=CALL, resolution="1", **window)
    assert {"status", "ticks", "open", "high", "low", "close", "volume"} <= chart["result"].keys()
    with connect(venue.ws) as connection:
        data = Client(connection)
        session(data, venue.alice, "session:nautilus-data")
        public = ["instrument.state.option.BTC", f"quote.{CALL}", f"chart.trades.{CALL}.1"]
        funding = f"perpetual.{PERPETUAL}.raw"
        private = [f"ticker.{CALL}.raw", f"trades.{CALL}.raw", f"book.{CALL}.raw", funding]
        for scope, channels in (("public", public), ("private", private)):
            for channel in channels:
                assert data.result(f"{scope}/subscribe", channels=[channel]) == [channel]
        assert data.wait_for(f"book.{CALL}.raw")["type"] == "snapshot"
        before = data.wait_for(funding)
        assert (before.keys(), before["index_price"]) == ({"timestamp", "interest", "index_price"}, 100_000.0)
        venue.publish(100_500)
        assert data.wait_for(funding)["index_price"] == 100_500.0
        venue.publish(100_500)
        venue.publish(100_600)
        assert data.wait_for(funding)["index_price"] == 100_600.0
        assert not [note for note in data.notes if note["channel"] == funding]
        ticker = data.wait_for(f"ticker.{CALL}.raw")
        assert {"greeks", "mark_iv", "bid_iv", "ask_iv", "underlying_price", "open_interest"} <= ticker.keys()
        for scope, channels in (("public", public), ("private", private)):
            for channel in channels:
                assert data.result(f"{scope}/unsubscribe", channels=[channel]) == [channel]


def test_a_newcomer_takes_nothing_from_who_was_there(venue: Venue) -> None:
    channel = f"perpetual.{PERPETUAL}.agg2"
    venue.publish(100_000)
    with connect(venue.ws) as one, connect(venue.ws) as two:
        first, second = Client(one), Client(two)
        assert first.result("public/subscribe", channels=[channel]) == [channel]
        assert first.wait_for(channel)["index_price"] == 100_000.0
        venue.publish(100_700)
        assert second.result("public/subscribe", channels=[channel]) == [channel]
        assert second.wait_for(channel)["index_price"] == 100_700.0
        assert first.wait_for(channel)["index_price"] == 100_700.0
