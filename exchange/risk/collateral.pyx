"""Collateral of isolated positions: what moves between a bucket and the account that it belongs to.

A bucket is an account of its own that holds one position, its orders and its collateral; nothing in it counts anywhere
else. Where an order needs more initial margin than the bucket has, the rest is drawn from the holder, which must still
meet its own. Rules: docs/margin.md.
"""

from exchange.events import BalanceCause
from exchange.records cimport EV_BALANCE_CHANGED, BalanceChanged
from exchange.risk.exposure cimport ALL_ORDERS, Margin


cdef class Collateral:
    """Moves collateral. The caller re-margins the accounts."""

    def __cinit__(self, Accounts accounts, Ledger ledger, Exposure exposure, EventBuffer events, config):
        self.accounts = accounts
        self.ledger = ledger
        self.exposure = exposure
        self.events = events
        self.limit_minor = config.limits.max_balance_minor // 2
        self.noted = []
        self.drawn = {}

    cdef bint can_give(self, uint32_t holder, int currency, int64_t amount) except -1:
        """Whether the holder has the cash and meets its initial margin, open orders counted, without it."""
        cdef Margin after
        if self.accounts.at[holder].in_liquidation or amount > self.ledger.balance(holder, currency):
            return False
        self.ledger.post(holder, currency, -amount)
        self.exposure.margin(holder, currency, ALL_ORDERS, &after)
        self.ledger.post(holder, currency, amount)
        return after.equity >= after.initial

    cdef bint cover(self, uint32_t bucket, int currency, int64_t missing) except -1:
        """Draw what a bucket lacks from its holder, all or nothing; `told` or `undo` comes next."""
        cdef uint32_t holder = self.accounts.at[bucket].holder
        if self.ledger.balance(bucket, currency) + missing > self.limit_minor:
            return False
        if not self.can_give(holder, currency, missing):
            return False
        self.ledger.transfer(holder, bucket, currency, missing)
        self.taken_minor = missing
        return True

    cdef int undo(self, uint32_t bucket, int currency) except -1:
        """What was drawn goes back: the order is refused after all."""
        if self.taken_minor:
            self.ledger.transfer(bucket, self.accounts.at[bucket].holder, currency, self.taken_minor)
            self.taken_minor = 0
        return 0

    cdef int told(self, uint32_t bucket, int currency, uint64_t order_id) except -1:
        """What was drawn for an order, as events."""
        cdef int64_t amount = self.taken_minor
        self.taken_minor = 0
        self.accounts.at[bucket].drawn_minor += amount
        self.drawn[order_id] = amount
        return self._moved(bucket, currency, amount)

    cdef int move(self, uint32_t bucket, int currency, int64_t amount) except -1:
        """Move collateral into a bucket, negative: out of it."""
        self.ledger.transfer(self.accounts.at[bucket].holder, bucket, currency, amount)
        return self._moved(bucket, currency, amount)

    cdef int give_back(self, uint32_t bucket, int currency, int64_t amount) except -1:
        """What orders drew goes back to the holder."""
        self.accounts.at[bucket].drawn_minor -= amount
        return self.move(bucket, currency, -amount)

    def returned(self, uint64_t order_id):
        """What an order drew in this command; it is taken back before it was accepted."""
        return self.drawn.pop(order_id, 0)

    def _moved(self, uint32_t bucket, int currency, int64_t amount):
        """BALANCE_CHANGED of the account that pays, then of the one that is paid."""
        cdef uint32_t holder = self.accounts.at[bucket].holder
        cdef uint32_t instrument = self.accounts.at[bucket].instrument
        sides = [(holder, bucket, -amount), (bucket, holder, amount)]
        for account_id, other, signed in sides if amount > 0 else sides[::-1]:
            self.balance_changed(account_id, currency, instrument, signed, other)
        return 0

    cdef int balance_changed(self, uint32_t account_id, int currency, uint32_t instrument, int64_t amount,
                             uint32_t other) except -1:
        cdef BalanceChanged* event = <BalanceChanged*>self.events.emit(EV_BALANCE_CHANGED, 1, account_id)
        event.currency = currency
        event.cause = BalanceCause.COLLATERAL
        event.instrument = instrument
        event.amount_minor = amount
        event.balance_minor = self.ledger.balance(account_id, currency)
        event.reference = other
        return 0
