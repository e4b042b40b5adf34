from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.market.order cimport Order, Orders

ctypedef struct Level:
    uint32_t head
    uint32_t tail
    uint32_t count
    uint32_t reserved
    int64_t quantity_lots

ctypedef struct Ladder:         # one side of one book
    uint32_t* page              # page number of each 64-price block, 0 = none
    uint64_t* page_bits         # which blocks hold a level
    uint64_t* summary           # which words of page_bits are not zero
    uint32_t block_count
    uint32_t level_count
    int64_t best                # price units; -1 when empty

ctypedef struct Book:
    Ladder side[2]
    uint64_t change_id
    int64_t max_price_units
    uint32_t order_count


cdef class Books:
    cdef Orders orders
    cdef Book* at
    cdef uint32_t capacity
    cdef Level* levels          # pages of 64 levels
    cdef uint64_t* level_bits   # one word per page
    cdef uint32_t page_capacity
    cdef uint32_t page_high
    cdef uint32_t page_free
    cdef int open_book(self, uint32_t instrument, int64_t max_price_units) except -1
    cdef void close_book(self, uint32_t instrument) noexcept
    cdef int _allocate(self, Ladder* ladder, int64_t max_price_units) except -1
    cdef uint32_t _take_page(self) except? 0
    cdef Level* level(self, uint32_t instrument, int side, int64_t price_units) noexcept
    cdef int rest(self, uint32_t slot) except -1
    cdef void unlink(self, uint32_t slot) noexcept
    cdef void reduce(self, uint32_t slot, int64_t lots) noexcept
    cdef int64_t next_price(self, uint32_t instrument, int side, int64_t price_units) noexcept
    cdef uint32_t best_order(self, uint32_t instrument, int side) noexcept
    cdef uint32_t next_order(self, uint32_t slot) noexcept
