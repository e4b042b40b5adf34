from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Accounts
from exchange.clearing.position cimport Positions
from exchange.trading.combos cimport Combos
from exchange.trading.entry cimport Entry
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Order, Orders
from exchange.risk.exposure cimport Exposure
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.protection cimport Protection


cdef inline int64_t signed_of(Order* order, int64_t lots) noexcept:
    return lots if order.side == 0 else -lots


cdef class DryRun(Entry):
    cdef Combos combos
    cdef int failed
    cdef public object links             # what acts on fills of linked orders, between two fills as well
    cdef bint _crosses(self, Order* order) noexcept
    cdef int64_t _dry_fill(self, Order* maker, int64_t lots, list applied, dict moved) except -1
    cdef bint _fillable(self, Order* taker) except -1
    cdef int64_t _maker_lots(self, Order* maker, int64_t wanted) noexcept
    cdef bint _maker_stands(self, Order* maker, int64_t held, int64_t lots, int64_t cost, int64_t fee) except -1
    cdef uint32_t _next_maker(self, uint32_t* slot, object again, int64_t* shown, int64_t* hidden) except? 0
    cdef bint _same_trader(self, Order* maker, Order* taker) noexcept
