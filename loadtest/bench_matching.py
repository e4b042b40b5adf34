"""One book: the engine's cost per message, beside a matching library that keeps a book and nothing else."""

import gc
import importlib
import statistics
import time
from typing import Any

from loadtest import bench_engine, workload
from loadtest.report import Figure, progress

MESSAGES = 100_000
MIX = workload.Mix(apart=True)


def timed_bourse(core: Any, flow: workload.Flow) -> tuple[float, int]:
    """(seconds, trades) of the same operations in a bourse OrderBook."""
    book = core.OrderBook(0, 1, True)
    place, cancel, set_time = book.place_order, book.cancel_order, book.set_time
    ids: list[int] = []
    gc.disable()
    started = time.perf_counter()
    for number, operation in enumerate(flow.operations):
        set_time(number)  # orders of one price and time would replace each other
        if operation.kind == "cancel":
            cancel(ids[operation.order])
        elif operation.kind == "market":
            ids.append(place(operation.buy, operation.lots, 0))
        else:
            ids.append(place(operation.buy, operation.lots, 0, price=operation.price_units))
    seconds = time.perf_counter() - started
    gc.enable()
    return seconds, len(book.get_trades())


def peers(flow: workload.Flow, runs: int) -> dict[str, float]:
    """ns a message of the peers that are installed and make the same number of trades."""
    try:
        core = importlib.import_module("bourse.core")
    except ImportError:
        progress("matching: bourse is not installed (extra `bench`), no peer")
        return {}
    results = [timed_bourse(core, flow) for _ in range(runs)]
    if results[0][1] != flow.trades:
        progress(f"matching: bourse made {results[0][1]:,} trades, the engine {flow.trades:,}: not comparable")
        return {}
    return {"bourse (book alone)": statistics.median(s for s, _ in results) / len(flow.operations) * 1e9}


def figures(messages: int = MESSAGES, runs: int = bench_engine.RUNS) -> dict[str, Figure]:
    """`matching.book.one`: ns per message of one perpetual's flow through the whole engine."""
    progress("matching: planning the flow")
    flow = workload.plan(bench_engine.SEED + 1, messages, options=False, accounts=100, mix=MIX)
    progress(f"matching: {bench_engine.describe(flow)}")
    (seconds,) = bench_engine.measured([(flow, bench_engine.timed_apply)], runs)
    return {
        "matching.book.one": Figure(
            seconds / messages * 1e9,
            "ns/message",
            None,
            peers(flow, runs),
            "ours is the whole engine: margin, ledger, positions and events with every message",
        )
    }
