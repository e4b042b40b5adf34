"""Channels of single orders and of candles."""

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from gateway import archive_prices
from gateway.archive_prices import Candle
from gateway.listing import Listing
from gateway.render_orders import direction
from gateway.topics import Topic
from gateway.units import ms
from persistence.history_schema import MINUTE_NS

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from gateway.history import OrderRecord, TradeRecord
    from gateway.session import Session


class BookOrdersTopic(Topic):
    """`orders.I` (our own): every order in the book by id, without its owner.

    A snapshot in order of priority, then changes chained by change id. An order added stands last at its price; one
    that loses its place by an edit is removed and added, and so is an iceberg that shows its next tranche.
    """

    def __init__(self, gateway: "Gateway", name: str, listing: Listing):
        super().__init__(gateway, name)
        self.listing = listing
        self._known = {record.order_id: _state(record) for side in self._sides() for record in side}
        self._touched: dict[int, OrderRecord] = {}
        self._change_id = gateway.engine.change_id(listing.slot)

    def _sides(self) -> "list[list[OrderRecord]]":
        """Bids and asks, best first, at each price in order of priority."""
        orders, books, slot = self.gateway.projection.orders, self.gateway.engine.books, self.listing.slot
        return [[orders[order_id] for order_id in books.queue(slot, side)] for side in (0, 1)]

    def touch(self, record: "OrderRecord") -> None:
        """An order of this instrument was placed, filled, changed or cancelled."""
        self._touched[record.order_id] = record

    def _line(self, order_id: int, price_units: int, lots: int) -> list[Any]:
        return [str(order_id), self.listing.price(price_units), self.listing.amount(lots)]

    def snapshot(self, session: "Session") -> None:
        bids, asks = (
            [self._line(record.order_id, record.price_units, _remaining(record)) for record in side]
            for side in self._sides()
        )
        self.emit_to(
            session,
            {
                "type": "snapshot",
                "timestamp": ms(self.gateway.engine.time_ns),
                "instrument_name": self.listing.name,
                "change_id": self._change_id,
                "bids": bids,
                "asks": asks,
            },
        )

    def _changes(self) -> list[list[Any]]:
        """What differs from what subscribers know; what joins the book comes last."""
        gone: list[list[Any]] = []
        added: list[tuple[int, list[Any]]] = []
        for order_id, record in self._touched.items():
            before = self._known.pop(order_id, None)
            now = _state(record) if record.state == "open" and _remaining(record) > 0 else None
            if now is not None:
                self._known[order_id] = now
            if before == now:
                continue
            side, price, lots, place = now or before
            stays = before is not None and now is not None and before[1] == price and before[3] == place
            word = direction(side)
            if stays:
                gone.append(["change", *self._line(order_id, price, lots), word])
                continue
            if before is not None:
                gone.append(["remove", *self._line(order_id, before[1], 0), word])
            if now is not None:
                added.append((place, ["add", *self._line(order_id, price, lots), word]))
        self._touched.clear()
        return gone + [line for _, line in sorted(added, key=itemgetter(0))]

    def flush(self) -> None:
        changes = self._changes()
        if not changes:
            return
        engine = self.gateway.engine
        previous, self._change_id = self._change_id, engine.change_id(self.listing.slot)
        self.emit(
            {
                "type": "change",
                "timestamp": ms(engine.time_ns),
                "instrument_name": self.listing.name,
                "change_id": self._change_id,
                "prev_change_id": previous,
                "changes": changes,
            }
        )


def _remaining(record: "OrderRecord") -> int:
    """Lots in the book: of icebergs those shown."""
    return record.shown_lots if record.display_lots else record.quantity_lots - record.filled_lots


def _state(record: "OrderRecord") -> tuple[int, int, int, int]:
    return record.side, record.price_units, _remaining(record), record.place


class ChartTopic(Topic):
    """`chart.trades.I.{resolution}`: the candle of the running interval whenever a trade changes it."""

    def __init__(self, gateway: "Gateway", name: str, listing: Listing, minutes: int):
        super().__init__(gateway, name)
        self.listing, self._step = listing, minutes * MINUTE_NS
        start = gateway.engine.time_ns // self._step * self._step
        self._close, traded = archive_prices.traded_candles(gateway.archive, listing, minutes, start, start)
        """The price that stood before the running interval."""
        self._candle = traded.get(start)
        self._spoken = self._candle

    def add(self, trade: "TradeRecord") -> None:
        """Count a trade."""
        later = Candle.of(trade.event.time_ns // self._step * self._step, self.listing, trade)
        if self._candle is None:
            self._candle = later
        elif self._candle.start_ns == later.start_ns:
            self._candle = self._candle.with_later(later)
        else:
            self._close, self._candle = self._candle.after(self._close).close, later

    def _wire(self) -> dict[str, float] | None:
        """None before the first trade in the book."""
        candle = self._candle and self._candle.after(self._close)
        return None if candle is None or candle.close is None else candle.wire(self.listing)

    def snapshot(self, session: "Session") -> None:
        if (found := self._wire()) is not None:
            self.emit_to(session, found)

    def flush(self) -> None:
        if self._candle != self._spoken and (found := self._wire()) is not None:
            self._spoken = self._candle
            self.emit(found)
