"""Order books of other libraries, fed with the same messages as ours and checked for the same outcome.

Each is driven from Python, its only interface, with one book object per instrument.
"""

import importlib
from collections import defaultdict
from typing import Any, NamedTuple, Protocol

from exchange.market.matching import CANCEL, LIMIT, MARKET

Row = tuple[int, int, int, int, int, int]
"""(kind, side, book, price_units, quantity_lots, order_id), as in exchange.market.matching.MESSAGE"""
Trades = list[tuple[int, int, int, int]]
"""(taker order id, maker order id, price_units, lots)"""
Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]


class Outcome(NamedTuple):
    """What a flow leads to, per book: its trades in order, and (price, lots) of all its bids and asks."""

    trades: list[Trades]
    depths: list[Depth]


class Peer(Protocol):
    """`play` is what is timed; `fault` says where the outcome differs, None where it is the same."""

    def play(self, rows: list[Row]) -> None: ...

    def fault(self, expected: Outcome) -> str | None: ...


class Bourse:
    """bourse, a book in Rust. It numbers orders itself; immediate-or-cancel is a limit order and a cancel."""

    def __init__(self, module: Any, books: int):
        self.books = [module.OrderBook(0, 1, True) for _ in range(books)]
        self.ids: dict[int, int] = {}
        self.now = 0

    def play(self, rows: list[Row]) -> None:
        ids, now = self.ids, self.now
        steps = [(book.set_time, book.place_order, book.cancel_order) for book in self.books]
        for kind, side, book, price, lots, order_id in rows:
            set_time, place, cancel = steps[book]
            now += 1
            set_time(now)  # orders of one price and time would replace each other
            if kind == LIMIT:
                ids[order_id] = place(side == 0, lots, 0, price=price)
            elif kind == CANCEL:
                cancel(ids[order_id])
            elif kind == MARKET:
                ids[order_id] = place(side == 0, lots, 0)
            else:
                ids[order_id] = taker = place(side == 0, lots, 0, price=price)
                cancel(taker)
        self.now = now

    def fault(self, expected: Outcome) -> str | None:
        for book, trades in enumerate(expected.trades):
            made = [(price, lots) for _, _, price, lots, _, _ in self.books[book].get_trades()]
            if made != [(price, lots) for _, _, price, lots in trades]:
                return f"book {book}: other trades ({len(made):,}, ours {len(trades):,})"
            pairs = [(taker, maker) for *_, taker, maker in self.books[book].get_trades()]
            if pairs != [(self.ids[taker], self.ids[maker]) for taker, maker, _, _ in trades]:
                return f"book {book}: the same trades of other orders"
        return None


class LimitOrderBook:
    """limit-order-book, in C++ through ctypes. It tells no trades: what is left in the books is compared."""

    def __init__(self, module: Any, books: int):
        self.books = [module.LimitOrderBook() for _ in range(books)]

    def play(self, rows: list[Row]) -> None:
        steps = [(book.limit, book.cancel, book.market, book.has) for book in self.books]
        for kind, side, book, price, lots, order_id in rows:
            limit, cancel, market, has = steps[book]
            if kind == LIMIT:
                limit(side == 0, order_id, lots, price)
            elif kind == CANCEL:
                cancel(order_id)
            elif kind == MARKET:
                market(side == 0, order_id, lots)
            else:
                limit(side == 0, order_id, lots, price)
                if has(order_id):
                    cancel(order_id)

    def fault(self, expected: Outcome) -> str | None:
        for book, (bids, asks) in enumerate(expected.depths):
            theirs = self.books[book]
            if [theirs.volume_buy(price) for price, _ in bids] != [lots for _, lots in bids]:
                return f"book {book}: other bids"
            if [theirs.volume_sell(price) for price, _ in asks] != [lots for _, lots in asks]:
                return f"book {book}: other asks"
            if theirs.volume() != sum(lots for _, lots in bids + asks):
                return f"book {book}: other lots in all"
        return None


class Lumina:
    """lumina-lob, in C++ through pybind11."""

    def __init__(self, module: Any, books: int):
        self.books = [module.OrderBook() for _ in range(books)]
        self.engines = [module.MatchingEngine(book) for book in self.books]
        self.sides = (module.Side.BID, module.Side.ASK)
        types = module.OrderType
        self.types = (types.LIMIT, None, types.MARKET, types.IOC)

    def play(self, rows: list[Row]) -> None:
        steps = [(engine.process, book.cancel) for engine, book in zip(self.engines, self.books, strict=True)]
        sides, types = self.sides, self.types
        for kind, side, book, price, lots, order_id in rows:
            process, cancel = steps[book]
            if kind == CANCEL:
                cancel(order_id)
            else:
                process(order_id, sides[side], None if kind == MARKET else price, lots, types[kind])

    def fault(self, expected: Outcome) -> str | None:
        for book, trades in enumerate(expected.trades):
            made = len(self.books[book].trades())
            if made != len(trades):
                return f"book {book}: {made:,} trades, ours {len(trades):,}"
            bids, asks = self.books[book].full_snapshot()
            if (sorted(bids), sorted(asks)) != (sorted(expected.depths[book][0]), sorted(expected.depths[book][1])):
                return f"book {book}: other depth"
        return None


KNOWN: dict[str, tuple[str, type[Any]]] = {
    "bourse": ("bourse.core", Bourse),
    "limit-order-book": ("limit_order_book", LimitOrderBook),
    "lumina-lob": ("lumina_lob._core", Lumina),
}


def installed(say: Any) -> dict[str, tuple[Any, type[Any]]]:
    """The known libraries that can be imported, {name: (module, peer)}; what is missing is said."""
    found = {}
    for name, (module, peer) in KNOWN.items():
        try:
            found[name] = (importlib.import_module(module), peer)
        except ImportError as error:
            say(f"matching: {name} is left out: {error}")
    return found


def by_book(trades: list[tuple[int, int, int, int, int, int]], books: int) -> list[Trades]:
    """Trade records (exchange.market.matching.TRADE) as lists per book."""
    found: dict[int, Trades] = defaultdict(list)
    for taker, maker, price, lots, book, _ in trades:
        found[book].append((taker, maker, price, lots))
    return [found[book] for book in range(books)]
