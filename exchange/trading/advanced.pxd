from libc.stdint cimport int64_t

from exchange.market.order cimport Orders
from exchange.risk.pretrade cimport Pretrade
from exchange.trading.lifecycle cimport Trading


cdef class AdvancedOrders:
    cdef Orders orders
    cdef Pretrade pretrade
    cdef Trading trading
    cdef list due                # [underlying] deque of order ids whose price is to be set anew
    cdef int _drain(self, due, int left) except -1
    cdef int _end(self, int64_t time_ns) except -1
