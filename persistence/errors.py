"""What can go wrong on disk and in the fund's server, in the terms of whoever has to act on it."""

from __future__ import annotations

from exchange import ports


class PersistenceError(Exception):
    """Base of everything this package raises on its own account."""


class DataDirectoryError(PersistenceError):
    """The data directory cannot be used: held by another process, or not laid out as expected."""


class JournalError(PersistenceError):
    """The journal cannot go on; `errno` names the system's reason where there was one (0 otherwise)."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class JournalFull(JournalError, ports.JournalFull):
    """The bound on bytes not yet durable is reached; retry after the next completed batch."""


class JournalCorrupt(JournalError):
    """Confirmed bytes are damaged or missing; `segment` is a path, `seq` was expected at byte `offset`."""

    def __init__(self, segment: str, offset: int, seq: int, reason: str) -> None:
        super().__init__(f"{segment}: offset {offset}, seq {seq}: {reason}")
        self.segment = segment
        self.offset = offset
        self.seq = seq
        self.reason = reason
