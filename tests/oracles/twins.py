"""The engine and the naive venue over one generated history, command by command."""

from collections.abc import Iterator

import pytest

from exchange import events
from exchange.commands import CommandKind
from exchange.engine import Engine
from tests.oracles.compare import Happened, event_faults
from tests.oracles.history import History
from tests.oracles.venue import Venue


def compared(
    seed: int, length: int, history: History, engine: Engine, venue: Venue
) -> Iterator[tuple[CommandKind, Happened, list[str]]]:
    """(kind, the engine's events, faults) of each of `length` commands; every event and every currency's sum is
    compared. The caller may add faults to the list; where there are some when it goes on, the test fails. Where
    the seed is odd books share as few blocks for order figures as there can be."""
    for _ in range(length):
        record = history.next()
        engine.apply(record)
        if engine.seq == 1 and seed % 2:
            engine.exposure.seated_least = 0
        happened = list(events.records(engine.take_events()))
        predicted = venue.apply(record)
        history.saw(happened)
        faults = event_faults(happened, predicted)
        faults += [
            f"{currency.name} does not sum to zero"
            for c, currency in enumerate(venue.state.config.currencies)
            if sum(engine.ledger(currency.name).values()) or venue.state.imbalance(c)
        ]
        command = CommandKind(int.from_bytes(record[:2], "little"))
        yield command, happened, faults
        if faults:
            pytest.fail(f"seed {seed}, command {engine.seq} ({command.name}):\n" + "\n".join(faults[:20]))
