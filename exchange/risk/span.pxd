from libc.stdint cimport int8_t, int64_t, uint64_t

from exchange.risk.risk_rows cimport MAX_EXPIRIES, RiskRows
from exchange.risk.quote_caps cimport SPAN_COLUMNS
from exchange.risk.scenario_books cimport ScenarioBook
from exchange.wide cimport int128

cdef enum:
    MAX_PARTS = 16
    MAX_CREDIT_LEGS = 4

cdef extern from "exchange/risk/span.h":
    enum:
        SPAN_STEPS
        SPAN_NODES
        SPAN_TIERS

    ctypedef struct SpanStep:
        int first
        int second
        int64_t first_ratio
        int64_t second_ratio
        int64_t rate

    ctypedef struct SpanSpreads:
        int step_count
        int node_count
        SpanStep step[SPAN_STEPS]
        int64_t up[SPAN_NODES]
        int64_t down[SPAN_NODES]
        int64_t most
        int64_t slack
        int64_t noise

    int64_t span_calendar(const SpanSpreads* s, const int8_t* tier, int buckets, const int64_t* delta,
                          const int64_t* up, const int64_t* down, int ordered, int64_t capped, int* bad) noexcept

ctypedef struct SpanSet:             # one underlying's charges
    SpanSpreads spreads
    int tier_count
    int64_t tier_from_ns[SPAN_TIERS]
    int64_t tier_to_ns[SPAN_TIERS]
    int8_t tier[MAX_EXPIRIES]        # of each expiry, -1: none
    uint64_t revision                # marks and listing that `tier` belongs to
    uint64_t shape
    int64_t short_ppm
    bint larger_side                 # short options: the larger of calls and puts, else both
    int64_t credit_rounding          # delta x rate, 1e-10 coin

ctypedef struct SpanCredit:
    int leg_count
    int underlying[MAX_CREDIT_LEGS]
    int64_t ratio_ppm[MAX_CREDIT_LEGS]
    bint is_short[MAX_CREDIT_LEGS]
    int64_t rate_ppm

ctypedef struct SpanNode:            # one side of an underlying's delta where orders are open: from low to high
    int64_t low
    int64_t high
    int64_t low_units                # in spreads of the credit at hand
    int64_t high_units

ctypedef struct SpanPart:            # one underlying in one margin entity; [0] positions alone, [1] with open orders
    int underlying
    bint ordered
    int64_t scan[2]                  # row units of the entity from here on
    int64_t charge[2]                # calendar and delivery
    int64_t calendar_e10[2]          # 1e-10 coin
    int64_t delivery_e10[2]
    int64_t short_minimum[2]
    int64_t concentration[2]         # after the factor
    int64_t option_value[2]
    int64_t price_risk[2]
    int64_t credit[2]
    int64_t delta_e10
    bint bounded                     # the figures with orders below bound what fills can make of it
    int64_t delta_up                 # what fills could add to the delta
    int64_t delta_down
    int64_t loss[SPAN_COLUMNS]       # the most that fills can make of the loss in a column
    int64_t beyond[SPAN_COLUMNS]     # and of twice the loss beyond price risk
    int64_t held_lots
    int64_t open_lots


cdef class Spans:
    cdef RiskRows rows
    cdef SpanSet* set
    cdef SpanCredit* credit
    cdef int credit_count
    cdef int64_t calendar(self, int underlying, ScenarioBook** books, int count, int ordered, int* bad) noexcept
    cdef int64_t short_minimum(self, int underlying, ScenarioBook** books, int count, int ordered, int* bad) noexcept
    cdef void scan(self, SpanPart* part, int which, const int64_t* losses) noexcept
    cdef bint _place(self, const SpanCredit* credit, const SpanPart* parts, int count, int* place) noexcept
    cdef void credits(self, SpanPart* parts, int count, int which, int* bad) noexcept
    cdef void deltas(self, SpanPart* part, ScenarioBook** books, int count, int ordered) noexcept
    cdef void _least_shares(self, SpanPart* parts, int count, int64_t* share, int* bad) noexcept
    cdef void credits_with_orders(self, SpanPart* parts, int count, int* bad) noexcept
    cdef void _tiers(self, int underlying) noexcept


cdef int64_t span_requirement(const SpanPart* part, int which, int64_t factor_ppm, int64_t lots, int* bad) noexcept
cdef int64_t span_bounded_loss(const SpanPart* part, int64_t share, int* bad) noexcept
cdef void span_without_orders(SpanPart* part) noexcept
cdef dict span_figures(SpanPart* part)
