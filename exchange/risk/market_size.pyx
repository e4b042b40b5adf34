"""The size of an underlying's market: its open interest and what its books hold, taken down at every mark.

Charges on concentration are measured against these. Between two marks they stand still, so that a requirement moves
with its owner's lots and orders alone, whatever others do to the books. Figures are deltas, 1e-10 coin: open interest
is the sum over contracts of open lots x |delta|; depth is the smaller of what bids and of what asks of futures and
perpetuals show within a move of their marks.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

import msgspec

from exchange.market.instrument cimport KIND_OPTION, STATE_FREE, Instrument
from exchange.wide cimport wide_add, wide_mul, wide_mul_div_ceil, wide_mul_div_floor

cdef int64_t PPM = 1_000_000
cdef int64_t MOST = 1 << 60      # twice it is an integer, and so are sums of two


cdef class MarketSize:
    """Figures of every underlying whose parameter set asks for them; others cost nothing."""

    def __cinit__(self, Instruments instruments, Books books, RiskRows rows, config):
        self.instruments = instruments
        self.books = books
        self.rows = rows
        sets = [u.matrix if u.span is msgspec.UNSET else u.span for u in config.underlyings]
        self.asked = [None if own.concentration is msgspec.UNSET else own.concentration for own in sets]
        self.open_interest_e10 = <int64_t*>calloc(len(self.asked), sizeof(int64_t))
        self.depth_e10 = <int64_t*>calloc(len(self.asked), sizeof(int64_t))
        if self.open_interest_e10 == NULL or self.depth_e10 == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.open_interest_e10)
        free(self.depth_e10)

    cdef int note(self, int underlying) except -1:
        """Take the figures down, after the underlying has been repriced."""
        cdef Instrument* row
        cdef uint32_t slot
        cdef int64_t delta, bids = 0, asks = 0, interest = 0
        cdef int64_t move_ppm
        cdef int bad = 0
        asked = self.asked[underlying]
        if asked is None:
            return 0
        move_ppm = asked.depth_move_ppm
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state == STATE_FREE or row.underlying != underlying or row.leg_count or not row.marked:
                continue
            delta = abs(self.rows.delta_e10[slot])
            interest = wide_add(interest, wide_mul(row.open_interest_lots, delta, &bad), &bad)
            if row.kind == KIND_OPTION or move_ppm == 0:
                continue
            bids = wide_add(bids, wide_mul(self._within(0, row.mark_price_e8, move_ppm, row.price_unit_e8, slot),
                                           delta, &bad), &bad)
            asks = wide_add(asks, wide_mul(self._within(1, row.mark_price_e8, move_ppm, row.price_unit_e8, slot),
                                           delta, &bad), &bad)
        if bad:
            raise OverflowError("open interest or depth out of range")
        index = int(self.rows.index_e8[underlying])
        least = [int(usd) * 10**18 // index for usd in (asked.open_interest_floor_usd, asked.depth_floor_usd)]
        self.open_interest_e10[underlying] = min(MOST, max(int(interest), least[0]))
        self.depth_e10[underlying] = min(MOST, max(int(min(bids, asks)), least[1]))
        return 0

    cdef int64_t _within(self, int side, int64_t mark_e8, int64_t move_ppm, int64_t unit_e8,
                         uint32_t slot) noexcept:
        """Lots that one side of a book shows at the mark less (asks: plus) the move or better."""
        cdef int64_t price = self.books.at[slot].side[side].best
        cdef int64_t total = 0, limit_e8
        cdef int bad = 0
        if side == 0:
            limit_e8 = wide_mul_div_ceil(mark_e8, PPM - move_ppm, PPM, &bad)
        else:
            limit_e8 = wide_mul_div_floor(mark_e8, PPM + move_ppm, PPM, &bad)
        while price >= 0 and (price * unit_e8 >= limit_e8 if side == 0 else price * unit_e8 <= limit_e8):
            total += self.books.level(slot, side, price).quantity_lots
            price = self.books.next_price(slot, side, price)
        return total

    def figures(self, int underlying):
        """(open interest, depth) in 1e-10 coin at the last marks; None where the set asks for neither."""
        if self.asked[underlying] is None:
            return None
        return self.open_interest_e10[underlying], self.depth_e10[underlying]

    def export(self):
        """Canonical state; [] where no set asks."""
        found = [[self.open_interest_e10[u], self.depth_e10[u]] for u in range(len(self.asked))
                 if self.asked[u] is not None]
        return [found] if found else []
