"""The output-commit queue: what a loop turn produced leaves together, once everything it saw is durable.

Every outbound byte passes here. Bytes made during a turn depend on nothing later than the commands applied
in it, so one hold per turn covers them all, and one write per connection and turn carries them.
"""

from collections.abc import Callable
from typing import Any, Protocol


class Sink(Protocol):
    """A connection as the queue sees it."""

    def collect(self) -> bytes:
        """Everything queued so far, framed; the connection counts it as held until `release`."""

    def release(self, data: bytes) -> None:
        """Write bytes that may leave now."""


class CommitQueue:
    """Gathers connections with output during a turn and releases them when the sequencer says durable."""

    def __init__(self, sequencer: Any, call_soon: Callable[[Callable[[], None]], Any]):
        self._sequencer, self._call_soon = sequencer, call_soon
        self._waiting: list[Sink] = []
        self._scheduled = False

    def push(self, sink: Sink) -> None:
        """`sink` has output (the caller sees to it that each sink is pushed once until collected)."""
        self._waiting.append(sink)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        batch = [(sink, sink.collect()) for sink in waiting]

        def release() -> None:
            for sink, data in batch:
                sink.release(data)

        self._sequencer.hold(release)
