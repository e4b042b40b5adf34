"""Naive mass quotes and the settings of protection groups. Rules: docs/orders.md."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from exchange import commands, payloads
from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, ORDER_TERMS, OrderFlag
from exchange.config import INSTRUMENT_KINDS
from exchange.events import EventKind, ProtectionCause
from exchange.reasons import Reason
from tests.oracles.book import BUY, SELL, Order
from tests.oracles.pretrade import Refused, require
from tests.oracles.protection import Group, Key, coins_e8
from tests.oracles.trading import Trading

ANY_GROUP = 0xFFFF
FREEZE_NS = 10**9
LARGEST = 10**18
SIDES = ("bid", "ask")
POST_ONLY = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY


class Quoting:
    """Commands of market makers."""

    def __init__(self, trading: Trading) -> None:
        self.trading = trading
        self.state = trading.state

    # ------------------------------------------------------------------ mass quotes

    def mass_quote(self, command: Mapping[str, Any], record: bytes, account_id: int) -> None:
        s = self.state
        try:
            entries = self.check(command, record, account_id)
        except Refused as refused:
            s.emit(EventKind.COMMAND_REJECTED, account_id, command_kind=command["kind"], reason=refused.reason)
            return
        count = 0
        for entry in entries:
            for side in self.order_of_sides(command, entry, account_id):
                count += self.one_side(command, entry, side, account_id)
        s.emit(EventKind.COMMAND_DONE, account_id, command_kind=command["kind"], count=count)

    def check(self, command: Mapping[str, Any], record: bytes, account_id: int) -> list[dict[str, Any]]:
        """The entries, or Refused as a whole."""
        s, count = self.state, command["quote_count"]
        require(count > 0 and (count + 1) * commands.SLOT_BYTES <= len(record), Reason.BAD_PAYLOAD)
        require(count <= s.config.limits.max_quotes_per_command, Reason.LIMIT_REACHED)
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        require(not s.accounts[account_id].in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        late = command["valid_until_ns"] and s.time_ns > command["valid_until_ns"]
        require(not late, Reason.VALID_UNTIL_PASSED)
        values = np.frombuffer(record, commands.QUOTE_ENTRY, count, commands.SLOT_BYTES).tolist()
        entries = [dict(zip(commands.QUOTE_ENTRY.names, value, strict=True)) for value in values]
        listed = [s.contracts[e["instrument"]] for e in entries if e["instrument"] in s.contracts]
        require(bool(listed), Reason.UNKNOWN_INSTRUMENT)
        key = (account_id, listed[0].underlying, command["protection_group"])
        one = all(c.underlying == listed[0].underlying for c in listed)
        require(one and key in s.groups, Reason.UNKNOWN_GROUP)
        require(not s.stopped(account_id, key[1]), Reason.TRADING_STOPPED)
        frozen = s.time_ns < s.quotes_frozen_ns.get(account_id, 0) or s.groups[key].frozen(s.time_ns)
        require(not frozen, Reason.QUOTES_FROZEN)
        return entries

    def standing(self, account_id: int, slot: int, side: int, number: int) -> Order | None:
        for order in self.state.accounts[account_id].orders.values():
            mine = (order.instrument, order.side, order.protection_group) == (slot, side, number)
            if mine and order.flags & OrderFlag.QUOTE:
                return order
        return None

    def order_of_sides(self, command: Mapping[str, Any], entry: Mapping[str, Any], account_id: int) -> tuple[int, ...]:
        """Bid, then ask; the other way round where the bid moves through the maker's own standing ask."""
        given = tuple(side for side in (BUY, SELL) if entry["sides"] & (1 << side))
        ask = self.standing(account_id, entry["instrument"], SELL, command["protection_group"])
        through = ask is not None and entry["bid_price_units"] >= ask.price_units
        return given[::-1] if through else given

    def one_side(self, command: Mapping[str, Any], entry: Mapping[str, Any], side: int, account_id: int) -> bool:
        """Place, change or end one quote; whether that was done."""
        slot, number = entry["instrument"], command["protection_group"]
        price, lots = entry[f"{SIDES[side]}_price_units"], entry[f"{SIDES[side]}_lots"]
        flags = entry[f"{SIDES[side]}_flags"] & POST_ONLY
        order = self.standing(account_id, slot, side, number)
        if lots == 0:
            if order:
                self.trading.withdraw(order, Reason.USER_REQUEST)
            return order is not None
        if order:
            price = price or order.price_units
            lots = order.remaining_lots if lots == -1 else lots
        label = command["quote_id"].rstrip(b"\0") + b"\0" + entry["quote_set"].rstrip(b"\0")
        try:
            self.check_side(account_id, slot, number, lots)
            if order:
                self.replace(order, price, lots, flags, command["key_id"], label)
                return True
        except Refused as refused:
            self.state.emit(
                EventKind.ORDER_REJECTED, account_id, instrument=slot, reason=refused.reason, side=side, flags=flags,
                price_units=price, quantity_lots=lots, order_id=order.order_id if order else 0,
            )  # fmt: skip
            return False
        placed = {
            "instrument": slot, "side": side, "order_type": 0, "time_in_force": 0, "flags": flags,
            "price_units": price, "quantity_lots": lots, "key_id": command["key_id"], "label_bytes": len(label),
            "valid_until_ns": command["valid_until_ns"],
        }  # fmt: skip
        terms = dict.fromkeys(ORDER_TERMS.names, 0) | {"protection_group": number}
        return self.trading.place(placed, terms, account_id, label, OrderFlag.QUOTE)

    def check_side(self, account_id: int, slot: int, number: int, lots: int) -> None:
        s = self.state
        require(slot in s.contracts, Reason.UNKNOWN_INSTRUMENT)
        require(lots > 0, Reason.QUANTITY_NOT_POSITIVE)
        c = s.contracts[slot]
        group = s.groups[account_id, c.underlying, number]
        require(not group.frozen(s.time_ns), Reason.QUOTES_FROZEN)
        if group.max_quote_e8 and c.marked:
            fits = coins_e8(c, lots, s.index_e8[c.underlying]) <= group.max_quote_e8
            require(fits, Reason.QUANTITY_TOO_LARGE)

    def replace(self, order: Order, price: int, lots: int, flags: int, key_id: int, label: bytes) -> None:
        """New terms of a standing quote, or Refused."""
        kept = self.trading.change_terms(order, price, lots, lots, flags)
        self.trading.say_edited(order, kept)
        if not kept:
            self.trading.settle(order)
        if order.order_id in self.state.orders:
            order.key_id, order.label = key_id, label

    # ------------------------------------------------------------------ cancels

    def cancel(self, command: Mapping[str, Any], record: bytes, account_id: int) -> None:
        s, size = self.state, command["set_bytes"]
        named = record[commands.SLOT_BYTES :][:size]
        try:
            require(size <= len(record) - commands.SLOT_BYTES, Reason.BAD_PAYLOAD)
            require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        except Refused as refused:
            s.emit(EventKind.COMMAND_REJECTED, account_id, command_kind=command["kind"], reason=refused.reason)
            return
        wanted = [o for _, o in sorted(s.accounts[account_id].orders.items()) if self.named(command, o, named)]
        for order in wanted:
            self.trading.withdraw(order, command["reason"])
        if command["freeze"]:
            s.quotes_frozen_ns[account_id] = s.time_ns + FREEZE_NS
        s.emit(EventKind.COMMAND_DONE, account_id, command_kind=command["kind"], count=len(wanted))

    def named(self, command: Mapping[str, Any], order: Order, quote_set: bytes) -> bool:
        c = self.state.contracts[order.instrument]
        low, high = command["min_delta_e6"], command["max_delta_e6"]
        return bool(
            order.flags & OrderFlag.QUOTE
            and command["instrument"] in (NO_INSTRUMENT, order.instrument)
            and command["currency"] in (ANY_CURRENCY, c.currency)
            and command["instrument_kind"] in (ANY_KIND, INSTRUMENT_KINDS.index(c.spec.kind))
            and command["protection_group"] in (ANY_GROUP, order.protection_group)
            and (low > high or (c.is_option and low <= c.coin_delta * 1e6 <= high))
            and quote_set in (b"", order.label.split(b"\0", 1)[-1])
        )

    # ------------------------------------------------------------------ groups

    def key_of(self, account_id: int, payload: payloads.Protection | payloads.ResetProtection) -> Key:
        s = self.state
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        names = [u.name for u in s.config.underlyings]
        require(payload.underlying in names, Reason.UNKNOWN_UNDERLYING)
        require(1 <= payload.group <= s.config.limits.max_protection_groups, Reason.UNKNOWN_GROUP)
        return account_id, names.index(payload.underlying), payload.group

    def orders_of(self, key: Key) -> list[Order]:
        mine = self.state.accounts[key[0]].orders.items()
        return [order for _, order in sorted(mine) if self.state.in_group(order, key)]

    def set(self, account_id: int, payload: payloads.Protection) -> tuple[Reason, int]:
        """Configure or remove a group. (NONE, orders that end), or why not and the funds that are missing."""
        s = self.state
        key = self.key_of(account_id, payload)
        figures = {name: getattr(payload, name) for name in Group.SETTINGS}
        fit = all(0 <= figure <= LARGEST for figure in figures.values()) and len(payload.name.encode()) <= 64
        require(fit, Reason.BAD_PAYLOAD)
        group = s.groups.get(key)
        if payload.interval_ns == 0:
            require(group is not None, Reason.UNKNOWN_GROUP)
            ending = self.orders_of(key)
            self.say_changed(key, ProtectionCause.REMOVED, len(ending))
            for order in ending:
                self.trading.withdraw(order, Reason.PROTECTION_CHANGED)
            del s.groups[key]
            return Reason.NONE, len(ending)
        if group is None:
            s.groups[key] = Group(**figures)
        else:
            missing = self.try_settings(key, replace(group, **figures))
            if missing:
                return Reason.NOT_ENOUGH_FUNDS, missing
        ending = [order for order in self.orders_of(key) if self.too_large(order, s.groups[key])]
        self.say_changed(key, ProtectionCause.CONFIGURED, len(ending))
        for order in ending:
            self.trading.withdraw(order, Reason.PROTECTION_CHANGED)
        return Reason.NONE, len(ending)

    def try_settings(self, key: Key, group: Group) -> int:
        """Take new settings, or say what is missing for what the open quotes then cost."""
        s = self.state
        old, account = s.groups[key], s.accounts[key[0]]
        entities = list(s.entities(account)) if self.orders_of(key) and not s.ample else []
        before = {entity: s.model.margin(account, entity, True).initial for entity in entities}
        s.groups[key] = group
        for entity, initial in before.items():
            m = s.model.margin(account, entity, True)
            if m.equity < m.initial and m.initial > initial:
                s.groups[key] = old
                return m.initial - m.equity
        return 0

    def too_large(self, order: Order, group: Group) -> bool:
        c = self.state.contracts[order.instrument]
        coins = coins_e8(c, order.remaining_lots, self.state.index_e8[c.underlying])
        return bool(order.flags & OrderFlag.QUOTE and group.max_quote_e8 and coins > group.max_quote_e8)

    def reset(self, account_id: int, payload: payloads.ResetProtection) -> None:
        key = self.key_of(account_id, payload)
        require(key in self.state.groups, Reason.UNKNOWN_GROUP)
        group = self.state.groups[key]
        group.frozen_until_ns = 0
        group.clear()
        self.say_changed(key, ProtectionCause.RESET, 0)

    def say_changed(self, key: Key, cause: ProtectionCause, cancelled: int) -> None:
        account_id, underlying, number = key
        group = self.state.groups[key]
        self.state.emit(
            EventKind.PROTECTION_CHANGED, account_id, underlying=underlying, protection_group=number, cause=cause,
            cancelled=cancelled, frozen_until_ns=group.frozen_until_ns, **group.sums(),
        )  # fmt: skip
