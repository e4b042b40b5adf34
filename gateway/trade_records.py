"""Recent trades and day statistics, part of the projection. Everything is bounded."""

from collections import OrderedDict, deque
from itertools import takewhile
from typing import Any

from gateway.history import DayStats, TradeRecord
from gateway.listing import Listings
from gateway.news import News
from gateway.settings import Settings


class TradeRecords:
    """Base of the projection: trades of every account and instrument, in memory."""

    _engine: Any
    _listings: Listings
    _settings: Settings

    def __init__(self) -> None:
        self._trades_by_account: OrderedDict[int, deque[tuple[TradeRecord, bool]]] = OrderedDict()
        self._trades: dict[int, deque[TradeRecord]] = {}
        self._all_trades: deque[TradeRecord] = deque()
        self._stats: dict[int, DayStats] = {}

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

    def _forget_contract(self, slot: int) -> None:
        self._trades.pop(slot, None)
        self._stats.pop(slot, None)

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
