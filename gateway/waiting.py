"""Orders that wait for a trigger, from placement to what became of them.

They stand outside the book and cost no margin; when one fires, an ordinary order with a new id takes its place.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from exchange.commands import OrderType, Side, TriggerSource
from exchange.views import TriggerView
from gateway.history import OrderRecord
from gateway.holders import Holders
from gateway.listing import Listing, Listings
from gateway.records import label_of
from gateway.settings import Settings
from persistence.history_triggers import TRIGGER_COLUMNS, TRIGGER_STATES

STOPS = frozenset({OrderType.STOP_LIMIT, OrderType.STOP_MARKET})
TAKES = frozenset({OrderType.TAKE_LIMIT, OrderType.TAKE_MARKET})
WAITING_TYPES = STOPS | TAKES | {OrderType.TRAILING_STOP}
_PRIMARY = int(TriggerSource.PRIMARY_ORDER)
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
    "placed_lots",
)


class WaitingOrder(OrderRecord):
    """A waiting order: `untriggered`, then `triggered`, `cancelled`, or `rejected` when it fired."""

    __slots__ = ("became_id", "placed_lots", "trigger_offset_e8", "trigger_price_e8", "trigger_source", "watches")

    def __init__(self, listing: Listing, fields: Any, label: str, session: object):
        super().__init__(listing, fields, label, session)
        self.state, self.became_id = "untriggered", 0
        self.trigger_source = fields.trigger_source
        self.trigger_price_e8, self.trigger_offset_e8 = fields.trigger_price_e8, fields.trigger_offset_e8
        self.placed_lots = 0
        """Lots of a secondary order that are placed already."""
        self.watches = self.trigger_source
        """The price that it waits for; of a secondary order, that which it will wait for once it is placed."""

    @classmethod
    def waiting(cls, view: TriggerView, listing: Listing) -> "WaitingOrder":
        """The record of an order that waited before this gateway started."""
        record = cls.__new__(cls)
        record.listing, record.session, record.state = listing, None, "untriggered"
        for name in _FROM_VIEW:
            setattr(record, name, getattr(view, name))
        record.filled_lots = record.filled_value = record.cancel_reason = record.closed_rank = 0
        record.replaced = record.is_liquidation = False
        record.trigger_id, record.became_id, record.mmp_group = "", 0, ""
        record.watches = view.next_source
        record.unlinked()
        return record

    @classmethod
    def stored(cls, row: Sequence[Any], listing: Listing) -> "WaitingOrder":
        """A waiting order that ended, as the history store has it."""
        record = cls.__new__(cls)
        record.listing, record.session, record.is_liquidation = listing, None, False
        record.trigger_id = record.mmp_group = ""
        record.filled_lots = record.filled_value = 0
        record.unlinked()
        for name, value in zip(TRIGGER_COLUMNS, row, strict=True):
            if name not in ("instrument_id", "group_id"):
                setattr(record, name, value)
        record.state, record.replaced = TRIGGER_STATES[record.state], bool(record.replaced)
        record.watches = record.trigger_source
        return record

    @property
    def wire_id(self) -> str:
        """SL, TP or TR, what it watches (I, M, T), B or S, the number: `SLMB-17`; `OTO-17` waits for its primary."""
        if self.trigger_source == _PRIMARY:
            return f"OTO-{self.order_id}"
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
        self._fired: dict[int, WaitingOrder] = {}
        """Orders that fired and of whose placing nothing is known yet, by the id that was announced."""
        for account_id in engine.account_ids():
            for view in map(Holders(engine).view, engine.trigger_orders(account_id)):
                self._live[view.order_id] = WaitingOrder.waiting(view, listings.by_slot[view.instrument])

    # events

    def placed(self, fields: Any, tail: bytes, session: object) -> WaitingOrder:
        """TRIGGER_PLACED."""
        label = label_of(fields, tail)
        record = WaitingOrder(self._listings.by_slot[fields.instrument], fields, label, session)
        if record.trigger_source == _PRIMARY:
            view = self._engine.trigger_order(record.order_id)
            record.watches = TriggerSource.INDEX_PRICE if view is None else view.next_source
        self._live[record.order_id] = record
        return record

    def triggered(self, fields: Any, rank: int) -> WaitingOrder:
        """ORDER_TRIGGERED: what becomes of it follows. A secondary order may be placed in parts."""
        record = self._fired[fields.order_id] = self._live[fields.trigger_order_id]
        record.updated_ns, record.trigger_price_e8 = fields.time_ns, fields.trigger_price_e8
        if record.trigger_source == _PRIMARY:
            record.placed_lots += fields.value_e8
            if record.placed_lots < record.quantity_lots:
                return record
        record.state = "triggered"
        self._end(record, rank)
        return record

    def became(self, order: OrderRecord) -> None:
        """ORDER_ACCEPTED of what fired, or TRIGGER_PLACED where that waits in its turn."""
        fired = self._fired.pop(order.order_id, None)
        if fired is not None:
            order.trigger_id, order.session = fired.wire_id, fired.session
            fired.became_id = order.order_id
            if fired.state != "untriggered":
                fired.session = None

    def refused(self, fields: Any) -> None:
        """ORDER_REJECTED of what fired: no order came of it."""
        announced = fields.order_id or next(iter(self._fired), 0)
        fired = self._fired.pop(announced, None)
        if fired is not None and fired.state != "untriggered":
            fired.state, fired.cancel_reason, fired.session = "rejected", fields.reason, None

    def cancelled(self, fields: Any, rank: int) -> WaitingOrder | None:
        """ORDER_CANCELLED; None where no waiting order is meant."""
        record = self._live.get(fields.order_id)
        if record is not None:
            record.state, record.cancel_reason, record.updated_ns = "cancelled", fields.reason, fields.time_ns
            record.session = None
            self._end(record, rank)
        return record

    def edited(self, fields: Any) -> WaitingOrder | None:
        """ORDER_EDITED; None where no waiting order is meant."""
        record = self._live.get(fields.order_id)
        if record is not None:
            record.price_units, record.quantity_lots = fields.price_units, fields.quantity_lots
            # the event has one byte for flags: those above stay with an order
            record.flags = fields.flags | record.flags & ~0xFF
            record.replaced, record.updated_ns = True, fields.time_ns
            self._refresh(record, self._engine.trigger_order(record.order_id))
        return record

    def _end(self, record: WaitingOrder, rank: int) -> None:
        del self._live[record.order_id]
        record.closed_rank = rank
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
            record.trigger_price_e8, record.trigger_offset_e8 = view.trigger_price_e8, view.trigger_offset_e8

    def find(self, order_id: int) -> WaitingOrder | None:
        """A waiting order, or one that has recently ended."""
        record = self._live.get(order_id)
        if record is None:
            return self._ended.get(order_id)
        self._refresh(record, self._engine.trigger_order(order_id))
        return record

    def of_account(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Waiting orders of an account, those of its isolated positions too."""
        found: list[OrderRecord] = []
        own = (account_id, *self._engine.bucket_accounts(account_id))
        for view in (one for number in own for one in self._engine.trigger_orders(number, slot)):
            record = self._live.get(view.order_id)
            if record is not None:
                self._refresh(record, view)
                found.append(record)
        return found

    def ended(self, account_id: int) -> list[WaitingOrder]:
        """Orders of an account that ended, newest first."""
        return list(reversed(self._ended_by_account.get(account_id, ())))
