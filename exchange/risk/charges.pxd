from libc.stdint cimport int64_t, uint16_t, uint32_t

from exchange.market.instrument cimport Instrument
from exchange.market.order cimport Order
from exchange.risk.scenario_books cimport ScenarioBooks
from exchange.risk.shifted_rows cimport ShiftedRows

cdef enum:
    MAX_TIERS = 16
    MAX_CURRENCIES = 8

cdef enum:                   # charges by name, in this order (scenarios.CHARGES)
    PART_FUTURES = 0
    PART_SHORT_OPTIONS = 1
    PART_BASIS = 2
    PART_PEG = 3
    PART_COUNT = 4

cdef enum:                   # losses that compete with the worst column, in this order (scenarios.RIVALS)
    RIVAL_TILT = 0
    RIVAL_BEND = 1
    RIVAL_BASIS = 2
    RIVAL_COUNT = 3

ctypedef struct Parts:       # what a parameter set has beside the grid; one underlying
    bint any
    bint rivals
    int64_t horizon_ns
    int64_t future_ppm[2]    # initial, maintenance
    int64_t short_ppm[2]
    int64_t basis_ppm
    int tiers
    int64_t tier_from[MAX_TIERS]     # 1e-4 USD
    int64_t tier_ppm[MAX_TIERS]

ctypedef struct Lots:        # an instrument of the account under examination
    uint32_t instrument
    int64_t lots
    int64_t buys             # open lots
    int64_t sells

ctypedef struct Short:       # an option's coins at its strike and expiry
    int64_t expiry_ns
    int64_t strike_e8
    int64_t coins_e10

ctypedef struct Extra:       # charges of one requirement, in its row units
    int64_t part[PART_COUNT][2]      # initial, maintenance
    int64_t rival[RIVAL_COUNT]       # losses
    int64_t initial
    int64_t maintenance


cdef class Charges(ScenarioBooks):
    cdef Parts* parts        # [underlying]
    cdef ShiftedRows shifted
    cdef Lots* examined      # scratch
    cdef Short* shorts
    cdef uint32_t examined_capacity
    cdef Lots* lane_lots     # what an order being tried for the risk-reducing lane and its like may trade
    cdef uint32_t lane_count
    cdef uint32_t lane_capacity
    cdef Order** lane_order  # the orders themselves
    cdef uint32_t lane_orders
    cdef uint32_t lane_order_capacity
    cdef bint beyond         # the account is being margined without what expires soon
    cdef bint soon(self, Instrument* row) noexcept
    cdef int lane_add(self, Order* order) except -1
    cdef Lots* _entry(self, uint32_t* count, uint32_t instrument) except NULL
    cdef int64_t _examine(self, uint32_t account_id, int underlying, int currency, int scope) except -1
    cdef int64_t _coins_e10(self, Instrument* row) noexcept
    cdef int64_t _futures(self, uint32_t count) noexcept
    cdef int64_t _net_shorts(self, uint32_t count) noexcept
    cdef int64_t _hedged(self, uint32_t count) noexcept
    cdef int64_t _peg(self, Parts* p, int64_t hedged_usd) noexcept
    cdef int _rivals(self, int underlying, uint32_t count, bint usd, int64_t* out) noexcept
    cdef int extra(self, uint32_t account_id, int underlying, int currency, int scope, Extra* out) except -1
