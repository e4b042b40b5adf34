"""What protection bounds: the most that the quotes of a group can take away before it is triggered.

A group with limits on traded coins and on a single quote lets through at most the sum of both. Per chain, the rows of
its quotes are added up by themselves and cut, column by column, at that many coins of the chain's worst row per coin;
their deltas likewise. Definitions: docs/margin.md. Integers throughout (rows are integer-valued doubles).
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.market.instrument cimport KIND_OPTION, STATE_FREE
from exchange.wide cimport wide_mul_div_ceil

cdef int64_t EXACT = 1 << 53
cdef int64_t E8 = 100_000_000


cdef inline int64_t _scaled(int64_t amount, int64_t by, int64_t over) noexcept:
    """amount x by / over rounded up, at most 2**53 (as no scenario sum is larger)."""
    cdef int bad = 0
    cdef int64_t value = wide_mul_div_ceil(amount, by, over, &bad)
    return EXACT if bad or value > EXACT else value


cdef class QuoteCaps:
    """The worst row per coin of each chain, and the caps of groups that follow from it."""

    def __cinit__(self, Instruments instruments, RiskRows rows, Protection protection, int max_chains):
        self.instruments = instruments
        self.rows = rows
        self.protection = protection
        self.max_chains = max_chains
        self.worst = <double*>calloc(2 * max_chains * MAX_SCENARIOS, sizeof(double))
        self.worst_version = <uint64_t*>calloc(2 * max_chains, sizeof(uint64_t))
        self.delta_per_coin_e10 = <int64_t*>calloc(2 * max_chains, sizeof(int64_t))
        if self.worst == NULL or self.worst_version == NULL or self.delta_per_coin_e10 == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.worst)
        free(self.worst_version)
        free(self.delta_per_coin_e10)

    # ------------------------------------------------------------------ worst rows

    cdef int64_t _per_coin(self, Instrument* row, int64_t amount) noexcept:
        """An amount per lot as an amount per coin, rounded up."""
        if row.inverse and row.kind != KIND_OPTION:
            return _scaled(amount, self.rows.index_e8[row.underlying], row.lot_size_e8)
        return _scaled(amount, E8, row.lot_size_e8)

    cdef int _flush(self, Instrument* row, double* largest, double* worst) noexcept:
        """Raise the worst row per coin to the largest row per lot of instruments like `row`; starts that anew."""
        cdef int j
        cdef double amount
        for j in range(self.rows.scenario_count):
            amount = <double>self._per_coin(row, <int64_t>largest[j])
            if amount > worst[j]:
                worst[j] = amount
            largest[j] = 0.0
        return 0

    cdef int _find_worst(self, int chain, bint usd) noexcept:
        """max over the chain's instruments (combos left out) of |row[j]| per coin, where the rows have changed.

        Options of a chain share their lot size, so rows are compared per lot and divided once."""
        cdef int at = usd * self.max_chains + chain
        cdef int S = self.rows.scenario_count
        cdef double* worst = self.worst + <size_t>at * MAX_SCENARIOS
        cdef double* rows = self.rows.rows_usd if usd else self.rows.rows_coin
        cdef double largest[MAX_SCENARIOS]
        cdef const double* risk
        cdef Instrument* row
        cdef Instrument* option = NULL
        cdef double size
        cdef int64_t delta
        cdef uint32_t slot
        cdef int j
        if self.worst_version[at] == self.rows.chain[chain].version:
            return 0
        self.worst_version[at] = self.rows.chain[chain].version
        self.delta_per_coin_e10[at] = 0
        memset(worst, 0, MAX_SCENARIOS * sizeof(double))
        memset(largest, 0, sizeof(largest))
        for slot in range(self.instruments.high):
            row = &self.instruments.at[slot]
            if row.state == STATE_FREE or row.chain != chain or row.kind > KIND_OPTION:
                continue
            risk = rows + <size_t>slot * S
            if option != NULL and (row.kind != KIND_OPTION or row.lot_size_e8 != option.lot_size_e8):
                self._flush(option, largest, worst)
                option = NULL
            for j in range(S):
                size = risk[j] if risk[j] > 0.0 else -risk[j]
                largest[j] = size if size > largest[j] else largest[j]
            if row.kind == KIND_OPTION:
                option = row
            else:
                self._flush(row, largest, worst)
            delta = self.rows.charged_e10[slot]
            delta = self._per_coin(row, -delta if delta < 0 else delta)
            if delta > self.delta_per_coin_e10[at]:
                self.delta_per_coin_e10[at] = delta
        if option != NULL:
            self._flush(option, largest, worst)
        return 0

    # ------------------------------------------------------------------ sums and caps

    cdef QuoteSum* of_order(self, QuoteBook** quotes, uint32_t account_id, Instrument* row, int number,
                            int* bad) noexcept:
        """Where an account's quote of a group is added up; NULL where the group's quotes count in full."""
        cdef Group* group = self.protection.find(account_id, row.underlying, number)
        cdef QuoteBook* book = quotes[0]
        cdef QuoteSum* grown
        cdef int i
        if group == NULL or group.quantity_limit_e8 == 0 or group.max_quote_e8 == 0 or row.kind > KIND_OPTION:
            return NULL
        if book == NULL:
            book = <QuoteBook*>calloc(1, sizeof(QuoteBook))
            if book == NULL:
                bad[0] = 1
                return NULL
            quotes[0] = book
        for i in range(book.count):
            if book.at[i].number == number:
                return &book.at[i]
        if book.count == book.capacity:
            grown = <QuoteSum*>realloc(book.at, (book.capacity * 2 + 1) * sizeof(QuoteSum))
            if grown == NULL:
                bad[0] = 1
                return NULL
            book.at = grown
            book.capacity = book.capacity * 2 + 1
        memset(&book.at[book.count], 0, sizeof(QuoteSum))
        book.at[book.count].number = number
        book.count += 1
        return &book.at[book.count - 1]

    cdef int refresh(self, QuoteBook* quotes, uint32_t account_id, int chain, bint usd) noexcept:
        """Bring the caps up to the present limits and rows, and see which groups' deltas stay within theirs."""
        cdef int at = usd * self.max_chains + chain
        cdef int underlying = self.rows.chain[chain].underlying
        cdef double* worst = self.worst + <size_t>at * MAX_SCENARIOS
        cdef int i, j, b
        cdef int64_t coins, total
        cdef QuoteSum* q
        cdef Group* group
        self._find_worst(chain, usd)
        for i in range(quotes.count):
            q = &quotes.at[i]
            group = self.protection.find(account_id, underlying, q.number)
            coins = group.quantity_limit_e8 + group.max_quote_e8 if group != NULL else 0
            if q.cap_version != self.worst_version[at] or q.cap_coins_e8 != coins:
                q.cap_version = self.worst_version[at]
                q.cap_coins_e8 = coins
                q.cap_delta_e10 = _scaled(coins, self.delta_per_coin_e10[at], E8)
                for j in range(self.rows.scenario_count):
                    q.cap[j] = <double>_scaled(coins, <int64_t>worst[j], E8)
            total = 0
            for b in range(self.rows.bucket_high[underlying]):
                total += max(q.delta_up[b], q.delta_down[b])
            q.whole = total <= q.cap_delta_e10
        return 0

    cdef void order_pnl(self, QuoteBook* quotes, const double* others, double* out) noexcept:
        """What open orders can take away: other orders in full, each group's quotes up to its cap."""
        cdef int i, j, S = self.rows.scenario_count
        cdef QuoteSum* q
        for j in range(S):
            out[j] = others[j]
        for i in range(quotes.count):
            q = &quotes.at[i]
            for j in range(S):
                out[j] += q.pnl[j] if q.pnl[j] > -q.cap[j] else -q.cap[j]

    cdef void order_beyond(self, QuoteBook* quotes, const int64_t* others, int64_t* out) noexcept:
        """What open orders can add to losses beyond price risk, twice: a group's quotes by no more than its caps of the
        four columns that such a loss is made of."""
        cdef int i, j
        cdef int64_t cap, start
        cdef QuoteSum* q
        for j in range(SPAN_COLUMNS):
            out[j] = others[j]
        for i in range(quotes.count):
            q = &quotes.at[i]
            start = <int64_t>q.cap[0] + <int64_t>q.cap[1]
            for j in range(SPAN_COLUMNS):
                cap = start + <int64_t>q.cap[j] + <int64_t>q.cap[paired_column(j)]
                out[j] += min(q.beyond[j], cap)

    cdef int64_t roll(self, QuoteBook* quotes, int underlying, int64_t* net_up, int64_t* net_down, int* bad) noexcept:
        """Roll charge of the groups beyond their cap of deltas, 1e-10 coin: the cap at the largest move of the
        expiries that they quote. Adds to the net deltas what each group can move them at most."""
        cdef int64_t charge = 0, move, up, down
        cdef QuoteSum* q
        cdef int i, b
        for i in range(quotes.count):
            q = &quotes.at[i]
            if q.whole:
                continue
            move = up = down = 0
            for b in range(self.rows.bucket_high[underlying]):
                if q.delta_up[b] or q.delta_down[b]:
                    move = max(move, self.rows.grid[underlying].move_q32[b])
                up += q.delta_up[b]
                down += q.delta_down[b]
            charge += wide_mul_div_ceil(q.cap_delta_e10, move, 4294967296, bad)
            net_up[0] += min(up, q.cap_delta_e10)
            net_down[0] += min(down, q.cap_delta_e10)
        return charge
