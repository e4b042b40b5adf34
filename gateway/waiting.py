"""Orders that wait for a trigger, from placement to what became of them.

They stand outside the book and cost no margin; when one fires, an ordinary order with a new id takes its place.
"""

from collections import OrderedDict, deque
from typing import Any

from exchange.commands import OrderType, Side, TriggerSource
from exchange.views import TriggerView
from gateway.history import OrderRecord
from gateway.listing import Listing, Listings
from gateway.records import label_of
from gateway.settings import Settings

STOPS = frozenset({OrderType.STOP_LIMIT, OrderType.STOP_MARKET})
TAKES = frozenset({OrderType.TAKE_LIMIT, OrderType.TAKE_MARKET})
WAITING_TYPES = STOPS | TAKES | {OrderType.TRAILING_STOP}
_SOURCE_LETTERS = {TriggerSource.INDEX_PRICE: "I", TriggerSource.MARK_PRICE: "M", TriggerSource.LAST_PRICE: "T"}
_FROM_VIEW = (
    "order_id",
    "account_id",
    "side",
    "order_type",
    "time_in_force",
    "flags",
    "price_units",
    "quantity_lots",
    "created_ns",
    "updated_ns",
    "label",
    "trigger_source",
    "trigger_price_e8",
    "trigger_offset_e8",
)


class WaitingOrder(OrderRecord):
    """A waiting order: `untriggered`, then `triggered`, `cancelled`, or `rejected` when it fired."""

    __slots__ = ("became_id", "trigger_offset_e8", "trigger_price_e8", "trigger_source")

    def __init__(self, listing: Listing, fields: Any, label: str, session: object):
        super().__init__(listing, fields, label, session)
        self.state, self.became_id = "untriggered", 0
        self.trigger_source = fields.trigger_source
        self.trigger_price_e8, self.trigger_offset_e8 = fields.trigger_price_e8, fields.trigger_offset_e8

    @classmethod
    def waiting(cls, view: TriggerView, listing: Listing) -> "WaitingOrder":
        """The record of an order that waited before this gateway started."""
        record = cls.__new__(cls)
        record.listing, record.session, record.state = listing, None, "untriggered"
        for name in _FROM_VIEW:
            setattr(record, name, getattr(view, name))
        record.filled_lots = record.filled_value = record.cancel_reason = record.closed_rank = 0
        record.replaced = record.is_liquidation = False
        record.trigger_id, record.mmp_group, record.became_id = "", "", 0
        return record

    @property
    def wire_id(self) -> str:
        """SL, TP or TR, what it watches (I, M, T), B or S, then the number: `SLMB-17`."""
        family = "SL" if self.order_type in STOPS else "TP" if self.order_type in TAKES else "TR"
        side = "B" if self.side == Side.BUY else "S"
        return f"{family}{_SOURCE_LETTERS[TriggerSource(self.trigger_source)]}{side}-{self.order_id}"


class WaitingRoom:
    """Waiting orders of all accounts, and those that ended since the gateway started (bounded)."""

    def __init__(self, engine: Any, listings: Listings, settings: Settings):
        self._engine, self._listings, self._settings = engine, listings, settings
        self._live: dict[int, WaitingOrder] = {}
        self._ended: OrderedDict[int, WaitingOrder] = OrderedDict()
        self._ended_by_account: dict[int, deque[WaitingOrder]] = {}
        self._fired: WaitingOrder | None = None
        """The last order that fired and of whose placing nothing is known yet."""
        for account_id in engine.account_ids():
            for view in engine.trigger_orders(account_id):
                self._live[view.order_id] = WaitingOrder.waiting(view, listings.by_slot[view.instrument])

    # events

    def placed(self, fields: Any, tail: bytes, session: object) -> WaitingOrder:
        """TRIGGER_PLACED."""
        label = label_of(fields, tail)
        record = WaitingOrder(self._listings.by_slot[fields.instrument], fields, label, session)
        self._live[record.order_id] = record
        return record

    def triggered(self, fields: Any) -> WaitingOrder:
        """ORDER_TRIGGERED: what becomes of it follows."""
        record = self._fired = self._live[fields.trigger_order_id]
        record.state, record.updated_ns = "triggered", fields.time_ns
        record.trigger_price_e8 = fields.trigger_price_e8
        self._end(record)
        return record

    def became(self, order: OrderRecord) -> None:
        """ORDER_ACCEPTED of what fired."""
        fired, self._fired = self._fired, None
        if fired is not None:
            order.trigger_id, order.session = fired.wire_id, fired.session
            fired.became_id, fired.session = order.order_id, None

    def refused(self, fields: Any) -> None:
        """ORDER_REJECTED of what fired: no order came of it."""
        fired, self._fired = self._fired, None
        if fired is not None:
            fired.state, fired.cancel_reason, fired.session = "rejected", fields.reason, None

    def cancelled(self, fields: Any) -> WaitingOrder | None:
        """ORDER_CANCELLED; None where no waiting order is meant."""
        record = self._live.get(fields.order_id)
        if record is not None:
            record.state, record.cancel_reason, record.updated_ns = "cancelled", fields.reason, fields.time_ns
            record.session = None
            self._end(record)
        return record

    def edited(self, fields: Any) -> WaitingOrder | None:
        """ORDER_EDITED; None where no waiting order is meant."""
        record = self._live.get(fields.order_id)
        if record is not None:
            record.price_units, record.quantity_lots = fields.price_units, fields.quantity_lots
            record.flags, record.replaced, record.updated_ns = fields.flags, True, fields.time_ns
            self._refresh(record, self._engine.trigger_order(record.order_id))
        return record

    def _end(self, record: WaitingOrder) -> None:
        del self._live[record.order_id]
        self._ended[record.order_id] = record
        keep = self._settings.history_per_account
        self._ended_by_account.setdefault(record.account_id, deque(maxlen=keep)).append(record)
        if len(self._ended) > self._settings.max_closed_orders:
            _, oldest = self._ended.popitem(last=False)
            ring = self._ended_by_account[oldest.account_id]
            if ring[0] is oldest:
                ring.popleft()
            if not ring:
                del self._ended_by_account[oldest.account_id]

    # reads

    @staticmethod
    def _refresh(record: WaitingOrder, view: TriggerView | None) -> None:
        # a trailing stop's price moves without an event
        if view is not None:
            record.trigger_price_e8 = view.trigger_price_e8

    def find(self, order_id: int) -> WaitingOrder | None:
        """A waiting order, or one that has recently ended."""
        record = self._live.get(order_id)
        if record is None:
            return self._ended.get(order_id)
        self._refresh(record, self._engine.trigger_order(order_id))
        return record

    def of_account(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Waiting orders of an account, ascending order id."""
        found: list[OrderRecord] = []
        for view in self._engine.trigger_orders(account_id, slot):
            record = self._live.get(view.order_id)
            if record is not None:
                self._refresh(record, view)
                found.append(record)
        return found

    def ended(self, account_id: int) -> list[WaitingOrder]:
        """Orders of an account that ended, newest first."""
        return list(reversed(self._ended_by_account.get(account_id, ())))
