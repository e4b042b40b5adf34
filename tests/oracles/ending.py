"""How orders end in the naive venue: cancelled one by one, all at once, at the end of the day."""

from collections.abc import Mapping
from typing import Any

from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, TimeInForce
from exchange.config import INSTRUMENT_KINDS
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.book import Order
from tests.oracles.pretrade import Checks
from tests.oracles.state import WaitingOrder


class Ending(Checks):
    """Ends of live orders."""

    def forget(self, order: Order) -> None:
        del self.state.orders[order.order_id]
        del self.state.accounts[order.account_id].orders[order.order_id]

    def withdraw(self, order: Order, reason: int) -> None:
        """End an order with its remainder unfilled."""
        book = self.state.books[order.instrument]
        if any(o is order for o in book.resting[order.side]):
            book.remove(order)
        self.forget(order)
        self.state.emit(
            EventKind.ORDER_CANCELLED, order.account_id, order_id=order.order_id, instrument=order.instrument,
            reason=reason, side=order.side, flags=order.flags & 0xFF, price_units=order.price_units,
            remaining_lots=order.remaining_lots, quantity_lots=order.quantity_lots,
        )  # fmt: skip
        self.state.touched.add(order.account_id)
        self.state.note(order, "ended")

    def cancel(self, command: Mapping[str, Any], account_id: int) -> None:
        order = self.state.orders.get(command["order_id"])
        if order is None or order.account_id != account_id:
            self.state.emit(
                EventKind.COMMAND_REJECTED, account_id, command_kind=command["kind"],
                order_id=command["order_id"],
                reason=Reason.UNKNOWN_ORDER if order is None else Reason.NOT_OWNER_OF_ORDER,
            )  # fmt: skip
        else:
            self.withdraw(order, command["reason"])

    def named(self, command: Mapping[str, Any], order: Order | WaitingOrder, label: bytes) -> bool:
        """Whether every filter of a CANCEL_ALL that is given names the order."""
        c = self.state.contracts[order.instrument]
        return (
            command["instrument"] in (NO_INSTRUMENT, order.instrument)
            and command["currency"] in (ANY_CURRENCY, c.currency)
            and command["instrument_kind"] in (ANY_KIND, INSTRUMENT_KINDS.index(c.spec.kind))
            and command["order_type"] in (ANY_KIND, order.order_type)
            and label in (b"", order.label)
        )

    def cancel_all(self, command: Mapping[str, Any], account_id: int, label: bytes, count: int) -> None:
        """Every live order of the account that is named, ascending id; `count` waiting ones are cancelled already."""
        account = self.state.accounts.get(account_id)
        count += self.cancel_named(command, account, label) if account else 0
        self.state.emit(EventKind.COMMAND_DONE, account_id, command_kind=command["kind"], count=count)

    def cancel_named(self, command: Mapping[str, Any], account: Account, label: bytes) -> int:
        """The account's live orders that are named; how many."""
        named = [o for _, o in sorted(account.orders.items()) if self.named(command, o, label)]
        for order in named:
            self.withdraw(order, command["reason"])
        return len(named)

    def end_of_day(self) -> None:
        """Good-til-day orders, ascending account, then id."""
        for _, account in sorted(self.state.accounts.items()):
            for _, order in sorted(account.orders.items()):
                if order.time_in_force == TimeInForce.GOOD_TIL_DAY:
                    self.withdraw(order, Reason.DAY_ENDED)
