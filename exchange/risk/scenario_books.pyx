"""Scenario books: per (account, chain) the totals over every column, of positions and of open orders, incremental.

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
from exchange.market.instrument cimport KIND_OPTION, KIND_OPTION_COMBO, MAX_LEGS, OPTION_CALL
from exchange.records cimport FLAG_LINKED, FLAG_QUOTE
from exchange.risk.protection cimport Protection
from exchange.risk.quote_caps cimport QuoteSum, paired_column
from exchange.risk.risk_rows cimport GRID_SPAN
from exchange.wide cimport size_of, wide_mul
from margin_ext.kernels cimport open_axpy, row_axpy, rows_sum

cdef extern from "exchange/market/memory.h":
    void* zeroed_table "margrave_lines"(size_t bytes) noexcept

cdef int64_t EXACT = 1 << 53
cdef enum:
    LINE = 64
    CHUNK = 32               # blocks that a pool takes from the system at once
    SEATED_LEAST = 256       # books that have a block for order figures, at most; from eight times as many books on
    SEATED_SHARE = 8         # one in so many
    SEATS_SEEN = 32          # seats looked at, at most, for the block that another book needs
    MANY_ORDERS = 64         # a book with more is passed over there


cdef void _beyond_price_risk(int64_t* beyond, const double* risk, int64_t signed, int sign) noexcept:
    """Add (or take away) what a fill of `signed` lots can add to twice the loss beyond price risk, in every `span16`
    column: its loss there, less that at the same price with the other vol, and those of scenarios 1 and 2."""
    cdef int64_t still = <int64_t>risk[0] + <int64_t>risk[1]
    cdef int64_t loss
    cdef int j
    for j in range(SPAN_COLUMNS):
        loss = signed * (<int64_t>risk[paired_column(j)] - <int64_t>risk[j] - still)
        if loss > 0:
            beyond[j] += sign * loss


cdef class BlockPool:
    """Blocks of at least `size` bytes; what is given back is handed out next, and kept until the pool goes."""

    def __cinit__(self, size_t size):
        self.block_bytes = (size + LINE - 1) // LINE * LINE

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.chunk_count):
            free(self.chunks[i])
        free(self.chunks)

    cdef void* take(self) except NULL:
        cdef FreeBlock* block = self.free_blocks
        cdef char* chunk
        cdef void** grown
        cdef int i
        if block == NULL:
            grown = <void**>realloc(self.chunks, (self.chunk_count + 1) * sizeof(void*))
            if grown == NULL:
                raise MemoryError()
            self.chunks = grown
            chunk = <char*>zeroed_table(CHUNK * self.block_bytes)
            if chunk == NULL:
                raise MemoryError()
            grown[self.chunk_count] = chunk
            self.chunk_count += 1
            self.bytes += CHUNK * self.block_bytes
            for i in range(CHUNK - 1, -1, -1):
                block = <FreeBlock*>(chunk + i * self.block_bytes)
                block.following = self.free_blocks
                self.free_blocks = block
        self.free_blocks = block.following
        self.used += 1
        return memset(block, 0, self.block_bytes)

    cdef void give_back(self, void* block) noexcept:
        (<FreeBlock*>block).following = self.free_blocks
        self.free_blocks = <FreeBlock*>block
        self.used -= 1


cdef class ScenarioBooks:
    """Scenario books of all accounts, and what changes them: marks, orders, fills."""

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
        self.credited = bool(config.span_credits and config.span_credits.credits)
        self.book_pool = BlockPool(_book_size() + rows.scenario_count * sizeof(double))
        self.order_pool = BlockPool(2 * MAX_EXPIRIES * sizeof(int64_t) + rows.scenario_count * sizeof(double)
                                    + (SPAN_COLUMNS * sizeof(int64_t) if self.credited else 0))
        self.currency_underlying = <int*>calloc(self.currencies, sizeof(int))
        self.minor_per_unit = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.haircut_ppm = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.debt_ppm = <int64_t*>calloc(self.currencies, sizeof(int64_t))
        self.seated_least = SEATED_LEAST
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
                if self.books[i] != NULL and self.books[i].quotes != NULL:
                    free(self.books[i].quotes.at)
                    free(self.books[i].quotes)
        free(self.books)
        free(self.seated)
        free(self.currency_underlying)
        free(self.minor_per_unit)
        free(self.haircut_ppm)
        free(self.debt_ppm)
        free(self.gather_row)
        free(self.gather_lots)

    # ------------------------------------------------------------------ books

    def memory(self):
        """({what: (blocks in use, bytes of one)}, bytes of both pools and of the table of books)."""
        return ({"books": (self.book_pool.used, self.book_pool.block_bytes),
                 "orders": (self.order_pool.used, self.order_pool.block_bytes)},
                self.book_pool.bytes + self.order_pool.bytes
                + <size_t>self.book_accounts * self.max_chains * sizeof(ScenarioBook*))

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
        if book != NULL:
            return book
        book = <ScenarioBook*>self.book_pool.take()
        book.position_pnl = <double*>(<char*>book + _book_size())
        book.orders = &self.no_orders
        book.account_id, book.chain = account_id, chain
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
        book.option_minor = 0
        memset(book.short_e10, 0, sizeof(book.short_e10))
        memset(book.short_open_e10, 0, sizeof(book.short_open_e10))
        for i in range(held.count):
            p = &held.at[i]
            if p.chain != chain:
                continue
            if self._by_span(&self.instruments.at[p.instrument]):
                book.option_minor += self._option_minor(&self.instruments.at[p.instrument], p.quantity_lots)
                self._shorts(book, p.instrument, p.quantity_lots, p.open_sell_lots + p.combo_sell_lots, 1)
            gross = size_of(p.quantity_lots) + p.open_buy_lots + p.open_sell_lots
            book.gross_row += wide_mul(gross, self.rows.row_cap[p.instrument], &self.failed)
            if p.open_buy_lots or p.open_sell_lots:
                book.open_lots += (p.open_buy_lots + p.open_sell_lots) * self.instruments.at[p.instrument].lot_weight
            if p.quantity_lots:
                book.value_minor += self.positions.value_minor(p)
                book.held_lots += size_of(p.quantity_lots)
                book.delta[p.expiry_bucket] += p.quantity_lots * self.rows.charged_e10[p.instrument]
                self.gather_row[n] = <int32_t>p.instrument
                self.gather_lots[n] = <double>p.quantity_lots
                n += 1
        if book.gross_row >= EXACT:
            self.failed = 1
        rows_sum(book.position_pnl, self.rows_for(account_id, self.rows.chain[chain].currency), self.gather_row,
                 self.gather_lots, n, self.rows.scenario_count)

    # ------------------------------------------------------------------ options under `span16`

    cdef bint _by_span(self, Instrument* row) noexcept:
        return self.rows.grid[row.underlying].kind == GRID_SPAN

    cdef int64_t _option_minor(self, Instrument* row, int64_t lots) noexcept:
        """What `lots` of an instrument hold in options at the marks: a combo's options; futures nothing."""
        cdef int64_t total = 0
        cdef int i
        if row.kind == KIND_OPTION:
            return wide_mul(lots, row.mark_minor, &self.failed)
        for i in range(row.leg_count):
            total += self._option_minor(&self.instruments.at[row.leg_slot[i]], lots * row.leg_ratio[i])
        return total

    cdef void _shorts(self, ScenarioBook* book, uint32_t instrument, int64_t held, int64_t sells, int sign) noexcept:
        """Add or take away the short options of one instrument, as held and with all sells filled."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef int side = 0 if row.option_type == OPTION_CALL else 1
        cdef int64_t size = row.lot_size_e8 * 100 * sign
        if row.kind != KIND_OPTION:
            return
        if held < 0:
            book.short_e10[side] -= wide_mul(held, size, &self.failed)
        if sells > held:
            book.short_open_e10[side] += wide_mul(sells - held, size, &self.failed)

    cdef void _order_shorts(self, ScenarioBook* book, Order* order, int sign) noexcept:
        """_shorts() of an order's instrument, or a combo's legs, as they now stand in the positions."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef Position* position
        cdef uint32_t slot
        cdef int i
        if not self._by_span(row):
            return
        for i in range(max(row.leg_count, 1)):
            slot = row.leg_slot[i] if row.leg_count else order.instrument
            position = self.positions.find(order.account_id, slot)
            if position != NULL:
                self._shorts(book, slot, position.quantity_lots,
                             position.open_sell_lots + position.combo_sell_lots, sign)

    # ------------------------------------------------------------------ blocks for order figures

    cdef int _seat(self, ScenarioBook* book) except -1:
        """A zeroed block for a book's order figures: a new one, or where one in SEATED_SHARE books has one, that of a
        book that will work its own out again. Memory alone depends on whose it is: no figure does."""
        cdef uint32_t most = max(self.seated_least, 2 * <uint32_t>self.max_chains + 1,
                                 <uint32_t>(self.book_pool.used // SEATED_SHARE))
        cdef ScenarioBook** grown
        if self.seated_count >= most:
            self._unseat(self._least_wanted(book.account_id))
            self.given_up += 1
        if self.seated_count == self.seated_room:
            grown = <ScenarioBook**>realloc(self.seated, (self.seated_room + SEATED_LEAST) * sizeof(ScenarioBook*))
            if grown == NULL:
                raise MemoryError()
            self.seated = grown
            self.seated_room += SEATED_LEAST
        book.orders = <OrderSums*>self.order_pool.take()
        book.seat = self.seated_count
        book.lately = True
        self.seated[self.seated_count] = book
        self.seated_count += 1
        return 0

    cdef void _unseat(self, ScenarioBook* book) noexcept:
        """Give a book's block back, if it has one; its order figures are made anew when next asked for."""
        cdef ScenarioBook* last
        if book.orders == &self.no_orders:
            return
        last = self.seated[self.seated_count - 1]
        self.order_pool.give_back(book.orders)
        book.orders = &self.no_orders
        if book.open_orders:
            book.orders_revision = 0
        self.seated[book.seat] = last
        last.seat = book.seat
        self.seated_count -= 1

    cdef ScenarioBook* _least_wanted(self, uint32_t account_id) noexcept:
        """A book of another account, whose books may be in use, that can do without its block: the next one round that
        the marks have left behind, or that nobody has asked for since it was last looked at here; if none is among the
        next SEATS_SEEN, the last of them. There is always one: two accounts have fewer books than there are seats."""
        cdef ScenarioBook* book = NULL
        cdef ScenarioBook* one
        cdef int seen = 0
        while book == NULL or seen < SEATS_SEEN:
            if self.seat_hand >= self.seated_count:
                self.seat_hand = 0
            one = self.seated[self.seat_hand]
            self.seat_hand += 1
            seen += 1
            if one.account_id == account_id or one.account_id == self.kept_account:
                continue
            book = one
            if one.orders_revision != self.rows.revision[self.rows.chain[one.chain].underlying]:
                break
            if not one.lately and one.open_orders <= MANY_ORDERS:
                break
            one.lately = False
        return book

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
            open_delta(up, down, row.expiry_bucket, signed * self.rows.charged_e10[order.instrument], sign)
            return
        for i in range(row.leg_count):
            leg = row.leg_slot[i]
            open_delta(up, down, self.instruments.at[leg].expiry_bucket,
                       signed * row.leg_ratio[i] * self.rows.charged_e10[leg], sign)

    cdef void _order_terms(self, ScenarioBook* book, Order* order, int64_t lots, int sign) noexcept:
        """Add (sign 1) or take away (sign -1) an order's share of the mark-dependent order figures."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef double amount = <double>(lots * sign)
        cdef double* risk = self.row_of(order.account_id, order.instrument)
        cdef double* pnl = book.orders.pnl
        cdef int64_t* up = book.orders.delta_up
        cdef int64_t* down = book.orders.delta_down
        cdef int64_t* beyond = order_beyond(book.orders, self.rows.scenario_count)
        cdef QuoteSum* quote
        if order.flags & FLAG_QUOTE:
            quote = self.caps.of_order(&book.quotes, order.account_id, row, order.protection_group, &self.failed)
            if quote != NULL:
                pnl, up, down, beyond = quote.pnl, quote.delta_up, quote.delta_down, quote.beyond
        if order.side == 0:
            open_axpy(pnl, risk, amount, 0.0, self.rows.scenario_count)
        else:
            open_axpy(pnl, risk, 0.0, amount, self.rows.scenario_count)
        if self.credited and self._by_span(row):
            _beyond_price_risk(beyond, risk, lots if order.side == 0 else -lots, sign)
        self._order_deltas(up, down, order, lots, sign)
        book.order_cost_minor += sign * self.order_cost(order, lots)
        if self._by_span(row):
            book.option_up_minor += sign * max(0, self._option_minor(row, lots if order.side == 0 else -lots))

    cdef int refresh_orders(self, uint32_t account_id, int chain) except -1:
        """Order figures at the current marks; lazily, when they are next needed."""
        cdef ScenarioBook* book = self.book(account_id, chain)
        cdef uint64_t revision = self.rows.revision[self.rows.chain[chain].underlying]
        cdef uint32_t slot
        cdef Order* order
        cdef Order* rival
        if book == NULL:
            return 0
        book.lately = True
        if book.orders_revision == revision:
            return 0
        if book.orders != &self.no_orders:
            memset(book.orders, 0, self.order_pool.block_bytes)
        elif book.open_orders:
            self._seat(book)
        book.orders_revision = revision
        book.order_cost_minor = 0
        book.option_up_minor = 0
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
        cdef int j, S = self.rows.scenario_count
        memset(alone, 0, sizeof(alone))
        memset(self.pair, 0, sizeof(self.pair))
        alone[0].orders, alone[1].orders = &self.pair[0], &self.pair[1]
        self._order_terms(&alone[0], first, self.orders.whole_lots(first), 1)
        self._order_terms(&alone[1], second, self.orders.whole_lots(second), 1)
        for j in range(self.rows.scenario_count):
            book.orders.pnl[j] += min(self.pair[0].pnl[j], self.pair[1].pnl[j])
        for j in range(SPAN_COLUMNS if self.credited else 0):
            order_beyond(book.orders, S)[j] += max(order_beyond(&self.pair[0], S)[j], order_beyond(&self.pair[1], S)[j])
        for j in range(MAX_EXPIRIES):
            book.orders.delta_up[j] += max(self.pair[0].delta_up[j], self.pair[1].delta_up[j])
            book.orders.delta_down[j] += max(self.pair[0].delta_down[j], self.pair[1].delta_down[j])
        book.order_cost_minor += max(alone[0].order_cost_minor, alone[1].order_cost_minor)
        book.option_up_minor += max(alone[0].option_up_minor, alone[1].option_up_minor)

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
        if book.open_orders and book.orders == &self.no_orders:
            self.failed = 1                  # nobody brought them up
        if book.quotes == NULL:
            return book.orders.pnl
        self.caps.order_pnl(book.quotes, book.orders.pnl, self.bounded_pnl)
        return self.bounded_pnl

    cdef int64_t* _orders_beyond(self, ScenarioBook* book) noexcept:
        """What a book's open orders can add to losses beyond price risk, twice (valid until the next call)."""
        cdef int64_t* others = order_beyond(book.orders, self.rows.scenario_count)
        if book.quotes == NULL:
            return others
        self.caps.order_beyond(book.quotes, others, self.bounded_beyond)
        return self.bounded_beyond

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
        if book.orders == &self.no_orders:
            self._seat(book)
        self.changes += 1
        self._order_shorts(book, order, -1)
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
        self._order_shorts(book, order, 1)
        return 0

    cdef void order_reduced(self, Order* order, int64_t lots, bint ends) noexcept:
        """`lots` of an order are no longer open (call before its remaining or hidden lots change)."""
        cdef Instrument* row = &self.instruments.at[order.instrument]
        cdef int chain = row.chain
        cdef ScenarioBook* book = self.book(order.account_id, chain)
        cdef Position* position = self.positions.find(order.account_id, order.instrument)
        cdef int64_t whole = self.orders.whole_lots(order)
        self.changes += 1
        self._order_shorts(book, order, -1)
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
            if book.open_orders == 0:
                self._unseat(book)
            if position.open_orders == 0 and position.quantity_lots == 0:
                self.positions.drop_if_empty(order.account_id, order.instrument)
        self._order_shorts(book, order, 1)

    # ------------------------------------------------------------------ fills

    cdef int shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots, int64_t value) except -1:
        """Suppose that `lots` were added to `held`, equity changing by `value`; undone by the opposite call."""
        if self.charged or by_formula(self.accounts.at[account_id].model):
            self.formulas.suppose(account_id, instrument, lots, value)
        self._shift(account_id, instrument, held, lots, value)
        return 0

    cdef void _shift(self, uint32_t account_id, uint32_t instrument, int64_t held, int64_t lots,
                     int64_t value) noexcept:
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef ScenarioBook* book = self.book(account_id, row.chain)
        cdef int64_t grown = size_of(held + lots) - size_of(held), sells
        cdef Position* position
        row_axpy(book.position_pnl, self.row_of(account_id, instrument), <double>lots, self.rows.scenario_count)
        book.delta[row.expiry_bucket] += lots * self.rows.charged_e10[instrument]
        if self._by_span(row):
            position = self.positions.find(account_id, instrument)
            sells = position.open_sell_lots + position.combo_sell_lots if position != NULL else 0
            self._shorts(book, instrument, held, sells, -1)
            self._shorts(book, instrument, held + lots, sells, 1)
            book.option_minor += self._option_minor(row, lots)
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
        self.changes += 1
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


cdef inline size_t _book_size() noexcept:
    """Where a block's position_pnl begins."""
    return (sizeof(ScenarioBook) + LINE - 1) // LINE * LINE
