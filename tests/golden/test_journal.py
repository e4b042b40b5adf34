"""The golden journal replays to the recorded events and state, whatever machine this is.

A difference means that behaviour, or the form of the exported state, changed. Where that was meant: raise the engine's
LOGIC_VERSION and write the fingerprint anew (`python -m tests.golden.make_journal`).
"""

from exchange import events
from exchange.engine import Engine
from exchange.events import EventKind
from tests.golden.make_journal import EXPECTED, JOURNAL, fingerprint


def test_replay_gives_the_recorded_fingerprint() -> None:
    recorded = dict(line.split() for line in EXPECTED.read_text().splitlines())
    assert fingerprint(JOURNAL.read_bytes()) == recorded


def test_the_journal_is_small_and_goes_through_the_venue() -> None:
    journal = JOURNAL.read_bytes()
    assert len(journal) <= 100_000
    engine = Engine()
    engine.apply_many(journal)
    assert engine.audit() == []
    again, seen = Engine(), set()
    offset = 0
    while offset < len(journal):
        size = int.from_bytes(journal[offset + 2 : offset + 4], "little") * 64
        again.apply(journal[offset : offset + size])
        seen |= {kind for kind, _, _ in events.records(again.take_events())}
        offset += size
    assert seen >= {
        EventKind.TRADE_EXECUTED, EventKind.ORDER_REJECTED, EventKind.ORDER_CANCELLED, EventKind.ORDER_EDITED,
        EventKind.LEVEL_CHANGED, EventKind.LIQUIDATION_STARTED, EventKind.INSTRUMENT_SETTLED, EventKind.MARKS_UPDATED,
    }  # fmt: skip
    assert again.event_chain() == engine.event_chain()
