from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cimport cython

from exchange.market.book cimport Books
from exchange.market.order cimport Orders

ctypedef packed struct Message:
    uint8_t kind
    uint8_t side
    uint16_t book
    uint32_t price_units
    uint32_t quantity_lots
    uint32_t order_id

ctypedef struct Trade:
    uint64_t taker_order_id
    uint64_t maker_order_id
    int64_t price_units
    int64_t quantity_lots
    uint32_t book
    uint32_t side               # the taker's

ctypedef struct Ahead:          # what fetching ahead has found of a message to come; within the tables, perhaps stale
    uint32_t book
    uint32_t block
    uint32_t place
    uint32_t slot
    uint32_t level


@cython.final
cdef class Matcher:
    cdef readonly Orders orders
    cdef readonly Books books
    cdef uint32_t book_count
    cdef readonly int64_t max_price_units
    cdef uint32_t block_count   # of every book's ladders
    cdef Trade* ring
    cdef uint64_t ring_mask
    cdef readonly uint64_t trades       # made so far
    cdef uint64_t taken                 # of them, handed out
    cdef readonly uint64_t messages
    cdef readonly uint64_t refused
    cdef readonly uint64_t last_order_id
    cdef int64_t _match(self, uint32_t book, int side, int64_t limit, int64_t lots, uint64_t order_id) noexcept
    cdef int _rest(self, uint32_t book, int side, int64_t price, int64_t lots, uint64_t order_id) except -1
    cdef int _cancel(self, uint64_t order_id) noexcept
    cdef int _order(self, uint32_t kind, uint32_t side, uint32_t book, int64_t price, int64_t lots,
                    uint64_t order_id) except -1
    cdef void _fetch_far(self, const Message* message, Ahead* found) noexcept
    cdef void _fetch_middle(self, const Message* message, Ahead* found) noexcept
    cdef void _fetch_near(self, const Message* message, Ahead* found) noexcept
    cdef void _fetch_next(self, const Message* message, Ahead* found) noexcept
    cdef void _fetch_last(self, const Message* message, Ahead* found) noexcept
    cdef bint _large(self) noexcept
    cdef int _run(self, const Message* message, const Message* end) except -1
