"""Bounds for safe bands of portfolio accounts with haircuts on collateral or surcharges on debts.

A currency's equity E counts as h(E) = min(keep E, debt E), which is a E - g y(E): a line of one of the slopes, less
what is beyond its kink, y(x) = max(-x, 0) on a line of what is kept and max(x, 0) on one of a debt, g the other slope's
distance. The line is margined as if there were no haircut; y is taken at its largest. Proof: docs/margin.md, "Safe
bands".
"""

from libc.math cimport fabs
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from exchange.market.instrument cimport KIND_OPTION, Instrument
from exchange.risk.span_bands cimport SpanLeg
from margin_ext.kernels cimport rows_sum
from margin_ext.safe_bands cimport BAND_COLUMNS, BandIndex, BandLeg

cdef double ROUNDINGS = 8.0      # units a currency: of its equity, and of each haircut value


cdef class HaircutTerms(RivalTerms):
    """Terms of haircuts beside those of the grids."""

    def __dealloc__(self):
        free(self.part_row)
        free(self.part_lots)

    cdef int _gather_part(self, int i, int currency, int turned) noexcept:
        """Rows and lots of a leg in a currency, with 1 those of the other bound; returns how many."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef int j, n = 0
        for j in range(leg.count):
            if self.instruments.at[leg.row[j] >> 1].currency == currency:
                self.part_row[n] = leg.row[j] ^ turned
                self.part_lots[n] = leg.lots[j]
                n += 1
        return n

    cdef int _parts(self, int level) noexcept:
        """What every leg has in every currency at the mark, and from it the lines that haircuts are measured from."""
        cdef const BandLeg* leg
        cdef CurrencyPart* part
        cdef Instrument* row
        cdef BandIndex index
        cdef double value, low, high, poor, middle
        cdef int c, i, j, p, way
        for i in range(self.leg_count):
            leg = &self.leg[i]
            index = self.index[self.leg_underlying[i]]
            memset(self.part[i], 0, sizeof(self.part[i]))
            for c in range(self.currencies):
                part = &self.part[i][c]
                part.coin = self.leg_coin[i][c]
                part.any = part.coin != 0.0
                for p in range(3):
                    part.held[0][p] = part.held[1][p] = part.coin * index.point(level, p)
            for j in range(leg.count):
                row = &self.instruments.at[leg.row[j] >> 1]
                part = &self.part[i][row.currency]
                part.any = True
                for way in range(2):
                    for p in range(3):
                        value = leg.lots[j] * index.tables[level].mark[way if leg.lots[j] > 0.0 else 1 - way][p][
                            leg.row[j] >> 1]
                        if row.kind == KIND_OPTION and self.spanned[row.underlying]:
                            part.option[way][p] += value
                        else:
                            part.held[way][p] += value
                            if self._soon(self.leg_underlying[i], leg.bucket[j]):
                                part.soon[way][p] += value
        for c in range(self.currencies):
            self.lowest[c] = self.bare[c] = self.cash[0][c]
            self.highest[c] = self.cash[0][c] + ROUNDINGS
            middle = self.cash[0][c]
            for i in range(self.leg_count):
                part = &self.part[i][c]
                low = poor = high = 0.0
                for p in range(3):
                    value = part.held[0][p] + part.option[0][p]
                    low = value if p == 0 else min(low, value)
                    value = part.held[0][p] + min(part.option[0][p], 0.0)
                    poor = value if p == 0 else min(poor, value)
                    value = part.held[1][p] + part.option[1][p]
                    high = value if p == 0 else max(high, value)
                middle += part.held[0][0] + part.option[0][0]
                self.lowest[c] += low
                self.bare[c] += poor
                self.highest[c] += high
            self.slope[c] = self.keep[c] if middle >= 0.0 else self.debt[c]
            self.gap[c] = self.debt[c] - self.keep[c]
        return 0

    cdef double bent_least(self, int level, double* least) except? -1.0:
        """What no mark moves in the haircut equity, less what its kinks take off, at least, and into `least` (three a
        leg) what each leg adds to the excess over the outermost ratio times the requirement, charges beside the columns
        left out."""
        cdef double total = 0.0
        cdef uint32_t most = 0
        cdef int c, i
        cdef void* grown
        for i in range(self.leg_count):
            most = max(most, <uint32_t>self.leg[i].count)
        if most > self.part_room:
            grown = realloc(self.part_row, 2 * most * sizeof(int32_t))
            if grown == NULL:
                raise MemoryError()
            self.part_row = <int32_t*>grown
            grown = realloc(self.part_lots, 2 * most * sizeof(double))
            if grown == NULL:
                raise MemoryError()
            self.part_lots = <double*>grown
            self.part_room = 2 * most
        self._parts(level)
        for c in range(self.currencies):
            total += self.slope[c] * self.cash[0][c]
            # the line of what is kept is left below zero, that of a debt above
            total -= self.gap[c] * max(-self.lowest[c] if self.slope[c] == self.keep[c] else self.highest[c], 0.0)
        for i in range(self.leg_count):
            self._bent_leg(level, i, least + 3 * i)
            if self.soon_mask[self.leg_underlying[i]]:
                self._bent_later(level, i, least + 3 * i)
        return total

    cdef double _soon_value(self, int i, int currency, int column, int p, int way) noexcept:
        """What a second requirement leaves out of its columns and not out of the equity, at least (0) or at most: coins
        move with the coin."""
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef double factor = 1.0
        if not self.later:
            return 0.0
        if self.currency_underlying[currency] == self.leg_underlying[i]:
            factor = index.grid.coin_factor[1][column]
        return self.part[i][currency].soon[way if factor >= 0.0 else 1 - way][p] * factor

    cdef void _bent_columns(self, int level, int i, int p, double* total) noexcept:
        """Add to every column what a leg's currencies have in it at a point, at least: lines, less kinks.

        With r the outermost ratio times the factor a column holds E + r (N - E), N what the currency has left in it, so
        N is known from the column and E. Where nothing is lost N is E, whose kink stands with the equity."""
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef CurrencyPart* part
        cdef double v[BAND_COLUMNS]
        cdef double w[BAND_COLUMNS]
        cdef double r = index.grid.factor, coin, others, own, left, worst, value
        cdef int S = index.grid.scenario_count, base = index.grid.base_column, c, j, q, way
        for c in range(self.currencies):
            part = &self.part[i][c]
            if not part.any:
                continue
            coin = part.coin * index.point(level, p)
            rows_sum(v, index.tables[level].rows[1][p], self.part_row, self.part_lots, self._gather_part(i, c, 0), S)
            for j in range(S):
                v[j] += coin * index.grid.coin_factor[1][j] + self._soon_value(i, c, j, p, 0)
                total[j] += self.slope[c] * v[j]
            if self.gap[c] <= 0.0:
                continue
            way = self.slope[c] != self.keep[c]
            if way:
                rows_sum(w, index.tables[level].rows[1][p], self.part_row, self.part_lots,
                         self._gather_part(i, c, 1), S)
                for j in range(S):
                    w[j] += coin * index.grid.coin_factor[1][j] + self._soon_value(i, c, j, p, 1)
            # the other legs at their worst, this one where it is
            worst = 0.0
            for q in range(3):
                value = part.held[way][q] + part.option[way][q]
                worst = value if q == 0 else max(worst, value) if way else min(worst, value)
            others = (self.highest[c] if way else self.lowest[c]) - worst
            q = way if r >= 1.0 else 1 - way
            own = (r - 1.0) * (part.held[q][p] + part.option[q][p])
            for j in range(S):
                left = others + ((w[j] if way else v[j]) + own) / r
                if j != base:
                    total[j] -= self.gap[c] * r * max(left if way else -left, 0.0)

    cdef double _bent_options(self, int i, int p, double* value) noexcept:
        """What a leg under `span16` has without its options at a point, at least, where they are worth something, and
        into `value` what they count as, at least.

        Options of value V add between keep V and debt V to haircut value, keep V where the currency has no debt without
        them; owed ones take off keep |V|."""
        cdef CurrencyPart* part
        cdef double total = 0.0
        cdef int c
        value[0] = 0.0
        for c in range(self.currencies):
            part = &self.part[i][c]
            value[0] += self.keep[c] * part.option[0][p]
            total += self.slope[c] * part.held[0][p]
            if self.slope[c] != self.keep[c]:
                total -= self.gap[c] * max(-part.option[0][p], 0.0)
            elif self.bare[c] < 0.0:
                total -= self.gap[c] * max(part.option[1][p], 0.0)
        return total

    cdef double _bent_rival(self, int level, int i, int p) noexcept:
        """What the scenarios beside a leg's columns take from haircut value at most, borne by whichever currency."""
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef double steepest = 0.0, units, loss
        cdef int c
        loss = self._most_rival(level, i, &self.leg[i], &units) * index.point(level, p) * 1e4 + units
        for c in range(self.currencies):
            if self.part[i][c].any:
                steepest = max(steepest, self.debt[c] if self.lowest[c] < loss + units else self.keep[c])
        return steepest * loss + units

    cdef void _bent_leg(self, int level, int i, double* least) noexcept:
        cdef const BandLeg* leg = &self.leg[i]
        cdef int u = self.leg_underlying[i], c, j, p
        cdef BandIndex index = self.index[u]
        cdef SpanLeg span
        cdef double total[BAND_COLUMNS]
        cdef double taken = 0.0, slack, charges, steepest = 1.0, k = self.outermost, factor, equity, risk, held
        cdef double value = 0.0, begin = 0.0
        factor = index.grid.factor
        if self.spanned[u]:
            self._span_leg(level, i, &span)
            slack = span.slack
        else:
            taken = index._charges(level, leg, &charges, &slack)
        for c in range(self.currencies):
            steepest = max(steepest, self.debt[c] + fabs(self.gap[c]))
        slack = slack * (1.0 + steepest) + ROUNDINGS * self.currencies * (1.0 + k + factor)
        for p in range(3):
            for j in range(index.grid.scenario_count):
                total[j] = index.grid.dampener[j]
            self._bent_columns(level, i, p, total)
            equity = total[index.grid.base_column]
            risk = equity
            for j in range(index.grid.scenario_count):
                risk = min(risk, total[j])
            if self.spanned[u]:
                # as in span_least, the ratio the outermost
                risk = min(risk - factor * span.charge[p], equity - factor * span.minimum[p])
                held = self._bent_options(i, p, &value)
                if p == 0:
                    begin = value
                if begin > 0.0:
                    risk += (k - 1.0) * value
                risk = min(risk, min(held, equity))
            elif self.rival[u] != NULL:
                risk = min(risk, equity - factor * self._bent_rival(level, i, p))
            least[p] = risk - taken - slack

    cdef int _bent_later(self, int level, int i, double* least) except -1:
        """Lower `least` to what the second requirement of a set with a horizon leaves; see RivalTerms.leg_least."""
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef BandLeg whole = self.leg[i]
        cdef BandLeg later
        cdef double beside[3]
        cdef double charges = self.most_charges(level, i), unused, slack, steepest = 1.0
        cdef int c, p
        if self._without_soon(i, &later) == 0:
            return 0
        index._charges(level, &self.leg[i], &unused, &slack)
        for c in range(self.currencies):
            steepest = max(steepest, self.debt[c] + fabs(self.gap[c]))
        self.leg[i] = later
        self.later = True
        self._bent_leg(level, i, beside)
        charges -= self.most_charges(level, i)
        self.later = False
        self.leg[i] = whole
        for p in range(3):
            least[p] = min(least[p], beside[p] - slack * (1.0 + steepest) + self.outermost * charges)
        return 0

    cdef int bent_warned(self, int level, double next_, double last, double* above, double* below) except -1:
        """charged_warned() of an account with haircuts, whose only leg the first is, under no `span16`.

        With x = t / k the excess at a ratio t is x times that at the outermost, k, and 1 - x times the haircut value.
        From above h(E) is no more than either line, and where it is taken off it is the line less its kink."""
        cdef BandIndex index = self.index[self.leg_underlying[0]]
        cdef CurrencyPart* part
        cdef double total[BAND_COLUMNS]
        cdef double v[BAND_COLUMNS]
        cdef double share = next_ / self.outermost, r, value, coin, charges, slack, steepest = 1.0, kinks, lines, equity
        cdef int S = index.grid.scenario_count, c, j, p, best = 0
        value = self.bent_least(level, above)
        for p in range(3):
            equity = 0.0
            for c in range(self.currencies):
                part = &self.part[0][c]
                coin = self.cash[0][c] + part.held[0][p]
                equity += coin * (self.keep[c] if coin >= 0.0 else self.debt[c])
            above[p] = share * (above[p] + value) + (1.0 - share) * (equity - ROUNDINGS * self.currencies)
            above[p] -= next_ * self.most_charges(level, 0)
        share = last / self.outermost
        r = share * index.grid.factor
        index._charges(level, &self.leg[0], &charges, &slack)
        for p in range(3):
            lines = kinks = 0.0
            for j in range(S):
                total[j] = share * index.grid.dampener[j]
            for c in range(self.currencies):
                part = &self.part[0][c]
                steepest = max(steepest, self.debt[c] + fabs(self.gap[c]))
                lines += self.slope[c] * (self.cash[0][c] + (1.0 - share) * part.held[1][p] + ROUNDINGS)
                value = self.cash[0][c] + part.held[0][p]
                if self.slope[c] != self.keep[c]:
                    value = -(self.cash[0][c] + part.held[1][p] + ROUNDINGS)
                kinks += self.gap[c] * max(-value, 0.0)
                if not part.any:
                    continue
                coin = part.coin * index.point(level, p)
                rows_sum(v, index.tables[level].rows[1][p], self.part_row, self.part_lots,
                         self._gather_part(0, c, 1), S)
                for j in range(S):
                    total[j] += share * self.slope[c] * (v[j] + coin * index.grid.coin_factor[1][j])
            for j in range(S if p == 0 else 0):
                if total[j] < total[best]:
                    best = j
            below[p] = (total[best] + lines + max(r - 1.0, 0.0) * kinks - share * charges + slack * (1.0 + steepest)
                        + ROUNDINGS * self.currencies * (1.0 + r))
        return 0
