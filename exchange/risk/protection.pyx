"""Market-maker protection: what the orders of a group traded within an interval, and the limits on it.

A group belongs to an account and an underlying. Its sums run from the first fill after they were last zero; a fill
at or after the interval's end starts them anew. Rules: docs/orders.md. Sums saturate at 2**62.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from exchange.events import ProtectionCause
from exchange.market.instrument cimport KIND_OPTION, KIND_OPTION_COMBO
from exchange.records cimport ProtectionEvent
from exchange.views import ProtectionView
from exchange.wide cimport size_of, wide_add, wide_mul, wide_mul_div_ceil

cdef int64_t LARGEST = 1 << 62
cdef int QUANTITY = ProtectionCause.QUANTITY
cdef int DELTA = ProtectionCause.DELTA
cdef int VEGA = ProtectionCause.VEGA


cdef inline int64_t _product(int64_t a, int64_t b) noexcept:
    """a x b within +- LARGEST."""
    cdef int bad = 0
    cdef int64_t value = wide_mul(a, b, &bad)
    if bad:
        return LARGEST if (a > 0) == (b > 0) else -LARGEST
    return max(-LARGEST, min(LARGEST, value))


cdef inline int64_t _sum(int64_t a, int64_t b) noexcept:
    """a + b within +- LARGEST; both are."""
    cdef int bad = 0
    cdef int64_t value = wide_add(a, b, &bad)
    if bad:
        return LARGEST if a > 0 else -LARGEST
    return max(-LARGEST, min(LARGEST, value))


cdef inline int64_t _toward_zero(int64_t value, int64_t unit) noexcept:
    return -(-value // unit) if value < 0 else value // unit


cdef class Protection:
    """The groups of all accounts."""

    def __cinit__(self, Instruments instruments, RiskRows rows, EventBuffer events, config):
        self.instruments = instruments
        self.rows = rows
        self.events = events
        self.max_groups = config.limits.max_protection_groups
        self.underlyings = len(config.underlyings)
        self.accounts = 64
        self.of = <Group**>calloc(self.accounts, sizeof(Group*))
        self.frozen_until_ns = <int64_t*>calloc(self.accounts, sizeof(int64_t))
        self.names = {}
        if self.of == NULL or self.frozen_until_ns == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef uint32_t a
        if self.of != NULL:
            for a in range(self.accounts):
                free(self.of[a])
        free(self.of)
        free(self.frozen_until_ns)

    cdef int grow(self, uint32_t account_id) except -1:
        """Room for an account's groups."""
        cdef uint32_t size = self.accounts
        cdef Group** groups
        cdef int64_t* frozen
        while size <= account_id:
            size *= 2
        if size == self.accounts:
            return 0
        groups = <Group**>realloc(self.of, size * sizeof(Group*))
        if groups == NULL:
            raise MemoryError()
        self.of = groups
        memset(groups + self.accounts, 0, (size - self.accounts) * sizeof(Group*))
        frozen = <int64_t*>realloc(self.frozen_until_ns, size * sizeof(int64_t))
        if frozen == NULL:
            raise MemoryError()
        self.frozen_until_ns = frozen
        memset(frozen + self.accounts, 0, (size - self.accounts) * sizeof(int64_t))
        self.accounts = size
        return 0

    # ------------------------------------------------------------------ lookup

    cdef Group* find(self, uint32_t account_id, int underlying, int number) noexcept:
        """A group that is set, NULL otherwise. The account exists."""
        cdef Group* group
        if not 1 <= number <= self.max_groups or self.of[account_id] == NULL:
            return NULL
        group = &self.of[account_id][underlying * self.max_groups + number - 1]
        return group if group.interval_ns else NULL

    cdef bint frozen(self, Group* group) noexcept:
        """Whether the group refuses quotes now."""
        return group.frozen_until_ns < 0 or self.events.time_ns < group.frozen_until_ns

    cdef bint quotes_frozen(self, uint32_t account_id) noexcept:
        """Whether the account asked for all its quotes to be refused at this time."""
        return self.events.time_ns < self.frozen_until_ns[account_id]

    cdef int64_t coins_e8(self, Instrument* row, int64_t lots) noexcept:
        """Lots (>= 0) in coins, 1e-8, rounded up; at most LARGEST."""
        cdef int bad = 0
        cdef int64_t amount = _product(lots, row.lot_size_e8)
        if not row.inverse or row.kind == KIND_OPTION or row.kind == KIND_OPTION_COMBO:
            return amount
        amount = wide_mul_div_ceil(amount, 100_000_000, max(1, self.rows.index_e8[row.underlying]), &bad)
        return LARGEST if bad else min(amount, LARGEST)

    # ------------------------------------------------------------------ sums

    cdef int add_fill(self, Group* group, uint32_t instrument, int64_t signed_lots) noexcept:
        """Count a fill of an order of the group; which limit the sums have passed (ProtectionCause), 0 for none."""
        cdef int64_t now = self.events.time_ns
        cdef Instrument* row = &self.instruments.at[instrument]
        if not group.running or now - group.began_ns >= group.interval_ns:
            self.clear(group)
            group.running = 1
            group.began_ns = now
        group.quantity_e8 = _sum(group.quantity_e8, self.coins_e8(row, size_of(signed_lots)))
        group.delta_e10 = _sum(group.delta_e10, _product(signed_lots, self.rows.delta_e10[instrument]))
        group.vega_e8 = _sum(group.vega_e8, _product(signed_lots, self.rows.vega_e8(instrument, now)))
        if group.quantity_limit_e8 and group.quantity_e8 > group.quantity_limit_e8:
            return QUANTITY
        if group.delta_limit_e8 and size_of(group.delta_e10) > _product(group.delta_limit_e8, 100):
            return DELTA
        if group.vega_limit_e8 and size_of(group.vega_e8) > group.vega_limit_e8:
            return VEGA
        return 0

    def try_fill(self, dict groups, set stopped, uint32_t account_id, int number, uint32_t instrument, int64_t signed):
        """add_fill() of a dry run: `groups` keeps each group as it was, `stopped` those triggered; whether this was."""
        cdef Group* group = self.find(account_id, self.instruments.at[instrument].underlying, number)
        key = (account_id, number)
        if key not in groups:
            groups[key] = (<char*>group)[:sizeof(Group)]
        if self.add_fill(group, instrument, signed) == 0:
            return False
        stopped.add(key)
        return True

    def restore(self, dict groups, int underlying):
        """Undo what a dry run counted."""
        for (account_id, number), saved in groups.items():
            memcpy(self.find(account_id, underlying, number), <const char*><bytes>saved, sizeof(Group))

    cdef void clear(self, Group* group) noexcept:
        """Sums at zero, the interval not begun."""
        group.running = 0
        group.began_ns = 0
        group.quantity_e8 = 0
        group.delta_e10 = 0
        group.vega_e8 = 0

    cdef void trigger(self, Group* group) noexcept:
        """Freeze a group whose sums have passed a limit (they stay until the caller clears them)."""
        cdef int bad = 0
        group.frozen_until_ns = -1
        if group.frozen_ns:
            group.frozen_until_ns = wide_add(self.events.time_ns, group.frozen_ns, &bad)
            if bad:
                group.frozen_until_ns = -1

    cdef int emit(self, int kind, uint32_t account_id, Group* group, int cause, uint32_t cancelled) except -1:
        """PROTECTION_CHANGED or PROTECTION_TRIGGERED with the group as it stands."""
        cdef ProtectionEvent* event = <ProtectionEvent*>self.events.emit(kind, 1, account_id)
        event.underlying = group.underlying
        event.protection_group = group.number
        event.cause = cause
        event.cancelled = min(cancelled, 0xFFFF)
        event.frozen_until_ns = group.frozen_until_ns
        event.quantity_e8 = group.quantity_e8
        event.delta_e8 = _toward_zero(group.delta_e10, 100)
        event.vega_e8 = group.vega_e8
        return 0

    # ------------------------------------------------------------------ settings

    def set(self, uint32_t account_id, int underlying, int number, settings):
        """Take a group's settings (a checked payloads.Protection); sums and freeze stay. `interval_ns` 0 drops it."""
        cdef Group* group
        if self.of[account_id] == NULL:
            self.of[account_id] = <Group*>calloc(self.underlyings * self.max_groups, sizeof(Group))
            if self.of[account_id] == NULL:
                raise MemoryError()
        group = &self.of[account_id][underlying * self.max_groups + number - 1]
        if settings.interval_ns == 0:
            memset(group, 0, sizeof(Group))
            self.names.pop((account_id, underlying, number), None)
            return
        group.interval_ns = settings.interval_ns
        group.frozen_ns = settings.frozen_ns
        group.quantity_limit_e8 = settings.quantity_limit_e8
        group.delta_limit_e8 = settings.delta_limit_e8
        group.vega_limit_e8 = settings.vega_limit_e8
        group.max_quote_e8 = settings.max_quote_e8
        group.underlying = underlying
        group.number = number
        self.names[account_id, underlying, number] = settings.name

    # ------------------------------------------------------------------ reads

    def _groups(self, uint32_t account_id):
        """(underlying, number) of the account's groups, ascending."""
        cdef int u, n
        if account_id >= self.accounts or self.of[account_id] == NULL:
            return []
        return [(u, n) for u in range(self.underlyings) for n in range(1, self.max_groups + 1)
                if self.find(account_id, u, n) != NULL]

    def views(self, uint32_t account_id, underlying_names):
        """ProtectionView of each group, ascending underlying and number; sums of an interval that is over are zero."""
        cdef Group* group
        out = []
        for u, n in self._groups(account_id):
            group = self.find(account_id, u, n)
            live = group.running and self.events.time_ns - group.began_ns < group.interval_ns
            out.append(ProtectionView(
                group=n, name=self.names[account_id, u, n], underlying=underlying_names[u],
                interval_ns=group.interval_ns, frozen_ns=group.frozen_ns, quantity_limit_e8=group.quantity_limit_e8,
                delta_limit_e8=group.delta_limit_e8, vega_limit_e8=group.vega_limit_e8,
                max_quote_e8=group.max_quote_e8,
                frozen_until_ns=group.frozen_until_ns if self.frozen(group) else 0,
                quantity_e8=group.quantity_e8 if live else 0,
                delta_e8=_toward_zero(group.delta_e10, 100) if live else 0,
                vega_e8=group.vega_e8 if live else 0,
            ))
        return out

    def settings(self, uint32_t account_id, int underlying, int number):
        """(interval, frozen, quantity, delta, vega, largest quote, name) of a group; None where it is not set."""
        cdef Group* group = self.find(account_id, underlying, number)
        if group == NULL:
            return None
        return (group.interval_ns, group.frozen_ns, group.quantity_limit_e8, group.delta_limit_e8,
                group.vega_limit_e8, group.max_quote_e8, self.names[account_id, underlying, number])

    def number_of(self, uint32_t account_id, int underlying, str name):
        """The smallest number of a group of that name, 0 where there is none."""
        cdef int n
        for n in range(1, self.max_groups + 1):
            if self.names.get((account_id, underlying, n)) == name:
                return n
        return 0

    def refuses(self, uint32_t account_id, int underlying, int number):
        """Whether the group is set and frozen."""
        cdef Group* group = self.find(account_id, underlying, number)
        return group != NULL and self.frozen(group)

    def frozen_until(self, uint32_t account_id):
        """Until when all the account's quotes are refused, ns; 0 where they are not."""
        return self.frozen_until_ns[account_id] if self.quotes_frozen(account_id) else 0

    def export(self):
        """Canonical state."""
        cdef uint32_t a
        cdef Group* group
        out = []
        for a in range(self.accounts):
            for u, n in self._groups(a):
                group = self.find(a, u, n)
                out.append([a, u, n, self.settings(a, u, n), group.frozen_until_ns, group.running, group.began_ns,
                            group.quantity_e8, group.delta_e10, group.vega_e8])
        return [out, [[a, self.frozen_until_ns[a]] for a in range(self.accounts) if self.frozen_until_ns[a]]]
