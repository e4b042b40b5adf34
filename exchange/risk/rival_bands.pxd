from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from exchange.risk.span_bands cimport SpanTerms
from exchange.risk.shifted_rows cimport Shift, ShiftedRows
from margin_ext.kernels cimport ChainInput
from margin_ext.safe_bands cimport BandLeg

ctypedef struct Spot:            # an option's pair in a box, from the anchor
    double forward               # over the index
    double tilt                  # edges of ln(forward / strike)
    double down
    double up
    double narrow                # total width
    double wide
    double short_root            # root of the time
    double long_root
    double basis                 # range of forwards against the index


cdef class RivalTerms(SpanTerms):
    cdef ShiftedRows shifted
    cdef double** rival          # [underlying][level][slot][shift][least, largest] coins a lot, at the index
    cdef uint32_t* soon_mask     # [underlying] buckets of expiries within the horizon, as of the anchors
    cdef int32_t* later_row      # the leg without what expires within it
    cdef double* later_lots
    cdef uint16_t* later_bucket
    cdef uint32_t later_room
    cdef bint _soon(self, int underlying, int bucket) noexcept
    cdef bint charges_moved(self, int underlying) noexcept
    cdef int bound_rivals(self, int underlying, const ChainInput* source) except -1
    cdef void rival_future(self, int underlying, uint32_t slot) noexcept
    cdef void _skewed(self, int underlying, const Spot* at, const ChainInput* source, double* to) noexcept
    cdef void _moved_forward(self, int underlying, const Spot* at, const ChainInput* source, double* call,
                             double* put) noexcept
    cdef double _most_rival(self, int level, int i, const BandLeg* leg, double* units) noexcept
    cdef void _with_rivals(self, int level, int i, const BandLeg* leg, double ratio, double* least) noexcept
    cdef double mark_least(self, int level, int i, int p) noexcept
    cdef void _later_least(self, int level, int i, const BandLeg* later, double* least) noexcept
    cdef void _beside_later(self, int level, int i, BandLeg* later, double* least) noexcept
    cdef int leg_least(self, int level, int i, double* least) except -1
    cdef int _without_soon(self, int i, BandLeg* to) except -1
    cdef int charged_warned(self, int level, double next_, double last, double* above, double* below) except -1
