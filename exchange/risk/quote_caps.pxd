from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from exchange.market.instrument cimport Instrument, Instruments
from exchange.risk.protection cimport Group, Protection
from exchange.risk.risk_rows cimport MAX_EXPIRIES, MAX_SCENARIOS, RiskRows

cdef enum:
    SPAN_COLUMNS = 16                # scenarios of `span16`

ctypedef struct QuoteSum:            # the open quotes of one capped group in one scenario book
    double pnl[MAX_SCENARIOS]        # what they can take away, <= 0
    double cap[MAX_SCENARIOS]        # the most that protection lets through
    int64_t beyond[SPAN_COLUMNS]     # see order_beyond of scenario books
    int64_t delta_up[MAX_EXPIRIES]
    int64_t delta_down[MAX_EXPIRIES]
    int64_t cap_delta_e10
    int64_t cap_coins_e8             # limits and rows that the caps were made from
    uint64_t cap_version
    uint16_t number
    bint whole                       # deltas within the cap: they count like other orders'

ctypedef struct QuoteBook:
    int count
    int capacity
    QuoteSum* at


cdef inline int paired_column(int j) noexcept nogil:
    """The `span16` column of the same price move with the other vol; the extremes stand alone."""
    return j ^ 1 if j < 14 else j


cdef class QuoteCaps:
    cdef Instruments instruments
    cdef RiskRows rows
    cdef Protection protection
    cdef int max_chains
    cdef double* worst               # [usd][chain][S] worst row per coin
    cdef uint64_t* worst_version     # [usd][chain]
    cdef int64_t* delta_per_coin_e10  # [usd][chain] largest |delta| per coin
    cdef int64_t _per_coin(self, Instrument* row, int64_t amount) noexcept
    cdef int _flush(self, Instrument* row, double* largest, double* worst) noexcept
    cdef int _find_worst(self, int chain, bint usd) noexcept
    cdef QuoteSum* of_order(self, QuoteBook** quotes, uint32_t account_id, Instrument* row, int number,
                            int* bad) noexcept
    cdef int refresh(self, QuoteBook* quotes, uint32_t account_id, int chain, bint usd) noexcept
    cdef void order_pnl(self, QuoteBook* quotes, const double* others, double* out) noexcept
    cdef void order_beyond(self, QuoteBook* quotes, const int64_t* others, int64_t* out) noexcept
    cdef int64_t roll(self, QuoteBook* quotes, int underlying, int64_t* net_up, int64_t* net_down, int* bad) noexcept
