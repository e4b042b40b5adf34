"""The same records give the same events and the same state: in batches, in another process, on other vector units."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exchange import events
from exchange.commands import PLACE_ORDER, CommandKind
from exchange.engine import Engine, InvariantBroken
from margin_ext import instruction_set
from tests.oracles.history import History

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 6_000
REPLAY = """
import sys
from exchange.engine import Engine
from margin_ext import instruction_set
engine = Engine()
with open(sys.argv[1], "rb") as journal:
    engine.apply_many(journal.read())
digest, count = engine.event_chain()
print(instruction_set(), engine.seq, digest.hex(), count, engine.state_digest().hex())
"""


def generate(seed: int, length: int) -> tuple[list[bytes], Engine]:
    """Records of a history with liquidations and expiries, and the engine that they went through."""
    history, engine, records = History(seed, ticks=True), Engine(), []
    for _ in range(length):
        record = history.next()
        engine.apply(record)
        history.saw(events.records(engine.take_events()))
        records.append(record)
    return records, engine


def fingerprint(engine: Engine) -> tuple[int, str, int, str]:
    digest, count = engine.event_chain()
    return engine.seq, digest.hex(), count, engine.state_digest().hex()


def test_batches_with_discarded_events_give_the_same_chain_and_state(seed: int) -> None:
    records, engine = generate(seed, LENGTH)
    again = Engine()
    for start in range(0, LENGTH, 97):
        batch = records[start : start + 97]
        assert again.apply_many(b"".join(batch)) == len(batch)
    assert fingerprint(again) == fingerprint(engine)


def test_reading_between_commands_changes_nothing(seed: int) -> None:
    records, engine = generate(seed, 1_500)
    again = Engine()
    for record in records:
        again.apply(record)
        if again.seq % 50 == 0:
            assert again.audit() == []
            for account_id in again.account_ids():
                again.account(account_id)
            again.state_digest()
    assert fingerprint(again) == fingerprint(engine)


@pytest.mark.parametrize("isa", ["base", ""])
def test_another_process_gives_the_same_chain_and_state(isa: str, seed: int, tmp_path: Path) -> None:
    records, engine = generate(seed, LENGTH)
    journal = tmp_path / "records.bin"
    journal.write_bytes(b"".join(records))
    environment = os.environ | {"MARGRAVE_ISA": isa, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", REPLAY, str(journal)], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert answer[0] == (isa or instruction_set())
    assert answer[1:] == [str(part) for part in fingerprint(engine)]


def test_one_more_lot_gives_another_state(seed: int) -> None:
    records, engine = generate(seed, 600)
    placed = [n for n, r in enumerate(records) if r[:2] == bytes([CommandKind.PLACE_ORDER, 0])]
    changed = Engine()
    for number, record in enumerate(records):
        altered = bytearray(record)
        if number == placed[0]:
            np.frombuffer(altered, PLACE_ORDER, 1)["quantity_lots"] += 1
        changed.apply(bytes(altered))
    assert changed.event_chain() != engine.event_chain()


def test_a_gap_in_the_sequence_stops_the_engine(seed: int) -> None:
    records, _ = generate(seed, 60)
    engine = Engine()
    for record in records[:50]:
        engine.apply(record)
    with pytest.raises(InvariantBroken):
        engine.apply(records[51])
    with pytest.raises(InvariantBroken):
        engine.apply(records[50])
