from libc.stdint cimport int64_t, uint8_t, uint32_t

from exchange.event_buffer cimport EventBuffer

cdef enum StageCode:
    STAGE_LIVE = 0
    STAGE_REDUCE_ONLY = 1
    STAGE_HALT = 2


cdef class MarkStages:
    cdef EventBuffer events
    cdef readonly int underlyings
    cdef uint8_t* stage              # [underlying] StageCode
    cdef uint8_t* aged               # [underlying] StageCode that the marks' age alone gives
    cdef uint8_t* cap                # [underlying] StageCode that an override does not let it pass; 2 = none
    cdef uint8_t* by_hand            # [underlying] no feed has spoken since the index was set by hand: not live by age
    cdef int64_t* marked_ns          # of the last accepted marks, 0 = none yet
    cdef int64_t* since_ns           # since when the stage has been live
    cdef int64_t* stale_ns
    cdef int64_t* halt_ns
    cdef readonly uint32_t restricted    # underlyings that are not live: 0 is all there is to ask on the common path
    cdef readonly int64_t next_ns        # nothing changes by itself before this
    cdef int64_t wake_ns                 # somebody else wants to be looked at then
    cdef int _due(self, int underlying, int64_t time_ns) noexcept
    cdef int _enter(self, int underlying, int stage) except -1
    cdef void _plan(self) noexcept
    cdef int advance(self, int64_t time_ns) except -1
    cdef int marked(self, int underlying, int64_t time_ns) except -1

    cdef inline bint live(self, int underlying) noexcept:
        """Whether everything may go on as usual on an underlying."""
        return self.stage[underlying] == STAGE_LIVE

    cdef inline bint current(self, int underlying) noexcept:
        """Whether the marks themselves are recent, whatever an override says."""
        return self.aged[underlying] == STAGE_LIVE

    cdef inline bint reduces(self, int underlying) noexcept:
        """Whether only orders that reduce a position are taken."""
        return self.restricted and self.stage[underlying] == STAGE_REDUCE_ONLY

    cdef inline bint halted(self, int underlying) noexcept:
        return self.restricted and self.stage[underlying] == STAGE_HALT
