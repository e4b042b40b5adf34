"""Accounts' risk, kept incrementally: scenario totals per (account, chain), open orders included.

Everything here is an integer (scenario vectors are integer-valued doubles below 2**53), so an incremental update
equals a full recomputation bit for bit, and a book may be rebuilt after a mark whenever it is next needed.
Definitions: docs/margin.md. Row units are 1e-10 coin in a segregated
coin account and 1e-4 USD otherwise.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.clearing.account cimport by_formula, is_cross
from exchange.clearing.fees cimport combo_fees, trade_fee
from exchange.clearing.ledger cimport SYS_FEES
from exchange.clearing.position cimport PositionList
from exchange.market.instrument cimport KIND_OPTION, KIND_OPTION_COMBO, MAX_LEGS, share_cap
from exchange.records cimport FLAG_LINKED, FLAG_QUOTE, FLAG_RISK_REDUCING
from exchange.risk.protection cimport Protection
from exchange.risk.quote_caps cimport QuoteSum
from exchange.risk.risk_rows cimport MAX_SCENARIOS, Grid
from exchange.wide cimport wide_mul, wide_mul_div_ceil, wide_mul_shift
from margin_ext.kernels cimport open_axpy, row_axpy, rows_sum, worst_loss

cdef extern from "exchange/market/memory.h":
    void* zeroed_table "margrave_table"(size_t bytes) noexcept

cdef int64_t EXACT = 1 << 53


cdef inline int64_t _abs(int64_t x) noexcept:
    return -x if x < 0 else x


cdef inline int64_t ceil_ppm(int64_t amount, int64_t ppm, int* bad) noexcept:
    return amount if ppm == 1_000_000 else wide_mul_div_ceil(amount, ppm, 1_000_000, bad)


cdef inline void _open_delta(int64_t* up, int64_t* down, int bucket, int64_t delta, int sign) noexcept:
    if delta > 0:
        up[bucket] += delta * sign
    else:
        down[bucket] -= delta * sign


cdef class Exposure:
    """Scenario books of all accounts and the requirements that follow from them."""

    def __cinit__(self, Accounts accounts, Ledger ledger, Instruments instruments, Orders orders,
                  Positions positions, RiskRows rows, Protection protection, config):
        cdef int c, u
        self.accounts = accounts
        self.ledger = ledger
        self.instruments = instruments
        self.orders = orders
        self.positions = positions
        self.rows = rows
        self.formulas = Formulas(accounts, ledger, instruments, positions, rows, config)
        self.currencies = len(config.currencies)
        self.max_chains = len(config.underlyings) * self.currencies
        self.caps = QuoteCaps(instruments, rows, protection, self.max_chains)
        self.currency_underlying = <int*>calloc(self.currencies, sizeof(int))
        self.minor_per_unit = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.haircut_ppm = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.debt_ppm = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.book_accounts = 256
        self.books = <ScenarioBook**>calloc(self.book_accounts * self.max_chains, sizeof(ScenarioBook*))
        if (self.currency_underlying == NULL or self.minor_per_unit == NULL or self.haircut_ppm == NULL
                or self.debt_ppm == NULL or self.books == NULL):
            raise MemoryError()
        for c, currency in enumerate(config.currencies):
            self.currency_underlying[c] = -1
            for u in range(len(config.underlyings)):
                if config.underlyings[u].name == currency.underlying:
                    self.currency_underlying[c] = u
            self.minor_per_unit[c] = 1 if self.currency_underlying[c] >= 0 else 10 ** (currency.exponent - 4)
            self.haircut_ppm[c] = currency.haircut_ppm
            self.debt_ppm[c] = currency.debt_ppm

    def __dealloc__(self):
        cdef size_t i
        if self.books != NULL:
            for i in range(<size_t>self.book_accounts * self.max_chains):
                if self.books[i] != NULL:
                    if self.books[i].quotes != NULL:
                        free(self.books[i].quotes.at)
                        free(self.books[i].quotes)
                    free(self.books[i].position_pnl)
                    free(self.books[i])
        free(self.books)
        free(self.currency_underlying)
        free(self.minor_per_unit)
        free(self.haircut_ppm)
        free(self.debt_ppm)
        free(self.gather_row)
        free(self.gather_lots)

    # ------------------------------------------------------------------ books

    cdef int grow(self, uint32_t account_id) except -1:
        """Room for an account's books."""
        cdef uint32_t size = self.book_accounts
        cdef ScenarioBook** grown
        while size <= account_id:
            size *= 2
        if size == self.book_accounts:
            return 0
        grown = <ScenarioBook**>realloc(self.books, <size_t>size * self.max_chains * sizeof(ScenarioBook*))
        if grown == NULL:
            raise MemoryError()
        memset(grown + <size_t>self.book_accounts * self.max_chains, 0,
               <size_t>(size - self.book_accounts) * self.max_chains * sizeof(ScenarioBook*))
        self.books = grown
        self.book_accounts = size
        return 0

    cdef ScenarioBook* book(self, uint32_t account_id, int chain) noexcept:
        """The book at the current marks, rebuilt when they have moved since it was last asked for.

        NULL where the account never had anything in the chain. Every reader and writer comes through here."""
        cdef ScenarioBook* book = self.books[<size_t>account_id * self.max_chains + chain]
        if book != NULL and book.marks_revision != self.rows.revision[self.rows.chain[chain].underlying]:
            self.rebuild(account_id, chain)
        return book

    cdef bint holds(self, uint32_t account_id, int chain) noexcept:
        """Whether the account has lots or open orders in the chain; leaves the book as it is."""
        cdef ScenarioBook* book = self.books[<size_t>account_id * self.max_chains + chain]
        return book != NULL and (book.held_lots != 0 or book.open_lots != 0)

    cdef ScenarioBook* ensure_book(self, uint32_t account_id, int chain) except NULL:
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef int S = self.rows.scenario_count
        if book != NULL:
            return book
        book = <ScenarioBook*>calloc(1, sizeof(ScenarioBook))
        if book == NULL:
            raise MemoryError()
        book.position_pnl = <double*>zeroed_table(2 * S * sizeof(double))
        if book.position_pnl == NULL:
            free(book)
            raise MemoryError()
        book.order_pnl = book.position_pnl + S
        book.orders_revision = self.rows.revision[self.rows.chain[chain].underlying]
        book.marks_revision = book.orders_revision
        self.books[<size_t>account_id * self.max_chains + chain] = book
        return book

    cdef double* rows_for(self, uint32_t account_id, int currency) noexcept:
        """The row array in the account's numeraire for instruments settled in a currency."""
        if not is_cross(self.accounts.at[account_id].model) and self.currency_underlying[currency] >= 0:
            return self.rows.rows_coin
        return self.rows.rows_usd

    cdef double* row_of(self, uint32_t account_id, uint32_t instrument) noexcept:
        """The instrument's risk row in the account's numeraire."""
        return (self.rows_for(account_id, self.instruments.at[instrument].currency)
                + <size_t>instrument * self.rows.scenario_count)

    cdef bint _gather(self, uint32_t count) noexcept:
        if count <= self.gather_capacity:
            return True
        free(self.gather_row)
        free(self.gather_lots)
        self.gather_capacity = count * 2
        self.gather_row = <int32_t*>calloc(self.gather_capacity, sizeof(int32_t))
        self.gather_lots = <double*>calloc(self.gather_capacity, sizeof(double))
        if self.gather_row == NULL or self.gather_lots == NULL:
            self.gather_capacity = 0
        return self.gather_capacity != 0

    cdef void rebuild(self, uint32_t account_id, int chain) noexcept:
        """The reference: everything about positions from the positions, after a mark."""
        cdef ScenarioBook* book = self.books[<size_t>account_id * self.max_chains + chain]
        cdef PositionList* held = &self.positions.of[account_id]
        cdef Position* p
        cdef uint32_t i, n = 0
        cdef int64_t gross
        if book == NULL:
            return
        book.marks_revision = self.rows.revision[self.rows.chain[chain].underlying]
        if not self._gather(held.count):
            self.failed = 1
            return
        memset(book.delta, 0, sizeof(book.delta))
        book.value_minor = 0
        book.held_lots = 0
        book.open_lots = 0
        book.gross_row = 0
        for i in range(held.count):
            p = &held.at[i]
            if p.chain != chain:
                continue
            gross = _abs(p.quantity_lots) + p.open_buy_lots + p.open_sell_lots
            book.gross_row += wide_mul(gross, self.rows.row_cap[p.instrument], &self.failed)
            if p.open_buy_lots or p.open_sell_lots:
                book.open_lots += (p.open_buy_lots + p.open_sell_lots) * self.instruments.at[p.instrument].lot_weight
            if p.quantity_lots:
                book.value_minor += self.positions.value_minor(p)
                book.held_lots += _abs(p.quantity_lots)
                book.delta[p.expiry_bucket] += p.quantity_lots * self.rows.delta_e10[p.instrument]
                self.gather_row[n] = <int32_t>p.instrument
                self.gather_lots[n] = <double>p.quantity_lots
                n += 1
        if book.gross_row >= EXACT:
            self.failed = 1
        rows_sum(book.position_pnl, self.rows_for(account_id, self.rows.chain[chain].currency), self.gather_row,
                 self.gather_lots, n, self.rows.scenario_count)

    # ------------------------------------------------------------------ open orders

    cdef int64_t fill_loss(self, Order* order, int64_t lots) noexcept:
        """What filling at the limit loses against the mark, plus the taker fee, in minor units; negative: gains."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int64_t index = self.rows.index_e8[row.underlying]
        cdef int64_t marked = wide_mul(lots, row.mark_minor, &self.failed)
        cdef int64_t cost, fee
        cdef int64_t prices[MAX_LEGS]
        cdef int64_t fees[MAX_LEGS]
        if row.leg_count:
            self.instruments.leg_prices(row, order.price_units, prices)
            cost = self.instruments.combo_cost(row, prices, lots, &self.failed)
            fee = combo_fees(self.instruments, row, prices, lots, True, index, fees, &self.failed)
        else:
            cost = self.instruments.trade_cost(row, order.price_units, lots, &self.failed)
            fee = trade_fee(row, cost, lots, row.taker_ppm, index, &self.failed)
        if (row.kind == KIND_OPTION or row.kind == KIND_OPTION_COMBO) and by_formula(
                self.accounts.at[order.account_id].model):
            # a premium is cash gone; one received is not counted
            return max(cost if order.side == 0 else -cost, 0) + fee
        return (cost - marked if order.side == 0 else marked - cost) + fee

    cdef int64_t order_cost(self, Order* order, int64_t lots) noexcept:
        """max(0, fill_loss): what an open order costs by itself."""
        cdef int64_t loss = self.fill_loss(order, lots)
        return loss if loss > 0 else 0

    cdef void _order_deltas(self, int64_t* up, int64_t* down, Order* order, int64_t lots, int sign) noexcept:
        """What an order's fill could add to the deltas of its expiry, a combo's to those of its legs."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int64_t signed = lots if order.side == 0 else -lots
        cdef uint32_t leg
        cdef int i
        if row.leg_count == 0:
            _open_delta(up, down, row.expiry_bucket, signed * self.rows.delta_e10[order.instrument], sign)
            return
        for i in range(row.leg_count):
            leg = row.leg_slot[i]
            _open_delta(up, down, self.instruments.at[leg].expiry_bucket,
                        signed * row.leg_ratio[i] * self.rows.delta_e10[leg], sign)

    cdef void _order_terms(self, ScenarioBook* book, Order* order, int64_t lots, int sign) noexcept:
        """Add (sign 1) or take away (sign -1) an order's share of the mark-dependent order figures."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef double amount = <double>(lots * sign)
        cdef double* risk = self.row_of(order.account_id, order.instrument)
        cdef double* pnl = book.order_pnl
        cdef int64_t* up = book.delta_up
        cdef int64_t* down = book.delta_down
        cdef QuoteSum* quote
        if order.flags & FLAG_QUOTE:
            quote = self.caps.of_order(&book.quotes, order.account_id, row, order.protection_group, &self.failed)
            if quote != NULL:
                pnl, up, down = quote.pnl, quote.delta_up, quote.delta_down
        if order.side == 0:
            open_axpy(pnl, risk, amount, 0.0, self.rows.scenario_count)
        else:
            open_axpy(pnl, risk, 0.0, amount, self.rows.scenario_count)
        self._order_deltas(up, down, order, lots, sign)
        book.order_cost_minor += sign * self.order_cost(order, lots)

    cdef int refresh_orders(self, uint32_t account_id, int chain) except -1:
        """Order figures at the current marks; lazily, when they are next needed."""
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef uint64_t revision = self.rows.revision[self.rows.chain[chain].underlying]
        cdef uint32_t slot
        cdef Order* order
        cdef Order* rival
        if book == NULL or book.orders_revision == revision:
            return 0
        book.orders_revision = revision
        memset(book.order_pnl, 0, self.rows.scenario_count * sizeof(double))
        memset(book.delta_up, 0, sizeof(book.delta_up))
        memset(book.delta_down, 0, sizeof(book.delta_down))
        book.order_cost_minor = 0
        if book.quotes != NULL:
            book.quotes.count = 0
        if book.open_lots == 0:
            return 0
        slot = self.orders.account_head[account_id]
        while slot:
            order = &self.orders.at[slot]
            if order.remaining_lots and self.instruments.at[order.instrument].chain == chain:
                rival = self._rival(order) if order.flags & FLAG_LINKED else NULL
                if rival == NULL:
                    self._order_terms(book, order, self.orders.whole_lots(order), 1)
                elif rival.order_id > order.order_id:
                    self._worse_terms(book, order, rival)
            slot = order.account_next
        return 0

    cdef Order* _rival(self, Order* order) noexcept:
        """The other order of a one-cancels-other where both are open in one chain of a portfolio account, else NULL."""
        cdef uint32_t slot = self.orders.find(self.orders.detail[order - self.orders.at].linked_order_id)
        cdef Order* other = &self.orders.at[slot]
        if (slot == 0 or other.remaining_lots == 0 or self.orders.detail[slot].both_count
                or by_formula(self.accounts.at[order.account_id].model)
                or self.orders.detail[slot].linked_order_id != order.order_id
                or self.instruments.at[other.instrument].chain != self.instruments.at[order.instrument].chain):
            return NULL
        return other

    cdef void _worse_terms(self, ScenarioBook* book, Order* first, Order* second) noexcept:
        """Add the worse of two orders of which one alone can trade whole, figure by figure."""
        cdef ScenarioBook alone[2]
        cdef int j
        memset(alone, 0, sizeof(alone))
        memset(self.pair_pnl, 0, sizeof(self.pair_pnl))
        alone[0].order_pnl, alone[1].order_pnl = &self.pair_pnl[0], &self.pair_pnl[MAX_SCENARIOS]
        self._order_terms(&alone[0], first, self.orders.whole_lots(first), 1)
        self._order_terms(&alone[1], second, self.orders.whole_lots(second), 1)
        for j in range(self.rows.scenario_count):
            book.order_pnl[j] += min(alone[0].order_pnl[j], alone[1].order_pnl[j])
        for j in range(MAX_EXPIRIES):
            book.delta_up[j] += max(alone[0].delta_up[j], alone[1].delta_up[j])
            book.delta_down[j] += max(alone[0].delta_down[j], alone[1].delta_down[j])
        book.order_cost_minor += max(alone[0].order_cost_minor, alone[1].order_cost_minor)

    cdef int _bring_up(self, uint32_t account_id, int chain, ScenarioBook* book, int scope) except -1:
        """Before order figures are read: the figures themselves (where all orders count), and what bounds quotes."""
        cdef bint usd
        if scope == ALL_ORDERS:
            self.refresh_orders(account_id, chain)
        if book.quotes != NULL:
            usd = self.rows_for(account_id, self.rows.chain[chain].currency) == self.rows.rows_usd
            self.caps.refresh(book.quotes, account_id, chain, usd)
        return 0

    cdef double* _orders_pnl(self, ScenarioBook* book) noexcept:
        """What a book's open orders can take away in each column (valid until the next call)."""
        if book.quotes == NULL:
            return book.order_pnl
        self.caps.order_pnl(book.quotes, book.order_pnl, self.bounded_pnl)
        return self.bounded_pnl

    def forget_orders(self, uint32_t account_id, int underlying):
        """Make the order figures of an account in an underlying anew when they are next read."""
        cdef int k
        cdef ScenarioBook* book
        for k in range(self.rows.chain_count):
            book = self.book(account_id, k) if self.rows.chain[k].underlying == underlying else NULL
            if book != NULL:
                book.orders_revision = 0

    def currencies_of(self, int underlying):
        """Currencies that the underlying's chains settle in."""
        return {self.rows.chain[k].currency for k in range(self.rows.chain_count)
                if self.rows.chain[k].underlying == underlying}

    cdef int order_added(self, Order* order) except -1:
        """Count an order (its whole remaining quantity) as open."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int chain = row.chain
        cdef ScenarioBook* book = self.ensure_book(order.account_id, chain)
        cdef Position* position = self.positions.ensure(order.account_id, order.instrument)
        cdef int64_t lots = self.orders.whole_lots(order)
        cdef uint64_t revision = self.rows.revision[self.rows.chain[chain].underlying]
        if order.side == 0:
            position.open_buy_lots += lots
        else:
            position.open_sell_lots += lots
        position.open_orders += 1
        book.open_lots += lots * row.lot_weight
        book.gross_row += wide_mul(lots, self.rows.row_cap[order.instrument], &self.failed)
        if order.flags & FLAG_LINKED:
            book.orders_revision = 0         # what it costs depends on another order: counted when next asked for
        elif book.orders_revision == revision:
            self._order_terms(book, order, lots, 1)
        else:
            self.refresh_orders(order.account_id, chain)
        book.open_orders += 1
        if row.leg_count:
            self.positions.legs_ordered(order.account_id, row, lots if order.side == 0 else -lots)
        return 0

    cdef void order_reduced(self, Order* order, int64_t lots, bint ends) noexcept:
        """`lots` of an order are no longer open (call before its remaining or hidden lots change)."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int chain = row.chain
        cdef ScenarioBook* book = self.book(order.account_id, chain)
        cdef Position* position = self.positions.find(order.account_id, order.instrument)
        cdef int64_t whole = self.orders.whole_lots(order)
        if order.side == 0:
            position.open_buy_lots -= lots
        else:
            position.open_sell_lots -= lots
        book.open_lots -= lots * row.lot_weight
        book.gross_row -= wide_mul(lots, self.rows.row_cap[order.instrument], &self.failed)
        if order.flags & FLAG_LINKED:
            book.orders_revision = 0
        elif book.orders_revision == self.rows.revision[self.rows.chain[chain].underlying]:
            self._order_terms(book, order, whole, -1)
            if whole > lots:
                self._order_terms(book, order, whole - lots, 1)
        if row.leg_count:
            self.positions.legs_reduced(order.account_id, row, lots if order.side == 0 else -lots, ends)
            position = self.positions.find(order.account_id, order.instrument)
        if ends:
            position.open_orders -= 1
            book.open_orders -= 1
            if position.open_orders == 0 and position.quantity_lots == 0:
                self.positions.drop_if_empty(order.account_id, order.instrument)

    # ------------------------------------------------------------------ fills

    cdef int shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots, int64_t value) except -1:
        """Suppose that `lots` were added to `held`, equity changing by `value`; undone by the opposite call."""
        if by_formula(self.accounts.at[account_id].model):
            self.formulas.suppose(account_id, instrument, lots, value)
        self._shift(account_id, instrument, held, lots, value)
        return 0

    cdef void _shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots,
                     int64_t value) noexcept:
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef ScenarioBook* book = self.book(account_id, row.chain)
        cdef int64_t grown = _abs(held + lots) - _abs(held)
        row_axpy(book.position_pnl, self.row_of(account_id, instrument), <double>lots, self.rows.scenario_count)
        book.delta[row.expiry_bucket] += lots * self.rows.delta_e10[instrument]
        book.held_lots += grown
        book.gross_row += wide_mul(grown, self.rows.row_cap[instrument], &self.failed)
        book.value_minor += value

    cdef int64_t trade(self, uint32_t account_id, uint32_t instrument, int64_t lots, int64_t cost,
                       int64_t fee) except? -1:
        """Book a fill or a transfer (signed lots and cost, fee >= 0) with all its legs; returns the realised P&L."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef Position* position = self.positions.ensure(account_id, instrument)
        cdef int64_t held = position.quantity_lots
        cdef int64_t before = self.positions.value_minor(position)
        cdef int64_t realised
        self.ensure_book(account_id, row.chain)
        self.positions.settle_funding(account_id, position)
        realised = self.positions.trade(account_id, position, lots, cost)
        if fee:
            self.ledger.post(account_id, row.currency, -fee)
            self.ledger.post_system(SYS_FEES, row.currency, fee)
        self._shift(account_id, instrument, held, lots, self.positions.value_minor(position) - before)
        if position.quantity_lots == 0:
            self.positions.drop_if_empty(account_id, instrument)
        return realised

    # ------------------------------------------------------------------ requirements

    cdef int64_t equity(self, uint32_t account_id, int currency) noexcept:
        """Cash plus the value of everything settled in the currency, at the marks."""
        cdef int64_t total = self.ledger.balance(account_id, currency)
        cdef ScenarioBook* book
        cdef int k
        for k in range(self.rows.chain_count):
            if self.rows.chain[k].currency == currency:
                book = self.book(account_id, k)
                if book != NULL:
                    total += book.value_minor
        return total

    cdef int64_t usd_units(self, int currency, int64_t minor) noexcept:
        """Minor units at the index in 1e-4 USD, rounded down."""
        cdef int u = self.currency_underlying[currency]
        cdef int64_t scale
        if u >= 0:
            return wide_mul_shift(minor, self.rows.grid[u].coin_base_q40, 40, &self.failed)
        scale = self.minor_per_unit[currency]
        return minor // scale if minor >= 0 else -((-minor + scale - 1) // scale)

    cdef int64_t _haircut(self, int currency, int64_t usd) noexcept:
        """Value as collateral: haircut on a positive net value, surcharge on a debt."""
        if usd >= 0:
            if self.haircut_ppm[currency] == 0:
                return usd
            return usd - wide_mul_div_ceil(usd, self.haircut_ppm[currency], 1_000_000, &self.failed)
        if self.debt_ppm[currency] == 1_000_000:
            return usd
        return -wide_mul_div_ceil(-usd, self.debt_ppm[currency], 1_000_000, &self.failed)

    cdef int64_t _roll(self, int underlying, ScenarioBook** books, int count, int ordered) noexcept:
        """Roll shock plus delta shock over some books of one underlying, in 1e-10 coin, rounded up.

        Bit k of `ordered`: the open orders of books[k] count."""
        cdef Grid* g = &self.rows.grid[underlying]
        cdef int b, k
        cdef int64_t delta, up, down, worst, charge = 0, net = 0, net_up = 0, net_down = 0, excess, move
        cdef int i
        cdef QuoteSum* quote
        for k in range(count):
            if ordered >> k & 1 and books[k].quotes != NULL:
                charge += self.caps.roll(books[k].quotes, underlying, &net_up, &net_down, &self.failed)
        for b in range(self.rows.bucket_high[underlying]):
            delta = up = down = 0
            for k in range(count):
                delta += books[k].delta[b]
                if ordered >> k & 1:
                    up += books[k].delta_up[b]
                    down += books[k].delta_down[b]
                    for i in range(books[k].quotes.count if books[k].quotes != NULL else 0):
                        quote = &books[k].quotes.at[i]
                        if quote.whole:
                            up += quote.delta_up[b]
                            down += quote.delta_down[b]
            if delta == 0 and up == 0 and down == 0:
                continue
            worst = max(_abs(delta + up), _abs(delta - down))
            charge += wide_mul_div_ceil(worst, g.move_q32[b], 4294967296, &self.failed)
            net += delta
            net_up += up
            net_down += down
        worst = max(_abs(net + net_up), _abs(net - net_down))
        excess = worst - g.delta_threshold_e10
        if excess > 0:
            move = wide_mul_div_ceil(excess, g.delta_move_per_coin_e9, 10_000_000_000, &self.failed)
            charge += wide_mul_div_ceil(worst, min(move, g.delta_move_max_e9), 1_000_000_000, &self.failed)
        return charge

    cdef int margin(self, uint32_t account_id, int currency, int scope, Margin* out) except -1:
        """Equity and requirements of one margin entity: a currency of a segregated account, or a cross account.

        `scope` says which open orders count towards the initial margin.
        """
        if by_formula(self.accounts.at[account_id].model):
            return self._formula(account_id, currency, scope, out)
        if is_cross(self.accounts.at[account_id].model):
            return self._cross(account_id, scope, out)
        return self._segregated(account_id, currency, scope, out)

    cdef int64_t _order_costs(self, uint32_t account_id, int currency, int scope) except? -1:
        """What an account's orders in a currency (those of `scope`) may cost in cash at most, at the current marks."""
        cdef int k, counted
        cdef int64_t total = 0
        cdef ScenarioBook* book
        for k in range(self.rows.chain_count):
            counted = self.rows.chain[k].currency == currency and self._counts(scope, k)
            book = self.book(account_id, k) if counted else NULL
            if book != NULL and book.open_lots:
                self._bring_up(account_id, k, book, scope)
                total += book.order_cost_minor
        return total

    cdef int _formula(self, uint32_t account_id, int currency, int scope, Margin* out) except -1:
        """A formula account: one currency in minor units, or all in 1e-4 USD; there costs come before haircuts."""
        cdef bint with_orders = scope != NO_ORDERS
        cdef Margin one
        cdef int64_t held, cost
        cdef int c
        if not is_cross(self.accounts.at[account_id].model):
            return self.formulas.margin(account_id, currency, with_orders,
                                        self._order_costs(account_id, currency, scope), out)
        out.equity = out.initial = out.maintenance = 0
        for c in range(self.currencies):
            self.formulas.margin(account_id, c, with_orders, 0, &one)
            held = self._haircut(c, self.usd_units(c, one.equity))
            cost = self._order_costs(account_id, c, scope)
            out.equity += held
            out.initial -= self.usd_units(c, -one.initial)
            if cost:
                out.initial += held - self._haircut(c, self.usd_units(c, one.equity - cost))
            out.maintenance -= self.usd_units(c, -one.maintenance)
        return 0

    cdef int _segregated(self, uint32_t account_id, int currency, int scope, Margin* out) except -1:
        cdef int k, S = self.rows.scenario_count
        cdef bint coin = self.currency_underlying[currency] >= 0
        cdef bint with_orders
        cdef int64_t unit = self.minor_per_unit[currency]
        cdef int64_t alone, whole, roll
        cdef double* dampener
        cdef ScenarioBook* book
        cdef Grid* g
        out.equity = self.equity(account_id, currency)
        out.initial = 0
        out.maintenance = 0
        for k in range(self.rows.chain_count):
            if self.rows.chain[k].currency != currency:
                continue
            book = self.book(account_id, k)
            if book == NULL or (book.held_lots == 0 and book.open_lots == 0):
                continue
            g = &self.rows.grid[self.rows.chain[k].underlying]
            dampener = &g.dampener_coin[0] if coin else &g.dampener_usd[0]
            with_orders = (scope == ALL_ORDERS or scope == k) and book.open_lots
            roll = self._roll(self.rows.chain[k].underlying, &book, 1, 0)
            if not coin:
                roll = wide_mul_div_ceil(roll, self.rows.index_e8[self.rows.chain[k].underlying],
                                         100_000_000_000_000, &self.failed)
            alone = <int64_t>worst_loss(book.position_pnl, NULL, dampener, S) + roll
            out.maintenance += (ceil_ppm(alone, g.maintenance_factor_ppm, &self.failed) + book.held_lots) * unit
            whole = alone
            if with_orders:
                self._bring_up(account_id, k, book, scope)
                roll = self._roll(self.rows.chain[k].underlying, &book, 1, 1)
                if not coin:
                    roll = wide_mul_div_ceil(roll, self.rows.index_e8[self.rows.chain[k].underlying],
                                             100_000_000_000_000, &self.failed)
                whole = <int64_t>worst_loss(book.position_pnl, self._orders_pnl(book), dampener, S) + roll
                out.initial += book.order_cost_minor + book.open_lots * unit
            out.initial += (ceil_ppm(whole, g.initial_factor_ppm, &self.failed) + book.held_lots) * unit
        return 0

    cdef bint _counts(self, int scope, int chain) noexcept:
        """Whether a chain's open orders count in a cross account: all, none, or those of one chain's underlying."""
        if scope < 0:
            return scope == ALL_ORDERS
        return self.rows.chain[chain].underlying == self.rows.chain[scope].underlying

    cdef int64_t _cross_loss(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs,
                             int scope) noexcept:
        """Worst fall of haircut value in 1e-4 USD over an underlying's scenarios; `base` by currency: after `costs`."""
        cdef Grid* g = &self.rows.grid[underlying]
        cdef int64_t losses[MAX_SCENARIOS]
        cdef int64_t nets[MAX_SCENARIOS]
        cdef int64_t worst = 0, equity, cut
        cdef int j, c, k, S = self.rows.scenario_count
        cdef ScenarioBook* book
        cdef double* orders_pnl
        cdef bint counted, involved = False
        memset(losses, 0, S * sizeof(int64_t))
        for c in range(self.currencies):
            book = NULL
            counted = False
            for k in range(self.rows.chain_count):
                if self.rows.chain[k].currency == c and self.rows.chain[k].underlying == underlying:
                    book = self.book(account_id, k)
                    counted = book != NULL and self._counts(scope, k) and book.open_lots
            if book != NULL and book.held_lots == 0 and not counted:
                book = NULL
            if book == NULL and self.currency_underlying[c] != underlying:
                continue
            equity = self.equity(account_id, c) - costs[c]
            if book == NULL and equity == 0:
                continue
            involved = True
            if self.currency_underlying[c] == underlying:
                for j in range(S):
                    nets[j] = wide_mul_shift(equity, g.coin_price_q40[j], 40, &self.failed)
            else:
                cut = self.usd_units(c, equity)
                for j in range(S):
                    nets[j] = cut
            if book != NULL:
                for j in range(S):
                    nets[j] += <int64_t>book.position_pnl[j]
            if counted:
                orders_pnl = self._orders_pnl(book)
                for j in range(S):
                    nets[j] += <int64_t>orders_pnl[j]
            if self.haircut_ppm[c] == 0 and self.debt_ppm[c] == 1_000_000:
                for j in range(S):
                    losses[j] += base[c] - nets[j]
            else:
                for j in range(S):
                    losses[j] += base[c] - self._haircut(c, nets[j])
        if not involved:
            return 0
        for j in range(S):
            if losses[j] > worst:
                cut = losses[j] - min(losses[j], <int64_t>g.dampener_usd[j])
                if cut > worst:
                    worst = cut
        return worst

    cdef int _cross(self, uint32_t account_id, int scope, Margin* out) except -1:
        """What orders may cost is taken from the balances, before haircuts; scenarios start from what is then left."""
        cdef int64_t base[16], left[16], costs[16], none[16]
        cdef ScenarioBook* held[8]
        cdef ScenarioBook* book
        cdef int c, k, u, n, ordered, costly = False
        cdef int64_t alone, whole, roll, lots, open_lots, equity
        cdef Grid* g
        out.equity = 0
        out.initial = 0
        out.maintenance = 0
        memset(none, 0, sizeof(none))
        for c in range(self.currencies):
            equity = self.equity(account_id, c)
            costs[c] = self._order_costs(account_id, c, scope)
            base[c] = self._haircut(c, self.usd_units(c, equity))
            left[c] = self._haircut(c, self.usd_units(c, equity - costs[c])) if costs[c] else base[c]
            costly = costly or costs[c] != 0
            out.equity += base[c]
            out.initial += base[c] - left[c]
        for u in range(self.rows.underlying_count):
            g = &self.rows.grid[u]
            n = ordered = 0
            lots = open_lots = 0
            for k in range(self.rows.chain_count):
                if self.rows.chain[k].underlying != u:
                    continue
                book = self.book(account_id, k)
                if book == NULL:
                    continue
                held[n] = book
                lots += book.held_lots
                if self._counts(scope, k) and book.open_lots:
                    ordered |= 1 << n
                    open_lots += book.open_lots
                n += 1
            alone = self._cross_loss(account_id, u, base, none, NO_ORDERS)
            roll = self._roll(u, held, n, 0)
            alone += wide_mul_div_ceil(roll, self.rows.index_e8[u], 100_000_000_000_000, &self.failed)
            whole = alone
            if ordered or costly:
                roll = self._roll(u, held, n, ordered) if ordered else roll
                whole = self._cross_loss(account_id, u, left, costs, scope)
                whole += wide_mul_div_ceil(roll, self.rows.index_e8[u], 100_000_000_000_000, &self.failed)
            out.maintenance += ceil_ppm(alone, g.maintenance_factor_ppm, &self.failed) + lots
            out.initial += ceil_ppm(whole, g.initial_factor_ppm, &self.failed) + lots + open_lots
        return 0

    # ------------------------------------------------------------------ the risk-reducing lane

    cdef void _lane_terms(self, ScenarioBook* book, Order* order, double* pnl) noexcept:
        """Add min(0, value of the order's fill) to every scenario, slippage and fee included."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef Grid* g = &self.rows.grid[row.underlying]
        cdef double* risk = self.row_of(order.account_id, order.instrument)
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
        self._order_deltas(book.delta_up, book.delta_down, order, lots, 1)

    cdef int _lane_book(self, Order* order, int chain, double* pnl) except -1:
        """Let a book's order figures be those of risk-reducing orders alone, `order` among them; whether it has any.

        The caller has saved the book and puts it back."""
        cdef ScenarioBook* book = self.book(order.account_id, chain)
        cdef uint32_t slot = self.orders.account_head[order.account_id]
        cdef Order* other
        book.order_pnl = pnl
        book.quotes = NULL
        book.order_cost_minor = 0
        book.open_lots = 0
        memset(pnl, 0, 64 * sizeof(double))
        memset(book.delta_up, 0, sizeof(book.delta_up))
        memset(book.delta_down, 0, sizeof(book.delta_down))
        if self.instruments.at[order.instrument].chain == chain:
            self._lane_terms(book, order, pnl)
            book.open_lots = 1
        while slot:
            other = &self.orders.at[slot]
            if (other.flags & FLAG_RISK_REDUCING and other.order_id != order.order_id and other.remaining_lots
                    and self.instruments.at[other.instrument].chain == chain):
                self._lane_terms(book, other, pnl)
                book.open_lots = 1
            slot = other.account_next
        return book.open_lots

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
        if by_formula(self.accounts.at[order.account_id].model):
            return self._formula_lane(order)
        self.ensure_book(order.account_id, chain)
        self.margin(order.account_id, currency, NO_ORDERS, &alone)
        for k in range(self.rows.chain_count):
            if k != chain and not (cross and self.rows.chain[k].underlying == self.rows.chain[chain].underlying):
                continue
            touched[n] = self.book(order.account_id, k)
            if touched[n] == NULL:
                continue
            saved[n] = touched[n][0]
            ordered += self._lane_book(order, k, &self.lane_pnl[n * 64])
            n += 1
        self.margin(order.account_id, currency, chain, &lane)
        for k in range(n):
            touched[k][0] = saved[k]
        # the one lot that stands for "has orders" costs one rounding unit: 1e-4 USD in a cross account
        if cross:
            return lane.initial - alone.initial <= ordered
        return lane.initial - alone.initial <= self.minor_per_unit[currency]

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
