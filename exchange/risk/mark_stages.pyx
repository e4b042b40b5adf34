"""Stages of an underlying by the age of its marks: live, reduce-only, halt.

The stage is looked at before every command, so that it holds exactly from the nanosecond on at which it is due. Until
the first marks an underlying is live: nothing on it has a mark, and orders are refused for that.
"""

from libc.stdlib cimport calloc, free

from exchange.records cimport EV_MARK_STAGE_CHANGED, R_MARK_STALE, R_NONE, MarkStageChanged

STAGES = ("live", "reduce_only", "halt")
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef class MarkStages:
    """The stage of each underlying; `config` is exchange.config.Config."""

    def __cinit__(self, EventBuffer events, config):
        cdef int u
        self.events = events
        self.underlyings = len(config.underlyings)
        self.stage = <uint8_t*>calloc(self.underlyings, 1)
        self.aged = <uint8_t*>calloc(self.underlyings, 1)
        self.cap = <uint8_t*>calloc(self.underlyings, 1)
        self.by_hand = <uint8_t*>calloc(self.underlyings, 1)
        self.marked_ns = <int64_t*>calloc(self.underlyings, sizeof(int64_t))
        self.since_ns = <int64_t*>calloc(self.underlyings, sizeof(int64_t))
        self.stale_ns = <int64_t*>calloc(self.underlyings, sizeof(int64_t))
        self.halt_ns = <int64_t*>calloc(self.underlyings, sizeof(int64_t))
        if (self.stage == NULL or self.marked_ns == NULL or self.since_ns == NULL or self.stale_ns == NULL
                or self.halt_ns == NULL or self.aged == NULL or self.cap == NULL
                or self.by_hand == NULL):
            raise MemoryError()
        for u in range(self.underlyings):
            self.stale_ns[u] = config.underlyings[u].mark_stale_ns
            self.halt_ns[u] = config.underlyings[u].mark_halt_ns
            self.cap[u] = STAGE_HALT
        self.next_ns = self.wake_ns = NEVER

    def __dealloc__(self):
        free(self.stage)
        free(self.aged)
        free(self.cap)
        free(self.by_hand)
        free(self.marked_ns)
        free(self.since_ns)
        free(self.stale_ns)
        free(self.halt_ns)

    cdef int _due(self, int underlying, int64_t time_ns) noexcept:
        """The stage that an underlying belongs in."""
        cdef int64_t age = time_ns - self.marked_ns[underlying]
        if self.marked_ns[underlying] == 0 or age <= self.stale_ns[underlying]:
            return STAGE_REDUCE_ONLY if self.by_hand[underlying] else STAGE_LIVE
        return STAGE_REDUCE_ONLY if age <= self.halt_ns[underlying] else STAGE_HALT

    cdef int _enter(self, int underlying, int aged) except -1:
        """Change the stage to what the age gives, as far as no override holds it back, and say so."""
        cdef int previous = self.stage[underlying], stage = min(aged, <int>self.cap[underlying])
        cdef MarkStageChanged* event
        if self.aged[underlying] != STAGE_LIVE and aged == STAGE_LIVE:
            self.since_ns[underlying] = self.events.time_ns
        self.aged[underlying] = aged
        if stage == previous:
            return 0
        if previous == STAGE_LIVE:
            self.restricted += 1
        elif stage == STAGE_LIVE:
            self.restricted -= 1
        self.stage[underlying] = stage
        event = <MarkStageChanged*>self.events.emit(EV_MARK_STAGE_CHANGED, 1, 0)
        event.underlying = underlying
        event.stage = stage
        event.previous_stage = previous
        event.reason = R_MARK_STALE if stage else R_NONE
        event.marked_ns = self.marked_ns[underlying]
        return 0

    cdef void _plan(self) noexcept:
        """When the next stage is due by age alone."""
        cdef int u
        cdef int64_t limit, next_ns = self.wake_ns
        for u in range(self.underlyings):
            if self.marked_ns[u] == 0 or self.aged[u] == STAGE_HALT:
                continue
            limit = self.stale_ns[u] if self.aged[u] == STAGE_LIVE else self.halt_ns[u]
            if self.marked_ns[u] <= NEVER - 1 - limit:
                next_ns = min(next_ns, self.marked_ns[u] + limit + 1)
        self.next_ns = next_ns

    cdef int advance(self, int64_t time_ns) except -1:
        """Enter the stages that are due, ascending underlying."""
        cdef int u
        for u in range(self.underlyings):
            self._enter(u, self._due(u, time_ns))
        self._plan()
        return 0

    cdef int marked(self, int underlying, int64_t time_ns) except -1:
        """Marks were accepted."""
        if self.marked_ns[underlying] == 0:
            self.since_ns[underlying] = time_ns
        self.marked_ns[underlying] = time_ns
        self.by_hand[underlying] = 0
        self._enter(underlying, self._due(underlying, time_ns))
        self._plan()
        return 0

    def wake(self, int64_t time_ns):
        """Look again at this time, whatever the marks' age says."""
        self.wake_ns = time_ns
        self._plan()

    def distrust(self, int underlying):
        """The index was set by hand: until a feed's marks are accepted they count as old."""
        self.by_hand[underlying] = 1
        self._enter(underlying, self._due(underlying, self.events.time_ns))
        self._plan()

    def hold(self, int underlying, int stage):
        """Let an underlying pass no stage beyond this (2: as its marks' age says)."""
        self.cap[underlying] = stage
        self._enter(underlying, self._due(underlying, self.events.time_ns))
        self._plan()

    def is_current(self, int underlying):
        """Whether the marks are recent by themselves."""
        return self.current(underlying)

    def stage_of(self, int underlying):
        """Name of an underlying's stage."""
        return STAGES[self.stage[underlying]]

    def age_stage_of(self, int underlying):
        """Name of the stage that the age of an underlying's marks alone gives."""
        return STAGES[self.aged[underlying]]

    def marked_at(self, int underlying):
        """Time of an underlying's last accepted marks, 0 where there were none."""
        return self.marked_ns[underlying]

    def check(self):
        """Faults; [] when sound."""
        cdef int u
        found = sum([1 for u in range(self.underlyings) if self.stage[u]])
        if any([self.stage[u] != min(self.aged[u], self.cap[u]) for u in range(self.underlyings)]):
            return ["an underlying's stage is not what its marks' age and override give"]
        if found != self.restricted:
            return [f"{found} underlyings are not live, the count says {self.restricted}"]
        return []

    def export(self):
        """Canonical state."""
        cdef int u
        return [[self.stage[u], self.marked_ns[u], self.since_ns[u]]
                + ([self.aged[u], self.cap[u], self.by_hand[u]] if self.cap[u] != STAGE_HALT or self.by_hand[u] else [])
                for u in range(self.underlyings)]
