"""Write the golden journal or what it should give, after a change that is meant to move them.

`python -m tests.golden.make_journal` replays the stored records and writes the new fingerprint; with `records` as its
argument it first generates the records anew.

A generated history with trades, liquidations and an expiry, as one file of command records, and the fingerprint that
an engine must reproduce from it: event chain, event count and state digest.
"""

import sys
from pathlib import Path

from exchange import commands, events
from exchange.commands import CommandKind
from exchange.engine import Engine
from tests.oracles import world
from tests.oracles.history import History, stamped

FOLDER = Path(__file__).resolve().parent
JOURNAL = FOLDER / "journal.bin"
EXPECTED = FOLDER / "journal.txt"
SEED = 20_260_101
LENGTH = 760


def records() -> list[bytes]:
    """The history, and a last Tick on which the short options settle."""
    history, engine, out = History(SEED, ticks=True), Engine(), []
    for _ in range(LENGTH):
        out.append(history.next())
        engine.apply(out[-1])
        history.saw(events.records(engine.take_events()))
    for _ in range(2):
        history.seq += 1
        history.time_ns = world.SHORT_EXPIRY_NS + history.seq
        marks = history.marks(0)
        out.append(stamped(marks, history.seq, history.time_ns))
        history.seq += 1
        out.append(stamped(commands.record(CommandKind.TICK), history.seq, history.time_ns))
    return out


def fingerprint(journal: bytes) -> dict[str, str]:
    """What replaying the records gives, as text."""
    engine = Engine()
    count = engine.apply_many(journal)
    chain, event_count = engine.event_chain()
    counters = engine.counters()
    return {
        "commands": str(count),
        "events": str(event_count),
        "trades": str(counters.trades),
        "liquidations": str(counters.liquidations),
        "chain": chain.hex(),
        "state": engine.state_digest().hex(),
    }


def main() -> None:
    if sys.argv[1:] == ["records"]:
        JOURNAL.write_bytes(b"".join(records()))
    lines = [f"{name} {value}\n" for name, value in fingerprint(JOURNAL.read_bytes()).items()]
    EXPECTED.write_text("".join(lines))


if __name__ == "__main__":
    main()
