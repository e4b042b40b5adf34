"""A writer killed at any moment: every sequence number it confirmed is in the journal, with the right
bytes."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from persistence.errors import JournalCorrupt, JournalError
from persistence.journal import Journal, read_batches
from persistence.journal_format import RECORD_DTYPE
from persistence.recovery import replay

ROOT = Path(__file__).parents[2]

# Appends records of 1 to 4 slots as fast as the disk allows and reports each durable seq on standard output.
WRITER = """
import os, select, struct, sys
from persistence.journal import Journal, JournalFull

def record(seq):
    slots = 1 + seq % 4
    head = struct.pack("<HHIQq", 3, slots, seq % 97, seq, seq * 1000)
    return head + struct.pack("<Q", seq * 0x9E3779B97F4A7C15 % 2**64) * ((slots * 64 - 24) // 8)

directory, epoch, durability, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
journal = Journal(directory, 1, 1, epoch, durability, segment_bytes=64 * 2000, first_segment_bytes=64 * 100,
                  pending_limit_bytes=64 * 400)
os.write(1, struct.pack("<Q", journal.durable_seq))
seq = journal.appended_seq
while True:
    for _ in range(1 + (seq * seed) % 7):
        try:
            journal.append(record(seq + 1))
        except JournalFull:
            select.select([journal], [], [])
            break
        seq += 1
    journal.kick()
    before = journal.durable_seq
    if journal.on_durable() != before:
        os.write(1, struct.pack("<Q", journal.durable_seq))
"""


def expected(seq: int) -> bytes:
    slots = 1 + seq % 4
    head = struct.pack("<HHIQq", 3, slots, seq % 97, seq, seq * 1000)
    return head + struct.pack("<Q", seq * 0x9E3779B97F4A7C15 % 2**64) * ((slots * 64 - 24) // 8)


def run_and_kill(directory: Path, epoch: int, durability: str, seconds: float) -> tuple[int, int]:
    """(seq found at the start, last seq confirmed before the kill)"""
    command = [sys.executable, "-c", WRITER, str(directory), str(epoch), durability, str(epoch)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        words = writer.stdout.read(8)
        time.sleep(seconds)
        writer.kill()
        words += writer.stdout.read()
    confirmed = [seq for (seq,) in struct.iter_unpack("<Q", words[: len(words) // 8 * 8])]
    assert confirmed == sorted(confirmed)
    return confirmed[0], confirmed[-1]


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_every_confirmed_seq_survives_kills(tmp_path: Path, durability: str) -> None:
    rng = random.Random(7)
    last = 0
    for epoch in range(1, 9):
        found, confirmed = run_and_kill(tmp_path, epoch, durability, rng.uniform(0.0, 0.12))
        assert found == last  # the writer resumed where the reader ended
        reader = read_batches(tmp_path)
        seq = 0
        for first_seq, batch_epoch, slots in reader:
            assert first_seq == seq + 1
            assert batch_epoch <= epoch
            data = bytes(slots)
            at = 0
            while at < len(data):
                seq += 1
                record = expected(seq)
                assert data[at : at + len(record)] == record
                at += len(record)
        assert seq == reader.next_seq - 1 >= confirmed
        last = seq
    assert last > 1000
    assert len(list(tmp_path.glob("*.seg"))) > 2


def test_kill_during_the_first_opening_leaves_a_usable_directory(tmp_path: Path) -> None:
    """The first segment gets its name only when it is whole, so any moment is a good one."""
    code = "import sys; from persistence.journal import Journal; print(flush=True); Journal(sys.argv[1], 1, 1, 1)"
    for i in range(12):
        directory = tmp_path / str(i)
        with subprocess.Popen([sys.executable, "-c", code, directory], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(i * 0.0015)
            process.kill()
        with Journal(directory, 1, 1, 2, segment_bytes=64 * 100) as journal:
            assert journal.appended_seq == 0
            journal.append(expected(1))
        assert replay(directory, lambda *_: None).last_seq == 1


def test_replay_reports_and_stops_where_apply_fails(tmp_path: Path) -> None:
    with Journal(tmp_path, 2, 5, 3, segment_bytes=64 * 64) as journal:
        for seq in range(1, 101):
            journal.append(expected(seq))
            if seq % 5 == 0:
                journal.sync()
    seen: list[int] = []

    def apply(first_seq: int, epoch: int, slots: np.ndarray) -> None:
        assert epoch == 3
        seen.append(int(slots.view(RECORD_DTYPE)["seq"][0]))
        assert seen[-1] == first_seq

    report = replay(tmp_path, apply, record_version=2, logic_version=5)
    assert seen == list(range(1, 101, 5))
    assert (report.last_seq, report.commands, report.batches, report.epoch, report.torn) == (
        100,
        100,
        20,
        3,
        None,
    )
    assert report.payload_bytes == sum(len(expected(seq)) for seq in range(1, 101))

    seen.clear()
    assert replay(tmp_path, apply, from_seq=53).commands == 48
    assert seen[:2] == [53, 56]

    def poisoned(first_seq: int, epoch: int, slots: np.ndarray) -> None:
        if first_seq == 41:
            raise ArithmeticError("the books do not balance")

    with pytest.raises(ArithmeticError) as caught:
        replay(tmp_path, poisoned)
    assert caught.value.__notes__ == ["replay stopped in the batch of seq 41 to 45"]
    with pytest.raises(JournalError, match="logic version 5; this build replays 2 and 6"):
        replay(tmp_path, apply, logic_version=6)


def test_replay_refuses_damage_and_names_it(tmp_path: Path) -> None:
    with Journal(tmp_path, 1, 1, 1, segment_bytes=64 * 64) as journal:
        for seq in range(1, 31):
            journal.append(expected(seq))
            journal.sync()
    victim = sorted(tmp_path.glob("*.seg"))[0]
    with open(victim, "r+b") as file:
        file.seek(64 + 64 + 32)
        file.write(b"\xee")
        os.fsync(file.fileno())
    with pytest.raises(JournalCorrupt) as caught:
        replay(tmp_path, lambda *_: None)
    assert (caught.value.segment, caught.value.offset, caught.value.seq) == (str(victim), 64, 1)
