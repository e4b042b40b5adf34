from libc.stdint cimport int64_t

from exchange.risk.risk_rows cimport MAX_SCENARIOS, Fixing, Grid, RiskRows


cdef class SettlingRows(RiskRows):
    cdef double moved[MAX_SCENARIOS]         # multipliers of what contracts of the expiry settle at, by column
    cdef double ratio[MAX_SCENARIOS]         # of the index to these
    cdef double moved_weight[MAX_SCENARIOS]
    cdef double moved_factor[MAX_SCENARIOS]
    cdef double moved_floor[MAX_SCENARIOS]
    cdef void _columns(self, Grid* g, Fixing* fixing, bint inverse, bint clamped) noexcept
    cdef void _open_delta(self, int slot, Fixing* fixing, double vol, double years) noexcept
    cdef int _settling_options(self, int chain, int bucket, int64_t time_ns) except -1
