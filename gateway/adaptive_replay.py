"""Adaptive margin rates of a journal that is replayed: the averages go on where they were, and every announcement of
the venue's own is held against what the journaled marks ask for."""

from typing import Any

import msgspec

from exchange.commands import PAYLOAD, TICK, Actor, CommandKind, payload
from exchange.governance import AnnounceMargin
from gateway.adaptive import AdaptiveMargins

_TICK, _ANNOUNCE = int(CommandKind.TICK), int(CommandKind.ANNOUNCE_MARGIN)
_TICK_ACTOR = int((TICK.fields or {})["actor_id"][1])
_COLD_ACTOR = int((PAYLOAD.fields or {})["actor_id"][1])
_TIME = slice(16, 24)
MAX_FAULTS = 100


class AdaptiveReplay:
    """Follows a replay; `margins` is what a venue goes on with."""

    def __init__(self, engine: Any):
        self._engine = engine
        self.margins = AdaptiveMargins(engine)
        self.checked = 0
        """Announcements compared."""
        self.faults: list[tuple[int, str]] = []
        """(seq, what is wrong) of those that do not follow from the marks, the first ones."""

    def wants(self, record: memoryview) -> bool:
        """Whether a record, not applied yet, must be shown to `saw` as soon as it is."""
        kind = record[0] | record[1] << 8
        if kind == _TICK:
            time_ns = int.from_bytes(record[_TIME], "little", signed=True)
            return record[_TICK_ACTOR] == Actor.CLOCK and self.margins.sample_due(time_ns)
        return kind == _ANNOUNCE

    def saw(self, record: memoryview) -> None:
        """A wanted record was applied."""
        if record[0] | record[1] << 8 == _TICK:
            self.margins.sample()
            return
        said = msgspec.msgpack.decode(payload(record), type=AnnounceMargin)
        if record[_COLD_ACTOR] != Actor.FEED and said.operator:
            return  # an operator's own
        self.checked += 1
        wanted = self.margins.expected(said.underlying)
        if said != wanted and len(self.faults) < MAX_FAULTS:
            asks = "no announcement" if wanted is None else f"{_terms(wanted)}"
            text = f"margin of {said.underlying} announced at {_terms(said)}, its marks ask for {asks}"
            self.faults.append((int(self._engine.seq), text))
        self.margins.announced(said.underlying)


def _terms(one: AnnounceMargin) -> str:
    return f"{one.scale_ppm:,} ppm effective_ns {one.effective_ns} (operator {one.operator})"
