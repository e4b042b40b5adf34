"""Reading a journal directory: which segments there are, and every whole batch in order.

A torn write can only be the last thing in the last segment. Anything else that does not check out is damage
to confirmed commands and raises JournalCorrupt: the reader never skips.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from persistence.errors import JournalCorrupt, JournalError
from persistence.journal_format import DISORDER, NONE, SLOT_BYTES, SegmentCursor, parse_segment_header

_NAME = re.compile(r"(\d{10,})\.seg")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file and its header."""

    path: Path
    record_version: int
    logic_version: int
    index: int
    first_seq: int
    epoch: int
    segment_bytes: int


@dataclass(frozen=True, slots=True)
class TornTail:
    """Where reading ended on an unfinished batch: file, byte offset, and the seq that was expected there."""

    segment: Path
    offset: int
    seq: int


def read_segment_header(path: Path) -> Segment:
    """The header of one segment; JournalCorrupt if it is damaged."""
    with open(path, "rb") as file:
        fields = parse_segment_header(file.read(SLOT_BYTES))
    if fields is None:
        raise JournalCorrupt(str(path), 0, 0, "damaged segment header")
    return Segment(path, *fields)


def list_segments(directory: str | PathLike[str]) -> list[Segment]:
    """All segments in order of index; JournalCorrupt where one is missing or misnamed."""
    named = []
    for path in Path(directory).iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            named.append((int(match[1]), path))
    segments: list[Segment] = []
    for index, path in sorted(named):
        segment = read_segment_header(path)
        if segment.index != index:
            raise JournalCorrupt(str(path), 0, segment.first_seq, f"header says segment {segment.index}")
        if segments and index != segments[-1].index + 1:
            raise JournalCorrupt(str(path), 0, segment.first_seq, f"segment {segments[-1].index + 1} is missing")
        segments.append(segment)
    return segments


class BatchReader:
    """Iterates (first_seq, epoch, slots); slots is a read-only uint8 array of whole records, a file view.

    Afterwards, or at any time between batches: `next_seq` (the seq that would come next), `epoch` (of the
    last batch), `segment` and `offset` (where reading stands), `batches`, `commands`, and `torn` (a TornTail
    or None; beside a running venue it may be the batch being written).
    """

    def __init__(self, segments: list[Segment], from_seq: int = 1) -> None:
        if from_seq < 1:
            raise ValueError("sequence numbers start at 1")
        if segments and from_seq < segments[0].first_seq:
            raise JournalError(f"seq {from_seq} was asked for, the journal starts at {segments[0].first_seq}")
        first = 0
        while first + 1 < len(segments) and segments[first + 1].first_seq <= from_seq:
            first += 1
        self._segments = segments[first:]
        self._from_seq = from_seq
        self.next_seq = self._segments[0].first_seq if segments else from_seq
        self.epoch = 0
        self.segment: Segment | None = None
        self.offset = 0
        self.batches = 0
        self.commands = 0
        self.torn: TornTail | None = None
        self._later = 0  # offset of a whole batch behind the end of the last segment

    def __iter__(self) -> Iterator[tuple[int, int, np.ndarray]]:
        for segment in self._segments:
            if segment.first_seq != self.next_seq:
                raise JournalCorrupt(
                    str(segment.path if self.segment is None else self.segment.path),
                    self.offset,
                    self.next_seq,
                    f"commands up to {segment.first_seq - 1} are missing",
                )
            if segment.epoch < self.epoch:
                raise JournalCorrupt(str(segment.path), 0, self.next_seq, f"epoch falls back to {segment.epoch}")
            yield from self._read(segment, last=segment is self._segments[-1])

    def _read(self, segment: Segment, last: bool) -> Iterator[tuple[int, int, np.ndarray]]:
        data = np.memmap(segment.path, dtype=np.uint8, mode="r")
        cursor = SegmentCursor(data, segment.index, segment.first_seq, max(segment.epoch, self.epoch))
        self.segment, self.offset = segment, cursor.offset
        self.epoch = cursor.epoch
        while (batch := self._next(cursor, last)) is not None:
            first_seq, self.epoch, start, stop = batch
            self.next_seq, self.offset = cursor.next_seq, stop
            if self.next_seq <= self._from_seq:
                continue
            if first_seq < self._from_seq:
                start = cursor.trim(start, stop, self._from_seq)
                first_seq = self._from_seq
            self.batches += 1
            self.commands += self.next_seq - first_seq
            yield first_seq, self.epoch, data[start:stop]
        self._judge_end(segment, cursor, last)

    def _next(self, cursor: SegmentCursor, last: bool) -> tuple[int, int, int, int] | None:
        batch = cursor.next()
        self._later = cursor.find_later() if batch is None and last else 0
        if self._later:
            # Either damage, or the venue is running and wrote two batches since we looked: look again.
            batch = cursor.next()
        return batch

    def _judge_end(self, segment: Segment, cursor: SegmentCursor, last: bool) -> None:
        """Accept the end of a segment, note a torn tail, or raise."""
        path, offset, seq = str(segment.path), cursor.offset, cursor.next_seq
        if cursor.verdict == DISORDER:
            raise JournalCorrupt(path, offset, seq, "a whole batch with the wrong seq, epoch or records")
        if cursor.verdict == NONE and not last:
            return  # the next header's first_seq shows whether anything is missing
        if not last:
            raise JournalCorrupt(path, offset, seq, "damaged batch")
        if self._later:
            raise JournalCorrupt(path, offset, seq, f"damaged batch before a whole one at offset {self._later}")
        if cursor.verdict != NONE:
            self.torn = TornTail(segment.path, offset, seq)


def read_batches(directory: str | PathLike[str], from_seq: int = 1) -> BatchReader:
    """Iterate the whole batches holding from_seq and later, the first one trimmed to start there.

    Raises JournalCorrupt (segment, offset, seq) on damage anywhere but in an unfinished last batch, and
    JournalError where the journal starts later than from_seq.
    """
    return BatchReader(list_segments(directory), from_seq)
