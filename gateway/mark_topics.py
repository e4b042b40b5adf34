"""What follows from marks on public channels: their state, and stages as states of instruments."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from exchange.events import EventKind
from gateway import render_marks
from gateway.topics import StateTopic, Topic
from gateway.units import ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.session import Session

MARK_EVENTS = {
    EventKind.MARK_STAGE_CHANGED,
    EventKind.MARK_JUMP,
    EventKind.BREAKER_TRIPPED,
    EventKind.OVERRIDE_CHANGED,
    EventKind.MARGIN_ANNOUNCED,
}
STATE_WORDS = {"open": "started"}
"""Deribit says `started` where an instrument opens; our other states go out under their own names."""
STAGE_WORDS = {1: "marks_reduce_only", 2: "marks_halt"}


class MarkStateTopic(Topic):
    """`mark_state.{index}` (our own): the state of an underlying's marks, whole, whenever something changes it."""

    def __init__(self, gateway: "Gateway", name: str, index_name: str, underlying: int):
        super().__init__(gateway, name)
        self.underlying, self._index_name = underlying, index_name

    def data(self) -> dict[str, Any]:
        """State and time."""
        engine = self.gateway.engine
        return {"timestamp": ms(engine.time_ns), **render_marks.state(engine, self.underlying, self._index_name)}

    def snapshot(self, session: "Session") -> None:
        self.emit_to(session, self.data())

    def flush(self) -> None:
        self.emit(self.data())


def tell_marks(gateway: "Gateway", wide: list[Topic], facts: Iterable[tuple[int, Any]]) -> Iterator[Topic]:
    """The topics that have something to say about what became of marks; stages are told to instruments at once."""
    changed = {fields.underlying: None for kind, fields in facts if kind in MARK_EVENTS}
    if not changed:
        return
    for topic in wide:
        if isinstance(topic, MarkStateTopic) and topic.underlying in changed:
            yield topic
    stages = {fields.underlying: fields.stage for kind, fields in facts if kind == EventKind.MARK_STAGE_CHANGED}
    topics = [topic for topic in wide if isinstance(topic, StateTopic)]
    if stages and topics:
        _tell_stages(gateway, topics, stages)


def _tell_stages(gateway: "Gateway", topics: list[StateTopic], stages: dict[int, int]) -> None:
    """The stage of marks is a state of every instrument of the underlying; live, it is the instrument's own."""
    for slot in gateway.engine.instruments():
        listing = gateway.listings.by_slot[slot]
        if listing.underlying in stages:
            own = gateway.engine.market(slot).state
            word = STAGE_WORDS.get(stages[listing.underlying]) or STATE_WORDS.get(own, own)
            for topic in topics:
                topic.on_state(listing, word)
