"""Stages of underlyings by the age of their marks, in the naive venue. Rules: docs/marks.md."""

from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.marking import Marking
from tests.oracles.state import State

LIVE, REDUCE_ONLY, HALT = range(3)


class Staging:
    """Looks at the stages before every command and after marks."""

    def __init__(self, state: State, marking: Marking) -> None:
        self.state = state
        self.marking = marking

    def look(self) -> None:
        for u in range(len(self.state.stages)):
            self.look_at(u)

    def look_at(self, u: int) -> None:
        settings = self.state.config.underlyings[u]
        marked = self.marking.confirmed_ns[u]
        age = 0 if marked is None else self.state.time_ns - marked
        if marked and not self.state.live_since_ns[u]:
            self.state.live_since_ns[u] = marked
        stage = (age > settings.mark_stale_ns) + (age > settings.mark_halt_ns)
        was_old, self.state.aged[u] = self.state.aged[u], max(stage, int(self.marking.by_hand[u]))
        if was_old and not self.state.aged[u]:
            self.state.live_since_ns[u] = self.state.time_ns
        stage = min(self.state.aged[u], self.state.caps[u])
        before, self.state.stages[u] = self.state.stages[u], stage
        if stage != before:
            self.state.emit(
                EventKind.MARK_STAGE_CHANGED, 0, underlying=u, stage=stage, previous_stage=before,
                reason=Reason.MARK_STALE if stage else Reason.NONE, marked_ns=marked or 0,
            )  # fmt: skip
