"""What the core needs from outside, as shapes: the edge supplies them, the core never imports the edge."""

from collections.abc import Callable
from typing import Protocol


class JournalFull(RuntimeError):
    """The journal cannot take more until what is pending is durable: refuse at the edge, nothing was applied."""


class JournalPort(Protocol):
    """A write-ahead journal of whole records."""

    @property
    def durable_seq(self) -> int:
        """Everything up to this seq survives a crash."""

    def append(self, record: bytes | bytearray | memoryview, /) -> object:
        """Queue a stamped record; raises when it cannot."""

    def kick(self) -> object:
        """Start writing what is queued."""


Clock = Callable[[], int]
"""Venue time in nanoseconds."""
EventListener = Callable[[int, bytes], None]
"""Called with (seq, events) after each command, in order."""
