"""Events projected into what clients ask for: orders with their end, trades, day statistics, news.

The projection sees every event once, in order, right after it was applied. Everything it keeps is bounded.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from exchange.commands import OrderFlag, TradeFlag
from exchange.events import EventKind as E
from exchange.events import quote_label
from gateway.history import DayStats, OrderRecord, TradeRecord
from gateway.holders import Holders
from gateway.links import Link
from gateway.listing import Listings
from gateway.news import News
from gateway.order_records import OrderRecords
from gateway.protection import group_name
from gateway.records import decode, label_of, terms_of
from gateway.settings import Settings
from gateway.transfer_records import TransferRecord, TransferRecords
from gateway.waiting import WaitingRoom
from persistence.history_schema import RANK_BITS

RANK_MASK = (1 << RANK_BITS) - 1
_BLOCK, _UNCROSSED = int(TradeFlag.BLOCK), int(TradeFlag.UNCROSSED)
_STATES = frozenset(map(int, (E.INSTRUMENT_LISTED, E.INSTRUMENT_STATE_CHANGED, E.INSTRUMENT_SETTLED)))
_AUCTION = frozenset(
    map(int, (E.AUCTION_OPENED, E.AUCTION_LOT_SOLD, E.AUCTION_PHASE_CHANGED, E.AUCTION_CLOSED))
) | frozenset(map(int, (E.LIQUIDATION_STARTED, E.LIQUIDATION_ENDED, E.DEFAULT_COVERED, E.AUCTION_TERMS_CHANGED)))
_ACCOUNT = frozenset(
    map(int, (E.BALANCE_CHANGED, E.POSITION_SETTLED, E.LEVEL_CHANGED, E.POSITION_TRANSFERRED, E.POSITION_DELEVERAGED))
) | frozenset(map(int, (E.LIQUIDATION_STARTED, E.LIQUIDATION_ENDED, E.FUND_DRAWN, E.CAPITAL_DRAWN, E.DEFAULT_COVERED)))


class Projection(OrderRecords):
    """Recent orders and trades of every account and instrument, in memory."""

    def __init__(
        self,
        engine: Any,
        listings: Listings,
        settings: Settings,
        fills: Mapping[int, tuple[int, bool]] = MappingProxyType({}),
    ):
        """`fills`: what the history has of live orders that traded before this gateway started."""
        super().__init__()
        self._engine, self._listings, self._settings = engine, listings, settings
        self.news = News(0)
        self._rank = 0
        self._holders = Holders(engine)
        self.orders: dict[int, OrderRecord] = {}
        """Live orders."""
        self.waiting = WaitingRoom(engine, listings, settings)
        """Orders that wait for a trigger; never among the others."""
        self.closed: OrderedDict[int, OrderRecord] = OrderedDict()
        self._closed_by_account: OrderedDict[int, deque[OrderRecord]] = OrderedDict()
        self.transfers = TransferRecords(settings.history_per_account, settings.history_accounts)
        self.current_session: object = None
        """The session whose command is being applied (orders remember it for cancel-on-disconnect)."""
        self.listeners: list[Callable[[News], None]] = []
        self._handlers: dict[int, Callable[[News, Any, bytes], None]] = {
            int(E.ORDER_ACCEPTED): self._accepted,
            int(E.TRADE_EXECUTED): self._traded,
            int(E.LEG_TRADE_EXECUTED): self._leg_traded,
            int(E.ORDER_CANCELLED): self._cancelled,
            int(E.ORDER_EDITED): self._edited,
            int(E.MARKS_UPDATED): self._marked,
            int(E.ORDER_REJECTED): self._order_rejected,
            int(E.COMMAND_REJECTED): self._rejected,
            int(E.TRIGGER_PLACED): self._placed,
            int(E.ORDER_TRIGGERED): self._triggered,
            int(E.ORDERS_LINKED): self._linked,
            int(E.ORDER_REPLENISHED): self._replenished,
            int(E.COMMAND_DONE): self._done,
            int(E.FUNDS_TRANSFERRED): self._transferred,
        }
        for account_id in engine.account_ids():
            for view in engine.open_orders(account_id):
                listing = listings.by_slot[view.instrument]
                record = OrderRecord.from_view(self._holders.view(view), listing, fills.get(view.order_id))
                record.mmp_group = group_name(engine, account_id, listing.underlying, view.protection_group)
                self.orders[view.order_id] = record
        for link_type, condition, ids in engine.linked_orders():
            self._link(Link(link_type, condition, self._records(ids)))

    def apply(self, seq: int, events: bytes) -> None:
        """Take in one command's events, then tell the listeners."""
        news = self.news = News(seq)
        events, self._buckets = self._holders.shown(events)
        for number, (kind, fields, tail) in enumerate(decode(events)):
            self._rank = seq << RANK_BITS | number
            news.time_ns = fields.time_ns
            handler = self._handlers.get(kind)
            if handler is None:
                self._other(news, kind, fields)
            else:
                handler(news, fields, tail)
        for record in news.orders.values():
            if record.display_lots:
                view = self._engine.order(record.order_id)
                record.shown_lots = view.shown_lots if view is not None else 0
        for listener in self.listeners:
            listener(news)

    @staticmethod
    def _marked(news: News, fields: Any, _: bytes) -> None:
        news.marks.add(fields.underlying)

    @staticmethod
    def _done(news: News, fields: Any, _: bytes) -> None:
        news.count, news.detail = fields.count, fields.detail

    @staticmethod
    def _rejected(news: News, fields: Any, _: bytes) -> None:
        news.rejected, news.rejected_order = fields.reason, fields.order_id

    def _order_rejected(self, news: News, fields: Any, tail: bytes) -> None:
        if news.firing:
            self.waiting.refused(fields)
            return
        self._rejected(news, fields, tail)
        news.refused.append(fields)

    def _placed(self, news: News, fields: Any, tail: bytes) -> None:
        record = self.waiting.placed(fields, tail, self.current_session)
        news.orders[record.order_id] = record
        if news.firing:
            self.waiting.became(record)
        else:
            news.accepted = record

    def _triggered(self, news: News, fields: Any, _: bytes) -> None:
        record = self.waiting.triggered(fields, self._rank)
        news.orders[record.order_id], news.firing = record, True

    def _records(self, ids: Iterable[int]) -> list[OrderRecord]:
        return [record for order_id in ids if order_id and (record := self.order(order_id)) is not None]

    @staticmethod
    def _link(link: Link) -> None:
        for record in link.orders:
            record.link = link

    def _linked(self, news: News, fields: Any, _: bytes) -> None:
        """A new group, or one in which an order has given way to what it became."""
        orders = self._records((fields.primary_order_id, fields.first_order_id, fields.second_order_id))
        if not orders:
            return
        old = next((record.link for record in orders if record.link is not None), None)
        if old is not None and old.link_type == fields.link_type:
            old.orders = orders
            self._link(old)
        else:
            self._link(Link(fields.link_type, fields.fill_condition, orders))
            if not news.firing and news.linked is None:
                news.linked = orders[0]
        for record in orders:
            news.orders[record.order_id] = record

    def _replenished(self, news: News, fields: Any, _: bytes) -> None:
        """An iceberg's next tranche stands last at its price."""
        news.touch(fields.instrument, fields.side, fields.price_units)
        record = self.orders.get(fields.order_id)
        if record is not None:
            record.place = self._rank
            news.orders[record.order_id] = record

    def _accepted(self, news: News, fields: Any, tail: bytes) -> None:
        listing = self._listings.by_slot[fields.instrument]
        label = label_of(fields, tail)
        record = OrderRecord(listing, fields, label, self.current_session)
        record.place = self._rank
        terms = terms_of(fields, tail)
        if terms is not None:
            record.take_terms(terms)
            record.display_lots = terms.display_lots
            record.mmp_group = group_name(self._engine, record.account_id, listing.underlying, terms.protection_group)
        self.orders[record.order_id] = record
        if news.firing:
            self.waiting.became(record)
        else:
            news.accepted = record
        news.orders[record.order_id] = record
        news.touch(fields.instrument, fields.side, fields.price_units)

    def _traded(self, news: News, fields: Any, _: bytes) -> None:
        listing = self._listings.by_slot[fields.instrument]
        taker = self._fill(news, fields.taker_order_id, fields)
        maker = self._fill(news, fields.maker_order_id, fields)
        block_id = news.block_id if fields.taker_flags & _BLOCK else 0
        trade = TradeRecord(fields, listing, taker, maker, block_id)
        if fields.maker_flags & _UNCROSSED and taker is not None and maker is not None:
            for record in (taker, maker):  # both rested, each at its own price
                news.touch(fields.instrument, record.side, record.price_units)
        elif not block_id:
            news.touch(fields.instrument, 1 - fields.side, fields.price_units)
        self._keep_trade(news, trade)
        self._stats.setdefault(fields.instrument, DayStats()).count(fields, listing, not block_id)

    def _leg_traded(self, news: News, fields: Any, _: bytes) -> None:
        """A leg of the combo's trade that came last: a trade of its own, but no price of its market."""
        combo = news.trades[-1].combo or news.trades[-1]
        listing = self._listings.by_slot[fields.instrument]
        self._keep_trade(news, combo.add_leg(fields, listing))
        self._stats.setdefault(fields.instrument, DayStats()).count(fields, listing, False)

    def _fill(self, news: News, order_id: int, fields: Any) -> OrderRecord | None:
        record = self.orders.get(order_id)
        if record is None:
            return None
        record.fill(fields.price_units, fields.quantity_lots, fields.time_ns)
        news.orders[order_id] = record
        if record.state == "filled":
            self._close(record)
        return record

    def _cancelled(self, news: News, fields: Any, _: bytes) -> None:
        if (waiting := self.waiting.cancelled(fields, self._rank)) is not None:
            news.orders[waiting.order_id] = waiting
            return
        news.touch(fields.instrument, fields.side, fields.price_units)
        record = self.orders.get(fields.order_id)
        if record is None:
            return
        record.state, record.cancel_reason, record.updated_ns = "cancelled", fields.reason, fields.time_ns
        news.orders[record.order_id] = record
        news.accounts.add(record.account_id)
        self._close(record)

    def _edited(self, news: News, fields: Any, tail: bytes) -> None:
        if (waiting := self.waiting.edited(fields)) is not None:
            news.edited = news.orders[waiting.order_id] = waiting
            return
        record = self.orders.get(fields.order_id)
        news.touch(fields.instrument, fields.side, fields.price_units)
        if record is None:
            return
        news.touch(fields.instrument, fields.side, record.price_units)
        record.edited(fields, tail)
        if not fields.kept_priority:
            record.place = self._rank
        if record.display_lots:
            record.display_lots = terms_of(fields, tail).display_lots
        if record.flags & OrderFlag.QUOTE:
            record.label = quote_label(fields.terms_slots, tail).decode("utf-8", "replace")
        news.edited = news.edited or record  # what the command edits comes first, then what follows from it
        news.orders[record.order_id] = record

    def _transferred(self, news: News, fields: Any, tail: bytes) -> None:
        text = tail[: fields.nonce_bytes].decode("utf-8", "replace")
        sides = (fields.account_id, fields.to_account_id)
        currency = self._engine.config.currencies[fields.currency].name
        news.transfer = TransferRecord(
            fields.transfer_id, news.seq, news.time_ns, *sides, currency, fields.amount_minor, text
        )
        self.transfers.keep(news.transfer)

    def _other(self, news: News, kind: int, fields: Any) -> None:
        if kind in _STATES:
            slot = fields.instrument
            if kind == E.INSTRUMENT_LISTED:
                self._listings.refresh(slot)
            listing = self._listings.by_slot.get(slot)
            if listing is not None:
                news.states.append((listing, fields.state))
            if kind == E.INSTRUMENT_SETTLED and listing is not None:
                news.settled.append(listing)
                self._forget_contract(slot)
                self._listings.forget(slot)
        elif kind == E.ACCOUNT_CREATED:
            news.created_account = fields.account_id
        elif kind == E.BLOCK_TRADE_EXECUTED:
            news.block_id = fields.block_id
        if kind in _ACCOUNT:
            news.accounts.add(fields.account_id)
        if kind == E.POSITION_TRANSFERRED:
            news.accounts.add(fields.to_account_id)
        elif kind == E.POSITION_DELEVERAGED:
            news.accounts.add(fields.from_account_id)
        if kind in _AUCTION:
            news.auctions.append((kind, fields))
        bucket = self._buckets.get(self._rank & RANK_MASK, 0)
        if bucket:
            news.buckets[len(news.facts)] = bucket
        news.facts.append((kind, fields))

    def _close(self, record: OrderRecord) -> None:
        self.orders.pop(record.order_id, None)
        record.session, record.closed_rank = None, self._rank
        self.closed[record.order_id] = record
        self._ring(self._closed_by_account, record.account_id).append(record)
        if len(self.closed) > self._settings.max_closed_orders:
            _, oldest = self.closed.popitem(last=False)
            ring = self._closed_by_account.get(oldest.account_id)
            if ring and ring[0] is oldest:
                ring.popleft()
