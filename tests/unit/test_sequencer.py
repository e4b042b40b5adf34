"""The sequencer: stamps, checkpoints between commands, long gaps, output commit."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.ports import JournalFull
from exchange.sequencer import Sequencer
from tests.driver import DAY, SECOND, START_NS, Driver, MemoryJournal, make_config, perpetual


class SlowJournal(MemoryJournal):
    """Nothing is durable until the test says so; full after a number of records."""

    def __init__(self, limit=10**9):
        super().__init__()
        self.limit = limit

    def append(self, record):
        if len(self.records) >= self.limit:
            raise JournalFull("full")
        self.records.append(bytes(record))


class Clock:
    """Moves on at every look, as a real one does."""

    def __init__(self):
        self.now = START_NS

    def __call__(self):
        self.now += 1
        return self.now


def kinds_of(journal):
    return [CommandKind(int.from_bytes(record[:2], "little")) for record in journal.records]


def test_checkpoints_come_by_themselves_under_a_moving_clock():
    journal, engine = MemoryJournal(), Engine()
    sequencer = Sequencer(engine, journal, Clock())
    sequencer.submit(commands.cold(CommandKind.GENESIS, make_config(checkpoint_every=5)))
    for _ in range(20):
        sequencer.submit(commands.record(CommandKind.TICK))
    assert kinds_of(journal).count(CommandKind.CHECKPOINT) == 4
    assert engine.checkpoints == 4
    twin = Engine()
    twin.apply_many(b"".join(journal.records))
    assert twin.state_digest() == engine.state_digest()


def test_a_long_gap_is_bridged_by_a_tick():
    venue = Driver([perpetual()])
    venue.now += 30 * DAY
    venue.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount("late"))
    assert kinds_of(venue.journal)[-2:] == [CommandKind.TICK, CommandKind.CREATE_ACCOUNT]
    assert venue.engine.account_id("late") == 1


def test_time_never_goes_back_when_the_clock_does():
    venue = Driver([perpetual()])
    venue.now += SECOND
    venue.tick()
    venue.now -= 10 * SECOND
    venue.tick()
    assert venue.engine.time_ns == START_NS + SECOND


def test_output_waits_for_durability_in_order():
    journal, engine = SlowJournal(), Engine()
    sequencer = Sequencer(engine, journal, Clock())
    left = []
    sequencer.submit(commands.cold(CommandKind.GENESIS, make_config()))
    sequencer.hold(lambda: left.append("first"))
    sequencer.submit(commands.record(CommandKind.TICK))
    sequencer.hold(lambda: left.append("second"))
    sequencer.release()
    assert left == []
    journal.durable_seq = 1
    sequencer.release()
    assert left == ["first"]
    journal.durable_seq = 2
    sequencer.hold(lambda: left.append("third"))
    assert left == ["first"]
    sequencer.release()
    assert left == ["first", "second", "third"]
    assert sequencer.held == 0
    sequencer.hold(lambda: left.append("at once"))
    assert left[-1] == "at once"


def test_a_full_journal_refuses_before_anything_happens():
    journal, engine = SlowJournal(limit=2), Engine()
    sequencer = Sequencer(engine, journal, Clock())
    heard = []
    sequencer.subscribe(lambda seq, events: heard.append(seq))
    sequencer.submit(commands.cold(CommandKind.GENESIS, make_config()))
    sequencer.submit(commands.record(CommandKind.TICK))
    with pytest.raises(JournalFull):
        sequencer.submit(commands.record(CommandKind.TICK))
    assert engine.seq == 2
    assert heard == [1, 2]
    journal.limit = 3
    sequencer.submit(commands.record(CommandKind.TICK))
    assert engine.seq == 3
