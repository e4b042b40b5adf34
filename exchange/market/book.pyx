"""Order books with price-time priority.

Each side is a sparse ladder over price units: 64 prices to a page, pages taken from a pool when first used and
given back when empty, two levels of bitmaps above them. Finding the next price is a few bit scans however
sparse the book is; a level is a FIFO of orders linked through the order pool. A resting order knows its level, so
that taking it out reads no table. What matching does with every order is inline in book.pxd.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

cdef extern from "exchange/market/memory.h":
    void* zeroed_table "margrave_table"(size_t bytes) noexcept
    void free_table "margrave_table_free"(void* table, size_t bytes) noexcept
    void* doubled_table "margrave_table_doubled"(void* table, size_t bytes) noexcept
    void* arena_take "margrave_arena_take"(Arena* arena, size_t bytes) noexcept
    void arena_give "margrave_arena_give"(Arena* arena, void* table, size_t bytes) noexcept
    void arena_close "margrave_arena_close"(Arena* arena) noexcept

cdef enum:
    FIRST_PAGES = 64

cdef uint64_t ONE = 1
cdef uint64_t ALL = 0xFFFFFFFFFFFFFFFF


cdef inline size_t ladder_bytes(const Book* book) noexcept:
    cdef size_t words = (book.block_count >> 6) + 1
    cdef size_t groups = (words >> 6) + 1
    return (groups + words) * sizeof(uint64_t) + (<size_t>book.block_count + 1) * sizeof(uint32_t)


cdef class Books:
    """One book per instrument slot. BUY is side 0, SELL side 1."""

    def __cinit__(self, Orders orders, uint32_t capacity):
        self.orders = orders
        self.capacity = capacity
        self.at = <Book*>zeroed_table(<size_t>capacity * sizeof(Book))
        self.page_capacity = FIRST_PAGES
        self.page_high = 1
        self.levels = <Level*>zeroed_table(FIRST_PAGES * 64 * sizeof(Level))
        self.level_bits = <uint64_t*>calloc(self.page_capacity, sizeof(uint64_t))
        if self.at == NULL or self.levels == NULL or self.level_bits == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef uint32_t i
        if self.at != NULL:
            for i in range(self.capacity):
                self.close_book(i)
        arena_close(&self.ladders)
        free_table(self.at, <size_t>self.capacity * sizeof(Book))
        free_table(self.levels, <size_t>self.page_capacity * 64 * sizeof(Level))
        free(self.level_bits)

    cdef int open_book(self, uint32_t instrument, int64_t max_price_units) except -1:
        """An empty book for prices 1 .. max_price_units."""
        cdef Book* book = &self.at[instrument]
        self.close_book(instrument)
        book.block_count = <uint32_t>(max_price_units >> 6) + 1
        return 0

    cdef void close_book(self, uint32_t instrument) noexcept:
        """Give the ladders back; the book must hold no order."""
        cdef Book* book = &self.at[instrument]
        cdef int side
        for side in range(2):
            arena_give(&self.ladders, book.side[side].page, ladder_bytes(book))
        memset(book, 0, sizeof(Book))
        book.side[0].best = -1
        book.side[1].best = -1

    cdef int _allocate(self, Book* book, Ladder* ladder) except -1:
        # on the first order of the side: most of a long chain's books never see one
        ladder.page = <uint32_t*>arena_take(&self.ladders, ladder_bytes(book))
        if ladder.page == NULL:
            raise MemoryError()
        return 0

    cdef int _grow(self) except -1:
        """Double the pool of pages."""
        cdef size_t pages = <size_t>self.page_capacity * 2
        cdef uint64_t* bits = <uint64_t*>realloc(self.level_bits, pages * sizeof(uint64_t))
        cdef Level* levels
        if bits == NULL:
            raise MemoryError()
        memset(bits + self.page_capacity, 0, <size_t>self.page_capacity * sizeof(uint64_t))
        self.level_bits = bits
        levels = <Level*>doubled_table(self.levels, <size_t>self.page_capacity * 64 * sizeof(Level))
        if levels == NULL:
            raise MemoryError()
        self.levels = levels
        self.page_capacity = <uint32_t>pages
        return 0

    cdef uint32_t _open_page(self, Book* book, Ladder* ladder, uint32_t block) except? 0:
        """A page for a block that has none."""
        cdef uint32_t number = self.page_free
        if ladder.page == NULL:
            self._allocate(book, ladder)
        if number:
            self.page_free = self.levels[<size_t>number * 64].head
            self.levels[<size_t>number * 64].head = 0
        else:
            if self.page_high == self.page_capacity:
                self._grow()
            number = self.page_high
            self.page_high += 1
        ladder.page[block] = number
        page_bits(book, ladder)[block >> 6] |= ONE << (block & 63)
        summary(book, ladder)[block >> 12] |= ONE << ((block >> 6) & 63)
        return number

    cdef void _close_page(self, Book* book, Ladder* ladder, uint32_t block) noexcept:
        """Give back the page of a block whose levels are all empty."""
        cdef uint32_t number = ladder.page[block]
        cdef uint64_t* bits = page_bits(book, ladder)
        self.levels[<size_t>number * 64].head = self.page_free
        self.page_free = number
        ladder.page[block] = 0
        bits[block >> 6] &= ~(ONE << (block & 63))
        if bits[block >> 6] == 0:
            summary(book, ladder)[block >> 12] &= ~(ONE << ((block >> 6) & 63))

    cdef int64_t next_price(self, uint32_t instrument, int side, int64_t price_units) noexcept:
        """The next worse price that holds orders: lower for bids, higher for asks; -1 when there is none."""
        cdef Book* book = &self.at[instrument]
        cdef Ladder* ladder = &book.side[side]
        cdef uint64_t* blocks
        cdef uint64_t* words
        cdef int64_t block
        cdef int64_t word
        cdef int64_t group
        cdef uint64_t bits
        cdef uint32_t number
        if ladder.page == NULL:
            return -1
        blocks = page_bits(book, ladder)
        words = summary(book, ladder)
        block = price_units >> 6
        number = ladder.page[block]
        if side == 0:
            if number:
                bits = self.level_bits[number] & ((ONE << (price_units & 63)) - 1)
                if bits:
                    return (block << 6) + highest_bit(bits)
            word = block >> 6
            bits = blocks[word] & ((ONE << (block & 63)) - 1)
            if bits == 0:
                group = word >> 6
                bits = words[group] & ((ONE << (word & 63)) - 1)
                while bits == 0:
                    group -= 1
                    if group < 0:
                        return -1
                    bits = words[group]
                word = (group << 6) + highest_bit(bits)
                bits = blocks[word]
            block = (word << 6) + highest_bit(bits)
            return (block << 6) + highest_bit(self.level_bits[ladder.page[block]])
        if number and (price_units & 63) != 63:
            bits = self.level_bits[number] & (ALL << ((price_units & 63) + 1))
            if bits:
                return (block << 6) + lowest_bit(bits)
        word = block >> 6
        bits = 0 if (block & 63) == 63 else blocks[word] & (ALL << ((block & 63) + 1))
        if bits == 0:
            group = word >> 6
            bits = 0 if (word & 63) == 63 else words[group] & (ALL << ((word & 63) + 1))
            while bits == 0:
                group += 1
                if group > (book.block_count >> 12):
                    return -1
                bits = words[group]
            word = (group << 6) + lowest_bit(bits)
            bits = blocks[word]
        block = (word << 6) + lowest_bit(bits)
        return (block << 6) + lowest_bit(self.level_bits[ladder.page[block]])

    cdef uint32_t next_order(self, uint32_t slot) noexcept:
        """The order after this one in price-time priority, 0 at the end."""
        cdef Order* order = &self.orders.at[slot]
        cdef int64_t price
        if order.next:
            return order.next
        price = self.next_price(order.instrument, order.side, order.price_units)
        if price < 0:
            return 0
        return self.level(order.instrument, order.side, price).head

    def depth(self, uint32_t instrument, int levels):
        """([(price_units, lots)] bids, asks), best first, at most `levels` each."""
        out = ([], [])
        cdef int side
        cdef int64_t price
        for side in range(2):
            price = self.at[instrument].side[side].best
            while price >= 0 and len(out[side]) < levels:
                out[side].append((price, self.level(instrument, side, price).quantity_lots))
                price = self.next_price(instrument, side, price)
        return out

    def level_lots(self, uint32_t instrument, int side, int64_t price_units):
        cdef Level* level = self.level(instrument, side, price_units)
        return 0 if level == NULL else level.quantity_lots

    def queue(self, uint32_t instrument, int side):
        """Order ids in priority (canonical export)."""
        out = []
        cdef uint32_t slot = self.best_order(instrument, side)
        while slot:
            out.append(self.orders.at[slot].order_id)
            slot = self.next_order(slot)
        return out

    def check(self, uint32_t instrument, bint may_cross=False):
        """Faults found in a book: sums, counts, links, best prices; [] when sound. In an auction it may be crossed."""
        faults = []
        cdef Book* book = &self.at[instrument]
        cdef int side
        cdef int64_t price, total
        cdef uint32_t slot, last, count, orders = 0, levels
        cdef Level* level
        cdef Order* order
        for side in range(2):
            price = book.side[side].best
            levels = 0
            while price >= 0:
                level = self.level(instrument, side, price)
                total = 0
                count = 0
                last = 0
                slot = level.head
                while slot:
                    order = &self.orders.at[slot]
                    if (order.price_units != price or order.remaining_lots <= 0 or order.prev != last
                            or &self.levels[order.level] != level):
                        faults.append(f"order {order.order_id} misplaced at {price}")
                    total += order.remaining_lots
                    count += 1
                    last = slot
                    slot = order.next
                if total != level.quantity_lots or count == 0 or last != level.tail:
                    faults.append(f"level {price} of side {side} holds {total}, says {level.quantity_lots}")
                orders += count
                levels += 1
                price = self.next_price(instrument, side, price)
            if levels != book.side[side].level_count:
                faults.append(f"side {side} has {levels} levels, says {book.side[side].level_count}")
        if orders != book.order_count:
            faults.append(f"book holds {orders} orders, says {book.order_count}")
        if not may_cross and book.side[1].best >= 0 and book.side[0].best >= book.side[1].best:
            faults.append(f"book is crossed at {book.side[0].best}")
        return faults
