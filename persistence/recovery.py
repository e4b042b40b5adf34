"""Replaying a journal into whatever applies commands. Knows the head common to all records, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import numpy as np

from persistence.errors import JournalError
from persistence.journal_reader import BatchReader, TornTail, list_segments

# apply(first_seq, epoch, slots): slots is a read-only uint8 array of whole 64-byte-slot records.
Apply = Callable[[int, int, np.ndarray], object]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay fed to its callable. last_seq is 0 for an empty journal that starts at 1."""

    last_seq: int
    commands: int
    batches: int
    payload_bytes: int
    epoch: int
    seconds: float
    torn: TornTail | None


def replay(
    directory: str | PathLike[str],
    apply: Apply,
    *,
    from_seq: int = 1,
    record_version: int | None = None,
    logic_version: int | None = None,
) -> ReplayReport:
    """Feed every whole batch holding from_seq and later to `apply`, in order.

    Where a version is given, JournalError is raised before anything is applied if a segment that would be
    read was written with another one: it has to be replayed by the build that wrote it. JournalCorrupt as in
    read_batches. What `apply` raises passes through with the batch it was given added as a note; nothing
    after it is applied.
    """
    segments = list_segments(directory)
    for i, segment in enumerate(segments):
        if i + 1 < len(segments) and segments[i + 1].first_seq <= from_seq:
            continue
        found = (segment.record_version, segment.logic_version)
        wanted = (
            found[0] if record_version is None else record_version,
            found[1] if logic_version is None else logic_version,
        )
        if found != wanted:
            raise JournalError(
                f"{segment.path} has record version {found[0]} and logic version {found[1]}; "
                f"this build replays {wanted[0]} and {wanted[1]}"
            )
    reader = BatchReader(segments, from_seq)
    payload_bytes = 0
    started = time.perf_counter()
    for first_seq, epoch, slots in reader:
        try:
            apply(first_seq, epoch, slots)
        except Exception as error:
            error.add_note(f"replay stopped in the batch of seq {first_seq} to {reader.next_seq - 1}")
            raise
        payload_bytes += slots.size
    return ReplayReport(
        last_seq=reader.next_seq - 1,
        commands=reader.commands,
        batches=reader.batches,
        payload_bytes=payload_bytes,
        epoch=reader.epoch,
        seconds=time.perf_counter() - started,
        torn=reader.torn,
    )
