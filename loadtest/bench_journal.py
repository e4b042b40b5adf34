"""Recovery: a journal on disk read, checked and applied to a fresh engine."""

import statistics
import tempfile

from exchange.commands import RECORD_VERSION
from exchange.engine import LOGIC_VERSION, Engine
from loadtest import bench_engine, workload
from loadtest.report import Figure, progress
from persistence.journal import Journal
from persistence.recovery import replay

MESSAGES = 200_000
BATCH = 256
RUNS = 5


def write(flow: workload.Flow, directory: str) -> int:
    """The flow as a journal; returns the number of commands."""
    records = [*flow.setup, *flow.records]
    with Journal(directory, RECORD_VERSION, LOGIC_VERSION, 1, durability="os") as journal:
        for place in range(0, len(records), BATCH):
            for record in records[place : place + BATCH]:
                journal.append(record)
            journal.sync()
    return len(records)


def figures(messages: int = MESSAGES, runs: int = RUNS) -> dict[str, Figure]:
    """`journal.replay`: commands per second, with reading alone and applying alone beside it."""
    progress("journal: planning the flow")
    flow = workload.plan(bench_engine.SEED + 2, messages, marks_every=1_000)
    (apply_only,) = bench_engine.measured([(flow, bench_engine.timed_apply)], runs)
    whole, reading = [], []
    with tempfile.TemporaryDirectory(prefix="margrave-bench-") as directory:
        commands = write(flow, directory)
        for _ in range(runs):
            engine = Engine()
            report = replay(directory, lambda seq, epoch, slots, engine=engine: engine.apply_many(slots))
            if report.commands != commands or engine.state_digest() != flow.digest:
                raise RuntimeError("the replay did not end in the planned state")
            whole.append(report.seconds)
            reading.append(replay(directory, lambda seq, epoch, slots: None).seconds)
    peers = {
        "reading alone": commands / statistics.median(reading),
        "applying one by one": len(flow.records) / apply_only,
    }
    note = f"{commands:,} commands in batches of {BATCH}, a mark every 1,000, from the page cache"
    return {"journal.replay": Figure(commands / statistics.median(whole), "commands/s", None, peers, note)}
