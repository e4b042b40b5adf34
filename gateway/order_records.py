"""Orders of accounts in memory, live and lately closed, part of the projection."""

from collections import OrderedDict, deque

from gateway.history import OrderRecord
from gateway.trade_records import TradeRecords
from gateway.waiting import WaitingRoom


class OrderRecords(TradeRecords):
    """What the projection tells of orders."""

    orders: dict[int, OrderRecord]
    closed: OrderedDict[int, OrderRecord]
    waiting: WaitingRoom
    _closed_by_account: OrderedDict[int, deque[OrderRecord]]

    def order(self, order_id: int) -> OrderRecord | None:
        """A live or recently closed order, waiting ones included."""
        return self.orders.get(order_id) or self.closed.get(order_id) or self.waiting.find(order_id)

    def open_orders(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Live orders of an account, those of its isolated positions too."""
        own = (account_id, *self._engine.bucket_accounts(account_id))
        views = [view for number in own for view in self._engine.open_orders(number, slot)]
        return [record for view in views if (record := self.orders.get(view.order_id)) is not None]

    def live_orders(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Open and waiting orders of an account, ascending order id."""
        found = self.open_orders(account_id, slot) + self.waiting.of_account(account_id, slot)
        return sorted(found, key=lambda record: record.order_id)

    def closed_orders(self, account_id: int) -> list[OrderRecord]:
        """Recently closed orders of an account, newest first."""
        return list(reversed(self._closed_by_account.get(account_id, ())))
