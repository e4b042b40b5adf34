"""Safe bands of one underlying: boxes of market states in which an account provably keeps its margin level.

An anchor is the market at one moment; tables at the newest anchor bound every instrument's share of an account's
excess over boxes of three sizes. An account's band is an interval of the index, and how much else may change since its
anchor. Accounts that stand on one anchor and depend on the same change lie together in a cell, sixteen to a block
whose own band holds only where theirs all hold: finding who left is one pass over blocks. Proof: docs/margin.md, "Safe
bands".

All of it is plain arithmetic on doubles in one order, the same bits on every machine.
"""

from libc.math cimport INFINITY, fabs
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from margin_ext.kernels cimport (
    BAND_BLOCK, KERNEL_OK, MARGRAVE_MAX_SCENARIOS, bound_chain, bound_least, cell_scan, k_sqrt,
    margrave_band_stretch, rows_sum, widths_change,
)

cdef extern from *:
    """
    #include <stdlib.h>
    static double *bands_aligned(size_t doubles) {
        void *p = NULL;
        if (posix_memalign(&p, 64, doubles * sizeof(double))) return NULL;
        return p;
    }
    """
    double* aligned "bands_aligned"(size_t doubles) noexcept nogil
    int popcount "__builtin_popcountll"(uint64_t bits) noexcept nogil
    int ctz "__builtin_ctzll"(uint64_t bits) noexcept nogil

cdef enum:
    TABLES = 7               # of a cell
    BY_BLOCK = 4
    SAMPLED = 32             # of so many blocks one is in a sample
    BY_SLOT = 9              # numbers an instrument and level beside its rows

# A box's ranges, widest first. One ratio for all, so that one number tells how far the market is from an anchor. By the
# largest stretch a width that falls to zero must still be further than the widest range, and a stretched range below 1.
cdef double[BAND_LEVELS] PRICE_RANGE = [0.045, 0.012, 0.003]
cdef double[BAND_LEVELS] WIDTH_RANGE = [0.06, 0.018, 0.006]
cdef double BASIS_TO_WIDTH = 30.0
cdef double FUNDING_SHARE = 2.0       # funding is known to the anchor within its share of the basis, now and later
cdef double RELATIVE_SLACK = 4e-9     # of gross size: far above what doubles, the pricer and rounded rates lose
cdef double UNIT_SLACK = 64.0         # units per requirement: conversions and ceilings
cdef double WIDTH_MIN = 1e-100        # stands for zero total width, as in the pricer
cdef double INWARD = 1e-6             # relative, above the 6e-8 of a float32
cdef uint32_t LEAST_ROOM = BAND_BLOCK * BAND_BLOCK
cdef uint64_t ALL_BITS = 0xFFFFFFFFFFFFFFFF
cdef double PAID_SHARE = 2e-4         # of a lot's worth: funding within which a cell of bands on marks stays


cdef class BandIndex:
    """Bands of the accounts 1 .. accounts - 1 in one underlying with room for `slots` instruments."""

    def __cinit__(self, uint32_t slots, int scenario_count):
        cdef size_t row = <size_t>slots * 2 * scenario_count
        cdef int level, numeraire, point
        cdef double* at
        if not 0 < scenario_count <= MARGRAVE_MAX_SCENARIOS or scenario_count % 8:
            raise ValueError("scenario_count must be a multiple of 8 up to 64")
        memset(&self.grid, 0, sizeof(BandGrid))
        self.grid.scenario_count = scenario_count
        self.slots = slots
        self.newest = -1
        self.memory = aligned(BAND_LEVELS * (6 * row + BY_SLOT * <size_t>slots))
        self.group = <uint8_t*>calloc(slots, 1)
        if self.memory == NULL or self.group == NULL:
            raise MemoryError()
        at = self.memory
        for level in range(BAND_LEVELS):
            for numeraire in range(2):
                for point in range(3):
                    self.tables[level].rows[numeraire][point] = at
                    at += row
        for level in range(BAND_LEVELS):
            self.tables[level].delta_low = at
            self.tables[level].delta_high = at + slots
            self.tables[level].gross = at + 2 * slots
            for point in range(6):
                self.tables[level].mark[point // 3][point % 3] = at + (3 + point) * <size_t>slots
            at += BY_SLOT * <size_t>slots
        memset(self.group, BAND_UNKNOWN, slots)
        self.cells = <BandCell*>calloc(BAND_CELLS + slots, sizeof(BandCell))
        self.watch = <uint32_t*>calloc(slots, sizeof(uint32_t))
        self.mark = <float*>calloc(slots, sizeof(float))
        self.paid = <double*>calloc(slots, sizeof(double))
        self.paid_limit = <double*>calloc(slots, sizeof(double))
        if (self.cells == NULL or self.watch == NULL or self.mark == NULL or self.paid == NULL
                or self.paid_limit == NULL):
            raise MemoryError()
        for level in range(BAND_CELLS):
            self.change[level] = <float>INFINITY
        self.grow(256)

    def __dealloc__(self):
        cdef int a, c
        for c in range(BAND_CHAINS):
            free(self.width[c])
            for a in range(BAND_ANCHORS):
                free(self.anchor[a].inverse[c])
        free(self.memory)
        free(self.group)
        for c in range(BAND_CELLS + <int>self.slots if self.cells != NULL else 0):
            _release(&self.cells[c])
        free(self.cells)
        free(self.watch)
        free(self.mark)
        free(self.paid)
        free(self.paid_limit)
        free(self.cell)
        free(self.place)
        free(self.void_bits)
        free(self.left)
        free(self.tried)

    cdef int grow(self, uint32_t count) except -1:
        """Room for accounts below `count`; new ones have no band yet."""
        cdef uint32_t size = self.accounts if self.accounts else 256
        cdef uint32_t a
        if count <= self.accounts:
            return 0
        while size < count:
            size *= 2
        self.cell = <uint32_t*>_grown(self.cell, size * sizeof(uint32_t))
        self.place = <uint32_t*>_grown(self.place, size * sizeof(uint32_t))
        self.tried = <uint32_t*>_grown(self.tried, size * sizeof(uint32_t))
        self.void_bits = <uint64_t*>_grown(self.void_bits, size // 64 * sizeof(uint64_t))
        self.left = <uint64_t*>_grown(self.left, size // 64 * sizeof(uint64_t))
        for a in range(self.accounts, size):
            self.cell[a] = BAND_VOID
            self.place[a] = 0
            self.tried[a] = 0
        memset(self.void_bits + self.accounts // 64, 0xFF, (size - self.accounts) // 8)
        self.voids += size - self.accounts
        self.accounts = size
        return 0

    # ------------------------------------------------------------------ the market

    cdef int take_widths(self, int chain, const ChainInput* source, double near_years) except -1:
        """The chain's total widths now, and what its vol shocks multiply them with, by expiry; before `near_years`
        an expiry is near."""
        cdef int S = self.grid.scenario_count, classes = self.grid.class_count, k
        cdef int32_t i = 0, at = 0, e, room = source.pair_count + 15 * source.expiry_count
        cdef double root
        cdef double* to
        if room > self.capacity[chain]:
            self.width[chain] = <double*>_grown(self.width[chain], 2 * room * sizeof(double))
            self.capacity[chain] = 2 * room
        to = self.width[chain]
        self.pairs[chain] = source.pair_count
        self.near[chain] = 0
        self.expiries[chain] = 0
        self.floored = False
        for k in range(classes):
            self.floored = self.floored or source.vol_floor[self.grid.class_column[k]] > 0.0
        while i < source.pair_count:
            if self.expiries[chain] == BAND_BUCKETS:
                raise ValueError("pairs of a chain must be in the order of their expiries")
            e = source.expiry_of_pair[i]
            root = k_sqrt(source.years[e])
            while i < source.pair_count and source.expiry_of_pair[i] == e:
                to[at] = max(source.vol[i] * root, WIDTH_MIN)
                at += 1
                i += 1
            while at % 8:
                to[at] = 1.0
                at += 1
            for k in range(8):
                to[at + k] = 1.0
            to[at] = max(root, WIDTH_MIN)
            for k in range(classes):
                to[at + 1 + k] = max(source.vol_multiplier[e * S + self.grid.class_column[k]], WIDTH_MIN)
            to[at + 7] = margrave_band_stretch(source.years[e])
            at += 8
            if source.years[e] < near_years:
                self.near[chain] += 1
            self.end_of[chain][self.expiries[chain]] = at
            self.expiries[chain] += 1
        return 0

    cdef void measure(self) noexcept:
        """How far the market is from every anchor, as a change of widths."""
        cdef int a
        for a in range(BAND_ANCHORS):
            if self.anchor[a].live:
                self._measure_anchor(a)

    cdef void _measure_anchor(self, int a) noexcept:
        cdef BandAnchor* anchor = &self.anchor[a]
        cdef double moved = self.index / anchor.index
        cdef double basis = 0.0, perpetual = 0.0, change, near = 0.0, far = 0.0
        cdef int r, c
        for r in range(BAND_REFERENCES):
            if anchor.reference[r] <= 0.0:
                continue
            change = fabs(self.reference[r] / (anchor.reference[r] * moved) - 1.0)
            if r < BAND_BUCKETS:
                basis = max(basis, change)
            else:
                change += fabs(self.funding[r] - anchor.funding[r]) / anchor.worth[r]
                perpetual = max(perpetual, change)
        for c in range(BAND_CHAINS):
            if anchor.pairs[c] != self.pairs[c]:
                near = far = INFINITY
                continue
            near = max(near, widths_change(0, anchor.near[c], self.end_of[c], self.grid.class_count, self.floored,
                                           self.width[c], anchor.inverse[c]))
            far = max(far, widths_change(anchor.near[c], self.expiries[c], self.end_of[c], self.grid.class_count,
                                         self.floored, self.width[c], anchor.inverse[c]))
        perpetual *= BASIS_TO_WIDTH
        far = max(perpetual, max(basis * BASIS_TO_WIDTH, far))
        near = max(near, far)
        self.change[a * BAND_GROUPS] = <float>(perpetual * (1.0 + INWARD))
        self.change[a * BAND_GROUPS + 1] = <float>(far * (1.0 + INWARD))
        self.change[a * BAND_GROUPS + 2] = <float>(near * (1.0 + INWARD))

    # ------------------------------------------------------------------ anchors

    cdef void drop_anchors(self) noexcept:
        """Forget every anchor and so every band that stands on one, and the bands on marks."""
        cdef int a
        cdef uint32_t i
        for i in range(self.watched):
            self._void_cell(BAND_CELLS + self.watch[i])
        self.watched = 0
        for a in range(BAND_ANCHORS):
            self.anchor[a].live = 0
        for a in range(BAND_CELLS):
            self.change[a] = <float>INFINITY
        self.newest = -1
        memset(self.group, BAND_UNKNOWN, self.slots)

    cdef int open_anchor(self) except -1:
        """Make the market now the newest anchor, in place of the one that the fewest accounts stand on. The tables
        are empty until bound_options and bound_future have filled them."""
        cdef int a, c, i, best = -1, n
        cdef uint32_t standing, fewest = 0
        cdef BandAnchor* anchor
        for a in range(BAND_ANCHORS):
            standing = 0
            for c in range(a * BAND_GROUPS, (a + 1) * BAND_GROUPS):
                standing += self.cells[c].count
            if best < 0 or standing < fewest:
                best = a
                fewest = standing
        anchor = &self.anchor[best]
        for c in range(best * BAND_GROUPS, (best + 1) * BAND_GROUPS):
            self._void_cell(c)
        anchor.live = 1
        anchor.index = self.index
        memcpy(anchor.reference, self.reference, sizeof(self.reference))
        memcpy(anchor.funding, self.funding, sizeof(self.funding))
        memcpy(anchor.worth, self.worth, sizeof(self.worth))
        for c in range(BAND_CHAINS):
            n = self.end_of[c][self.expiries[c] - 1] if self.expiries[c] else 0
            if n > anchor.capacity[c]:
                anchor.inverse[c] = <double*>_grown(anchor.inverse[c], self.capacity[c] * sizeof(double))
                anchor.capacity[c] = self.capacity[c]
            anchor.pairs[c] = self.pairs[c]
            anchor.near[c] = self.near[c]
            for i in range(n):
                anchor.inverse[c][i] = 1.0 / self.width[c][i]
        self.newest = best
        self.serial += 1
        self._measure_anchor(best)
        memset(self.group, BAND_UNKNOWN, self.slots)
        return 0

    cdef int bound_options(self, int chain, const ChainInput* source, double near_years) except -1:
        """Tables of a chain's options at the newest anchor."""
        cdef BandBox box
        cdef int level, numeraire, inverse = source.inverse
        cdef int32_t i
        cdef uint8_t group
        for level in range(BAND_LEVELS):
            box.price_range = PRICE_RANGE[level]
            box.width_range = WIDTH_RANGE[level]
            box.basis_range = WIDTH_RANGE[level] / BASIS_TO_WIDTH
            box.base_column = self.grid.base_column
            for numeraire in range(2):
                box.base_share[numeraire] = self.grid.base_share[inverse][numeraire]
                box.shock_share[numeraire] = self.grid.shock_share[inverse][numeraire]
            if bound_chain(source, &box, &self.tables[level]) != KERNEL_OK:
                return 0
        for i in range(source.pair_count):
            group = 2 if source.years[source.expiry_of_pair[i]] < near_years else 1
            if source.call_row[i] >= 0:
                self.group[source.call_row[i]] = group
            if source.put_row[i] >= 0:
                self.group[source.put_row[i]] = group
        return 0

    cdef void bound_future(self, uint32_t slot, bint inverse, double lot, double price, int group) noexcept:
        """Tables of a future (group 1) or perpetual (0) at its mark: its value is linear in the index there, and
        what the basis and funding take away is at most a share of its size."""
        cdef int level, numeraire, point, j, S = self.grid.scenario_count
        cdef double size = lot * 1e4 * (self.index / price if inverse else price)
        cdef double reach, value, loss, b, basis
        cdef double* row
        for level in range(BAND_LEVELS):
            b = PRICE_RANGE[level]
            basis = WIDTH_RANGE[level] / BASIS_TO_WIDTH
            for numeraire in range(2):
                for point in range(3):
                    reach = 1.0 if inverse or point == 0 else 1.0 + b if point == 1 else 1.0 - b
                    row = self.tables[level].rows[numeraire][point] + <size_t>(2 * slot) * S
                    for j in range(S):
                        value = size * self.grid.future_share[inverse][numeraire][j]
                        loss = fabs(value) + FUNDING_SHARE * size * fabs(self.grid.coin_factor[numeraire][j])
                        loss *= basis * (1.0 + b) / ((1.0 - basis) * (1.0 - basis))
                        row[j] = value * reach - loss
                        row[S + j] = value * reach + loss
            for point in range(3):
                reach = 1.0 if inverse or point == 0 else 1.0 + b if point == 1 else 1.0 - b
                value = -size if inverse else size * reach
                loss = size * (1.0 + FUNDING_SHARE) * basis * (1.0 + b) / ((1.0 - basis) * (1.0 - basis))
                self.tables[level].mark[0][point][slot] = value - loss
                self.tables[level].mark[1][point][slot] = value + loss
            if inverse:
                self.tables[level].delta_low[slot] = lot / (price * (1.0 + b) * (1.0 + basis))
                self.tables[level].delta_high[slot] = lot / (price * (1.0 - b) * (1.0 - basis))
            else:
                self.tables[level].delta_low[slot] = lot
                self.tables[level].delta_high[slot] = lot
            self.tables[level].gross[slot] = size
        self.group[slot] = group

    # ------------------------------------------------------------------ certification

    cdef double price_range(self, int level) noexcept:
        return PRICE_RANGE[level]

    cdef double point(self, int level, int p) noexcept:
        """The index at a point of the box: the anchor, the upper and the lower end."""
        return self.anchor[self.newest].index * (1.0 if p == 0 else 1.0 + PRICE_RANGE[level] if p == 1
                                                 else 1.0 - PRICE_RANGE[level])

    cdef double basis_range(self, int level) noexcept:
        return WIDTH_RANGE[level] / BASIS_TO_WIDTH

    cdef double width_range(self, int level, double years) noexcept:
        """Of an option's total width, `years` before its expiry."""
        return WIDTH_RANGE[level] * margrave_band_stretch(years)

    cdef double delta_sides(self, int level, int32_t row, double lots, double* high) noexcept:
        """Least delta of lots of a row in the box (coins), and into `high` the largest."""
        cdef const BandTables* t = &self.tables[level]
        high[0] = lots * (t.delta_high[row >> 1] if lots > 0.0 else t.delta_low[row >> 1])
        return lots * (t.delta_low[row >> 1] if lots > 0.0 else t.delta_high[row >> 1])

    cdef double leg_bounds(self, int level, const BandLeg* leg, double* least) noexcept:
        """What the leg adds to the account's excess, at least, at the index of the anchor and at the box's upper and
        lower end (1e-4 USD); linear bounds in between. Returns the smallest of the three."""
        cdef double v[BAND_COLUMNS]
        cdef int point
        cdef double reach, slack, least_charges, worst = INFINITY
        cdef double taken = self._charges(level, leg, &least_charges, &slack) + slack
        for point in range(3):
            reach = 1.0 if point == 0 else 1.0 + PRICE_RANGE[level] if point == 1 else 1.0 - PRICE_RANGE[level]
            rows_sum(v, self.tables[level].rows[leg.numeraire][point], leg.row, leg.lots, leg.count,
                     self.grid.scenario_count)
            least[point] = bound_least(v, self.grid.dampener, leg.coin_offset * reach,
                                       self.grid.coin_factor[leg.numeraire], self.grid.scenario_count) - taken
            worst = min(worst, least[point])
        return worst

    cdef void warned_bounds(self, int level, BandLeg* leg, double cash, double warning, double next_,
                            double last, double* above, double* below) noexcept:
        """For an account whose only requirement the leg is: at least how far its equity is above `next_` times the
        maintenance margin, and at most how far above `last` times it, at the three points (1e-4 USD). The excess is
        the equity less `warning` (the outermost ratio, which the grid's columns are made for) times it, so that
        k times it is left by k / warning x excess + (1 - k / warning) x equity. At most, the excess is that of any one
        column, and the one that is worst at the anchor is taken; the equity is the unshocked column."""
        cdef double v[BAND_COLUMNS]
        cdef double reach, coin, slack, least_charges, equity, one, lowest = INFINITY
        cdef double taken = self._charges(level, leg, &least_charges, &slack)
        cdef const double* factor = self.grid.coin_factor[leg.numeraire]
        cdef int point, i, j, worst = 0, base = self.grid.base_column
        for point in range(3):
            reach = 1.0 if point == 0 else 1.0 + PRICE_RANGE[level] if point == 1 else 1.0 - PRICE_RANGE[level]
            coin = leg.coin_offset * reach
            rows_sum(v, self.tables[level].rows[leg.numeraire][point], leg.row, leg.lots, leg.count,
                     self.grid.scenario_count)
            equity = v[base] + coin * factor[base]
            one = bound_least(v, self.grid.dampener, coin, factor, self.grid.scenario_count) - taken
            above[point] = next_ / warning * one + (1.0 - next_ / warning) * equity + cash - slack
            for i in range(leg.count):
                leg.row[i] ^= 1
            rows_sum(v, self.tables[level].rows[leg.numeraire][point], leg.row, leg.lots, leg.count,
                     self.grid.scenario_count)
            for i in range(leg.count):
                leg.row[i] ^= 1
            if point == 0:
                for j in range(self.grid.scenario_count):
                    one = v[j] + self.grid.dampener[j] + coin * factor[j]
                    if one < lowest:
                        lowest = one
                        worst = j
            equity = v[base] + coin * factor[base]
            one = v[worst] + self.grid.dampener[worst] + coin * factor[worst] - least_charges
            below[point] = last / warning * one + (1.0 - last / warning) * equity + cash + slack

    cdef double _charges(self, int level, const BandLeg* leg, double* least, double* slack) noexcept:
        """Roll and delta shock at their largest in the box, at their least, and the slack of lots and rounding, all in
        1e-4 USD."""
        cdef double low[BAND_BUCKETS]
        cdef double high[BAND_BUCKETS]
        cdef const BandTables* t = &self.tables[level]
        cdef double top = self.anchor[self.newest].index * (1.0 + PRICE_RANGE[level]) * 1e4
        cdef double bottom = self.anchor[self.newest].index * (1.0 - PRICE_RANGE[level]) * 1e4
        cdef double net_low = 0.0, net_high = 0.0, roll = 0.0, small = 0.0, gross = fabs(leg.coin_offset)
        cdef double net, excess, move, lots
        cdef int i, b
        cdef int32_t slot
        memset(low, 0, sizeof(low))
        memset(high, 0, sizeof(high))
        for i in range(leg.count):
            slot = leg.row[i] >> 1
            lots = leg.lots[i]
            gross += fabs(lots) * t.gross[slot]
            if lots > 0.0:
                low[leg.bucket[i]] += lots * t.delta_low[slot]
                high[leg.bucket[i]] += lots * t.delta_high[slot]
            else:
                low[leg.bucket[i]] += lots * t.delta_high[slot]
                high[leg.bucket[i]] += lots * t.delta_low[slot]
        for b in range(BAND_BUCKETS):
            roll += max(high[b], -low[b]) * self.move[b]
            small += max(0.0, max(low[b], -high[b]))
            net_low += low[b]
            net_high += high[b]
        roll *= top
        net = max(net_high, -net_low) * top
        excess = net - self.grid.threshold_usd
        if excess > 0.0:
            move = excess / top * self.grid.move_per_coin
            roll += net * min(move, self.grid.move_max)
        slack[0] = ((leg.gross_lots * self.grid.lot_slack + UNIT_SLACK * (1.0 + self.grid.factor)) * leg.unit_usd
                    + gross * (RELATIVE_SLACK + leg.relative_error))
        # moves shrink with the time to expiry, down to the least there is
        least[0] = self.grid.factor * small * bottom * self.grid.least_move
        return self.grid.factor * roll * (1.0 + RELATIVE_SLACK)

    # ------------------------------------------------------------------ bands

    cdef void _leave(self, uint32_t account, uint32_t next_) noexcept:
        """Take an account out of its cell; the last of the cell comes into its place."""
        cdef BandCell* cell
        cdef uint32_t at, last
        self.voids += (next_ == <uint32_t>BAND_VOID) - (self.cell[account] == BAND_VOID)
        if self.cell[account] < BAND_IDLE:
            cell = &self.cells[self.cell[account]]
            at = self.place[account]
            cell.count -= 1
            last = cell.count
            cell.account[at] = cell.account[last]
            self.place[cell.account[at]] = at
            cell.low[at] = cell.low[last]
            cell.high[at] = cell.high[last]
            cell.reach[at] = cell.reach[last]
            _clear(cell, last, last + 1)
            _sum_block(cell, last // BAND_BLOCK)
            if at // BAND_BLOCK != last // BAND_BLOCK:
                _sum_block(cell, at // BAND_BLOCK)
            if cell.room > LEAST_ROOM and 4 * cell.count <= cell.room:
                _narrow(cell)
        self.cell[account] = next_
        if next_ == <uint32_t>BAND_VOID:
            self.void_bits[account // 64] |= <uint64_t>1 << (account % 64)
        else:
            self.void_bits[account // 64] &= ~(<uint64_t>1 << (account % 64))

    cdef void void_account(self, uint32_t account) noexcept:
        """No band: the account is found by every scan."""
        self._leave(account, BAND_VOID)

    cdef void set_idle(self, uint32_t account) noexcept:
        """The underlying cannot touch the account."""
        self._leave(account, BAND_IDLE)
        self.tried[account] = 0

    cdef bint set_band(self, uint32_t account, int level, int group, double low, double high,
                       double shrink) except -1:
        """A band around the newest anchor: index prices, and `shrink` (at most 1) of the level's other ranges.

        False, and nothing changed, where the market now lies outside or at the edge."""
        cdef uint32_t cell = self.newest * BAND_GROUPS + group
        cdef float bottom = <float>(low * (1.0 + INWARD))
        cdef float top = <float>(high * (1.0 - INWARD))
        cdef float reach = <float>(WIDTH_RANGE[level] * shrink * (1.0 - 2.0 * INWARD))
        cdef float price = <float>self.index
        if not (bottom < price < top and self.change[cell] < reach):
            return False
        self._enter(account, cell, bottom, top, reach)
        return True

    cdef int _enter(self, uint32_t account, uint32_t cell, float low, float high, float reach) except -1:
        cdef BandCell* to = &self.cells[cell]
        cdef uint32_t at, block
        if to.count == to.room:
            _widen(to)
        self._leave(account, cell)
        at = to.count          # only now: the account may have stood in the same cell
        block = at // BAND_BLOCK
        to.count += 1
        to.account[at] = account
        to.low[at] = low
        to.high[at] = high
        to.reach[at] = reach
        to.block_low[block] = max(to.block_low[block], low)
        to.block_high[block] = min(to.block_high[block], high)
        to.block_reach[block] = min(to.block_reach[block], reach)
        self.place[account] = at
        self.tried[account] = 0
        return 0

    cdef void _void_cell(self, uint32_t cell) noexcept:
        while self.cells[cell].count:
            self.void_account(self.cells[cell].account[self.cells[cell].count - 1])

    # ------------------------------------------------------------------ bands on the mark of one instrument

    cdef int take_mark(self, uint32_t slot, double mark, double funding, double worth) except -1:
        """A future's or perpetual's mark (USD) and funding now; `worth`: of a lot, in the unit of the funding. Bands on
        the mark hold while the funding is within paid_limit of where their cell began; then the cell begins again."""
        cdef uint32_t cell = BAND_CELLS + slot
        if fabs(funding - self.paid[slot]) > self.paid_limit[slot]:
            self._void_cell(cell)
        if self.cells[cell].count == 0:
            self.paid[slot] = funding
            self.paid_limit[slot] = PAID_SHARE * worth
        self.mark[slot] = <float>mark
        return 0

    cdef bint set_mark_band(self, uint32_t account, uint32_t slot, double low, double high) except -1:
        """A band of the instrument's mark alone, for any funding within 2 x paid_limit from now; False, and nothing
        changed, where the mark is outside or at the edge."""
        cdef float bottom = <float>(low * (1.0 + INWARD))
        cdef float top = <float>(high * (1.0 - INWARD))
        if not bottom < self.mark[slot] < top:
            return False
        self._enter(account, BAND_CELLS + slot, bottom, top, <float>INFINITY)
        return True

    cdef bint band_of(self, uint32_t account, float* low, float* high, float* reach) noexcept:
        """An account's band; False where it has none."""
        cdef BandCell* cell
        if account >= self.accounts or self.cell[account] == BAND_VOID:
            return False
        low[0] = -<float>INFINITY
        high[0] = reach[0] = <float>INFINITY
        if self.cell[account] != BAND_IDLE:
            cell = &self.cells[self.cell[account]]
            low[0] = cell.low[self.place[account]]
            high[0] = cell.high[self.place[account]]
            reach[0] = cell.reach[self.place[account]]
        return True

    def memory_bytes(self):
        """Bytes (that grow with the accounts, of anchors and tables, which do not)."""
        cdef size_t places = 0, fixed = sizeof(BandIndex)
        cdef size_t row = <size_t>self.slots * 2 * self.grid.scenario_count
        cdef int a, c
        for c in range(BAND_CELLS + <int>self.slots):
            places += self.cells[c].room
        for c in range(BAND_CHAINS):
            fixed += self.capacity[c] * sizeof(double)
            for a in range(BAND_ANCHORS):
                fixed += self.anchor[a].capacity[c] * sizeof(double)
        fixed += BAND_LEVELS * (6 * row + BY_SLOT * <size_t>self.slots) * sizeof(double)
        fixed += (BAND_CELLS + <size_t>self.slots) * sizeof(BandCell) + <size_t>self.slots * 25
        return (<size_t>self.accounts * (3 * sizeof(uint32_t)) + self.accounts // 64 * 2 * sizeof(uint64_t)
                + places * 16 + places // BAND_BLOCK * 12, fixed)

    cdef bint most_left(self, uint32_t count, double share) noexcept:
        """Whether more than `share` (at least a half) of the accounts 1 .. count - 1 have no band or left theirs, by a
        sample: who then looks at everybody need not search first. Bands on marks count as if they held."""
        cdef const BandCell* cell
        cdef float price = <float>self.index
        cdef float change
        cdef int64_t looked = 0, blocks_left = 0, fled = 0
        cdef int64_t without = self.voids - (self.accounts - count)
        cdef uint32_t block, i
        cdef int c
        for c in range(BAND_CELLS):
            cell = &self.cells[c]
            change = self.change[c]
            for block in range(0, cell.count // BAND_BLOCK, SAMPLED):
                looked += 1
                blocks_left += (price < cell.block_low[block] or price > cell.block_high[block]
                                or change > cell.block_reach[block])
        if 2 * blocks_left > looked:
            for c in range(BAND_CELLS):
                cell = &self.cells[c]
                change = self.change[c]
                for block in range(0, cell.count // BAND_BLOCK, SAMPLED):
                    for i in range(block * BAND_BLOCK, (block + 1) * BAND_BLOCK):
                        fled += (price < cell.low[i]) | (price > cell.high[i]) | (change > cell.reach[i])
        return without + fled * SAMPLED > share * count

    cdef int64_t scan(self, uint32_t count, const uint32_t* stale, uint8_t* stale_block, uint32_t bit,
                      uint32_t* out_) noexcept:
        """Accounts 1 .. count - 1 whose band was left, that have none or that have `bit` in stale[account], ascending;
        room for them in out_. stale_block[account // 64] is set where any of the 64 (room for them all) may have any
        bit; it is cleared where none has."""
        cdef float price = <float>self.index
        cdef uint32_t words = (count + 63) // 64, w, i, any_
        cdef uint64_t bits
        cdef int64_t found = 0, standing = 0, fled = 0
        cdef int c
        memcpy(self.left, self.void_bits, words * sizeof(uint64_t))
        for c in range(BAND_CELLS):
            if self.cells[c].count:
                standing += self.cells[c].count
                cell_scan(&self.cells[c], price, self.change[c], self.left)
        for i in range(self.watched):
            if self.cells[BAND_CELLS + self.watch[i]].count:
                standing += self.cells[BAND_CELLS + self.watch[i]].count
                cell_scan(&self.cells[BAND_CELLS + self.watch[i]], self.mark[self.watch[i]], 0.0, self.left)
        for w in range(words):
            bits = self.left[w]
            fled += popcount(bits & ~self.void_bits[w])
            if stale_block[w]:
                any_ = 0
                for i in range(64):
                    any_ |= stale[w * 64 + i]
                    bits |= <uint64_t>((stale[w * 64 + i] & bit) != 0) << i
                stale_block[w] = any_ != 0
            if w == 0:
                bits &= ~<uint64_t>1
            if w == words - 1 and count % 64:
                bits &= (<uint64_t>1 << (count % 64)) - 1
            if bits == ALL_BITS:
                for i in range(64):
                    out_[found + i] = w * 64 + i
                found += 64
                continue
            while bits:
                out_[found] = w * 64 + ctz(bits)
                found += 1
                bits &= bits - 1
        # a new listing leaves no anchor, and with it no band
        self.crash = self.newest >= 0 and 2 * fled > standing
        return found


cdef void _clear(BandCell* cell, uint32_t first, uint32_t end) noexcept:
    """Unused places: bands that always hold."""
    cdef uint32_t i
    for i in range(first, end):
        cell.low[i] = -<float>INFINITY
        cell.high[i] = <float>INFINITY
        cell.reach[i] = <float>INFINITY


cdef void _sum_block(BandCell* cell, uint32_t block) noexcept:
    """The block's own band."""
    cdef float low = -<float>INFINITY, high = <float>INFINITY, reach = <float>INFINITY
    cdef uint32_t i
    for i in range(block * BAND_BLOCK, (block + 1) * BAND_BLOCK):
        low = max(low, cell.low[i])
        high = min(high, cell.high[i])
        reach = min(reach, cell.reach[i])
    cell.block_low[block] = low
    cell.block_high[block] = high
    cell.block_reach[block] = reach


cdef void _tables_of(BandCell* cell, void*** table) noexcept:
    """Where a cell points to its tables, of four bytes an entry: first those by place, from BY_BLOCK on by block."""
    table[0] = <void**>&cell.account
    table[1] = <void**>&cell.low
    table[2] = <void**>&cell.high
    table[3] = <void**>&cell.reach
    table[4] = <void**>&cell.block_low
    table[5] = <void**>&cell.block_high
    table[6] = <void**>&cell.block_reach


cdef bint _resize(BandCell* cell, uint32_t room) noexcept:
    """All tables with that much room; False where the allocator did not give one of them, which stays as it was."""
    cdef void** table[TABLES]
    cdef void* moved
    cdef bint whole = True
    cdef int i
    _tables_of(cell, table)
    for i in range(TABLES):
        moved = realloc(table[i][0], <size_t>(room if i < BY_BLOCK else room // BAND_BLOCK) * 4)
        if moved != NULL:
            table[i][0] = moved
        whole = whole and moved != NULL
    return whole


cdef int _widen(BandCell* cell) except -1:
    """Twice the room."""
    cdef uint32_t room = max(LEAST_ROOM, 2 * cell.room), b
    if not _resize(cell, room):
        raise MemoryError()
    _clear(cell, cell.room, room)
    for b in range(cell.room // BAND_BLOCK, room // BAND_BLOCK):
        _sum_block(cell, b)
    cell.room = room
    return 0


cdef void _narrow(BandCell* cell) noexcept:
    """Give back half of the room; what the allocator will not take back stays."""
    cell.room //= 2
    _resize(cell, cell.room)


cdef void _release(BandCell* cell) noexcept:
    cdef void** table[TABLES]
    cdef int i
    _tables_of(cell, table)
    for i in range(TABLES):
        free(table[i][0])


cdef void* _grown(void* old, size_t size) except NULL:
    cdef void* grown = realloc(old, size)
    if grown == NULL:
        raise MemoryError()
    return grown
