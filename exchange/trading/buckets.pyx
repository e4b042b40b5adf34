"""Isolated positions: an account's instruments that each stand in a bucket of collateral of their own.

An instrument's mode is changed while the account has neither lots nor orders in it; from then on its orders belong to
the bucket's account. What orders drew beyond the bucket's initial margin goes back when an order ends, trades or is
edited, and everything goes back when the bucket has neither lots nor orders. Rules: docs/margin.md.
"""

from libc.stdint cimport int64_t, uint32_t

from exchange.clearing.account cimport Account, Accounts
from exchange.clearing.position cimport Positions
from exchange.event_buffer cimport EventBuffer
from exchange.liquidation.monitor cimport Monitor
from exchange.market.instrument cimport KIND_FUTURE, KIND_PERPETUAL, NO_SLOT, Instruments
from exchange.market.order cimport Orders
from exchange.reasons import Reason
from exchange.records cimport EV_MARGIN_MODE_CHANGED, MarginModeChanged
from exchange.risk.collateral cimport Collateral
from exchange.risk.exposure cimport ALL_ORDERS, Exposure, Margin
from exchange.risk.switches cimport Switches
from exchange.trading.triggers cimport Triggers


cdef class Buckets:
    """Margin modes, collateral, and what follows for buckets when a command ends."""

    cdef Accounts accounts
    cdef Instruments instruments
    cdef Orders orders
    cdef Positions positions
    cdef Exposure exposure
    cdef Collateral collateral
    cdef Monitor monitor
    cdef Triggers triggers
    cdef Switches switches
    cdef EventBuffer events
    cdef int limit
    cdef list most_e2            # [underlying] highest leverage, 1e-2

    def __init__(self, Accounts accounts, Instruments instruments, Orders orders, Positions positions,
                 Exposure exposure, Collateral collateral, Monitor monitor, Triggers triggers, Switches switches,
                 EventBuffer events, config):
        self.accounts = accounts
        self.instruments = instruments
        self.orders = orders
        self.positions = positions
        self.exposure = exposure
        self.collateral = collateral
        self.monitor = monitor
        self.triggers = triggers
        self.switches = switches
        self.events = events
        self.limit = config.limits.max_isolated_positions
        self.most_e2 = [100_000_000 // underlying.isolated.tiers[0].initial_ppm for underlying in config.underlyings]

    # ------------------------------------------------------------------ commands

    def set_mode(self, uint32_t account_id, payload, room):
        """(reason, detail) of SET_MARGIN_MODE. detail: the bucket's account, or what is missing of its initial margin.
        `room(account_id)` makes room for a new account in the other rooms."""
        cdef uint32_t slot, bucket
        reason, place = self._instrument(account_id, payload.instrument)
        if reason:
            return reason, 0
        slot = place
        bucket = self.accounts.bucket_of(account_id, slot)
        if payload.mode == "cross":
            if payload.leverage_e2:
                return Reason.BAD_PAYLOAD, 0
            return self._to_cross(account_id, slot, bucket) if bucket else (Reason.NONE, 0)
        if not 100 <= payload.leverage_e2 <= self.most_e2[self.instruments.at[slot].underlying]:
            return Reason.LEVERAGE_OUT_OF_RANGE, self.most_e2[self.instruments.at[slot].underlying]
        if bucket:
            return self._leverage(bucket, slot, payload.leverage_e2)
        if self.accounts.at[account_id].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        if self._in_use(account_id, slot):
            return Reason.MODE_IN_USE, 0
        bucket = self._free_bucket(account_id, room)
        if bucket == 0:
            return Reason.LIMIT_REACHED, 0
        self.accounts.at[bucket].instrument = slot
        self.accounts.at[bucket].leverage_e2 = payload.leverage_e2
        self._say(bucket, slot, True)
        return Reason.NONE, bucket

    def move(self, uint32_t account_id, payload, leaving):
        """(reason, amount moved) of MOVE_COLLATERAL; what cannot be moved tells how much can.

        `leaving(account_id, currency, amount)` is (reason, most) of money that would leave an account."""
        cdef uint32_t bucket
        cdef int currency
        cdef int64_t amount
        reason, slot = self._instrument(account_id, payload.instrument)
        if reason:
            return reason, 0
        bucket = self.accounts.bucket_of(account_id, slot)
        if bucket == 0:
            return Reason.NOT_ISOLATED, 0
        if payload.amount_minor == 0:
            return Reason.AMOUNT_NOT_POSITIVE, 0
        if abs(payload.amount_minor) > self.collateral.limit_minor:
            return Reason.AMOUNT_TOO_LARGE, 0
        amount = payload.amount_minor
        currency = self.instruments.at[<uint32_t>slot].currency
        if amount > 0:
            if self.collateral.ledger.balance(bucket, currency) + amount > self.collateral.limit_minor:
                return Reason.AMOUNT_TOO_LARGE, 0
            if self.accounts.at[account_id].in_liquidation:
                return Reason.ACCOUNT_IN_LIQUIDATION, 0
            reason, _ = leaving(account_id, currency, amount)
            if reason:
                return Reason.NOT_ENOUGH_FUNDS if reason == Reason.INSUFFICIENT_WITHDRAWABLE else reason, 0
        else:
            if self.accounts.at[bucket].in_liquidation:
                return Reason.ACCOUNT_IN_LIQUIDATION, 0
            reason, most = leaving(bucket, currency, -amount)
            if reason:
                return reason, most
        self.collateral.move(bucket, currency, amount)
        self.monitor.check(bucket)
        self.monitor.check(account_id)
        return Reason.NONE, amount

    def _instrument(self, uint32_t account_id, str name):
        """(reason, slot) of a future or perpetual that a known account names."""
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        slot = self.instruments.slot(name)
        if slot < 0 or self.instruments.at[<uint32_t>slot].kind not in (KIND_PERPETUAL, KIND_FUTURE):
            return Reason.UNKNOWN_INSTRUMENT, 0
        return Reason.NONE, slot

    def _in_use(self, uint32_t account_id, uint32_t slot):
        """Whether the account has lots, orders or waiting orders in an instrument."""
        return self.positions.find(account_id, slot) != NULL or any(
            [trigger.instrument == slot for trigger in self.triggers.of_account(account_id)])

    def _to_cross(self, uint32_t account_id, uint32_t slot, uint32_t bucket):
        cdef int currency = self.instruments.at[slot].currency
        if self.accounts.at[bucket].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        if self._in_use(bucket, slot) or self.collateral.ledger.balance(bucket, currency) < 0:
            return Reason.MODE_IN_USE, 0
        self._return(bucket, currency, self.collateral.ledger.balance(bucket, currency))
        self._release(bucket)
        return Reason.NONE, bucket

    def _leverage(self, uint32_t bucket, uint32_t slot, int64_t leverage_e2):
        """Another leverage for a bucket; what its initial margin then lacks is drawn from the holder."""
        cdef int currency = self.instruments.at[slot].currency
        cdef int64_t before = self.accounts.at[bucket].leverage_e2
        cdef Margin m
        if self.accounts.at[bucket].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        self.accounts.at[bucket].leverage_e2 = <uint32_t>leverage_e2
        self.exposure.margin(bucket, currency, ALL_ORDERS, &m)
        if m.equity < m.initial:
            if not self.collateral.can_give(self.accounts.at[bucket].holder, currency, m.initial - m.equity):
                self.accounts.at[bucket].leverage_e2 = <uint32_t>before
                return Reason.NOT_ENOUGH_FUNDS, m.initial - m.equity
            self.collateral.move(bucket, currency, m.initial - m.equity)
        self._say(bucket, slot, True)
        self.monitor.check(bucket)
        self.monitor.check(self.accounts.at[bucket].holder)
        return Reason.NONE, bucket

    def _free_bucket(self, uint32_t account_id, room):
        """The account's first bucket that waits to be used again, or a new one; 0 where no more may be."""
        cdef uint32_t bucket
        cdef Account* made
        buckets = self.accounts.buckets(account_id)
        for bucket in buckets:
            if self.accounts.at[bucket].instrument == NO_SLOT and not self.accounts.at[bucket].in_liquidation and (
                    not self._has_cash(bucket)):
                return bucket
        if len(buckets) >= self.limit:
            return 0
        bucket = self.accounts.create_bucket(account_id)
        if bucket:
            room(bucket)
            made = &self.accounts.at[bucket]
            made.reject_taker = self.accounts.at[account_id].reject_taker
            made.own_account_only = self.accounts.at[account_id].own_account_only
            self.switches.joined(bucket)
        return bucket

    def _has_cash(self, uint32_t bucket):
        return any([self.collateral.ledger.balance(bucket, c) for c in range(self.collateral.ledger.currencies)])

    def _release(self, uint32_t bucket):
        """The bucket's instrument is no longer isolated."""
        slot = self.accounts.at[bucket].instrument
        self.accounts.at[bucket].instrument = NO_SLOT
        self._say(bucket, slot, False)
        self.accounts.at[bucket].leverage_e2 = 0

    def _say(self, uint32_t bucket, uint32_t slot, bint isolated):
        cdef MarginModeChanged* event = <MarginModeChanged*>self.events.emit(
            EV_MARGIN_MODE_CHANGED, 1, self.accounts.at[bucket].holder)
        event.instrument = slot
        event.bucket_account_id = bucket
        event.leverage_e2 = self.accounts.at[bucket].leverage_e2 if isolated else 0
        event.isolated = isolated

    # ------------------------------------------------------------------ what follows

    def settled(self, uint32_t slot):
        """An instrument has settled: its buckets are free, what they have goes back when the command ends."""
        cdef uint32_t a
        for a in range(1, self.accounts.high):
            if self.accounts.at[a].holder and self.accounts.at[a].instrument == slot:
                self._release(a)
                self.collateral.note(a)

    def end_command(self):
        """Give back what buckets no longer need, those noted in this command, ascending id."""
        cdef uint32_t bucket
        noted = sorted(self.collateral.noted)
        self.collateral.noted.clear()
        self.collateral.drawn.clear()
        for bucket in noted:
            self.accounts.at[bucket].noted = 0
            if not self.accounts.at[bucket].in_liquidation:
                self._look(bucket)

    def _look(self, uint32_t bucket):
        """One bucket: everything back where it is empty, else what orders drew beyond its initial margin."""
        cdef Margin m
        cdef int c, currency
        cdef int64_t spare
        if self.positions.of[bucket].count == 0:
            for c in range(self.collateral.ledger.currencies):
                self._return(bucket, c, self.collateral.ledger.balance(bucket, c))
            return
        if self.accounts.at[bucket].drawn_minor:
            currency = self.instruments.at[self.accounts.at[bucket].instrument].currency
            self.exposure.margin(bucket, currency, ALL_ORDERS, &m)
            spare = min(m.equity - m.initial, self.collateral.ledger.balance(bucket, currency))
            spare = min(spare, self.accounts.at[bucket].drawn_minor)
            if spare > 0:
                self.collateral.give_back(bucket, currency, spare)
                self.monitor.check(bucket)
                self.monitor.check(self.accounts.at[bucket].holder)
            if self.orders.account_count[bucket] == 0:
                self.accounts.at[bucket].drawn_minor = 0

    def _return(self, uint32_t bucket, int currency, int64_t amount):
        """All that an empty bucket has in a currency; a debt stays for its liquidation."""
        if amount < 0:
            return
        self.accounts.at[bucket].drawn_minor = 0
        if amount:
            self.collateral.move(bucket, currency, -amount)
            self.monitor.check(bucket)
            self.monitor.check(self.accounts.at[bucket].holder)
