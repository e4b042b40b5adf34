"""How linked orders of the naive venue are checked, accepted and put in groups. Rules: docs/orders.md."""

from dataclasses import dataclass, field
from typing import Any

from exchange.commands import FillCondition, LinkType, OrderFlag, OrderType
from exchange.events import EventKind
from exchange.payloads import LinkedOrder, PlaceLinked
from exchange.reasons import Reason
from tests.oracles.book import Order
from tests.oracles.matching import RESTING
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import WaitingOrder
from tests.oracles.waiting import NO_TERMS, TYPES, Waiting

AT_ONCE = 64
INCREMENTAL, FIRST_HIT = FillCondition.INCREMENTAL, FillCondition.FIRST_HIT
PAIR, BRACKET = LinkType.ONE_CANCELS_OTHER, LinkType.ONE_TRIGGERS_ONE_CANCELS_OTHER
Live = Order | WaitingOrder


@dataclass
class Group:
    """Orders that hang together, the primary first: lots and filled lots of each, and how each ended."""

    number: int
    link_type: int
    condition: int
    account_id: int
    ids: list[int]
    quantity: list[int]
    filled: list[int] = field(default_factory=lambda: [0, 0, 0])
    ended: list[str] = field(default_factory=lambda: ["", "", ""])
    hit: int = -1


@dataclass
class Want:
    """An order to place: its command, terms and label; `order` once it counts as open."""

    account_id: int
    command: dict[str, Any]
    terms: dict[str, Any]
    label: bytes
    order: Order | None = None
    price_e8: int = 0

    @property
    def waits(self) -> bool:
        return self.command["order_type"] in TYPES

    @property
    def may_exclude(self) -> bool:
        """Whether it may be one of a one-cancels-other: it waits, or rests."""
        lasting = self.command["order_type"] in (OrderType.LIMIT, OrderType.MARKET_LIMIT)
        return self.waits or (lasting and self.command["time_in_force"] in RESTING)


def want_of(account_id: int, order: LinkedOrder, payload: PlaceLinked) -> Want:
    label = order.label.encode()
    names = ("instrument", "side", "order_type", "time_in_force", "flags", "price_units", "quantity_lots")
    command = {name: getattr(order, name) for name in names}
    command |= {"key_id": payload.key_id, "label_bytes": len(label), "valid_until_ns": payload.valid_until_ns}
    watched = ("trigger_price_e8", "trigger_offset_e8", "trigger_source")
    return Want(account_id, command, NO_TERMS | {name: getattr(order, name) for name in watched}, label)


class Linking:
    """Groups of linked orders of a venue."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self.trading = waiting.trading
        self.state = waiting.state
        self.groups: dict[int, Group] = {}
        self.due: set[int] = set()
        self.left = AT_ONCE
        self.heard = False
        """Whether something was learnt before the end of the command."""
        self.trading.links = self

    def prepare(self, wants: list[Want], first_id: int, condition: int) -> int | None:
        """Check one order or two that cancel each other, counted as open; which was refused, None where none was."""
        s = self.state
        for i, want in enumerate(wants):
            linked = first_id + 1 - i if len(wants) == 2 else 0
            want.terms |= {"linked_order_id": linked, "both_count": condition == FillCondition.COMPLETE_FILL}
            s.next_order_id = first_id + i
            try:
                require(not (i and self.same_label(wants[0], want)), Reason.DUPLICATE_LABEL)
                c = s.contracts.get(want.command["instrument"])
                require(not (c and c.legs), Reason.BAD_TERMS)
                if want.waits:
                    before = i and wants[0].waits
                    want.price_e8 = self.waiting.check(want.command, want.terms, want.account_id, before)
                else:
                    terms = (want.command, want.terms, want.account_id, want.label, OrderFlag.LINKED)
                    want.order = self.trading.admit(*terms)
            except Refused as refused:
                self.trading.refuse(want.command, want.account_id, refused.reason)
                if i:
                    self.take_back(wants[0])
                s.next_order_id = first_id
                return i
        s.next_order_id = first_id + len(wants)
        return None

    def same_label(self, first: Want, second: Want) -> bool:
        """Whether the second of two may not have its label beside the first: both are unique, or both for the book."""
        if not second.label or first.label != second.label or not second.command["flags"] & OrderFlag.UNIQUE_LABEL:
            return False
        return bool(first.command["flags"] & OrderFlag.UNIQUE_LABEL) or not (first.waits or second.waits)

    def take_back(self, want: Want) -> None:
        if want.order:
            self.trading.forget(want.order)
            self.trading.isolating.give_back(want.account_id, want.order.instrument, want.order.order_id)

    def accept(self, want: Want, order_id: int, condition: int) -> None:
        """Say that what was prepared is accepted; it does not trade yet."""
        if want.order:
            self.trading.say_accepted(want.order)
            return
        linked = {
            "linked_id": want.terms["linked_order_id"],
            "both_count": condition == FillCondition.COMPLETE_FILL,
        }
        self.waiting.wait(want.command, want.terms, want.account_id, want.label, order_id, want.price_e8, **linked)

    def found(self, link: int, condition: int, account_id: int, first_id: int, count: int) -> Group:
        """A new group of orders that were just accepted."""
        ids = [first_id + i for i in range(count)]
        group = Group(first_id, link, condition, account_id, ids, [self.live(i).quantity_lots for i in ids])
        self.groups[first_id] = group
        self.say_linked(group)
        return group

    def say_linked(self, group: Group) -> None:
        self.state.emit(
            EventKind.ORDERS_LINKED, group.account_id, primary_order_id=group.ids[0], first_order_id=group.ids[1],
            second_order_id=group.ids[2] if len(group.ids) > 2 else 0, link_type=group.link_type,
            fill_condition=group.condition,
        )  # fmt: skip

    def live(self, order_id: int) -> Live | None:
        return self.state.orders.get(order_id) or self.state.waiting.get(order_id)
