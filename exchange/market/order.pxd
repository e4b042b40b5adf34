from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cimport cython

from exchange.market.order_index cimport OrderIndex, index_drop, index_place, index_put, index_slot
from exchange.records cimport FLAG_ICEBERG

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
    uint8_t reserved
    uint16_t flags
    uint16_t protection_group   # of a market maker's quotes; 0 none
    uint32_t level              # where it rests: index into Books.levels

ctypedef struct OrderDetail:
    int64_t quantity_lots
    int64_t filled_cost_minor
    int64_t created_ns
    int64_t updated_ns
    int64_t display_lots        # icebergs: lots of a shown tranche; `remaining_lots` of the order is what is shown
    int64_t hidden_lots         # icebergs: what is not shown yet
    uint64_t linked_order_id    # one cancels other
    int64_t advanced_value_e8
    uint32_t key_id
    uint8_t advanced
    uint8_t both_count          # one cancels other: both may be filled nearly whole, so that both count in margin
    uint16_t label_bytes
    char label[64]


@cython.final
cdef class Orders:
    cdef Order* at              # 1-based: 0 is "no order"; aligned to cache lines
    cdef OrderDetail* detail
    cdef uint32_t capacity
    cdef uint32_t detail_capacity   # twice as much where memory ended between the two
    cdef uint32_t high
    cdef uint32_t free_head
    cdef readonly uint32_t live
    cdef uint32_t limit
    cdef OrderIndex index
    cdef uint32_t* account_head
    cdef uint32_t* account_tail
    cdef uint32_t* account_count
    cdef uint32_t accounts
    cdef int grow_accounts(self, uint32_t account_id) except -1
    cdef uint32_t add(self, uint64_t order_id, uint32_t account_id) except? 0
    cdef void remove(self, uint32_t slot) noexcept
    cdef int _grow(self) except -1

    cdef inline uint32_t place(self, uint64_t order_id) noexcept:
        """Where the index has an order's id, or would."""
        return index_place(&self.index, order_id >> 4)

    cdef inline uint32_t find(self, uint64_t order_id) noexcept:
        """Slot of a live order, 0 when there is none."""
        return index_slot(&self.index, self.place(order_id), order_id)

    cdef inline int64_t whole_lots(self, Order* order) noexcept:
        """What is left of an order of the pool, an iceberg's hidden lots included."""
        if order.flags & FLAG_ICEBERG:
            return order.remaining_lots + self.detail[order - self.at].hidden_lots
        return order.remaining_lots

    cdef inline uint32_t claim(self, uint64_t order_id) except? 0:
        """A slot found by the id, its other fields unset and of no account; 0 when the limit is reached."""
        cdef uint32_t slot = self.free_head
        if self.live >= self.limit:
            return 0
        if slot == 0 and self.high == self.capacity:
            self._grow()
        index_put(&self.index, order_id, slot or self.high)
        if slot:
            self.free_head = self.at[slot].next
        else:
            slot = self.high
            self.high += 1
        self.at[slot].order_id = order_id
        self.live += 1
        return slot

    cdef inline void release(self, uint32_t slot, uint32_t place) noexcept:
        """Give back a slot that is in no book and of no account; its id, at that place of the index, is forgotten."""
        cdef Order* order = &self.at[slot]
        index_drop(&self.index, place, order.order_id)
        order.order_id = 0
        order.next = self.free_head
        self.free_head = slot
        self.live -= 1
