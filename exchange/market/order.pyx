"""Live orders: pooled C structs, an id index, and each account's orders in ascending id.

No Python object per order; a slot is reused as soon as its order ends, ids never are.
"""

from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15


cdef class Orders:
    """The pool. Index 0 means no order."""

    def __cinit__(self, uint32_t limit):
        self.limit = limit
        self.capacity = 1024
        self.at = <Order*>malloc(self.capacity * sizeof(Order))
        self.detail = <OrderDetail*>malloc(self.capacity * sizeof(OrderDetail))
        self.index_mask = 4095
        self.index_shift = 64 - 12
        self.index = <uint32_t*>calloc(self.index_mask + 1, sizeof(uint32_t))
        self.accounts = 64
        self.account_head = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.account_tail = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.account_count = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.high = 1
        if (self.at == NULL or self.detail == NULL or self.index == NULL or self.account_head == NULL
                or self.account_tail == NULL or self.account_count == NULL):
            raise MemoryError()

    def __dealloc__(self):
        free(self.at)
        free(self.detail)
        free(self.index)
        free(self.account_head)
        free(self.account_tail)
        free(self.account_count)

    cdef int grow_accounts(self, uint32_t account_id) except -1:
        """Room for an account's list head."""
        cdef uint32_t size = self.accounts
        cdef uint32_t** heads[3]
        cdef uint32_t* grown
        cdef int i
        heads[0] = &self.account_head
        heads[1] = &self.account_tail
        heads[2] = &self.account_count
        while size <= account_id:
            size *= 2
        if size == self.accounts:
            return 0
        for i in range(3):
            grown = <uint32_t*>realloc(heads[i][0], size * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError()
            memset(grown + self.accounts, 0, (size - self.accounts) * sizeof(uint32_t))
            heads[i][0] = grown
        self.accounts = size
        return 0

    cdef uint32_t find(self, uint64_t order_id) noexcept:
        """Slot of a live order, 0 when there is none."""
        cdef uint32_t h = <uint32_t>((order_id * GOLDEN) >> self.index_shift)
        cdef uint32_t slot = self.index[h]
        while slot:
            if self.at[slot].order_id == order_id:
                return slot
            h = (h + 1) & self.index_mask
            slot = self.index[h]
        return 0

    cdef void _index_put(self, uint64_t order_id, uint32_t slot) noexcept:
        cdef uint32_t h = <uint32_t>((order_id * GOLDEN) >> self.index_shift)
        while self.index[h]:
            h = (h + 1) & self.index_mask
        self.index[h] = slot

    cdef void _index_drop(self, uint64_t order_id) noexcept:
        # backward shift: no tombstones, so the index never degrades
        cdef uint32_t mask = self.index_mask
        cdef uint32_t h = <uint32_t>((order_id * GOLDEN) >> self.index_shift)
        cdef uint32_t hole, probe, home, slot
        while self.at[self.index[h]].order_id != order_id:
            h = (h + 1) & mask
        hole = h
        probe = h
        while True:
            probe = (probe + 1) & mask
            slot = self.index[probe]
            if slot == 0:
                break
            home = <uint32_t>((self.at[slot].order_id * GOLDEN) >> self.index_shift)
            if ((probe - home) & mask) >= ((probe - hole) & mask):
                self.index[hole] = slot
                hole = probe
        self.index[hole] = 0

    cdef int _grow(self) except -1:
        cdef uint32_t size = self.capacity * 2
        cdef Order* at = <Order*>realloc(self.at, size * sizeof(Order))
        cdef OrderDetail* detail
        cdef uint32_t* index
        cdef uint32_t slot, a
        if at == NULL:
            raise MemoryError()
        self.at = at
        detail = <OrderDetail*>realloc(self.detail, size * sizeof(OrderDetail))
        if detail == NULL:
            raise MemoryError()
        self.detail = detail
        self.capacity = size
        index = <uint32_t*>calloc((self.index_mask + 1) * 2, sizeof(uint32_t))
        if index == NULL:
            raise MemoryError()
        free(self.index)
        self.index = index
        self.index_mask = self.index_mask * 2 + 1
        self.index_shift -= 1
        for a in range(self.accounts):
            slot = self.account_head[a]
            while slot:
                self._index_put(self.at[slot].order_id, slot)
                slot = self.at[slot].account_next
        return 0

    cdef uint32_t add(self, uint64_t order_id, uint32_t account_id) except? 0:
        """A zeroed slot for a new order at the end of the account's list; 0 when the venue's limit is reached."""
        cdef uint32_t slot, tail
        cdef Order* order
        if self.live >= self.limit:
            return 0
        if self.free_head == 0 and self.high == self.capacity:
            self._grow()
        if self.free_head:
            slot = self.free_head
            self.free_head = self.at[slot].next
        else:
            slot = self.high
            self.high += 1
        order = &self.at[slot]
        memset(order, 0, sizeof(Order))
        memset(&self.detail[slot], 0, sizeof(OrderDetail))
        order.order_id = order_id
        order.account_id = account_id
        tail = self.account_tail[account_id]
        order.account_prev = tail
        if tail:
            self.at[tail].account_next = slot
        else:
            self.account_head[account_id] = slot
        self.account_tail[account_id] = slot
        self.account_count[account_id] += 1
        self._index_put(order_id, slot)
        self.live += 1
        return slot

    cdef void remove(self, uint32_t slot) noexcept:
        """Take an order (already out of its book) away."""
        cdef Order* order = &self.at[slot]
        self._index_drop(order.order_id)
        if order.account_prev:
            self.at[order.account_prev].account_next = order.account_next
        else:
            self.account_head[order.account_id] = order.account_next
        if order.account_next:
            self.at[order.account_next].account_prev = order.account_prev
        else:
            self.account_tail[order.account_id] = order.account_prev
        self.account_count[order.account_id] -= 1
        order.order_id = 0
        order.next = self.free_head
        self.free_head = slot
        self.live -= 1
