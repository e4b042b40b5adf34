"""What a parameter set of the portfolio model asks for beside the grid: contingencies, basis and peg charges.

Each is worked out from the account's positions, and from what its open orders could make of them at worst, whenever a
requirement is asked for; sets without these parts cost nothing. Figures are integers, each rounded up, and none is
smaller than after any subset of the orders' fills. Definitions: docs/margin.md, "Charges beside the grid".
"""

import msgspec
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memset

from exchange.clearing.position cimport Position, PositionList
from exchange.market.instrument cimport KIND_OPTION
from exchange.risk.formulas cimport Trial
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.risk.scenario_books cimport ALL_ORDERS, ScenarioBook
from exchange.risk.scenarios import beside_grid
from exchange.risk.shifted_rows cimport SHIFT_DOWN, SHIFT_UP, SHIFTS
from exchange.wide cimport size_of, wide_add, wide_mul, wide_mul_div_ceil, wide_mul_div_floor

cdef int64_t DAY_NS = 86_400_000_000_000
cdef int64_t PPM = 1_000_000
cdef int64_t E9 = 1_000_000_000
cdef int64_t E10 = 10_000_000_000
cdef int64_t E12 = 1_000_000_000_000
cdef int64_t COIN_E14 = 100_000_000_000_000      # 1e-10 coin x 1e-8 USD in 1e-4 USD


cdef int _by_strike(const void* a, const void* b) noexcept nogil:
    cdef const Short* x = <const Short*>a
    cdef const Short* y = <const Short*>b
    if x.expiry_ns != y.expiry_ns:
        return -1 if x.expiry_ns < y.expiry_ns else 1
    if x.strike_e8 != y.strike_e8:
        return -1 if x.strike_e8 < y.strike_e8 else 1
    return 0


cdef class Charges(ScenarioBooks):
    """Scenario books with the charges that stand beside them."""

    def __cinit__(self, accounts, ledger, instruments, orders, positions, rows, protection, config):
        cdef int u, i
        cdef Parts* p
        self.shifted = rows
        self.parts = <Parts*>calloc(len(config.underlyings), sizeof(Parts))
        if self.parts == NULL:
            raise MemoryError()
        for u, underlying in enumerate(config.underlyings):
            own = underlying.matrix
            p = &self.parts[u]
            if underlying.span is not msgspec.UNSET:
                self._take_concentration(p, underlying.span.concentration)
                self.charged = self.charged or p.concentrated
                continue
            p.future_ppm[0], p.future_ppm[1] = own.future_initial_ppm, own.future_maintenance_ppm
            p.short_ppm[0], p.short_ppm[1] = own.short_option_initial_ppm, own.short_option_maintenance_ppm
            p.basis_ppm = own.settlement_basis_ppm
            p.tiers = len(own.peg.tiers) if own.peg is not None else 0
            for i in range(p.tiers):
                p.tier_from[i] = own.peg.tiers[i].above_usd * 10_000
                p.tier_ppm[i] = own.peg.tiers[i].rate_ppm
            p.any = beside_grid(own)
            p.horizon_ns = own.horizon_days * DAY_NS
            self._take_concentration(p, own.concentration)
            p.rivals = own.skew is not None or own.expiry_basis is not None
            self.charged = self.charged or p.any

    cdef int _take_concentration(self, Parts* p, own) except -1:
        """The charge on owners' deltas, where a set asks for it."""
        if own is msgspec.UNSET:
            return 0
        p.concentrated = True
        p.share_ppm = own.open_interest_share_ppm
        p.share_rate_e12 = own.open_interest_rate_ppm * PPM
        p.depth_move_e12 = own.depth_move_ppm * PPM
        p.depth_cap_e12 = own.depth_cap_ppm * PPM
        if self.owners == NULL:
            self.owners = <OwnerDeltas*>calloc(self.rows.underlying_count * OWNER_SLOTS, sizeof(OwnerDeltas))
            if self.owners == NULL:
                raise MemoryError()
        return 0

    def __dealloc__(self):
        free(self.parts)
        free(self.owners)
        free(self.examined)
        free(self.shorts)
        free(self.lane_lots)
        free(self.lane_order)

    # ------------------------------------------------------------------ what is examined

    cdef int lane_add(self, Order* order) except -1:
        """An order of the lane under trial: what it, or the legs of a combo, may trade."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int64_t lots = self.orders.whole_lots(order)
        cdef int64_t signed = lots if order.side == 0 else -lots
        cdef int64_t moved
        cdef int i
        cdef Lots* grown
        cdef Order** more
        if self.lane_orders == self.lane_order_capacity:
            self.lane_order_capacity = self.lane_order_capacity * 2 if self.lane_order_capacity else 16
            more = <Order**>realloc(self.lane_order, self.lane_order_capacity * sizeof(Order*))
            if more == NULL:
                raise MemoryError()
            self.lane_order = more
        self.lane_order[self.lane_orders] = order
        self.lane_orders += 1
        for i in range(max(<int>row.leg_count, 1)):
            if self.lane_count == self.lane_capacity:
                self.lane_capacity = self.lane_capacity * 2 if self.lane_capacity else 16
                grown = <Lots*>realloc(self.lane_lots, self.lane_capacity * sizeof(Lots))
                if grown == NULL:
                    raise MemoryError()
                self.lane_lots = grown
            moved = signed * row.leg_ratio[i] if row.leg_count else signed
            self.lane_lots[self.lane_count].instrument = row.leg_slot[i] if row.leg_count else order.instrument
            self.lane_lots[self.lane_count].buys = max(moved, 0)
            self.lane_lots[self.lane_count].sells = max(-moved, 0)
            self.lane_count += 1
        return 0

    cdef bint soon(self, Instrument* row) noexcept:
        """Whether a contract expires within its set's horizon, as of the underlying's last marks."""
        return row.expiry_ns != 0 and (
            row.expiry_ns - self.rows.priced_ns[row.underlying] <= self.parts[row.underlying].horizon_ns)

    cdef Lots* _entry(self, uint32_t* count, uint32_t instrument) except NULL:
        """The entry of an instrument among the first `count`, made when missing."""
        cdef uint32_t i
        for i in range(count[0]):
            if self.examined[i].instrument == instrument:
                return &self.examined[i]
        i = count[0]
        memset(&self.examined[i], 0, sizeof(Lots))
        self.examined[i].instrument = instrument
        count[0] += 1
        return &self.examined[i]

    cdef int64_t _examine(self, uint32_t account_id, int underlying, int currency, int scope) except -1:
        """Lots of the account in an underlying (in one settlement currency; -1: in all), supposed ones included, with
        the open lots of `scope`; returns how many instruments. Beyond the horizon what expires soon is left out."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef Position* p
        cdef Instrument* row
        cdef Lots* entry
        cdef Trial* trial
        cdef void* grown
        cdef uint32_t i, count = 0
        cdef uint32_t most = held.count + self.formulas.trial_count + self.lane_count
        if most > self.examined_capacity:
            grown = realloc(self.examined, 2 * most * sizeof(Lots))
            if grown == NULL:
                raise MemoryError()
            self.examined = <Lots*>grown
            grown = realloc(self.shorts, 2 * most * sizeof(Short))
            if grown == NULL:
                raise MemoryError()
            self.shorts = <Short*>grown
            self.examined_capacity = 2 * most
        for i in range(held.count):
            p = &held.at[i]
            row = &self.instruments.at[p.instrument]
            if row.underlying != underlying or (currency >= 0 and row.currency != currency) or row.leg_count or (
                    self.beyond and self.soon(row)):
                continue         # what a combo's orders may do stands with its legs
            entry = &self.examined[count]
            count += 1
            entry.instrument = p.instrument
            entry.lots = p.quantity_lots
            entry.buys = p.open_buy_lots + p.combo_buy_lots if scope == ALL_ORDERS else 0
            entry.sells = p.open_sell_lots + p.combo_sell_lots if scope == ALL_ORDERS else 0
        for i in range(self.formulas.trial_count):
            trial = &self.formulas.trials[i]
            row = &self.instruments.at[trial.instrument]
            if trial.account_id == account_id and row.underlying == underlying and (
                    currency < 0 or row.currency == currency) and not (self.beyond and self.soon(row)):
                self._entry(&count, trial.instrument).lots += trial.lots
        for i in range(self.lane_count if scope >= 0 else 0):
            row = &self.instruments.at[self.lane_lots[i].instrument]
            if row.underlying == underlying and (currency < 0 or row.currency == currency) and not (
                    self.beyond and self.soon(row)):
                entry = self._entry(&count, self.lane_lots[i].instrument)
                entry.buys += self.lane_lots[i].buys
                entry.sells += self.lane_lots[i].sells
        return count

    # ------------------------------------------------------------------ sizes, 1e-10 coin

    cdef int64_t _coins_e10(self, Instrument* row) noexcept:
        """Coins that a lot stands for at its mark, rounded up."""
        if row.kind == KIND_OPTION or not row.inverse:
            return row.lot_size_e8 * 100
        if row.mark_price_e8 <= 0:
            return 0
        return wide_mul_div_ceil(row.lot_size_e8, E10, row.mark_price_e8, &self.failed)

    cdef int64_t _futures(self, uint32_t count) noexcept:
        """Gross size of futures and perpetuals, at the worst that orders can make of each."""
        cdef Instrument* row
        cdef Lots* one
        cdef uint32_t i
        cdef int64_t lots, total = 0
        for i in range(count):
            one = &self.examined[i]
            row = &self.instruments.at[one.instrument]
            if row.kind == KIND_OPTION:
                continue
            lots = max(size_of(one.lots + one.buys), size_of(one.lots - one.sells))
            total = wide_add(total, wide_mul(lots, self._coins_e10(row), &self.failed), &self.failed)
        return total

    cdef int64_t _net_shorts(self, uint32_t count) noexcept:
        """Options sold beyond those bought per strike and expiry, calls and puts together, with every open sell."""
        cdef Instrument* row
        cdef Lots* one
        cdef uint32_t i, n = 0
        cdef int64_t net = 0, total = 0
        for i in range(count):
            one = &self.examined[i]
            row = &self.instruments.at[one.instrument]
            if row.kind != KIND_OPTION:
                continue
            self.shorts[n].expiry_ns = row.expiry_ns
            self.shorts[n].strike_e8 = row.strike_e8
            self.shorts[n].coins_e10 = wide_mul(one.lots - one.sells, self._coins_e10(row), &self.failed)
            n += 1
        qsort(self.shorts, n, sizeof(Short), _by_strike)
        for i in range(n):
            net = wide_add(net, self.shorts[i].coins_e10, &self.failed)
            if i + 1 == n or _by_strike(&self.shorts[i], &self.shorts[i + 1]) != 0:
                if net < 0:
                    total = wide_add(total, -net, &self.failed)
                net = 0
        return total

    cdef int64_t _hedged(self, uint32_t count) noexcept:
        """Deltas that offset each other across settlement currencies, at the worst that orders can make of them: over
        every way to take each currency as one of the long or of the short side."""
        cdef int64_t above[MAX_CURRENCIES]
        cdef int64_t below[MAX_CURRENCIES]
        cdef Instrument* row
        cdef Lots* one
        cdef uint32_t i, sides
        cdef int64_t delta, longs, shorts, most = 0
        cdef int c
        memset(above, 0, sizeof(above))
        memset(below, 0, sizeof(below))
        for i in range(count):
            one = &self.examined[i]
            row = &self.instruments.at[one.instrument]
            delta = self.rows.delta_e10[one.instrument]
            above[row.currency] += one.lots * delta + (one.buys * delta if delta > 0 else -one.sells * delta)
            below[row.currency] += one.lots * delta - (one.sells * delta if delta > 0 else -one.buys * delta)
        for sides in range(<uint32_t>1 << self.currencies):
            longs = shorts = 0
            for c in range(self.currencies):
                if sides >> c & 1:
                    longs += max(above[c], 0)
                else:
                    shorts += max(-below[c], 0)
            most = max(most, min(longs, shorts))
        return most

    cdef int64_t _peg(self, Parts* p, int64_t hedged_usd) noexcept:
        """Each tier's rate on the part of a size (1e-4 USD) that lies in it, each part rounded up."""
        cdef int i
        cdef int64_t top, total = 0
        for i in range(p.tiers):
            if hedged_usd <= p.tier_from[i]:
                break
            top = hedged_usd if i + 1 == p.tiers else min(hedged_usd, p.tier_from[i + 1])
            total += wide_mul_div_ceil(top - p.tier_from[i], p.tier_ppm[i], PPM, &self.failed)
        return total

    # ------------------------------------------------------------------ concentration

    cdef void _add_deltas(self, uint32_t account_id, int underlying, int currency, Deltas* out) noexcept:
        """Add the deltas of an account's lots and open orders in an underlying (in one settlement currency; -1: in
        all); nothing that is supposed."""
        cdef PositionList* held = &self.positions.of[account_id]
        cdef Position* p
        cdef Instrument* row
        cdef int64_t delta, bought, sold
        cdef uint32_t i
        for i in range(held.count):
            p = &held.at[i]
            row = &self.instruments.at[p.instrument]
            if row.underlying != underlying or (currency >= 0 and row.currency != currency) or row.leg_count:
                continue
            delta = self.rows.delta_e10[p.instrument]
            out.net = wide_add(out.net, wide_mul(p.quantity_lots, delta, &self.failed), &self.failed)
            bought = wide_mul(p.open_buy_lots + p.combo_buy_lots, delta, &self.failed)
            sold = wide_mul(p.open_sell_lots + p.combo_sell_lots, delta, &self.failed)
            out.up = wide_add(out.up, max(bought, 0) + max(-sold, 0), &self.failed)
            out.down = wide_add(out.down, max(-bought, 0) + max(sold, 0), &self.failed)

    cdef Deltas* _owner(self, uint32_t account_id, int underlying) noexcept:
        """The deltas of all accounts of an account's owner, remembered until lots or marks move."""
        cdef uint32_t owner_id = self.accounts.at[account_id].owner_id
        cdef OwnerDeltas* known = &self.owners[underlying * OWNER_SLOTS + owner_id % OWNER_SLOTS]
        cdef uint32_t a = account_id
        if (known.owner_id == owner_id and known.changes == self.changes
                and known.revision == self.rows.revision[underlying]):
            return &known.of
        known.owner_id = owner_id
        known.changes = self.changes
        known.revision = self.rows.revision[underlying]
        memset(&known.of, 0, sizeof(Deltas))
        while True:
            self._add_deltas(a, underlying, -1, &known.of)
            a = self.accounts.at[a].owner_next
            if a == account_id:
                return &known.of

    cdef int64_t owner_rate(self, int underlying, int64_t delta_e10) noexcept:
        """Charge per coin where an owner's net delta has a size, 1e-12, rounded up; never falls as the size grows.

        Beyond the share of the open interest (size - share) x rate over the size; against the books move x size / (2
        depth), the average slippage where the depth stands evenly within the move, at most the cap."""
        cdef Parts* p = &self.parts[underlying]
        cdef int64_t share = wide_mul_div_floor(self.market.open_interest_e10[underlying], p.share_ppm, PPM,
                                                &self.failed)
        cdef int64_t depth = self.market.depth_e10[underlying]
        cdef int64_t slippage = 0, rate = 0
        cdef int beyond = 0
        if delta_e10 > share:
            rate = wide_mul_div_ceil(p.share_rate_e12, delta_e10 - share, delta_e10, &self.failed)
        if p.depth_move_e12 == 0:
            return rate
        if depth:
            slippage = wide_mul_div_ceil(p.depth_move_e12, delta_e10, 2 * depth, &beyond)
        if depth == 0 or beyond:     # no integer: far above the cap
            return rate + p.depth_cap_e12
        return rate + min(slippage, p.depth_cap_e12)

    cdef int64_t owner_delta(self, uint32_t account_id, int underlying, int currency, uint32_t count, int scope,
                             int64_t* own) noexcept:
        """The size of the owner's net delta, 1e-10 coin, and into `own` that of the entity examined: both at the worst
        that orders can make of them. Orders of the owner's other accounts, and of the account's own in other
        currencies, count beside orders of its own in the underlying."""
        cdef Deltas* owner = self._owner(account_id, underlying)
        cdef Deltas mine
        cdef Lots* one
        cdef Trial* trial
        cdef Instrument* row
        cdef uint32_t i
        cdef int64_t delta, above = 0, below = 0, elsewhere
        cdef bint ordered = False
        memset(&mine, 0, sizeof(Deltas))
        self._add_deltas(account_id, underlying, currency, &mine)
        for i in range(count):
            one = &self.examined[i]
            delta = self.rows.delta_e10[one.instrument]
            ordered = ordered or one.buys or one.sells
            above = wide_add(above, wide_mul(one.lots + (one.buys if delta > 0 else -one.sells), delta, &self.failed),
                             &self.failed)
            below = wide_add(below, wide_mul(one.lots + (-one.sells if delta > 0 else one.buys), delta, &self.failed),
                             &self.failed)
        own[0] = max(size_of(above), size_of(below))
        if currency >= 0 and not ordered and scope == ALL_ORDERS:
            ordered = self.orders_in(account_id, underlying)
        elsewhere = owner.net - mine.net
        for i in range(self.formulas.trial_count if currency >= 0 else 0):
            trial = &self.formulas.trials[i]
            row = &self.instruments.at[trial.instrument]
            if trial.account_id == account_id and row.underlying == underlying and row.currency != currency:
                elsewhere += wide_mul(trial.lots, self.rows.delta_e10[trial.instrument], &self.failed)
        above = wide_add(above, elsewhere, &self.failed)
        below = wide_add(below, elsewhere, &self.failed)
        if ordered and scope == ALL_ORDERS:
            above = wide_add(above, owner.up - mine.up, &self.failed)
            below = wide_add(below, mine.down - owner.down, &self.failed)
        return max(size_of(above), size_of(below))

    cdef bint orders_in(self, uint32_t account_id, int underlying) noexcept:
        """Whether an account has open orders in an underlying whose set asks for concentration, in any currency."""
        cdef int k
        cdef ScenarioBook* book
        for k in range(self.rows.chain_count if self.parts[underlying].concentrated else 0):
            book = self.book(account_id, k) if self.rows.chain[k].underlying == underlying else NULL
            if book != NULL and book.open_lots:
                return True
        return False

    cdef int64_t _concentration(self, uint32_t account_id, int underlying, int currency, uint32_t count,
                                int scope) noexcept:
        """What the entity bears of its owner's charge, 1e-10 coin: its own size, no more than the owner's, at the rate
        of the owner's."""
        cdef int64_t own = 0
        cdef int64_t whole = self.owner_delta(account_id, underlying, currency, count, scope, &own)
        return wide_mul_div_ceil(min(own, whole), self.owner_rate(underlying, whole), E12, &self.failed)

    # ------------------------------------------------------------------ scenarios of single expiries

    cdef int _rivals(self, int underlying, uint32_t count, bint usd, int64_t* out) noexcept:
        """What the account can lose where smiles tilt, bend, or forwards move by themselves: each expiry the way that
        is worse for it, with the orders that make it worse still. Row units."""
        cdef int64_t value[MAX_EXPIRIES][4]
        cdef int64_t more[MAX_EXPIRIES][4]       # what fills could add
        cdef int64_t less[MAX_EXPIRIES][4]       # and take away
        cdef int64_t gross[MAX_EXPIRIES]
        cdef double* rows = self.shifted.shifted_usd if usd else self.shifted.shifted_coin
        cdef int64_t* scales = &self.shifted.basis_scale_e9[underlying * MAX_EXPIRIES]
        cdef int64_t row, bought, sold, loss
        cdef Lots* one
        cdef uint32_t i
        cdef int b, j, high = self.rows.bucket_high[underlying]
        memset(value, 0, sizeof(value[0]) * high)
        memset(more, 0, sizeof(more[0]) * high)
        memset(less, 0, sizeof(less[0]) * high)
        memset(gross, 0, sizeof(gross[0]) * high)
        for i in range(count):
            one = &self.examined[i]
            b = self.instruments.at[one.instrument].expiry_bucket
            gross[b] += max(size_of(one.lots + one.buys), size_of(one.lots - one.sells))
            for j in range(4):
                row = <int64_t>rows[<size_t>one.instrument * SHIFTS + j]
                value[b][j] = wide_add(value[b][j], wide_mul(one.lots, row, &self.failed), &self.failed)
                bought = wide_mul(one.buys, row, &self.failed)
                sold = wide_mul(-one.sells, row, &self.failed)
                more[b][j] = wide_add(more[b][j], max(bought, 0) + max(sold, 0), &self.failed)
                less[b][j] = wide_add(less[b][j], max(-bought, 0) + max(-sold, 0), &self.failed)
        for b in range(high):
            for j in range(2):
                out[j] = wide_add(out[j], max(size_of(value[b][j] + more[b][j]), size_of(value[b][j] - less[b][j])),
                                  &self.failed)
            loss = max(less[b][SHIFT_DOWN] - value[b][SHIFT_DOWN], less[b][SHIFT_UP] - value[b][SHIFT_UP])
            if loss > 0:
                loss = wide_mul_div_ceil(loss, scales[b], E9, &self.failed)
                if scales[b] > E9:      # the unit per lot that stands for rounding is scaled likewise
                    loss += wide_mul_div_ceil(gross[b], scales[b] - E9, E9, &self.failed)
                out[RIVAL_BASIS] = wide_add(out[RIVAL_BASIS], loss, &self.failed)
        return 0

    # ------------------------------------------------------------------ the charges of a requirement

    cdef int extra(self, uint32_t account_id, int underlying, int currency, int scope, Extra* out) except -1:
        """What an underlying's set adds to a requirement: of the chain in a currency, or (-1) of a cross account.

        With NO_ORDERS both columns are of the positions alone."""
        cdef Parts* p = &self.parts[underlying]
        cdef uint32_t count = <uint32_t>self._examine(account_id, underlying, currency, scope)
        cdef int64_t index = self.rows.index_e8[underlying]
        cdef bint coin = currency >= 0 and self.currency_underlying[currency] >= 0
        cdef int64_t futures = 0, shorts = 0, hedged
        cdef int i, k
        memset(out, 0, sizeof(Extra))
        if p.future_ppm[0]:
            futures = self._futures(count)
        if p.short_ppm[0]:
            shorts = self._net_shorts(count)
        for k in range(2):
            out.part[PART_FUTURES][k] = wide_mul_div_ceil(futures, p.future_ppm[k], PPM, &self.failed)
            out.part[PART_SHORT_OPTIONS][k] = wide_mul_div_ceil(shorts, p.short_ppm[k], PPM, &self.failed)
            for i in range(PART_BASIS if not coin else 0):
                out.part[i][k] = wide_mul_div_ceil(out.part[i][k], index, COIN_E14, &self.failed)
        if currency < 0 and (p.basis_ppm or p.tiers):
            hedged = wide_mul_div_ceil(self._hedged(count), index, COIN_E14, &self.failed)
            for k in range(2):
                out.part[PART_BASIS][k] = wide_mul_div_ceil(hedged, p.basis_ppm, PPM, &self.failed)
                out.part[PART_PEG][k] = self._peg(p, hedged)
        if p.concentrated:
            hedged = self._concentration(account_id, underlying, currency, count, scope)
            if not coin:
                hedged = wide_mul_div_ceil(hedged, index, COIN_E14, &self.failed)
            out.part[PART_CONCENTRATION][0] = out.part[PART_CONCENTRATION][1] = hedged
        if p.rivals:
            self._rivals(underlying, count, not coin, out.rival)
        for i in range(PART_COUNT):
            out.initial += out.part[i][0]
            out.maintenance += out.part[i][1]
        return 0
