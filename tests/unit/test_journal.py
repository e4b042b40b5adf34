"""The journal: layout, group commit, roll-over, torn tails, damage and bounds, on real files."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import resource
import select
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from persistence import journal_reader
from persistence.journal import Journal, JournalCorrupt, JournalError, JournalFull, read_batches
from persistence.journal_format import RECORD_DTYPE, SegmentCursor, crc32c, crc32c_software
from persistence.journal_reader import list_segments

SEGMENT = 64 * 256


def record(seq: int, slots: int = 1, kind: int = 7, fill: int = 0xA5) -> bytes:
    """One command record whose body is derived from its seq, so that a mix-up shows."""
    head = struct.pack("<HHIQq", kind, slots, seq & 0xFFFF, seq, 1_000_000 * seq)
    body = bytes((seq * 31 + i + fill) & 0xFF for i in range(slots * 64 - len(head)))
    return head + body


def open_journal(directory: Path, epoch: int = 1, **options: object) -> Journal:
    options.setdefault("segment_bytes", SEGMENT)
    return Journal(directory, options.pop("record_version", 1), options.pop("logic_version", 1), epoch, **options)


def contents(directory: Path, from_seq: int = 1) -> bytes:
    return b"".join(bytes(slots) for _, _, slots in read_batches(directory, from_seq))


def write_batches(directory: Path, sizes: list[list[int]], **options: object) -> list[bytes]:
    """One batch per inner list of record lengths in slots; returns the payloads."""
    payloads = []
    with open_journal(directory, **options) as journal:
        for lengths in sizes:
            first = journal.appended_seq + 1
            payload = b"".join(record(first + i, slots) for i, slots in enumerate(lengths))
            journal.append(payload)
            journal.sync()
            payloads.append(payload)
    return payloads


def test_crc32c_known_answers() -> None:
    # RFC 3720, appendix B.4, and the usual check value.
    for function in (crc32c, crc32c_software):
        assert function(b"123456789") == 0xE3069283
        assert function(bytes(32)) == 0x8A9136AA
        assert function(b"\xff" * 32) == 0x62A8AB43
        assert function(bytes(range(32))) == 0x46DD794E
        assert function(b"") == 0


def test_crc32c_paths_agree_and_continue() -> None:
    data = random.Random(1).randbytes(1000)
    for start in range(9):
        for length in (0, 1, 7, 8, 9, 63, 64, 65, 500):
            part = data[start : start + length]
            assert crc32c(part) == crc32c_software(part)
            assert crc32c(data, crc32c(part)) == crc32c_software(part + data)


def test_round_trip_and_layout(tmp_path: Path) -> None:
    payloads = write_batches(tmp_path / "j", [[1, 2, 1], [1], [5, 1]], epoch=9)
    assert contents(tmp_path / "j") == b"".join(payloads)
    batches = list(read_batches(tmp_path / "j"))
    assert [(first, epoch) for first, epoch, _ in batches] == [(1, 9), (4, 9), (5, 9)]
    slots = batches[0][2].view(RECORD_DTYPE)
    assert slots["seq"][[0, 1, 3]].tolist() == [1, 2, 3] and slots["time_ns"][0] == 1_000_000

    (path,) = (tmp_path / "j").iterdir()
    assert path.name == "0000000001.seg" and path.stat().st_mode & 0o777 == 0o600
    raw = path.read_bytes()
    assert len(raw) == SEGMENT and raw[:8] == b"MARGRAVE"
    assert struct.unpack_from("<HHIQQQQ", raw, 8) == (1, 0, 1, 1, 1, 9, SEGMENT)
    assert struct.unpack_from("<I", raw, 60)[0] == crc32c(raw[:60])
    _magic, checksum, epoch, first, commands, slot_count = struct.unpack_from("<IIQQII", raw, 64)
    assert (epoch, first, commands, slot_count) == (9, 1, 3, 4)
    assert checksum == crc32c(raw[72 : 128 + 4 * 64])


def test_reading_from_a_seq_trims_the_first_batch(tmp_path: Path) -> None:
    sizes = [[1, 3, 2, 1]] * 40
    whole = b"".join(write_batches(tmp_path, sizes, segment_bytes=64 * 32))
    assert len(list_segments(tmp_path)) > 5
    start = 0
    for seq in range(1, 161):
        reader = read_batches(tmp_path, seq)
        got = [(first, bytes(slots)) for first, _, slots in reader]
        assert got[0][0] == seq and b"".join(slots for _, slots in got) == whole[start:]
        assert reader.commands == 161 - seq and reader.next_seq == 161 and reader.torn is None
        start += sizes[0][(seq - 1) % 4] * 64
    assert list(read_batches(tmp_path, 161)) == []


def test_reopening_continues(tmp_path: Path) -> None:
    payloads = write_batches(tmp_path, [[1, 2]], epoch=1) + write_batches(tmp_path, [[2], [1]], epoch=4)
    assert contents(tmp_path) == b"".join(payloads)
    assert [epoch for _, epoch, _ in read_batches(tmp_path)] == [1, 4, 4]
    with pytest.raises(JournalError, match="epoch 3 is stale"):
        open_journal(tmp_path, epoch=3)


def test_other_versions_start_a_segment(tmp_path: Path) -> None:
    write_batches(tmp_path, [[1]], logic_version=1)
    write_batches(tmp_path, [[1]], logic_version=2)
    write_batches(tmp_path, [[1]], logic_version=2, record_version=3)
    assert [(s.record_version, s.logic_version, s.first_seq) for s in list_segments(tmp_path)] == [
        (1, 1, 1),
        (1, 2, 2),
        (3, 2, 3),
    ]
    assert contents(tmp_path) == record(1) + record(2) + record(3)


def test_roll_over_small_first_segment(tmp_path: Path) -> None:
    with open_journal(tmp_path, first_segment_bytes=64 * 8) as journal:
        for _ in range(3):
            first = journal.appended_seq + 1
            journal.append(b"".join(record(first + i) for i in range(20)))  # more than the first segment holds
            journal.sync()
        assert journal.figures()["batches"] == 3
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert sizes == [64 * 8, SEGMENT]
    assert contents(tmp_path) == b"".join(record(seq) for seq in range(1, 61))


def test_append_checks_and_takes_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path, first_seq=10) as journal:
        journal.append(record(10))
        bad = [
            record(10),
            record(12),
            record(11)[:-1],
            record(11, 2)[:64],
            b"",
            record(11) + record(13),
            bytes(64),
        ]
        for data in bad:
            with pytest.raises(ValueError):
                journal.append(data)
        assert journal.append(record(11, 3) + record(12)) == 12
    assert contents(tmp_path, 10) == record(10) + record(11, 3) + record(12)
    with pytest.raises(JournalError, match="starts at 10"):
        read_batches(tmp_path, 9)


def test_pending_bytes_are_bounded(tmp_path: Path) -> None:
    with open_journal(tmp_path, pending_limit_bytes=64 * 10) as journal:
        for seq in range(1, 11):
            journal.append(record(seq))
        assert journal.pending_bytes == journal.pending_limit_bytes == 640
        with pytest.raises(JournalFull):
            journal.append(record(11))
        assert journal.kick() and not journal.kick()
        with pytest.raises(JournalFull):  # what is in flight counts as well
            journal.append(record(11))
        assert journal.sync() == 10 and journal.pending_bytes == 0
        assert journal.append(record(11)) == 11
    assert contents(tmp_path) == b"".join(record(seq) for seq in range(1, 12))


def test_completion_through_an_event_loop(tmp_path: Path) -> None:
    async def run(journal: Journal) -> list[int]:
        loop = asyncio.get_running_loop()
        finished = loop.create_future()
        seen = []

        def completed() -> None:
            seen.append(journal.on_durable())
            if seen[-1] == 1000:
                finished.set_result(None)

        loop.add_reader(journal.fileno(), completed)
        seq = 1
        while seq <= 1000:
            try:
                journal.append(record(seq))
                journal.kick()
                seq += 1
            except JournalFull:  # what a sequencer does: wait for the disk
                await asyncio.sleep(0.0001)
        await asyncio.wait_for(finished, 10)
        loop.remove_reader(journal.fileno())
        return seen

    with open_journal(tmp_path, pending_limit_bytes=64 * 200, segment_bytes=64 * 1024) as journal:
        seen = asyncio.run(run(journal))
        assert seen == sorted(set(seen)) and journal.durable_seq == journal.appended_seq == 1000
    assert contents(tmp_path) == b"".join(record(seq) for seq in range(1, 1001))


def test_nothing_is_durable_before_the_completion(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(record(1))
        assert journal.on_durable() == 0 and not select.select([journal], [], [], 0)[0]
        journal.kick()
        journal.append(record(2))
        assert select.select([journal], [], [], 5)[0] and journal.durable_seq == 0
        assert journal.on_durable() == 1 and journal.in_flight
        assert journal.sync() == 2


def test_reading_while_the_writer_goes_on(tmp_path: Path) -> None:
    """A reader beside a running venue sees a prefix, never damage, and every record confirmed before."""
    confirmed = [0]
    rounds = 0

    def write() -> None:
        with open_journal(tmp_path, segment_bytes=64 * 1000, durability="os") as journal:
            while journal.appended_seq < 2000 or (rounds < 5 and journal.appended_seq < 50_000):
                journal.append(record(journal.appended_seq + 1))
                confirmed[0] = journal.sync()

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        segments, before = list_segments(tmp_path) if tmp_path.exists() else [], confirmed[0]
        if not before:
            continue
        reader = read_batches(tmp_path)
        total = sum(1 for _ in reader)
        assert reader.next_seq == total + 1
        if list_segments(tmp_path) == segments:  # else the last segment it knew has ended meanwhile
            assert total >= before
        rounds += 1
    writer.join()
    assert rounds >= 5
    assert contents(tmp_path) == b"".join(record(seq) for seq in range(1, confirmed[0] + 1))


def test_batches_written_between_two_looks_are_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader finds no batch, the writer completes two, the reader then finds the second one behind."""
    with open_journal(tmp_path) as journal:
        looks = 0

        class Interrupted:
            """The real cursor, with the writer let in just before the search for later batches."""

            def __init__(self, *arguments: object) -> None:
                self._cursor = SegmentCursor(*arguments)

            def __getattr__(self, name: str) -> object:
                return getattr(self._cursor, name)

            def find_later(self) -> int:
                nonlocal looks
                looks += 1
                if looks == 1:
                    for seq in (2, 3):
                        journal.append(record(seq))
                        journal.sync()
                return self._cursor.find_later()

        journal.append(record(1))
        journal.sync()
        monkeypatch.setattr(journal_reader, "SegmentCursor", Interrupted)
        assert contents(tmp_path) == record(1) + record(2) + record(3)
        assert looks > 1


@pytest.mark.parametrize("damage", ["cut", "zero", "garbage"])
def test_torn_tail_at_every_byte(tmp_path: Path, damage: str) -> None:
    """Whatever part of the last batch reached the disk: the earlier ones stand, and writing goes on behind
    them."""
    directory = tmp_path / "j"
    payloads = write_batches(directory, [[1, 1], [2], [1, 2, 1]])
    (path,) = directory.iterdir()
    raw = path.read_bytes()
    start = 64 + sum(64 + len(payload) for payload in payloads[:2])
    stop = start + 64 + len(payloads[2])
    noise = random.Random(5).randbytes(stop - start)
    for length in range(start, stop):
        rest = {"cut": b"", "zero": bytes(SEGMENT - length)}.get(damage)
        if rest is None:
            rest = noise[length - start :] + bytes(SEGMENT - stop)
        path.write_bytes(raw[:length] + rest)
        reader = read_batches(directory)
        # A zeroed last byte may be the byte that was there: then nothing was lost.
        whole = (raw[:length] + rest)[:stop] == raw[:stop]
        assert b"".join(bytes(s) for _, _, s in reader) == b"".join(payloads[: 3 if whole else 2])
        torn = not whole and any((raw[:length] + rest)[start:])
        assert (reader.torn is not None) == torn
        if torn:
            assert reader.torn is not None
            assert (reader.torn.segment, reader.torn.offset, reader.torn.seq) == (path, start, 4)
        if length % 16 == 3:
            write_batches(directory, [[1]], epoch=2, durability="os")
            after = path.read_bytes()
            assert len(after) == SEGMENT and not any(after[start + 128 :])
            assert contents(directory) == b"".join(payloads[:2]) + record(4)


def test_damage_behind_confirmed_batches_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "j"
    payloads = write_batches(directory, [[1], [2], [1]])
    (path,) = directory.iterdir()
    raw = bytearray(path.read_bytes())
    second = 64 + 64 + len(payloads[0])
    for position in range(second, second + 64 + len(payloads[1])):
        broken = bytearray(raw)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(JournalCorrupt) as caught:
            contents(directory)
        assert (caught.value.segment, caught.value.offset, caught.value.seq) == (str(path), second, 2)
        with pytest.raises(JournalCorrupt):
            open_journal(directory, epoch=2)
        assert path.read_bytes() == broken  # nothing was touched
    raw[second : second + 64 + len(payloads[1])] = bytes(64 + len(payloads[1]))
    path.write_bytes(raw)
    with pytest.raises(JournalCorrupt, match="before a whole one"):
        contents(directory)


def test_damage_in_an_earlier_segment_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "j"
    write_batches(directory, [[1, 1, 1]] * 12, segment_bytes=64 * 16)
    paths = sorted(directory.iterdir())
    assert len(paths) >= 3
    originals = [path.read_bytes() for path in paths]
    for index, path in enumerate(paths[:-1]):
        last_batch = 64 * (1 + 4 * 2)
        for label, broken in {
            "cut": originals[index][:last_batch],
            "zeroed": originals[index][:last_batch] + bytes(64 * 16 - last_batch),
            "flipped": originals[index][: last_batch + 70] + b"\x55" + originals[index][last_batch + 71 :],
            "header": b"X" + originals[index][1:],
        }.items():
            path.write_bytes(broken)
            with pytest.raises(JournalCorrupt) as caught:
                contents(directory)
            assert str(path) in str(caught.value), label
        path.write_bytes(originals[index])
    paths[1].unlink()
    with pytest.raises(JournalCorrupt, match="segment 2 is missing"):
        contents(directory)


def test_stale_and_displaced_batches_are_refused(tmp_path: Path) -> None:
    """A whole batch with an older epoch, another seq or of another segment never passes for the next one."""
    write_batches(tmp_path / "new", [[1]], epoch=5)
    write_batches(tmp_path / "old", [[1], [1], [1]], epoch=4)
    new, old = (next((tmp_path / name).iterdir()) for name in ("new", "old"))
    base, stale = new.read_bytes(), old.read_bytes()
    for source in (stale[192:320], stale[320:448], base[64:192]):  # older epoch, gap, repetition
        new.write_bytes(base[:192] + source + base[192 + len(source) :])
        with pytest.raises(JournalCorrupt, match="wrong seq, epoch or records"):
            contents(tmp_path / "new")


def test_write_errors_surface_and_nothing_more_is_confirmed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(record(1))
    journal.sync()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (320, hard))  # the file may grow no further than this
    try:
        journal.append(record(2))
        journal.sync()
        journal.append(record(3))
        with pytest.raises(JournalError) as caught:
            journal.sync()
        assert caught.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.durable_seq == 2
    for action in (journal.on_durable, journal.sync, lambda: journal.append(record(4))):
        with pytest.raises(JournalError) as caught:
            action()
        assert caught.value.errno == errno.EFBIG
    assert not journal.kick()
    journal.close()
    assert contents(tmp_path) == record(1) + record(2)


def test_closed_and_bad_arguments(tmp_path: Path) -> None:
    def opened() -> int:
        """Descriptors of this process below the journal's directory; others come and go with other tests' garbage."""
        found = 0
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(FileNotFoundError):  # the listing's own
                found += os.readlink(f"/dev/fd/{name}").startswith(str(tmp_path))
        return found

    journal = open_journal(tmp_path)
    assert opened() > 0
    journal.close()
    journal.close()
    assert opened() == 0
    for action in (journal.sync, journal.fileno, lambda: journal.append(record(1))):
        with pytest.raises(JournalError, match="closed"):
            action()
    with pytest.raises(ValueError):
        open_journal(tmp_path, durability="perhaps")
    with pytest.raises(ValueError):
        open_journal(tmp_path, segment_bytes=100)
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError) as caught:
        open_journal(tmp_path / "file")
    assert caught.value.errno in (errno.EEXIST, errno.ENOTDIR)


def test_random_histories(tmp_path: Path) -> None:
    """Random appends, kicks, completions, re-openings and roll-overs give back exactly what was appended."""
    rng = random.Random(20)
    expected = b""
    seq = 0
    for epoch in range(1, 30):
        with open_journal(
            tmp_path,
            epoch,
            segment_bytes=64 * rng.choice([16, 64, 300]),
            pending_limit_bytes=64 * 40,
            durability="os",
        ) as journal:
            assert journal.durable_seq == journal.appended_seq == seq
            for _ in range(rng.randrange(60)):
                payload = record(seq + 1, rng.randrange(1, 6))
                try:
                    journal.append(payload)
                except JournalFull:
                    journal.sync()
                    continue
                expected += payload
                seq += 1
                rng.choice([journal.kick, journal.on_durable, journal.sync, lambda: None])()
    assert contents(tmp_path) == expected
    assert np.frombuffer(expected, RECORD_DTYPE).shape[0] == len(expected) // 64
    assert not (tmp_path / "next.tmp").exists()
