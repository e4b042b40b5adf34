"""Accounts' risk: scenario books, the requirements that follow from them, and the risk-reducing lane."""

from libc.string cimport memset

from exchange.clearing.account cimport by_formula, is_cross
from exchange.market.instrument cimport KIND_OPTION, OPTION_CALL, Instrument, share_cap
from exchange.records cimport FLAG_RISK_REDUCING
from exchange.risk.risk_rows cimport GRID_SPAN
from exchange.risk.rounding cimport lot_units
from exchange.wide cimport wide_mul


cdef class Exposure(Requirements):
    """What the rest of the engine asks about accounts' risk."""

    # ------------------------------------------------------------------ the risk-reducing lane

    cdef int _lane_terms(self, ScenarioBook* book, Order* order) except -1:
        """Add an order's fill, where it hurts, to the figures of a book in which the lane is tried."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int64_t lots = self.orders.whole_lots(order)
        cdef int64_t signed = lots if order.side == 0 else -lots
        self.lane_pnl_of(order, self.row_of(order.account_id, order.instrument), book.orders.pnl)
        self._order_deltas(book.orders.delta_up, book.orders.delta_down, order, lots, 1)
        if self.charged:
            self.lane_add(order)
        if self._by_span(row):
            book.option_up_minor += max(0, self._option_minor(row, signed))

    cdef int _lane_book(self, Order* order, int chain, OrderSums* sums) except -1:
        """Let a book's order figures be those of risk-reducing orders alone, `order` among them; whether it has any.

        The caller has saved the book and puts it back."""
        cdef ScenarioBook* book = self.book(order.account_id, chain)
        cdef uint32_t slot = self.orders.account_head[order.account_id]
        cdef Order* other
        book.orders = sums
        book.quotes = NULL
        book.order_cost_minor = 0
        book.option_up_minor = 0
        book.open_lots = 0
        memset(sums, 0, sizeof(OrderSums))
        if self.instruments.at[order.instrument].chain == chain:
            self._lane_terms(book, order)
            book.open_lots = 1
        while slot:
            other = &self.orders.at[slot]
            if (other.flags & FLAG_RISK_REDUCING and other.order_id != order.order_id and other.remaining_lots
                    and self.instruments.at[other.instrument].chain == chain):
                self._lane_terms(book, other)
                book.open_lots = 1
            slot = other.account_next
        if self.rows.grid[self.rows.chain[chain].underlying].kind == GRID_SPAN:
            self._lane_shorts(order, chain, book)
        return book.open_lots

    cdef int _lane_shorts(self, Order* order, int chain, ScenarioBook* book) except -1:
        """Short options with the sells of risk-reducing orders filled, under `span16`."""
        cdef uint32_t slot = self.orders.account_head[order.account_id], at
        cdef Order* one = order
        cdef Order* other
        cdef Instrument* row
        cdef Position* position
        cdef int64_t held, lots
        cdef int i
        sells = {}
        while one != NULL:
            row = &self.instruments.at[one.instrument]
            if row.chain == chain:
                lots = self.orders.whole_lots(one) if one.side else -self.orders.whole_lots(one)
                for i in range(max(row.leg_count, 1)):
                    at = row.leg_slot[i] if row.leg_count else one.instrument
                    sells[at] = sells.get(at, 0) + max(0, lots * row.leg_ratio[i] if row.leg_count else lots)
            one = NULL
            while slot and one == NULL:
                other = &self.orders.at[slot]
                if other.flags & FLAG_RISK_REDUCING and other.order_id != order.order_id and other.remaining_lots:
                    one = other
                slot = other.account_next
        book.short_open_e10[0], book.short_open_e10[1] = book.short_e10[0], book.short_e10[1]
        for at, lots in sells.items():
            position = self.positions.find(order.account_id, at)
            held = 0 if position == NULL else position.quantity_lots
            row = &self.instruments.at[at]
            if row.kind == KIND_OPTION:
                book.short_open_e10[0 if row.option_type == OPTION_CALL else 1] += wide_mul(
                    max(0, lots - held) - max(0, -held), row.lot_size_e8 * 100, &self.failed)
        return 0

    cdef bint lane_allows(self, Order* order) except -1:
        """Whether the order, with the account's other risk-reducing orders filled in any combination, leaves the
        requirement no larger than that of the positions alone. The order is not yet counted as open.

        Chains of one underlying offset each other in a cross account, so there all of them are looked at."""
        cdef int chain = self.instruments.at[order.instrument].chain
        cdef int currency = self.instruments.at[order.instrument].currency
        cdef bint cross = is_cross(self.accounts.at[order.account_id].model)
        cdef ScenarioBook saved[MAX_UNDERLYING_CHAINS]
        cdef ScenarioBook* touched[MAX_UNDERLYING_CHAINS]
        cdef Margin alone, lane
        cdef int k, n = 0, ordered = 0
        cdef int64_t unit = lot_units(self.rows.grid[self.rows.chain[chain].underlying].initial_factor_ppm)
        if by_formula(self.accounts.at[order.account_id].model):
            return self._formula_lane(order)
        self.ensure_book(order.account_id, chain)
        self.margin(order.account_id, currency, NO_ORDERS, &alone)
        self.lane_count = self.lane_orders = 0
        for k in range(self.rows.chain_count):
            if k != chain and not (cross and self.rows.chain[k].underlying == self.rows.chain[chain].underlying):
                continue
            touched[n] = self.book(order.account_id, k)
            if touched[n] == NULL:
                continue
            saved[n] = touched[n][0]
            ordered += self._lane_book(order, k, &self.lane_sums[n])
            n += 1
        self.margin(order.account_id, currency, chain, &lane)
        for k in range(n):
            touched[k][0] = saved[k]
        # the one lot that stands for "has orders" costs the rounding units of a lot: 1e-4 USD in a cross account
        if cross:
            return lane.initial - alone.initial <= ordered * unit
        return lane.initial - alone.initial <= self.minor_per_unit[currency] * unit

    cdef bint _formula_lane(self, Order* order) except -1:
        """The lane of a formula account: an order that only takes off a position, and with it, alone and together with
        the instrument's other such orders, the requirement falls by no less than the fills may cost in cash. Linear
        options of an expiry share a cap, so only one of them at a time can be in the lane."""
        cdef Position* position = self.positions.find(order.account_id, order.instrument)
        cdef int currency = self.instruments.at[order.instrument].currency
        cdef int64_t held, lots = self.orders.whole_lots(order), cost = self.order_cost(order, lots)
        cdef uint32_t slot = self.orders.account_head[order.account_id]
        cdef Order* other
        cdef Margin alone
        held = 0 if position == NULL else position.quantity_lots
        held = -held if order.side == 0 else held
        self.margin(order.account_id, currency, NO_ORDERS, &alone)
        if lots > held or not self._falls(order, lots, cost, alone.initial):
            return False
        while slot:
            other = &self.orders.at[slot]
            if other.flags & FLAG_RISK_REDUCING and other.order_id != order.order_id:
                if other.instrument == order.instrument and other.side == order.side:
                    lots += self.orders.whole_lots(other)
                    cost += self.order_cost(other, self.orders.whole_lots(other))
                elif share_cap(&self.instruments.at[order.instrument], &self.instruments.at[other.instrument]):
                    return False
            slot = other.account_next
        return lots <= held and self._falls(order, lots, cost, alone.initial)

    cdef bint _falls(self, Order* order, int64_t lots, int64_t cost, int64_t before) except -1:
        """Whether the requirement falls by at least `cost` minor units when `lots` are filled on the order's side."""
        cdef int currency = self.instruments.at[order.instrument].currency
        cdef int64_t signed = lots if order.side == 0 else -lots
        cdef Margin after
        self.formulas.suppose(order.account_id, order.instrument, signed, 0)
        self.margin(order.account_id, currency, NO_ORDERS, &after)
        self.formulas.suppose(order.account_id, order.instrument, -signed, 0)
        if is_cross(self.accounts.at[order.account_id].model):
            cost = ceil_ppm(-self.usd_units(currency, -cost), self.debt_ppm[currency], &self.failed)    # as a debt
        return after.initial + cost <= before

    # ------------------------------------------------------------------ reads

    def margins(self, uint32_t account_id, int currency, bint with_orders=True):
        """(equity, initial, maintenance) of a margin entity; see Margin for units."""
        cdef Margin m
        self.margin(account_id, currency, ALL_ORDERS if with_orders else NO_ORDERS, &m)
        return (m.equity, m.initial, m.maintenance)

    def options_value(self, uint32_t account_id, int currency):
        """What the account's options in a currency are worth at the marks, minor units."""
        return self.formulas.options_value(account_id, currency)

    def by_formula(self, uint32_t account_id):
        return by_formula(self.accounts.at[account_id].model)

    def is_cross(self, uint32_t account_id):
        return is_cross(self.accounts.at[account_id].model)

    def usd_of(self, int currency, int64_t minor):
        return self.usd_units(currency, minor)
