"""The whole engine under seeded order flow: pre-trade portfolio margin, matching, ledger, monitor, events."""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

from exchange.commands import RECORD_VERSION
from exchange.engine import LOGIC_VERSION, Engine
from loadtest import workload
from loadtest.report import Figure, progress
from persistence.journal import Journal

MESSAGES = 100_000
RUNS = 7
SEED = 20_260_101
EVENTS_EVERY = 64
"""Commands between two looks at the events: about a batch of a loaded venue."""
ORDERS_GOAL = 1_000_000.0


def timed_apply(flow: workload.Flow, engine: Engine) -> float:
    """Seconds for all records of a flow, one `apply` each, the events taken in batches."""
    apply, take = engine.apply, engine.take_events
    batches = [flow.records[i : i + EVENTS_EVERY] for i in range(0, len(flow.records), EVENTS_EVERY)]
    gc.disable()
    started = time.perf_counter()
    for batch in batches:
        for record in batch:
            apply(record)
        take()
    seconds = time.perf_counter() - started
    gc.enable()
    return seconds


def timed_journaled(flow: workload.Flow, engine: Engine) -> float:
    """As `timed_apply`, with every record appended to a journal first (checksummed, written, not synced)."""
    apply, take = engine.apply, engine.take_events
    with tempfile.TemporaryDirectory(prefix="margrave-bench-") as directory:
        journal = Journal(directory, RECORD_VERSION, LOGIC_VERSION, 1, durability="os", first_seq=len(flow.setup) + 1)
        append, kick = journal.append, journal.kick
        gc.disable()
        started = time.perf_counter()
        for place in range(0, len(flow.records), EVENTS_EVERY):
            for record in flow.records[place : place + EVENTS_EVERY]:
                append(record)
                apply(record)
            take()
            kick()
        seconds = time.perf_counter() - started
        gc.enable()
        journal.sync()
        journal.close()
    return seconds


Timed = Callable[[workload.Flow, Engine], float]


def measured(pairs: Sequence[tuple[workload.Flow, Timed]], runs: int = RUNS) -> list[float]:
    """Median seconds of each (flow, timing) over `runs` rounds, in turns so that all see the same machine.

    Every run starts with a fresh engine and must end in the planned state.
    """
    seconds: list[list[float]] = [[] for _ in pairs]
    for _ in range(runs):
        for place, (flow, timed) in enumerate(pairs):
            engine = workload.replayed(flow)
            seconds[place].append(timed(flow, engine))
            if engine.state_digest() != flow.digest:
                raise RuntimeError("a run did not end in the planned state")
    return [statistics.median(found) for found in seconds]


def describe(flow: workload.Flow) -> str:
    """The flow in words."""
    count = len(flow.operations)
    return (
        f"{count:,} messages: {flow.placed / count:.0%} orders, {1 - flow.placed / count:.0%} cancels, "
        f"{flow.trading_messages / count:.1%} trade ({flow.trades:,} trades), {flow.rejected / count:.2%} refused"
    )


def figures(messages: int = MESSAGES, runs: int = RUNS) -> dict[str, Figure]:
    """`engine.orders`: order messages per second on one core."""
    progress("engine: planning the flow")
    flow = workload.plan(SEED, messages)
    progress(f"engine: {describe(flow)}")
    marked = workload.plan(SEED, messages, marks_every=1_000)
    plain, journaled, with_marks = measured([(flow, timed_apply), (flow, timed_journaled), (marked, timed_apply)], runs)
    progress(f"engine: {plain / messages * 1e9:.0f} ns a message, {journaled / messages * 1e9:.0f} with the journal")
    return {
        "engine.orders": Figure(
            messages / plain,
            "orders/s",
            ORDERS_GOAL,
            {"with journal": messages / journaled, "with a mark every 1,000": messages / with_marks},
            f"{describe(flow)}; 1 perpetual, 20 options, 100 accounts",
        )
    }
