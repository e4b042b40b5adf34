from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from exchange.market.instrument cimport Instrument
from exchange.market.order cimport Order
from exchange.risk.market_size cimport MarketSize
from exchange.risk.scenario_books cimport ScenarioBooks
from exchange.risk.shifted_rows cimport ShiftedRows

cdef enum:
    MAX_TIERS = 16
    MAX_CURRENCIES = 8
    OWNER_SLOTS = 1024

cdef enum:                   # charges by name, in this order (scenarios.CHARGES)
    PART_FUTURES = 0
    PART_SHORT_OPTIONS = 1
    PART_BASIS = 2
    PART_PEG = 3
    PART_CONCENTRATION = 4
    PART_COUNT = 5

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
    bint concentrated
    int64_t share_ppm        # of the open interest; rates, move and cap in 1e-12
    int64_t share_rate_e12
    int64_t depth_move_e12
    int64_t depth_cap_e12

ctypedef struct Lots:        # an instrument of the account under examination
    uint32_t instrument
    int64_t lots
    int64_t buys             # open lots
    int64_t sells

ctypedef struct Short:       # an option's coins at its strike and expiry
    int64_t expiry_ns
    int64_t strike_e8
    int64_t coins_e10

ctypedef struct Deltas:      # 1e-10 coin; what open orders could add and take away
    int64_t net
    int64_t up
    int64_t down

ctypedef struct OwnerDeltas:  # of an owner's accounts together, while no lots move and no mark comes
    uint32_t owner_id
    uint64_t changes
    uint64_t revision
    Deltas of

ctypedef struct Extra:       # charges of one requirement, in its row units
    int64_t part[PART_COUNT][2]      # initial, maintenance
    int64_t rival[RIVAL_COUNT]       # losses
    int64_t initial
    int64_t maintenance


cdef class Charges(ScenarioBooks):
    cdef Parts* parts        # [underlying]
    cdef ShiftedRows shifted
    cdef MarketSize market
    cdef OwnerDeltas* owners  # [underlying][OWNER_SLOTS]; NULL where no set asks for concentration
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
    cdef void _add_deltas(self, uint32_t account_id, int underlying, int currency, Deltas* out) noexcept
    cdef Deltas* _owner(self, uint32_t account_id, int underlying) noexcept
    cdef int64_t owner_rate(self, int underlying, int64_t delta_e10) noexcept
    cdef int64_t owner_delta(self, uint32_t account_id, int underlying, int currency, uint32_t count, int scope,
                             int64_t* own) noexcept
    cdef int _take_concentration(self, Parts* p, own) except -1
    cdef bint orders_in(self, uint32_t account_id, int underlying) noexcept
    cdef int64_t _concentration(self, uint32_t account_id, int underlying, int currency, uint32_t count,
                                int scope) noexcept
    cdef int extra(self, uint32_t account_id, int underlying, int currency, int scope, Extra* out) except -1
