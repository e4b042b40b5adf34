"""A population outside the engine, for measuring safe bands: positions as flat arrays, margin by the engine's tables.

The market, the rows and the bands are those of an engine; the accounts are coin accounts of one chain, so that a full
recomputation reads as little memory as it can and bands are compared with the best that looking at everybody can do.
"""

import time

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from exchange.liquidation.monitor cimport Monitor
from exchange.market.instrument cimport Instruments
from exchange.risk.bands cimport Bands
from exchange.risk.risk_rows cimport MAX_EXPIRIES, Grid, RiskRows
from margin_ext.kernels cimport accounts_worst_loss
from margin_ext.safe_bands cimport BAND_UNKNOWN, BandIndex, BandLeg

cdef extern from *:
    """
    static inline void bands_prefetch(const void *address) {
        __builtin_prefetch(address);
        __asm__ __volatile__("");
    }
    """
    void prefetch "bands_prefetch"(const void* address) noexcept

cdef enum:
    AHEAD = 4       # accounts whose positions are fetched before their turn

cdef double ONE_PASS_SHARE = 0.25       # where more left their band, one pass over all costs less than jumping
cdef double MOST_SHARE = 0.5            # where more did by a sample, nobody is searched for before that pass
HEALTHY, WARNING, BREACHED = 0, 1, 2


cdef class Population:
    """Accounts 1 .. A (0 is nobody) with positions [start[a], start[a + 1]) in instrument slots of underlying 0."""

    cdef RiskRows rows
    cdef Instruments instruments
    cdef Bands bands
    cdef int64_t[::1] start
    cdef uint16_t[::1] slot
    cdef int32_t[::1] lots
    cdef readonly double[::1] offset         # equity less positions at the mark, minor units
    cdef readonly unsigned char[::1] level
    cdef double[::1] worst
    cdef double[::1] mark                    # [slot], beside each other: an instrument's record is far larger
    cdef uint16_t[::1] bucket
    cdef uint32_t[::1] found
    cdef uint32_t[::1] stale
    cdef uint8_t[::1] stale_block
    cdef int32_t[::1] leg_row
    cdef double[::1] leg_lots
    cdef uint16_t[::1] leg_bucket
    cdef double warning
    cdef public int64_t budget               # accounts certified anew after one mark

    def __init__(self, engine, start, slot, lots, offset, double warning, int64_t budget):
        cdef Monitor monitor = engine.monitor
        self.rows = engine.rows
        self.instruments = engine.listing
        self.bands = monitor.bands
        self.start = start
        self.slot = slot
        self.lots = lots
        self.offset = offset
        self.level = np.zeros(len(offset), np.uint8)
        self.worst = np.zeros(len(offset))
        self.mark = np.zeros(self.instruments.capacity)
        self.bucket = np.zeros(self.instruments.capacity, np.uint16)
        self.found = np.zeros(len(offset), np.uint32)
        blocks = (len(offset) + 63) // 64
        self.stale = np.zeros(blocks * 64, np.uint32)
        self.stale_block = np.zeros(blocks, np.uint8)
        longest = int(np.diff(start).max())
        self.leg_row = np.zeros(longest, np.int32)
        self.leg_lots = np.zeros(longest)
        self.leg_bucket = np.zeros(longest, np.uint16)
        self.warning = warning
        self.budget = budget

    cdef int _prepare(self) except -1:
        """Take the marks from the engine."""
        cdef uint32_t i
        for i in range(self.instruments.high):
            self.mark[i] = <double>self.instruments.at[i].mark_minor
            self.bucket[i] = self.instruments.at[i].expiry_bucket
        return 0

    cdef double _need(self, int64_t a, double worst, double* equity) noexcept:
        """Maintenance margin from the worst loss, and the equity (the engine's formula in doubles)."""
        cdef Grid* g = &self.rows.grid[0]
        cdef double delta[MAX_EXPIRIES]
        cdef double total = self.offset[a], roll = 0.0, net = 0.0, gross = 0.0, lots, excess, move
        cdef int64_t i
        cdef int b, high = self.rows.bucket_high[0]
        for b in range(high):
            delta[b] = 0.0
        for i in range(self.start[a], self.start[a + 1]):
            lots = self.lots[i]
            gross += abs(lots)
            total += lots * self.mark[self.slot[i]]
            delta[self.bucket[self.slot[i]]] += lots * <double>self.rows.delta_e10[self.slot[i]]
        for b in range(high):
            roll += abs(delta[b]) * (<double>g.move_q32[b] / 4294967296.0)
            net += delta[b]
        net = abs(net)
        excess = net - <double>g.delta_threshold_e10
        if excess > 0.0:
            move = excess * <double>g.delta_move_per_coin_e9 / 1e10
            roll += net * min(move, <double>g.delta_move_max_e9) / 1e9
        equity[0] = total
        return (worst + roll) * (<double>g.maintenance_factor_ppm / 1e6) + gross

    cdef int _level(self, int64_t a, double worst) noexcept:
        cdef double equity
        cdef double need = self._need(a, worst, &equity)
        if equity < need:
            return 2
        return 1 if equity < need * self.warning else 0

    def measure_needs(self):
        """(maintenance margins, equities) of all accounts, minor units."""
        cdef int64_t a
        cdef double equity
        self._prepare()
        needs, equities = np.zeros(len(self.offset)), np.zeros(len(self.offset))
        cdef double[::1] need = needs
        cdef double[::1] own = equities
        self._worst_losses()
        for a in range(1, self.offset.shape[0]):
            need[a] = self._need(a, self.worst[a], &equity)
            own[a] = equity
        return needs, equities

    cdef void _worst_losses(self) noexcept:
        accounts_worst_loss(self.offset.shape[0], &self.start[0], &self.slot[0], &self.lots[0], self.rows.rows_coin,
                            self.rows.grid[0].dampener_coin, self.rows.scenario_count, &self.worst[0])

    def replace_breached(self, double excess):
        """Accounts below their maintenance margin are liquidated and others come in their place: the same positions
        with equity that much above the warning. Returns how many."""
        cdef int64_t a, count = 0
        cdef double worst, need, equity
        for a in range(1, self.offset.shape[0]):
            if self.level[a] != 2:
                continue
            accounts_worst_loss(1, &self.start[a], &self.slot[0], &self.lots[0], self.rows.rows_coin,
                                self.rows.grid[0].dampener_coin, self.rows.scenario_count, &worst)
            need = self._need(a, worst, &equity)
            self.offset[a] += <double><int64_t>(need * self.warning * (1.0 + excess) - equity)
            self.level[a] = 0
            self.stale[a] = 1
            self.stale_block[a // 64] = 1
            count += 1
        return count

    def full(self):
        """(CPU ns, levels [A + 1]) of a full recomputation."""
        levels = np.zeros(len(self.offset), np.uint8)
        cdef unsigned char[::1] out = levels
        began = time.thread_time_ns()
        self._prepare()
        self._look_at_all(&out[0])
        return time.thread_time_ns() - began, levels

    cdef void _fetch_account(self, int64_t a) noexcept:
        prefetch(&self.start[a])
        prefetch(&self.offset[a])
        prefetch(&self.level[a])

    cdef void _fetch_positions(self, int64_t a) noexcept:
        cdef int64_t i
        for i in range(self.start[a], min(self.start[a + 1], self.start[a] + 160), 16):
            prefetch(&self.lots[i])
            prefetch(&self.slot[i])

    cdef void _look(self, int64_t count) noexcept:
        """Take the levels of the accounts found anew; what the next ones need is fetched meanwhile."""
        cdef int64_t i, a
        cdef double worst
        for i in range(min(count, 2 * AHEAD)):
            self._fetch_account(self.found[i])
        for i in range(min(count, AHEAD)):
            self._fetch_positions(self.found[i])
        for i in range(count):
            if i + 2 * AHEAD < count:
                self._fetch_account(self.found[i + 2 * AHEAD])
            if i + AHEAD < count:
                self._fetch_positions(self.found[i + AHEAD])
            a = self.found[i]
            accounts_worst_loss(1, &self.start[a], &self.slot[0], &self.lots[0], self.rows.rows_coin,
                                self.rows.grid[0].dampener_coin, self.rows.scenario_count, &worst)
            self.level[a] = self._level(a, worst)

    cdef void _look_at_all(self, unsigned char* out) noexcept:
        """The levels of everybody in one pass over all positions in their order."""
        cdef int64_t a
        self._worst_losses()
        for a in range(1, self.offset.shape[0]):
            out[a] = self._level(a, self.worst[a])

    def mark_moved(self, int64_t time_ns):
        """After a repricing: (CPU ns until every crossing is found, CPU ns of certifying anew, accounts looked at).

        `level` holds all levels then."""
        cdef BandIndex index
        cdef int64_t count = 0, looked = self.offset.shape[0] - 1
        cdef bint everybody
        began = time.thread_time_ns()
        self.bands.observe(0, time_ns)
        index = self.bands.index[0]
        self._prepare()
        index.grow(self.offset.shape[0])
        everybody = index.most_left(self.offset.shape[0], MOST_SHARE)
        if not everybody:
            count = self._scan(index)
            everybody = count > ONE_PASS_SHARE * looked
        if everybody:
            self._look_at_all(&self.level[0])
        else:
            looked = count
            self._look(count)
        found = time.thread_time_ns()
        if everybody:                    # who left is asked only now, to certify them anew
            count = self._scan(index)
        if count:
            self._refresh(index, count, time_ns)
        return found - began, time.thread_time_ns() - found, looked

    cdef int64_t _scan(self, BandIndex index) noexcept:
        return index.scan(self.offset.shape[0], &self.stale[0], &self.stale_block[0], 1, &self.found[0])

    cdef int _refresh(self, BandIndex index, int64_t count, int64_t time_ns) except -1:
        """As Bands.refresh, with legs from the arrays."""
        cdef int64_t i, a, left = self.budget
        if index.crash:
            left = 0
        else:
            self.bands.renew(0, time_ns)
        for i in range(count):
            a = self.found[(i + self.bands.marks * 997) % count]
            if left > 0 and (self.stale[a] or index.tried[a] != index.serial):
                left -= 1
                self.stale[a] = 0
                self.bands.warned = self.level[a] == 1
                self.bands.settle(a, self.level[a] < 2 and self._collect(index, a))
            else:
                index.void_account(a)
        return 0

    cdef bint _collect(self, BandIndex index, int64_t a) except -1:
        cdef BandLeg* leg = &self.bands.leg[0]
        cdef double scale = index.anchor[index.newest].index * 1e4 / 1e10
        cdef int64_t i
        cdef int n = 0, group = 0
        leg.row = &self.leg_row[0]
        leg.lots = &self.leg_lots[0]
        leg.bucket = &self.leg_bucket[0]
        leg.numeraire = 0
        leg.gross_lots = 0.0
        for i in range(self.start[a], self.start[a + 1]):
            if index.group[self.slot[i]] == BAND_UNKNOWN:
                return False
            group = max(group, <int>index.group[self.slot[i]])
            leg.row[n] = 2 * self.slot[i] + (self.lots[i] < 0)
            leg.lots[n] = self.lots[i]
            leg.bucket[n] = self.bucket[self.slot[i]]
            leg.gross_lots += abs(leg.lots[n])
            n += 1
        leg.count = n
        leg.coin_offset = self.offset[a] * scale
        leg.unit_usd = scale * 1.1
        leg.relative_error = 0.0
        self.bands.formula = False
        self.bands.leg_underlying[0] = 0
        self.bands.leg_currency[0] = 0
        self.bands.leg_group[0] = group
        self.bands.leg_count = 1
        self.bands.requirement[0].first = 0
        self.bands.requirement[0].last = 1
        self.bands.requirement[0].cash = 0.0
        self.bands.requirement_count = 1
        return True

    def memory_bytes(self):
        """As Bands.memory_bytes."""
        return self.bands.memory_bytes(0)

    def banded(self):
        """How many accounts have a band."""
        cdef BandIndex index = self.bands.index[0]
        cdef int64_t a
        cdef float low
        cdef float high
        cdef float reach
        return sum([index.band_of(a, &low, &high, &reach) for a in range(1, self.offset.shape[0])])
