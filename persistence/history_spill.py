"""Frames that memory has no room for, in a file, in order, until the writer has caught up."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from persistence.history_notes import Frame

_HEAD = struct.Struct("<QII")
READ_BYTES = 32 << 10


class Spill:
    """A first-in-first-out file. One thread adds, one takes; the caller holds a lock around each call.

    Nothing of it outlives the process: what the store does not cover comes back from the journal.
    """

    def __init__(self, path: Path):
        self._file = open(path, "w+b")  # noqa: SIM115
        self._read = self._written = 0

    def __bool__(self) -> bool:
        return self._read < self._written

    def add(self, frames: Iterable[Frame]) -> None:
        """Append frames."""
        data = b"".join(_HEAD.pack(seq, len(events), len(notes)) + events + notes for seq, events, notes in frames)
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def take(self) -> list[Frame]:
        """The oldest frames, a a few hundred of them; the file is emptied with the last one."""
        self._file.seek(self._read)
        found: list[Frame] = []
        taken = 0
        while self._read + taken < self._written and taken < READ_BYTES:
            seq, events, notes = _HEAD.unpack(self._file.read(_HEAD.size))
            found.append((seq, self._file.read(events), self._file.read(notes)))
            taken += _HEAD.size + events + notes
        self._read += taken
        if self._read == self._written:
            self._read = self._written = 0
            self._file.seek(0)
            self._file.truncate()
        return found

    def close(self) -> None:
        """Give the file up."""
        self._file.close()
