"""The book by itself: compiled, message by message from Python, as it grows; other libraries on the same flow beside.

`matching.book.*` plays a prepared array of messages in one compiled call. `matching.python` makes one call a
message, which is the only way the peers can be driven; all of them must come to the same trades or depths.
"""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

from exchange.market.matching import Matcher
from loadtest import matching_peers, workload_matching
from loadtest.report import Figure, progress
from loadtest.workload_matching import ONE, TWO_HUNDRED, Messages, Shape

MESSAGES = 1_000_000
RUNS = 7
SEED = 20_260_101
RING = 1 << 12
BATCH = 8_192
"""Messages that are turned into Python objects at a time."""
GOALS_NS = {"one": 25.0, "two_hundred": 40.0, "python": 100.0}
GROWTH_GOAL = 2.5
GROWTH_MESSAGES = 400_000
GROWTH_RESTING = (1_000, 10_000, 100_000, 1_000_000)
GROWTH_BOOKS = (1, 20, 200, 2_000)
Timed = Callable[[], float]


def opened(shape: Shape, opening: Messages, ring: int = RING) -> Matcher:
    """A Matcher whose books are as full as the flow expects them."""
    matcher = Matcher(shape.books, shape.max_price_units, len(opening) + shape.messages, ring)
    matcher.run(opening)
    return matcher


def seconds(play: Callable[[Any], Any], messages: Messages, form: Callable[[Messages], Any] | None = None) -> float:
    """Time of one play, without the garbage collector.

    `form` turns a batch into Python objects just before it is played, untimed: a gateway has them fresh as well,
    and a million cold ones would measure the memory.
    """
    gc.collect()
    gc.disable()
    elapsed = 0.0
    step = BATCH if form else len(messages)
    for place in range(0, len(messages), step):
        batch = messages[place : place + step]
        what = form(batch) if form else batch
        started = time.perf_counter()
        play(what)
        elapsed += time.perf_counter() - started
    gc.enable()
    return elapsed


def rows_of(messages: Messages) -> list[matching_peers.Row]:
    """Tuples of plain integers."""
    return cast(list[matching_peers.Row], messages.tolist())


def records_of(messages: Messages) -> list[bytes]:
    """The 16-byte records one by one."""
    raw = messages.tobytes()
    return [raw[place : place + 16] for place in range(0, len(raw), 16)]


def one_by_one(matcher: Matcher, rows: list[matching_peers.Row]) -> None:
    """A call a message with plain integers."""
    submit = matcher.submit
    for kind, side, book, price, lots, order_id in rows:
        submit(kind, side, book, price, lots, order_id)


def record_by_record(matcher: Matcher, records: list[bytes]) -> None:
    """A call a message with its 16-byte record."""
    run = matcher.run
    for record in records:
        run(record)


class PreparedFlow:
    """A prepared flow, what it leads to, and the ways to play it."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.opening, self.messages = workload_matching.prepared(shape, SEED)
        ring = 1 << (4 * len(self.messages)).bit_length()
        matcher = opened(shape, self.opening, ring)
        matcher.run(self.messages)
        if matcher.refused or matcher.check():
            raise RuntimeError(f"the flow was not played as planned: {matcher.refused} refused, {matcher.check()[:1]}")
        self.expected = matching_peers.Outcome(
            matching_peers.by_book(matcher.take_trades().tolist(), shape.books),
            [matcher.depth(book, 1 << 30) for book in range(shape.books)],
        )
        self.trades = matcher.trades

    def _ours(self, play: Callable[[Matcher, Any], Any], form: Callable[[Messages], Any] | None = None) -> float:
        matcher = opened(self.shape, self.opening)
        elapsed = seconds(lambda what: play(matcher, what), self.messages, form)
        if matcher.trades != self.trades:
            raise RuntimeError(f"{matcher.trades} trades, planned were {self.trades}")
        return elapsed

    def compiled(self) -> float:
        return self._ours(Matcher.run)

    def python(self) -> float:
        return self._ours(one_by_one, rows_of)

    def records(self) -> float:
        return self._ours(record_by_record, records_of)

    def peers(self) -> dict[str, Timed]:
        """The installed peers that come to the same outcome."""
        found: dict[str, Timed] = {}
        for name, (module, kind) in matching_peers.installed(progress).items():

            def played(module: Any = module, kind: Any = kind) -> tuple[float, Any]:
                peer = kind(module, self.shape.books)
                peer.play(self.opening.tolist())
                return seconds(peer.play, self.messages, rows_of), peer

            _, peer = played()
            fault = peer.fault(self.expected)
            if fault is None:
                found[name] = lambda played=played: played()[0]
            else:
                progress(f"matching: {name} is left out: {fault}")
        return found

    def describe(self) -> str:
        """The flow in words."""
        share = [float((self.messages["kind"] == kind).mean()) for kind in range(4)]
        return (
            f"{self.shape.books} books, {len(self.messages):,} messages: {share[0]:.1%} adds, {share[1]:.1%} cancels, "
            f"{share[2] + share[3]:.1%} market or IOC, {self.trades:,} trades, {len(self.opening):,} orders at first"
        )


def medians_ns(timed: dict[str, Timed], messages: int, runs: int) -> dict[str, float]:
    """Median ns per message of each, measured in turns so that all see the same machine."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(runs):
        for name, measure in timed.items():
            found[name].append(measure() / messages * 1e9)
    return {name: statistics.median(values) for name, values in found.items()}


def growth(shapes: list[Shape], runs: int) -> list[float]:
    """Median ns per message of each shape, compiled."""
    found = []
    for shape in shapes:
        opening, messages = workload_matching.prepared(shape, SEED)
        measured = [seconds(opened(shape, opening).run, messages) for _ in range(runs)]
        found.append(statistics.median(measured) / len(messages) * 1e9)
    return found


def growth_figures(messages: int, runs: int, resting: tuple[int, ...], books: tuple[int, ...]) -> dict[str, Figure]:
    """How much more a message costs in the largest state than in the smallest."""
    figures = {}
    for name, sizes, unit in (("resting", resting, "orders"), ("books", books, "books")):
        progress(f"matching: growth with {unit}")
        base = Shape(messages=messages) if name == "resting" else TWO_HUNDRED._replace(messages=messages)
        shapes = [base._replace(**{name: size}) for size in sizes]
        cost = growth(shapes, runs)
        table = ", ".join(f"{size:,} {unit} {ns:.1f} ns" for size, ns in zip(sizes, cost, strict=True))
        figures[f"matching.growth.{name}"] = Figure(cost[-1] / cost[0], "x", GROWTH_GOAL, note=table)
    return figures


def figures(
    messages: int = MESSAGES,
    runs: int = RUNS,
    growth_messages: int = GROWTH_MESSAGES,
    resting: tuple[int, ...] = GROWTH_RESTING,
    books: tuple[int, ...] = GROWTH_BOOKS,
) -> dict[str, Figure]:
    """The figures `matching.*` in ns per message, and as factors of growth."""
    found: dict[str, Figure] = {}
    for name, shape in (("one", ONE), ("two_hundred", TWO_HUNDRED)):
        flow = PreparedFlow(shape._replace(messages=messages))
        progress(f"matching: {flow.describe()}")
        peers = flow.peers()
        ours: dict[str, Timed] = {"compiled": flow.compiled, "python": flow.python}
        if name == "one":
            ours["16-byte record"] = flow.records
        cost = medians_ns(ours | peers, messages, runs)
        beside = {peer: cost[peer] for peer in peers}
        ratios = ", ".join(f"{cost[peer] / cost['python']:.1f} x {peer}" for peer in peers)
        found[f"matching.book.{name}"] = Figure(
            cost["compiled"],
            "ns/message",
            GOALS_NS[name],
            beside,
            "ours compiled; the peers can only be driven from Python",
        )
        if name == "one":
            own = {"ours, one 16-byte record a call": cost["16-byte record"]}
            note = f"a call a message; speed as a multiple: {ratios}" if ratios else "a call a message"
            found["matching.python"] = Figure(cost["python"], "ns/message", GOALS_NS["python"], own | beside, note)
        del flow, peers
    return found | growth_figures(growth_messages, max(1, min(runs, 5)), resting, books)
