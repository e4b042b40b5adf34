from libc.stdint cimport int64_t, uint32_t

from exchange.market.book cimport Books
from exchange.market.instrument cimport Instruments
from exchange.risk.risk_rows cimport RiskRows


cdef class MarketSize:
    cdef Instruments instruments
    cdef Books books
    cdef RiskRows rows
    cdef list asked              # by underlying: what its set says of concentration, None where nothing
    cdef int64_t* open_interest_e10      # [underlying] 1e-10 coin, at the last marks
    cdef int64_t* depth_e10
    cdef int note(self, int underlying) except -1
    cdef int64_t _within(self, int side, int64_t mark_e8, int64_t move_ppm, int64_t unit_e8,
                         uint32_t slot) noexcept
