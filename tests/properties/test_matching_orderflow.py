"""Half an hour of a real market, order by order, through the book (Bitstamp BTC/USD: see the data's provenance).

The feed has a gap after its opening snapshot, so some orders stand where the market had taken them away already
and trade with what comes: good flow, no oracle. What must hold is the same result twice, and every order accounted for.
"""

import csv
import gzip
import hashlib
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from exchange.market.matching import CANCEL, LIMIT, Matcher

UNKNOWN_DELETES = 13
"""Deletes of orders that the file never created, by its provenance."""


class Feed(NamedTuple):
    """`messages` are (kind, side, price in USD plus one, lots of 1e-8 BTC, order id); ids count the creations.

    Plus one: the file has orders at 0, which is no price to a book.
    """

    messages: list[tuple[int, int, int, int, int]]
    unknown: list[str]
    empty: set[int]
    """Orders created with no volume: no book takes them."""


@pytest.fixture(scope="module")
def feed(real_data: Callable[[str], Path]) -> Feed:
    ids: dict[str, int] = {}
    messages: list[tuple[int, int, int, int, int]] = []
    unknown: list[str] = []
    with gzip.open(real_data("orderflow/bitstamp_l3_orders.csv.gz"), "rt", newline="") as file:
        for row in csv.DictReader(file):
            side = 0 if row["direction"] == "bid" else 1
            if row["action"] == "created":
                ids[row["id"]] = len(ids) + 1
                price, lots = Decimal(row["price"]), Decimal(row["volume"]).scaleb(8)
                assert price == int(price) and lots == int(lots)
                messages.append((LIMIT, side, int(price) + 1, int(lots), ids[row["id"]]))
            elif row["action"] == "deleted" and row["id"] not in ids:
                unknown.append(row["id"])
            elif row["action"] == "deleted":
                messages.append((CANCEL, side, 0, 0, ids[row["id"]]))
            # "changed" is a fill as the feed saw it: the book makes its own
    empty = {order_id for kind, _, _, lots, order_id in messages if kind == LIMIT and lots == 0}
    return Feed(messages, unknown, empty)


class Played(NamedTuple):
    digest: str
    filled_lots: Counter[int]
    refused: set[int]
    trades: int
    matcher: Matcher


def played(feed: Feed) -> Played:
    highest = max(message[2] for message in feed.messages)
    matcher = Matcher(1, highest, len(feed.messages))
    hasher = hashlib.sha256()
    filled: Counter[int] = Counter()
    refused: set[int] = set()
    for number, (kind, side, price, lots, order_id) in enumerate(feed.messages):
        made = matcher.submit(kind, side, 0, price, lots, order_id)
        if made < 0:
            refused.add(order_id)
        elif made:
            trades = matcher.take_trades()
            hasher.update(trades.tobytes())
            for taker, maker, _, traded, _, _ in trades.tolist():
                filled[taker] += traded
                filled[maker] += traded
        if number % 20_000 == 0:
            hasher.update(repr([matcher.queue(0, 0), matcher.queue(0, 1), matcher.depth(0, 10**6)]).encode())
            assert matcher.check() == []
    return Played(hasher.hexdigest(), filled, refused, matcher.trades, matcher)


def test_a_real_half_hour_order_by_order(feed: Feed) -> None:
    first = played(feed)
    assert first.digest == played(feed).digest
    assert len(feed.messages) > 300_000 and first.trades > 100
    assert len(feed.unknown) == UNKNOWN_DELETES
    lots = {order_id: lots for kind, _, _, lots, order_id in feed.messages if kind == LIMIT}
    traded_away = {order_id for order_id in lots if 0 < lots[order_id] == first.filled_lots[order_id]}
    assert first.refused == traded_away | feed.empty, "a cancel finds its order unless it was filled"
    assert all(first.filled_lots[order_id] <= lots[order_id] for order_id in first.filled_lots)
    assert first.matcher.orders.live == 0, "whatever was created was filled or deleted"
    assert first.matcher.depth(0, 1) == ([], [])
