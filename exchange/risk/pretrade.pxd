from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.position cimport Position, Positions
from exchange.market.instrument cimport Instrument, Instruments
from exchange.market.order cimport Order, Orders
from exchange.risk.collateral cimport Collateral
from exchange.risk.price_bands cimport PriceBands
from exchange.risk.exposure cimport Exposure
from exchange.risk.mark_stages cimport MarkStages
from exchange.risk.switches cimport Switches


cdef class Pretrade:
    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Positions positions
    cdef Exposure exposure
    cdef Switches switches
    cdef Collateral collateral
    cdef MarkStages stages
    cdef PriceBands bands
    cdef uint32_t max_open_orders
    cdef uint32_t max_owner_orders
    cdef int _owner_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots, bint new) except -1
    cdef bint _owner_within(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots) noexcept
    cdef int64_t advanced_price(self, uint32_t instrument, int side, int kind, int64_t value_e8) except? -1
    cdef int64_t advanced_end_ns(self, uint32_t instrument) noexcept
    cdef int _combo_reason(self, Instrument* row, int side, int64_t price_units, int64_t lots,
                           bint market) except -1
    cdef bint _legs_within(self, uint32_t account_id, Instrument* row, int side, int64_t lots) noexcept
    cdef int static_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t price_units,
                           int64_t lots, bint market, int64_t time_ns) except -1
    cdef bint isolated(self, uint32_t account_id, uint32_t instrument) noexcept
    cdef int _stage_reason(self, uint32_t account_id, uint32_t instrument, int side) noexcept
    cdef bint closes_only(self, uint32_t instrument) noexcept

    cdef inline bint live(self, uint32_t instrument) noexcept:
        """Whether the marks of an instrument's underlying are young enough for everything."""
        return self.stages.live(self.instruments.at[instrument].underlying)

    cdef int form_reason(self, uint32_t instrument, int64_t price_units) noexcept
    cdef int limit_reason(self, uint32_t account_id, uint32_t instrument, int side, int64_t lots,
                          bint new) except -1
    cdef int64_t reducible(self, uint32_t account_id, uint32_t instrument, int side) noexcept
    cdef int fund(self, Order* order) except -1
