"""Stop, take and trailing orders of the naive venue. Rules: docs/protocol.md, docs/decisions/0019.

They wait outside the book and cost no margin. What fires stands in one queue, ascending id of each look, and is
placed as an ordinary order with an id of its own, 64 at once; the rest comes with what fires next, or with Ticks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from exchange.commands import LABEL_MAX_BYTES, ORDER_TERMS, OrderFlag, OrderType, TimeInForce, TriggerSource
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.book import BUY
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import WaitingOrder, relink
from tests.oracles.trading import EDIT_FLAGS, Trading

TYPES = range(OrderType.STOP_LIMIT, OrderType.TRAILING_STOP + 1)
WATCHED = (TriggerSource.INDEX_PRICE, TriggerSource.MARK_PRICE, TriggerSource.LAST_PRICE)
LIMITS = (OrderType.STOP_LIMIT, OrderType.TAKE_LIMIT)
TAKES = (OrderType.TAKE_LIMIT, OrderType.TAKE_MARKET)
AT_ONCE = 64
HIGHEST_E8 = 10**17


def rising(order_type: int, side: int) -> bool:
    """Stop buys and take sells wait for a price at or above theirs, the others at or below."""
    return (side == BUY) != (order_type in TAKES)


NO_TERMS: dict[str, Any] = dict.fromkeys(ORDER_TERMS.names, 0)


def command_of(order: WaitingOrder, order_type: int, lots: int, announced_id: int = 0) -> dict[str, Any]:
    """The command that places `lots` of what waited; `announced_id` is shown where it is refused."""
    return {
        "instrument": order.instrument, "side": order.side, "order_type": order_type, "announced_id": announced_id,
        "time_in_force": order.time_in_force, "flags": order.flags & 0xFF, "price_units": order.price_units,
        "quantity_lots": lots, "key_id": order.key_id, "label_bytes": len(order.label), "valid_until_ns": 0,
    }  # fmt: skip


class Waiting:
    """Waiting orders of a Trading's state."""

    def __init__(self, trading: Trading) -> None:
        self.trading = trading
        self.state = trading.state
        self.queue: list[WaitingOrder] = []

    def value(self, slot: int, source: int) -> int:
        """The price watched, -1 before there is one."""
        c = self.state.contracts[slot]
        if source == TriggerSource.INDEX_PRICE:
            return self.state.index_e8[c.underlying] or -1
        if source == TriggerSource.MARK_PRICE:
            return c.mark_price_e8 if c.marked else -1
        return c.last_price_units * c.spec.price_unit_e8 or -1

    # ------------------------------------------------------------------ place, edit, end

    def place(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes) -> None:
        s = self.state
        try:
            price_e8 = self.check(command, terms, account_id)
        except Refused as refused:
            self.trading.refuse(command, account_id, refused.reason)
            return
        s.next_order_id += 1
        self.wait(command, terms, account_id, label, s.next_order_id - 1, price_e8)

    def wait(
        self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, label: bytes, order_id: int,
        price_e8: int, **linked: int,
    ) -> None:  # fmt: skip
        """Let a checked order wait, with the fields of `linked` where it is."""
        s = self.state
        trails, prices = command["order_type"] == OrderType.TRAILING_STOP, (OrderType.LIMIT, *LIMITS)
        order = WaitingOrder(
            order_id, account_id, command["instrument"], command["side"], command["order_type"],
            command["time_in_force"], (command["flags"] & EDIT_FLAGS) | (OrderFlag.LINKED if linked else 0),
            command["price_units"] if command["order_type"] in prices else 0, command["quantity_lots"],
            command["key_id"], terms["trigger_source"], price_e8, terms["trigger_offset_e8"] if trails else 0, label,
            next_source=terms["trigger_source"],
        )  # fmt: skip
        for name, value in linked.items():
            setattr(order, name, value)
        s.waiting[order.order_id] = order
        s.emit(
            EventKind.TRIGGER_PLACED, account_id, label, order_id=order.order_id, instrument=order.instrument,
            side=order.side, order_type=order.order_type, time_in_force=order.time_in_force, flags=order.flags,
            price_units=order.price_units, quantity_lots=order.quantity_lots, key_id=order.key_id,
            label_bytes=len(label), trigger_price_e8=order.price_e8, trigger_offset_e8=order.offset_e8,
            trigger_source=order.source, linked_order_id=order.linked_id,
        )  # fmt: skip

    def check_form(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int) -> None:
        """What no order outside the book may be, whatever the prices."""
        s = self.state
        slot, side, source = command["instrument"], command["side"], terms["trigger_source"]
        special = terms["advanced"] or terms["protection_group"] or terms["display_lots"]
        require(not special, Reason.BAD_TERMS)
        known = side <= 1 and source <= TriggerSource.LAST_PRICE and command["time_in_force"] <= max(TimeInForce)
        require(known, Reason.BAD_TRIGGER)
        require(command["label_bytes"] <= LABEL_MAX_BYTES, Reason.LABEL_TOO_LONG)
        expired = command["valid_until_ns"] and s.time_ns > command["valid_until_ns"]
        require(not expired, Reason.VALID_UNTIL_PASSED)
        self.trading.check_static(account_id, slot, side, 0, command["quantity_lots"], True)
        require(not s.contracts[slot].legs, Reason.BAD_ORDER_TYPE)
        if command["order_type"] in (OrderType.LIMIT, *LIMITS):
            self.trading.check_form(slot, command["price_units"])

    def check_room(self, account_id: int, before: int) -> None:
        """Whether one more may wait, `before` of the same command counted."""
        own = sum(w.account_id == account_id for w in self.state.waiting.values())
        require(own + before < self.state.config.limits.max_triggers_per_account, Reason.TRIGGER_LIMIT)

    def check_secondary(
        self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, before: int
    ) -> int:
        """The price that an order will wait for once its primary has placed it, or Refused."""
        self.check_form(command, terms, account_id)
        order_type, price_e8, offset = command["order_type"], terms["trigger_price_e8"], terms["trigger_offset_e8"]
        require(order_type <= OrderType.TRAILING_STOP, Reason.BAD_ORDER_TYPE)
        stops = order_type in TYPES and order_type != OrderType.TRAILING_STOP
        require(order_type != OrderType.TRAILING_STOP or 0 < offset <= HIGHEST_E8, Reason.BAD_TRIGGER)
        require(not stops or 0 < price_e8 <= HIGHEST_E8, Reason.BAD_TRIGGER)
        self.check_room(account_id, before)
        return price_e8 if stops else 0

    def check(self, command: Mapping[str, Any], terms: Mapping[str, Any], account_id: int, before: int = 0) -> int:
        """The price to wait for, or Refused."""
        self.check_form(command, terms, account_id)
        slot, side, source = command["instrument"], command["side"], terms["trigger_source"]
        value = self.value(slot, source)
        require(value >= 0, Reason.BAD_TRIGGER)
        price_e8 = terms["trigger_price_e8"]
        if command["order_type"] == OrderType.TRAILING_STOP:
            offset = terms["trigger_offset_e8"]
            require(0 < offset < value, Reason.BAD_TRIGGER)
            price_e8 = value + offset if side == BUY else value - offset
        else:
            require(price_e8 > 0, Reason.BAD_TRIGGER)
            self.check_price(price_e8, value, rising(command["order_type"], side))
        self.check_room(account_id, before)
        return price_e8

    def check_price(self, price_e8: int, value: int, waits_for_rise: bool) -> None:
        """A price that would fire at once is refused."""
        require(0 < price_e8 <= HIGHEST_E8, Reason.BAD_TRIGGER)
        if waits_for_rise:
            require(price_e8 > value, Reason.TRIGGER_PRICE_TOO_LOW)
        else:
            require(price_e8 < value, Reason.TRIGGER_PRICE_TOO_HIGH)

    def of(self, order_id: int, account_id: int) -> WaitingOrder | None:
        """The account's waiting order of that id."""
        order = self.state.waiting.get(order_id)
        return order if order and order.account_id == account_id else None

    def edit(self, command: Mapping[str, Any], terms: Mapping[str, Any], order: WaitingOrder) -> None:
        price_units, price_e8, offset = command["price_units"], command["trigger_price_e8"], terms["trigger_offset_e8"]
        try:
            quantity = command["quantity_lots"]
            self.trading.check_static(order.account_id, order.instrument, order.side, 0, quantity, True)
            if order.order_type in (OrderType.LIMIT, *LIMITS):
                self.trading.check_form(order.instrument, price_units)
            special = terms["advanced"] or terms["protection_group"] or terms["display_lots"]
            require(not special, Reason.BAD_TERMS)
            require(quantity > order.placed_lots, Reason.EDIT_BELOW_FILLED)
            second = order.source == TriggerSource.PRIMARY_ORDER
            value = HIGHEST_E8 if second else self.value(order.instrument, order.source)
            trails = order.order_type == OrderType.TRAILING_STOP
            require(offset == 0 or (trails and 0 < offset < value), Reason.BAD_TRIGGER)
            if price_e8:
                require(not trails, Reason.BAD_TRIGGER)
                if second:
                    require(order.order_type in TYPES and 0 < price_e8 <= HIGHEST_E8, Reason.BAD_TRIGGER)
                else:
                    self.check_price(price_e8, value, rising(order.order_type, order.side))
        except Refused as refused:
            self.state.emit(
                EventKind.ORDER_REJECTED, order.account_id, instrument=order.instrument, reason=refused.reason,
                side=order.side, price_units=price_units, quantity_lots=quantity, order_id=order.order_id,
            )  # fmt: skip
            return
        if order.order_type in (OrderType.LIMIT, *LIMITS):
            order.price_units = price_units
        order.offset_e8 = offset or order.offset_e8
        if offset and not second:
            price_e8 = value + offset if order.side == BUY else value - offset
        if price_e8:
            order.price_e8, order.fired = price_e8, False
            self.queue = [w for w in self.queue if w is not order]
        order.quantity_lots = quantity
        order.flags = (command["flags"] & EDIT_FLAGS) | (order.flags & OrderFlag.LINKED)
        self.state.note(order, "sized", quantity)
        self.say_edited(order)

    def say_edited(self, order: WaitingOrder) -> None:
        self.state.emit(
            EventKind.ORDER_EDITED, order.account_id, order_id=order.order_id, instrument=order.instrument,
            side=order.side, flags=order.flags & 0xFF, kept_priority=1, price_units=order.price_units,
            quantity_lots=order.quantity_lots, remaining_lots=order.quantity_lots - order.placed_lots, terms_slots=1,
            trigger_price_e8=order.price_e8, trigger_offset_e8=order.offset_e8, trigger_source=order.source,
            linked_order_id=order.linked_id,
        )  # fmt: skip

    def forget(self, order: WaitingOrder) -> None:
        del self.state.waiting[order.order_id]
        self.queue = [w for w in self.queue if w is not order]

    def withdraw(self, order: WaitingOrder, reason: int) -> None:
        self.forget(order)
        self.state.emit(
            EventKind.ORDER_CANCELLED, order.account_id, order_id=order.order_id, instrument=order.instrument,
            reason=reason, side=order.side, flags=order.flags & 0xFF, price_units=order.price_units,
            remaining_lots=order.quantity_lots - order.placed_lots, quantity_lots=order.quantity_lots,
        )  # fmt: skip
        self.state.note(order, "ended")

    def cancel_all(self, command: Mapping[str, Any], account_id: int, label: bytes) -> int:
        """Waiting orders of the account that every given filter names, ascending id; how many."""
        mine = [w for w in self.state.waiting.values() if w.account_id == account_id]
        named = [w for w in mine if self.trading.named(command, w, label)]
        for order in named:
            self.withdraw(order, command["reason"])
        return len(named)

    def end_of_day(self) -> None:
        for order in list(self.state.waiting.values()):
            if order.time_in_force == TimeInForce.GOOD_TIL_DAY:
                self.withdraw(order, Reason.DAY_ENDED)

    # ------------------------------------------------------------------ firing

    def saw_marks(self) -> None:
        """New index and marks, then what their fills did to last prices."""
        self.look((TriggerSource.INDEX_PRICE, TriggerSource.MARK_PRICE))
        self.look()

    def look(self, sources: Sequence[TriggerSource] = WATCHED) -> None:
        """Queue what fires at the prices of now, ascending id, and place some of the queue if anything did.

        Trailing stops follow their price; nothing fires while its instrument is halted or in an auction.
        """
        found = []
        for order in self.state.waiting.values():
            if order.fired or order.source not in sources:
                continue
            value = self.value(order.instrument, order.source)
            up = rising(order.order_type, order.side)
            if order.order_type == OrderType.TRAILING_STOP:
                follow = value + order.offset_e8 if up else value - order.offset_e8
                order.price_e8 = min(order.price_e8, follow) if up else max(order.price_e8, follow)
            if (value >= order.price_e8 if up else value <= order.price_e8) and self.trades(order):
                order.fired, order.seen_e8 = True, value
                found.append(order)
        self.queue += found
        if found:
            self.drain()

    def trades(self, order: WaitingOrder) -> bool:
        c = self.state.contracts[order.instrument]
        return c.state in ("open", "close_only") and self.state.stages[c.underlying] == 0

    def drain(self) -> None:
        """Place what stands first in the queue; what was halted there waits again."""
        left = AT_ONCE
        while self.queue and left:
            order = self.queue.pop(0)
            if not self.trades(order):
                order.fired = False
                continue
            self.trading.gives_way(order)
            if order.order_id in self.state.waiting:
                self.fire(order)
                left -= 1

    def fire(self, order: WaitingOrder) -> None:
        """Announce the id that the ordinary order will have, and place it; the id is gone even where it is refused."""
        s = self.state
        self.forget(order)
        announced = s.next_order_id
        self.announce(order, announced, order.seen_e8)
        linked = order.flags & OrderFlag.LINKED
        terms = NO_TERMS | {"linked_order_id": order.linked_id, "both_count": order.both_count}
        for other in (s.orders.get(order.linked_id), s.waiting.get(order.linked_id)) if linked else ():
            relink(other, announced)
        s.note(order, "became", announced)
        order_type = OrderType.LIMIT if order.order_type in LIMITS else OrderType.MARKET
        command = command_of(order, order_type, order.quantity_lots)
        if not self.trading.place(command, terms, order.account_id, order.label, linked) and linked:
            s.notes.append((announced, "ended", 0))
        s.next_order_id = announced + 1

    def announce(self, order: WaitingOrder, order_id: int, value_e8: int) -> None:
        """Say that an order was triggered and what id it has from now on."""
        self.state.emit(
            EventKind.ORDER_TRIGGERED, order.account_id, order_id=order_id, trigger_order_id=order.order_id,
            instrument=order.instrument, side=order.side, order_type=order.order_type, trigger_source=order.source,
            trigger_price_e8=order.price_e8, value_e8=value_e8,
        )  # fmt: skip
