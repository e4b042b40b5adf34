"""The book beyond the horizon: an account is also margined without what expires within some days.

What they offset is bare when they are gone. Where a set names a horizon, the requirement is worked out a second time
from books in which such positions and what orders would do to them are left out, and the larger counts. What the orders
may cost in cash counts in both. Definitions: docs/margin.md.
"""

from libc.string cimport memcpy, memset

from exchange.clearing.account cimport is_cross
from exchange.risk.charges cimport Lots
from exchange.risk.risk_rows cimport Grid
from exchange.risk.scenario_books cimport ALL_ORDERS, NO_ORDERS, open_delta
from exchange.wide cimport size_of, wide_mul_shift
from margin_ext.kernels cimport open_axpy, row_axpy


cdef class Horizon(Charges):
    """Scenario books that can be swapped for those beyond the horizon."""

    # ------------------------------------------------------------------ orders

    cdef double* _row_left(self, Order* order) noexcept:
        """An order's risk row without the legs that expire soon (valid until the next call)."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef double* leg
        cdef int i, j
        if row.leg_count == 0 and not self.soon(row):
            return self.row_of(order.account_id, order.instrument)
        memset(self.later_row, 0, sizeof(self.later_row))
        for i in range(row.leg_count):
            if not self.soon(&self.instruments.at[row.leg_slot[i]]):
                leg = self.row_of(order.account_id, row.leg_slot[i])
                for j in range(self.rows.scenario_count):
                    self.later_row[j] += row.leg_ratio[i] * leg[j]
        return self.later_row

    cdef void _deltas_left(self, ScenarioBook* book, Order* order, int64_t lots) noexcept:
        """Add what a fill could add to the deltas of expiries beyond the horizon."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef Instrument* leg
        cdef int64_t signed = lots if order.side == 0 else -lots
        cdef uint32_t slot
        cdef int i
        for i in range(max(<int>row.leg_count, 1)):
            slot = row.leg_slot[i] if row.leg_count else order.instrument
            leg = &self.instruments.at[slot]
            if not self.soon(leg):
                open_delta(book.orders.delta_up, book.orders.delta_down, leg.expiry_bucket,
                           signed * (row.leg_ratio[i] if row.leg_count else 1) * self.rows.charged_e10[slot], 1)

    cdef void lane_pnl_of(self, Order* order, const double* risk, double* pnl) noexcept:
        """Add min(0, value of the order's fill) to every scenario, slippage and fee included."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef Grid* g = &self.rows.grid[row.underlying]
        cdef int64_t lots = self.orders.whole_lots(order)
        cdef int64_t signed = lots if order.side == 0 else -lots
        cdef int64_t adverse = self.fill_loss(order, lots)
        cdef bint usd = is_cross(self.accounts.at[order.account_id].model)
        cdef bint coin = self.currency_underlying[row.currency] >= 0
        cdef int64_t taken, value
        cdef int j
        for j in range(self.rows.scenario_count):
            if coin and usd:
                taken = -wide_mul_shift(-adverse, g.coin_price_q40[j], 40, &self.failed)
            else:
                taken = adverse // self.minor_per_unit[row.currency] + 1
            value = signed * <int64_t>risk[j] - taken
            if value < 0:
                pnl[j] += value

    cdef int _orders_left(self, ScenarioBook* book, uint32_t account_id, int chain, int scope) except -1:
        """Order figures of a book beyond the horizon: of all open orders, each by itself, or of those in the lane."""
        cdef uint32_t slot
        cdef uint32_t i
        cdef Order* order
        cdef double* risk
        cdef double lots
        for i in range(self.lane_orders if scope >= 0 else 0):
            order = self.lane_order[i]
            if self.instruments.at[order.instrument].chain == chain:
                self.lane_pnl_of(order, self._row_left(order), book.orders.pnl)
                self._deltas_left(book, order, self.orders.whole_lots(order))
        slot = self.orders.account_head[account_id] if scope == ALL_ORDERS else 0
        while slot:
            order = &self.orders.at[slot]
            if order.remaining_lots and self.instruments.at[order.instrument].chain == chain:
                lots = <double>self.orders.whole_lots(order)
                risk = self._row_left(order)
                open_axpy(book.orders.pnl, risk, lots if order.side == 0 else 0.0, 0.0 if order.side == 0 else lots,
                          self.rows.scenario_count)
                self._deltas_left(book, order, self.orders.whole_lots(order))
            slot = order.account_next
        return 0

    # ------------------------------------------------------------------ books

    cdef bint leave_soon(self, uint32_t account_id, int underlying, int currency, int scope) except -1:
        """Put books without what expires soon in the place of the account's (in one settlement currency; -1: in all);
        False where nothing that counts under `scope` does.

        `take_back` must follow before anything else asks for the books."""
        cdef ScenarioBook* book
        cdef ScenarioBook* left
        cdef Lots* one
        cdef uint32_t i, count
        cdef bint any_soon = False
        cdef int k, b, S = self.rows.scenario_count
        if self.parts[underlying].horizon_ns == 0:
            return False
        count = <uint32_t>self._examine(account_id, underlying, currency, scope)
        for i in range(count):
            one = &self.examined[i]
            any_soon = any_soon or ((one.lots or one.buys or one.sells)
                                    and self.soon(&self.instruments.at[one.instrument]))
        if not any_soon:
            return False
        self.later_count = 0
        for k in range(self.rows.chain_count):
            if self.rows.chain[k].underlying != underlying or not (
                    currency < 0 or self.rows.chain[k].currency == currency):
                continue
            book = self.book(account_id, k)
            if book == NULL:
                continue
            left = &self.later_book[self.later_count]
            left[0] = book[0]
            left.position_pnl = &self.later_pnl[self.later_count * MAX_SCENARIOS]
            left.orders = &self.later_orders[self.later_count]
            left.quotes = NULL
            memcpy(left.position_pnl, book.position_pnl, S * sizeof(double))
            memset(left.orders, 0, sizeof(OrderSums))
            for i in range(count):
                one = &self.examined[i]
                if self.instruments.at[one.instrument].chain == k and self.soon(&self.instruments.at[one.instrument]):
                    row_axpy(left.position_pnl, self.row_of(account_id, one.instrument), <double>-one.lots, S)
                    left.held_lots -= size_of(one.lots)
                    b = self.instruments.at[one.instrument].expiry_bucket
                    left.delta[b] = 0
            self.later_chain[self.later_count] = k
            self.whole_book[self.later_count] = book
            self.later_count += 1
            if scope != NO_ORDERS:
                self._orders_left(left, account_id, k, scope)
        for k in range(self.later_count):
            self.books[<size_t>account_id * self.max_chains + self.later_chain[k]] = &self.later_book[k]
        self.beyond = True
        return True

    cdef void take_back(self, uint32_t account_id) noexcept:
        """Put the account's own books back."""
        cdef int k
        for k in range(self.later_count):
            self.books[<size_t>account_id * self.max_chains + self.later_chain[k]] = self.whole_book[k]
        self.later_count = 0
        self.beyond = False
