from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.position cimport Positions
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instrument, Instruments
from exchange.records cimport UpdateMarks
from exchange.risk.mark_jumps cimport MarkJumps
from exchange.risk.mark_stages cimport MarkStages
from exchange.risk.risk_rows cimport RiskRows


cdef class Marks:
    cdef Instruments instruments
    cdef Books books
    cdef Positions positions
    cdef RiskRows rows
    cdef tuple settings
    cdef readonly MarkStages stages
    cdef readonly MarkJumps jumps
    cdef int64_t* time_ns            # [underlying] of the last accepted update, 0 = none yet
    cdef int64_t* basis_e8           # [slot] EMA of (book mid - index) of perpetuals
    cdef int64_t* funding_rate_e12   # [slot] per funding period
    cdef list samples                # [underlying] deque of (time, index) for settlement
    cdef readonly int priced
    cdef readonly int64_t detail
    cdef bint fresh(self, int underlying, int64_t time_ns) noexcept

    cdef inline bint live(self, int underlying) noexcept:
        """Whether there are marks to liquidate on."""
        return self.time_ns[underlying] != 0 and self.stages.current(underlying)

    cdef int update(self, const UpdateMarks* command, int64_t time_ns) except -1
    cdef int _check(self, const UpdateMarks* command, int underlying) except -1
    cdef int _fix(self, int underlying, int64_t time_ns) except -1
    cdef int _perpetual(self, uint32_t slot, int64_t elapsed_ns) except -1
