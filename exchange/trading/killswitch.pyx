"""The kill switch: stop a scope, and end what is open in it, a bounded number of orders at once."""

from libc.stdint cimport uint32_t

from exchange.clearing.account cimport Accounts
from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport Instruments
from exchange.market.order cimport Orders
from exchange.reasons import Reason
from exchange.records cimport EV_TRADING_STOPPED, R_KILL_SWITCH, TradingStopped
from exchange.risk.switches cimport SCOPE_ACCOUNT, SCOPE_OWNER, SCOPE_UNDERLYING, SCOPE_VENUE, Switches
from exchange.trading.lifecycle cimport Trading
from exchange.trading.triggers cimport Triggers

CANCELLED_AT_ONCE = 4_096
SCOPES = ("venue", "underlying", "owner", "account")
LARGEST = (1 << 32) - 1


cdef class KillSwitch:
    """Throws and releases the switches; cancelling that does not fit one command goes on with Ticks."""

    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Switches switches
    cdef Trading trading
    cdef Triggers triggers
    cdef EventBuffer events
    cdef list underlying_names
    cdef uint32_t owner_limit
    cdef dict work                       # (scope, target) -> account to go on with, in the order thrown

    def __init__(self, Accounts accounts, Instruments instruments, Orders orders, Switches switches, Trading trading,
                 Triggers triggers, EventBuffer events, list underlying_names, config):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.switches = switches
        self.trading = trading
        self.triggers = triggers
        self.events = events
        self.underlying_names = underlying_names
        self.owner_limit = config.limits.max_accounts
        self.work = {}

    def _target(self, scope, name):
        """(reason, number) of what a payload names."""
        if scope == SCOPE_VENUE:
            return (Reason.BAD_PAYLOAD if name else Reason.NONE), 0
        if scope == SCOPE_UNDERLYING:
            if name not in self.underlying_names:
                return Reason.UNKNOWN_UNDERLYING, 0
            return Reason.NONE, self.underlying_names.index(name)
        if not (name.isascii() and name.isdecimal() and len(name) <= 10 and 0 < int(name) <= LARGEST):
            return Reason.BAD_PAYLOAD, 0
        if scope == SCOPE_ACCOUNT and (not self.accounts.exists(int(name)) or self.accounts.is_bucket(int(name))):
            return Reason.UNKNOWN_ACCOUNT, 0
        return Reason.NONE, int(name)

    def throw(self, payload):
        """(reason, orders cancelled) of KILL_SWITCH."""
        cdef TradingStopped* event
        scope = SCOPES.index(payload.scope)
        reason, target = self._target(scope, payload.target)
        if reason:
            return reason, 0
        owners = self.switches.owners
        if scope == SCOPE_OWNER and payload.on and target not in owners and len(owners) >= self.owner_limit:
            return Reason.LIMIT_REACHED, 0
        self.switches.turn(scope, target, payload.on)
        self.work.pop((scope, target), None)
        ending = []
        if payload.on and payload.cancel:
            ending = self._begin(scope, target)
        event = <TradingStopped*>self.events.emit(EV_TRADING_STOPPED, 1, 0)
        event.scope = scope
        event.on = payload.on
        event.target = target
        event.cancelled = len(ending)
        self._end(ending)
        return Reason.NONE, len(ending)

    def _begin(self, scope, target):
        """The first orders of a scope to end; what is left becomes work for Ticks."""
        first = target if scope == SCOPE_ACCOUNT else 1
        ending, following = self._gather(scope, target, first, CANCELLED_AT_ONCE)
        if following:
            self.work[scope, target] = following
        return ending

    def _gather(self, int scope, uint32_t target, uint32_t account_id, int room):
        """([(waits, order id)] of at most `room` orders from an account on, the account to go on with or 0)."""
        cdef uint32_t last = self.accounts.high
        cdef uint32_t slot
        cdef int underlying = target if scope == SCOPE_UNDERLYING else -1
        found = []
        if scope == SCOPE_ACCOUNT:       # its buckets came after it
            last = max([target] + self.accounts.buckets(target)) + 1
        while account_id < last:
            if (scope == SCOPE_OWNER and self.accounts.at[account_id].owner_id != target) or (
                    scope == SCOPE_ACCOUNT and account_id != target and self.accounts.at[account_id].holder != target):
                account_id += 1
                continue
            for waiting in self.triggers.of_account(account_id):
                if underlying < 0 or self.instruments.at[<uint32_t>waiting.instrument].underlying == underlying:
                    found.append((True, waiting.order_id))
            slot = self.orders.account_head[account_id]
            while slot and len(found) <= room:
                if underlying < 0 or self.instruments.at[self.orders.at[slot].instrument].underlying == underlying:
                    found.append((False, self.orders.at[slot].order_id))
                slot = self.orders.at[slot].account_next
            if len(found) > room:
                return found[:room], account_id
            account_id += 1
        return found, 0

    def _end(self, ending):
        cdef uint32_t slot
        for waits, order_id in ending:
            if waits:
                if self.triggers.owner_of(order_id) > 0:
                    self.triggers.withdraw(order_id, R_KILL_SWITCH)
                continue
            slot = self.orders.find(order_id)
            if slot:
                self.trading.withdraw(slot, R_KILL_SWITCH, True)

    def tick(self):
        """Go on cancelling."""
        cdef int room = CANCELLED_AT_ONCE
        while self.work and room:
            scope, target = key = next(iter(self.work))
            ending, following = self._gather(scope, target, self.work[key], room)
            if following:
                self.work[key] = following
            else:
                del self.work[key]
            self._end(ending)
            room -= len(ending)

    def export(self):
        """Canonical state: what is still to be cancelled, in the order thrown."""
        return [[scope, target, account_id] for (scope, target), account_id in self.work.items()]
