"""Price-time matching by itself: books and orders, with no account, margin or journal behind them.

The Matcher steps fill by fill through the same primitives as the engine's `trading`, so its speed is the book's.
It replays order flow (research, other venues' feeds) and carries the benches of the book.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from exchange.market.book cimport Book, Ladder, Level, level_of, page_of
from exchange.market.order cimport Order
from exchange.market.order_index cimport IdGroup, group_slot, index_can_hold, index_home, index_slot, likely_group

cdef extern from *:
    """
    /* gcc drops calls of functions that only prefetch, as having no effect; the empty statement is one */
    static inline void margrave_prefetch(const void *address) {
        __builtin_prefetch(address);
        __asm__ __volatile__("");
    }
    """
    void prefetch "margrave_prefetch"(const void* address) noexcept

cdef enum:
    # How many messages before its turn a message's memory is fetched, step by step.
    FAR = 24
    MIDDLE = 18
    NEAR = 12
    NEXT = 8
    LAST = 4
    LARGE = 1 << 22             # bytes of tables from which fetching ahead pays
    FETCHES = 32                # a power of two above FAR
    CHUNK = 1024                # messages between two looks at their size
    KIND_LIMIT = 0
    KIND_CANCEL = 1
    KIND_MARKET = 2
    KIND_IOC = 3
    MAX_BOOKS = 1 << 16
    REFUSED = -1

LIMIT, CANCEL, MARKET, IMMEDIATE_OR_CANCEL = KIND_LIMIT, KIND_CANCEL, KIND_MARKET, KIND_IOC

MESSAGE = np.dtype(
    [("kind", "u1"), ("side", "u1"), ("book", "<u2"), ("price_units", "<u4"), ("quantity_lots", "<u4"),
     ("order_id", "<u4")]
)
"""16 bytes. `side` is 0 to buy, 1 to sell; a market order's price, and all of a cancel but its order id, is ignored."""

TRADE = np.dtype(
    [("taker_order_id", "<u8"), ("maker_order_id", "<u8"), ("price_units", "<i8"), ("quantity_lots", "<i8"),
     ("book", "<u4"), ("side", "<u4")]
)
"""40 bytes. The price is the maker's, `side` the taker's."""


cdef class Matcher:
    """`book_count` books over prices 1 .. max_price_units, at most `max_orders` resting orders in all.

    Trades go to a ring of `ring_trades` (a power of two) and are taken from there with `take_trades`.
    """

    def __cinit__(self, int book_count, int64_t max_price_units, uint32_t max_orders, uint32_t ring_trades=1 << 14):
        cdef int book
        if not 1 <= book_count <= MAX_BOOKS:
            raise ValueError(f"book_count is 1 to {MAX_BOOKS}, not {book_count}")
        if not 1 <= max_price_units < (<int64_t>1 << 37):
            raise ValueError(f"max_price_units is 1 to 2**37 - 1, not {max_price_units}")
        if ring_trades == 0 or ring_trades & (ring_trades - 1):
            raise ValueError(f"ring_trades is a power of two, not {ring_trades}")
        self.orders = Orders(max_orders)
        self.books = Books(self.orders, book_count)
        self.book_count = book_count
        self.max_price_units = max_price_units
        self.block_count = <uint32_t>(max_price_units >> 6) + 1
        for book in range(book_count):
            self.books.open_book(book, max_price_units)
        self.ring = <Trade*>calloc(ring_trades, sizeof(Trade))
        if self.ring == NULL:
            raise MemoryError()
        self.ring_mask = ring_trades - 1

    def __dealloc__(self):
        free(self.ring)

    # ------------------------------------------------------------------ the steps

    cdef inline int64_t _match(self, uint32_t book, int side, int64_t limit, int64_t lots, uint64_t order_id) noexcept:
        """Fill an order against the other side while prices cross; the lots left over."""
        cdef int opposite = side ^ 1
        cdef int64_t best, traded
        cdef uint32_t slot
        cdef Order* maker
        cdef Trade* trade
        while lots:
            best = self.books.at[book].side[opposite].best
            if best < 0 or (best > limit if side == 0 else best < limit):
                break
            slot = self.books.best_order(book, opposite)
            maker = &self.orders.at[slot]
            traded = min(lots, maker.remaining_lots)
            trade = &self.ring[self.trades & self.ring_mask]
            self.trades += 1
            trade.taker_order_id = order_id
            trade.maker_order_id = maker.order_id
            trade.price_units = best
            trade.quantity_lots = traded
            trade.book = book
            trade.side = side
            lots -= traded
            if traded == maker.remaining_lots:
                self.books.unlink(slot)
                self.orders.release(slot, self.orders.place(maker.order_id))
            else:
                self.books.reduce(slot, traded)
        return lots

    cdef inline int _rest(self, uint32_t book, int side, int64_t price, int64_t lots, uint64_t order_id) except -1:
        cdef uint32_t slot = self.orders.claim(order_id)
        cdef Order* order = &self.orders.at[slot]
        order.price_units = price
        order.remaining_lots = lots
        order.instrument = book
        order.side = side
        return self.books.rest(slot)

    cdef inline int _cancel(self, uint64_t order_id) noexcept:
        cdef uint32_t place = self.orders.place(order_id)
        cdef uint32_t slot = index_slot(&self.orders.index, place, order_id)
        if slot == 0:
            self.refused += 1
            return REFUSED
        self.books.unlink(slot)
        self.orders.release(slot, place)
        return 0

    cdef inline int _order(self, uint32_t kind, uint32_t side, uint32_t book, int64_t price, int64_t lots,
                           uint64_t order_id) except -1:
        """A limit, market or immediate-or-cancel order; one that is ill-formed is counted and changes nothing."""
        if (kind > KIND_IOC or side > 1 or book >= self.book_count or lots <= 0 or order_id <= self.last_order_id
                or not index_can_hold(order_id)
                or (kind != KIND_MARKET and (price < 1 or price > self.max_price_units))
                or (kind == KIND_LIMIT and self.orders.live >= self.orders.limit)):
            self.refused += 1
            return 0
        self.last_order_id = order_id
        if kind == KIND_MARKET:
            price = 0 if side else self.max_price_units
        lots = self._match(book, side, price, lots, order_id)
        if lots and kind == KIND_LIMIT:
            self._rest(book, side, price, lots, order_id)
        return 0

    # ------------------------------------------------------------------ looking ahead

    # What a message will touch is fetched in five steps, each of which reads what the one before it fetched and notes
    # what it found. There is no branch on the kind of a message: what is fetched in vain costs less than a wrong guess.

    cdef inline void _fetch_far(self, const Message* message, Ahead* found) noexcept:
        cdef uint32_t book = message.book if message.book < self.book_count else 0
        cdef uint32_t block = message.price_units >> 6
        found.book = book
        found.block = block if block < self.block_count else 0
        found.place = index_home(&self.orders.index, message.order_id >> 4)
        prefetch(&self.orders.index.groups[found.place])
        prefetch(&self.books.at[book])

    cdef inline void _fetch_middle(self, const Message* message, Ahead* found) noexcept:
        cdef Ladder* ladder = &self.books.at[found.book].side[message.side & 1]
        # places stay within the index while it grows
        found.slot = group_slot(&self.orders.index.groups[found.place], message.order_id)
        prefetch(&self.orders.at[found.slot])
        prefetch(&ladder.page[found.block])

    cdef inline void _fetch_near(self, const Message* message, Ahead* found) noexcept:
        cdef Book* book = &self.books.at[found.book]
        cdef Order* order = &self.orders.at[found.slot]
        found.level = level_of(page_of(&book.side[message.side & 1], found.block), message.price_units)
        prefetch(&self.books.at[order.instrument])
        prefetch(&self.books.level_bits[order.level >> 6])
        prefetch(&self.orders.at[order.prev])
        prefetch(&self.orders.at[order.next])
        prefetch(&self.books.levels[order.level])
        prefetch(&self.books.levels[found.level])
        prefetch(&self.books.levels[book.side[~message.side & 1].best_level])

    cdef inline void _fetch_next(self, const Message* message, Ahead* found) noexcept:
        cdef Ladder* other = &self.books.at[found.book].side[~message.side & 1]
        prefetch(&self.orders.at[self.books.levels[found.level].tail])
        prefetch(&self.orders.at[self.books.levels[other.best_level].head])

    cdef inline void _fetch_last(self, const Message* message, Ahead* found) noexcept:
        cdef Ladder* other = &self.books.at[found.book].side[~message.side & 1]
        cdef Order* maker = &self.orders.at[self.books.levels[other.best_level].head]
        prefetch(&self.orders.at[maker.next])
        prefetch(likely_group(&self.orders.index, maker.order_id))

    cdef bint _large(self) noexcept:
        """Whether the tables are so large that what a message touches is seldom in a near cache."""
        return (<size_t>self.orders.high * sizeof(Order) + <size_t>self.orders.index.mask * sizeof(IdGroup)
                + <size_t>self.books.page_high * 64 * sizeof(Level)) > LARGE

    cdef int _run(self, const Message* message, const Message* end) except -1:
        cdef const Message* pause = message
        cdef Ahead found[FETCHES]
        cdef size_t i = 0
        cdef bint ahead = False
        memset(found, 0, sizeof(found))
        while message < end:
            if message == pause:
                ahead = self._large()
                pause += min(CHUNK, end - message)
            if ahead and end - message > FAR:
                self._fetch_far(message + FAR, &found[(i + FAR) % FETCHES])
                self._fetch_middle(message + MIDDLE, &found[(i + MIDDLE) % FETCHES])
                self._fetch_near(message + NEAR, &found[(i + NEAR) % FETCHES])
                self._fetch_next(message + NEXT, &found[(i + NEXT) % FETCHES])
                self._fetch_last(message + LAST, &found[(i + LAST) % FETCHES])
            i += 1
            if message.kind == KIND_CANCEL:
                self._cancel(message.order_id)
            else:
                self._order(message.kind, message.side, message.book, message.price_units, message.quantity_lots,
                            message.order_id)
            message += 1
        return 0

    # ------------------------------------------------------------------ messages

    def submit(self, int kind, int side, int book, int64_t price_units, int64_t quantity_lots, uint64_t order_id, /):
        """One message; the number of trades it made, -1 where it was refused.

        An order's id must be above all ids before it and below 2**52. Refused: an ill-formed order, one above the limit
        of resting orders, a cancel of an order that does not rest.
        """
        cdef uint64_t before = self.trades
        cdef uint64_t refused = self.refused
        self.messages += 1
        if kind == KIND_CANCEL:
            return self._cancel(order_id)
        self._order(<uint32_t>kind, <uint32_t>side, <uint32_t>book, price_units, quantity_lots, order_id)
        return REFUSED if self.refused != refused else <int64_t>(self.trades - before)

    def run(self, messages):
        """Messages in a contiguous buffer of 16-byte records (dtype MESSAGE); the number of trades they made.

        A single record may be given as well. Where more than the ring holds are made, `take_trades` raises.
        """
        cdef Py_buffer view
        cdef const Message* message
        cdef uint64_t before = self.trades
        PyObject_GetBuffer(messages, &view, PyBUF_SIMPLE)
        try:
            if view.len % <Py_ssize_t>sizeof(Message):
                raise ValueError(f"{view.len} bytes are not a whole number of {sizeof(Message)}-byte messages")
            message = <const Message*>view.buf
            self._run(message, message + view.len // <Py_ssize_t>sizeof(Message))
            self.messages += <uint64_t>(view.len // <Py_ssize_t>sizeof(Message))
        finally:
            PyBuffer_Release(&view)
        return self.trades - before

    def take_trades(self):
        """Trades since the last take, oldest first (dtype TRADE); BufferError where the ring has overwritten some."""
        cdef uint64_t count = self.trades - self.taken
        cdef uint64_t i
        cdef Trade* out
        if count > self.ring_mask + 1:
            self.taken = self.trades
            raise BufferError(f"{count} trades since the last take, the ring holds {self.ring_mask + 1}")
        data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(count * sizeof(Trade)))
        out = <Trade*><char*>data
        for i in range(count):
            out[i] = self.ring[(self.taken + i) & self.ring_mask]
        self.taken = self.trades
        return np.frombuffer(data, dtype=TRADE)

    # ------------------------------------------------------------------ what rests

    def best(self, uint32_t book, int side):
        """Best price of a side, -1 where it is empty."""
        self._check(book, side)
        return self.books.at[book].side[side].best

    def remaining(self, uint64_t order_id):
        """Lots of a resting order, 0 where it does not rest."""
        cdef uint32_t slot = self.orders.find(order_id)
        return self.orders.at[slot].remaining_lots if slot else 0

    def resting(self, uint32_t book):
        """How many orders rest in a book."""
        self._check(book, 0)
        return self.books.at[book].order_count

    def depth(self, uint32_t book, int levels):
        """([(price_units, lots)] bids, asks), best first."""
        self._check(book, 0)
        return self.books.depth(book, levels)

    def queue(self, uint32_t book, int side):
        """Ids of a side's orders in priority."""
        self._check(book, side)
        return self.books.queue(book, side)

    def check(self):
        """Faults found in any book, [] when all are sound."""
        return [fault for book in range(self.book_count) for fault in self.books.check(book)]

    def _check(self, uint32_t book, int side):
        if book >= self.book_count or not 0 <= side <= 1:
            raise IndexError(f"no side {side} of book {book}")
