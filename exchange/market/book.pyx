"""Order books with price-time priority.

Each side is a sparse ladder over price units: 64 prices to a page, pages taken from a pool when first used and
given back when empty, two levels of bitmaps above them. Finding the next price is a few bit scans however
sparse the book is; a level is a FIFO of orders linked through the order pool.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

cdef extern from *:
    """
    #define margrave_ctz(x) __builtin_ctzll(x)
    #define margrave_clz(x) __builtin_clzll(x)
    """
    int lowest_bit "margrave_ctz"(uint64_t) noexcept nogil
    int leading_zeros "margrave_clz"(uint64_t) noexcept nogil

cdef uint64_t ONE = 1
cdef uint64_t ALL = 0xFFFFFFFFFFFFFFFF


cdef inline int highest_bit(uint64_t word) noexcept:
    return 63 - leading_zeros(word)


cdef class Books:
    """One book per instrument slot. BUY is side 0, SELL side 1."""

    def __cinit__(self, Orders orders, uint32_t capacity):
        self.orders = orders
        self.capacity = capacity
        self.at = <Book*>calloc(capacity, sizeof(Book))
        self.page_capacity = 64
        self.page_high = 1
        self.levels = <Level*>calloc(self.page_capacity * 64, sizeof(Level))
        self.level_bits = <uint64_t*>calloc(self.page_capacity, sizeof(uint64_t))
        if self.at == NULL or self.levels == NULL or self.level_bits == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef uint32_t i
        if self.at != NULL:
            for i in range(self.capacity):
                self.close_book(i)
        free(self.at)
        free(self.levels)
        free(self.level_bits)

    cdef int open_book(self, uint32_t instrument, int64_t max_price_units) except -1:
        """An empty book for prices 1 .. max_price_units."""
        cdef Book* book = &self.at[instrument]
        self.close_book(instrument)
        book.max_price_units = max_price_units
        return 0

    cdef void close_book(self, uint32_t instrument) noexcept:
        """Give the ladders back; the book must hold no order."""
        cdef Book* book = &self.at[instrument]
        cdef int side
        for side in range(2):
            free(book.side[side].page)
            free(book.side[side].page_bits)
            free(book.side[side].summary)
        memset(book, 0, sizeof(Book))
        book.side[0].best = -1
        book.side[1].best = -1

    cdef int _allocate(self, Ladder* ladder, int64_t max_price_units) except -1:
        # on the first order of the side: most of a long chain's books never see one
        cdef uint32_t blocks = <uint32_t>(max_price_units >> 6) + 1
        cdef uint32_t words = (blocks >> 6) + 1
        ladder.page = <uint32_t*>calloc(blocks, sizeof(uint32_t))
        ladder.page_bits = <uint64_t*>calloc(words, sizeof(uint64_t))
        ladder.summary = <uint64_t*>calloc((words >> 6) + 1, sizeof(uint64_t))
        if ladder.page == NULL or ladder.page_bits == NULL or ladder.summary == NULL:
            raise MemoryError()
        ladder.block_count = blocks
        return 0

    cdef uint32_t _take_page(self) except? 0:
        cdef uint32_t number, size
        cdef Level* levels
        cdef uint64_t* bits
        if self.page_free:
            number = self.page_free
            self.page_free = self.levels[<size_t>number * 64].head
            memset(&self.levels[<size_t>number * 64], 0, 64 * sizeof(Level))
            return number
        if self.page_high == self.page_capacity:
            size = self.page_capacity * 2
            levels = <Level*>realloc(self.levels, <size_t>size * 64 * sizeof(Level))
            if levels == NULL:
                raise MemoryError()
            self.levels = levels
            bits = <uint64_t*>realloc(self.level_bits, <size_t>size * sizeof(uint64_t))
            if bits == NULL:
                raise MemoryError()
            self.level_bits = bits
            memset(levels + <size_t>self.page_capacity * 64, 0, <size_t>self.page_capacity * 64 * sizeof(Level))
            memset(bits + self.page_capacity, 0, <size_t>self.page_capacity * sizeof(uint64_t))
            self.page_capacity = size
        number = self.page_high
        self.page_high += 1
        return number

    cdef Level* level(self, uint32_t instrument, int side, int64_t price_units) noexcept:
        """The level at a price, NULL where no page covers it (a level without orders has count 0)."""
        cdef Ladder* ladder = &self.at[instrument].side[side]
        cdef uint32_t number
        if ladder.page == NULL or price_units < 0 or (price_units >> 6) >= ladder.block_count:
            return NULL
        number = ladder.page[price_units >> 6]
        if number == 0:
            return NULL
        return &self.levels[<size_t>number * 64 + (price_units & 63)]

    cdef int rest(self, uint32_t slot) except -1:
        """Append an order to the FIFO of its price; the price is within 1 .. max_price_units."""
        cdef Order* order = &self.orders.at[slot]
        cdef Book* book = &self.at[order.instrument]
        cdef Ladder* ladder = &book.side[order.side]
        cdef int64_t price = order.price_units
        cdef uint32_t block = <uint32_t>(price >> 6)
        cdef uint32_t number
        cdef Level* level
        if ladder.page == NULL:
            self._allocate(ladder, book.max_price_units)
        number = ladder.page[block]
        if number == 0:
            number = self._take_page()
            ladder.page[block] = number
            ladder.page_bits[block >> 6] |= ONE << (block & 63)
            ladder.summary[block >> 12] |= ONE << ((block >> 6) & 63)
        level = &self.levels[<size_t>number * 64 + (price & 63)]
        order.prev = level.tail
        order.next = 0
        if level.tail:
            self.orders.at[level.tail].next = slot
        else:
            level.head = slot
            self.level_bits[number] |= ONE << (price & 63)
            ladder.level_count += 1
            if ladder.best < 0 or (price > ladder.best if order.side == 0 else price < ladder.best):
                ladder.best = price
        level.tail = slot
        level.count += 1
        level.quantity_lots += order.remaining_lots
        book.order_count += 1
        book.change_id += 1
        return 0

    cdef void unlink(self, uint32_t slot) noexcept:
        """Take a resting order out of its level."""
        cdef Order* order = &self.orders.at[slot]
        cdef Book* book = &self.at[order.instrument]
        cdef Ladder* ladder = &book.side[order.side]
        cdef int64_t price = order.price_units
        cdef uint32_t block = <uint32_t>(price >> 6)
        cdef uint32_t number = ladder.page[block]
        cdef Level* level = &self.levels[<size_t>number * 64 + (price & 63)]
        if order.prev:
            self.orders.at[order.prev].next = order.next
        else:
            level.head = order.next
        if order.next:
            self.orders.at[order.next].prev = order.prev
        else:
            level.tail = order.prev
        level.quantity_lots -= order.remaining_lots
        level.count -= 1
        book.order_count -= 1
        book.change_id += 1
        if level.count:
            return
        ladder.level_count -= 1
        self.level_bits[number] &= ~(ONE << (price & 63))
        if ladder.best == price:
            ladder.best = self.next_price(order.instrument, order.side, price)
        if self.level_bits[number] == 0:
            self.levels[<size_t>number * 64].head = self.page_free
            self.page_free = number
            ladder.page[block] = 0
            ladder.page_bits[block >> 6] &= ~(ONE << (block & 63))
            if ladder.page_bits[block >> 6] == 0:
                ladder.summary[block >> 12] &= ~(ONE << ((block >> 6) & 63))

    cdef void reduce(self, uint32_t slot, int64_t lots) noexcept:
        """Shrink a resting order in place, keeping its priority; at least one lot remains."""
        cdef Order* order = &self.orders.at[slot]
        order.remaining_lots -= lots
        self.level(order.instrument, order.side, order.price_units).quantity_lots -= lots
        self.at[order.instrument].change_id += 1

    cdef int64_t next_price(self, uint32_t instrument, int side, int64_t price_units) noexcept:
        """The next worse price that holds orders: lower for bids, higher for asks; -1 when there is none."""
        cdef Ladder* ladder = &self.at[instrument].side[side]
        cdef int64_t block
        cdef int64_t word
        cdef int64_t group
        cdef uint64_t bits
        if ladder.page == NULL:
            return -1
        block = price_units >> 6
        if side == 0:
            if ladder.page[block]:
                bits = self.level_bits[ladder.page[block]] & ((ONE << (price_units & 63)) - 1)
                if bits:
                    return (block << 6) + highest_bit(bits)
            word = block >> 6
            bits = ladder.page_bits[word] & ((ONE << (block & 63)) - 1)
            if bits == 0:
                group = word >> 6
                bits = ladder.summary[group] & ((ONE << (word & 63)) - 1)
                while bits == 0:
                    group -= 1
                    if group < 0:
                        return -1
                    bits = ladder.summary[group]
                word = (group << 6) + highest_bit(bits)
                bits = ladder.page_bits[word]
            block = (word << 6) + highest_bit(bits)
            return (block << 6) + highest_bit(self.level_bits[ladder.page[block]])
        if ladder.page[block] and (price_units & 63) != 63:
            bits = self.level_bits[ladder.page[block]] & (ALL << ((price_units & 63) + 1))
            if bits:
                return (block << 6) + lowest_bit(bits)
        word = block >> 6
        bits = 0 if (block & 63) == 63 else ladder.page_bits[word] & (ALL << ((block & 63) + 1))
        if bits == 0:
            group = word >> 6
            bits = 0 if (word & 63) == 63 else ladder.summary[group] & (ALL << ((word & 63) + 1))
            while bits == 0:
                group += 1
                if group > (ladder.block_count >> 12):
                    return -1
                bits = ladder.summary[group]
            word = (group << 6) + lowest_bit(bits)
            bits = ladder.page_bits[word]
        block = (word << 6) + lowest_bit(bits)
        return (block << 6) + lowest_bit(self.level_bits[ladder.page[block]])

    cdef uint32_t best_order(self, uint32_t instrument, int side) noexcept:
        """First in time at the best price, 0 when the side is empty."""
        cdef int64_t best = self.at[instrument].side[side].best
        if best < 0:
            return 0
        return self.level(instrument, side, best).head

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

    def check(self, uint32_t instrument):
        """Faults found in a book: sums, counts, links, best prices; [] when sound."""
        faults = []
        cdef Book* book = &self.at[instrument]
        cdef int side
        cdef int64_t price, total
        cdef uint32_t slot, count, orders = 0, levels
        cdef Level* level
        for side in range(2):
            price = book.side[side].best
            levels = 0
            while price >= 0:
                level = self.level(instrument, side, price)
                total = 0
                count = 0
                slot = level.head
                while slot:
                    if self.orders.at[slot].price_units != price or self.orders.at[slot].remaining_lots <= 0:
                        faults.append(f"order {self.orders.at[slot].order_id} misplaced at {price}")
                    total += self.orders.at[slot].remaining_lots
                    count += 1
                    slot = self.orders.at[slot].next
                if total != level.quantity_lots or count != level.count or count == 0:
                    faults.append(f"level {price} of side {side} holds {total}, says {level.quantity_lots}")
                orders += count
                levels += 1
                price = self.next_price(instrument, side, price)
            if levels != book.side[side].level_count:
                faults.append(f"side {side} has {levels} levels, says {book.side[side].level_count}")
        if orders != book.order_count:
            faults.append(f"book holds {orders} orders, says {book.order_count}")
        if book.side[0].best >= 0 and book.side[1].best >= 0 and book.side[0].best >= book.side[1].best:
            faults.append(f"book is crossed at {book.side[0].best}")
        return faults
