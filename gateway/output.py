"""The output-commit queue: what a loop turn produced leaves together, once everything it saw is durable.

Every outbound byte passes here. Bytes made during a turn depend on nothing later than the commands applied
in it, so one hold per turn covers them all, one write per connection and turn carries them, and the journal
is told to write once.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger("gateway.output")


class Sink(Protocol):
    """A connection as the queue sees it."""

    def collect(self) -> bytes:
        """Everything queued so far, framed; the connection counts it as held until `release`."""

    def release(self, data: bytes) -> None:
        """Write bytes that may leave now."""


class CommitQueue:
    """Gathers connections with output during a turn and releases them when the sequencer says durable."""

    def __init__(
        self,
        sequencer: Any,
        call_soon: Callable[[Callable[[], None]], Any],
        on_failure: Callable[[BaseException], None],
    ):
        self._sequencer, self._call_soon, self._on_failure = sequencer, call_soon, on_failure
        self._waiting: list[Sink] = []
        self._scheduled = False

    def push(self, sink: Sink) -> None:
        """`sink` has output (the caller sees to it that each sink is pushed once until collected)."""
        self._waiting.append(sink)
        self.end_turn_soon()

    def end_turn_soon(self) -> None:
        """Something was queued or journaled in this turn."""
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        try:
            self._sequencer.journal.kick()
        except Exception as error:
            self._on_failure(error)
            return
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        batch = [(sink, sink.collect()) for sink in waiting]

        def release() -> None:
            for sink, data in batch:
                try:
                    sink.release(data)
                except Exception:
                    log.exception("a connection failed while writing")

        self._sequencer.hold(release)
