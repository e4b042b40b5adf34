"""Live orders: pooled C structs, an id index, and each account's orders in ascending id.

No Python object per order; a slot is reused as soon as its order ends, ids never are. What matching does with
every order is inline in order.pxd.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.market.order_index cimport SLOT_LIMIT, IdGroup, index_close, index_open

cdef extern from "exchange/market/memory.h":
    void* zeroed_table "margrave_table"(size_t bytes) noexcept
    void free_table "margrave_table_free"(void* table, size_t bytes) noexcept
    void* doubled_table "margrave_table_doubled"(void* table, size_t bytes) noexcept

cdef enum:
    CACHE_LINE = 64
    FIRST_CAPACITY = 1024


cdef class Orders:
    """The pool. Index 0 means no order."""

    def __cinit__(self, uint32_t limit):
        if sizeof(Order) != CACHE_LINE:
            raise TypeError("an order must fill one cache line")
        if sizeof(IdGroup) != CACHE_LINE:
            raise TypeError("a group of ids must fill one cache line")
        if limit >= SLOT_LIMIT:
            raise ValueError(f"at most {SLOT_LIMIT - 1} orders can be live, not {limit}")
        self.limit = limit
        self.capacity = FIRST_CAPACITY
        self.detail_capacity = FIRST_CAPACITY
        self.at = <Order*>zeroed_table(self.capacity * sizeof(Order))
        self.detail = <OrderDetail*>zeroed_table(self.capacity * sizeof(OrderDetail))
        index_open(&self.index)
        self.accounts = 64
        self.account_head = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.account_tail = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.account_count = <uint32_t*>calloc(self.accounts, sizeof(uint32_t))
        self.high = 1
        if (self.at == NULL or self.detail == NULL or self.account_head == NULL
                or self.account_tail == NULL or self.account_count == NULL):
            raise MemoryError()

    def __dealloc__(self):
        free_table(self.at, <size_t>self.capacity * sizeof(Order))
        free_table(self.detail, <size_t>self.detail_capacity * sizeof(OrderDetail))
        index_close(&self.index)
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

    cdef int _grow(self) except -1:
        """Double the pool."""
        cdef Order* at
        cdef OrderDetail* detail
        if self.detail_capacity == self.capacity:
            detail = <OrderDetail*>doubled_table(self.detail, <size_t>self.capacity * sizeof(OrderDetail))
            if detail == NULL:
                raise MemoryError()
            self.detail = detail
            self.detail_capacity = self.capacity * 2
        at = <Order*>doubled_table(self.at, <size_t>self.capacity * sizeof(Order))
        if at == NULL:
            raise MemoryError()
        self.at = at
        self.capacity *= 2
        return 0

    cdef uint32_t add(self, uint64_t order_id, uint32_t account_id) except? 0:
        """A zeroed slot for a new order at the end of the account's list; 0 when the venue's limit is reached."""
        cdef uint32_t slot = self.claim(order_id)
        cdef uint32_t tail
        cdef Order* order
        cdef OrderDetail* detail
        if slot == 0:
            return 0
        order = &self.at[slot]
        memset(order, 0, sizeof(Order))
        detail = &self.detail[slot]
        detail.quantity_lots = 0
        detail.filled_cost_minor = 0
        detail.created_ns = 0
        detail.updated_ns = 0
        detail.display_lots = 0
        detail.hidden_lots = 0
        detail.linked_order_id = 0
        detail.advanced_value_e8 = 0
        detail.key_id = 0
        detail.advanced = 0
        detail.both_count = 0
        detail.label_bytes = 0      # its label is as long as this says, so the old one need not be cleared
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
        return slot

    cdef void remove(self, uint32_t slot) noexcept:
        """Take an order (already out of its book) away."""
        cdef Order* order = &self.at[slot]
        if order.account_prev:
            self.at[order.account_prev].account_next = order.account_next
        else:
            self.account_head[order.account_id] = order.account_next
        if order.account_next:
            self.at[order.account_next].account_prev = order.account_prev
        else:
            self.account_tail[order.account_id] = order.account_prev
        self.account_count[order.account_id] -= 1
        self.release(slot, self.place(order.order_id))
