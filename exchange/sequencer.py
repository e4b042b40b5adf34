"""The sequencer: the only writer. Stamps a command, journals it, applies it, publishes what came of it.

Output commit: whatever leaves the process after reading engine state goes through `hold`, and leaves when all that was
applied by then is durable. The caller's loop tells the sequencer when that is (`release`).
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from exchange.ports import Clock, EventListener, JournalPort

_SEQ = slice(8, 16)
_TIME = slice(16, 24)


class Sequencer:
    """Serial, synchronous; not thread-safe by design."""

    def __init__(self, engine: Any, journal: JournalPort, clock: Clock) -> None:
        self.engine = engine
        self.journal = journal
        self.clock = clock
        self._listeners: list[EventListener] = []
        self._held: deque[tuple[int, Callable[[], None]]] = deque()
        self._since_checkpoint = 0

    @property
    def seq(self) -> int:
        """Last applied seq."""
        return int(self.engine.seq)

    @property
    def durable_seq(self) -> int:
        """Last seq that survives a crash."""
        return self.journal.durable_seq

    def subscribe(self, listener: EventListener) -> None:
        """Call `listener(seq, events)` after each command, in order."""
        self._listeners.append(listener)

    def submit(self, record: bytearray) -> bytes:
        """Stamp, journal and apply one record; returns its events.

        Raises what the journal raises when it is full (then nothing happened), and InvariantBroken when the engine
        must stop.
        """
        config = self.engine.config
        if config is not None:
            if self._since_checkpoint >= config.checkpoint_every:
                self.checkpoint()
            gap = self._now() - int(self.engine.time_ns)
            if self.engine.time_ns and gap > config.limits.max_time_step_ns:
                self._apply(commands.record(CommandKind.TICK))
        return self._apply(record)

    def _now(self) -> int:
        return max(self.clock(), int(self.engine.time_ns))

    def _apply(self, record: bytearray) -> bytes:
        seq = int(self.engine.seq) + 1
        record[_SEQ] = seq.to_bytes(8, "little")
        record[_TIME] = self._now().to_bytes(8, "little", signed=True)
        self.journal.append(record)
        self.engine.apply(record)
        events: bytes = self.engine.take_events()
        self._since_checkpoint += 1
        for listener in self._listeners:
            listener(seq, events)
        return events

    def checkpoint(self) -> None:
        """Journal the event chain's hash; a replay must reproduce it."""
        chain, count = self.engine.event_chain()
        record = commands.record(CommandKind.CHECKPOINT, chain_sha256=chain, event_count=count)
        self._apply(record)
        self._since_checkpoint = 0

    def hold(self, callback: Callable[[], None]) -> None:
        """Run `callback` when everything applied so far is durable; at once when it is, in order always."""
        seq = self.seq
        if not self._held and self.journal.durable_seq >= seq:
            callback()
            return
        self._held.append((seq, callback))

    def release(self) -> None:
        """Run what has become durable."""
        durable = self.journal.durable_seq
        while self._held and self._held[0][0] <= durable:
            self._held.popleft()[1]()

    @property
    def held(self) -> int:
        """Outputs waiting for durability."""
        return len(self._held)
