"""Linked orders of the naive venue. Rules: docs/orders.md, "Linked orders".

What becomes of linked orders is noted where it happens and taken in here, after the command, group by group.
"""

import msgspec

from exchange.commands import CommandKind, FillCondition, LinkType, TriggerSource
from exchange.events import EventKind
from exchange.payloads import PlaceLinked
from exchange.reasons import Reason
from tests.oracles.excluding import Excluding
from tests.oracles.linking import BRACKET, FIRST_HIT, INCREMENTAL, PAIR, Group, Want, want_of
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import WaitingOrder
from tests.oracles.waiting import NO_TERMS, command_of


class Links(Excluding):
    """Places linked orders and does what follows from what becomes of them."""

    # ------------------------------------------------------------------ place

    def command(self, account_id: int, body: bytes) -> None:
        """PLACE_LINKED; COMMAND_DONE comes after what followed."""
        emit, kind = self.state.emit, CommandKind.PLACE_LINKED
        try:
            payload = msgspec.msgpack.decode(body, type=PlaceLinked)
            owner = self.trading.isolating.linked_account(account_id, payload)
            require(owner is not None, Reason.BAD_LINK)
            count = self.place(owner, payload)
        except Refused as refused:
            emit(EventKind.COMMAND_REJECTED, account_id, command_kind=kind, reason=refused.reason)
            return
        if count:
            self.waiting.look()
            self.follow()
            emit(EventKind.COMMAND_DONE, account_id, command_kind=kind, count=count)

    def place(self, account_id: int, payload: PlaceLinked) -> int:
        """How many orders were placed, 0 where one was refused; Refused where the command is."""
        s = self.state
        fits = payload.link_type in tuple(LinkType) and payload.fill_condition in tuple(FillCondition)
        require(fits and len(payload.orders) == (3 if payload.link_type == BRACKET else 2), Reason.BAD_LINK)
        wants = [want_of(account_id, order, payload) for order in payload.orders]
        link, condition, first_id = payload.link_type, payload.fill_condition, s.next_order_id
        excluding = {PAIR: wants, BRACKET: wants[1:]}.get(LinkType(link), [])
        wrong = next((want for want in excluding if not want.may_exclude), None)
        if wrong:
            self.trading.refuse(wrong.command, account_id, Reason.BAD_LINK)
            return 0
        if link == PAIR:
            if self.prepare(wants, first_id, condition) is not None:
                return 0
            self.pair(wants, first_id, condition)
            return 2
        primary, *others = wants
        if self.prepare([primary], first_id, condition) is not None:
            return 0
        for i, want in enumerate(others):
            try:
                before = i + primary.waits
                want.price_e8 = self.waiting.check_secondary(want.command, want.terms, account_id, before)
            except Refused as refused:
                self.trading.refuse(want.command, account_id, refused.reason)
                self.take_back(primary)
                s.next_order_id = first_id
                return 0
        s.next_order_id = first_id + len(wants)
        self.accept(primary, first_id, condition)
        for i, want in enumerate(others):
            after = {"linked_id": first_id, "source": TriggerSource.PRIMARY_ORDER}
            self.waiting.wait(
                want.command, want.terms, account_id, want.label, first_id + 1 + i, want.price_e8, **after
            )
        self.found(link, condition, account_id, first_id, len(wants))
        if primary.order:
            self.trading.settle(primary.order)
        return len(wants)

    def pair(self, wants: list[Want], first_id: int, condition: int) -> None:
        """Two prepared orders that cancel each other; the second trades as far as the first left it."""
        for i, want in enumerate(wants):
            self.accept(want, first_id + i, condition)
        group = self.found(PAIR, condition, wants[0].account_id, first_id, 2)
        if wants[0].order:
            self.trading.settle(wants[0].order)
        self.take_in()
        second = wants[1].order
        if second:
            self.exclude(group)
            if second.order_id in self.state.orders:
                self.trading.settle(second)

    # ------------------------------------------------------------------ what follows

    def follow(self) -> None:
        """What follows, what that fires, and what follows from that."""
        if self.work():
            self.waiting.look()
            self.work()

    def work(self) -> bool:
        """Place and cancel what is due, within the bound; whether anything was."""
        before = self.left
        self.take_in()
        while self.due and self.left > 0:
            number = min(self.due)
            self.due.remove(number)
            group = self.groups.get(number)
            if group is None:
                continue
            done = self.exclude(group) if group.link_type == PAIR else self.trigger(group)
            if not done:
                self.due.add(number)
            self.take_in()
            if not done:
                break
        return self.left < before

    # ------------------------------------------------------------------ one triggers other

    def trigger(self, group: Group) -> bool:
        """What follows for secondary orders; False where it needs more room than is left."""
        waiting = self.state.waiting
        parts = [(waiting[i], self.part(group, waiting[i])) for i in group.ids[1:] if i in waiting]
        if parts and all(lots for _, lots in parts):
            if len(parts) > self.left:
                return False
            self.place_parts(group, parts)
        rest = [i for i in group.ids[1:] if i in waiting]
        if group.ended[0]:
            if len(rest) > self.left:
                return False
            for order_id in rest:
                self.withdraw(order_id, Reason.PRIMARY_CLOSED)
            rest = []
        if not rest:
            self.dissolve(group)
        return True

    def part(self, group: Group, order: WaitingOrder) -> int:
        """Lots of a secondary order that are to be placed now."""
        rest = lots = order.quantity_lots - order.placed_lots
        if group.condition == FIRST_HIT:
            lots = rest if group.filled[0] else 0
        elif group.ended[0] != "filled":
            due = order.quantity_lots * group.filled[0] // group.quantity[0] - order.placed_lots
            lots = min(rest, max(0, due)) if group.condition == INCREMENTAL else 0
        return lots if lots >= self.state.contracts[order.instrument].spec.min_quantity_lots else 0

    def place_parts(self, group: Group, parts: list[tuple[WaitingOrder, int]]) -> None:
        """Announce ids for parts of one or two secondary orders, then place them; two cancel each other."""
        s = self.state
        first_id = s.next_order_id
        wants = []
        for i, (order, lots) in enumerate(parts):
            command = command_of(order, order.order_type, lots, first_id + i)
            watched = {
                "trigger_price_e8": order.price_e8, "trigger_offset_e8": order.offset_e8,
                "trigger_source": order.next_source,
            }  # fmt: skip
            wants.append(Want(order.account_id, command, NO_TERMS | watched, order.label))
            order.placed_lots += lots
            self.waiting.announce(order, first_id + i, lots)
            if order.placed_lots == order.quantity_lots:
                self.waiting.forget(order)
        self.left -= len(wants)
        if len(wants) == 2:
            refused = self.prepare(wants, first_id, group.condition)
            s.next_order_id = first_id + 2
            if refused is None:
                self.pair(wants, first_id, group.condition)
            else:
                other = wants[1 - refused]
                self.trading.refuse(other.command, other.account_id, Reason.OTHER_CLOSED)
            return
        want = wants[0]
        place = self.waiting.place if want.waits else self.trading.place
        place(want.command, want.terms, want.account_id, want.label)
        s.next_order_id = first_id + 1
