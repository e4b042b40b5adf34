from libc.stdint cimport int64_t, uint32_t

from exchange.event_buffer cimport EventBuffer


cdef class MarkJumps:
    cdef EventBuffer events
    cdef tuple settings
    cdef list held                   # [underlying] None, or [index_e8, sources, since_ns]
    cdef list windows                # [underlying] {sixteenth of the window: [lowest, highest]}
    cdef list paused                 # [underlying] until when its breaker last paused it; 0: not, or resumed since
    cdef readonly list fixed         # [underlying] whether an index set by hand is in force
    cdef readonly int64_t next_ns    # no held jump lapses before this
    cdef int _say(self, int underlying, int outcome, index, previous) except -1
    cdef int advance(self, int64_t time_ns) except -1
    cdef bint believes(self, int underlying, index, previous, uint32_t sources) except -1
    cdef int64_t trips(self, int underlying, index) except -1
