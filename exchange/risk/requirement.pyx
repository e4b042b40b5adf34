"""Requirements: what scenario books, shocks and charges make of one margin entity.

An entity is a settlement currency of a segregated account, or a whole cross account. Figures are integers, each step
rounded up. Definitions: docs/margin.md.
"""

from libc.string cimport memcpy, memset

from exchange.clearing.account cimport by_formula, is_cross
from exchange.risk.quote_caps cimport SPAN_COLUMNS, QuoteSum, paired_column
from exchange.risk.risk_rows cimport GRID_SPAN, MAX_SCENARIOS, Grid
from exchange.risk.rounding cimport lot_units
from exchange.risk.span cimport MAX_PARTS, SpanPart, Spans, span_figures, span_requirement, span_without_orders
from exchange.wide cimport size_of, wide_mul_div_ceil, wide_mul_div_floor, wide_mul_shift
from margin_ext.kernels cimport worst_loss

cdef int64_t PPM = 1_000_000
cdef int64_t NO_BOUND = <int64_t>1 << 60


cdef class Requirements(Horizon):
    """Equity and requirements of margin entities."""

    def __cinit__(self, accounts, ledger, instruments, orders, positions, rows, protection, config):
        self.spans = Spans(rows, config)
        if self.spans.credit_count == 0:
            self.credited = False

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
                    up += books[k].orders.delta_up[b]
                    down += books[k].orders.delta_down[b]
                    for i in range(books[k].quotes.count if books[k].quotes != NULL else 0):
                        quote = &books[k].quotes.at[i]
                        if quote.whole:
                            up += quote.delta_up[b]
                            down += quote.delta_down[b]
            if delta == 0 and up == 0 and down == 0:
                continue
            worst = max(size_of(delta + up), size_of(delta - down))
            charge += wide_mul_div_ceil(worst, g.move_q32[b], 4294967296, &self.failed)
            net += delta
            net_up += up
            net_down += down
        worst = max(size_of(net + net_up), size_of(net - net_down))
        excess = worst - g.delta_threshold_e10
        if excess > 0:
            move = wide_mul_div_ceil(excess, g.delta_move_per_coin_e9, 10_000_000_000, &self.failed)
            charge += wide_mul_div_ceil(worst, min(move, g.delta_move_max_e9), 1_000_000_000, &self.failed)
        return charge

    cdef int64_t _charges(self, int underlying, ScenarioBook** books, int count, int ordered, bint coin) noexcept:
        """Charges on deltas over some books of one underlying, in the row unit, rounded up; see `_roll`."""
        cdef int64_t charge = self._roll(underlying, books, count, ordered)
        return charge if coin else self._usd_of_coin(underlying, charge)

    cdef void _span_charges(self, SpanPart* part, int which, ScenarioBook** books, int count, int ordered,
                            bint coin) noexcept:
        """Charges on deltas and the short-option minimum of a part. The charge on delivery is that of the roll."""
        cdef int u = part.underlying
        part.calendar_e10[which] = self.spans.calendar(u, books, count, ordered, &self.failed)
        part.delivery_e10[which] = self._roll(u, books, count, ordered)
        part.charge[which] = part.calendar_e10[which] + part.delivery_e10[which]
        part.short_minimum[which] = self.spans.short_minimum(u, books, count, ordered, &self.failed)
        if not coin:
            part.charge[which] = self._usd_of_coin(u, part.charge[which])
            part.short_minimum[which] = self._usd_of_coin(u, part.short_minimum[which])

    cdef int64_t _usd_of_coin(self, int underlying, int64_t coin_e10) noexcept:
        """1e-10 coin at the index in 1e-4 USD, rounded up."""
        return wide_mul_div_ceil(coin_e10, self.rows.index_e8[underlying], 100_000_000_000_000, &self.failed)

    cdef int margin(self, uint32_t account_id, int currency, int scope, Margin* out) except -1:
        """Equity and requirements of one margin entity: a currency of a segregated account, or a cross account.

        `scope` says which open orders count towards the initial margin.
        """
        out.excluded = 0
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

    cdef int64_t _chain_loss(self, uint32_t account_id, int chain, ScenarioBook* book, int scope,
                             Extra* extra) except -1:
        """Worst scenario, roll and delta shock of a chain in row units, and into `extra` the charges beside; `scope`:
        with the book's open orders (brought up), or NO_ORDERS."""
        cdef int u = self.rows.chain[chain].underlying
        cdef int currency = self.rows.chain[chain].currency
        cdef bint coin = self.currency_underlying[currency] >= 0
        cdef Grid* g = &self.rows.grid[u]
        cdef int64_t worst
        extra.initial = extra.maintenance = 0
        worst = <int64_t>worst_loss(
            book.position_pnl, self._orders_pnl(book) if scope != NO_ORDERS else NULL,
            &g.dampener_coin[0] if coin else &g.dampener_usd[0], self.rows.scenario_count)
        if self.parts[u].any:
            self.extra(account_id, u, currency, scope, extra)
            worst = max(worst, worst_rival(extra))
        return worst + self._charges(u, &book, 1, scope != NO_ORDERS, coin)

    cdef int _chain_need(self, uint32_t account_id, int chain, ScenarioBook* book, int scope, int64_t* initial,
                         int64_t* maintenance) except -1:
        """Raise the requirements, in row units and without what orders may cost, to those of one book."""
        cdef Grid* g = &self.rows.grid[self.rows.chain[chain].underlying]
        cdef Extra extra
        cdef int64_t open_lots = 0, loss = self._chain_loss(account_id, chain, book, NO_ORDERS, &extra)
        maintenance[0] = max(maintenance[0], ceil_ppm(loss, g.maintenance_factor_ppm, &self.failed) + extra.maintenance
                             + book.held_lots * lot_units(g.maintenance_factor_ppm))
        if scope != NO_ORDERS:
            loss = self._chain_loss(account_id, chain, book, scope, &extra)
            open_lots = book.open_lots
        initial[0] = max(initial[0], ceil_ppm(loss, g.initial_factor_ppm, &self.failed) + extra.initial
                         + (book.held_lots + open_lots) * lot_units(g.initial_factor_ppm))
        return 0

    cdef int _segregated(self, uint32_t account_id, int currency, int scope, Margin* out) except -1:
        cdef int k, u, counted, spans = 0
        cdef bint coin = self.currency_underlying[currency] >= 0
        cdef bint with_orders, beside        # orders of the chain; of the account in the underlying, where they matter
        cdef int64_t unit = self.minor_per_unit[currency]
        cdef int64_t initial, maintenance
        cdef ScenarioBook* book
        cdef Grid* g
        cdef SpanPart parts[MAX_PARTS]
        out.equity = self.equity(account_id, currency)
        out.initial = 0
        out.maintenance = 0
        for k in range(self.rows.chain_count):
            if self.rows.chain[k].currency != currency:
                continue
            book = self.book(account_id, k)
            if book == NULL or (book.held_lots == 0 and book.open_lots == 0):
                continue
            u = self.rows.chain[k].underlying
            g = &self.rows.grid[u]
            with_orders = (scope == ALL_ORDERS or scope == k) and book.open_lots
            if with_orders:
                self._bring_up(account_id, k, book, scope)
                out.initial += book.order_cost_minor
            beside = with_orders or (scope == ALL_ORDERS and self.orders_in(account_id, u))
            if g.kind == GRID_SPAN:
                parts[spans].underlying = u
                self._span_book(&parts[spans], book, coin, unit, with_orders)
                self._span_concentration(&parts[spans], account_id, currency, scope if beside else <int>NO_ORDERS)
                spans += 1
                continue
            initial = maintenance = 0
            if beside and not with_orders:
                self._bring_up(account_id, k, book, scope)
            counted = scope if beside else <int>NO_ORDERS
            self._chain_need(account_id, k, book, counted, &initial, &maintenance)
            if self.leave_soon(account_id, u, currency, counted):
                self._chain_need(account_id, k, self.book(account_id, k), counted, &initial, &maintenance)
                self.take_back(account_id)
            out.initial += initial * unit
            out.maintenance += maintenance * unit
        return self._span_sum(parts, spans, unit, scope, out)

    cdef int _span_concentration(self, SpanPart* part, uint32_t account_id, int currency, int scope) except -1:
        """What a part bears of its owner's charge, in its row unit; `currency` -1: of a cross account."""
        cdef Extra extra
        part.concentration[0] = part.concentration[1] = 0
        if not self.parts[part.underlying].concentrated:
            return 0
        self.extra(account_id, part.underlying, currency, NO_ORDERS, &extra)
        part.concentration[0] = part.concentration[1] = extra.maintenance
        if scope != NO_ORDERS:
            self.extra(account_id, part.underlying, currency, scope, &extra)
            part.concentration[1] = extra.initial
        return 0

    cdef void _span_book(self, SpanPart* part, ScenarioBook* book, bint coin, int64_t unit, bint ordered) noexcept:
        """The figures of one book under `span16`, in its row unit."""
        cdef int64_t losses[MAX_SCENARIOS]
        cdef double* orders_pnl
        cdef int64_t* beyond
        cdef int j, which, u = part.underlying
        part.ordered = ordered
        part.bounded = False
        part.delta_e10 = 0
        for j in range(self.rows.bucket_high[u]):
            part.delta_e10 += book.delta[j]
        part.held_lots = book.held_lots
        part.open_lots = book.open_lots if ordered else 0
        for which in range(2 if ordered else 1):
            for j in range(SPAN_COLUMNS):
                losses[j] = -<int64_t>book.position_pnl[j]
            if which:
                orders_pnl = self._orders_pnl(book)
                for j in range(SPAN_COLUMNS):
                    losses[j] -= <int64_t>orders_pnl[j]
            self.spans.scan(part, which, losses)
            self._span_charges(part, which, &book, 1, which, coin)
            part.option_value[which] = book.option_minor + (book.option_up_minor if which else 0)
            part.option_value[which] = wide_mul_div_ceil(part.option_value[which], 1, unit, &self.failed)
        if not ordered:
            span_without_orders(part)
        elif self.credited:
            part.bounded = True
            beyond = self._orders_beyond(book)
            for j in range(SPAN_COLUMNS):
                part.loss[j] = losses[j]
                part.beyond[j] = beyond[j] + <int64_t>(book.position_pnl[paired_column(j)] - book.position_pnl[j]
                                                       - book.position_pnl[0] - book.position_pnl[1])
            self.spans.deltas(part, &book, 1, 1)

    cdef int _span_sum(self, SpanPart* parts, int count, int64_t unit, int scope, Margin* out) except -1:
        """Add the requirements of an entity's underlyings under `span16`, credits between them taken off."""
        cdef Grid* g
        cdef int p
        cdef bint bounded = False
        if count == 0:
            return 0
        for p in range(count if scope == ALL_ORDERS else 0):
            bounded = bounded or parts[p].bounded
        self.spans.credits(parts, count, 0, &self.failed)
        if bounded and count > 1:
            self.spans.credits_with_orders(parts, count, &self.failed)
        else:
            self.spans.credits(parts, count, 1, &self.failed)
        for p in range(count):
            g = &self.rows.grid[parts[p].underlying]
            out.maintenance += unit * span_requirement(&parts[p], 0, g.maintenance_factor_ppm, parts[p].held_lots,
                                                       &self.failed)
            out.initial += unit * span_requirement(&parts[p], 1, g.initial_factor_ppm,
                                                   parts[p].held_lots + parts[p].open_lots, &self.failed)
            out.excluded += unit * max(parts[p].option_value[0], 0)
            if self.told is not None:
                self.told.append(span_figures(&parts[p]))
        return 0

    def span_parts(self, uint32_t account_id, int currency):
        """What the requirement of an entity is made of under `span16`: figures by name per underlying, each of the
        positions alone and with the open orders, in the entity's row unit where the name says no other."""
        cdef Margin m
        self.told = []
        try:
            self.margin(account_id, currency, ALL_ORDERS, &m)
            return self.told
        finally:
            self.told = None

    cdef bint any_orders(self, uint32_t account_id) noexcept:
        """Whether a portfolio account has open orders."""
        cdef ScenarioBook* book
        cdef int k
        for k in range(self.rows.chain_count):
            book = self.book(account_id, k)
            if book != NULL and book.open_lots:
                return True
        return False

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
        cdef int64_t worst = 0, cut
        cdef int j
        if not self._cross_losses(account_id, underlying, base, costs, scope, losses, NULL):
            return 0
        for j in range(self.rows.scenario_count):
            if losses[j] > worst:
                cut = losses[j] - min(losses[j], <int64_t>g.dampener_usd[j])
                if cut > worst:
                    worst = cut
        return worst

    cdef bint _cross_losses(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs, int scope,
                            int64_t* losses, int64_t* beyond) noexcept:
        """The fall of haircut value in every scenario; False where nothing in the account depends on it. Into `beyond`
        (NULL: not asked for) twice the loss beyond price risk in the columns of `span16`."""
        cdef Grid* g = &self.rows.grid[underlying]
        cdef int64_t nets[MAX_SCENARIOS]
        cdef int64_t equity, cut
        cdef int j, c, k, S = self.rows.scenario_count
        cdef ScenarioBook* book
        cdef double* orders_pnl
        cdef bint counted, involved = False
        memset(losses, 0, S * sizeof(int64_t))
        if beyond != NULL:
            memset(beyond, 0, SPAN_COLUMNS * sizeof(int64_t))
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
            if beyond != NULL:
                self._cross_beyond(c, book, self._orders_beyond(book) if counted else NULL, nets, beyond)
        return involved

    cdef void _cross_beyond(self, int currency, const ScenarioBook* book, const int64_t* more, const int64_t* nets,
                            int64_t* beyond) noexcept:
        """Add a currency's part of twice the loss beyond price risk: of what a book holds (NULL: nothing) and what its
        orders can add (`more`; NULL: nothing), haircut. `nets`: what the currency is worth at least, by column.

        Equity shifts all four columns alike as long as a surcharge cannot weigh on some of them alone: where it could,
        there is no bound worth having, and 2**60 stands for none."""
        cdef int64_t value
        cdef int j
        cdef bint bent = self.haircut_ppm[currency] != 0 or self.debt_ppm[currency] != PPM
        for j in range(SPAN_COLUMNS):
            if bent and min(nets[j], min(nets[0], nets[1])) < 0:
                beyond[j] = NO_BOUND
            if beyond[j] == NO_BOUND:
                continue
            value = 0 if more == NULL else more[j]
            if book != NULL:
                value += <int64_t>(book.position_pnl[paired_column(j)] - book.position_pnl[j] - book.position_pnl[0]
                                   - book.position_pnl[1])
            value -= wide_mul_div_floor(value, self.haircut_ppm[currency], PPM, &self.failed)
            beyond[j] += value + 3       # three falls of haircut value, each rounded down

    cdef int64_t _borne(self, uint32_t account_id, int underlying, int64_t* base, int64_t* costs, int scope,
                        int64_t usd) noexcept:
        """Fall of haircut value in 1e-4 USD where a loss of `usd` falls on the currency of the underlying's books in
        which it weighs most (falls are convex: no way to share it weighs more). `base` by currency: after `costs`."""
        cdef int c, k
        cdef int64_t worst = 0
        cdef ScenarioBook* book
        for k in range(self.rows.chain_count if usd else 0):
            if self.rows.chain[k].underlying != underlying:
                continue
            book = self.book(account_id, k)
            if book != NULL and (book.held_lots or (self._counts(scope, k) and book.open_lots)):
                c = self.rows.chain[k].currency
                worst = max(worst, base[c] - self._haircut(
                    c, self.usd_units(c, self.equity(account_id, c) - costs[c]) - usd))
        return worst

    cdef int64_t _underlying_loss(self, uint32_t account_id, int underlying, ScenarioBook** books, int count,
                                  int ordered, int64_t* base, int64_t* costs, int scope, Extra* extra) except -1:
        """Worst scenario, roll and delta shock of an underlying of a cross account in 1e-4 USD, and into `extra` the
        charges beside. Bit k of `ordered`: the open orders of books[k] count."""
        cdef int64_t worst = self._cross_loss(account_id, underlying, base, costs, scope)
        extra.initial = extra.maintenance = 0
        if self.parts[underlying].any and count:
            self.extra(account_id, underlying, -1, scope, extra)
            worst = max(worst, self._borne(account_id, underlying, base, costs, scope, worst_rival(extra)))
        return worst + self._charges(underlying, books, count, ordered, False)

    cdef int _underlying_need(self, uint32_t account_id, int underlying, ScenarioBook** books, int count, int ordered,
                              int64_t* base, int64_t* left, int64_t* costs, int scope, Margin* need) except -1:
        """Raise the requirements to those of some books of an underlying of a cross account, 1e-4 USD; `base` by
        currency, `left` after `costs`."""
        cdef Grid* g = &self.rows.grid[underlying]
        cdef Extra extra
        cdef int64_t none[16]
        cdef int64_t loss, lots = 0
        cdef bint costly = False
        cdef int k
        memset(none, 0, sizeof(none))
        for k in range(count):
            lots += books[k].held_lots
        for k in range(self.currencies):
            costly = costly or costs[k] != 0
        loss = self._underlying_loss(account_id, underlying, books, count, 0, base, none, NO_ORDERS, &extra)
        need.maintenance = max(need.maintenance, ceil_ppm(loss, g.maintenance_factor_ppm, &self.failed)
                               + extra.maintenance + lots * lot_units(g.maintenance_factor_ppm))
        if ordered or costly:
            loss = self._underlying_loss(account_id, underlying, books, count, ordered, left, costs, scope, &extra)
        for k in range(count):
            lots += books[k].open_lots if ordered >> k & 1 else 0
        need.initial = max(need.initial, ceil_ppm(loss, g.initial_factor_ppm, &self.failed) + extra.initial
                           + lots * lot_units(g.initial_factor_ppm))
        return 0

    cdef int _cross(self, uint32_t account_id, int scope, Margin* out) except -1:
        """What orders may cost is taken from the balances, before haircuts; scenarios start from what is then left."""
        cdef int64_t base[16]
        cdef int64_t left[16]
        cdef int64_t costs[16]
        cdef int64_t none[16]
        cdef SpanPart parts[MAX_PARTS]
        cdef int currency[8]
        cdef int spans = 0
        cdef bint bounded = self.credited and scope == ALL_ORDERS and self.any_orders(account_id)
        cdef ScenarioBook* held[8]
        cdef ScenarioBook* book
        cdef int c, k, u, n, ordered, costly = False
        cdef int64_t lots, open_lots, equity
        cdef Grid* g
        cdef Margin need
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
                currency[n] = self.rows.chain[k].currency
                lots += book.held_lots
                if self._counts(scope, k) and book.open_lots:
                    ordered |= 1 << n
                    open_lots += book.open_lots
                n += 1
            if g.kind == GRID_SPAN:
                parts[spans].underlying = u
                parts[spans].held_lots, parts[spans].open_lots = lots, open_lots
                parts[spans].bounded = bounded
                self._span_need(&parts[spans], account_id, held, currency, n, ordered, base, none, NO_ORDERS)
                if ordered or costly or bounded:
                    self._span_need(&parts[spans], account_id, held, currency, n, ordered, left, costs, scope)
                else:
                    span_without_orders(&parts[spans])
                self._span_concentration(&parts[spans], account_id, -1, scope if ordered else <int>NO_ORDERS)
                spans += 1
                continue
            need.initial = need.maintenance = 0
            self._underlying_need(account_id, u, held, n, ordered, base, left, costs, scope, &need)
            if self.leave_soon(account_id, u, -1, scope):
                for k in range(n):       # the same chains in the same order
                    held[k] = &self.later_book[k]
                self._underlying_need(account_id, u, held, n, ordered, base, left, costs, scope, &need)
                self.take_back(account_id)
            out.initial += need.initial
            out.maintenance += need.maintenance
        return self._span_sum(parts, spans, 1, scope, out)

    cdef void _span_need(self, SpanPart* part, uint32_t account_id, ScenarioBook** books, const int* currency,
                         int count, int ordered, int64_t* base, int64_t* costs, int scope) noexcept:
        """The figures of one underlying of a cross account under `span16`: of the positions with NO_ORDERS, else with
        the open orders of `scope` (bit k of `ordered`: those of books[k]), and what bounds them in a bounded part."""
        cdef int64_t losses[MAX_SCENARIOS]
        cdef int64_t cash[16]
        cdef bint whole = scope != NO_ORDERS
        cdef bint bounded = whole and part.bounded
        self._cross_losses(account_id, part.underlying, base, costs, scope, losses, part.beyond if bounded else NULL)
        self._without_options(account_id, scope, costs, cash)
        self._span_cross(part, books, currency, count, whole, ordered if whole else 0, losses, cash)
        if bounded:
            self.spans.deltas(part, books, count, ordered)
            memcpy(part.loss, losses, SPAN_COLUMNS * sizeof(int64_t))

    cdef void _without_options(self, uint32_t account_id, int scope, const int64_t* costs, int64_t* cash) noexcept:
        """Per currency what a cross account has left after `costs` without what options margined by `span16` add to
        it (books that owe on them take nothing off), with the open orders of `scope`; minor units."""
        cdef ScenarioBook* book
        cdef int64_t value
        cdef int c, k
        for c in range(self.currencies):
            cash[c] = self.equity(account_id, c) - costs[c]
        for k in range(self.rows.chain_count):
            book = self.book(account_id, k)
            if book != NULL:
                value = book.option_minor + (book.option_up_minor if self._counts(scope, k) and book.open_lots else 0)
                cash[self.rows.chain[k].currency] -= max(value, 0)

    cdef int64_t _option_value(self, int currency, int64_t cash, int64_t minor) noexcept:
        """What options worth `minor` add to haircut value on top of `cash`, 1e-4 USD, rounded up. Several books in a
        currency each stand directly on the cash, where value adds most; one that owes takes off the least it can."""
        cdef int64_t owed
        if minor > 0:
            return (self._haircut(currency, self.usd_units(currency, cash + minor))
                    - self._haircut(currency, self.usd_units(currency, cash)) + 3)
        if minor == 0:
            return 0
        owed = self.usd_units(currency, -minor)
        return 1 - owed + wide_mul_div_ceil(owed, self.haircut_ppm[currency], 1_000_000, &self.failed)

    cdef void _span_cross(self, SpanPart* part, ScenarioBook** books, const int* currency, int count, int which,
                          int ordered, const int64_t* losses, const int64_t* cash) noexcept:
        """The figures of one underlying of a cross account under `span16`, 1e-4 USD; an option value counts as what it
        adds to haircut value, on top of the `cash` of its currency."""
        cdef int u = part.underlying
        cdef int b, k
        cdef int64_t value
        part.ordered = ordered != 0
        part.delta_e10 = part.option_value[which] = 0
        for k in range(count):
            for b in range(self.rows.bucket_high[u]):
                part.delta_e10 += books[k].delta[b]
            value = books[k].option_minor + (books[k].option_up_minor if ordered >> k & 1 else 0)
            part.option_value[which] += self._option_value(currency[k], cash[currency[k]], value)
        self.spans.scan(part, which, losses)
        self._span_charges(part, which, books, count, ordered, False)
