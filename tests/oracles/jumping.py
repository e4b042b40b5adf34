"""Held jumps and circuit breakers in the naive venue. Rules: docs/marks.md."""

from dataclasses import dataclass

from exchange.events import EventKind
from exchange.mark_events import JumpOutcome
from exchange.reasons import Reason
from tests.oracles.contract import PPM
from tests.oracles.pretrade import Refused
from tests.oracles.state import State
from tests.oracles.uncrossing import Uncrossing


@dataclass
class Held:
    """A jump that waits; which sources (bit numbers) have said it."""

    index: int
    sources: set[int]
    since_ns: int


def bits(mask: int) -> set[int]:
    return {n for n in range(32) if mask >> n & 1}


class Jumping:
    """Judges accepted forms of updates before they move anything, and the moves afterwards."""

    def __init__(self, state: State, trading: Uncrossing) -> None:
        self.state = state
        self.trading = trading
        self.held: dict[int, Held] = {}
        self.seen: list[list[tuple[int, int]]] = [[] for _ in state.config.underlyings]
        """(time, index) since the breaker last tripped."""
        self.paused = [0] * len(self.seen)

    def say(self, u: int, outcome: JumpOutcome, index: int, before: int, sources: set[int], since_ns: int) -> None:
        self.state.emit(
            EventKind.MARK_JUMP, 0, underlying=u, outcome=outcome, index_price_e8=index, previous_index_e8=before,
            sources=sum(1 << n for n in sources), held_ns=since_ns,
        )  # fmt: skip

    def drop(self, u: int, outcome: JumpOutcome, before: int) -> None:
        held = self.held.pop(u, None)
        if held:
            self.say(u, outcome, held.index, before, held.sources, held.since_ns)

    def dictate(self, u: int, index: int, before: int) -> None:
        """An index set by hand: a held jump gives way, and it is taken whatever the distance."""
        self.drop(u, JumpOutcome.REPLACED, before)
        if abs(index - before) * PPM > self.state.config.underlyings[u].mark_jump_ppm * before:
            self.held[u] = Held(index, set(range(32)), 0)

    def lapse(self) -> None:
        for u, settings in enumerate(self.state.config.underlyings):
            if u in self.held and self.state.time_ns > self.held[u].since_ns + settings.jump_hold_ns:
                self.drop(u, JumpOutcome.LAPSED, 0)

    def check(self, u: int, index: int, mask: int) -> None:
        """Refused where the index has to wait."""
        settings, before = self.state.config.underlyings[u], self.state.index_e8[u]
        far = settings.mark_jump_ppm
        if before == 0 or abs(index - before) * PPM <= far * before:
            self.drop(u, JumpOutcome.RETURNED, before)
            return
        sources = bits(mask) or {0}
        held = self.held.get(u)
        if held and abs(index - held.index) * PPM > far * held.index:
            held = None
        if held:
            sources |= held.sources
        if (held is not None) if settings.jump_sources == 1 else len(sources) >= settings.jump_sources:
            if held is None:
                self.drop(u, JumpOutcome.REPLACED, before)
            self.held.pop(u, None)
            self.say(u, JumpOutcome.CONFIRMED, index, before, sources, held.since_ns if held else 0)
            return
        if held:
            held.sources = sources
        else:
            self.drop(u, JumpOutcome.REPLACED, before)
            self.held[u] = Held(index, sources, self.state.time_ns)
            self.say(u, JumpOutcome.HELD, index, before, sources, self.state.time_ns)
        raise Refused(Reason.MARK_JUMP)

    def watch(self, u: int, index: int) -> None:
        """An index was taken; trip the breaker where it has moved too far from an extreme of the window."""
        s, settings = self.state, self.state.config.underlyings[u]
        if not settings.breaker_move_ppm:
            return
        part = settings.breaker_window_ns // 16
        recent = [price for time, price in self.seen[u] if time // part > s.time_ns // part - 16]
        reference = 0
        if recent and (index - min(recent)) * PPM > settings.breaker_move_ppm * min(recent):
            reference = min(recent)
        elif recent and (max(recent) - index) * PPM > settings.breaker_move_ppm * max(recent):
            reference = max(recent)
        if reference:
            self.seen[u] = []
        self.seen[u].append((s.time_ns, index))
        if reference:
            until_ns = s.time_ns + settings.breaker_pause_ns
            s.emit(
                EventKind.BREAKER_TRIPPED, 0, underlying=u, index_price_e8=index, reference_e8=reference,
                until_ns=until_ns,
            )  # fmt: skip
            self.paused[u] = until_ns
            self.pause(u, until_ns)

    def pause(self, u: int, until_ns: int) -> None:
        for slot, c in sorted(self.state.contracts.items()):
            ended = c.spec.expiry_ns and self.state.time_ns >= c.spec.expiry_ns
            if c.underlying != u or c.legs or ended:
                continue
            if c.state == "open" or (c.state == "auction" and 0 < c.auction_until_ns < until_ns):
                self.trading.enter(slot, "auction", until_ns)
