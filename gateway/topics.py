"""Market-data channels: what each one remembers, when it speaks, and what it says.

A topic encodes a message once for all its subscribers. `raw` topics speak after each command, `100ms`
and `agg2` (one second) ones gather changes and speak when their timer fires. Book topics mirror the book
as their subscribers know it, so every chain of change ids is gapless and a newcomer fits in.
"""

from typing import TYPE_CHECKING, Any

from exchange.events import EventKind
from exchange.reasons import Reason
from gateway import render_orders
from gateway.listing import Listing
from gateway.protocol import encode, notification_bytes
from gateway.units import E8, ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.history import TradeRecord
    from gateway.session import Session

INTERVALS = ("raw", "100ms", "agg2")
ALL_LEVELS = 1 << 20
BUYER = ("buyer_account_id", "to_account_id")
"""Fields of an auction's events that name its buyer."""


class Topic:
    """One channel with its subscribers. `dirty` topics are flushed when their interval comes round."""

    interval = "raw"
    listing: Listing | None = None

    def __init__(self, gateway: "Gateway", name: str):
        self.gateway, self.name = gateway, name
        self._name_json = encode(name)
        self.subscribers: dict[Session, None] = {}
        self.dirty = False

    def emit(self, data: Any) -> None:
        """Send one notification to every subscriber."""
        message = notification_bytes(self._name_json, encode(data))
        for session in self.subscribers:
            session.send(message)

    def emit_to(self, session: "Session", data: Any) -> None:
        """Send one notification to one subscriber."""
        session.send(notification_bytes(self._name_json, encode(data)))

    def snapshot(self, session: "Session") -> None:
        """What a newcomer gets first; nothing by default."""

    def flush(self) -> None:
        """Say what has changed since the last flush."""


class BookTopic(Topic):
    """`book.I.{interval}`: a snapshot, then changes chained by change id."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing, interval: str):
        super().__init__(gateway, name)
        self.listing, self.interval = listing, interval
        bids, asks = gateway.engine.depth(listing.slot, ALL_LEVELS)
        self._levels = (dict(bids), dict(asks))
        self._change_id = gateway.engine.change_id(listing.slot)
        self._touched: set[tuple[int, int]] = set()

    def touch(self, levels: set[tuple[int, int]]) -> None:
        """Note levels to compare at the next flush."""
        self._touched |= levels

    def snapshot(self, session: "Session") -> None:
        listing = self.listing
        bids, asks = self._levels
        self.emit_to(
            session,
            {
                "type": "snapshot",
                "timestamp": ms(self.gateway.engine.time_ns),
                "instrument_name": listing.name,
                "change_id": self._change_id,
                "bids": [["new", listing.price(p), listing.amount(bids[p])] for p in sorted(bids, reverse=True)],
                "asks": [["new", listing.price(p), listing.amount(asks[p])] for p in sorted(asks)],
            },
        )

    def flush(self) -> None:
        listing, engine = self.listing, self.gateway.engine
        changes: tuple[list[Any], list[Any]] = ([], [])
        for side, price_units in sorted(self._touched):
            level = self._levels[side]
            lots = engine.level_lots(listing.slot, side, price_units)
            known = level.get(price_units, 0)
            if lots == known:
                continue
            if lots:
                level[price_units] = lots
            else:
                del level[price_units]
            action = "delete" if not lots else "change" if known else "new"
            changes[side].append([action, listing.price(price_units), listing.amount(lots)])
        self._touched.clear()
        if not changes[0] and not changes[1]:
            return
        previous, self._change_id = self._change_id, engine.change_id(listing.slot)
        self.emit(
            {
                "type": "change",
                "timestamp": ms(engine.time_ns),
                "instrument_name": listing.name,
                "change_id": self._change_id,
                "prev_change_id": previous,
                "bids": changes[0][::-1],
                "asks": changes[1],
            }
        )


class DepthTopic(Topic):
    """`book.I.{group}.{depth}.{interval}`: the top of the book, whole each time. `group` counts ticks."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing, group: int, depth: int, interval: str):
        super().__init__(gateway, name)
        self.listing, self.interval = listing, interval
        self._group_units = group * listing.tick_e8 // listing.unit_e8
        self._depth = depth

    def touch(self, levels: set[tuple[int, int]]) -> None:
        """Something in the book moved."""

    def _side(self, levels: list[tuple[int, int]], up: bool) -> list[list[float | None]]:
        group, listing = self._group_units, self.listing
        if not group:
            return [[listing.price(units), listing.amount(lots)] for units, lots in levels[: self._depth]]
        buckets: dict[int, int] = {}
        for units, lots in levels:
            bucket = -(-units // group) * group if up else units // group * group
            if bucket not in buckets and len(buckets) == self._depth:
                break
            buckets[bucket] = buckets.get(bucket, 0) + lots
        return [[listing.price(units), listing.amount(lots)] for units, lots in buckets.items()]

    def data(self) -> dict[str, Any]:
        """The whole message."""
        engine, listing = self.gateway.engine, self.listing
        bids, asks = engine.depth(listing.slot, ALL_LEVELS if self._group_units else self._depth)
        return {
            "instrument_name": listing.name,
            "timestamp": ms(engine.time_ns),
            "change_id": engine.change_id(listing.slot),
            "bids": self._side(bids, up=False),
            "asks": self._side(asks, up=True),
        }

    def snapshot(self, session: "Session") -> None:
        self.emit_to(session, self.data())

    def flush(self) -> None:
        self.emit(self.data())


class TickerTopic(Topic):
    """`ticker.I.{interval}`."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing, interval: str):
        super().__init__(gateway, name)
        self.listing, self.interval = listing, interval

    def snapshot(self, session: "Session") -> None:
        self.emit_to(session, self.gateway.ticker(self.listing))

    def flush(self) -> None:
        self.emit(self.gateway.ticker(self.listing))


class TradesTopic(Topic):
    """`trades.I.{interval}` and `trades.{kind}.{currency}.{interval}`: lists of trades."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing | None, interval: str):
        super().__init__(gateway, name)
        self.listing, self.interval = listing, interval
        self._trades: list[TradeRecord] = []

    def add(self, trade: "TradeRecord") -> None:
        """Note a trade for the next flush."""
        self._trades.append(trade)

    def flush(self) -> None:
        if self._trades:
            trades, self._trades = self._trades, []
            self.emit([render_orders.trade(trade) for trade in trades])


class IndexTopic(Topic):
    """`deribit_price_index.{index}`."""

    def __init__(self, gateway: "Gateway", name: str, index_name: str, underlying: int):
        super().__init__(gateway, name)
        self.underlying, self._index_name = underlying, index_name

    def data(self) -> dict[str, Any]:
        """Index and time."""
        engine = self.gateway.engine
        price = engine.index_price(self.underlying) / E8
        return {"index_name": self._index_name, "price": price, "timestamp": ms(engine.time_ns)}

    def snapshot(self, session: "Session") -> None:
        self.emit_to(session, self.data())

    def flush(self) -> None:
        self.emit(self.data())


class StateTopic(Topic):
    """`instrument.state.{kind}.{currency}`."""

    def __init__(self, gateway: "Gateway", name: str, kind: str, currency: str):
        super().__init__(gateway, name)
        self._kind, self._currency = kind, currency

    def on_state(self, listing: Listing, word: str) -> None:
        """An instrument was created or changed its state."""
        if listing.is_of(self._kind) and self._currency in ("any", listing.currency.lower()):
            stamp = ms(self.gateway.engine.time_ns)
            self.emit({"instrument_name": listing.name, "state": word, "timestamp": stamp})


class StressTopic(Topic):
    """`stress.{underlying}` (our own; `all`: jointly): each new result of the sweeps, the last at first."""

    def __init__(self, gateway: "Gateway", name: str, underlying: str):
        super().__init__(gateway, name)
        self.underlying = underlying

    def snapshot(self, session: "Session") -> None:
        for one in self.gateway.stress.current():
            if one["underlying"] == self.underlying:
                self.emit_to(session, one)


class AuctionsTopic(Topic):
    """`auctions` (our own): every step of every liquidation auction, the open ones on subscription."""

    def snapshot(self, session: "Session") -> None:
        for auction in self.gateway.auctions():
            self.emit_to(session, {"type": "snapshot", **auction})

    def on_auction(self, kind: int, fields: Any) -> None:
        """A step of an auction, or new terms of an underlying."""
        found = event_object(self.gateway, kind, fields)
        if kind == EventKind.AUCTION_TERMS_CHANGED:
            found["underlying"] = self.gateway.engine.config.underlyings[fields.underlying].name
        self.emit(found)


def event_object(gateway: "Gateway", kind: int, fields: Any, viewer: int = 0) -> dict[str, Any]:
    """An engine event as our own channels show it: its fields, sums in minor units, reason and instrument by name.

    Who bought is for the buyer (`viewer`, an account) alone.
    """
    found = {name: value for name, value in fields._asdict().items() if not name.startswith("reserved")}
    for name in ("kind", "slots", "account_id", "bucket_account_id"):
        found.pop(name, None)
    for name in BUYER:
        if found.get(name) != viewer:
            found.pop(name, None)
    if "reason" in found:
        found["reason"] = Reason(found["reason"]).name.lower()
    listing = gateway.listings.by_slot.get(found.get("instrument", -1))
    if listing is not None:
        found["instrument_name"] = listing.name
    stamp = ms(found.pop("time_ns"))
    return {"type": EventKind(kind).name.lower(), "timestamp": stamp, **found}
