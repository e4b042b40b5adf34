"""Moves of an index that are too wide: a lone jump is held until enough sources have said it; a wide move within a
window trips the underlying's circuit breaker.
"""

from exchange.mark_events import JumpOutcome
from exchange.records cimport EV_BREAKER_TRIPPED, EV_MARK_JUMP, BreakerTripped, MarkJump

PARTS = 16
ALL_SOURCES = 0xFFFFFFFF
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef class MarkJumps:
    """Held jumps and breaker windows by underlying; `config` is exchange.config.Config."""

    def __cinit__(self, EventBuffer events, config):
        self.events = events
        self.settings = config.underlyings
        self.held = [None] * len(config.underlyings)
        self.windows = [{} for _ in config.underlyings]
        self.paused = [0] * len(config.underlyings)
        self.fixed = [False] * len(config.underlyings)
        self.next_ns = NEVER

    # ------------------------------------------------------------------ jumps

    cdef int _say(self, int underlying, int outcome, index, previous) except -1:
        held = self.held[underlying]
        cdef MarkJump* event = <MarkJump*>self.events.emit(EV_MARK_JUMP, 1, 0)
        event.underlying = underlying
        event.outcome = outcome
        event.index_price_e8 = index
        event.previous_index_e8 = previous
        event.sources = held[1]
        event.held_ns = held[2]
        return 0

    def _end(self, int underlying, outcome, previous):
        """Forget a held jump and say what became of it."""
        self._say(underlying, outcome, self.held[underlying][0], previous)
        self.held[underlying] = None
        self._plan()

    def _plan(self):
        self.next_ns = min([NEVER] + [held[2] + self.settings[u].jump_hold_ns + 1
                                      for u, held in enumerate(self.held) if held is not None])

    cdef int advance(self, int64_t time_ns) except -1:
        """Let go of what nobody has confirmed, ascending underlying."""
        for u, held in enumerate(self.held):
            if held is not None and time_ns - held[2] > self.settings[u].jump_hold_ns:
                self._end(u, JumpOutcome.LAPSED, 0)
        return 0

    def _far(self, settings, index, base):
        return abs(index - base) * 1_000_000 > settings.mark_jump_ppm * base

    cdef bint believes(self, int underlying, index, previous, uint32_t sources) except -1:
        """Whether an index is taken as it comes; what is not is held. `sources` 0 counts as one source."""
        settings = self.settings[underlying]
        held = self.held[underlying]
        if previous == 0 or not self._far(settings, index, previous):
            if held is not None:
                self._end(underlying, JumpOutcome.RETURNED, previous)
            return True
        agrees = held is not None and not self._far(settings, index, held[0])
        known = (sources or 1) | (held[1] if agrees else 0)
        enough = agrees if settings.jump_sources == 1 else known.bit_count() >= settings.jump_sources
        if enough:
            if held is not None and not agrees:
                self._end(underlying, JumpOutcome.REPLACED, previous)
            self.held[underlying] = [index, known, held[2] if agrees else 0]
            self._end(underlying, JumpOutcome.CONFIRMED, previous)
            return True
        if agrees:
            held[1] = known
            return False
        if held is not None:
            self._end(underlying, JumpOutcome.REPLACED, previous)
        self.held[underlying] = [index, known, self.events.time_ns]
        self._plan()
        self._say(underlying, JumpOutcome.HELD, index, previous)
        return False

    def dictate(self, int underlying, index, previous):
        """Let an index that is set by hand be taken, however far it is; a held jump gives way to it."""
        if self.held[underlying] is not None:
            self._end(underlying, JumpOutcome.REPLACED, previous)
        if self._far(self.settings[underlying], index, previous):
            self.held[underlying] = [index, ALL_SOURCES, 0]

    def fix(self, int underlying, bint fixed):
        """From now on feeds are not listened to; or are again."""
        self.fixed[underlying] = bool(fixed)

    def paused_until(self, int underlying):
        """Until when the breaker pauses an underlying; 0 where it does not."""
        return self.paused[underlying] if self.paused[underlying] > self.events.time_ns else 0

    def resumed(self, int underlying):
        """The pause was ended by hand."""
        self.paused[underlying] = 0

    def accept(self, int underlying):
        """Confirm a held jump by hand: the next update near it is taken. Whether there was one."""
        held = self.held[underlying]
        if held is not None:
            held[1] = ALL_SOURCES
        return held is not None

    def held_jump(self, int underlying):
        """(index_e8, sources, since_ns) of the jump that is held; None where none is."""
        held = self.held[underlying]
        return None if held is None else tuple(held)

    # ------------------------------------------------------------------ circuit breaker

    cdef int64_t trips(self, int underlying, index) except -1:
        """Note an accepted index; until when the breaker holds where it trips, else 0. A window begins anew then."""
        settings = self.settings[underlying]
        cdef BreakerTripped* event
        if settings.breaker_move_ppm == 0:
            return 0
        window = self.windows[underlying]
        part = self.events.time_ns // (settings.breaker_window_ns // PARTS)
        for old in [one for one in window if one <= part - PARTS]:
            del window[old]
        lowest = min([low for low, _ in window.values()], default=index)
        highest = max([high for _, high in window.values()], default=index)
        reference = 0
        if (index - lowest) * 1_000_000 > settings.breaker_move_ppm * lowest:
            reference = lowest
        elif (highest - index) * 1_000_000 > settings.breaker_move_ppm * highest:
            reference = highest
        if reference:
            window.clear()
        low, high = window.get(part, (index, index))
        window[part] = [min(low, index), max(high, index)]
        if reference == 0:
            return 0
        event = <BreakerTripped*>self.events.emit(EV_BREAKER_TRIPPED, 1, 0)
        event.underlying = underlying
        event.index_price_e8 = index
        event.reference_e8 = reference
        event.until_ns = self.events.time_ns + settings.breaker_pause_ns
        self.paused[underlying] = event.until_ns
        return event.until_ns

    def export(self):
        """Canonical state."""
        return [
            [held is not None and list(held) for held in self.held],
            [[[part, *window[part]] for part in sorted(window)] for window in self.windows],
            *([[self.paused_until(u), self.fixed[u]] for u in range(len(self.held))
               if self.paused_until(u) or self.fixed[u]]),
        ]
