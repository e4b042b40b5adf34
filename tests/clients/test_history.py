"""History as clients see it: candles, pages of trades and orders, the log of transactions, single orders of a book."""

import random
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import ccxt
import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, FUTURE, INDEX, LINEAR, PERPETUAL, Venue

SYMBOL = "BTC/USD:BTC"
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def traded(venue: Venue) -> Venue:
    """Thirty trades on the perpetual, a few on others, all of them in the store."""
    with connect(venue.ws) as one, connect(venue.ws) as two:
        alice, bob = Client(one).login(venue.alice), Client(two).login(venue.bob)
        for number in range(30):
            price = INDEX + number % 7
            alice.result("private/sell", instrument_name=PERPETUAL, amount=10, price=price, label=f"n{number}")
            bob.result("private/buy", instrument_name=PERPETUAL, amount=10, price=price)
        for name, amount, price in ((CALL, 0.1, 0.45), (LINEAR, 0.01, INDEX)):
            alice.result("private/sell", instrument_name=name, amount=amount, price=price)
            bob.result("private/buy", instrument_name=name, amount=amount, price=price)
        doomed = alice.result("private/buy", instrument_name=PERPETUAL, amount=10, price=90_000, label="never")
        alice.result("private/cancel", order_id=doomed["order"]["order_id"])
    settle(venue)
    return venue


def settle(venue: Venue) -> None:
    """Wait until the store covers everything."""
    seq = venue.run(lambda: venue.recorder._pending[-1][0] if venue.recorder._pending else 0)
    deadline = time.monotonic() + 5
    while venue.recorder.history.behind or venue.recorder.history.covered[0] < seq:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def bob(traded: Venue) -> Iterator[Client]:
    with connect(traded.ws) as connection:
        yield Client(connection).login(traded.bob)


def forget(venue: Venue) -> None:
    """Empty the memory of closed orders and trades: answers come from the store alone."""

    def clear() -> None:
        projection = venue.gateway.projection
        projection.closed.clear()
        projection._closed_by_account.clear()
        projection._trades.clear()
        projection._trades_by_account.clear()
        projection._all_trades.clear()

    venue.run(clear)


CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("public/get_last_trades_by_instrument", {"instrument_name": PERPETUAL, "count": 7}),
    ("public/get_last_trades_by_instrument", {"instrument_name": PERPETUAL, "start_seq": 5, "end_seq": 9}),
    ("public/get_last_trades_by_instrument_and_time", {"instrument_name": CALL, "start_timestamp": 1, "count": 5}),
    ("public/get_last_trades_by_currency", {"currency": "BTC", "count": 100, "sorting": "asc"}),
    ("public/get_last_trades_by_currency", {"currency": "any", "kind": "option"}),
    ("public/get_last_trades_by_currency", {"currency": "USDC", "kind": "future"}),
    ("private/get_user_trades_by_currency", {"currency": "BTC", "count": 33}),
    ("private/get_user_trades_by_currency_and_time", {"currency": "BTC", "start_timestamp": 0, "sorting": "asc"}),
    ("private/get_user_trades_by_instrument", {"instrument_name": PERPETUAL, "count": 4, "start_seq": 3}),
    ("private/get_order_history_by_currency", {"currency": "BTC", "count": 5, "offset": 3}),
    ("private/get_order_history_by_currency", {"currency": "BTC", "kind": "option", "include_unfilled": True}),
    ("private/get_order_history_by_instrument", {"instrument_name": LINEAR}),
    ("private/get_order_state_by_label", {"currency": "BTC", "label": "n3"}),
    ("public/get_tradingview_chart_data", {"instrument_name": PERPETUAL, "resolution": "1", "start_timestamp": 0,
                                           "end_timestamp": 4_000_000_000_000}),
)  # fmt: skip


def test_the_store_answers_what_memory_answers(traded: Venue, bob: Client) -> None:
    with connect(traded.ws) as connection:
        alice = Client(connection).login(traded.alice)
        before = [(alice.result(name, **params), bob.result(name, **params)) for name, params in CALLS]
        forget(traded)
        after = [(alice.result(name, **params), bob.result(name, **params)) for name, params in CALLS]
        for (name, params), (first, second), (third, fourth) in zip(CALLS, before, after, strict=True):
            if name.endswith("chart_data"):  # time goes on
                first, second, third, fourth = (one["ticks"][0] for one in (first, second, third, fourth))
            assert (first, second) == (third, fourth), (name, params)
        assert sum(len(one) > 0 for one, _ in after) == len(CALLS)
        label = alice.result("private/get_order_state_by_label", currency="BTC", label="n3")
        order_id = label[0]["order_id"]
        state = alice.result("private/get_order_state", order_id=order_id)
        assert (state["order_state"], state["average_price"], state["label"]) == ("filled", INDEX + 3.0, "n3")
        (fill,) = alice.result("private/get_user_trades_by_order", order_id=order_id)
        assert (fill["order_id"], fill["label"], fill["liquidity"]) == (order_id, "n3", "M")
        assert alice.call("private/cancel", order_id=order_id)["error"]["code"] == 11044
        assert bob.call("private/get_order_state", order_id=order_id)["error"]["code"] == 10004


def test_memory_and_store_meet_without_a_seam(traded: Venue, bob: Client) -> None:
    """Half of the trades are in memory alone, the other half in the store alone."""
    settle(traded)
    forget(traded)
    lock = sqlite3.connect(traded.recorder.history.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")  # the writer has to wait
    try:
        with connect(traded.ws) as connection:
            alice = Client(connection).login(traded.alice)
            for number in range(10):
                alice.result("private/sell", instrument_name=PERPETUAL, amount=10, price=INDEX, label=f"later{number}")
                bob.result("private/buy", instrument_name=PERPETUAL, amount=10, price=INDEX)
        covered = traded.recorder.history.covered[1]
        newest = bob.result("public/get_last_trades_by_instrument", instrument_name=PERPETUAL, count=1000)["trades"]
        ids = [int(trade["trade_id"]) for trade in newest]
        assert ids == sorted(set(ids), reverse=True)
        assert sum(one > covered for one in ids) == 10
        assert len(ids) == 40
        seqs = [trade["trade_seq"] for trade in newest]
        assert seqs == list(range(seqs[0], 0, -1))
        pages, last = [], None
        while True:
            more = {} if last is None else {"end_id": str(int(last) - 1)}
            page = bob.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL, count=7, **more)
            pages += [trade["trade_id"] for trade in page["trades"]]
            last = pages[-1]
            if not page["has_more"]:
                break
        assert pages == [trade["trade_id"] for trade in newest]
        up = bob.result("private/get_user_trades_by_instrument", instrument_name=PERPETUAL, count=1000, sorting="asc")
        assert [trade["trade_id"] for trade in up["trades"]] == pages[::-1]
        orders, token = [], None
        while token != "":
            page = bob.result(
                "private/get_order_history_by_instrument",
                instrument_name=PERPETUAL,
                count=7,
                with_continuation=True,
                continuation=token,
            )
            orders += [order["order_id"] for order in page["orders"]]
            token = page["continuation"] or ""
        whole = bob.result("private/get_order_history_by_instrument", instrument_name=PERPETUAL, count=1000)
        assert orders == [order["order_id"] for order in whole] and len(set(orders)) == 40
        shifted = bob.result("private/get_order_history_by_instrument", instrument_name=PERPETUAL, count=9, offset=8)
        assert [order["order_id"] for order in shifted] == orders[8:17]
        chart = bob.result(
            "public/get_tradingview_chart_data",
            instrument_name=PERPETUAL,
            resolution="1D",
            start_timestamp=0,
            end_timestamp=4_000_000_000_000,
        )
        assert sum(chart["cost"]) == 400.0  # dollars, in memory and in the store
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_ccxt_fetches_candles_trades_and_closed_orders(traded: Venue) -> None:
    own = traded.alice
    client = ccxt.deribit({"apiKey": own.client_id, "secret": own.secret, "urls": {"api": {"rest": traded.http}}})
    trades = client.fetch_trades(SYMBOL, limit=100)
    assert len(trades) >= 30
    assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
    now = int(time.time() * 1000)
    candles = client.fetch_ohlcv(SYMBOL, "1m", since=now - 60 * MINUTE_MS, limit=100)
    assert all(one[0] % MINUTE_MS == 0 for one in candles)
    assert [one[0] for one in candles] == list(range(candles[0][0], candles[-1][0] + 1, MINUTE_MS))
    assert max(one[2] for one in candles) == INDEX + 6.0
    assert min(one[3] for one in candles) == float(INDEX)
    volume = sum(one[5] for one in candles)
    assert volume == pytest.approx(sum(trade["amount"] / trade["price"] for trade in trades), rel=1e-6)
    day = client.fetch_ohlcv(SYMBOL, "1d", limit=3)
    assert day[-1][4] == candles[-1][4]
    assert len(client.fetch_closed_orders(SYMBOL, limit=50)) >= 30
    assert len(client.fetch_my_trades(SYMBOL, limit=50)) >= 30


def test_candles_fill_gaps_and_begin_with_the_first_trade(traded: Venue, bob: Client) -> None:
    now = int(time.time() * 1000)
    params = {"instrument_name": CALL, "resolution": "3", "start_timestamp": now - 3_600_000}
    chart = bob.result("public/get_tradingview_chart_data", end_timestamp=now, **params)
    assert chart["status"] == "ok"
    assert (chart["open"][0], chart["close"][0], chart["volume"][0]) == (0.45, 0.45, 0.1)
    assert chart["cost"][0] == pytest.approx(0.045)
    assert set(chart) == {"status", "ticks", "open", "high", "low", "close", "volume", "cost"}
    assert (
        bob.result("public/get_tradingview_chart_data", end_timestamp=now - 3_000_000, **params)["status"] == "no_data"
    )
    none = {"instrument_name": FUTURE, "resolution": "1D", "start_timestamp": 0, "end_timestamp": now}
    assert bob.result("public/get_tradingview_chart_data", **none)["ticks"] == []
    for bad in ({"resolution": "2"}, {"end_timestamp": 5}, {"start_timestamp": -1}):
        answer = bob.call("public/get_tradingview_chart_data", **({"end_timestamp": now} | params | bad))
        assert answer["error"]["code"] == -32602


def test_the_chart_channel_follows_trades(traded: Venue, bob: Client) -> None:
    channel = f"chart.trades.{LINEAR}.1D"
    assert bob.result("public/subscribe", channels=[channel, f"chart.trades.{LINEAR}.7"]) == [channel]
    first = bob.wait_for(channel)
    with connect(traded.ws) as connection:
        alice = Client(connection).login(traded.alice)
        alice.result("private/sell", instrument_name=LINEAR, amount=0.02, price=INDEX + 50)
        bob.result("private/buy", instrument_name=LINEAR, amount=0.02, price=INDEX + 50)
    second = bob.wait_for(channel)
    assert second["tick"] == first["tick"]
    assert (second["open"], second["high"], second["close"]) == (first["open"], INDEX + 50.0, INDEX + 50.0)
    assert second["volume"] == pytest.approx(first["volume"] + 0.02)
    assert second["cost"] == pytest.approx(first["cost"] + 0.02 * (INDEX + 50))


def test_the_transaction_log_pages_and_filters(traded: Venue, bob: Client) -> None:
    settle(traded)
    span = {"currency": "BTC", "start_timestamp": 0, "end_timestamp": 4_000_000_000_000}
    whole = bob.result("private/get_transaction_log", count=1000, **span)
    assert whole["continuation"] is None
    assert whole["logs"][-1]["type"] == "deposit"
    assert whole["logs"][-1]["change"] == whole["logs"][-1]["balance"] == 10.0
    pages, token = [], None
    while True:
        page = bob.result("private/get_transaction_log", count=9, continuation=token, **span)
        pages += page["logs"]
        token = page["continuation"]
        if token is None:
            break
    assert pages == whole["logs"]
    fills = bob.result("private/get_transaction_log", query="trade", count=1000, **span)["logs"]
    assert len(fills) == len(whole["logs"]) - 1
    option = next(one for one in fills if one["instrument_name"] == CALL)
    assert option["change"] == pytest.approx(-0.045 - option["commission"])
    assert (option["side"], option["user_role"], option["amount"]) == ("buy", "taker", 0.1)
    assert bob.result("private/get_transaction_log", **(span | {"currency": "ETH"}))["logs"] == []
    assert bob.call("private/get_transaction_log", continuation="x", **span)["error"]["code"] == -32602


def test_reads_of_what_never_happened(bob: Client) -> None:
    assert bob.result("public/get_last_settlements_by_currency", currency="BTC")["settlements"] == []
    empty = bob.result("private/get_settlement_history_by_instrument", instrument_name=CALL, type="delivery")
    assert empty == {"settlements": [], "continuation": "none"}
    assert bob.result("public/get_delivery_prices", index_name="btc_usd") == {"data": [], "records_total": 0}
    hour = {"instrument_name": PERPETUAL, "start_timestamp": 0, "end_timestamp": 4_000_000_000_000}
    (sample,) = bob.result("public/get_funding_rate_history", **hour)
    assert sample["index_price"] == INDEX
    assert bob.result("public/get_funding_rate_value", **hour) == pytest.approx(sample["interest_1h"], abs=1e-9)
    assert bob.call("public/get_funding_rate_history", **(hour | {"instrument_name": CALL}))["error"]["code"] == 10020
    unknown = {"instrument_name": "BTC-1JAN20-1-C", "count": 1}
    assert bob.call("public/get_last_trades_by_instrument", **unknown)["error"]["code"] == -32602


class Replica:
    """A book kept from the channel of its single orders: queues of order ids by side and price."""

    def __init__(self) -> None:
        self.change_id = 0
        self.lines: dict[str, tuple[str, float, float]] = {}
        self.queues: dict[tuple[str, float], list[str]] = {}

    def take(self, data: dict[str, Any]) -> None:
        if data["type"] == "snapshot":
            for side, word in (("bids", "buy"), ("asks", "sell")):
                for order_id, price, amount in data[side]:
                    self._add(order_id, word, price, amount)
        else:
            assert data["prev_change_id"] == self.change_id
            assert data["changes"]
            for action, order_id, price, amount, word in data["changes"]:
                if action == "add":
                    self._add(order_id, word, price, amount)
                elif action == "remove":
                    side, at, _ = self.lines.pop(order_id)
                    assert (side, at, amount) == (word, price, 0.0)
                    self.queues[side, at].remove(order_id)
                else:
                    assert amount < self.lines[order_id][2]
                    assert self.lines[order_id][:2] == (word, price)
                    self.lines[order_id] = (word, price, amount)
        self.change_id = data["change_id"]

    def _add(self, order_id: str, word: str, price: float, amount: float) -> None:
        assert order_id not in self.lines
        self.lines[order_id] = (word, price, amount)
        self.queues.setdefault((word, price), []).append(order_id)

    def levels(self, word: str) -> list[list[float]]:
        sums: dict[float, float] = {}
        for side, price, amount in self.lines.values():
            if side == word:
                sums[price] = sums.get(price, 0.0) + amount
        return [[price, sums[price]] for price in sorted(sums, reverse=word == "buy")]

    def priority(self, word: str) -> list[int]:
        prices = [price for price, _ in self.levels(word)]
        return [int(order_id) for price in prices for order_id in self.queues[word, price]]


def act(client: Client, rng: random.Random) -> None:
    """A random order, edit or cancellation on the future."""
    mine = client.result("private/get_open_orders_by_instrument", instrument_name=FUTURE)
    drawn = rng.random()
    word, sign = rng.choice((("private/buy", -0.5), ("private/sell", 0.5)))
    price = INDEX + rng.randrange(-2, 9) * sign
    if mine and drawn < 0.15:
        client.result("private/cancel", order_id=rng.choice(mine)["order_id"])
    elif mine and drawn < 0.4:
        order = rng.choice(mine)
        amount = max(10, order["amount"] + rng.randrange(-2, 3) * 10)
        client.call(
            "private/edit", order_id=order["order_id"], amount=amount, price=rng.choice((order["price"], price))
        )
    elif drawn < 0.405:
        client.result("private/cancel_all_by_instrument", instrument_name=FUTURE)
    else:
        post_only = rng.random() < 0.3
        terms = {"amount": rng.randrange(1, 9) * 10, "price": price, "post_only": post_only}
        if rng.random() < 0.25:
            terms |= {"amount": terms["amount"] + 40, "display_amount": rng.randrange(1, 4) * 10, "post_only": False}
        client.call(word, instrument_name=FUTURE, **terms)


def test_a_book_kept_by_single_orders_is_the_book(traded: Venue, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    channel = f"orders.{FUTURE}"
    early, late = Replica(), Replica()
    with connect(traded.ws) as one, connect(traded.ws) as two, connect(traded.ws) as three, connect(traded.ws) as four:
        actors = [Client(one).login(traded.alice), Client(two).login(traded.bob)]
        watchers = {id(early): Client(three)}
        assert watchers[id(early)].result("public/subscribe", channels=[channel]) == [channel]
        for step in range(400):
            act(rng.choice(actors), rng)
            if step == 200:
                watchers[id(late)] = Client(four)
                watchers[id(late)].result("public/subscribe", channels=[channel])
        book = actors[0].result("public/get_order_book", instrument_name=FUTURE, depth=1000)
        slot = traded.run(lambda: traded.gateway.engine.instrument_slot(FUTURE))
        queues = traded.run(lambda: [traded.gateway.engine.books.queue(slot, side) for side in (0, 1)])
        assert len(queues[0]) + len(queues[1]) > 10
        for replica in (early, late):
            watcher = watchers[id(replica)]
            while replica.change_id != book["change_id"]:
                replica.take(watcher.wait_for(channel))
            assert [replica.levels("buy"), replica.levels("sell")] == [book["bids"], book["asks"]]
            assert [replica.priority("buy"), replica.priority("sell")] == queues
        for actor in actors:
            actor.result("private/cancel_all_by_instrument", instrument_name=FUTURE)
