"""Isolated positions of the naive venue. Rules: docs/margin.md, docs/decisions/0026.

A bucket is an account that belongs to another, its holder. What its orders draw, and what goes back, is worked out from
positions, orders and cash each time.
"""

from dataclasses import replace
from typing import Any

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import BalanceCause, EventKind
from exchange.payloads import PlaceLinked
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.announcing import Announcing
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import State

OF_ORDERS = (CommandKind.EDIT_ORDER, CommandKind.CANCEL_ORDER)


class Isolating:
    """Margin modes, routing and collateral over a State."""

    announcing: Announcing

    def __init__(self, state: State) -> None:
        self.state = state

    # ------------------------------------------------------------------ whose command it is

    def bucket_of(self, account_id: int, slot: int) -> int:
        found = self.state.bucket_of(account_id, slot)
        return found.account_id if found else 0

    def buckets(self, account_id: int) -> list[Account]:
        return [a for _, a in sorted(self.state.accounts.items()) if a.holder == account_id]

    def is_bucket(self, account_id: int) -> bool:
        return account_id in self.state.accounts and self.state.accounts[account_id].holder > 0

    def route(self, kind: CommandKind, command: dict[str, Any], account_id: int) -> int:
        """The account that a command of `account_id` is given to."""
        s = self.state
        if kind == CommandKind.PLACE_ORDER:
            return self.bucket_of(account_id, command["instrument"]) or account_id
        if kind in OF_ORDERS:
            order = s.orders.get(command["order_id"]) or s.waiting.get(command["order_id"])
            if order and s.accounts[order.account_id].holder == account_id:
                return order.account_id
        return account_id

    def linked_account(self, account_id: int, payload: PlaceLinked) -> int | None:
        """Whose all of some linked orders are; None where they are of several positions."""
        owners = {self.bucket_of(account_id, order.instrument) or account_id for order in payload.orders}
        return owners.pop() if len(owners) == 1 else None if owners else account_id

    # ------------------------------------------------------------------ commands

    def set_mode(self, account_id: int, payload: config.SetMarginMode) -> int:
        """What COMMAND_DONE tells, or Refused with (reason, detail)."""
        s = self.state
        slot = self.future(account_id, payload.instrument)
        bucket = s.bucket_of(account_id, slot)
        if payload.mode == "cross":
            require(payload.leverage_e2 == 0, Reason.BAD_PAYLOAD)
            return self.to_cross(bucket, slot) if bucket else 0
        lowest = s.config.underlyings[s.contracts[slot].underlying].isolated.tiers[0].initial_ppm
        if not 100 <= payload.leverage_e2 <= 10**8 // lowest:
            raise Detailed(Reason.LEVERAGE_OUT_OF_RANGE, 10**8 // lowest)
        if bucket:
            return self.leverage(bucket, payload.leverage_e2)
        require(not s.accounts[account_id].in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        require(not self.used(account_id, slot), Reason.MODE_IN_USE)
        bucket = self.free_bucket(account_id)
        bucket.slot, bucket.leverage_e2 = slot, payload.leverage_e2
        self.say_mode(bucket, slot)
        return bucket.account_id

    def move(self, account_id: int, payload: config.MoveCollateral) -> int:
        s, amount = self.state, payload.amount_minor
        slot = self.future(account_id, payload.instrument)
        bucket, currency = s.bucket_of(account_id, slot), s.contracts[slot].currency
        require(bucket is not None, Reason.NOT_ISOLATED)
        require(amount != 0, Reason.AMOUNT_NOT_POSITIVE)
        limit = s.config.limits.max_balance_minor // 2
        require(abs(amount) <= limit, Reason.AMOUNT_TOO_LARGE)
        if amount > 0:
            require(bucket.cash[currency] + amount <= limit, Reason.AMOUNT_TOO_LARGE)
            require(not s.accounts[account_id].in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
            try:
                self.announcing.leaving(s.accounts[account_id], currency, amount)
            except Refused as kept:
                short = kept.reason == Reason.INSUFFICIENT_WITHDRAWABLE
                raise Detailed(Reason.NOT_ENOUGH_FUNDS if short else kept.reason, 0) from None
        else:
            require(not bucket.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
            self.announcing.leaving(bucket, currency, -amount)
        self.transfer(bucket, currency, amount)
        self.look_at(bucket)
        return amount

    def future(self, account_id: int, name: str) -> int:
        s = self.state
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        require(name in s.slot_of, Reason.UNKNOWN_INSTRUMENT)
        slot = s.slot_of[name]
        require(s.contracts[slot].spec.kind in ("perpetual", "future"), Reason.UNKNOWN_INSTRUMENT)
        return slot

    def used(self, account_id: int, slot: int) -> bool:
        """Whether an account has anything in an instrument: lots, orders, of combos too, or waiting ones."""
        s = self.state
        account = s.accounts[account_id]
        legs = [part.slot for o in account.orders.values() for part, _ in s.contracts[o.instrument].parts(1)]
        open_slots = [o.instrument for o in account.orders.values()] + legs
        waiting = [w.instrument for w in s.waiting.values() if w.account_id == account_id]
        return slot in account.holdings or slot in open_slots or slot in waiting

    def to_cross(self, bucket: Account, slot: int) -> int:
        currency = self.state.contracts[slot].currency
        require(not bucket.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        free = not self.used(bucket.account_id, slot) and bucket.cash[currency] >= 0
        require(free, Reason.MODE_IN_USE)
        self.give_all(bucket)
        bucket.slot = None
        self.say_mode(bucket, slot)
        bucket.leverage_e2 = 0
        return bucket.account_id

    def leverage(self, bucket: Account, leverage_e2: int) -> int:
        currency = self.state.contracts[bucket.slot].currency
        require(not bucket.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        before, bucket.leverage_e2 = bucket.leverage_e2, leverage_e2
        m = self.state.model.margin(bucket, currency, True)
        missing = m.initial - m.equity
        if missing > 0:
            if not self.can_give(bucket.holder, currency, missing):
                bucket.leverage_e2 = before
                raise Detailed(Reason.NOT_ENOUGH_FUNDS, missing)
            self.transfer(bucket, currency, missing)
        self.say_mode(bucket, bucket.slot)
        self.look_at(bucket)
        return bucket.account_id

    def free_bucket(self, account_id: int) -> Account:
        """The first bucket that is not used, or a new one."""
        s = self.state
        mine = self.buckets(account_id)
        for bucket in mine:
            if bucket.slot is None and not bucket.in_liquidation and not any(bucket.cash):
                return bucket
        require(len(mine) < s.config.limits.max_isolated_positions, Reason.LIMIT_REACHED)
        require(len(s.accounts) < s.config.limits.max_accounts, Reason.LIMIT_REACHED)
        holder, number = s.accounts[account_id], len(s.accounts) + 1
        made = Account(number, holder.owner_id, f"{holder.name}#{number}", "isolated", [0] * len(holder.cash))
        made.holder, made.reject_taker, made.own_account_only = account_id, holder.reject_taker, holder.own_account_only
        s.accounts[number] = made
        return made

    def say_mode(self, bucket: Account, slot: int) -> None:
        self.state.emit(
            EventKind.MARGIN_MODE_CHANGED, bucket.holder, instrument=slot, bucket_account_id=bucket.account_id,
            leverage_e2=bucket.leverage_e2 if bucket.slot is not None else 0, isolated=bucket.slot is not None,
        )  # fmt: skip

    # ------------------------------------------------------------------ collateral

    def can_give(self, account_id: int, currency: int, amount: int) -> bool:
        holder = self.state.accounts[account_id]
        poorer = replace(holder, cash=list(holder.cash))
        poorer.cash[currency] -= amount
        m = self.state.model.margin(poorer, currency, True)
        return not holder.in_liquidation and amount <= holder.cash[currency] and m.equity >= m.initial

    def transfer(self, bucket: Account, currency: int, amount: int) -> None:
        """Collateral into a bucket, negative out of it; the payer is told first."""
        s = self.state
        holder = s.accounts[bucket.holder]
        holder.cash[currency] -= amount
        bucket.cash[currency] += amount
        sides = [(holder, bucket, -amount), (bucket, holder, amount)]
        for account, other, signed in sides if amount > 0 else reversed(sides):
            s.emit(
                EventKind.BALANCE_CHANGED, account.account_id, currency=currency, cause=BalanceCause.COLLATERAL,
                instrument=commands.NO_INSTRUMENT if bucket.slot is None else bucket.slot, amount_minor=signed,
                balance_minor=account.cash[currency], reference=other.account_id,
            )  # fmt: skip

    def look_at(self, bucket: Account) -> None:
        self.state.check_level(bucket)
        self.state.check_level(self.state.accounts[bucket.holder])

    def cover(self, bucket: Account, currency: int, missing: int) -> bool:
        """Whether the holder can give what an order needs: then it is the bucket's, and still to be told."""
        fits = bucket.cash[currency] + missing <= self.state.config.limits.max_balance_minor // 2
        if not (fits and self.can_give(bucket.holder, currency, missing)):
            return False
        self.state.accounts[bucket.holder].cash[currency] -= missing
        bucket.cash[currency] += missing
        self.state.pending = missing
        return True

    def drawn(self, account_id: int, slot: int, order_id: int, taken: bool) -> None:
        """An order that drew collateral is taken, or gives it back untold."""
        s = self.state
        amount, s.pending = s.pending, 0
        if not amount:
            return
        bucket, currency = s.accounts[account_id], s.contracts[slot].currency
        s.accounts[bucket.holder].cash[currency] += amount
        bucket.cash[currency] -= amount
        if taken:
            bucket.drawn += amount
            s.drew[order_id] = amount
            self.transfer(bucket, currency, amount)
            self.look_at(bucket)

    def give_back(self, account_id: int, slot: int, order_id: int) -> None:
        """An order that was prepared is taken back, and what it drew with it."""
        amount = self.state.drew.pop(order_id, 0)
        if amount:
            bucket = self.state.accounts[account_id]
            bucket.drawn -= amount
            self.transfer(bucket, self.state.contracts[slot].currency, -amount)
            self.look_at(bucket)

    def give_all(self, bucket: Account) -> None:
        for currency, amount in enumerate(bucket.cash):
            if amount >= 0:
                bucket.drawn = 0
            if amount > 0:
                self.transfer(bucket, currency, -amount)
                self.look_at(bucket)

    def end_command(self) -> None:
        """Buckets in which an order ended, traded or was edited, ascending id."""
        s = self.state
        touched, s.touched = sorted(s.touched), set()
        s.drew = {}
        ours = (s.accounts[number] for number in touched)
        for bucket in (a for a in ours if a.holder and not a.in_liquidation):
            if not bucket.holdings and not bucket.orders:
                self.give_all(bucket)
            elif bucket.drawn:
                currency = s.contracts[bucket.slot].currency
                m = s.model.margin(bucket, currency, True)
                spare = min(m.equity - m.initial, bucket.cash[currency], bucket.drawn)
                if spare > 0:
                    bucket.drawn -= spare
                    self.transfer(bucket, currency, -spare)
                    self.look_at(bucket)
                if not bucket.orders:
                    bucket.drawn = 0


class Detailed(Refused):
    """A refusal with a figure."""

    def __init__(self, reason: Reason, detail: int) -> None:
        super().__init__(reason)
        self.detail = detail
