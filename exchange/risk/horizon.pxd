from libc.stdint cimport int64_t, uint32_t

from exchange.market.instrument cimport Instrument
from exchange.market.order cimport Order
from exchange.risk.charges cimport Charges
from exchange.risk.risk_rows cimport MAX_SCENARIOS
from exchange.risk.scenario_books cimport OrderSums, ScenarioBook

cdef enum:
    MAX_BOOKS = 8            # chains of an underlying


cdef class Horizon(Charges):
    cdef ScenarioBook later_book[MAX_BOOKS]      # stand in for an account's books while it is margined without the rest
    cdef ScenarioBook* whole_book[MAX_BOOKS]
    cdef int later_chain[MAX_BOOKS]
    cdef int later_count
    cdef double later_pnl[MAX_BOOKS * MAX_SCENARIOS]
    cdef OrderSums later_orders[MAX_BOOKS]
    cdef double later_row[64]
    cdef double* _row_left(self, Order* order) noexcept
    cdef void _deltas_left(self, ScenarioBook* book, Order* order, int64_t lots) noexcept
    cdef void lane_pnl_of(self, Order* order, const double* risk, double* pnl) noexcept
    cdef int _orders_left(self, ScenarioBook* book, uint32_t account_id, int chain, int scope) except -1
    cdef bint leave_soon(self, uint32_t account_id, int underlying, int currency, int scope) except -1
    cdef void take_back(self, uint32_t account_id) noexcept
