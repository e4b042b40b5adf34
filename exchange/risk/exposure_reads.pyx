"""Books of the exposure as plain integers, for audits and tests."""

from libc.stdint cimport int64_t, uint32_t

from exchange.risk.charges cimport Extra
from exchange.risk.exposure cimport ALL_ORDERS, NO_ORDERS, Exposure, ScenarioBook
from exchange.risk.quote_caps cimport QuoteSum
from exchange.risk.risk_rows cimport MAX_EXPIRIES
from exchange.risk.scenarios import CHARGES, RIVALS


cdef class ExposureReads(Exposure):
    """The exposure with what only audits and tests ask of it."""

    def quote_totals(self, uint32_t account_id, int chain):
        """[(group, scenario sums, deltas up, deltas down)] of capped quotes in a book, ascending group."""
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef QuoteSum* q
        cdef int i, j
        out = []
        if book == NULL or book.quotes == NULL:
            return out
        self.refresh_orders(account_id, chain)
        for i in range(book.quotes.count):
            q = &book.quotes.at[i]
            sums = ([int(q.pnl[j]) for j in range(self.rows.scenario_count)],
                    [q.delta_up[j] for j in range(MAX_EXPIRIES)], [q.delta_down[j] for j in range(MAX_EXPIRIES)])
            if any(map(any, sums)):
                out.append((q.number, *sums))
        return sorted(out)

    def caps_of(self, uint32_t account_id, int chain, int number):
        """(per column, delta in 1e-10 coin) of what a group's capped quotes can take away at most; None without any."""
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef QuoteSum* q
        cdef int i, j
        if book == NULL:
            return None
        self._bring_up(account_id, chain, book, ALL_ORDERS)
        for i in range(book.quotes.count if book.quotes != NULL else 0):
            q = &book.quotes.at[i]
            if q.number == number:
                return ([int(q.cap[j]) for j in range(self.rows.scenario_count)], q.cap_delta_e10)
        return None

    def charges(self, uint32_t account_id, int underlying, int currency):
        """What a set asks for beside the grid, of a chain (-1: of a cross account's underlying), in row units:
        ({name: (initial, maintenance)}, {name: (loss of positions, with open orders)}); None without any."""
        cdef Extra alone, whole
        if not self.parts[underlying].any:
            return None
        self.extra(account_id, underlying, currency, NO_ORDERS, &alone)
        self.extra(account_id, underlying, currency, ALL_ORDERS, &whole)
        return ({name: (whole.part[i][0], alone.part[i][1]) for i, name in enumerate(CHARGES)},
                {name: (alone.rival[i], whole.rival[i]) for i, name in enumerate(RIVALS)})

    def concentration(self, uint32_t account_id, int underlying, int currency):
        """What the charge of that name rests on, likewise: (own delta, owner's delta, rate per coin in 1e-12) of the
        positions and with open orders, deltas in 1e-10 coin; None where the set asks for none."""
        cdef int64_t own[2]
        cdef int64_t whole[2]
        cdef int i
        cdef uint32_t count
        if not self.parts[underlying].concentrated:
            return None
        for i in range(2):
            count = <uint32_t>self._examine(account_id, underlying, currency, ALL_ORDERS if i else NO_ORDERS)
            whole[i] = self.owner_delta(account_id, underlying, currency, count, ALL_ORDERS if i else NO_ORDERS,
                                        &own[i])
        return [(own[i], whole[i], self.owner_rate(underlying, whole[i])) for i in range(2)]

    def scenario_totals(self, uint32_t account_id, int chain, bint with_orders):
        """(positions, orders, deltas by bucket, value, order cost) of a book as integers; None when there is none."""
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef int j
        if book == NULL:
            return None
        if with_orders:
            self.refresh_orders(account_id, chain)
        return (
            [int(book.position_pnl[j]) for j in range(self.rows.scenario_count)],
            [int(book.orders.pnl[j]) for j in range(self.rows.scenario_count)] if with_orders else [],
            [book.delta[j] for j in range(MAX_EXPIRIES)],
            book.value_minor,
            book.order_cost_minor if with_orders else 0,
            book.held_lots,
            book.open_lots,
            book.gross_row,
            self.quote_totals(account_id, chain) if with_orders else [],
            [book.option_minor, book.short_e10[0], book.short_e10[1], book.short_open_e10[0], book.short_open_e10[1],
             book.option_up_minor if with_orders else 0],
        )

    def remake(self, uint32_t account_id, int chain):
        """Make a book's figures anew from positions and orders."""
        self.rebuild(account_id, chain)
        self.book(account_id, chain).orders_revision = 0
