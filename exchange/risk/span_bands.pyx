"""Bounds for safe bands of accounts margined by `span16`: its scenarios, its charges and what options pay for.

A band's tables of such an underlying have the sixteen columns, in which days pass, and after them the mark. Deltas
that charges are on are bounded per expiry, and the calendar charge over all of the box by what it may become where each
moves within its bounds. Proof: docs/margin.md, "Safe bands".
"""

from libc.math cimport INFINITY, ceil, fabs, floor
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import msgspec

from exchange.market.instrument cimport KIND_OPTION, OPTION_CALL, Instrument
from exchange.risk.requirement cimport Requirements
from exchange.risk.risk_rows cimport GRID_OWN, MAX_EXPIRIES
from exchange.risk.rounding cimport lot_units
from exchange.risk.span cimport SpanSet, span_calendar
from margin_ext.kernels cimport black76_arrays, bound_least, k_log, k_sqrt, rows_sum
from margin_ext.safe_bands cimport BAND_LEVELS, BAND_UNKNOWN, BandIndex, BandLeg

cdef enum:
    COLUMNS = 16
    STILL = 14               # a column whose vols are not shocked
    PRICES = 7               # of the composite delta
    WIDTHS = 4               # where vols move by points: of an option at the mark, later, up and down

cdef double YEAR_DAYS = 365.0
cdef double YEAR_NS = 365.0 * 86400e9
cdef double NEAR_YEARS = 2.0 / 365.0
cdef double CLOSE_YEARS = 1.0 / (365.0 * 86400.0)    # a second from the end of the look-ahead: rounding of years tells
cdef double OUTWARD = 1.0 + 1e-12
cdef double DELTA_ERROR = 1e-12
cdef double WIDTH_MIN = 1e-100
cdef double FAR = 40.0                   # N(40) is 1
cdef double RELATIVE_SLACK = 4e-9        # of gross size, as the columns' bounds have it
cdef double UNIT_SLACK = 128.0           # units: conversions, ceilings and option values of every chain
cdef double CEILINGS = 48.0              # 1e-10 coin: one an expiry, and of the sums
cdef double CASH_UNITS = 4.0             # in what a currency is worth in USD, of which cash stands two lower
cdef double LARGEST = 4e18


cdef class SpanTerms(BandTerms):
    """Terms of `span16` beside those of the grid."""

    def __cinit__(self, charges, config, *others):
        cdef int u, j
        cdef size_t size
        self.spans = (<Requirements>charges).spans
        self.slots = self.instruments.capacity
        self.spanned = <bint*>calloc(self.rows.underlying_count, sizeof(bint))
        self.charged = <double**>calloc(self.rows.underlying_count, sizeof(double*))
        self.tier = <int8_t*>calloc(self.rows.underlying_count * MAX_EXPIRIES, sizeof(int8_t))
        self.move = <int64_t*>calloc(self.rows.underlying_count * MAX_EXPIRIES, sizeof(int64_t))
        if self.spanned == NULL or self.charged == NULL or self.tier == NULL or self.move == NULL:
            raise MemoryError()
        for u, underlying in enumerate(config.underlyings):
            if underlying.span is msgspec.UNSET:
                continue
            self.spanned[u] = True
            size = BAND_LEVELS * 2 * <size_t>self.slots
            self.charged[u] = <double*>calloc(size, sizeof(double))
            if self.charged[u] == NULL:
                raise MemoryError()
        for j in range(SPAN_BAND_COLUMNS):
            self.spot[j] = 1.0
            self.none[j] = 0.0

    def __dealloc__(self):
        cdef int u
        for u in range(self.underlyings if self.charged != NULL else 0):
            free(self.charged[u])
        free(self.spanned)
        free(self.charged)
        free(self.tier)
        free(self.move)
        free(self.multiplier)
        free(self.vol)
        free(self.years)
        free(self.expiry)

    # ------------------------------------------------------------------ the market

    cdef void span_grid(self, int underlying, Grid* grid) noexcept:
        """The underlying's grid with the mark in columns of its own."""
        cdef int j
        grid[0] = self.rows.grid[underlying]
        grid.kind = GRID_OWN
        for j in range(COLUMNS, SPAN_BAND_COLUMNS):
            grid.spot_multiplier[j] = grid.coin_factor[j] = 1.0
            grid.weight[j] = grid.vol_floor[j] = grid.move_clamp[j] = grid.dampener_usd[j] = 0.0
            grid.vol_kind[j] = 0         # as those whose time alone passes: no shock of its own to be measured

    cdef bint terms_moved(self, int underlying) noexcept:
        """Whether an expiry has come into another tier or near its delivery since this was last asked: it is time that
        moves them, so no band of the underlying holds across it."""
        cdef SpanSet* s = &self.spans.set[underlying]
        cdef int8_t* tier = &self.tier[underlying * MAX_EXPIRIES]
        cdef int64_t* move = &self.move[underlying * MAX_EXPIRIES]
        cdef int b
        cdef bint moved = False
        if not self.spanned[underlying]:
            return False
        self.spans._tiers(underlying)
        for b in range(MAX_EXPIRIES):
            moved = moved or tier[b] != s.tier[b] or move[b] != self.rows.grid[underlying].move_q32[b]
            tier[b] = s.tier[b]
            move[b] = self.rows.grid[underlying].move_q32[b]
        return moved

    cdef double near_years(self, int underlying) noexcept:
        """Options within it change within minutes, at the mark or after the look-ahead."""
        return NEAR_YEARS + self.rows.grid[underlying].look_ahead_ns / YEAR_NS

    cdef int pad(self, int underlying, ChainInput* source) except -1:
        """A chain of `span16` with columns for the mark; others are left as they are. The arrays are scratch room."""
        cdef int e, j, S = source.scenario_count
        if not self.spanned[underlying]:
            return 0
        if <uint32_t>source.expiry_count > self.expiry_room:
            self.multiplier = <double*>_grown(
                self.multiplier, 2 * source.expiry_count * SPAN_BAND_COLUMNS * sizeof(double))
            self.expiry_room = 2 * source.expiry_count
        for j in range(COLUMNS):
            self.spot[j] = source.spot_multiplier[j]
        for e in range(source.expiry_count):
            for j in range(SPAN_BAND_COLUMNS):
                self.multiplier[e * SPAN_BAND_COLUMNS + j] = source.vol_multiplier[e * S + j] if j < COLUMNS else 1.0
        source.scenario_count = SPAN_BAND_COLUMNS
        source.spot_multiplier = self.spot
        source.vol_floor = self.none
        source.weight = NULL
        source.coin_factor = NULL
        source.vol_multiplier = self.multiplier
        return 0

    cdef bint _close(self, int underlying, double years) noexcept:
        """Whether an option is so close to the end of its look-ahead that the pricer's deltas after it are rounding;
        where averages are priced the time after it is worked out in integers."""
        if self.rows.averaged[underlying]:
            return False
        return 0.0 < years - self.rows.grid[underlying].look_ahead_ns / YEAR_NS + 1e-9 * CLOSE_YEARS < CLOSE_YEARS

    cdef int measured(self, int underlying, const ChainInput* source, ChainInput* to) except -1:
        """A padded chain as its widths are measured: options at the end of their look-ahead as if it had ended, and
        where vols move by points every shocked width by itself."""
        cdef int32_t i, e, n = 0, group = -1
        cdef double* m
        cdef double before = -1.0
        to[0] = source[0]
        if not self.spanned[underlying]:
            return 0
        for e in range(source.expiry_count):
            if self._close(underlying, source.years[e]):
                for i in range(COLUMNS):
                    self.multiplier[e * SPAN_BAND_COLUMNS + i] = 0.0
        if not self.rows.grid[underlying].vol_points:
            return 0
        if <uint32_t>source.pair_count > self.pair_room:
            self.vol = <double*>_grown(self.vol, 2 * WIDTHS * source.pair_count * sizeof(double))
            self.expiry = <int32_t*>_grown(self.expiry, 2 * WIDTHS * source.pair_count * sizeof(int32_t))
            self.years = <double*>_grown(self.years, 2 * source.pair_count * sizeof(double))
            self.pair_room = 2 * source.pair_count
        for i in range(source.pair_count):
            e = source.expiry_of_pair[i]
            m = &self.multiplier[e * SPAN_BAND_COLUMNS]
            if source.years[e] != before:
                before = source.years[e]
                group += 1
                self.years[group] = before
            self.vol[n] = source.vol[i]
            self.vol[n + 1] = source.vol[i] * m[STILL]
            self.vol[n + 2] = source.vol[i] * m[0]
            self.vol[n + 3] = source.vol[i] * m[1]
            for e in range(n, n + WIDTHS):
                self.expiry[e] = group
            n += WIDTHS
        to.pair_count = n
        to.expiry_count = group + 1
        to.vol = self.vol
        to.years = self.years
        to.expiry_of_pair = self.expiry
        return 0

    cdef int bound_charged(self, int underlying, const ChainInput* source) except -1:
        """Least and largest composite delta of a padded chain's options in the boxes of the newest anchor."""
        cdef Grid* g = &self.rows.grid[underlying]
        cdef BandIndex index = self.index[underlying]
        cdef double z[2 * PRICES]
        cdef double vol[2 * PRICES]
        cdef double one[2 * PRICES]
        cdef double out[6][2 * PRICES]
        cdef double* target[6]
        cdef double price, width, narrow, wide, up, down, x, far, near, low, high
        cdef double* to
        cdef int32_t i, e
        cdef int j, level
        for j in range(6):
            target[j] = out[j]
        for j in range(2 * PRICES):
            one[j] = 1.0
        for i in range(source.pair_count):
            e = source.expiry_of_pair[i]
            if self._close(underlying, source.years[e]):
                if source.call_row[i] >= 0:
                    index.group[source.call_row[i]] = <uint8_t>BAND_UNKNOWN
                if source.put_row[i] >= 0:
                    index.group[source.put_row[i]] = <uint8_t>BAND_UNKNOWN
                continue
            width = source.vol[i] * k_sqrt(source.years[e]) * source.vol_multiplier[e * SPAN_BAND_COLUMNS + STILL]
            for level in range(BAND_LEVELS):
                price, x = index.price_range(level), index.basis_range(level)
                up = k_log((1.0 + price) * (1.0 + x) * OUTWARD)
                down = k_log((1.0 - price) * (1.0 - x) / OUTWARD)
                narrow = max(width * (1.0 - index.width_range(level, source.years[e])) / OUTWARD, WIDTH_MIN)
                wide = max(width * (1.0 + index.width_range(level, source.years[e])) * OUTWARD, WIDTH_MIN)
                for j in range(PRICES):
                    x = k_log(source.forward[e] * g.delta_multiplier[j] / source.strike[i])
                    far, near = x + up, x + down
                    z[j] = near / (wide if near > 0.0 else narrow) + 0.5 * narrow
                    z[PRICES + j] = far / (narrow if far > 0.0 else wide) + 0.5 * wide
                for j in range(2 * PRICES):
                    vol[j] = 2.0 * min(fabs(z[j]), FAR)      # at the money a call's delta is N(width / 2)
                black76_arrays(2 * PRICES, one, one, vol, one, one, target, 6)
                low, high = -DELTA_ERROR, DELTA_ERROR
                for j in range(PRICES):
                    low += g.delta_weight[j] * (out[1][j] if z[j] > 0.0 else 1.0 - out[1][j])
                    x = out[1][PRICES + j]
                    high += g.delta_weight[j] * (x if z[PRICES + j] > 0.0 else 1.0 - x)
                to = self.charged[underlying] + <size_t>level * 2 * self.slots
                if source.call_row[i] >= 0:
                    to[source.call_row[i]] = low * source.lot_coin
                    to[self.slots + source.call_row[i]] = high * source.lot_coin
                if source.put_row[i] >= 0:
                    to[source.put_row[i]] = (low - 1.0) * source.lot_coin
                    to[self.slots + source.put_row[i]] = (high - 1.0) * source.lot_coin
        return 0

    cdef void charged_future(self, int underlying, uint32_t slot) noexcept:
        """The same of a future or perpetual, whose composite delta is its own."""
        cdef BandIndex index = self.index[underlying]
        cdef double* to
        cdef int level
        for level in range(BAND_LEVELS if self.spanned[underlying] else 0):
            to = self.charged[underlying] + <size_t>level * 2 * self.slots
            to[slot] = index.tables[level].delta_low[slot]
            to[self.slots + slot] = index.tables[level].delta_high[slot]

    # ------------------------------------------------------------------ an account's leg

    cdef double _deltas(self, int level, int i) noexcept:
        """Calendar and delivery charge of a leg, at most in a box of the level, coins; infinite where the figures are
        beyond 64 bits.

        Each expiry's delta stands somewhere between its bounds. The calendar charge knows what it may become where
        deltas are added and taken in any part: nets, not their gross."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef int u = self.leg_underlying[i], b, j, bad = 0, high = self.rows.bucket_high[u]
        cdef const double* least = self.charged[u] + <size_t>level * 2 * self.slots
        cdef const double* most = least + self.slots
        cdef double low[MAX_EXPIRIES]
        cdef double top[MAX_EXPIRIES]
        cdef int64_t delta[MAX_EXPIRIES]
        cdef int64_t up[MAX_EXPIRIES]
        cdef int64_t down[MAX_EXPIRIES]
        cdef double lots, delivery = 0.0, middle
        cdef int32_t slot
        memset(low, 0, sizeof(low))
        memset(top, 0, sizeof(top))
        for j in range(leg.count):
            slot, lots = leg.row[j] >> 1, leg.lots[j]
            # a lot's delta is rounded to 1e-10 coin
            low[leg.bucket[j]] += lots * (least[slot] if lots > 0.0 else most[slot]) - fabs(lots) * 1e-10
            top[leg.bucket[j]] += lots * (most[slot] if lots > 0.0 else least[slot]) + fabs(lots) * 1e-10
        for b in range(high):
            # and the sums of doubles are not exact
            middle = (fabs(low[b]) + fabs(top[b])) * 1e-12
            low[b] = (low[b] - middle) * 1e10
            top[b] = (top[b] + middle) * 1e10
            if not (low[b] > -LARGEST and top[b] < LARGEST):
                return INFINITY
            delivery += max(top[b], -low[b]) * (self.move[u * MAX_EXPIRIES + b] / 4294967296.0)
            delta[b] = <int64_t>floor(0.5 * (low[b] + top[b]))
            up[b] = <int64_t>ceil(max(top[b] - <double>delta[b], 0.0)) + (top[b] != low[b])
            down[b] = <int64_t>ceil(max(<double>delta[b] - low[b], 0.0)) + (top[b] != low[b])
            # doubles of this size have no fractions left
            middle = (fabs(low[b]) + fabs(top[b])) * 4e-16
            up[b] += <int64_t>ceil(middle)
            down[b] += <int64_t>ceil(middle)
        middle = <double>span_calendar(&self.spans.set[u].spreads, &self.tier[u * MAX_EXPIRIES], high, delta, up, down,
                                       True, 0, &bad)
        return INFINITY if bad else (middle + delivery + CEILINGS) / 1e10

    cdef void _span_leg(self, int level, int i, SpanLeg* to) noexcept:
        """Bounds of a leg over a box of the level."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef int u = self.leg_underlying[i], p, j, side
        cdef BandIndex index = self.index[u]
        cdef Grid* g = &self.rows.grid[u]
        cdef double v[SPAN_BAND_COLUMNS]
        cdef double factor = g.maintenance_factor_ppm / 1e6, coins = self._deltas(level, i)
        cdef double shorts[2]
        cdef double gross = fabs(leg.coin_offset), reach, value, coin
        cdef const double* weight = index.grid.coin_factor[leg.numeraire]
        cdef Instrument* row
        memset(to, 0, sizeof(SpanLeg))
        shorts[0] = shorts[1] = 0.0
        for j in range(leg.count):
            row = &self.instruments.at[leg.row[j] >> 1]
            gross += fabs(leg.lots[j]) * index.tables[level].gross[leg.row[j] >> 1]
            side = 0 if leg.lots[j] > 0.0 else 1
            for p in range(3):
                value = leg.lots[j] * index.tables[level].mark[side][p][leg.row[j] >> 1]
                if row.kind == KIND_OPTION:
                    to.option[p] += value
                else:
                    to.held[p] += value
            if row.kind == KIND_OPTION and leg.lots[j] < 0.0:
                shorts[0 if row.option_type == OPTION_CALL else 1] -= leg.lots[j] * row.lot_size
        value = max(shorts[0], shorts[1]) if self.spans.set[u].larger_side else shorts[0] + shorts[1]
        for p in range(3):
            reach = index.point(level, p) * 1e4
            to.charge[p] = coins * reach
            to.minimum[p] = (value * (self.spans.set[u].short_ppm / 1e6) + CEILINGS * 1e-10) * reach
            coin = leg.coin_offset * (index.point(level, p) / index.point(level, 0))
            rows_sum(v, index.tables[level].rows[leg.numeraire][p], leg.row, leg.lots, leg.count, SPAN_BAND_COLUMNS)
            to.worst[p] = bound_least(v, self.none, coin, weight, SPAN_BAND_COLUMNS)
            to.equity[p] = v[index.grid.base_column] + coin
            to.held[p] += coin
        value = 1.0 + self.outermost * (1.0 + factor)
        # a lot: marks in balance and option value, its rows, and what the requirement adds for their rounding
        to.slack = ((leg.gross_lots * (2.0 * value + self.outermost * lot_units(g.maintenance_factor_ppm))
                     + UNIT_SLACK * value) * leg.unit_usd + gross * value * (RELATIVE_SLACK + leg.relative_error))

    cdef void span_least(self, int level, int i, double ratio, double* least) noexcept:
        """At least what a leg adds to its account's balance less `ratio` (no larger than the outermost) times its
        requirement, at the three points; concentration is not in it.

        With E the equity, V what options are worth and R the risk with its factor, that is the smaller of E - max(V, 0)
        and E - ratio R + (ratio - 1) max(V, 0)."""
        cdef SpanLeg leg
        cdef double k = self.outermost, factor, share = ratio / self.outermost, risk
        cdef int p
        factor = self.rows.grid[self.leg_underlying[i]].maintenance_factor_ppm / 1e6
        self._span_leg(level, i, &leg)
        for p in range(3):
            risk = min(leg.worst[p] - k * factor * leg.charge[p], leg.equity[p] - k * factor * leg.minimum[p])
            risk = share * risk + (1.0 - share) * leg.equity[p]
            if leg.option[0] > 0.0:      # either way it is a bound: the better one where the box begins
                risk += (ratio - 1.0) * leg.option[p]
            least[p] = min(risk, min(leg.held[p], leg.equity[p])) - leg.slack

    cdef void span_warned(self, int level, double next_, double last, double* above, double* below) noexcept:
        """As BandIndex.warned_bounds()."""
        cdef int p
        self.span_least(level, 0, next_, above)
        self.span_most(level, last, below)
        for p in range(3):
            above[p] += self.requirement[0].cash
            below[p] += self.requirement[0].cash + CASH_UNITS * self.currencies

    cdef void span_most(self, int level, double ratio, double* most) noexcept:
        """At most what the first leg, the account's only one, adds: of several bounds the one that is least at the
        anchor."""
        cdef BandLeg* leg = &self.leg[0]
        cdef int u = self.leg_underlying[0], p, j, i, best = 0
        cdef BandIndex index = self.index[u]
        cdef SpanLeg bound
        cdef double v[SPAN_BAND_COLUMNS]
        cdef double found[SPAN_BAND_COLUMNS + 3]
        cdef double share = ratio / self.outermost, coin, equity, option, held, value
        cdef double factor = self.rows.grid[u].maintenance_factor_ppm / 1e6
        cdef const double* weight = index.grid.coin_factor[leg.numeraire]
        self._span_leg(level, 0, &bound)
        for p in range(3):
            coin = leg.coin_offset * (index.point(level, p) / index.point(level, 0))
            for i in range(leg.count):
                leg.row[i] ^= 1
            rows_sum(v, index.tables[level].rows[leg.numeraire][p], leg.row, leg.lots, leg.count, SPAN_BAND_COLUMNS)
            for i in range(leg.count):
                leg.row[i] ^= 1
            equity = v[index.grid.base_column] + coin
            option = 0.0
            held = coin
            for i in range(leg.count):
                value = leg.lots[i] * index.tables[level].mark[1 if leg.lots[i] > 0.0 else 0][p][leg.row[i] >> 1]
                if self.instruments.at[leg.row[i] >> 1].kind == KIND_OPTION:
                    option += value
                else:
                    held += value
            value = (ratio - 1.0) * max(option, 0.0)
            for j in range(SPAN_BAND_COLUMNS):
                found[j] = share * (v[j] + coin * weight[j]) + (1.0 - share) * equity + value
            found[SPAN_BAND_COLUMNS] = held
            found[SPAN_BAND_COLUMNS + 1] = equity
            # the least requirement of short options is what it is: no mark moves their coins
            found[SPAN_BAND_COLUMNS + 2] = equity + value - ratio * factor * (
                bound.minimum[p] - 2.0 * CEILINGS * 1e-6 * index.point(level, p))
            for j in range(SPAN_BAND_COLUMNS + 3 if p == 0 else 0):
                if found[j] < found[best]:
                    best = j
            most[p] = found[best] + bound.slack


cdef void* _grown(void* old, size_t size) except NULL:
    cdef void* grown = realloc(old, size)
    if grown == NULL:
        raise MemoryError()
    return grown
