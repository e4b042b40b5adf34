"""What matching asks of a maker before a fill, and whether a fill-or-kill order could be filled whole.

The latter is a dry run of the match by the same rules, undone before it returns.
"""

from collections import deque

from exchange.clearing.fees cimport trade_fee
from exchange.clearing.position cimport Position
from exchange.market.instrument cimport Instrument
from exchange.records cimport FLAG_LINKED, FLAG_REDUCE_ONLY
from exchange.risk.exposure cimport NO_ORDERS, Margin


cdef class DryRun(Entry):
    """What would happen to the orders of the other side."""

    def __cinit__(self, Accounts accounts, Instruments instruments, Orders orders, Books books, Positions positions,
                  Exposure exposure, Pretrade pretrade, Protection protection, Monitor monitor, Combos combos,
                  EventBuffer events):
        self.combos = combos

    cdef bint _crosses(self, Order* order) noexcept:
        """Whether the best opposite price is at or through the order's limit."""
        cdef int64_t best = self.books.at[order.instrument].side[order.side ^ 1].best
        if best < 0:
            return False
        return best <= order.price_units if order.side == 0 else best >= order.price_units

    cdef int64_t _maker_lots(self, Order* maker, int64_t wanted) noexcept:
        """Lots a maker may trade: all that remain, for reduce-only orders at most its position."""
        cdef int64_t lots = min(maker.remaining_lots, wanted)
        if maker.flags & FLAG_REDUCE_ONLY:
            lots = min(lots, self.pretrade.reducible(maker.account_id, maker.instrument, maker.side))
        return lots

    cdef bint _maker_stands(self, Order* maker, int64_t held, int64_t lots, int64_t cost, int64_t fee) except -1:
        """Whether the maker, holding `held`, keeps its maintenance margin after a fill, or the fill lowers it."""
        cdef Instrument* row = &self.instruments.at[maker.instrument]
        cdef int64_t signed = lots if maker.side == 0 else -lots
        cdef int64_t paid = cost if maker.side == 0 else -cost
        cdef int64_t value = signed * row.mark_minor - paid - fee
        cdef Margin after, before
        self.exposure.shift(maker.account_id, maker.instrument, held, signed, value)
        self.exposure.margin(maker.account_id, row.currency, NO_ORDERS, &after)
        self.exposure.shift(maker.account_id, maker.instrument, held + signed, -signed, -value)
        if after.equity >= after.maintenance:
            return True
        self.exposure.margin(maker.account_id, row.currency, NO_ORDERS, &before)
        return after.maintenance < before.maintenance

    cdef bint _fillable(self, Order* taker) except -1:
        """Fill-or-kill: a dry run of execute() by the same rules, undone before it returns."""
        cdef Instrument* row = &self.instruments.at[taker.instrument]
        cdef int64_t wanted = taker.remaining_lots
        cdef bint stops = self.pretrade.switches.count
        cdef int64_t lots, shown = 0, hidden = 0
        cdef uint32_t slot = self.books.best_order(taker.instrument, taker.side ^ 1)
        cdef uint32_t here
        cdef Order* maker
        applied = []
        moved = {}
        groups = {}
        stopped = set()
        traded = {}                 # linked orders: lots
        again = deque()             # icebergs to come to again at this price, with their hidden lots
        while wanted and (slot or again):
            here = self._next_maker(&slot, again, &shown, &hidden)
            maker = &self.orders.at[here]
            if (maker.price_units > taker.price_units) if taker.side == 0 else (maker.price_units < taker.price_units):
                break
            if stops and self.pretrade.switches.stopped(maker.account_id, row.underlying):
                continue
            if self._same_trader(maker, taker):
                if self.accounts.at[taker.account_id].reject_taker:
                    break
                continue
            if maker.protection_group and (maker.account_id, maker.protection_group) in stopped:
                continue
            lots = min(shown, wanted)
            if maker.flags & FLAG_LINKED:
                lots = min(lots, <int64_t>self.links.may_fill(maker.order_id, traded))
                if lots == 0:
                    continue
            if row.leg_count:
                lots = lots if self.combos.dry_fill(maker, lots, applied, moved) else 0
            else:
                lots = self._dry_fill(maker, lots, applied, moved)
            if lots == 0:
                continue
            wanted -= lots
            if maker.flags & FLAG_LINKED:
                traded[maker.order_id] = traded.get(maker.order_id, 0) + lots
            if hidden and lots == shown:
                again.append((here, hidden))
            if maker.protection_group:
                self.protection.try_fill(groups, stopped, maker.account_id, maker.protection_group, maker.instrument,
                                         -signed_of(taker, lots))
            if taker.protection_group and self.protection.try_fill(
                    groups, stopped, taker.account_id, taker.protection_group, taker.instrument,
                    signed_of(taker, lots)):
                break
        for account_id, instrument, held, signed, value in reversed(applied):
            self.exposure.shift(account_id, instrument, held + signed, -signed, -value)
        self.protection.restore(groups, row.underlying)
        return wanted == 0

    cdef uint32_t _next_maker(self, uint32_t* slot, object again, int64_t* shown, int64_t* hidden) except? 0:
        """The next order that a dry run comes to: `slot` goes through the book as it is, and before it leaves a price
        the icebergs in `again` come with their next tranches."""
        cdef uint32_t here = slot[0]
        if again and (here == 0 or self.orders.at[here].price_units != self.orders.at[again[0][0]].price_units):
            here, left = again.popleft()
            shown[0] = min(self.orders.detail[here].display_lots, <int64_t>left)
            hidden[0] = left - shown[0]
            return here
        slot[0] = self.books.next_order(here)
        shown[0] = self.orders.at[here].remaining_lots
        hidden[0] = self.orders.detail[here].hidden_lots
        return here

    cdef int64_t _dry_fill(self, Order* maker, int64_t lots, list applied, dict moved) except -1:
        """Lots of a maker that could be filled after what `moved` {account: lots} holds already; then its figures are
        shifted, `moved` and `applied` [(account, instrument, held, lots, value)] added to."""
        cdef Instrument* row = &self.instruments.at[maker.instrument]
        cdef Position* position = self.positions.find(maker.account_id, maker.instrument)
        cdef int64_t held = position.quantity_lots + moved.get(maker.account_id, 0)
        cdef int64_t cost, fee, signed, value
        if maker.flags & FLAG_REDUCE_ONLY:
            lots = min(lots, -held if maker.side == 0 else held)
            if lots <= 0:
                return 0
        cost = self.instruments.trade_cost(row, maker.price_units, lots, &self.failed)
        fee = trade_fee(row, cost, lots, row.maker_ppm, self.exposure.rows.index_e8[row.underlying], &self.failed)
        if not self._maker_stands(maker, held, lots, cost, fee):
            return 0
        signed = lots if maker.side == 0 else -lots
        value = signed * row.mark_minor - (cost if maker.side == 0 else -cost) - fee
        self.exposure.shift(maker.account_id, maker.instrument, held, signed, value)
        applied.append((maker.account_id, maker.instrument, held, signed, value))
        moved[maker.account_id] = moved.get(maker.account_id, 0) + signed
        return lots

    cdef bint _same_trader(self, Order* maker, Order* taker) noexcept:
        """Whether a trade would be a self-trade under the taker's setting."""
        if maker.owner_id != taker.owner_id:
            return False
        return maker.account_id == taker.account_id or not self.accounts.at[taker.account_id].own_account_only
