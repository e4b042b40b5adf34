"""Group commit on the event loop: a turn's commands go to the writer, its completion releases output."""

import asyncio
from collections.abc import Callable

from exchange.sequencer import Sequencer
from persistence.journal import Journal, JournalError


class CommitLoop:
    """Kicks the journal once per turn and releases held output when the writer's descriptor says so."""

    def __init__(self, journal: Journal, sequencer: Sequencer, on_error: Callable[[BaseException], None]):
        self._journal, self._sequencer, self._on_error = journal, sequencer, on_error
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._descriptor = journal.fileno()

    def start(self) -> None:
        """From now on nothing needs to be kicked by hand."""
        self._sequencer.subscribe(self._applied)
        self._loop.add_reader(self._descriptor, self._finished)

    def _applied(self, seq: int, events: bytes) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._scheduled = False
        try:
            self._journal.kick()
        except JournalError as error:
            self._on_error(error)

    def _finished(self) -> None:
        try:
            self._journal.on_durable()
        except JournalError as error:
            self._loop.remove_reader(self._descriptor)
            self._on_error(error)
            return
        self._sequencer.release()

    def stop(self) -> None:
        """Make everything durable and let what waited for it leave."""
        self._loop.remove_reader(self._descriptor)
        self._journal.sync()
        self._sequencer.release()
