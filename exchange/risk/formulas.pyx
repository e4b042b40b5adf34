"""The cross models (`segregated_sm`, `cross_sm`): a requirement by formula for each position, summed.

Futures: value at the mark x (rate + per-coin rate x size in coins). Short options: a share of the coin (of the index
where linear) that falls with the distance out of the money, plus the mark; long options cost their premium and nothing
else. Linear options of one expiry never cost more than the most their payoffs can lose. Isolated: a rate of the
notional by leverage tier, see docs/margin.md. Equity is the margin balance:
cash, unrealised P&L of futures and accrued funding, no option value. Definitions and sources: docs/margin.md.
Everything is recomputed from the positions when asked for, in integers, each figure rounded up.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from exchange.clearing.account cimport MODEL_ISOLATED
from exchange.market.instrument cimport KIND_OPTION, OPTION_CALL
from exchange.clearing.position cimport PositionList
from exchange.wide cimport size_of, wide_mul, wide_mul_div_ceil, wide_mul_div_floor

cdef int64_t E6 = 1_000_000
cdef int64_t E8 = 100_000_000
cdef int64_t E9 = 1_000_000_000
cdef int64_t UNBOUNDED = 1 << 62
cdef int64_t COIN = 10_000_000_000       # minor units


cdef class Formulas:
    """Requirements of accounts under formula margin; `exposure` adds what open orders cost in cash."""

    def __cinit__(self, Accounts accounts, Ledger ledger, Instruments instruments, Positions positions, RiskRows rows,
                  config):
        cdef int u
        self.accounts = accounts
        self.ledger = ledger
        self.instruments = instruments
        self.positions = positions
        self.rows = rows
        self.standard = <Standard*>calloc(len(config.underlyings), sizeof(Standard))
        self.rates = <Rates*>calloc(instruments.capacity, sizeof(Rates))
        self.tiers = <Tier*>calloc(len(config.underlyings) * MAX_TIERS, sizeof(Tier))
        self.tier_count = <int*>calloc(len(config.underlyings), sizeof(int))
        self.minor_per_usd = <int64_t*>calloc(len(config.currencies), sizeof(int64_t))
        if (self.standard == NULL or self.rates == NULL or self.tiers == NULL or self.tier_count == NULL
                or self.minor_per_usd == NULL):
            raise MemoryError()
        for u, underlying in enumerate(config.underlyings):
            self.take_rates(u, underlying)
        for u, currency in enumerate(config.currencies):
            self.minor_per_usd[u] = 0 if currency.underlying else 10 ** currency.exponent

    def take_rates(self, int u, underlying):
        """The rates of an underlying's `standard` and `isolated` from now on."""
        cdef uint32_t slot
        p = underlying.standard
        self.standard[u].short_initial_e9 = p.short_initial_ppm * 1_000
        self.standard[u].short_floor_e9 = p.short_floor_ppm * 1_000
        self.standard[u].short_maintenance_e9 = p.short_maintenance_ppm * 1_000
        self.standard[u].put_mark_ppm = p.put_mark_ppm
        self.standard[u].future_initial_ppm = p.future_initial_ppm
        self.standard[u].future_maintenance_ppm = p.future_maintenance_ppm
        self.standard[u].per_coin_ppm = p.per_coin_ppm
        self._take_tiers(u, underlying.isolated.tiers)
        for slot in range(self.instruments.high):
            if self.instruments.at[slot].underlying == u:
                self.rates[slot].revision = 0

    def _take_tiers(self, int underlying, given):
        cdef Tier* tier = &self.tiers[underlying * MAX_TIERS]
        deduction, before = 0, given[0].maintenance_ppm
        self.tier_count[underlying] = len(given)
        for one in given:
            deduction += one.above_usd * (one.maintenance_ppm - before)
            before = one.maintenance_ppm
            tier.above_usd = one.above_usd
            tier.initial_ppm = one.initial_ppm
            tier.maintenance_ppm = one.maintenance_ppm
            tier.deduction = deduction
            tier += 1

    def __dealloc__(self):
        free(self.standard)
        free(self.tiers)
        free(self.tier_count)
        free(self.minor_per_usd)
        free(self.rates)
        free(self.trials)
        free(self.held)

    # ------------------------------------------------------------------ trials

    cdef int suppose(self, uint32_t account_id, uint32_t instrument, int64_t lots, int64_t value) except -1:
        """Suppose `lots` more (and undo it with the negative of both) while something is checked."""
        cdef uint32_t i
        cdef Trial* trial
        cdef Trial* grown
        for i in range(self.trial_count):
            trial = &self.trials[i]
            if trial.account_id == account_id and trial.instrument == instrument:
                trial.lots += lots
                trial.value_minor += value
                if trial.lots == 0 and trial.value_minor == 0:
                    self.trial_count -= 1
                    trial[0] = self.trials[self.trial_count]
                return 0
        if self.trial_count == self.trial_capacity:
            self.trial_capacity = self.trial_capacity * 2 if self.trial_capacity else 16
            grown = <Trial*>realloc(self.trials, self.trial_capacity * sizeof(Trial))
            if grown == NULL:
                raise MemoryError()
            self.trials = grown
        trial = &self.trials[self.trial_count]
        self.trial_count += 1
        trial.account_id = account_id
        trial.instrument = instrument
        trial.lots = lots
        trial.value_minor = value
        return 0

    # ------------------------------------------------------------------ per contract

    cdef Rates* _rates(self, uint32_t instrument) noexcept:
        """What a short lot of an option costs at the current marks."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef Rates* rates = &self.rates[instrument]
        cdef uint64_t revision = self.rows.revision[row.underlying]
        cdef Standard* s = &self.standard[row.underlying]
        cdef int64_t index = self.rows.index_e8[row.underlying]
        cdef int64_t coin, out_of_money, share, mark = row.mark_minor
        if rates.revision == revision + 1:
            return rates
        rates.revision = revision + 1
        coin = row.lot_scale_minor
        if not row.inverse:
            coin = wide_mul_div_ceil(coin, index, E8, &self.failed)
        out_of_money = row.strike_e8 - index if row.option_type == OPTION_CALL else index - row.strike_e8
        share = s.short_initial_e9
        if out_of_money > 0:
            share -= wide_mul_div_floor(out_of_money, E9, index, &self.failed)
        share = max(share, s.short_floor_e9)
        rates.initial = wide_mul_div_ceil(coin, share, E9, &self.failed) + mark
        rates.maintenance = wide_mul_div_ceil(coin, s.short_maintenance_e9, E9, &self.failed)
        if row.option_type != OPTION_CALL:
            rates.maintenance = max(rates.maintenance, wide_mul_div_ceil(mark, s.put_mark_ppm, E6, &self.failed))
        rates.maintenance += mark
        rates.initial = max(rates.initial, rates.maintenance)
        return rates

    cdef int64_t _future(self, Instrument* row, int64_t lots, int64_t rate_ppm) noexcept:
        """Requirement of a future's lots (sign ignored) at a base rate that grows with the size in coins."""
        cdef int64_t index = self.rows.index_e8[row.underlying]
        cdef int64_t coins_e8, value, rate_e12
        lots = size_of(lots)
        if lots == 0:
            return 0
        if row.inverse:
            coins_e8 = wide_mul_div_ceil(wide_mul(lots, row.lot_size_e8, &self.failed), E8, index, &self.failed)
        else:
            coins_e8 = wide_mul(lots, row.lot_size_e8, &self.failed)
        value = wide_mul(lots, size_of(row.mark_minor), &self.failed)
        rate_e12 = rate_ppm * E6 + wide_mul_div_ceil(coins_e8, self.standard[row.underlying].per_coin_ppm, 100,
                                                     &self.failed)
        rate_e12 = min(rate_e12, E6 * E6)
        return wide_mul_div_ceil(value, rate_e12, E6 * E6, &self.failed)

    cdef int64_t _isolated(self, Instrument* row, int64_t lots, int64_t leverage_e2, bint initial) noexcept:
        """Requirement of an isolated future's lots (sign ignored), minor units.

        Notional N in USD, tier by N: maintenance is rate x N - deduction, initial the larger of rate x N and N over
        the leverage. Linear: N is the value at the mark. Inverse: N is the size, the requirement N's over the mark."""
        cdef Tier* tier = &self.tiers[row.underlying * MAX_TIERS]
        cdef int64_t unit = E8 if row.inverse else self.minor_per_usd[row.currency]
        cdef int64_t notional, need
        cdef int i = 0
        lots = size_of(lots)
        if lots == 0:
            return 0
        notional = wide_mul(lots, row.lot_size_e8 if row.inverse else size_of(row.mark_minor), &self.failed)
        while i + 1 < self.tier_count[row.underlying] and notional // unit >= tier[1].above_usd:
            tier += 1
            i += 1
        if initial:
            need = max(wide_mul_div_ceil(notional, tier.initial_ppm, E6, &self.failed),
                       wide_mul_div_ceil(notional, 100, leverage_e2, &self.failed))
        else:
            need = wide_mul_div_ceil(notional, tier.maintenance_ppm, E6, &self.failed)
            need -= wide_mul_div_floor(tier.deduction, unit, E6, &self.failed)
        return wide_mul_div_ceil(need, COIN, max(row.mark_price_e8, 1), &self.failed) if row.inverse else need

    # ------------------------------------------------------------------ options of one expiry

    cdef int64_t _most_to_lose(self, Holding* held, uint32_t count) noexcept:
        """The largest loss of the marked (done 2) linear options by payoff: at zero, at every strike; UNBOUNDED where
        calls are net short."""
        cdef uint32_t i, j
        cdef int64_t at, worst = 0, payoff, part, calls = 0
        cdef Instrument* row
        for i in range(count):
            if held[i].done == 2 and self.instruments.at[held[i].instrument].option_type == OPTION_CALL:
                calls += held[i].worst
        if calls < 0:
            return UNBOUNDED
        for j in range(count + 1):
            if j < count and held[j].done != 2:
                continue
            at = 0 if j == count else self.instruments.at[held[j].instrument].strike_e8
            payoff = 0
            for i in range(count):
                if held[i].done != 2:
                    continue
                row = &self.instruments.at[held[i].instrument]
                part = at - row.strike_e8 if row.option_type == OPTION_CALL else row.strike_e8 - at
                if part <= 0 or held[i].worst == 0:
                    continue
                part = wide_mul_div_floor(part, wide_mul(held[i].worst, row.lot_scale_minor, &self.failed), E8,
                                          &self.failed)
                payoff += part
            worst = max(worst, -payoff)
        return worst

    cdef int64_t _options(self, Holding* held, uint32_t count, bint initial) noexcept:
        """Requirement of all options among the holdings, those of a linear expiry capped at the most they can lose."""
        cdef uint32_t i, j
        cdef int64_t total = 0, group, cap
        cdef Instrument* row
        cdef Instrument* other
        cdef Rates* rates
        for i in range(count):
            held[i].done = 0
        for i in range(count):
            row = &self.instruments.at[held[i].instrument]
            if row.kind != KIND_OPTION or held[i].done:
                continue
            group = 0
            for j in range(i, count):
                other = &self.instruments.at[held[j].instrument]
                if other.kind != KIND_OPTION or held[j].done or other.expiry_ns != row.expiry_ns or (
                        other.chain != row.chain):
                    continue
                held[j].done = 2
                if held[j].worst < 0:
                    rates = self._rates(held[j].instrument)
                    group += wide_mul(-held[j].worst, rates.initial if initial else rates.maintenance, &self.failed)
            if group and not row.inverse:
                cap = self._most_to_lose(held, count)
                group = min(group, cap)
            total += group
            for j in range(i, count):
                if held[j].done == 2:
                    held[j].done = 1
        return total

    # ------------------------------------------------------------------ accounts

    cdef Holding* _holding(self, uint32_t* count, uint32_t instrument) except NULL:
        """The holding of an instrument among the first `count`, made when missing."""
        cdef uint32_t i
        cdef Holding* grown
        for i in range(count[0]):
            if self.held[i].instrument == instrument:
                return &self.held[i]
        if count[0] == self.held_capacity:
            self.held_capacity = self.held_capacity * 2 if self.held_capacity else 64
            grown = <Holding*>realloc(self.held, self.held_capacity * sizeof(Holding))
            if grown == NULL:
                raise MemoryError()
            self.held = grown
        memset(&self.held[count[0]], 0, sizeof(Holding))
        self.held[count[0]].instrument = instrument
        count[0] += 1
        return &self.held[count[0] - 1]

    cdef uint32_t _gather(self, uint32_t account_id, int currency, bint with_orders, int64_t* equity) except? 0:
        """Holdings in a currency, trials included; the margin balance."""
        cdef PositionList* list_ = &self.positions.of[account_id]
        cdef Position* p
        cdef Instrument* row
        cdef Holding* holding
        cdef Trial* trial
        cdef uint32_t i, count = 0
        equity[0] = self.ledger.balance(account_id, currency)
        for i in range(list_.count):
            p = &list_.at[i]
            row = &self.instruments.at[p.instrument]
            if row.currency != currency or row.leg_count:    # what combos' orders may do stands with their legs
                continue
            # entries are distinct and ascending: a new holding each, without looking for it
            if count == self.held_capacity:
                self._holding(&count, p.instrument)
                count -= 1
            holding = &self.held[count]
            count += 1
            holding.instrument = p.instrument
            holding.lots = p.quantity_lots
            holding.buys = p.open_buy_lots + p.combo_buy_lots if with_orders else 0
            holding.sells = p.open_sell_lots + p.combo_sell_lots if with_orders else 0
            if row.kind != KIND_OPTION:
                equity[0] += self.positions.value_minor(p)
        for i in range(self.trial_count):
            trial = &self.trials[i]
            row = &self.instruments.at[trial.instrument]
            if trial.account_id != account_id or row.currency != currency:
                continue
            holding = self._holding(&count, trial.instrument)
            holding.lots += trial.lots
            equity[0] += trial.value_minor
            if row.kind == KIND_OPTION:
                equity[0] -= wide_mul(trial.lots, row.mark_minor, &self.failed)
        return count

    cdef int margin(self, uint32_t account_id, int currency, bint with_orders, int64_t order_cost_minor,
                    Margin* out) except -1:
        """Margin balance and requirements in one currency, minor units; `order_cost_minor`: what orders may cost."""
        cdef uint32_t i, count = self._gather(account_id, currency, with_orders, &out.equity)
        cdef Holding* holding
        cdef Instrument* row
        cdef Standard* s
        cdef int64_t leverage = self.accounts.at[account_id].leverage_e2
        cdef bint isolated = self.accounts.at[account_id].model == MODEL_ISOLATED
        out.initial = order_cost_minor if with_orders else 0
        out.maintenance = 0
        for i in range(count):
            holding = &self.held[i]
            row = &self.instruments.at[holding.instrument]
            if row.kind == KIND_OPTION:
                continue
            if isolated:
                out.maintenance += self._isolated(row, holding.lots, leverage, False)
                out.initial += max(self._isolated(row, holding.lots + holding.buys, leverage, True),
                                   self._isolated(row, holding.lots - holding.sells, leverage, True))
                continue
            s = &self.standard[row.underlying]
            out.maintenance += self._future(row, holding.lots, s.future_maintenance_ppm)
            out.initial += max(self._future(row, holding.lots + holding.buys, s.future_initial_ppm),
                               self._future(row, holding.lots - holding.sells, s.future_initial_ppm))
        for i in range(count):
            self.held[i].worst = self.held[i].lots
        out.maintenance += self._options(self.held, count, False)
        for i in range(count):
            self.held[i].worst = self.held[i].lots - self.held[i].sells
        out.initial += self._options(self.held, count, True)
        return 0

    cdef int64_t options_value(self, uint32_t account_id, int currency) noexcept:
        """What the account's options are worth at the marks, minor units."""
        cdef PositionList* list_ = &self.positions.of[account_id]
        cdef uint32_t i
        cdef int64_t total = 0
        for i in range(list_.count):
            if (self.instruments.at[list_.at[i].instrument].currency == currency
                    and self.instruments.at[list_.at[i].instrument].kind == KIND_OPTION):
                total += self.positions.value_minor(&list_.at[i])
        return total

    def of_position(self, uint32_t instrument, int64_t lots, int64_t buys, int64_t sells):
        """(initial, maintenance) of a position with open lots by itself, without order costs; minor units."""
        cdef Instrument* row = &self.instruments.at[instrument]
        cdef Standard* s = &self.standard[row.underlying]
        cdef Rates* rates
        if row.kind == KIND_OPTION:
            rates = self._rates(instrument)
            return max(0, sells - lots) * rates.initial, max(0, -lots) * rates.maintenance
        return (max(self._future(row, lots + buys, s.future_initial_ppm),
                    self._future(row, lots - sells, s.future_initial_ppm)),
                self._future(row, lots, s.future_maintenance_ppm))
