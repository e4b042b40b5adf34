from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.clearing.position cimport Position, Positions
from exchange.market.instrument cimport Instrument, Instruments
from exchange.risk.risk_rows cimport RiskRows

ctypedef struct Margin:      # minor units of the currency, or 1e-4 USD of an account that is margined as a whole
    int64_t equity
    int64_t initial
    int64_t maintenance
    int64_t excluded         # under `span16`: option value that is in equity and maintenance alike, no part of ratios

ctypedef struct Standard:    # parameters of one underlying
    int64_t short_initial_e9
    int64_t short_floor_e9
    int64_t short_maintenance_e9
    int64_t put_mark_ppm
    int64_t future_initial_ppm
    int64_t future_maintenance_ppm
    int64_t per_coin_ppm

cdef enum:
    MAX_TIERS = 16

ctypedef struct Tier:        # of isolated notional
    int64_t above_usd
    int64_t initial_ppm
    int64_t maintenance_ppm
    int64_t deduction        # USD x ppm: what continuity takes off maintenance

ctypedef struct Rates:       # one option's requirement per short lot, minor units
    uint64_t revision        # of the marks that they belong to
    int64_t initial
    int64_t maintenance

ctypedef struct Trial:       # lots that a check supposes an account to have beside its positions
    uint32_t account_id
    uint32_t instrument
    int64_t lots
    int64_t value_minor      # what they change in equity, at the mark

ctypedef struct Holding:     # an instrument of the account under examination
    uint32_t instrument
    uint8_t done
    int64_t lots
    int64_t buys             # open lots
    int64_t sells
    int64_t worst            # lots when every open sell is filled, or the lots themselves


cdef class Formulas:
    cdef Accounts accounts
    cdef Ledger ledger
    cdef Instruments instruments
    cdef Positions positions
    cdef RiskRows rows
    cdef Standard* standard      # [underlying]
    cdef Tier* tiers             # [underlying][MAX_TIERS]
    cdef int* tier_count
    cdef int64_t* minor_per_usd  # [currency] of those worth one USD, 0 of coins
    cdef Rates* rates            # [slot]
    cdef Trial* trials
    cdef uint32_t trial_count
    cdef uint32_t trial_capacity
    cdef Holding* held           # scratch
    cdef uint32_t held_capacity
    cdef int failed
    cdef int suppose(self, uint32_t account_id, uint32_t instrument, int64_t lots, int64_t value) except -1
    cdef Rates* _rates(self, uint32_t instrument) noexcept
    cdef int64_t _future(self, Instrument* row, int64_t lots, int64_t rate_ppm) noexcept
    cdef int64_t _isolated(self, Instrument* row, int64_t lots, int64_t leverage_e2, bint initial) noexcept
    cdef int64_t _most_to_lose(self, Holding* held, uint32_t count) noexcept
    cdef int64_t _options(self, Holding* held, uint32_t count, bint initial) noexcept
    cdef Holding* _holding(self, uint32_t* count, uint32_t instrument) except NULL
    cdef uint32_t _gather(self, uint32_t account_id, int currency, bint with_orders, int64_t* equity) except? 0
    cdef int margin(self, uint32_t account_id, int currency, bint with_orders, int64_t order_cost_minor,
                    Margin* out) except -1
    cdef int64_t options_value(self, uint32_t account_id, int currency) noexcept
