from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.position cimport Position
from exchange.risk.haircut_bands cimport HaircutTerms
from margin_ext.safe_bands cimport BandIndex


cdef class Bands(HaircutTerms):
    cdef readonly int64_t least_accounts     # bands are used from this many accounts on
    cdef list fits                           # [underlying] its grid has a column without a shock
    cdef uint64_t* shape                     # [underlying] the listing that its anchors belong to
    cdef list perpetuals                     # [underlying] slots whose marks are measured
    cdef double* tier                        # [underlying][MAX_TIERS] isolated: from USD, rate, USD taken off
    cdef int* tier_count
    cdef list chains                         # [underlying] chains, at most BAND_CHAINS
    cdef int warned                          # thresholds that the account being certified has passed
    cdef uint32_t* found
    cdef uint32_t found_room
    cdef readonly uint64_t visited           # accounts looked at by all marks so far
    cdef readonly uint64_t certified
    cdef readonly uint64_t marks
    cdef bint active(self, int underlying) except -1
    cdef int observe(self, int underlying, int64_t time_ns) except -1
    cdef BandIndex _new_index(self, int underlying)
    cdef int _take_shape(self, int underlying) except -1
    cdef int64_t scan(self, int underlying) except -1
    cdef int renew(self, int underlying, int64_t time_ns) except -1
    cdef bint _certify_bucket(self, uint32_t account_id) except -1
    cdef bint _bucket_range(self, uint32_t account_id, const Position* p, int rank, double* low,
                            double* high) except -1
    cdef bint settle(self, uint32_t account_id, bint sound) except -1
    cdef bint certify(self, uint32_t account_id) except -1
    cdef int refresh(self, int underlying, int64_t found, int64_t time_ns) except -1
    cdef bint _counts(self, const Position* p) noexcept
    cdef int _open_anchor(self, int underlying, int64_t time_ns) except -1
    cdef bint _collect(self, uint32_t account_id) except -1
    cdef bint _collect_leg(self, uint32_t account_id, int underlying, int currency) except -1
    cdef bint _collect_cross(self, uint32_t account_id) except -1
    cdef double _warned_level(self, int level, double* low, double* high) except? -1.0
    cdef double _level(self, int level, double* low, double* high) except? -1.0
    cdef int64_t _offset(self, uint32_t account_id, int currency) noexcept
