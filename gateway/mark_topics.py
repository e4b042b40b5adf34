"""The channel of the marks' state."""

from typing import TYPE_CHECKING, Any

from gateway import render_marks
from gateway.topics import Topic
from gateway.units import ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.session import Session


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
