"""Safe bands of accounts: which accounts a mark can have moved across a margin level.

Each account carries, per underlying, a box of market states around an anchor in which its level provably stays
what it is. After a mark only the accounts whose box was left, or whose cash or positions changed, are looked
at. Bands are not state: they emit nothing, are not exported, and decide only who is looked at. Proof: docs/margin.md.

Certified are accounts of every model. Always looked at are: accounts at WARNING or BREACHED that hold more than one
underlying and settlement, or something under `span16` with a haircut or surcharge; accounts with a coin chain of
another coin's underlying; holders of what is in the half hour of a settlement average; those whose excess is within the
bounds' error; and what is not priced.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint16_t
from libc.stdlib cimport calloc, free, realloc

from exchange.clearing.account cimport MODEL_ISOLATED, by_formula, is_cross
from exchange.clearing.position cimport Position, PositionList
from exchange.market.instrument cimport KIND_OPTION, KIND_PERPETUAL, STATE_FREE, Instrument
from exchange.risk.band_terms cimport MAX_BAND_CURRENCIES, MAX_BAND_UNDERLYINGS, MAX_LEGS, Requirement
from exchange.risk.charges cimport Charges
from exchange.risk.formulas cimport MAX_TIERS
from exchange.risk.risk_rows cimport MAX_EXPIRIES, Grid
from exchange.risk.rounding cimport lot_units
from exchange.risk.span_bands cimport SPAN_BAND_COLUMNS
from margin_ext.kernels cimport ChainInput
from margin_ext.safe_bands cimport (
    BAND_BUCKETS, BAND_CHAINS, BAND_CLASSES, BAND_GROUPS, BAND_LEVELS, BAND_REFERENCES, BAND_UNKNOWN, BandGrid,
    BandIndex, BandLeg,
)

LEAST_ACCOUNTS = 2_000           # below, looking at everybody costs less than the tables
cdef int64_t REFRESH_BUDGET = 4_096      # accounts certified anew after one mark
cdef double MOVE_OF_ANCHOR = 0.004       # a new anchor where the index is further than this from the newest
cdef double[BAND_GROUPS] CHANGE_OF_ANCHOR = [0.004, 0.004, 0.012]
cdef double ENOUGH = 0.5                 # of a level's price range: no narrower level is tried
cdef double SMALLEST = 1e-5              # bands narrower than this share of the price are not worth having
cdef double BUCKET_REACH = 8.0           # a bucket's band reaches that many times the mark, and a part as low
cdef double TWO_64 = 18446744073709551616.0


cdef class Bands:
    """Bands over all underlyings. `least_accounts` 0 uses them always; a huge number never."""

    def __cinit__(self, Charges charges, config, least_accounts):
        cdef int u
        self.least_accounts = least_accounts
        self.perpetuals = [[] for _ in range(self.rows.underlying_count)]
        self.chains = [[] for _ in range(self.rows.underlying_count)]
        self.tier = <double*>calloc(self.rows.underlying_count * MAX_TIERS * 3, sizeof(double))
        self.tier_count = <int*>calloc(self.rows.underlying_count, sizeof(int))
        self.shape = <uint64_t*>calloc(self.rows.underlying_count, sizeof(uint64_t))
        if self.shape == NULL or self.tier == NULL or self.tier_count == NULL:
            raise MemoryError()
        for u, underlying in enumerate(config.underlyings):
            self._take_tiers(u, underlying.isolated.tiers)
        self.fits = [self.spanned[u] or _base_column(&self.rows.grid[u], self.rows.scenario_count) >= 0
                     for u in range(self.rows.underlying_count)]

    def _take_tiers(self, int underlying, given):
        cdef double* tier = &self.tier[underlying * MAX_TIERS * 3]
        deduction, before = 0, given[0].maintenance_ppm
        self.tier_count[underlying] = len(given)
        for one in given:
            deduction += one.above_usd * (one.maintenance_ppm - before)
            before = one.maintenance_ppm
            tier[0] = one.above_usd
            tier[1] = one.maintenance_ppm / 1e6
            tier[2] = deduction / 1e6
            tier += 3

    def __dealloc__(self):
        free(self.tier)
        free(self.tier_count)
        free(self.shape)
        free(self.found)

    def forget(self, int underlying, tiers):
        """The underlying's margin factors have changed, isolated `tiers` too: everybody is looked at with the next
        marks."""
        self._take_tiers(underlying, tiers)
        self.index[underlying] = None
        self.shape[underlying] = 0

    cdef bint active(self, int underlying) except -1:
        """Whether the population is large enough, and the underlying margined by a grid that bands are made for."""
        return (self.fits[underlying] and self.accounts.high > self.least_accounts
                and self.rows.underlying_count <= MAX_BAND_UNDERLYINGS
                and self.currencies <= MAX_BAND_CURRENCIES)

    # ------------------------------------------------------------------ the market

    cdef BandIndex _new_index(self, int underlying):
        cdef BandIndex index
        cdef Grid padded
        if not self.spanned[underlying]:
            index = BandIndex(self.instruments.capacity, self.rows.scenario_count)
            _fill_grid(&index.grid, &self.rows.grid[underlying], self.rows.scenario_count, self.thresholds[0])
            return index
        index = BandIndex(self.instruments.capacity, SPAN_BAND_COLUMNS)
        self.span_grid(underlying, &padded)
        _fill_grid(&index.grid, &padded, SPAN_BAND_COLUMNS, self.thresholds[0])
        if padded.vol_points:        # every shocked width is measured by itself
            index.grid.class_count = 0
        return index

    cdef int _take_shape(self, int underlying) except -1:
        """The underlying's perpetuals and chains; every band on an older listing is void."""
        cdef BandIndex index = self.index[underlying]
        cdef uint32_t slot
        cdef int k
        cdef bint moved = self.charges_moved(underlying)
        if index is None:
            index = self._new_index(underlying)
            self.index[underlying] = index
        elif self.shape[underlying] == self.rows.shape[underlying] and not moved:
            return 0
        self.shape[underlying] = self.rows.shape[underlying]
        index.drop_anchors()
        self.chains[underlying] = [k for k in range(self.rows.chain_count)
                                   if self.rows.chain[k].underlying == underlying][:BAND_CHAINS]
        self.perpetuals[underlying] = [
            slot for slot in range(self.instruments.high)
            if self.instruments.at[slot].state != STATE_FREE and self.instruments.at[slot].underlying == underlying
            and self.instruments.at[slot].kind == KIND_PERPETUAL
        ][:BAND_REFERENCES - BAND_BUCKETS]
        for slot in range(self.instruments.high):
            if (self.instruments.at[slot].state != STATE_FREE and self.instruments.at[slot].underlying == underlying
                    and self.instruments.at[slot].kind < KIND_OPTION):
                index.watch[index.watched] = slot
                index.watched += 1
        for k in range(BAND_CHAINS):
            index.pairs[k] = 0
            index.near[k] = 0
            index.expiries[k] = 0
        return 0

    cdef int observe(self, int underlying, int64_t time_ns) except -1:
        """Take in the marks of an underlying, just repriced, and how far they are from every anchor."""
        cdef BandIndex index
        cdef ChainInput source
        cdef ChainInput widths
        cdef int b, r
        cdef uint32_t i, slot
        cdef Instrument* row
        self._take_shape(underlying)
        index = self.index[underlying]
        index.grow(self.accounts.high)
        index.index = self.rows.index_e8[underlying] / 1e8
        for b in range(MAX_EXPIRIES):
            index.reference[b] = self.rows.forward_e8[underlying * MAX_EXPIRIES + b] / 1e8
        for r in range(BAND_BUCKETS, BAND_REFERENCES):
            index.reference[r] = 0.0
        for r, slot in enumerate(self.perpetuals[underlying], BAND_BUCKETS):
            row = &self.instruments.at[slot]
            if row.mark_price_e8 > 0 and row.mark_minor != 0:
                index.reference[r] = row.mark_price_e8 / 1e8
                index.funding[r] = <double>self.positions.funding_index[slot] / TWO_64
                index.worth[r] = abs(<double>row.mark_minor)
        for i in range(index.watched):
            slot = index.watch[i]
            row = &self.instruments.at[slot]
            index.take_mark(slot, row.mark_price_e8 / 1e8, <double>self.positions.funding_index[slot] / TWO_64,
                            abs(<double>row.mark_minor))
        for k, chain in enumerate(self.chains[underlying]):
            self.rows.chain_input(chain, time_ns, &source)
            self.pad(underlying, &source)
            self.measured(underlying, &source, &widths)
            index.take_widths(k, &widths, self.near_years(underlying))
            index.floored = index.floored or self.charges.parts[underlying].rivals   # skew goes by the time left
        index.measure()
        self.marks += 1
        return 0

    cdef int64_t scan(self, int underlying) except -1:
        """How many accounts have left their band; they stand in `found`, ascending."""
        cdef BandIndex index = self.index[underlying]
        cdef int64_t count
        if self.found_room < self.accounts.high:
            free(self.found)
            self.found_room = index.accounts
            self.found = <uint32_t*>calloc(self.found_room, sizeof(uint32_t))
            if self.found == NULL:
                self.found_room = 0
                raise MemoryError()
        count = index.scan(self.accounts.high, self.ledger.touched, self.ledger.touched_block,
                           <uint32_t>1 << underlying, self.found)
        self.visited += count
        return count

    cdef int _open_anchor(self, int underlying, int64_t time_ns) except -1:
        cdef BandIndex index = self.index[underlying]
        cdef Grid* g = &self.rows.grid[underlying]
        cdef ChainInput source
        cdef uint32_t slot
        cdef Instrument* row
        cdef int b
        index.open_anchor()
        for b in range(MAX_EXPIRIES):
            index.move[b] = g.move_q32[b] / 4294967296.0 + 1e-9
        for k, chain in enumerate(self.chains[underlying]):
            if self.rows.chain_input(chain, time_ns, &source):
                self.pad(underlying, &source)
                index.bound_options(k, &source, self.near_years(underlying))
                if self.spanned[underlying]:
                    self.bound_charged(underlying, &source)
                self.bound_rivals(underlying, &source)
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if (row.state == STATE_FREE or row.underlying != underlying or row.kind >= KIND_OPTION
                    or row.mark_price_e8 <= 0):
                continue
            if row.kind == KIND_PERPETUAL and slot not in self.perpetuals[underlying]:
                continue
            index.bound_future(slot, row.inverse, row.lot_size, row.mark_price_e8 / 1e8,
                               0 if row.kind == KIND_PERPETUAL else 1)
            self.charged_future(underlying, slot)
            self.rival_future(underlying, slot)
        return 0

    cdef int renew(self, int underlying, int64_t time_ns) except -1:
        """A new anchor where the market has moved away from the newest."""
        cdef BandIndex index = self.index[underlying]
        cdef int g
        cdef bint far = index.newest < 0
        if not far:
            far = abs(index.index / index.anchor[index.newest].index - 1.0) > MOVE_OF_ANCHOR
            for g in range(BAND_GROUPS):
                far = far or index.change[index.newest * BAND_GROUPS + g] > CHANGE_OF_ANCHOR[g]
        if far:
            self._open_anchor(underlying, time_ns)
        return 0

    cdef int refresh(self, int underlying, int64_t found, int64_t time_ns) except -1:
        """After the accounts found have been looked at: certify them anew, within a budget; none on a mark that most
        bands did not outlast. Those left over have no band in any underlying, since their requirement may share one
        budget over several."""
        cdef BandIndex index = self.index[underlying]
        cdef BandIndex other
        cdef int64_t i, budget = REFRESH_BUDGET
        cdef uint32_t a
        cdef int v
        cdef uint32_t bit = <uint32_t>1 << underlying
        if found == 0:
            return 0
        if index.crash:
            budget = 0
        else:
            self.renew(underlying, time_ns)
        for i in range(found):
            # start where the account numbers say: the same ones must not always come last
            a = self.found[(i + self.marks * 997) % found]
            if budget > 0 and (self.ledger.touched[a] & bit or index.tried[a] != index.serial):
                budget -= 1
                self.certify(a)
                continue
            for v in range(self.rows.underlying_count):
                other = self.index[v]
                if other is not None and a < other.accounts:
                    other.void_account(a)
        return 0

    # ------------------------------------------------------------------ certification

    cdef bint certify(self, uint32_t account_id) except -1:
        """Give an account bands in all underlyings, around their newest anchors; False where it gets none."""
        cdef bint sound
        if self.accounts.at[account_id].model == MODEL_ISOLATED:
            return self._certify_bucket(account_id)
        sound = self._collect(account_id)
        self.warned = self.accounts.at[account_id].warnings
        self.ledger.touched[account_id] = 0
        return self.settle(account_id, sound)

    cdef bint _certify_bucket(self, uint32_t account_id) except -1:
        """An isolated position depends on the mark of its instrument and on funding alone: a band of that mark in the
        instrument's underlying, and no other can touch it. Without a position none can."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef const Position* p = NULL
        cdef BandIndex index
        cdef double low = 0.0, high = 0.0
        cdef uint32_t i
        cdef int u, own = -1
        cdef bint sound = True
        self.ledger.touched[account_id] = 0
        for i in range(held.count):
            if held.at[i].quantity_lots:
                sound = sound and p == NULL
                p = &held.at[i]
        if p != NULL:
            own = self.instruments.at[p.instrument].underlying
            sound = sound and self._bucket_range(account_id, p, self.accounts.at[account_id].warnings, &low, &high)
        for u in range(self.rows.underlying_count):
            index = self.index[u]
            if index is None:
                continue
            index.grow(account_id + 1)
            if u != own:
                index.set_idle(account_id)
            elif not (sound and index.set_mark_band(account_id, p.instrument, low, high)):
                index.void_account(account_id)
                index.tried[account_id] = index.serial
                sound = False
        self.certified += sound
        return sound

    cdef bint _bucket_range(self, uint32_t account_id, const Position* p, int rank, double* low,
                            double* high) except -1:
        """Marks (USD) between which a bucket stays at its rank, whatever the funding within its cell's limit.

        Within its tier, and for inverse positions everywhere, equity less t times the requirement is A + B x with x
        the mark, inverse: one over the mark. For the next threshold t it must stay above zero, for the last that was
        passed below. `slack` stands for roundings of marks, requirements and doubles, and for funding."""
        cdef Instrument* row = &self.instruments.at[p.instrument]
        cdef BandIndex index = self.index[row.underlying]
        cdef const double* tier = &self.tier[row.underlying * MAX_TIERS * 3]
        cdef double lots = p.quantity_lots, size = abs(lots), scale = row.lot_scale_minor
        cdef double offset = <double>self._offset(account_id, row.currency), worth = size * abs(<double>row.mark_minor)
        cdef double unit = 1e8 if row.inverse else self.coin_scale[row.currency]
        cdef double notional = size * row.lot_size_e8 if row.inverse else worth
        cdef double x, least, most, t, a, b, need, slack
        cdef int i = 0, way
        if (index is None or row.kind >= KIND_OPTION or row.mark_price_e8 <= 0 or row.mark_minor == 0
                or row.inverse != (self.currency_underlying[row.currency] >= 0)):
            return False
        while i + 1 < self.tier_count[row.underlying] and notional >= tier[3] * unit:
            tier += 3
            i += 1
        x = 1e8 / row.mark_price_e8 if row.inverse else row.mark_price_e8 / 1e8
        least = x / BUCKET_REACH
        most = x * BUCKET_REACH
        if not row.inverse:
            least = max(least, (tier[0] * unit + 2.0 * size) / (size * scale))
            if i + 1 < self.tier_count[row.underlying]:
                most = min(most, (tier[3] * unit - 2.0 * size) / (size * scale))
        # above the next threshold, of which there is none below the maintenance margin; below the last
        for way in range(rank == <int>len(self.thresholds), 2 if rank else 1):
            t = self.thresholds[rank - way]
            if row.inverse:
                # 100 minor units of coin are 1e-8 USD over the mark
                need = (tier[1] * notional - tier[2] * unit + (4.0 if way == 0 else -4.0)) * 100.0
                a = offset
                b = -lots * scale - t * need
            else:
                a = offset + t * tier[2] * unit
                b = (lots - t * tier[1] * size) * scale
            slack = (size + 8.0) * (1.0 + t) + 1e-12 * (abs(offset) + BUCKET_REACH * worth * (1.0 + t))
            if row.kind == KIND_PERPETUAL:
                slack += 2.0 * size * index.paid_limit[p.instrument]
            if way:
                a = -a
                b = -b
            a -= slack                           # a + b x >= 0
            if b > 0.0:
                least = max(least, -a / b)
            elif b < 0.0:
                most = min(most, -a / b)
            elif a < 0.0:
                return False
        if not least < most:
            return False
        low[0] = 1.0 / most if row.inverse else least
        high[0] = 1.0 / least if row.inverse else most
        return True

    cdef bint settle(self, uint32_t account_id, bint sound) except -1:
        """certify() from the requirements and legs collected, and the warnings that the account has; none where they
        are not `sound`. A warned account must have one leg alone, or its level could come from another."""
        cdef double low[MAX_BAND_UNDERLYINGS]
        cdef double high[MAX_BAND_UNDERLYINGS]
        cdef double best_low[MAX_BAND_UNDERLYINGS]
        cdef double best_high[MAX_BAND_UNDERLYINGS]
        cdef int group[MAX_BAND_UNDERLYINGS]
        cdef int u, i, level, best = -1
        cdef double reach, widest = SMALLEST, shrink
        cdef BandIndex index
        shrink = 0.7 + 0.3 * ((account_id * <uint32_t>2654435761) >> 16) / 65536.0
        if self.leg_count:
            sound = sound and not (self.warned and (self.leg_count != 1 or self.requirement_count != 1))
        for u in range(MAX_BAND_UNDERLYINGS):
            group[u] = -1
        for i in range(self.leg_count):
            group[self.leg_underlying[i]] = max(group[self.leg_underlying[i]], self.leg_group[i])
        for level in range(BAND_LEVELS if sound else 0):
            reach = (self._warned_level(level, low, high) if self.warned and self.leg_count
                     else self._level(level, low, high))
            if reach > widest:
                widest = reach
                best = level
                for u in range(self.rows.underlying_count):
                    best_low[u] = low[u]
                    best_high[u] = high[u]
            if self.leg_count == 0 or widest >= ENOUGH * (<BandIndex>self.index[self.leg_underlying[0]]).price_range(
                    level):
                break
        sound = sound and (best >= 0 or self.leg_count == 0)
        for u in range(self.rows.underlying_count):
            index = self.index[u]
            if index is None:
                continue
            index.grow(account_id + 1)
            if not sound:
                index.void_account(account_id)
                index.tried[account_id] = index.serial
            elif group[u] < 0:
                index.set_idle(account_id)
            elif not index.set_band(account_id, best, group[u],
                                    index.anchor[index.newest].index * (1.0 - best_low[u] * shrink),
                                    index.anchor[index.newest].index * (1.0 + best_high[u] * shrink), shrink):
                sound = False
        if not sound:
            for u in range(self.rows.underlying_count):
                index = self.index[u]
                if index is not None:
                    index.void_account(account_id)
                    index.tried[account_id] = index.serial
        self.certified += sound
        return sound

    cdef double _level(self, int level, double* low, double* high) except? -1.0:
        """How far every underlying's index may fall and rise from its anchor, as shares of it, in boxes of a level;
        returns the smallest of all, 0 where there is no band."""
        cdef double least[MAX_LEGS][3]
        cdef double drop[MAX_LEGS]
        cdef double slack, drops, spare, spent, share, smallest = INFINITY, b
        cdef int u, r, i, p
        cdef BandIndex index
        cdef Requirement* need
        for u in range(self.rows.underlying_count):
            low[u] = INFINITY
            high[u] = INFINITY
        for r in range(self.requirement_count):
            need = &self.requirement[r]
            slack = need.cash
            drops = 0.0
            if self.formula:
                slack = self.formula_least(level, r, &least[0][0])
            elif self.bent:
                slack = self.bent_least(level, &least[0][0])
            for i in range(need.first, need.last):
                if not self.formula:
                    index = self.index[self.leg_underlying[i]]
                    if not self.bent:
                        self.leg_least(level, i, least[i])
                    slack += least[i][0] - self.outermost * self.most_charges(level, i)
                drop[i] = max(least[i][0] - min(least[i][1], least[i][2]), 1.0)
                drops += drop[i]
            if slack <= 0.0:
                return 0.0
            for i in range(need.first, need.last):
                # the underlyings share the slack by what each may lose
                u = self.leg_underlying[i]
                index = self.index[u]
                b = index.price_range(level)
                spare = slack * (drop[i] / drops)
                for p in range(1, 3):
                    spent = least[i][0] - least[i][p]
                    share = b if spent <= spare else b * (spare / spent)
                    if p == 1:
                        high[u] = min(high[u], share)
                    else:
                        low[u] = min(low[u], share)
                    smallest = min(smallest, share)
        return smallest

    cdef double _warned_level(self, int level, double* low, double* high) except? -1.0:
        """_level() of an account at WARNING or below, whose only leg is the first: it must reach neither the threshold
        that it passed last nor the next, if there is one."""
        cdef int u = self.leg_underlying[0], p
        cdef BandIndex index = self.index[u]
        cdef double above[3]
        cdef double below[3]
        cdef double b = index.price_range(level), share
        cdef bint breached = self.warned == <int>len(self.thresholds)
        cdef double next_ = 0.0 if breached else self.thresholds[self.warned]
        if self.formula:
            self.formula_warned(level, next_, self.thresholds[self.warned - 1], above, below)
        else:
            if self.bent:
                self.bent_warned(level, next_, self.thresholds[self.warned - 1], above, below)
            else:
                self.charged_warned(level, next_, self.thresholds[self.warned - 1], above, below)
        if breached:             # nothing lies below
            above[0] = above[1] = above[2] = INFINITY
        if above[0] <= 0.0 or below[0] >= 0.0:
            return 0.0
        for p in range(1, 3):
            share = b
            if above[p] < 0.0:
                share = min(share, b * (above[0] / (above[0] - above[p])))
            if below[p] > 0.0:
                share = min(share, b * (below[0] / (below[0] - below[p])))
            if p == 1:
                high[u] = share
            else:
                low[u] = share
        return min(low[u], high[u])

    cdef bint _collect(self, uint32_t account_id) except -1:
        """The account's requirements and their legs; False where something in them cannot be certified."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef int k, c, other
        cdef uint32_t i
        cdef bint first, seen, owes = False
        cdef Requirement* need
        self.leg_count = 0
        self.requirement_count = 0
        self.bent = False
        if self.room < held.count * 2 + 1:
            self.room = held.count * 4 + 64
            self.row = <int32_t*>_grown(self.row, self.room * sizeof(int32_t))
            self.lots = <double*>_grown(self.lots, self.room * sizeof(double))
            self.bucket = <uint16_t*>_grown(self.bucket, self.room * sizeof(uint16_t))
        self.formula = by_formula(self.accounts.at[account_id].model)
        if is_cross(self.accounts.at[account_id].model):
            return self._collect_cross(account_id)
        for c in range(self.currencies):
            first = True
            for k in range(self.rows.chain_count):
                if self.rows.chain[k].currency != c:
                    continue
                seen = False
                for i in range(held.count):
                    seen = seen or (held.at[i].chain == k and self._counts(&held.at[i]))
                if not seen:
                    continue
                if first:
                    need = &self.requirement[self.requirement_count]
                    need.first = need.last = self.leg_count
                    need.cross = False
                    need.cash = 0.0
                    for other in range(self.currencies):
                        self.cash[self.requirement_count][other] = 0.0
                    if self.currency_underlying[c] < 0:
                        need.cash = <double>self._offset(account_id, c) / <double>self.minor_per_unit[c] - 2.0
                        self.cash[self.requirement_count][c] = need.cash
                    self.requirement_count += 1
                    first = False
                if not self._collect_leg(account_id, self.rows.chain[k].underlying, c):
                    return False
                need.last = self.leg_count
            owes = owes or (first and self.ledger.balance(account_id, c) < 0)
        # a debt keeps the account below its maintenance margin, whatever else does; without positions no mark counts
        return not owes or self.leg_count == 0

    cdef bint _collect_cross(self, uint32_t account_id) except -1:
        """One requirement over everything, with haircuts and surcharges."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef Requirement* need = &self.requirement[0]
        cdef int c, u
        cdef uint32_t i
        cdef bint seen
        cdef int64_t offset
        need.first = need.last = 0
        need.cross = True
        need.cash = 0.0
        self.requirement_count = 1
        for c in range(self.currencies):
            offset = self._offset(account_id, c)
            self.cash[0][c] = 0.0
            seen = offset != 0
            for i in range(held.count):
                seen = seen or (self._counts(&held.at[i])
                                and self.instruments.at[held.at[i].instrument].currency == c)
            if seen and not self.plain[c]:
                self.bent = not self.formula
            if self.currency_underlying[c] < 0:
                self.cash[0][c] = <double>offset / <double>self.minor_per_unit[c] - 2.0
                need.cash += self.cash[0][c]
        for u in range(self.rows.underlying_count):
            seen = False
            for i in range(held.count):
                seen = seen or (self._counts(&held.at[i])
                                and self.instruments.at[held.at[i].instrument].underlying == u)
            for c in range(self.currencies):
                seen = seen or (self.currency_underlying[c] == u and self._offset(account_id, c) != 0)
            if seen and not self._collect_leg(account_id, u, -1):
                return False
        need.last = self.leg_count
        return True

    cdef bint _counts(self, const Position* p) noexcept:
        """Whether a position adds to balance or requirement; under formula margin long options do not."""
        return p.quantity_lots != 0 and not (self.formula and p.quantity_lots > 0
                                             and self.instruments.at[p.instrument].kind == KIND_OPTION)

    cdef bint _collect_leg(self, uint32_t account_id, int underlying, int currency) except -1:
        """Add a leg: positions of an underlying settled in a currency (-1, a cross account: in any)."""
        cdef BandIndex index = self.index[underlying]
        cdef PositionList* held = &self.positions.of[account_id]
        cdef BandLeg* leg = &self.leg[self.leg_count]
        cdef Instrument* row
        cdef Position* p
        cdef uint32_t i
        cdef int c, n = 0, start = 0, group = 0, at = self.leg_count
        cdef bint cross = currency < 0
        cdef double price, scale
        if (index is None or index.newest < 0 or at == MAX_LEGS
                or (self.bent and self.spanned[underlying] and self.accounts.at[account_id].warnings)):
            return False
        if self.leg_count:
            start = <int>(self.leg[self.leg_count - 1].row - self.row) + self.leg[self.leg_count - 1].count
        price = index.anchor[index.newest].index
        leg.row = self.row + start
        leg.lots = self.lots + start
        leg.bucket = self.bucket + start
        leg.numeraire = cross
        leg.coin_offset = 0.0
        leg.gross_lots = 0.0
        leg.unit_usd = 1.0
        leg.relative_error = 0.0
        for i in range(held.count):
            p = &held.at[i]
            row = &self.instruments.at[p.instrument]
            if not self._counts(p) or row.underlying != underlying or (not cross and row.currency != currency):
                continue
            if row.expiry_bucket and self.rows.fixing_of(row).settling:
                return False
            if (index.group[p.instrument] == BAND_UNKNOWN
                    or self.currency_underlying[row.currency] not in (-1, underlying)
                    or row.inverse != (self.currency_underlying[row.currency] >= 0)):
                return False
            group = max(group, <int>index.group[p.instrument])
            leg.row[n] = <int32_t>(2 * p.instrument + (p.quantity_lots < 0))
            leg.lots[n] = <double>p.quantity_lots
            leg.bucket[n] = p.expiry_bucket
            leg.gross_lots += abs(leg.lots[n])
            n += 1
        leg.count = n
        for c in range(self.currencies):
            self.leg_coin[at][c] = 0.0
            if self.currency_underlying[c] != underlying or (not cross and c != currency):
                continue
            scale = price * 1e4 / self.coin_scale[c]
            self.leg_coin[at][c] = <double>self._offset(account_id, c) * (1e4 / self.coin_scale[c])
            leg.coin_offset += <double>self._offset(account_id, c) * scale
            if cross and (self.formula or self.spanned[underlying]):     # coins are rounded before they are worth USD
                leg.unit_usd = max(leg.unit_usd, scale * 1.1)
            if cross:
                # the engine's coin prices are multiples of 2**-40 of a row unit
                leg.relative_error += 4.0 / (scale * 1099511627776.0)
            else:
                leg.unit_usd = scale * 1.1
        leg.unit_usd = max(leg.unit_usd, 1.0) if cross else leg.unit_usd
        self.leg_underlying[at] = underlying
        self.leg_currency[at] = currency
        self.leg_group[at] = group
        self.leg_count += 1
        if not self.formula:
            self.short_coins(account_id, at)
        return True

    cdef int64_t _offset(self, uint32_t account_id, int currency) noexcept:
        """Equity in a currency less its positions at the mark: cash, accrued funding, minus the cost of futures."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef Instrument* row
        cdef int64_t total = self.ledger.balance(account_id, currency)
        cdef uint32_t i
        for i in range(held.count):
            row = &self.instruments.at[held.at[i].instrument]
            if row.currency == currency and row.kind != KIND_OPTION and held.at[i].quantity_lots:
                total -= held.at[i].cost_minor
                if row.kind == KIND_PERPETUAL:
                    total += self.positions.accrued(&held.at[i])
        return total

    def band(self, uint32_t account_id, int underlying):
        """(lowest index, highest index, change allowed since the anchor); None where the account has no band."""
        cdef BandIndex index = self.index[underlying]
        cdef float low
        cdef float high
        cdef float reach
        if index is None or not index.band_of(account_id, &low, &high, &reach):
            return None
        return (low, high, reach)

    def memory_bytes(self, int underlying):
        """Bytes of an underlying's bands: (that grow with the accounts, that do not)."""
        cdef BandIndex index = self.index[underlying]
        return (0, 0) if index is None else index.memory_bytes()

    def statistics(self):
        """(marks, accounts looked at, accounts certified) so far."""
        return (self.marks, self.visited, self.certified)


cdef int _fill_grid(BandGrid* to, Grid* g, int scenario_count, double warning) except -1:
    """The columns' weights in an account's excess: equity less `warning` times the maintenance margin."""
    cdef double factor = warning * g.maintenance_factor_ppm / 1e6
    cdef double weighted, coin, own, s
    cdef int j, k
    to.base_column = _base_column(g, scenario_count)
    if to.base_column < 0:
        raise ValueError("the grid has no column without a shock")
    to.scenario_count = scenario_count
    to.factor = factor
    to.lot_slack = 2.0 + warning * lot_units(g.maintenance_factor_ppm) + 2.0 * factor
    to.threshold_usd = g.delta_threshold_usd * 1e4
    to.least_move = g.minimum_move - 1e-9
    to.move_per_coin = g.delta_move_per_coin_e9 / 1e9
    to.move_max = g.delta_move_max_e9 / 1e9
    to.class_count = 0
    for j in range(scenario_count):
        s = g.spot_multiplier[j]
        own = s
        if g.move_clamp[j] > 0.0:
            own = max(min(s, 1.0 + g.move_clamp[j]), 1.0 - g.move_clamp[j])
        weighted = factor * g.weight[j]
        coin = weighted * g.coin_factor[j]
        to.dampener[j] = factor * g.dampener_usd[j]
        to.coin_factor[0][j] = 1.0
        to.coin_factor[1][j] = 1.0 + weighted * (s - 1.0)
        to.base_share[1][0][j] = 1.0 - coin
        to.shock_share[1][0][j] = coin / s
        to.future_share[1][0][j] = -1.0 + coin * (1.0 - 1.0 / own)
        to.base_share[1][1][j] = 1.0 - weighted
        to.shock_share[1][1][j] = weighted
        to.future_share[1][1][j] = -1.0 - weighted * (s - 1.0) + weighted * s * (1.0 - 1.0 / own)
        for k in range(2):
            to.base_share[0][k][j] = 1.0 - weighted
            to.shock_share[0][k][j] = weighted
            to.future_share[0][k][j] = 1.0 + weighted * (own - 1.0)
        for k in range(to.class_count):
            if (g.vol_kind[to.class_column[k]] == g.vol_kind[j]
                    and g.vol_floor[to.class_column[k]] == g.vol_floor[j]):
                break
        else:
            if to.class_count == BAND_CLASSES:
                raise ValueError("more vol shocks than safe bands are made for")
            to.class_column[to.class_count] = j
            to.class_count += 1
    return 0


cdef int _base_column(const Grid* g, int scenario_count) noexcept:
    """A column without a shock, one without weight where there is one, which is the equity; -1: none."""
    cdef int j, found = -1
    for j in range(scenario_count):
        if g.spot_multiplier[j] == 1.0 and g.vol_kind[j] == 0 and (found < 0 or g.weight[j] < g.weight[found]):
            found = j
    return found


cdef void* _grown(void* old, size_t size) except NULL:
    cdef void* grown = realloc(old, size)
    if grown == NULL:
        raise MemoryError()
    return grown
