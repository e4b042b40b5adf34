from libc.stdint cimport uint32_t

from exchange.state cimport State


cdef class Reads(State):
    cdef _order_view(self, uint32_t slot)
    cdef bint _has_price(self, int currency) noexcept
