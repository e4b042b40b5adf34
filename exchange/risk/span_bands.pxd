from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t

from exchange.risk.band_terms cimport BandTerms
from exchange.risk.risk_rows cimport Grid
from exchange.risk.span cimport Spans
from margin_ext.kernels cimport ChainInput

cdef enum:
    SPAN_BAND_COLUMNS = 24       # the sixteen, and the mark

ctypedef struct SpanLeg:         # bounds of a leg at the three points of a box, 1e-4 USD
    double worst[3]              # equity less the outermost ratio x factor x loss, at least, in the column where least
    double equity[3]             # value at the mark with the coins, at least
    double held[3]               # the same without options
    double option[3]             # and options alone
    double charge[3]             # calendar and delivery, at most
    double minimum[3]            # of short options, at most
    double slack


cdef class SpanTerms(BandTerms):
    cdef Spans spans
    cdef bint* spanned           # [underlying] margined by span16
    cdef double** charged        # [underlying][level][least, largest][slot] composite deltas, coins per lot
    cdef int8_t* tier            # [underlying][MAX_EXPIRIES] as of the anchors
    cdef int64_t* move           # [underlying][MAX_EXPIRIES] of the charge on delivery, likewise
    cdef uint32_t slots
    cdef double spot[SPAN_BAND_COLUMNS]
    cdef double none[SPAN_BAND_COLUMNS]
    cdef double* multiplier
    cdef double* vol
    cdef double* years
    cdef int32_t* expiry
    cdef uint32_t expiry_room
    cdef uint32_t pair_room
    cdef void span_grid(self, int underlying, Grid* grid) noexcept
    cdef bint terms_moved(self, int underlying) noexcept
    cdef double near_years(self, int underlying) noexcept
    cdef int pad(self, int underlying, ChainInput* source) except -1
    cdef bint _close(self, int underlying, double years) noexcept
    cdef int measured(self, int underlying, const ChainInput* source, ChainInput* to) except -1
    cdef int bound_charged(self, int underlying, const ChainInput* source) except -1
    cdef void charged_future(self, int underlying, uint32_t slot) noexcept
    cdef double _deltas(self, int level, int i) noexcept
    cdef void _span_leg(self, int level, int i, SpanLeg* to) noexcept
    cdef void span_least(self, int level, int i, double ratio, double* least) noexcept
    cdef void span_warned(self, int level, double next_, double last, double* above, double* below) noexcept
    cdef void span_most(self, int level, double ratio, double* most) noexcept
