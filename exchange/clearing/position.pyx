"""Positions: signed lots and signed cost, per account in ascending instrument slot.

Futures realise P&L in cash against the instrument's clearing account when a position shrinks; options pay their
premium in cash at the trade and keep the cost for information. Per instrument, lots net to zero, and for futures
`sum(cost) + clearing == 0`.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset

from exchange.clearing.ledger cimport SYS_FUNDING
from exchange.market.instrument cimport KIND_OPTION, KIND_PERPETUAL
from exchange.wide cimport size_of, wide_add, wide_funding, wide_join, wide_mul, wide_mul_div_floor


cdef class Positions:
    """All accounts' positions, and the funding index of each perpetual."""

    def __cinit__(self, Instruments instruments, Ledger ledger):
        self.instruments = instruments
        self.ledger = ledger
        self.accounts = 256
        self.of = <PositionList*>calloc(self.accounts, sizeof(PositionList))
        self.reducing = <uint8_t*>calloc(self.accounts, 1)
        self.funding_index = <int128*>calloc(instruments.capacity, sizeof(int128))
        self.net_lots = <int64_t*>calloc(instruments.capacity, sizeof(int64_t))
        self.net_cost = <int128*>calloc(instruments.capacity, sizeof(int128))
        if self.of == NULL or self.funding_index == NULL or self.net_lots == NULL or self.net_cost == NULL:
            raise MemoryError()
        if self.reducing == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef uint32_t a
        if self.of != NULL:
            for a in range(self.accounts):
                free(self.of[a].at)
        free(self.of)
        free(self.reducing)
        free(self.shrank)
        free(self.funding_index)
        free(self.net_lots)
        free(self.net_cost)

    cdef int grow(self, uint32_t account_id) except -1:
        """Room for an account's list."""
        cdef uint32_t size = self.accounts
        cdef PositionList* grown
        cdef uint8_t* flags
        while size <= account_id:
            size *= 2
        if size == self.accounts:
            return 0
        grown = <PositionList*>realloc(self.of, size * sizeof(PositionList))
        if grown == NULL:
            raise MemoryError()
        memset(grown + self.accounts, 0, (size - self.accounts) * sizeof(PositionList))
        self.of = grown
        flags = <uint8_t*>realloc(self.reducing, size)
        if flags == NULL:
            raise MemoryError()
        memset(flags + self.accounts, 0, size - self.accounts)
        self.reducing = flags
        self.accounts = size
        return 0

    cdef Position* find(self, uint32_t account_id, uint32_t instrument) noexcept:
        """The account's entry for an instrument, NULL when it has neither position nor orders there."""
        cdef PositionList* held = &self.of[account_id]
        cdef uint32_t low = 0
        cdef uint32_t high = held.count
        cdef uint32_t middle
        while low < high:
            middle = (low + high) >> 1
            if held.at[middle].instrument < instrument:
                low = middle + 1
            else:
                high = middle
        if low < held.count and held.at[low].instrument == instrument:
            return &held.at[low]
        return NULL

    cdef Position* ensure(self, uint32_t account_id, uint32_t instrument) except NULL:
        """The entry, made when missing; pointers to the account's other entries become invalid."""
        cdef Position* position = self.find(account_id, instrument)
        cdef PositionList* held
        cdef uint32_t i, size
        cdef Position* grown
        if position != NULL:
            return position
        held = &self.of[account_id]
        if held.count == held.capacity:
            size = held.capacity * 2 if held.capacity else 4
            grown = <Position*>realloc(held.at, size * sizeof(Position))
            if grown == NULL:
                raise MemoryError()
            held.at = grown
            held.capacity = size
        i = held.count
        while i > 0 and held.at[i - 1].instrument > instrument:
            i -= 1
        memmove(&held.at[i + 1], &held.at[i], (held.count - i) * sizeof(Position))
        memset(&held.at[i], 0, sizeof(Position))
        held.at[i].instrument = instrument
        held.at[i].chain = self.instruments.at[instrument].chain
        held.at[i].expiry_bucket = self.instruments.at[instrument].expiry_bucket
        held.at[i].funding_entry = self.funding_index[instrument]
        held.count += 1
        return &held.at[i]

    cdef void drop_if_empty(self, uint32_t account_id, uint32_t instrument) noexcept:
        """Forget an entry that holds neither lots nor orders."""
        cdef Position* position = self.find(account_id, instrument)
        cdef PositionList* held = &self.of[account_id]
        cdef uint32_t i
        if position == NULL or position.quantity_lots or position.cost_minor or position.open_orders:
            return
        i = <uint32_t>(position - held.at)
        memmove(&held.at[i], &held.at[i + 1], (held.count - i - 1) * sizeof(Position))
        held.count -= 1

    cdef int legs_ordered(self, uint32_t account_id, Instrument* combo, int64_t signed) except -1:
        """An order of a combo over `signed` lots counts with its legs, towards their position limits."""
        cdef Position* position
        cdef int64_t lots
        cdef int i
        for i in range(combo.leg_count):
            position = self.ensure(account_id, combo.leg_slot[i])
            lots = combo.leg_ratio[i] * signed
            if lots > 0:
                position.combo_buy_lots += lots
            else:
                position.combo_sell_lots -= lots
            position.open_orders += 1
        return 0

    cdef void legs_reduced(self, uint32_t account_id, Instrument* combo, int64_t signed, bint ends) noexcept:
        """`signed` lots of a combo's order are no longer open."""
        cdef Position* position
        cdef int64_t lots
        cdef int i
        for i in range(combo.leg_count):
            position = self.find(account_id, combo.leg_slot[i])
            lots = combo.leg_ratio[i] * signed
            if lots > 0:
                position.combo_buy_lots -= lots
            else:
                position.combo_sell_lots += lots
            if ends:
                position.open_orders -= 1
                self.drop_if_empty(account_id, combo.leg_slot[i])

    cdef int64_t accrued(self, Position* position) noexcept:
        """Funding not yet in cash, rounded down (a payer pays up, a receiver gets down)."""
        cdef int128 owed = position.funding_entry - self.funding_index[position.instrument]
        if owed == 0 or position.quantity_lots == 0:
            return 0
        return wide_funding(position.quantity_lots, owed, &self.failed)

    cdef int64_t settle_funding(self, uint32_t account_id, Position* position) noexcept:
        """Book what has accrued; returns it."""
        cdef int64_t amount = self.accrued(position)
        cdef int currency
        position.funding_entry = self.funding_index[position.instrument]
        self.ledger.touch(account_id)
        if amount:
            currency = self.instruments.at[position.instrument].currency
            self.ledger.post(account_id, currency, amount)
            self.ledger.post_system(SYS_FUNDING, currency, -amount)
            position.funding_realised_minor += amount
        return amount

    cdef void _note_shrank(self, uint32_t account_id) noexcept:
        """A position of an account with reduce-only orders has shrunk."""
        cdef uint32_t* grown
        if self.shrank_count and self.shrank[self.shrank_count - 1] == account_id:
            return
        if self.shrank_count == self.shrank_capacity:
            grown = <uint32_t*>realloc(self.shrank, (2 * self.shrank_capacity + 64) * sizeof(uint32_t))
            if grown == NULL:
                self.failed = 1
                return
            self.shrank = grown
            self.shrank_capacity = 2 * self.shrank_capacity + 64
        self.shrank[self.shrank_count] = account_id
        self.shrank_count += 1

    cdef int64_t trade(self, uint32_t account_id, Position* position, int64_t lots, int64_t cost) noexcept:
        """Book `lots` (signed) bought for `cost` (signed likewise) with its cash leg; returns the realised P&L.

        Closing releases `cost x closed / held`, rounded down, and all of it when the position closes.
        """
        cdef Instrument* row = &self.instruments.at[position.instrument]
        cdef int64_t held = position.quantity_lots
        cdef int64_t closing, released, closing_cost, realised = 0
        cdef int64_t cost_before = position.cost_minor
        self.ledger.touch(account_id)
        if held == 0 or (held > 0) == (lots > 0):
            position.quantity_lots += lots
            position.cost_minor = wide_add(position.cost_minor, cost, &self.failed)
        else:
            closing = min(size_of(lots), size_of(held))
            closing_cost = cost
            if closing != size_of(lots):
                closing_cost = wide_mul_div_floor(cost, closing, size_of(lots), &self.failed)
            released = position.cost_minor
            if closing != size_of(held):
                released = wide_mul_div_floor(position.cost_minor, closing, size_of(held), &self.failed)
            realised = -closing_cost - released
            position.quantity_lots += lots
            position.cost_minor = position.cost_minor - released + (cost - closing_cost)
            position.realised_minor += realised
            if self.reducing[account_id]:
                self._note_shrank(account_id)
        if row.kind == KIND_OPTION:
            self.ledger.post(account_id, row.currency, -cost)
            self.ledger.post_clearing(position.instrument, row.currency, cost)
        elif realised:
            self.ledger.post(account_id, row.currency, realised)
            self.ledger.post_clearing(position.instrument, row.currency, -realised)
        if held == 0 and position.quantity_lots != 0:
            row.holders += 1
        elif held != 0 and position.quantity_lots == 0:
            row.holders -= 1
        row.open_interest_lots += (max(position.quantity_lots, 0) - max(held, 0))
        self.net_lots[position.instrument] += lots
        self.net_cost[position.instrument] += position.cost_minor - cost_before
        if self.touched_count < 64:
            self.touched[self.touched_count] = position.instrument
        self.touched_count += 1
        return realised

    cdef bint _sound_slot(self, uint32_t instrument) noexcept:
        if self.net_lots[instrument] != 0:
            return False
        if self.instruments.at[instrument].kind == KIND_OPTION:
            return self.ledger.clearing[instrument] == 0
        return self.net_cost[instrument] + self.ledger.clearing[instrument] == 0

    cdef bint sound(self) noexcept:
        """Lots net to zero and clearing carries what futures have realised, on every instrument touched."""
        cdef uint32_t i
        cdef bint ok = self.failed == 0
        if self.touched_count > 64:
            for i in range(self.instruments.high):
                ok = ok and self._sound_slot(i)
        else:
            for i in range(self.touched_count):
                ok = ok and self._sound_slot(self.touched[i])
        self.touched_count = 0
        return ok

    cdef int64_t value_minor(self, Position* position) noexcept:
        """What the entry adds to equity beside cash: futures' unrealised P&L and accrued funding, options' value."""
        cdef Instrument* row = &self.instruments.at[position.instrument]
        cdef int64_t value
        if position.quantity_lots == 0:
            return 0
        value = wide_mul(position.quantity_lots, row.mark_minor, &self.failed)
        if row.kind != KIND_OPTION:
            value = wide_add(value, -position.cost_minor, &self.failed)
            if row.kind == KIND_PERPETUAL:
                value += self.accrued(position)
        return value

    def lots(self, uint32_t account_id, uint32_t instrument):
        """Signed lots held."""
        cdef Position* position = self.find(account_id, instrument)
        return 0 if position == NULL else position.quantity_lots

    def held(self, uint32_t account_id):
        """[(instrument, lots, cost)] of entries with lots, ascending slot."""
        cdef PositionList* held = &self.of[account_id]
        cdef uint32_t i
        return [
            (held.at[i].instrument, held.at[i].quantity_lots, held.at[i].cost_minor)
            for i in range(held.count)
            if held.at[i].quantity_lots
        ]

    def funding_of(self, uint32_t instrument):
        """Funding index in 2**-64 minor units per lot."""
        cdef int128 index = self.funding_index[instrument]
        cdef int64_t high = <int64_t>(index >> 64)
        cdef uint64_t low = <uint64_t>index
        return (int(high) << 64) + int(low)

    def set_funding(self, uint32_t instrument, total):
        """Set the funding index (2**-64 minor units per lot)."""
        if not -(1 << 126) < total < 1 << 126:
            raise OverflowError(f"funding index of instrument {instrument} left its bounds")
        cdef int64_t high = total >> 64
        cdef uint64_t low = total & 0xFFFFFFFFFFFFFFFF
        self.funding_index[instrument] = wide_join(high, low)

    def export(self, uint32_t accounts):
        """Canonical state: ascending account, ascending slot."""
        cdef uint32_t a, i
        cdef Position* p
        cdef int128 index
        out = []
        for a in range(1, accounts):
            for i in range(self.of[a].count):
                p = &self.of[a].at[i]
                index = p.funding_entry
                out.append([
                    a, p.instrument, p.quantity_lots, p.cost_minor, p.realised_minor, p.funding_realised_minor,
                    int(<int64_t>(index >> 64)), int(<uint64_t>index), p.open_buy_lots, p.open_sell_lots,
                    p.combo_buy_lots, p.combo_sell_lots, p.open_orders,
                ])
        return out
