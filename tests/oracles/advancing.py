"""Naive advanced option orders: their prices follow the marks. Rules: docs/orders.md."""

from exchange.commands import OrderFlag
from exchange.reasons import Reason
from tests.oracles.book import Order
from tests.oracles.pretrade import Refused
from tests.oracles.trading import ADVANCED_END_NS, Trading

PRICES_AT_ONCE = 64


class Advancing:
    """Keeps a venue's advanced orders at their prices and ends them in time."""

    def __init__(self, trading: Trading) -> None:
        self.trading = trading
        self.state = trading.state
        self.due: list[list[int]] = [[] for _ in self.state.grids]

    def live(self) -> list[Order]:
        return [order for _, order in sorted(self.state.orders.items()) if order.flags & OrderFlag.ADVANCED]

    def on_marks(self, underlying: int) -> None:
        """All of the underlying's are due, those still due from before first."""
        mine = [o.order_id for o in self.live() if self.state.contracts[o.instrument].underlying == underlying]
        due = [order_id for order_id in self.due[underlying] if order_id in mine]
        self.due[underlying] = due + [order_id for order_id in mine if order_id not in due]
        self.drain(self.due[underlying], PRICES_AT_ONCE)

    def tick(self) -> None:
        """End what is near its expiry, then go on with what is due."""
        for order in self.live():
            if self.state.time_ns >= self.state.contracts[order.instrument].spec.expiry_ns - ADVANCED_END_NS:
                self.trading.withdraw(order, Reason.INSTRUMENT_SETTLED)
        left = PRICES_AT_ONCE
        for due in self.due:
            left = self.drain(due, left)

    def drain(self, due: list[int], left: int) -> int:
        while due and left:
            order = self.state.orders.get(due.pop(0))
            if order and self.reprice(order):
                left -= 1
        return left

    def reprice(self, order: Order) -> bool:
        """Give an order the price that its value means now; whether anything changed."""
        t = self.trading
        price = t.price_of(order.instrument, order.side, order.advanced, order.advanced_value_e8)
        live = self.state.stages[self.state.contracts[order.instrument].underlying] == 0
        if price is None or price == order.price_units or not live:
            return False
        try:
            t.check_static(order.account_id, order.instrument, order.side, price, order.quantity_lots, False)
        except Refused as refused:
            if refused.reason != Reason.QUANTITY_TOO_LARGE:
                return False
            t.withdraw(order, Reason.BAND_PASSED)
            return True
        account = self.state.accounts[order.account_id]
        flags = order.flags & OrderFlag.REDUCE_ONLY
        try:
            remaining, flags = t.reduce_only(account, order.instrument, order.side, order.remaining_lots, flags)
        except Refused:
            t.withdraw(order, Reason.REDUCE_ONLY_POSITION_GONE)
            return True
        try:
            kept = t.reterm(order, price, remaining, flags)
        except Refused as refused:
            t.withdraw(order, refused.reason)
            return True
        t.say_edited(order, kept)
        t.settle(order)
        return True
