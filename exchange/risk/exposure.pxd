from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.position cimport Position
from exchange.market.order cimport Order
from exchange.risk.formulas cimport Margin
from exchange.risk.requirement cimport Requirements, ceil_ppm
from exchange.risk.scenario_books cimport ALL_ORDERS, NO_ORDERS, OrderSums, ScenarioBook

cdef enum:
    MAX_UNDERLYING_CHAINS = 8


cdef class Exposure(Requirements):
    cdef OrderSums lane_sums[MAX_UNDERLYING_CHAINS]
    cdef int _lane_terms(self, ScenarioBook* book, Order* order) except -1
    cdef int _lane_book(self, Order* order, int chain, OrderSums* sums) except -1
    cdef int _lane_shorts(self, Order* order, int chain, ScenarioBook* book) except -1
    cdef bint lane_allows(self, Order* order) except -1
    cdef bint _formula_lane(self, Order* order) except -1
    cdef bint _falls(self, Order* order, int64_t lots, int64_t cost, int64_t before) except -1
