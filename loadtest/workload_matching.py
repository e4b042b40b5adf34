"""Seeded message flow for books alone: 55 % adds, 40 % cancels of resting orders, 5 % market or immediate-or-cancel.

The flow is drawn against a Matcher, so that adds stand near the touch and cancels name orders that rest. What comes
out is an array of messages which any book can be fed with.
"""

import hashlib
import math
import os
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.market.matching import CANCEL, IMMEDIATE_OR_CANCEL, LIMIT, MARKET, MESSAGE, Matcher

Messages = NDArray[Any]
VERSION = 2
"""Raised with every change of the drawing: prepared flows of another version are not read."""


class Shape(NamedTuple):
    """What a flow looks like. Prices are in units, distances from the touch are geometric."""

    messages: int = 1_000_000
    books: int = 1
    resting: int = 5_000
    """Orders per book around which the flow settles."""
    max_price_units: int = 20_000
    cancel: float = 0.40
    aggressive: float = 0.05
    """Market and immediate-or-cancel orders, in equal parts."""
    crossing: float = 0.06
    """Of all messages: adds priced through the touch."""
    near_units: float = 9.0
    far_units: float = 120.0
    far: float = 0.12
    """Share of the adds at the far distance."""


ONE = Shape()
TWO_HUNDRED = Shape(books=200, resting=50, near_units=5.0, far_units=40.0)


class _Draw:
    """Draws one message after the other; `live` may still name orders that were filled meanwhile."""

    def __init__(self, shape: Shape, seed: int):
        self.shape, self.rng = shape, random.Random(seed)
        limit = 4 * shape.books * shape.resting + shape.messages
        self.matcher = Matcher(shape.books, shape.max_price_units, limit)
        self.live: list[list[int]] = [[] for _ in range(shape.books)]
        self.fair = [shape.max_price_units / 2.0] * shape.books
        self.next_id = 1
        self.rows: list[tuple[int, int, int, int, int, int]] = []

    def away(self, mean: float) -> int:
        """A geometric distance of 0, 1, 2 ... units."""
        return int(math.log(1.0 - self.rng.random()) / math.log(mean / (1.0 + mean)))

    def send(self, kind: int, side: int, book: int, price: int, lots: int, order_id: int) -> None:
        self.rows.append((kind, side, book, price, lots, order_id))
        if self.matcher.submit(kind, side, book, price, lots, order_id) < 0:
            raise RuntimeError(f"the planned message {self.rows[-1]} was refused")

    def cancel(self, book: int) -> bool:
        """Cancel a resting order, a young one in six of ten cases, as in real flow."""
        live, rng = self.live[book], self.rng
        while live:
            count = len(live)
            young = rng.random() < 0.6
            place = count - 1 - min(count - 1, int(rng.expovariate(0.02))) if young else rng.randrange(count)
            order_id = live[place]
            live[place] = live[-1]
            live.pop()
            if self.matcher.remaining(order_id):
                self.send(CANCEL, 0, book, 0, 0, order_id)  # the book for readers that keep ids per book
                return True
        return False

    def order(self, book: int, aggressive: bool, crossing: bool) -> None:
        """An order around the book's fair value, or one that takes."""
        rng, shape, highest = self.rng, self.shape, self.shape.max_price_units
        fair = self.fair[book]
        bid, ask = self.matcher.best(book, 0), self.matcher.best(book, 1)
        lots = 1 + int(rng.random() * 100)
        taking = bid > 0 and ask > 0
        kind = LIMIT
        if taking and (aggressive or crossing):
            # Takers lean towards the fair value, so that the book follows it.
            lean = max(-0.25, min(0.25, (fair - (bid + ask) / 2) * 0.05))
            side = 0 if rng.random() < 0.5 + lean else 1
            through = self.away(0.7)
            price = ask + through if side == 0 else bid - through
            if aggressive:
                kind = MARKET if rng.random() < 0.5 else IMMEDIATE_OR_CANCEL
        else:
            side = 0 if rng.random() < 0.5 else 1
            away = self.away(shape.far_units if rng.random() < shape.far else shape.near_units)
            price = math.floor(fair) - 1 - away if side == 0 else math.floor(fair) + 2 + away
        order_id, self.next_id = self.next_id, self.next_id + 1
        price = 0 if kind == MARKET else min(max(price, 1), highest)
        self.send(kind, side, book, price, lots, order_id)
        if kind == LIMIT:
            self.live[book].append(order_id)

    def message(self) -> None:
        """The next message."""
        rng, shape = self.rng, self.shape
        book = rng.randrange(shape.books) if shape.books > 1 else 0
        middle = shape.max_price_units / 2.0
        self.fair[book] += rng.gauss(0.0, 0.12) - (self.fair[book] - middle) * 0.0002
        draw = rng.random()
        if draw < shape.aggressive:
            self.order(book, True, False)
            return
        # More cancels when the book is fuller than it should be, fewer when it is emptier.
        cancels = shape.cancel * min(1.5, self.matcher.resting(book) / shape.resting)
        if draw < shape.aggressive + cancels and self.cancel(book):
            return
        self.order(book, False, rng.random() < shape.crossing / (1.0 - shape.aggressive - shape.cancel))


def draw(shape: Shape, seed: int) -> tuple[Messages, Messages]:
    """(opening, messages): the flow proper starts in books that are already full."""
    drawn = _Draw(shape, seed)
    for number in range(shape.books * shape.resting):
        drawn.order(number % shape.books, False, False)
    opened = np.array(drawn.rows, dtype=MESSAGE)
    drawn.rows.clear()
    for _ in range(shape.messages):
        drawn.message()
    return opened, np.array(drawn.rows, dtype=MESSAGE)


def prepared(shape: Shape, seed: int) -> tuple[Messages, Messages]:
    """As `draw`; drawn once and kept in the user's part of the temporary directory."""
    name = hashlib.sha256(repr((VERSION, seed, shape, MESSAGE.descr)).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"margrave-flows-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.npz"
    if path.exists() and path.stat().st_uid == os.getuid():
        with np.load(path, allow_pickle=False) as held:
            return held["opening"], held["messages"]
    opened, messages = draw(shape, seed)
    partial = path.with_suffix(f".{os.getpid()}.part")
    with open(partial, "wb") as file:
        np.savez(file, opening=opened, messages=messages)
    partial.replace(path)
    return opened, messages
