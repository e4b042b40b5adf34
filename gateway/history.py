"""Records of orders and trades as the gateway keeps them, and day statistics per instrument."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from exchange.events import EventKind
from exchange.views import OrderView
from gateway.links import Link
from gateway.listing import Listing
from gateway.records import EVENT_CODECS, terms_of
from gateway.units import E8, E12
from persistence.history_rows import ORDER_COLUMNS, STATES

BAR_NS = 300_000_000_000
DAY_NS = 86_400_000_000_000
_TRADE = EVENT_CODECS[EventKind.TRADE_EXECUTED]


class OrderRecord:
    """An order from acceptance to its end; the engine forgets closed orders, this does not (bounded)."""

    __slots__ = (
        "account_id",
        "advanced",
        "advanced_value_e8",
        "cancel_reason",
        "closed_rank",
        "created_ns",
        "display_lots",
        "filled_lots",
        "filled_value",
        "flags",
        "is_liquidation",
        "label",
        "link",
        "listing",
        "mmp_group",
        "order_id",
        "order_type",
        "place",
        "price_units",
        "quantity_lots",
        "replaced",
        "session",
        "shown_lots",
        "side",
        "state",
        "time_in_force",
        "trigger_id",
        "updated_ns",
    )

    def __init__(self, listing: Listing, fields: Any, label: str, session: object):
        self.listing = listing
        self.order_id, self.account_id = fields.order_id, fields.account_id
        self.side, self.order_type = fields.side, fields.order_type
        self.time_in_force, self.flags = fields.time_in_force, fields.flags
        self.price_units, self.quantity_lots = fields.price_units, fields.quantity_lots
        self.filled_lots = self.filled_value = 0
        self.label, self.session = label, session
        self.state, self.cancel_reason, self.replaced, self.is_liquidation = "open", 0, False, False
        self.created_ns = self.updated_ns = fields.time_ns
        self.closed_rank = 0
        """Place of its end among all events; 0 while it lives."""
        self.advanced = self.advanced_value_e8 = 0
        """How an advanced order is priced, and its value; 0 also for closed orders out of the history."""
        self.mmp_group = ""
        """Name of its protection group; empty for closed orders out of the history."""
        self.trigger_id = ""
        """Id of the waiting order that it was, where that fired under this gateway."""
        self.unlinked()

    def unlinked(self) -> None:
        """No iceberg, of no link, in its book since before this gateway started."""
        self.display_lots = self.shown_lots = self.place = 0
        self.link: Link | None = None

    @property
    def wire_id(self) -> str:
        """The order id that clients see."""
        return str(self.order_id)

    @classmethod
    def from_view(cls, view: OrderView, listing: Listing, stored: tuple[int, bool] | None = None) -> "OrderRecord":
        """The record of an order that was live before this gateway started.

        `stored`: what the history has of its fills (sum of price units x lots) and whether it was edited.
        """
        record = cls.__new__(cls)
        record.listing = listing
        for name in ("order_id", "account_id", "side", "order_type", "time_in_force", "flags", "label"):
            setattr(record, name, getattr(view, name))
        record.price_units, record.quantity_lots = view.price_units, view.quantity_lots
        record.filled_lots = view.quantity_lots - view.remaining_lots
        # The engine keeps no average in price units: without a history the limit stands in for it.
        record.filled_value, replaced = stored or (record.filled_lots * view.price_units, False)
        record.created_ns, record.updated_ns = view.created_ns, view.updated_ns
        record.session, record.closed_rank, record.trigger_id, record.mmp_group = None, 0, "", ""
        record.advanced, record.advanced_value_e8 = view.advanced, view.advanced_value_e8
        record.state, record.cancel_reason, record.replaced, record.is_liquidation = "open", 0, replaced, False
        record.unlinked()
        record.display_lots, record.shown_lots = view.display_lots, view.shown_lots
        return record

    @classmethod
    def from_row(cls, row: Sequence[Any], listing: Listing) -> "OrderRecord":
        """A closed order as the history store has it."""
        record = cls.__new__(cls)
        record.listing, record.session, record.is_liquidation = listing, None, False
        record.trigger_id = record.mmp_group = ""
        record.advanced = record.advanced_value_e8 = 0
        record.unlinked()
        for name, value in zip(ORDER_COLUMNS, row, strict=True):
            if name not in ("instrument_id", "group_id"):
                setattr(record, name, value)
        record.state, record.replaced = STATES[record.state], bool(record.replaced)
        return record

    def take_terms(self, terms: Any) -> None:
        """Special terms as an event shows them."""
        self.advanced, self.advanced_value_e8 = terms.advanced, terms.advanced_value_e8

    def edited(self, fields: Any, tail: bytes) -> None:
        """Take in an ORDER_EDITED. A new price that an old value gives an advanced order replaces nothing."""
        before = (self.advanced_value_e8, self.quantity_lots)
        if self.advanced:
            self.take_terms(terms_of(fields, tail))
        self.price_units, self.quantity_lots = fields.price_units, fields.quantity_lots
        # the event has one byte for flags: those above stay with an order
        self.flags = fields.flags | self.flags & ~0xFF
        self.replaced |= not self.advanced or before != (self.advanced_value_e8, self.quantity_lots)
        self.updated_ns = fields.time_ns

    def fill(self, price_units: int, quantity_lots: int, time_ns: int) -> None:
        """Book one fill."""
        self.filled_lots += quantity_lots
        self.filled_value += price_units * quantity_lots
        self.updated_ns = time_ns
        if self.filled_lots >= self.quantity_lots:
            self.state = "filled"


class TradeRecord:
    """One trade with both orders; rendered for the public or for either side."""

    __slots__ = (
        "block_id",
        "combo",
        "event",
        "index_e8",
        "legs",
        "listing",
        "maker",
        "maker_state",
        "taker",
        "taker_state",
    )

    def __init__(
        self, event: Any, listing: Listing, taker: OrderRecord | None, maker: OrderRecord | None, block_id: int = 0
    ):
        self.event, self.listing, self.block_id = event, listing, block_id
        self.combo: TradeRecord | None = None
        """Of a leg's trade: that of its combo."""
        self.legs: list[TradeRecord] = []
        """Of a combo's trade: those of its legs."""
        self.taker: OrderRecord | Party | None = taker
        self.maker: OrderRecord | Party | None = maker
        unknown = "filled" if block_id else "open"
        self.taker_state = taker.state if taker else unknown
        self.maker_state = maker.state if maker else unknown

    @classmethod
    def from_row(cls, row: Sequence[Any], listing: Listing) -> "TradeRecord":
        """A trade as the history store has it."""
        event, taker_type, maker_type, taker_state, maker_state, taker_label, maker_label = row[5:12]
        record = cls.__new__(cls)
        record.event = _TRADE.make(_TRADE.unpack_from(event))
        record.listing, record.block_id, record.combo, record.legs = listing, row[12], None, []
        record.taker, record.maker = Party(taker_type, taker_label), Party(maker_type, maker_label)
        record.taker_state, record.maker_state = STATES[taker_state], STATES[maker_state]
        return record

    def add_leg(self, event: Any, listing: Listing) -> "TradeRecord":
        """The trade of a leg of this combo's trade."""
        leg = TradeRecord(event, listing, None, None)
        leg.combo, leg.taker, leg.maker = self, self.taker, self.maker
        leg.taker_state, leg.maker_state = self.taker_state, self.maker_state
        self.legs.append(leg)
        return leg

    @property
    def in_book(self) -> bool:
        """Whether it was made in the contract's book: neither a block's trade nor that of a combo's leg."""
        return not self.block_id and self.combo is None


class Party(NamedTuple):
    """What a stored trade knows of each order."""

    order_type: int
    label: str


class DayStats:
    """High, low, volume and change over the last 24 hours, in five-minute bars."""

    __slots__ = ("_bars",)

    def __init__(self, bars: Iterable[list[Any]] = ()) -> None:
        """`bars`: [number, open, high, low, close, lots, dollars, coins] of earlier trades, ascending; coins only where
        lots are dollars, prices None where nothing was traded in the book."""
        self._bars: deque[list[Any]] = deque(bars)

    def count(self, event: Any, listing: Listing, in_book: bool = True) -> None:
        """Count a trade; one outside the contract's book (of a block, of a combo's leg) is volume only."""
        price, amount = listing.price(event.price_units), listing.amount(event.quantity_lots)
        if not listing.is_premium:
            usd = amount if listing.view.inverse else amount * price
        else:
            usd = amount * price * (event.index_price_e8 / E8 if listing.view.inverse else 1.0)
        coins = listing.coins_e12(event) / E12
        self.add(event.time_ns, price if in_book else None, event.quantity_lots, usd, coins)

    def add(self, time_ns: int, price: float | None, lots: int, usd: float, coins: float = 0.0) -> None:
        """Count one trade."""
        bar = time_ns // BAR_NS
        bars = self._bars
        if not bars or bars[-1][0] != bar:
            bars.append([bar, None, None, None, None, 0, 0.0, 0.0])
            self._prune(time_ns)
        last = bars[-1]
        if price is not None:
            if last[1] is None:
                last[1] = last[2] = last[3] = price
            last[2] = max(last[2], price)
            last[3] = min(last[3], price)
            last[4] = price
        last[5] += lots
        last[6] += usd
        last[7] += coins

    def _prune(self, now_ns: int) -> None:
        oldest = (now_ns - DAY_NS) // BAR_NS
        while self._bars and self._bars[0][0] < oldest:
            self._bars.popleft()

    def read(self, now_ns: int, listing: Listing) -> dict[str, float | None]:
        """The `stats` object of a ticker."""
        self._prune(now_ns)
        bars = self._bars
        usd = round(sum(bar[6] for bar in bars), 2)
        coins = round(sum(bar[7] for bar in bars), 8)
        volume = coins if listing.counts_dollars else listing.amount(sum(bar[5] for bar in bars))
        found: dict[str, float | None] = {"volume": volume, "volume_usd": usd, "volume_notional": usd}
        priced = [bar for bar in bars if bar[1] is not None]
        if not priced:
            return found | {"high": None, "low": None, "price_change": None}
        first, last = priced[0][1], priced[-1][4]
        return found | {
            "high": max(bar[2] for bar in priced),
            "low": min(bar[3] for bar in priced),
            "price_change": round((last / first - 1.0) * 100.0, 4) if first else 0.0,
        }
