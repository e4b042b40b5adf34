from libc.stdint cimport int32_t, uint32_t

from exchange.risk.band_terms cimport MAX_BAND_CURRENCIES, MAX_LEGS
from exchange.risk.rival_bands cimport RivalTerms

ctypedef struct CurrencyPart:    # of a leg in one currency, at the three points of a box, 1e-4 USD: least, largest
    bint any
    double coin                  # per USD of the index
    double held[2][3]            # at the mark, without options of `span16`
    double option[2][3]          # and these
    double soon[2][3]            # what of `held` expires within the horizon


cdef class HaircutTerms(RivalTerms):
    cdef bint bent               # the account certified has haircuts or surcharges on what it has
    cdef bint later              # what expires within the horizon is left out
    cdef CurrencyPart part[MAX_LEGS][MAX_BAND_CURRENCIES]
    cdef double lowest[MAX_BAND_CURRENCIES]      # equity in the boxes of all legs
    cdef double highest[MAX_BAND_CURRENCIES]
    cdef double bare[MAX_BAND_CURRENCIES]        # and without what options of value add, at least
    cdef double slope[MAX_BAND_CURRENCIES]       # of the line that the haircut is measured from
    cdef double gap[MAX_BAND_CURRENCIES]         # how far its other slope is from that
    cdef int32_t* part_row
    cdef double* part_lots
    cdef uint32_t part_room
    cdef int _gather_part(self, int i, int currency, int turned) noexcept
    cdef int _parts(self, int level) noexcept
    cdef double bent_least(self, int level, double* least) except? -1.0
    cdef double _soon_value(self, int i, int currency, int column, int p, int way) noexcept
    cdef void _bent_columns(self, int level, int i, int p, double* total) noexcept
    cdef double _bent_rival(self, int level, int i, int p) noexcept
    cdef void _bent_leg(self, int level, int i, double* least) noexcept
    cdef int _bent_later(self, int level, int i, double* least) except -1
    cdef int bent_warned(self, int level, double next_, double last, double* above, double* below) except -1
    cdef double _bent_options(self, int i, int p, double* value) noexcept
