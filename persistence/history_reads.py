"""Questions to the history store. Every answer is bounded in rows and in time.

Rows come as the tables of `history_schema` have them. A reader sees what its caller says is covered, and nothing newer,
so that what is still in memory can be put beside it without a gap or a repetition.
"""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from exchange.views import InstrumentView
from persistence.history import connect
from persistence.history_auctions import AuctionReads
from persistence.history_blocks import BlockReads
from persistence.history_notes import decode_view
from persistence.history_schema import RANK_BITS
from persistence.history_transfers import TransferReads
from persistence.history_triggers import TriggerReads

MAX = (1 << 63) - 1
READ_SECONDS = 0.1
_STEPS = 20_000
"""Steps of the query machine between two looks at the clock."""
ALL = ("", "any")


class HistoryTimeout(Exception):
    """A question that would take longer than READ_SECONDS."""


class Span(msgspec.Struct, kw_only=True):
    """Bounds of a question about trades, both ends included. Times in ns."""

    start_ns: int = 0
    end_ns: int = MAX
    start_seq: int = 0
    end_seq: int = MAX
    first_id: int = 0
    last_id: int = MAX


_TRADES_BY_INSTRUMENT = """
SELECT t.* FROM trades t WHERE instrument_id = :key AND trade_id BETWEEN :first AND :last
    AND trade_seq BETWEEN :start_seq AND :end_seq ORDER BY trade_id DESC LIMIT :limit
"""
_TRADES_BY_GROUP = """
SELECT t.* FROM trades t WHERE group_id = :key AND trade_id BETWEEN :first AND :last
    AND trade_seq BETWEEN :start_seq AND :end_seq ORDER BY trade_id DESC LIMIT :limit
"""
_FILLS_BY_INSTRUMENT = """
SELECT t.*, f.as_maker FROM fills f JOIN trades t ON t.trade_id = f.trade_id
    WHERE f.account_id = :account AND f.instrument_id = :key AND f.trade_id BETWEEN :first AND :last
    AND t.trade_seq BETWEEN :start_seq AND :end_seq ORDER BY f.trade_id DESC LIMIT :limit
"""
_FILLS_BY_GROUP = """
SELECT t.*, f.as_maker FROM fills f JOIN trades t ON t.trade_id = f.trade_id
    WHERE f.account_id = :account AND f.group_id = :key AND f.trade_id BETWEEN :first AND :last
    AND t.trade_seq BETWEEN :start_seq AND :end_seq ORDER BY f.trade_id DESC LIMIT :limit
"""
_FILLS_BY_ORDER = """
SELECT t.*, f.as_maker FROM fills f JOIN trades t ON t.trade_id = f.trade_id
    WHERE f.order_id = :order_id AND f.account_id = :account AND f.trade_id <= :last ORDER BY f.trade_id LIMIT :limit
"""
_FILLED_BY_GROUP = """
SELECT * FROM orders WHERE closed_rank IS NOT NULL AND filled_lots > 0
    AND account_id = :account AND group_id = :key AND closed_rank <= :last ORDER BY closed_rank DESC LIMIT :limit
"""
_FILLED_BY_INSTRUMENT = """
SELECT * FROM orders WHERE closed_rank IS NOT NULL AND filled_lots > 0
    AND account_id = :account AND instrument_id = :key AND closed_rank <= :last ORDER BY closed_rank DESC LIMIT :limit
"""
_CLOSED = """
SELECT o.* FROM orders o JOIN instruments i ON i.instrument_id = o.instrument_id
    JOIN groups g ON g.group_id = o.group_id
    WHERE closed_rank IS NOT NULL AND account_id = :account AND closed_rank <= :last
    AND (filled_lots > 0 OR updated_ns >= :unfilled_ns) AND (:name = '' OR i.name = :name)
    AND (:currency = '' OR g.currency = :currency) AND g.kind LIKE '%' || :kind
    ORDER BY closed_rank DESC LIMIT :limit
"""
_CLOSED_BY_LABEL = """
SELECT * FROM orders WHERE closed_rank IS NOT NULL AND label <> '' AND account_id = :account AND label = :label
    AND closed_rank <= :last AND (filled_lots > 0 OR updated_ns >= :unfilled_ns) ORDER BY closed_rank DESC LIMIT :limit
"""
_CLOSED_ORDER = """
SELECT * FROM orders WHERE order_id = ? AND closed_rank <= ? AND (filled_lots > 0 OR updated_ns >= ?)
"""
_SETTLEMENTS_BY_GROUP = """
SELECT * FROM settlements WHERE account_id = :account AND group_id = :key AND rank < :last AND time_ns >= :start_ns
    ORDER BY rank DESC LIMIT :limit
"""
_SETTLEMENTS_BY_INSTRUMENT = """
SELECT * FROM settlements WHERE account_id = :account AND instrument_id = :key AND rank < :last
    AND time_ns >= :start_ns ORDER BY rank DESC LIMIT :limit
"""
_CANDLES = """
SELECT tick_ns, open, high, low, close, lots, value, base_e12 FROM candles
    WHERE instrument_id = ? AND resolution = ? AND tick_ns BETWEEN ? AND ? ORDER BY tick_ns LIMIT ?
"""
_LAST_CANDLE = """
SELECT tick_ns, open, high, low, close, lots, value, base_e12 FROM candles
    WHERE instrument_id = ? AND resolution = ? AND tick_ns < ? AND close IS NOT NULL
    ORDER BY tick_ns DESC LIMIT 1
"""
_INSTRUMENT = "SELECT instrument_id, view FROM instruments WHERE name = ? ORDER BY instrument_id DESC LIMIT 1"
_FUNDING = """
SELECT hour_ns, samples, sum_rate_e12, last_rate_e12, open_index_e8, last_index_e8 FROM funding
    WHERE instrument_id = ? AND hour_ns BETWEEN ? AND ? ORDER BY hour_ns LIMIT ?
"""
_DELIVERIES = "SELECT expiry_ns, price_e8 FROM deliveries WHERE underlying = ? ORDER BY expiry_ns DESC LIMIT ? OFFSET ?"
_PARTLY_FILLED = "SELECT order_id, filled_value, replaced FROM orders WHERE closed_rank IS NULL AND filled_lots > 0"

_ASCENDING = {sql: sql.replace(" DESC", "") for sql in (
    _TRADES_BY_INSTRUMENT, _TRADES_BY_GROUP, _FILLS_BY_INSTRUMENT, _FILLS_BY_GROUP,
)}  # fmt: skip


class HistoryReader(AuctionReads, BlockReads, TransferReads, TriggerReads):
    """One connection beside the writer, used by one thread."""

    def __init__(self, path: Path):
        self._connection = connect(path)
        self._deadline = 0.0
        self._connection.set_progress_handler(self._late, _STEPS)

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _rows(self, sql: str, parameters: Any, seconds: float = READ_SECONDS) -> list[Any]:
        self._deadline = time.monotonic() + seconds
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":
                raise HistoryTimeout from None
            raise

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()

    # contracts

    def instrument(self, name: str) -> InstrumentView | None:
        """The newest contract of a name, live or not."""
        found = self._rows(_INSTRUMENT, (name,))
        return decode_view(found[0][1]) if found else None

    def instrument_by_id(self, instrument_id: int) -> InstrumentView:
        """The contract of a row."""
        return decode_view(self._rows("SELECT view FROM instruments WHERE instrument_id = ?", (instrument_id,))[0][0])

    def groups(self, currency: str, kind: str) -> list[int]:
        """Groups of a currency and a kind, empty words for any, `combo` for combos of either kind."""
        found = self._rows("SELECT group_id, currency, kind FROM groups ORDER BY group_id", ())
        ends = ("_combo",) if kind == "combo" else (kind,)
        return [one for one, have, what in found if currency in ("", have) and what.endswith(ends)]

    # trades

    def _bounds(self, span: Span, covered_id: int) -> tuple[int, int]:
        """First and last trade id of a span; ids ascend with time."""
        first, last = span.first_id, min(span.last_id, covered_id)
        if span.start_ns > 0:
            sql = "SELECT trade_id FROM trades WHERE time_ns >= ? ORDER BY time_ns, trade_id LIMIT 1"
            found = self._rows(sql, (span.start_ns,))
            first = max(first, found[0][0]) if found else MAX
        if span.end_ns < MAX:
            sql = "SELECT trade_id FROM trades WHERE time_ns <= ? ORDER BY time_ns DESC, trade_id DESC LIMIT 1"
            found = self._rows(sql, (span.end_ns,))
            last = min(last, found[0][0]) if found else -1
        return first, last

    def _by_keys(
        self,
        sql: str,
        keys: Sequence[int],
        parameters: dict[str, Any],
        limit: int,
        column: int,
        ascending: bool = False,
    ) -> list[Any]:
        """The first rows over several keys, each of which reads its own stretch of an index."""
        sql = _ASCENDING[sql] if ascending else sql
        parts = [self._rows(sql, parameters | {"key": key, "limit": limit}) for key in keys]
        if len(parts) == 1:
            return parts[0]
        return list(heapq.merge(*parts, key=lambda row: row[column], reverse=not ascending))[:limit]

    def trades(
        self, keys: Sequence[int], by_instrument: bool, span: Span, covered_id: int, ascending: bool, limit: int
    ) -> list[Any]:
        """Trades of instruments or groups."""
        first, last = self._bounds(span, covered_id)
        sql = _TRADES_BY_INSTRUMENT if by_instrument else _TRADES_BY_GROUP
        bounds = {"first": first, "last": last, "start_seq": span.start_seq, "end_seq": span.end_seq}
        return self._by_keys(sql, keys, bounds, limit, 0, ascending)

    def fills(
        self, account_id: int, keys: Sequence[int], by_instrument: bool, span: Span, covered_id: int, ascending: bool,
        limit: int,
    ) -> list[Any]:  # fmt: skip
        """An account's trades, each with its role at the end."""
        first, last = self._bounds(span, covered_id)
        sql = _FILLS_BY_INSTRUMENT if by_instrument else _FILLS_BY_GROUP
        bounds = {"first": first, "last": last, "start_seq": span.start_seq, "end_seq": span.end_seq}
        return self._by_keys(sql, keys, bounds | {"account": account_id}, limit, 0, ascending)

    def trades_between(self, first_id: int, last_id: int) -> list[Any]:
        """A few trades by id, both ends included, ascending."""
        return self._rows("SELECT * FROM trades WHERE trade_id BETWEEN ? AND ? ORDER BY trade_id", (first_id, last_id))

    def fills_of_order(self, account_id: int, order_id: int, covered_id: int, limit: int) -> list[Any]:
        """Trades of one order, oldest first."""
        named = {"account": account_id, "order_id": order_id, "last": covered_id, "limit": limit}
        return self._rows(_FILLS_BY_ORDER, named)

    # orders

    def filled_orders(
        self, account_id: int, keys: Sequence[int], by_instrument: bool, last: int, limit: int
    ) -> list[Any]:
        """Closed orders that traded, newest end first; `last`: up to that rank."""
        sql = _FILLED_BY_INSTRUMENT if by_instrument else _FILLED_BY_GROUP
        return self._by_keys(sql, keys, {"account": account_id, "last": last}, limit, -1)

    def closed_orders(
        self, account_id: int, currency: str, kind: str, name: str, unfilled_ns: int, last: int, limit: int
    ) -> list[Any]:
        """Closed orders whether they traded or not, the latter since `unfilled_ns`."""
        named = {"account": account_id, "currency": currency, "kind": kind, "name": name, "last": last}
        return self._rows(_CLOSED, named | {"unfilled_ns": unfilled_ns, "limit": limit})

    def labelled_orders(self, account_id: int, label: str, unfilled_ns: int, last: int, limit: int) -> list[Any]:
        """Closed orders with a label, newest end first."""
        named = {"account": account_id, "label": label, "last": last, "unfilled_ns": unfilled_ns, "limit": limit}
        return self._rows(_CLOSED_BY_LABEL, named) if label else []

    def closed_order(self, order_id: int, unfilled_ns: int, last: int) -> Any | None:
        """One closed order."""
        found = self._rows(_CLOSED_ORDER, (order_id, last, unfilled_ns))
        return found[0] if found else None

    def partly_filled(self) -> dict[int, tuple[int, bool]]:
        """(sum of price units x lots, whether edited) of each live order that has traded."""
        return {order_id: (value, bool(edited)) for order_id, value, edited in self._rows(_PARTLY_FILLED, (), 10.0)}

    # money

    def settlements(
        self, account_id: int, keys: Sequence[int], by_instrument: bool, start_ns: int, before: int, limit: int
    ) -> list[Any]:
        """Settlements of an account (0: the contracts' own), newest first, before a rank."""
        sql = _SETTLEMENTS_BY_INSTRUMENT if by_instrument else _SETTLEMENTS_BY_GROUP
        return self._by_keys(sql, keys, {"account": account_id, "start_ns": start_ns, "last": before}, limit, 2)

    def deliveries(self, underlying: str, offset: int, limit: int) -> tuple[list[Any], int]:
        """((expiry, price) newest first, how many there are)."""
        total = self._rows("SELECT count(*) FROM deliveries WHERE underlying = ?", (underlying,))[0][0]
        return self._rows(_DELIVERIES, (underlying, limit, offset)), total

    # prices

    def candles(
        self, instrument_id: int, resolution: int, start_ns: int, end_ns: int, limit: int
    ) -> tuple[list[Any], Any | None, int]:
        """(candles with trades ascending, the last one before them or None, trade id they go up to); a candle is
        (start, open, high, low, close, lots, value, base)."""
        self._rows("BEGIN", ())
        try:
            before = self._rows(_LAST_CANDLE, (instrument_id, resolution, start_ns))
            found = self._rows(_CANDLES, (instrument_id, resolution, start_ns, end_ns, limit))
            covered = self._rows("SELECT trade_id FROM meta", ())[0][0]
        finally:
            self._rows("COMMIT", ())
        return found, before[0] if before else None, covered

    def funding(self, instrument_id: int, start_ns: int, end_ns: int, limit: int) -> list[Any]:
        """Hours of a perpetual's funding, ascending."""
        return self._rows(_FUNDING, (instrument_id, start_ns, end_ns, limit))


def rank_after(seq: int) -> int:
    """The highest rank of what a command and those before it did."""
    return (seq + 1 << RANK_BITS) - 1
