from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cimport cython

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


cdef inline uint32_t index_home(uint32_t key, int shift) noexcept:
    """Where a key's search in the index starts (multiplicative hashing: Knuth, TAOCP 6.4)."""
    return (key * <uint32_t>0x9E3779B1) >> shift


@cython.final
cdef class Orders:
    cdef Order* at              # 1-based: 0 is "no order"; aligned to cache lines
    cdef OrderDetail* detail
    cdef uint32_t capacity
    cdef uint32_t high
    cdef uint32_t free_head
    cdef readonly uint32_t live
    cdef uint32_t limit
    # Open addressing: the low half of the order id above, the slot below; 0 is a free place. Keys stand in the
    # index, so that neither a search nor a deletion reads orders that it passes.
    cdef uint64_t* index
    cdef uint32_t index_mask
    cdef int index_shift
    cdef uint32_t* account_head
    cdef uint32_t* account_tail
    cdef uint32_t* account_count
    cdef uint32_t accounts
    cdef int grow_accounts(self, uint32_t account_id) except -1
    cdef uint32_t add(self, uint64_t order_id, uint32_t account_id) except? 0
    cdef void remove(self, uint32_t slot) noexcept
    cdef int _grow(self) except -1

    cdef inline uint32_t find(self, uint64_t order_id) noexcept:
        """Slot of a live order, 0 when there is none."""
        cdef uint32_t key = <uint32_t>order_id
        cdef uint32_t place = index_home(key, self.index_shift)
        cdef uint64_t entry = self.index[place]
        while entry:
            if <uint32_t>(entry >> 32) == key and self.at[<uint32_t>entry].order_id == order_id:
                return <uint32_t>entry
            place = (place + 1) & self.index_mask
            entry = self.index[place]
        return 0

    cdef inline void _index_put(self, uint64_t order_id, uint32_t slot) noexcept:
        cdef uint32_t key = <uint32_t>order_id
        cdef uint32_t place = index_home(key, self.index_shift)
        while self.index[place]:
            place = (place + 1) & self.index_mask
        self.index[place] = <uint64_t>key << 32 | slot

    cdef inline void _index_drop(self, uint64_t order_id, uint32_t slot) noexcept:
        # backward shift: no tombstones, so the index never degrades
        cdef uint32_t mask = self.index_mask
        cdef uint32_t key = <uint32_t>order_id
        cdef uint32_t hole = index_home(key, self.index_shift)
        cdef uint64_t entry = <uint64_t>key << 32 | slot
        cdef uint32_t probe, home
        while self.index[hole] != entry:
            hole = (hole + 1) & mask
        probe = hole
        while True:
            probe = (probe + 1) & mask
            entry = self.index[probe]
            if entry == 0:
                break
            home = index_home(<uint32_t>(entry >> 32), self.index_shift)
            if ((probe - home) & mask) >= ((probe - hole) & mask):
                self.index[hole] = entry
                hole = probe
        self.index[hole] = 0

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
        if slot:
            self.free_head = self.at[slot].next
        else:
            if self.high == self.capacity:
                self._grow()
            slot = self.high
            self.high += 1
        self.at[slot].order_id = order_id
        self._index_put(order_id, slot)
        self.live += 1
        return slot

    cdef inline void release(self, uint32_t slot) noexcept:
        """Give back a slot that is in no book and of no account; its id is forgotten."""
        cdef Order* order = &self.at[slot]
        self._index_drop(order.order_id, slot)
        order.order_id = 0
        order.next = self.free_head
        self.free_head = slot
        self.live -= 1
