from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.event_buffer cimport EventBuffer
from exchange.risk.bands cimport Bands
from exchange.risk.exposure cimport Exposure, Margin

cdef enum:
    MAX_WARNINGS = 8


cdef class Monitor:
    cdef Accounts accounts
    cdef Exposure exposure
    cdef readonly Bands bands
    cdef EventBuffer events
    cdef int64_t warning_ppm[MAX_WARNINGS]   # descending
    cdef int warning_count
    cdef readonly uint32_t below_maintenance
    cdef object queue
    cdef int _rank(self, const Margin* m) except -1
    cdef int check(self, uint32_t account_id) except -1
    cdef bint _concerned(self, uint32_t account_id, int underlying) noexcept
    cdef int remargin(self, int underlying) except -1
