"""Bounds for safe bands of sets with scenarios beside the grid (skew, expiry basis) or a horizon.

What a lot gains where a smile tilts or bends or its forward moves alone is bounded per instrument in the boxes of an
anchor, both ways; an expiry's net then stands between the sums of these. A set with a horizon asks for two
requirements, and both must fit. Proof: docs/margin.md, "Safe bands".
"""

from libc.math cimport INFINITY, fabs
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.market.instrument cimport KIND_FUTURE, Instrument
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.risk.shifted_rows cimport SHIFT_BEND, SHIFT_DOWN, SHIFT_TILT, SHIFT_UP
from margin_ext.kernels cimport black76_arrays, k_exp, k_log, k_sqrt, rows_sum
from margin_ext.safe_bands cimport BAND_COLUMNS, BAND_LEVELS, BandIndex

cdef enum:
    ENDS = 8                 # numbers of a slot: least and largest of four shifts

cdef double OUTWARD = 1.0 + 1e-12
cdef double WIDTH_MIN = 1e-100
cdef double NORMAL_ERROR = 1e-12
cdef double FAR = 38.0                   # the density is 0 beyond, and N is 0 or 1
cdef double ROOT_TWO_PI = 2.5066282746310002
cdef double AVERAGED_YEARS = 2.0 / 3.0 * 1800.0 / (365.0 * 86400.0)     # that an average takes off the time left


cdef class RivalTerms(SpanTerms):
    """Terms of what stands beside the columns of `matrix`."""

    def __cinit__(self, charges, config, *others):
        cdef int u
        self.shifted = self.rows
        self.rival = <double**>calloc(self.rows.underlying_count, sizeof(double*))
        self.soon_mask = <uint32_t*>calloc(self.rows.underlying_count, sizeof(uint32_t))
        if self.rival == NULL or self.soon_mask == NULL:
            raise MemoryError()
        for u in range(self.rows.underlying_count):
            if self.charges.parts[u].rivals:
                self.rival[u] = <double*>calloc(BAND_LEVELS * ENDS * <size_t>self.slots, sizeof(double))
                if self.rival[u] == NULL:
                    raise MemoryError()

    def __dealloc__(self):
        cdef int u
        for u in range(self.underlyings if self.rival != NULL else 0):
            free(self.rival[u])
        free(self.rival)
        free(self.soon_mask)
        free(self.later_row)
        free(self.later_lots)
        free(self.later_bucket)

    # ------------------------------------------------------------------ the market

    cdef bint _soon(self, int underlying, int bucket) noexcept:
        """Whether an expiry is within its set's horizon."""
        return self.soon_mask[underlying] >> bucket & 1

    cdef bint charges_moved(self, int underlying) noexcept:
        """terms_moved(), and whether an expiry has come within the horizon."""
        cdef bint moved = self.terms_moved(underlying)
        cdef int64_t horizon = self.charges.parts[underlying].horizon_ns, expiry
        cdef uint32_t mask = 0
        cdef int b
        for b in range(MAX_EXPIRIES if horizon else 0):
            expiry = self.rows.bucket_expiry_ns[underlying * MAX_EXPIRIES + b]
            if expiry and expiry - self.rows.priced_ns[underlying] <= horizon:
                mask |= <uint32_t>1 << b
        moved = moved or mask != self.soon_mask[underlying]
        self.soon_mask[underlying] = mask
        return moved

    cdef int bound_rivals(self, int underlying, const ChainInput* source) except -1:
        """Bounds of a chain's options in the boxes of the newest anchor. Rooms are those of the measured widths: a
        set with rivals has the roots of time measured too."""
        cdef BandIndex index = self.index[underlying]
        cdef Spot at
        cdef double call[ENDS]
        cdef double put[ENDS]
        cdef double width, root, left_root, price
        cdef double* to
        cdef int32_t i, e
        cdef int level, j
        if self.rival[underlying] == NULL:
            return 0
        for i in range(source.pair_count):
            e = source.expiry_of_pair[i]
            root = k_sqrt(source.years[e])
            width = source.vol[i] * root
            # the skew goes by the time left, which an average's years are short of; it moves less than they do
            left_root = root
            if self.rows.averaged[underlying]:
                left_root = k_sqrt(source.years[e] + min(AVERAGED_YEARS, 2.0 * source.years[e]))
            for level in range(BAND_LEVELS):
                price, at.basis = index.price_range(level), index.basis_range(level)
                at.forward = source.forward[e] / source.index_price
                at.tilt = k_log(source.forward[e] / source.strike[i])
                at.up = at.tilt + k_log((1.0 + price) * (1.0 + at.basis) * OUTWARD)
                at.down = at.tilt + k_log((1.0 - price) * (1.0 - at.basis) / OUTWARD)
                at.narrow = max(width * (1.0 - index.width_range(level, source.years[e])) / OUTWARD, WIDTH_MIN)
                at.wide = max(width * (1.0 + index.width_range(level, source.years[e])) * OUTWARD, WIDTH_MIN)
                at.short_root = left_root * (1.0 - index.width_range(level, source.years[e])) / OUTWARD
                at.long_root = left_root * (1.0 + index.width_range(level, source.years[e])) * OUTWARD
                memset(call, 0, sizeof(call))
                memset(put, 0, sizeof(put))
                if self.shifted.shift[underlying].skewed:
                    self._skewed(underlying, &at, source, call)
                    for j in range(2 * SHIFT_DOWN):
                        put[j] = call[j]     # the forward stays: calls and puts gain alike
                if self.shifted.shift[underlying].based:
                    self._moved_forward(underlying, &at, source, call, put)
                to = self.rival[underlying] + <size_t>level * ENDS * self.slots
                for j in range(ENDS):
                    if source.call_row[i] >= 0:
                        to[<size_t>source.call_row[i] * ENDS + j] = call[j] * source.lot_coin
                    if source.put_row[i] >= 0:
                        to[<size_t>source.put_row[i] * ENDS + j] = put[j] * source.lot_coin
        return 0

    cdef void _skewed(self, int underlying, const Spot* at, const ChainInput* source, double* to) noexcept:
        """Tilt and bend: the width w grows by the share t of itself, the value by the integral of F n(d1) over that."""
        cdef Shift* s = &self.shifted.shift[underlying]
        cdef double most = max(s.cap_base + s.cap_slope * at.short_root, 0.0)
        cdef double least = max(s.cap_base + s.cap_slope * at.long_root, 0.0)
        cdef double flat = least / max(
            s.width * at.long_root * (s.vol_base + s.vol_slope * at.long_root), s.least) / OUTWARD
        cdef double steep = most / max(
            s.width * at.short_root * (s.vol_base + s.vol_slope * at.short_root), s.least) * OUTWARD
        cdef double share[2][2]
        cdef double near = -at.up, far = -at.down        # ln(strike / forward)
        cdef double low, high, thin, thick, first, last, top, bottom, unit_low, unit_high
        cdef int shift
        share[0][0] = min(near * flat, least) if near >= 0.0 else max(near * steep, -most)
        share[0][1] = min(far * steep, most) if far >= 0.0 else max(far * flat, -least)
        low, high = share[0][0], share[0][1]
        share[1][0] = low if low > 0.0 else -high if high < 0.0 else 0.0
        share[1][1] = max(-low, high)
        unit_low = 1.0 if source.inverse else at.forward * (1.0 - at.basis)
        unit_high = 1.0 if source.inverse else at.forward * (1.0 + at.basis)
        for shift in range(2):
            # vols are multiples of a double near one
            low, high = share[shift][0] - 1e-12, share[shift][1] + 1e-12
            thin = max(min(at.narrow, at.narrow * (1.0 + low)), WIDTH_MIN)
            thick = max(at.wide, at.wide * (1.0 + high))
            last = at.up / (thin if at.up > 0.0 else thick) + 0.5 * thick
            first = at.down / (thick if at.down > 0.0 else thin) + 0.5 * thin
            top = 1.0 / ROOT_TWO_PI
            if first > 0.0 or last < 0.0:
                top = _density(min(fabs(first), fabs(last)))
            bottom = _density(max(fabs(first), fabs(last)))
            to[2 * shift] = at.wide * low * top * unit_high if low < 0.0 else at.narrow * low * bottom * unit_low
            to[2 * shift + 1] = at.wide * high * top * unit_high if high > 0.0 else (
                at.narrow * high * bottom * unit_low)

    cdef void _moved_forward(self, int underlying, const Spot* at, const ChainInput* source, double* call,
                             double* put) noexcept:
        """The forward alone moves from F to F (1 + m): linear options change by the integral of F N(d1) over ln F, a
        put's of -F N(-d1); coins by that of K/F N(d2), -K/F N(-d2), at an index that stays."""
        cdef Shift* s = &self.shifted.shift[underlying]
        cdef double z[4]
        cdef double vol[4]
        cdef double one[4]
        cdef double normal[4]
        cdef double out[6][4]
        cdef double* target[6]
        cdef double low, high, span, unit_low, unit_high, sign = -1.0 if source.inverse else 1.0, a, b
        cdef int shift, j
        for shift in range(2):
            span = k_log(s.spot[SHIFT_DOWN + shift])
            low = at.down + min(span, 0.0)
            high = at.up + max(span, 0.0)
            # d1, of inverse options d2, at its least and largest
            z[2 * shift] = low / (at.wide if low > 0.0 else at.narrow) + sign * 0.5 * (
                at.wide if source.inverse else at.narrow)
            z[2 * shift + 1] = high / (at.narrow if high > 0.0 else at.wide) + sign * 0.5 * (
                at.narrow if source.inverse else at.wide)
        for j in range(4):
            one[j] = 1.0
            vol[j] = 2.0 * min(fabs(z[j]), FAR)
        for j in range(6):
            target[j] = out[j]
        black76_arrays(4, one, one, vol, one, one, target, 6)
        for j in range(4):
            normal[j] = out[1][j] if z[j] > 0.0 else 1.0 - out[1][j]
        for shift in range(2):
            span = k_log(s.spot[SHIFT_DOWN + shift])
            if source.inverse:
                unit_low = k_exp(-(at.up + max(span, 0.0))) / OUTWARD
                unit_high = k_exp(-(at.down + min(span, 0.0))) * OUTWARD
            else:
                unit_low = at.forward * (1.0 - at.basis) * min(s.spot[SHIFT_DOWN + shift], 1.0)
                unit_high = at.forward * (1.0 + at.basis) * max(s.spot[SHIFT_DOWN + shift], 1.0)
            j = 2 * (SHIFT_DOWN + shift)
            a = unit_low * max(normal[2 * shift] - NORMAL_ERROR, 0.0) * fabs(span)
            b = unit_high * (normal[2 * shift + 1] + NORMAL_ERROR) * fabs(span)
            call[j], call[j + 1] = (a, b) if span > 0.0 else (-b, -a)
            a = unit_low * max(1.0 - normal[2 * shift + 1] - NORMAL_ERROR, 0.0) * fabs(span)
            b = unit_high * (1.0 - normal[2 * shift] + NORMAL_ERROR) * fabs(span)
            put[j], put[j + 1] = (-b, -a) if span > 0.0 else (a, b)

    cdef void rival_future(self, int underlying, uint32_t slot) noexcept:
        """The same of a dated future; perpetuals have no expiry whose forward could move alone."""
        cdef BandIndex index = self.index[underlying]
        cdef Shift* s = &self.shifted.shift[underlying]
        cdef Instrument* row = &self.instruments.at[slot]
        cdef double price = row.mark_price_e8 / 1e8, low, high, move, reach
        cdef double* to
        cdef int level, shift
        for level in range(BAND_LEVELS if self.rival[underlying] != NULL else 0):
            to = self.rival[underlying] + (<size_t>level * self.slots + slot) * ENDS
            memset(to, 0, ENDS * sizeof(double))
            if row.kind != KIND_FUTURE or not s.based:
                continue
            reach = index.basis_range(level)
            if row.inverse:
                low = index.tables[level].delta_low[slot]
                high = index.tables[level].delta_high[slot]
            else:
                low = row.lot_size * price / index.index * (1.0 - reach)
                high = row.lot_size * price / index.index * (1.0 + reach)
            for shift in range(SHIFT_DOWN, SHIFT_UP + 1):
                move = 1.0 - 1.0 / s.spot[shift] if row.inverse else s.spot[shift] - 1.0
                to[2 * shift] = move * (low if move > 0.0 else high)
                to[2 * shift + 1] = move * (high if move > 0.0 else low)

    # ------------------------------------------------------------------ an account's leg

    cdef double _most_rival(self, int level, int i, const BandLeg* leg, double* units) noexcept:
        """The largest loss of the scenarios beside the columns in a box of the level, coins at the index, and into
        `units` what rounding adds. Each expiry counts the way that is worse for its net."""
        cdef int u = self.leg_underlying[i], b, j, k
        cdef const double* ends = self.rival[u] + <size_t>level * ENDS * self.slots
        cdef const double* own
        cdef double low[MAX_EXPIRIES][4]
        cdef double high[MAX_EXPIRIES][4]
        cdef double gross[MAX_EXPIRIES]
        cdef double total[3]
        cdef double scale, lots
        memset(low, 0, sizeof(low))
        memset(high, 0, sizeof(high))
        memset(gross, 0, sizeof(gross))
        memset(total, 0, sizeof(total))
        units[0] = 0.0
        for j in range(leg.count):
            own = ends + <size_t>(leg.row[j] >> 1) * ENDS
            lots = leg.lots[j]
            b = leg.bucket[j]
            gross[b] += fabs(lots)
            for k in range(4):
                low[b][k] += lots * (own[2 * k] if lots > 0.0 else own[2 * k + 1])
                high[b][k] += lots * (own[2 * k + 1] if lots > 0.0 else own[2 * k])
        for b in range(self.rows.bucket_high[u]):
            scale = self.shifted.basis_scale_e9[u * MAX_EXPIRIES + b] / 1e9      # shrinks with time
            for k in range(2):
                total[k] += max(high[b][k], -low[b][k])
            total[2] += max(max(-low[b][SHIFT_DOWN], -low[b][SHIFT_UP]), 0.0) * scale
            units[0] += 3.0 * gross[b] * max(scale, 1.0) + 4.0
        return max(total[SHIFT_TILT], max(total[SHIFT_BEND], total[2])) * (1.0 + 1e-9)

    cdef double mark_least(self, int level, int i, int p) noexcept:
        """Value at the mark of a leg with its coins, at least, 1e-4 USD."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef double total = leg.coin_offset * (index.point(level, p) / index.point(level, 0))
        cdef int j
        for j in range(leg.count):
            total += leg.lots[j] * index.tables[level].mark[0 if leg.lots[j] > 0.0 else 1][p][leg.row[j] >> 1]
        return total

    cdef void _with_rivals(self, int level, int i, const BandLeg* leg, double ratio, double* least) noexcept:
        """Lower `least`, of a leg's columns at a ratio, to what its scenarios beside them leave."""
        cdef int u = self.leg_underlying[i], p
        cdef BandIndex index = self.index[u]
        cdef double charges, slack, taken, units, coins, share = ratio / self.outermost
        if self.rival[u] == NULL:
            return
        taken = index._charges(level, leg, &charges, &slack)
        coins = self._most_rival(level, i, leg, &units)
        slack += index.grid.factor * units * leg.unit_usd
        for p in range(3):
            least[p] = min(least[p], self.mark_least(level, i, p) - slack - share * (
                taken + index.grid.factor * coins * index.point(level, p) * 1e4))

    cdef int _without_soon(self, int i, BandLeg* to) except -1:
        """The leg without what expires within the horizon; returns how many positions that are."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef int u = self.leg_underlying[i], j, n = 0
        cdef void* grown
        if <uint32_t>leg.count > self.later_room:
            grown = realloc(self.later_row, 2 * leg.count * sizeof(int32_t))
            if grown == NULL:
                raise MemoryError()
            self.later_row = <int32_t*>grown
            grown = realloc(self.later_lots, 2 * leg.count * sizeof(double))
            if grown == NULL:
                raise MemoryError()
            self.later_lots = <double*>grown
            grown = realloc(self.later_bucket, 2 * leg.count * sizeof(uint16_t))
            if grown == NULL:
                raise MemoryError()
            self.later_bucket = <uint16_t*>grown
            self.later_room = 2 * leg.count
        to[0] = leg[0]
        to.row = self.later_row
        to.lots = self.later_lots
        to.bucket = self.later_bucket
        for j in range(leg.count):
            if self._soon(u, leg.bucket[j]):
                continue
            to.row[n] = leg.row[j]
            to.lots[n] = leg.lots[j]
            to.bucket[n] = leg.bucket[j]
            n += 1
        to.count = n
        return leg.count - n

    cdef void _later_least(self, int level, int i, const BandLeg* later, double* least) noexcept:
        """BandIndex.leg_bounds() of the second requirement: columns and charges of what expires later, the equity of
        all. What is worth coins moves with the coin, as cash does."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef int u = self.leg_underlying[i], j, p, way
        cdef BandIndex index = self.index[u]
        cdef const double* factor = index.grid.coin_factor[leg.numeraire]
        cdef double v[BAND_COLUMNS]
        cdef double coins[2]
        cdef double dollars, coin, slack, more, unused, value
        cdef double taken = index._charges(level, later, &unused, &slack)
        index._charges(level, leg, &unused, &more)       # rounding of all of it
        for p in range(3):
            rows_sum(v, index.tables[level].rows[leg.numeraire][p], later.row, later.lots, later.count,
                     index.grid.scenario_count)
            coin = leg.coin_offset * (index.point(level, p) / index.point(level, 0))
            dollars = coins[0] = coins[1] = 0.0
            for j in range(leg.count):
                if not self._soon(u, leg.bucket[j]):
                    continue
                for way in range(2):
                    value = leg.lots[j] * index.tables[level].mark[way if leg.lots[j] > 0.0 else 1 - way][p][
                        leg.row[j] >> 1]
                    if self.currency_underlying[self.instruments.at[leg.row[j] >> 1].currency] == u:
                        coins[way] += value
                    elif way == 0:
                        dollars += value
            least[p] = INFINITY
            for j in range(index.grid.scenario_count):
                value = v[j] + index.grid.dampener[j] + coin * factor[j]
                value += coins[0 if factor[j] >= 0.0 else 1] * factor[j]
                least[p] = min(least[p], value)
            least[p] += dollars - taken - slack - more

    cdef void _beside_later(self, int level, int i, BandLeg* later, double* least) noexcept:
        """At least what the second requirement leaves of a leg's excess over the outermost ratio times it, all charges
        taken off."""
        cdef BandLeg whole = self.leg[i]
        cdef int p
        self._later_least(level, i, later, least)
        self._with_rivals(level, i, later, self.outermost, least)
        self.leg[i] = later[0]
        for p in range(3):
            least[p] -= self.outermost * self.most_charges(level, i)
        self.leg[i] = whole

    cdef int leg_least(self, int level, int i, double* least) except -1:
        """At least what a leg adds to its account's excess over the outermost ratio times its requirement, at the three
        points; charges beside the grid left out."""
        cdef int u = self.leg_underlying[i], p
        cdef BandIndex index = self.index[u]
        cdef BandLeg later
        cdef double beside[3]
        if self.spanned[u]:
            self.span_least(level, i, self.outermost, least)
            return 0
        index.leg_bounds(level, &self.leg[i], least)
        self._with_rivals(level, i, &self.leg[i], self.outermost, least)
        if self.soon_mask[u] == 0 or self._without_soon(i, &later) == 0:
            return 0
        self._beside_later(level, i, &later, beside)
        for p in range(3):
            least[p] = min(least[p], beside[p] + self.outermost * self.most_charges(level, i))
        return 0

    cdef int charged_warned(self, int level, double next_, double last, double* above, double* below) except -1:
        """BandIndex.warned_bounds() with charges and what stands beside the columns; more is asked for there, so the
        bounds from above are those of the columns."""
        cdef int u = self.leg_underlying[0], p
        cdef BandIndex index = self.index[u]
        cdef BandLeg later
        cdef double beside[3]
        cdef double cash = self.requirement[0].cash, share = next_ / self.outermost
        if self.spanned[u]:
            self.span_warned(level, next_, last, above, below)
        else:
            index.warned_bounds(level, &self.leg[0], cash, self.outermost, next_, last, above, below)
        if self.rival[u] != NULL:
            for p in range(3):
                above[p] -= cash
            self._with_rivals(level, 0, &self.leg[0], next_, above)
            for p in range(3):
                above[p] += cash
        for p in range(3):
            above[p] -= next_ * self.most_charges(level, 0)
        if self.spanned[u] or self.soon_mask[u] == 0 or self._without_soon(0, &later) == 0:
            return 0
        self._beside_later(level, 0, &later, beside)
        for p in range(3):
            above[p] = min(above[p], cash + share * beside[p] + (1.0 - share) * self.mark_least(level, 0, p))
        return 0


cdef double _density(double x) noexcept:
    return k_exp(-0.5 * x * x) / ROOT_TWO_PI if x < FAR else 0.0
