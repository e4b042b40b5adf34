from libc.stdint cimport int64_t, uint32_t

from exchange.risk.charges cimport RIVAL_BASIS, RIVAL_BEND, RIVAL_TILT, Extra
from exchange.risk.formulas cimport Margin
from exchange.risk.horizon cimport Horizon
from exchange.risk.scenario_books cimport ALL_ORDERS, NO_ORDERS, ScenarioBook
from exchange.risk.span cimport SpanPart, Spans
from exchange.wide cimport wide_mul_div_ceil


cdef inline int64_t ceil_ppm(int64_t amount, int64_t ppm, int* bad) noexcept:
    return amount if ppm == 1_000_000 else wide_mul_div_ceil(amount, ppm, 1_000_000, bad)


cdef inline int64_t worst_rival(Extra* extra) noexcept:
    """The largest loss beside the columns'."""
    return max(extra.rival[RIVAL_TILT], max(extra.rival[RIVAL_BEND], extra.rival[RIVAL_BASIS]))


cdef class Requirements(Horizon):
    cdef readonly Spans spans
    cdef list told           # gathers the parts of a requirement while they are asked for
    cdef int64_t _borne(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs, int scope,
                        int64_t usd) noexcept
    cdef int64_t _chain_loss(self, uint32_t account_id, int chain, ScenarioBook* book, int scope,
                             Extra* extra) except -1
    cdef int _underlying_need(self, uint32_t account_id, int underlying, ScenarioBook** books, int count, int ordered,
                              int64_t* base, int64_t* left, int64_t* costs, int scope, Margin* need) except -1
    cdef int _chain_need(self, uint32_t account_id, int chain, ScenarioBook* book, int scope, int64_t* initial,
                         int64_t* maintenance) except -1
    cdef int64_t _underlying_loss(self, uint32_t account_id, int underlying, ScenarioBook** books, int count,
                                  int ordered, int64_t* base, int64_t* costs, int scope, Extra* extra) except -1
    cdef int margin(self, uint32_t account_id, int currency, int scope, Margin* out) except -1
    cdef int64_t equity(self, uint32_t account_id, int currency) noexcept
    cdef int64_t usd_units(self, int currency, int64_t minor) noexcept
    cdef int64_t _haircut(self, int currency, int64_t usd) noexcept
    cdef int64_t _roll(self, int underlying, ScenarioBook** books, int count, int ordered) noexcept
    cdef int64_t _usd_of_coin(self, int underlying, int64_t coin_e10) noexcept
    cdef int64_t _charges(self, int underlying, ScenarioBook** books, int count, int ordered, bint coin) noexcept
    cdef void _span_charges(self, SpanPart* part, int which, ScenarioBook** books, int count, int ordered,
                            bint coin) noexcept
    cdef int _span_concentration(self, SpanPart* part, uint32_t account_id, int currency, int scope) except -1
    cdef void _span_book(self, SpanPart* part, ScenarioBook* book, bint coin, int64_t unit, bint ordered) noexcept
    cdef void _span_need(self, SpanPart* part, uint32_t account_id, ScenarioBook** books, const int* currency,
                         int count, int ordered, int64_t* base, int64_t* costs, int scope) noexcept
    cdef void _span_cross(self, SpanPart* part, ScenarioBook** books, const int* currency, int count, int which,
                          int ordered, const int64_t* losses, const int64_t* cash) noexcept
    cdef int64_t _option_value(self, int currency, int64_t cash, int64_t minor) noexcept
    cdef void _without_options(self, uint32_t account_id, int scope, const int64_t* costs, int64_t* cash) noexcept
    cdef int _span_sum(self, SpanPart* parts, int count, int64_t unit, int scope, Margin* out) except -1
    cdef bint _cross_losses(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs, int scope,
                            int64_t* losses, int64_t* beyond) noexcept
    cdef bint any_orders(self, uint32_t account_id) noexcept
    cdef void _cross_beyond(self, int currency, const ScenarioBook* book, const int64_t* more, const int64_t* nets,
                            int64_t* beyond) noexcept
    cdef int64_t _order_costs(self, uint32_t account_id, int currency, int scope) except? -1
    cdef int _formula(self, uint32_t account_id, int currency, int scope, Margin* out) except -1
    cdef int _segregated(self, uint32_t account_id, int currency, int scope, Margin* out) except -1
    cdef bint _counts(self, int scope, int chain) noexcept
    cdef int64_t _cross_loss(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs,
                             int scope) noexcept
    cdef int _cross(self, uint32_t account_id, int scope, Margin* out) except -1
