from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Position, Positions
from exchange.market.instrument cimport Instruments
from exchange.risk.risk_rows cimport RiskRows
from margin_ext.safe_bands cimport BandGrid, BandIndex, BandLeg

cdef enum:
    MAX_LEGS = 16
    MAX_BAND_UNDERLYINGS = 32
    MAX_BAND_CURRENCIES = 16

ctypedef struct Requirement:     # one requirement of the account being certified: legs [first, last)
    int first
    int last
    double cash                  # what no mark can move, 1e-4 USD


cdef class Bands:
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Instruments instruments
    cdef Positions positions
    cdef RiskRows rows
    cdef readonly int64_t least_accounts     # bands are used from this many accounts on
    cdef readonly list index                 # BandIndex by underlying, None until used
    cdef list thresholds                     # shares of the maintenance margin: warnings, descending, then 1
    cdef int currencies
    cdef int* currency_underlying
    cdef double* coin_scale
    cdef int64_t* minor_per_unit
    cdef bint* plain                         # [currency] no haircut, no surcharge
    cdef list charged                        # [underlying] its set asks for what the bounds do not know
    cdef uint64_t* shape                     # [underlying] the listing that its anchors belong to
    cdef list perpetuals                     # [underlying] slots whose marks are measured
    cdef double* tier                        # [underlying][MAX_TIERS] isolated: from USD, rate, USD taken off
    cdef int* tier_count
    cdef list chains                         # [underlying] chains, at most BAND_CHAINS
    # the account being certified
    cdef BandLeg leg[MAX_LEGS]
    cdef int leg_underlying[MAX_LEGS]
    cdef int leg_group[MAX_LEGS]
    cdef int leg_count
    cdef Requirement requirement[MAX_BAND_CURRENCIES]
    cdef int requirement_count
    cdef int warned                          # thresholds that it has passed
    cdef int32_t* row
    cdef double* lots
    cdef uint16_t* bucket
    cdef uint32_t room
    cdef uint32_t* found
    cdef uint32_t found_room
    cdef readonly uint64_t visited           # accounts looked at by all marks so far
    cdef readonly uint64_t certified
    cdef readonly uint64_t marks
    cdef bint active(self, int underlying) except -1
    cdef int observe(self, int underlying, int64_t time_ns) except -1
    cdef int _take_shape(self, int underlying) except -1
    cdef int64_t scan(self, int underlying) except -1
    cdef int renew(self, int underlying, int64_t time_ns) except -1
    cdef bint _certify_bucket(self, uint32_t account_id) except -1
    cdef bint _bucket_range(self, uint32_t account_id, const Position* p, int rank, double* low,
                            double* high) except -1
    cdef bint settle(self, uint32_t account_id, bint sound) except -1
    cdef bint certify(self, uint32_t account_id) except -1
    cdef int refresh(self, int underlying, int64_t found, int64_t time_ns) except -1
    cdef int _open_anchor(self, int underlying, int64_t time_ns) except -1
    cdef bint _collect(self, uint32_t account_id) except -1
    cdef bint _collect_leg(self, uint32_t account_id, int underlying, int currency, bint cross) except -1
    cdef bint _collect_cross(self, uint32_t account_id) except -1
    cdef double _warned_level(self, int level, double* low, double* high) except? -1.0
    cdef double _level(self, int level, double* low, double* high) except? -1.0
    cdef int64_t _offset(self, uint32_t account_id, int currency) noexcept
