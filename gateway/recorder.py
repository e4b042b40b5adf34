"""Feeds the history store: events go to it as they are, once durable, with what only the engine can tell of them.

On the order path this costs a look at each event's kind and one list entry.
"""

from collections import deque
from typing import Any

from exchange.commands import SLOT_BYTES
from exchange.events import EventKind
from gateway.holders import Holders
from persistence.history import History
from persistence.history_notes import RECORDED, Frame, Funding, Notes, encode_notes
from persistence.history_schema import MINUTE_NS

FLUSH_BYTES = 64 << 10
_LISTED, _MARKS = int(EventKind.INSTRUMENT_LISTED), int(EventKind.MARKS_UPDATED)


class Recorder:
    """Between the sequencer (or a replay) and the store."""

    def __init__(self, engine: Any, history: History):
        self.engine, self.history = engine, history
        self._holders = Holders(engine)
        self._pending: deque[Frame] = deque()
        self._bytes = 0
        self._started = history.covered[0] > 0
        self._perpetuals: dict[int, list[int]] | None = None
        """Perpetuals' slots by underlying; None: to be looked up."""
        self._minute: dict[int, int] = {}
        self._sequencer: Any = None

    def replayed(self, seq: int, events: bytes) -> None:
        """A command read back from the journal; may wait for the writer."""
        if seq <= self.history.covered[0]:
            return
        self._take(seq, events)
        if self._bytes >= FLUSH_BYTES:
            self.end_replay()

    def end_replay(self) -> None:
        """Hand over what a replay left."""
        frames, self._bytes = list(self._pending), 0
        self._pending.clear()
        if frames:
            self.history.offer(frames, wait=True)

    def follow(self, sequencer: Any) -> None:
        """Take live events from now on; `flush` passes on what is durable."""
        self._sequencer = sequencer
        sequencer.subscribe(self.observe)

    def observe(self, seq: int, events: bytes) -> None:
        """A command was applied."""
        if events:
            self._take(seq, events)
            if self._bytes >= FLUSH_BYTES:
                self.flush()

    def flush(self) -> None:
        """Hand over what has become durable."""
        durable, pending = self._sequencer.durable_seq, self._pending
        frames: list[Frame] = []
        while pending and pending[0][0] <= durable:
            frame = pending.popleft()
            self._bytes -= len(frame[1])
            frames.append(frame)
        if frames:
            self.history.offer(frames)

    def close(self) -> None:
        """Hand over what is durable, have it written, stop."""
        if self._sequencer is not None:
            self.flush()
        self.history.close()

    def _take(self, seq: int, events: bytes) -> None:
        keep, listed, notes = False, [], b""
        events = self._holders.recorded(events)
        offset, end = 0, len(events)
        while offset < end:
            kind = events[offset]
            if kind in RECORDED:
                keep = True
                if kind == _LISTED:
                    listed.append(int.from_bytes(events[offset + 24 : offset + 28], "little"))
            elif kind == _MARKS:
                notes = notes or self._funding(events, offset)
            offset += (events[offset + 2] | events[offset + 3] << 8) * SLOT_BYTES
        if listed or (keep and not self._started):
            notes = self._listed(listed)
        if keep or notes:
            self._pending.append((seq, events, notes))
            self._bytes += end

    def _listed(self, slots: list[int]) -> bytes:
        """Contracts as listed, read from the engine before anything else can take their slots."""
        engine, self._perpetuals = self.engine, None
        currencies: tuple[tuple[str, int], ...] = ()
        if not self._started:
            self._started = True
            currencies = tuple((currency.name, currency.exponent) for currency in engine.config.currencies)
        return encode_notes(Notes(currencies, tuple(engine.instrument(slot) for slot in slots)))

    def _funding(self, events: bytes, offset: int) -> bytes:
        """Samples of the funding rates of an underlying, at its first marks of each minute."""
        time_ns = int.from_bytes(events[offset + 16 : offset + 24], "little", signed=True)
        underlying = int.from_bytes(events[offset + 24 : offset + 26], "little")
        minute = time_ns // MINUTE_NS
        if self._minute.get(underlying) == minute:
            return b""
        self._minute[underlying] = minute
        engine = self.engine
        if self._perpetuals is None:
            self._perpetuals = self._look_up()
        index_e8 = engine.index_price(underlying)
        samples = tuple(
            Funding(slot, time_ns, engine.market(slot).funding_rate_e12, index_e8)
            for slot in self._perpetuals.get(underlying, ())
        )
        return encode_notes(Notes(funding=samples)) if samples else b""

    def _look_up(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for slot in self.engine.instruments():
            view = self.engine.instrument(slot)
            if view.kind == "perpetual":
                found.setdefault(self.engine.underlying_index(view.underlying), []).append(slot)
        return found
