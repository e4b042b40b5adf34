from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.clearing.position cimport Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Order, Orders
from exchange.records cimport TradeExecuted
from exchange.risk.exposure cimport Exposure

ctypedef struct LegShift:        # what a fill does to one leg's position of an account
    uint32_t instrument
    int64_t held_lots
    int64_t lots                 # signed
    int64_t value_minor          # to equity, at the mark, fee included


cdef class Combos:
    cdef Instruments instruments
    cdef Orders orders
    cdef Books books
    cdef Positions positions
    cdef Exposure exposure
    cdef Monitor monitor
    cdef EventBuffer events
    cdef bint bookable(self, Order* maker) noexcept
    cdef int _legs(self, Order* maker, int64_t lots, LegShift* legs) noexcept
    cdef int _shift(self, uint32_t account_id, LegShift* legs, int count) except -1
    cdef int _unshift(self, uint32_t account_id, LegShift* legs, int count) except -1
    cdef bint _stands(self, Order* maker, LegShift* legs, int count) except -1
    cdef int maker_reason(self, Order* maker, int64_t lots) except -1
    cdef bint dry_fill(self, Order* maker, int64_t lots, list applied, dict moved) except -1
    cdef int fill(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots, uint64_t trade_id) except -1
    cdef int _orders_filled(self, uint32_t taker_slot, uint32_t maker_slot, int64_t lots) except -1
    cdef TradeExecuted* _event(self, int kind, Order* taker, Order* maker, uint32_t instrument, uint64_t trade_id,
                               int64_t price, int64_t lots) noexcept
    cdef int _trade_leg(self, Order* taker, Order* maker, uint32_t leg, int64_t signed, int64_t price,
                        int64_t taker_fee, int64_t maker_fee, uint64_t trade_id) except -1
