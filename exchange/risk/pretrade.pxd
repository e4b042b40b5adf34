from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.position cimport Position, Positions
from exchange.market.instrument cimport Instrument, Instruments
from exchange.market.order cimport Order, Orders
from exchange.risk.exposure cimport Exposure
from exchange.risk.switches cimport Switches


cdef class Pretrade:
    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Positions positions
    cdef Exposure exposure
    cdef Switches switches
    cdef int64_t price_band_ppm
    cdef int64_t option_band_ppm
    cdef uint32_t max_open_orders
    cdef int64_t _option_band(self, Instrument* row) noexcept
    cdef int64_t _combo_edge(self, Instrument* row, int side) noexcept
    cdef int _combo_reason(self, Instrument* row, int side, int64_t price_units, int64_t lots,
                           bint market) noexcept
    cdef bint _legs_within(self, uint32_t account_id, Instrument* row, int side, int64_t lots) noexcept
    cdef int64_t highest(self, Instrument* row) noexcept
    cdef int64_t lowest(self, Instrument* row) noexcept
    cdef int static_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t price_units,
                           int64_t lots, bint market, int64_t time_ns) except -1
    cdef int form_reason(self, uint32_t instrument, int64_t price_units) noexcept
    cdef int limit_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots,
                          bint new) except -1
    cdef int64_t reducible(self, uint32_t account_id, uint32_t instrument, int side) noexcept
    cdef int fund(self, Order* order) except -1
