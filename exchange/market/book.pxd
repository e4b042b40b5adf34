from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cimport cython

from exchange.market.order cimport Order, Orders

cdef extern from *:
    """
    #define margrave_ctz(x) __builtin_ctzll(x)
    #define margrave_clz(x) __builtin_clzll(x)
    """
    int lowest_bit "margrave_ctz"(uint64_t) noexcept nogil
    int leading_zeros "margrave_clz"(uint64_t) noexcept nogil

cdef extern from "exchange/market/memory.h":
    ctypedef struct Arena "MargraveArena":
        pass

ctypedef struct Level:          # four to a cache line; all zero when empty
    uint32_t head
    uint32_t tail
    int64_t quantity_lots

ctypedef struct Ladder:         # one side of one book
    uint32_t* page              # page number of each 64-price block, 0 = none; two bitmaps lie behind, one allocation
    int64_t best                # price units; -1 when empty
    uint32_t best_level         # index into Books.levels while there is a best
    uint32_t level_count

ctypedef struct Book:           # one cache line
    Ladder side[2]
    uint64_t change_id
    uint32_t order_count
    uint32_t block_count        # of 64 prices


cdef inline int highest_bit(uint64_t word) noexcept:
    return 63 - leading_zeros(word)


cdef inline uint32_t level_of(uint32_t page, int64_t price_units) noexcept:
    """Where a page keeps a price. Books whose touch is at one price would all want the same sets of the caches, hence
    the order of the sixteen lines differs from page to page."""
    return page * 64 + <uint32_t>((price_units ^ (page << 2)) & 63)


cdef inline uint32_t page_of(const Ladder* ladder, int64_t block) noexcept:
    """The page of a block, 0 where it has none."""
    return ladder.page[block] if ladder.page != NULL else 0


cdef inline uint64_t* page_bits(const Book* book, const Ladder* ladder) noexcept:
    """Which blocks hold a level."""
    return <uint64_t*>(ladder.page + ((<size_t>book.block_count + 1) & ~<size_t>1))


cdef inline uint64_t* summary(const Book* book, const Ladder* ladder) noexcept:
    """Which words of `page_bits` are not zero."""
    return page_bits(book, ladder) + (book.block_count >> 6) + 1


@cython.final
cdef class Books:
    cdef Orders orders
    cdef Book* at
    cdef uint32_t capacity
    cdef Level* levels          # pages of 64 levels
    cdef Arena ladders          # their tables
    cdef uint64_t* level_bits   # one word per page
    cdef uint32_t page_capacity
    cdef uint32_t page_high
    cdef uint32_t page_free     # first free page; the next one stands in its first level's head
    cdef int open_book(self, uint32_t instrument, int64_t max_price_units) except -1
    cdef void close_book(self, uint32_t instrument) noexcept
    cdef int _allocate(self, Book* book, Ladder* ladder) except -1
    cdef int _grow(self) except -1
    cdef uint32_t _open_page(self, Book* book, Ladder* ladder, uint32_t block) except? 0
    cdef void _close_page(self, Book* book, Ladder* ladder, uint32_t block) noexcept
    cdef int64_t next_price(self, uint32_t instrument, int side, int64_t price_units) noexcept
    cdef uint32_t next_order(self, uint32_t slot) noexcept

    # The four steps of matching are inline: they cost less than the call.

    cdef inline Level* level(self, uint32_t instrument, int side, int64_t price_units) noexcept:
        """The level at a price, NULL where no page covers it (a level without orders has head 0)."""
        cdef Book* book = &self.at[instrument]
        cdef uint32_t number
        if price_units < 0 or (price_units >> 6) >= book.block_count:
            return NULL
        number = page_of(&book.side[side], price_units >> 6)
        if number == 0:
            return NULL
        return &self.levels[level_of(number, price_units)]

    cdef inline uint32_t best_order(self, uint32_t instrument, int side) noexcept:
        """First in time at the best price, 0 when the side is empty."""
        cdef Ladder* ladder = &self.at[instrument].side[side]
        if ladder.best < 0:
            return 0
        return self.levels[ladder.best_level].head

    cdef inline int rest(self, uint32_t slot) except -1:
        """Append an order to the FIFO of its price; the price is within 1 .. max_price_units."""
        cdef Order* order = &self.orders.at[slot]
        cdef Book* book = &self.at[order.instrument]
        cdef Ladder* ladder = &book.side[order.side]
        cdef int64_t price = order.price_units
        cdef uint32_t number = page_of(ladder, price >> 6)
        cdef Level* level
        if number == 0:
            number = self._open_page(book, ladder, <uint32_t>(price >> 6))
        order.level = level_of(number, price)
        level = &self.levels[order.level]
        order.prev = level.tail
        order.next = 0
        if level.tail:
            self.orders.at[level.tail].next = slot
        else:
            level.head = slot
            self.level_bits[number] |= <uint64_t>1 << (price & 63)
            ladder.level_count += 1
            if ladder.best < 0 or (price > ladder.best if order.side == 0 else price < ladder.best):
                ladder.best = price
                ladder.best_level = order.level
        level.tail = slot
        level.quantity_lots += order.remaining_lots
        book.order_count += 1
        book.change_id += 1
        return 0

    cdef inline void unlink(self, uint32_t slot) noexcept:
        """Take a resting order out of its level."""
        cdef Order* at = self.orders.at
        cdef Order* order = &at[slot]
        cdef Book* book = &self.at[order.instrument]
        cdef Level* level = &self.levels[order.level]
        cdef uint32_t* before = &at[order.prev].next if order.prev else &level.head
        cdef uint32_t* behind = &at[order.next].prev if order.next else &level.tail
        before[0] = order.next
        behind[0] = order.prev
        level.quantity_lots -= order.remaining_lots
        book.order_count -= 1
        book.change_id += 1
        if level.head == 0:
            self._vacate(order, book)

    cdef inline void _vacate(self, Order* order, Book* book) noexcept:
        """The order was the last of its level."""
        cdef Ladder* ladder = &book.side[order.side]
        cdef uint32_t number = order.level >> 6
        cdef int64_t price = order.price_units
        cdef uint64_t bits = self.level_bits[number] & ~(<uint64_t>1 << (price & 63))
        self.level_bits[number] = bits
        ladder.level_count -= 1
        if ladder.best == price:
            price = self.next_price(order.instrument, order.side, price)
            if price >= 0:
                ladder.best_level = level_of(page_of(ladder, price >> 6), price)
            ladder.best = price
        if bits == 0:
            self._close_page(book, ladder, <uint32_t>(order.price_units >> 6))

    cdef inline void reduce(self, uint32_t slot, int64_t lots) noexcept:
        """Shrink a resting order in place, keeping its priority; at least one lot remains."""
        cdef Order* order = &self.orders.at[slot]
        order.remaining_lots -= lots
        self.levels[order.level].quantity_lots -= lots
        self.at[order.instrument].change_id += 1
