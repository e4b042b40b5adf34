"""What stands beside the columns in the proof of safe bands: charges of portfolio sets, and requirements by formula.

Everything is bounded over a box of market states from the tables of the newest anchor (margin_ext/safe_bands.pyx), at
three points of the index between which the bounds are linear. Proof: docs/margin.md, "Safe bands".
"""

from libc.math cimport fabs
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from exchange.market.instrument cimport KIND_OPTION, OPTION_CALL, Instrument
from exchange.risk.charges cimport Parts
from exchange.risk.formulas cimport Standard
from exchange.risk.scenario_books cimport NO_ORDERS
from margin_ext.safe_bands cimport BandIndex

cdef double RELATIVE_SLACK = 4e-9        # of gross size, as the columns' bounds have it
cdef double UNIT_SLACK = 64.0            # units per requirement: conversions and ceilings
cdef double CHARGE_UNITS = 16.0          # units of rounding in the charges of a requirement
cdef double CASH_UNITS = 4.0             # and in what a currency is worth in USD


cdef class BandTerms:
    """The account that is being certified, and bounds on the parts of its requirements that are no columns."""

    def __cinit__(self, Charges charges, config, *others):
        cdef int c
        self.charges = charges
        self.accounts = charges.accounts
        self.ledger = charges.ledger
        self.instruments = charges.instruments
        self.positions = charges.positions
        self.rows = charges.rows
        self.formulas = charges.formulas
        self.thresholds = [ratio / 1e6 for ratio in config.liquidation.warning_ppm] + [1.0]
        self.outermost = self.thresholds[0]
        self.currencies = len(config.currencies)
        self.underlyings = self.rows.underlying_count
        self.index = [None] * self.rows.underlying_count
        self.currency_underlying = <int*>calloc(self.currencies, sizeof(int))
        self.coin_scale = <double*>calloc(self.currencies, sizeof(double))
        self.minor_per_unit = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.plain = <bint*>calloc(self.currencies, sizeof(bint))
        self.keep = <double*>calloc(self.currencies, sizeof(double))
        self.debt = <double*>calloc(self.currencies, sizeof(double))
        if (self.currency_underlying == NULL or self.coin_scale == NULL or self.minor_per_unit == NULL
                or self.plain == NULL or self.keep == NULL or self.debt == NULL):
            raise MemoryError()
        names = [underlying.name for underlying in config.underlyings]
        for c, currency in enumerate(config.currencies):
            self.currency_underlying[c] = names.index(currency.underlying) if currency.underlying in names else -1
            self.coin_scale[c] = float(10 ** currency.exponent)
            self.minor_per_unit[c] = 10 ** max(0, currency.exponent - 4)
            self.plain[c] = currency.haircut_ppm == 0 and currency.debt_ppm == 1_000_000
            self.keep[c] = 1.0 - currency.haircut_ppm / 1e6
            self.debt[c] = currency.debt_ppm / 1e6

    def __dealloc__(self):
        free(self.currency_underlying)
        free(self.coin_scale)
        free(self.minor_per_unit)
        free(self.plain)
        free(self.keep)
        free(self.debt)
        free(self.row)
        free(self.lots)
        free(self.bucket)

    # ------------------------------------------------------------------ charges of portfolio sets

    cdef int short_coins(self, uint32_t account_id, int i) except -1:
        """Note what a leg's charge on short options is on: no mark moves it."""
        cdef int u = self.leg_underlying[i]
        self.leg_short_coins[i] = 0.0
        if self.charges.parts[u].short_ppm[1]:
            self.leg_short_coins[i] = <double>self.charges._net_shorts(
                <uint32_t>self.charges._examine(account_id, u, self.leg_currency[i], NO_ORDERS)) / 1e10
        return 0

    cdef double most_charges(self, int level, int i) noexcept:
        """The charges of a leg's set on its positions, at most in a box of the level, 1e-4 USD.

        Deltas are at their largest in the box, sizes at its highest index. Concentration is at the rate that no size
        of owner or market passes, on the leg's own delta."""
        cdef const Parts* p = &self.charges.parts[self.leg_underlying[i]]
        cdef const BandLeg* leg = &self.leg[i]
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef double low[MAX_BAND_CURRENCIES]
        cdef double high[MAX_BAND_CURRENCIES]
        cdef double top = index.anchor[index.newest].index * (1.0 + index.price_range(level)) * 1e4
        cdef double futures = 0.0, longs = 0.0, shorts = 0.0, net_low = 0.0, net_high = 0.0, charge, above, size, rate
        cdef Instrument* row
        cdef int j, c
        if not p.any and not p.concentrated:
            return 0.0
        memset(low, 0, sizeof(low))
        memset(high, 0, sizeof(high))
        for j in range(leg.count):
            row = &self.instruments.at[leg.row[j] >> 1]
            if row.kind != KIND_OPTION:
                # coins of inverse futures are their size over the mark
                futures += fabs(leg.lots[j]) * (
                    index.tables[level].gross[leg.row[j] >> 1] / (1.0 - index.basis_range(level)) if row.inverse
                    else row.lot_size * top)
            low[row.currency] += index.delta_sides(level, leg.row[j], leg.lots[j], &above)
            high[row.currency] += above
        for c in range(self.currencies):
            longs += max(high[c], 0.0)
            shorts += max(-low[c], 0.0)
            net_low += low[c]
            net_high += high[c]
        charge = (futures * p.future_ppm[1] + self.leg_short_coins[i] * top * p.short_ppm[1]) / 1e6
        if self.leg_currency[i] < 0:
            size = min(longs, shorts) * top
            charge += size * p.basis_ppm / 1e6
            for j in range(p.tiers):
                above = size if j + 1 == p.tiers else min(size, <double>p.tier_from[j + 1])
                charge += max(above - p.tier_from[j], 0.0) * p.tier_ppm[j] / 1e6
        if p.concentrated:
            rate = p.share_rate_e12 + (p.depth_cap_e12 if p.depth_move_e12 else 0)
            charge += max(net_high, -net_low) * top * (rate + 4.0) / 1e12
        return charge * (1.0 + RELATIVE_SLACK) + (CHARGE_UNITS + p.tiers) * leg.unit_usd

    # ------------------------------------------------------------------ requirements by formula

    cdef void _formula_option(self, int level, int i, int32_t slot, double lots) noexcept:
        """A short option costs a share of its coins, of puts no less than one of its mark, and its mark. Options of a
        linear expiry may share a cap: at least they cost nothing."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef const Standard* s = &self.formulas.standard[row.underlying]
        cdef BandIndex index = self.index[row.underlying]
        cdef FormulaLeg* to = &self.bound[i]
        cdef double size = -lots, coins, share, mark
        cdef int p
        for p in range(3):
            coins = row.lot_size * index.point(level, p) * 1e4 * (s.short_maintenance_e9 / 1e9)
            mark = max(index.tables[level].mark[1][p][slot], 0.0)
            share = coins
            if row.option_type != OPTION_CALL:
                share = max(coins, mark * (s.put_mark_ppm / 1e6))
            to.need_most[p] += size * (share + mark)
            if row.inverse:
                to.need_least[p] += size * (coins + index.tables[level].mark[0][p][slot])

    cdef void _formula_future(self, int level, int i, int32_t slot, double lots) noexcept:
        """A future adds its value to the balance and costs a share of it that grows with its coins."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef const Standard* s = &self.formulas.standard[row.underlying]
        cdef BandIndex index = self.index[row.underlying]
        cdef FormulaLeg* to = &self.bound[i]
        cdef double size = fabs(lots), coins = size * row.lot_size, fewest = coins, low, high, most, least
        cdef int p, c = row.currency
        if row.inverse:
            fewest = coins / index.point(level, 1)
            coins /= index.point(level, 2)
        most = min((s.future_maintenance_ppm + (coins + 2e-8) * s.per_coin_ppm) / 1e6 + 2e-12, 1.0)
        least = min((s.future_maintenance_ppm + fewest * s.per_coin_ppm) / 1e6, 1.0) - 2e-12
        for p in range(3):
            low = index.tables[level].mark[0][p][slot]
            high = index.tables[level].mark[1][p][slot]
            to.least[c][p] += lots * (low if lots > 0.0 else high)
            to.most[c][p] += lots * (high if lots > 0.0 else low)
            to.need_most[p] += size * max(fabs(low), fabs(high)) * most
            to.need_least[p] += size * (-high if row.inverse else low) * least

    cdef void _formula_leg(self, int level, int i) noexcept:
        """Bounds of a leg over a box of the level."""
        cdef const BandLeg* leg = &self.leg[i]
        cdef FormulaLeg* to = &self.bound[i]
        cdef BandIndex index = self.index[self.leg_underlying[i]]
        cdef double worth, gross = 0.0
        cdef int j, c, p
        memset(to, 0, sizeof(FormulaLeg))
        for j in range(leg.count):
            gross += fabs(leg.lots[j]) * index.tables[level].gross[leg.row[j] >> 1]
            if self.instruments.at[leg.row[j] >> 1].kind == KIND_OPTION:
                self._formula_option(level, i, leg.row[j] >> 1, leg.lots[j])
            else:
                self._formula_future(level, i, leg.row[j] >> 1, leg.lots[j])
        for c in range(self.currencies):
            if self.leg_coin[i][c] == 0.0:
                continue
            gross += fabs(self.leg_coin[i][c]) * index.point(level, 0)
            for p in range(3):
                worth = self.leg_coin[i][c] * index.point(level, p)
                to.least[c][p] += worth
                to.most[c][p] += worth
        # per lot: the mark in the balance, and per unit of the ratio a mark and two ceilings in the requirement
        to.slack = ((leg.gross_lots * (2.0 + 4.0 * self.outermost) + UNIT_SLACK * (1.0 + self.outermost))
                    * leg.unit_usd + gross * (1.0 + self.outermost) * (RELATIVE_SLACK + leg.relative_error))

    cdef double formula_least(self, int level, int r, double* least) noexcept:
        """How far a requirement's balance is above the outermost ratio times it at the anchors, at least (1e-4 USD),
        and into `least` (three a leg) what it changes in that up to its box's ends.

        A haircut's value is concave, with slopes between what is kept of a positive value and what a debt weighs: gains
        count with the first, losses with the second unless the balance stays positive whatever is lost."""
        cdef const Requirement* need = &self.requirement[r]
        cdef double base[MAX_BAND_CURRENCIES]
        cdef double steep[MAX_BAND_CURRENCIES]
        cdef double gentle[MAX_BAND_CURRENCIES]
        cdef double slack = 0.0, lost, change
        cdef FormulaLeg* leg
        cdef int c, i, p
        for i in range(need.first, need.last):
            self._formula_leg(level, i)
        for c in range(self.currencies):
            base[c] = self.cash[r][c]
            lost = 0.0
            for i in range(need.first, need.last):
                leg = &self.bound[i]
                base[c] += leg.least[c][0]
                lost += min(0.0, min(leg.least[c][1], leg.least[c][2]) - leg.least[c][0])
            gentle[c] = self.keep[c] if need.cross else 1.0
            steep[c] = self.debt[c] if need.cross and base[c] + lost < 0.0 else gentle[c]
            slack += base[c] * (self.debt[c] if need.cross and base[c] < 0.0 else gentle[c])
        for i in range(need.first, need.last):
            leg = &self.bound[i]
            slack -= leg.slack + self.outermost * leg.need_most[0]
            for p in range(3):
                least[3 * i + p] = self.outermost * (leg.need_most[0] - leg.need_most[p])
                for c in range(self.currencies):
                    change = leg.least[c][p] - leg.least[c][0]
                    least[3 * i + p] += change * (gentle[c] if change > 0.0 else steep[c])
        return slack

    cdef void formula_warned(self, int level, double next_, double last, double* above, double* below) noexcept:
        """As BandIndex.warned_bounds(), of an account whose only requirement is the first leg. A haircut's value is
        concave: from below that of the least balance, from above no more than either of its lines."""
        cdef FormulaLeg* leg = &self.bound[0]
        cdef double keep, debt, low, slope
        cdef int c, p
        self._formula_leg(level, 0)
        for p in range(3):
            above[p] = -leg.slack - next_ * leg.need_most[p]
            below[p] = leg.slack + CASH_UNITS * self.currencies - last * leg.need_least[p]
        for c in range(self.currencies):
            keep = self.keep[c] if self.requirement[0].cross else 1.0
            debt = self.debt[c] if self.requirement[0].cross else 1.0
            slope = keep if self.cash[0][c] + leg.least[c][0] >= 0.0 else debt
            for p in range(3):
                low = self.cash[0][c] + leg.least[c][p]
                above[p] += low * (keep if low >= 0.0 else debt)
                below[p] += slope * (self.cash[0][c] + leg.most[c][p] + CASH_UNITS)
