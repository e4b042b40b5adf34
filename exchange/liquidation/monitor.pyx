"""The monitor: margin levels of accounts, and the queue of work that breaches cause.

Level events come on transitions, of warnings by the ratio passed last. A breach puts the account into a queue
in the order seen (ascending id within a mark); Ticks drain it, so one mark never stalls the venue.
"""

from collections import deque

from exchange.clearing.account cimport (
    LEVEL_BREACHED, LEVEL_HEALTHY, LEVEL_WARNING, Account, is_cross,
)
from exchange.records cimport EV_LEVEL_CHANGED, LevelChanged
from exchange.risk.exposure cimport NO_ORDERS, Margin
from exchange.wide cimport wide_mul_div_ceil


cdef class Monitor:
    """Looks at accounts after everything that can change their health."""

    def __cinit__(self, Accounts accounts, Exposure exposure, Bands bands, EventBuffer events, config):
        self.accounts = accounts
        self.exposure = exposure
        self.bands = bands
        self.events = events
        self.warning_count = len(config.liquidation.warning_ppm)
        for i, ratio in enumerate(config.liquidation.warning_ppm):
            self.warning_ppm[i] = ratio
        self.queue = deque()

    cdef int _rank(self, const Margin* m) except -1:
        """How many of the thresholds the equity is below: warnings, outermost first, then the maintenance margin."""
        cdef int rank = 0, bad = 0
        cdef int64_t balance = m.equity - m.excluded, requirement = m.maintenance - m.excluded
        if balance < requirement:
            return self.warning_count + 1
        while (rank < self.warning_count and requirement
                and balance < wide_mul_div_ceil(requirement, self.warning_ppm[rank], 1_000_000, &bad)):
            rank += 1
        if bad:
            raise OverflowError("maintenance margin out of range")
        return rank

    cdef int check(self, uint32_t account_id) except -1:
        """Re-margin an account; emits LEVEL_CHANGED and queues a breach. Returns the level."""
        cdef Account* account = &self.accounts.at[account_id]
        cdef Margin m
        cdef Margin shown
        cdef int rank = 0, found, c, currency = 0, level
        cdef int entities = 1 if is_cross(account.model) else self.exposure.currencies
        cdef LevelChanged* event
        shown.equity = 0
        shown.maintenance = 0
        for c in range(entities):
            self.exposure.margin(account_id, c, NO_ORDERS, &m)
            found = self._rank(&m)
            if c == 0 or found > rank:
                rank = found
                currency = c
                shown = m
        level = LEVEL_BREACHED if rank > self.warning_count else LEVEL_WARNING if rank else LEVEL_HEALTHY
        if rank == account.warnings:
            if level == LEVEL_BREACHED:
                account.breached_currency = currency
            return level
        if level == LEVEL_BREACHED:
            self.below_maintenance += 1
            account.breached_currency = currency
        elif account.level == LEVEL_BREACHED:
            self.below_maintenance -= 1
        event = <LevelChanged*>self.events.emit(EV_LEVEL_CHANGED, 1, account_id)
        event.level = level
        event.previous_level = account.level
        event.currency = currency
        event.warning_ppm = self.warning_ppm[rank - 1] if level == LEVEL_WARNING else 0
        event.previous_warning_ppm = (self.warning_ppm[account.warnings - 1] if account.level == LEVEL_WARNING else 0)
        event.equity_minor = shown.equity
        event.requirement_minor = shown.maintenance
        account.level = level
        account.warnings = rank
        if level == LEVEL_BREACHED and not account.in_liquidation and not account.queued:
            account.queued = 1
            self.queue.append(account_id)
        return level

    cdef bint _concerned(self, uint32_t account_id, int underlying) noexcept:
        """Whether a mark of the underlying re-margins the account."""
        cdef int k
        cdef bint concerned = is_cross(self.accounts.at[account_id].model)
        for k in range(self.exposure.rows.chain_count):
            if self.exposure.rows.chain[k].underlying == underlying and self.exposure.holds(account_id, k):
                concerned = concerned or self.exposure.book(account_id, k).held_lots
        return concerned

    cdef int remargin(self, int underlying) except -1:
        """After a mark: check every account with positions in the underlying, ascending id; in a large population
        only those that have left their safe band, which gives the same events. Books follow by being read."""
        cdef uint32_t a
        cdef int64_t i, found
        if not self.bands.active(underlying):
            for a in range(1, self.accounts.high):
                if self._concerned(a, underlying):
                    self.check(a)
            return 0
        self.bands.observe(underlying, self.events.time_ns)
        found = self.bands.scan(underlying)
        for i in range(found):
            if self._concerned(self.bands.found[i], underlying):
                self.check(self.bands.found[i])
        return self.bands.refresh(underlying, found, self.events.time_ns)

    def rank(self, uint32_t account_id):
        """Thresholds that the account is below: warnings, outermost first, then the maintenance margin."""
        return self.accounts.at[account_id].warnings

    def warning_of(self, uint32_t account_id):
        """The ratio of equity to maintenance margin that the account passed last, in ppm; 0 unless it is warned."""
        cdef Account* account = &self.accounts.at[account_id]
        return self.warning_ppm[account.warnings - 1] if account.level == LEVEL_WARNING else 0

    def look(self, uint32_t account_id):
        """check() for plain callers."""
        return self.check(account_id)

    def take(self):
        """Next queued account, 0 when there is none."""
        if not self.queue:
            return 0
        account_id = self.queue.popleft()
        self.accounts.at[<uint32_t>account_id].queued = 0
        return account_id

    def put_back(self, uint32_t account_id):
        """Queue an account again, at the end."""
        if not self.accounts.at[account_id].queued:
            self.accounts.at[account_id].queued = 1
            self.queue.append(account_id)

    def pending(self):
        return len(self.queue)

    def export(self):
        """Canonical state."""
        return [self.below_maintenance, list(self.queue)]
