"""Random message flow through the Matcher and through a naive book that sorts plain lists."""

import numpy as np
import pytest

from exchange.market.matching import CANCEL, IMMEDIATE_OR_CANCEL, LIMIT, MARKET, MESSAGE, Matcher
from tests.oracles.book import BUY, SELL, NaiveBook, Order

BOOKS = 3
HIGHEST = 600_000
RESTING = 60
"""Orders around which the flow settles: few enough for a book that sorts with every look."""


class Twin:
    """The naive venue: one book per instrument, and who lives where."""

    def __init__(self) -> None:
        self.books = [NaiveBook() for _ in range(BOOKS)]
        self.live: dict[int, Order] = {}
        self.last_order_id = 0

    def submit(
        self, kind: int, side: int, book: int, price: int, lots: int, order_id: int
    ) -> list[tuple[int, int, int, int, int, int]] | None:
        """Trades as the Matcher records them; None where the message is refused."""
        if kind == CANCEL:
            order = self.live.pop(order_id, None)
            if order is None:
                return None
            self.books[order.instrument].remove(order)
            return []
        priced = kind == MARKET or 1 <= price <= HIGHEST
        if not (kind <= IMMEDIATE_OR_CANCEL and side <= SELL and book < BOOKS and lots > 0 and priced):
            return None
        if order_id <= self.last_order_id:
            return None
        self.last_order_id = order_id
        if kind == MARKET:
            price = HIGHEST if side == BUY else 0
        taker = Order(order_id, 0, order_id, book, side, price, lots, lots)
        fills, _ = self.books[book].match(taker)
        for fill in fills:
            if self.live[fill.maker_order_id].remaining_lots == 0:
                del self.live[fill.maker_order_id]
        if kind == LIMIT and taker.remaining_lots:
            self.books[book].rest(taker)
            self.live[order_id] = taker
        return [(order_id, f.maker_order_id, f.price_units, f.lots, book, side) for f in fills]


class Flow:
    """Draws messages: near a wandering middle, sometimes far off, sometimes wrong."""

    def __init__(self, rng: np.random.Generator, twin: Twin):
        self.rng, self.twin = rng, twin
        self.middle = [HIGHEST // 2] * BOOKS
        self.next_id = 1

    def batch(self, count: int) -> list[tuple[int, int, int, int, int, int]]:
        """Messages whose cancels name orders of the twin as it stands, or none at all."""
        rng = self.rng
        kinds = rng.choice([LIMIT, CANCEL, MARKET, IMMEDIATE_OR_CANCEL], count, p=[0.5, 0.4, 0.05, 0.05])
        sides, books = rng.integers(0, 2, count), rng.integers(0, BOOKS, count)
        away = rng.geometric(0.2, count) - 3
        far = rng.random(count) < 0.08
        away[far] = rng.integers(0, HIGHEST // 2, int(far.sum()))
        lots, wrong = rng.integers(1, 20, count), rng.random(count)
        live = list(self.twin.live)
        more = len(live) < RESTING
        found = []
        for n in range(count):
            kind, side, book, size = int(kinds[n]), int(sides[n]), int(books[n]), int(lots[n])
            if kind == CANCEL and more and n % 3:
                kind = LIMIT
            if kind == CANCEL:
                known = live and wrong[n] > 0.03
                order_id = live.pop(int(rng.integers(len(live)))) if known else int(rng.integers(1, self.next_id + 2))
                found.append((CANCEL, 0, 0, 0, 0, order_id))
                continue
            if wrong[n] < 0.2:
                self.middle[book] += int(rng.integers(-30, 31))
            price = self.middle[book] - int(away[n]) if side == BUY else self.middle[book] + int(away[n])
            message = [kind, side, book, min(max(price, 1), HIGHEST), size, self.next_id]
            if wrong[n] > 0.995:
                place, value = ((1, 2), (2, BOOKS), (3, 0), (3, HIGHEST + 1), (4, 0), (5, 1))[int(rng.integers(6))]
                message[place] = value
            if message[5] == self.next_id:
                self.next_id += 1
            found.append(tuple(message))
        return found


def compared(rng: np.random.Generator, messages: int) -> tuple[int, int]:
    """Play `messages` in both, one by one and in runs; (trades, refused)."""
    twin = Twin()
    flow = Flow(rng, twin)
    single, whole = (Matcher(BOOKS, HIGHEST, 10_000, 1 << 16) for _ in range(2))
    done = 0
    while done < messages:
        batch = flow.batch(min(int(rng.integers(1, 120)), messages - done))
        expected = []
        for message in batch:
            trades = twin.submit(*message)
            made = single.submit(*message)
            assert made == (-1 if trades is None else len(trades)), message
            expected += trades or []
        assert single.take_trades().tolist() == expected
        whole.run(np.array(batch, dtype=MESSAGE))
        assert whole.take_trades().tolist() == expected
        done += len(batch)
        for matcher in (single, whole):
            assert matcher.orders.live == len(twin.live)
            for number, book in enumerate(twin.books):
                for side in (BUY, SELL):
                    best = book.best_price(side)
                    assert matcher.best(number, side) == (-1 if best is None else best)
        if rng.random() < 0.05:
            for matcher in (single, whole):
                assert matcher.check() == []
                for number, book in enumerate(twin.books):
                    assert matcher.depth(number, 10_000) == book.depth(10_000)
                    for side in (BUY, SELL):
                        assert matcher.queue(number, side) == [order.order_id for order in book.queue(side)]
    return single.trades, single.refused


def test_random_messages_against_a_naive_book(rng: np.random.Generator, seed: int) -> None:
    print(f"seed {seed}")
    trades, refused = compared(rng, 100_000)
    assert trades > 10_000 and refused > 500


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_five_million_random_messages_against_a_naive_book(rng: np.random.Generator, seed: int) -> None:
    print(f"seed {seed}")
    trades, refused = compared(rng, 5_000_000)
    assert trades > 500_000 and refused > 25_000
