from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

ctypedef struct Order:          # one cache line: what matching touches
    uint64_t order_id
    int64_t price_units
    int64_t remaining_lots
    uint32_t instrument
    uint32_t account_id
    uint32_t owner_id
    uint32_t next               # FIFO of the price level
    uint32_t prev
    uint32_t account_next       # the account's orders, ascending id
    uint32_t account_prev
    uint8_t side
    uint8_t order_type
    uint8_t time_in_force
    uint8_t flags
    uint32_t key_id
    uint32_t reserved

ctypedef struct OrderDetail:
    int64_t quantity_lots
    int64_t filled_cost_minor
    int64_t created_ns
    int64_t updated_ns
    uint16_t label_bytes
    char label[64]


cdef class Orders:
    cdef Order* at              # 1-based: 0 is "no order"
    cdef OrderDetail* detail
    cdef uint32_t capacity
    cdef uint32_t high
    cdef uint32_t free_head
    cdef readonly uint32_t live
    cdef uint32_t limit
    cdef uint32_t* index        # open addressing over order ids
    cdef uint32_t index_mask
    cdef int index_shift
    cdef uint32_t* account_head
    cdef uint32_t* account_tail
    cdef uint32_t* account_count
    cdef uint32_t accounts
    cdef int grow_accounts(self, uint32_t account_id) except -1
    cdef uint32_t find(self, uint64_t order_id) noexcept
    cdef uint32_t add(self, uint64_t order_id, uint32_t account_id) except? 0
    cdef void remove(self, uint32_t slot) noexcept
    cdef int _grow(self) except -1
    cdef void _index_put(self, uint64_t order_id, uint32_t slot) noexcept
    cdef void _index_drop(self, uint64_t order_id) noexcept
