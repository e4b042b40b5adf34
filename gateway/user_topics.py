"""Private channels: an account's orders, trades, changes and portfolio."""

from typing import TYPE_CHECKING, Any

from exchange.events import EventKind
from gateway import render_orders
from gateway.listing import Listing
from gateway.protection import group_name
from gateway.topics import Topic, event_object
from gateway.units import ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.history import OrderRecord, TradeRecord
    from gateway.session import Session

RISK_EVENTS = frozenset(
    {
        EventKind.LEVEL_CHANGED,
        EventKind.BID_ACCEPTED,
        EventKind.BID_REJECTED,
        EventKind.LIQUIDATION_STARTED,
        EventKind.AUCTION_OPENED,
        EventKind.AUCTION_PHASE_CHANGED,
        EventKind.AUCTION_LOT_SOLD,
        EventKind.AUCTION_CLOSED,
        EventKind.LIQUIDATION_ENDED,
        EventKind.POSITION_TRANSFERRED,
        EventKind.FUND_DRAWN,
        EventKind.CAPITAL_DRAWN,
        EventKind.DEFAULT_COVERED,
        EventKind.POSITION_DELEVERAGED,
        EventKind.POSITION_TORN_UP,
        EventKind.MARGIN_MODE_CHANGED,
    }
)


class Selection:
    """The instruments a private channel speaks of: one, or a kind and a currency, either of them `any`."""

    __slots__ = ("_currency", "_kind", "_name")

    def __init__(self, listing: Listing | None, kind: str, currency: str):
        self._name = listing.name if listing is not None else ""
        self._kind, self._currency = kind, currency

    def holds(self, listing: Listing) -> bool:
        """Whether the channel covers this instrument."""
        if self._name:
            return listing.name == self._name
        return listing.is_of(self._kind) and self._currency in ("any", listing.currency.lower())


class UserTopic(Topic):
    """Base: belongs to one account."""

    def __init__(self, gateway: "Gateway", name: str, account_id: int, selection: Selection, interval: str):
        super().__init__(gateway, name)
        self.account_id, self.selection, self.interval = account_id, selection, interval

    def on_order(self, record: "OrderRecord") -> None:
        """An order of the account changed."""

    def on_trade(self, trade: "TradeRecord", as_maker: bool) -> None:
        """The account traded."""


class OrdersTopic(UserTopic):
    """`user.orders.*`: `raw` sends one order object per change, the others a list of the latest states."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._orders: dict[int, Any] = {}

    def on_order(self, record: "OrderRecord") -> None:
        if self.selection.holds(record.listing):
            self._orders[record.order_id] = render_orders.order(record)
            self.dirty = True

    def flush(self) -> None:
        orders, self._orders = list(self._orders.values()), {}
        if self.interval == "raw":
            for order in orders:
                self.emit(order)
        elif orders:
            self.emit(orders)


class UserTradesTopic(UserTopic):
    """`user.trades.*`: lists of trades."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._trades: list[Any] = []

    def on_trade(self, trade: "TradeRecord", as_maker: bool) -> None:
        if self.selection.holds(trade.listing):
            self._trades.append(render_orders.user_trade(trade, as_maker))
            self.dirty = True

    def flush(self) -> None:
        trades, self._trades = self._trades, []
        if trades:
            self.emit(trades)


class ComboTradesTopic(UserTradesTopic):
    """`user.combo_trades.*`: lists of trades of combos, each with those of its legs."""

    def on_trade(self, trade: "TradeRecord", as_maker: bool) -> None:
        if trade.listing.is_combo:
            super().on_trade(trade, as_maker)


class ChangesTopic(UserTopic):
    """`user.changes.*`: orders, trades and positions of one instrument at a time."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._orders: dict[Listing, dict[int, Any]] = {}
        self._trades: dict[Listing, list[Any]] = {}

    def on_order(self, record: "OrderRecord") -> None:
        if self.selection.holds(record.listing):
            orders = self._orders.setdefault(record.listing, {})
            orders[record.order_id] = render_orders.order(record)
            self.dirty = True

    def on_trade(self, trade: "TradeRecord", as_maker: bool) -> None:
        if self.selection.holds(trade.listing):
            self._trades.setdefault(trade.listing, []).append(render_orders.user_trade(trade, as_maker))
            self.dirty = True

    def flush(self) -> None:
        orders, self._orders = self._orders, {}
        trades, self._trades = self._trades, {}
        for listing in dict.fromkeys([*orders, *trades]):
            traded = trades.get(listing, [])
            positions = self.gateway.positions(self.account_id, listing.slot) if traded else []
            self.emit(
                {
                    "instrument_name": listing.name,
                    "orders": list(orders.get(listing, {}).values()),
                    "trades": traded,
                    "positions": positions,
                }
            )


class PortfolioTopic(Topic):
    """`user.portfolio.{currency}`: the account summary, on subscription and whenever a figure changes."""

    interval = "100ms"

    def __init__(self, gateway: "Gateway", name: str, account_id: int, currency: str):
        super().__init__(gateway, name)
        self.account_id, self._currency = account_id, currency
        self._last: dict[str, Any] = {}

    def _summaries(self) -> list[dict[str, Any]]:
        found = self.gateway.summaries(self.account_id)
        if self._currency == "any":
            return found
        return [summary for summary in found if summary["currency"].lower() == self._currency]

    def snapshot(self, session: "Session") -> None:
        for summary in self._summaries():
            self._last[summary["currency"]] = summary
            self.emit_to(session, summary)

    def flush(self) -> None:
        for summary in self._summaries():
            if self._last.get(summary["currency"]) != summary:
                self._last[summary["currency"]] = summary
                self.emit(summary)


class ProtectionTopic(Topic):
    """`user.mmp_trigger.{index_name}`: protection groups that were triggered; `frozen_until` 0: until reset."""

    def __init__(self, gateway: "Gateway", name: str, account_id: int, index_name: str, underlying: int):
        super().__init__(gateway, name)
        self.account_id, self._index_name, self._underlying = account_id, index_name, underlying

    def on_fact(self, kind: int, fields: Any, bucket: int) -> None:
        """An engine event of this account."""
        if kind == EventKind.PROTECTION_TRIGGERED and fields.underlying == self._underlying:
            number = fields.protection_group
            self.emit(
                {
                    "index_name": self._index_name,
                    "mmp_group": group_name(self.gateway.engine, self.account_id, self._underlying, number),
                    "frozen_until": max(0, ms(fields.frozen_until_ns)),
                    "block_rfq": False,
                }
            )


class RiskTopic(Topic):
    """`user.liquidation` (our own): margin levels crossed, the account's liquidation, its bids and what it bought."""

    def __init__(self, gateway: "Gateway", name: str, account_id: int):
        super().__init__(gateway, name)
        self.account_id = account_id
        self._places: dict[int, dict[str, Any]] = {}
        """Place of each position in its deleveraging queue when last looked at, by slot."""

    def on_ranks(self) -> None:
        """Say which positions have moved to another fifth of their deleveraging queue since the last look."""
        gateway, places = self.gateway, {}
        for account in (self.account_id, *(b.bucket_account_id for b in gateway.engine.buckets(self.account_id))):
            for view in gateway.engine.positions(account):
                if view.quantity_lots:
                    listing = gateway.listings.by_slot[view.instrument]
                    shown = places[view.instrument] = gateway.adl.shown(listing, view)
                    known = self._places.get(view.instrument)
                    if known is not None and known["adl"] != shown["adl"]:
                        told = {"instrument_name": listing.name, "previous_adl": known["adl"], **shown}
                        self.emit({"type": "adl_changed", "timestamp": ms(gateway.engine.time_ns), **told})
        self._places = places

    def on_fact(self, kind: int, fields: Any, bucket: int) -> None:
        """An engine event of this account, or of an isolated position of its: then it names the instrument."""
        if kind in RISK_EVENTS:
            found = event_object(self.gateway, kind, fields, self.account_id)
            if kind == EventKind.LEVEL_CHANGED:
                found["outlook"] = self.gateway.outlook.figures(bucket or self.account_id)
            slot = self.gateway.engine.bucket_slot(bucket) if bucket else -1
            isolated = {"instrument_name": self.gateway.listings.by_slot[slot].name} if slot >= 0 else {}
            self.emit(found | ({"margin_mode": "isolated"} if bucket else {}) | isolated)
