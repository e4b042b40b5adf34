"""Events projected into what clients ask for: orders with their end, trades, day statistics, news.

The projection sees every event once, in order, right after it was applied. Everything it keeps is bounded.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from exchange.commands import OrderFlag, TradeFlag
from exchange.events import EventKind as E
from exchange.events import quote_label
from gateway.history import DayStats, OrderRecord, TradeRecord
from gateway.listing import Listings
from gateway.news import News
from gateway.protection import group_name
from gateway.records import decode, label_of, terms_of
from gateway.settings import Settings
from gateway.waiting import WaitingRoom
from persistence.history_schema import RANK_BITS

_ORDER_ACCEPTED, _ORDER_REJECTED, _TRADE = int(E.ORDER_ACCEPTED), int(E.ORDER_REJECTED), int(E.TRADE_EXECUTED)
_CANCELLED, _EDITED, _MARKS = int(E.ORDER_CANCELLED), int(E.ORDER_EDITED), int(E.MARKS_UPDATED)
_TRADES = frozenset((_TRADE, int(E.LEG_TRADE_EXECUTED)))
_REJECTED, _DONE = int(E.COMMAND_REJECTED), int(E.COMMAND_DONE)
_PLACED, _TRIGGERED = int(E.TRIGGER_PLACED), int(E.ORDER_TRIGGERED)
_BLOCK, _UNCROSSED = int(TradeFlag.BLOCK), int(TradeFlag.UNCROSSED)
_STATES = frozenset(map(int, (E.INSTRUMENT_LISTED, E.INSTRUMENT_STATE_CHANGED, E.INSTRUMENT_SETTLED)))
_AUCTION = frozenset(
    map(int, (E.AUCTION_OPENED, E.AUCTION_LOT_SOLD, E.AUCTION_PHASE_CHANGED, E.AUCTION_CLOSED))
) | frozenset(map(int, (E.LIQUIDATION_STARTED, E.LIQUIDATION_ENDED)))
_ACCOUNT = frozenset(
    map(int, (E.BALANCE_CHANGED, E.POSITION_SETTLED, E.LEVEL_CHANGED, E.POSITION_TRANSFERRED, E.POSITION_DELEVERAGED))
) | frozenset(map(int, (E.LIQUIDATION_STARTED, E.LIQUIDATION_ENDED, E.FUND_DRAWN)))


class Projection:
    """Recent orders and trades of every account and instrument, in memory."""

    def __init__(
        self,
        engine: Any,
        listings: Listings,
        settings: Settings,
        fills: Mapping[int, tuple[int, bool]] = MappingProxyType({}),
    ):
        """`fills`: what the history has of live orders that traded before this gateway started."""
        self._engine, self._listings, self._settings = engine, listings, settings
        self.news = News(0)
        self._rank = 0
        self.orders: dict[int, OrderRecord] = {}
        """Live orders."""
        self.waiting = WaitingRoom(engine, listings, settings)
        """Orders that wait for a trigger; never among the others."""
        self.closed: OrderedDict[int, OrderRecord] = OrderedDict()
        self._closed_by_account: OrderedDict[int, deque[OrderRecord]] = OrderedDict()
        self._trades_by_account: OrderedDict[int, deque[tuple[TradeRecord, bool]]] = OrderedDict()
        self._trades: dict[int, deque[TradeRecord]] = {}
        self._all_trades: deque[TradeRecord] = deque()
        self._stats: dict[int, DayStats] = {}
        self.current_session: object = None
        """The session whose command is being applied (orders remember it for cancel-on-disconnect)."""
        self.listeners: list[Callable[[News], None]] = []
        for account_id in engine.account_ids():
            for view in engine.open_orders(account_id):
                listing = listings.by_slot[view.instrument]
                record = OrderRecord.from_view(view, listing, fills.get(view.order_id))
                record.mmp_group = group_name(engine, account_id, listing.underlying, view.protection_group)
                self.orders[view.order_id] = record

    def apply(self, seq: int, events: bytes) -> None:
        """Take in one command's events, then tell the listeners."""
        news = self.news = News(seq)
        for number, (kind, fields, tail) in enumerate(decode(events)):
            self._rank = seq << RANK_BITS | number
            news.time_ns = fields.time_ns
            if kind == _ORDER_ACCEPTED:
                self._accepted(news, fields, tail)
            elif kind in _TRADES:
                self._traded(news, fields)
            elif kind == _CANCELLED:
                self._cancelled(news, fields)
            elif kind == _EDITED:
                self._edited(news, fields, tail)
            elif kind == _MARKS:
                news.marks.add(fields.underlying)
            elif kind in (_ORDER_REJECTED, _REJECTED):
                if kind == _ORDER_REJECTED and news.firing:
                    self.waiting.refused(fields)
                else:
                    news.rejected, news.rejected_order = fields.reason, fields.order_id
                    if kind == _ORDER_REJECTED:
                        news.refused.append(fields)
            elif kind == _PLACED:
                record = self.waiting.placed(fields, tail, self.current_session)
                news.accepted = news.orders[record.order_id] = record
            elif kind == _TRIGGERED:
                record = self.waiting.triggered(fields)
                news.orders[record.order_id], news.firing = record, True
            elif kind == _DONE:
                news.count, news.detail = fields.count, fields.detail
            else:
                self._other(news, kind, fields)
        for listener in self.listeners:
            listener(news)

    def _accepted(self, news: News, fields: Any, tail: bytes) -> None:
        listing = self._listings.by_slot[fields.instrument]
        label = label_of(fields, tail)
        record = OrderRecord(listing, fields, label, self.current_session)
        terms = terms_of(fields, tail)
        if terms is not None:
            record.take_terms(terms)
            record.mmp_group = group_name(self._engine, record.account_id, listing.underlying, terms.protection_group)
        self.orders[record.order_id] = record
        if news.firing:
            self.waiting.became(record)
        else:
            news.accepted = record
        news.orders[record.order_id] = record
        news.touch(fields.instrument, fields.side, fields.price_units)

    def _traded(self, news: News, fields: Any) -> None:
        if fields.kind != _TRADE:
            self._leg_traded(news, fields)
            return
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
        if not block_id:  # statistics are of the book
            self._stats.setdefault(fields.instrument, DayStats()).count(fields, listing)

    def _leg_traded(self, news: News, fields: Any) -> None:
        """A leg of the combo's trade that came last: a trade of its own, but no price of its market."""
        combo = news.trades[-1].combo or news.trades[-1]
        self._keep_trade(news, combo.add_leg(fields, self._listings.by_slot[fields.instrument]))

    def _keep_trade(self, news: News, trade: TradeRecord) -> None:
        fields = trade.event
        news.trades.append(trade)
        keep = self._settings.history_per_instrument
        self._trades.setdefault(fields.instrument, deque(maxlen=keep)).append(trade)
        self._all_trades.append(trade)
        if len(self._all_trades) > self._settings.max_trades:
            self._forget_trade(self._all_trades.popleft())
        for account_id, as_maker in ((fields.account_id, False), (fields.maker_account_id, True)):
            news.user_trades.append((account_id, trade, as_maker))
            news.accounts.add(account_id)
            self._ring(self._trades_by_account, account_id).append((trade, as_maker))

    def _fill(self, news: News, order_id: int, fields: Any) -> OrderRecord | None:
        record = self.orders.get(order_id)
        if record is None:
            return None
        record.fill(fields.price_units, fields.quantity_lots, fields.time_ns)
        news.orders[order_id] = record
        if record.state == "filled":
            self._close(record)
        return record

    def _cancelled(self, news: News, fields: Any) -> None:
        if (waiting := self.waiting.cancelled(fields)) is not None:
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
        if record.flags & OrderFlag.QUOTE:
            record.label = quote_label(fields.terms_slots, tail).decode("utf-8", "replace")
        news.edited = record
        news.orders[record.order_id] = record

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
                self._trades.pop(slot, None)
                self._stats.pop(slot, None)
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

    def _forget_trade(self, oldest: TradeRecord) -> None:
        """Take the oldest trade of all out of the histories, where it comes first if it is still there."""
        event = oldest.event
        ring = self._trades.get(event.instrument)
        if ring and ring[0] is oldest:
            ring.popleft()
        for account_id in (event.account_id, event.maker_account_id):
            own = self._trades_by_account.get(account_id)
            if own and own[0][0] is oldest:
                own.popleft()

    def _ring(self, rings: OrderedDict[int, Any], account_id: int) -> Any:
        """The bounded history of an account; the account longest without news makes room."""
        ring = rings.get(account_id)
        if ring is None:
            if len(rings) >= self._settings.history_accounts:
                rings.popitem(last=False)
            ring = rings[account_id] = deque(maxlen=self._settings.history_per_account)
        else:
            rings.move_to_end(account_id)
        return ring

    def order(self, order_id: int) -> OrderRecord | None:
        """A live or recently closed order, waiting ones included."""
        return self.orders.get(order_id) or self.closed.get(order_id) or self.waiting.find(order_id)

    def open_orders(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Live orders of an account, ascending order id."""
        views = self._engine.open_orders(account_id, slot)
        return [record for view in views if (record := self.orders.get(view.order_id)) is not None]

    def live_orders(self, account_id: int, slot: int = -1) -> list[OrderRecord]:
        """Open and waiting orders of an account, ascending order id."""
        found = self.open_orders(account_id, slot) + self.waiting.of_account(account_id, slot)
        return sorted(found, key=lambda record: record.order_id)

    def closed_orders(self, account_id: int) -> list[OrderRecord]:
        """Recently closed orders of an account, newest first."""
        return list(reversed(self._closed_by_account.get(account_id, ())))

    def account_trades(self, account_id: int, after: int = 0) -> list[tuple[TradeRecord, bool]]:
        """Recent trades of an account with its role (True: maker), oldest first; `after` a trade id only."""
        own = reversed(self._trades_by_account.get(account_id, ()))
        return list(takewhile(lambda one: one[0].event.trade_id > after, own))[::-1]

    def trades(self, slot: int, after: int = 0) -> list[TradeRecord]:
        """Recent trades of an instrument, oldest first; `after` a trade id only."""
        recent = reversed(self._trades.get(slot, ()))
        return list(takewhile(lambda record: record.event.trade_id > after, recent))[::-1]

    def restore_stats(self, slot: int, bars: list[list[Any]]) -> None:
        """Go on from the day's bars of before this gateway started."""
        self._stats[slot] = DayStats(bars)

    def stats(self, slot: int) -> dict[str, Any]:
        """Day statistics of an instrument at the engine's time."""
        return self._stats.setdefault(slot, DayStats()).read(self._engine.time_ns, self._listings.by_slot[slot])

    def last_price(self, slot: int) -> int | None:
        """Price units of the last trade seen in the book, None where none was."""
        in_book = (record for record in reversed(self._trades.get(slot, ())) if record.in_book)
        return next((record.event.price_units for record in in_book), None)
