"""Orders and trades of all time: what the history store covers, and in front of it what memory has that is newer."""

from typing import Any

from exchange.commands import TradeFlag
from gateway.errors import ApiError, invalid_param
from gateway.history import OrderRecord, TradeRecord
from gateway.listing import Listing, Listings
from gateway.projection import Projection
from gateway.transfer_records import TransferRecord
from gateway.waiting import WaitingOrder
from persistence.history import History
from persistence.history_reads import MAX, READ_SECONDS, HistoryReader, HistoryTimeout, Span, rank_after
from persistence.history_schema import UNFILLED_KEPT_NS

MAX_LISTINGS = 20_000
MAX_LEGS = 4
UserTrade = tuple[TradeRecord, bool]


class Selection:
    """Which contracts a question means: one by name, or those of a currency and a kind (empty: any)."""

    __slots__ = ("currency", "kind", "listing")

    def __init__(self, listing: Listing | None = None, currency: str = "", kind: str = ""):
        self.listing = listing
        self.currency = "" if currency == "ANY" else currency
        self.kind = "" if kind == "any" else kind

    def holds(self, listing: Listing) -> bool:
        """Whether a contract is meant."""
        if self.listing is not None:
            return listing.view.instrument_id == self.listing.view.instrument_id
        return self.currency in ("", listing.currency) and listing.is_of(self.kind or "any")


class Reader(HistoryReader):
    """The store's reader; a question that would take too long is refused."""

    def _rows(self, sql: str, parameters: Any, seconds: float = READ_SECONDS) -> list[Any]:
        try:
            return super()._rows(sql, parameters, seconds)
        except HistoryTimeout:
            raise ApiError(13888, {"reason": "ask for a narrower range"}) from None


class Archive:
    """Answers from the store and from memory together. Without a store: from memory alone."""

    def __init__(
        self, engine: Any, listings: Listings, projection: Projection, history: History | None, reader: Reader | None
    ):
        self._engine, self._listings, self._projection = engine, listings, projection
        self._history, self.reader = history, reader
        self._known: dict[int, Listing] = {}

    def close(self) -> None:
        """Give the store's connection up."""
        if self.reader is not None:
            self.reader.close()

    @property
    def covered(self) -> tuple[int, int]:
        """(seq, trade id) up to which the store answers."""
        return (0, 0) if self._history is None else self._history.covered

    @property
    def unfilled_ns(self) -> int:
        """Closed orders without a fill are kept from here on."""
        return int(self._engine.time_ns) - UNFILLED_KEPT_NS

    # contracts

    def listing(self, name: str) -> Listing:
        """A contract by name, live or ended; -32602 where there never was one."""
        found = self._listings.by_name.get(name)
        if found is None and self.reader is not None:
            view = self.reader.instrument(name)
            found = self._remember(view) if view is not None else None
        if found is None:
            raise invalid_param("instrument_name", "instrument not found")
        return found

    def by_id(self, instrument_id: int) -> Listing:
        """A contract of a stored row."""
        found = self._known.get(instrument_id)
        return found if found is not None else self._remember(self.reader.instrument_by_id(instrument_id))

    def _remember(self, view: Any) -> Listing:
        listings = self._listings
        found = listings.by_name.get(view.name)
        if found is None or found.view.instrument_id != view.instrument_id:
            underlying = self._engine.underlying_index(view.underlying)
            exponent = listings.exponents[view.settlement]
            found = Listing(view, exponent, underlying, listings.index_names[underlying])
        if len(self._known) >= MAX_LISTINGS:
            self._known.clear()
        self._known[view.instrument_id] = found
        return found

    def keys(self, selection: Selection) -> tuple[list[int], bool]:
        """(instrument or groups in the store, whether it is an instrument)."""
        if selection.listing is not None:
            return [selection.listing.view.instrument_id], True
        return self.reader.groups(selection.currency, selection.kind), False

    # trades

    def trades(self, selection: Selection, span: Span, ascending: bool, limit: int) -> list[TradeRecord]:
        """Public trades."""
        covered = self.covered[1]
        fresh = [
            record
            for listing in self._listings.by_slot.values()
            if selection.holds(listing)
            for record in self._projection.trades(listing.slot, covered)
            if _within(record, span)
        ]
        fresh.sort(key=lambda record: record.event.trade_id)

        def stored(wanted: int) -> list[TradeRecord]:
            if self.reader is None or not covered:
                return []
            rows = self.reader.trades(*self.keys(selection), span, covered, ascending, wanted)
            return [self._trade(row) for row in rows]

        return _joined(fresh, stored, ascending, limit)

    def fresh_trades(self, listing: Listing, covered: int) -> list[TradeRecord]:
        """Trades in a contract's book that only memory has, oldest first."""
        known = self._listings.by_slot.get(listing.slot)
        if known is None or known.view.instrument_id != listing.view.instrument_id:
            return []
        return [trade for trade in self._projection.trades(listing.slot, covered) if trade.in_book]

    def user_trades(
        self, account_id: int, selection: Selection, span: Span, ascending: bool, limit: int
    ) -> list[UserTrade]:
        """An account's trades with its role (True: maker)."""
        covered = self.covered[1]
        fresh = [
            one
            for one in self._projection.account_trades(account_id, covered)
            if selection.holds(one[0].listing) and _within(one[0], span)
        ]

        def stored(wanted: int) -> list[UserTrade]:
            if self.reader is None or not covered:
                return []
            keys, by_instrument = self.keys(selection)
            rows = self.reader.fills(account_id, keys, by_instrument, span, covered, ascending, wanted)
            return [self._user_trade(row) for row in rows]

        return _joined(fresh, stored, ascending, limit)

    def _user_trade(self, row: Any) -> UserTrade:
        return self._trade(row), bool(row[-1])

    def _trade(self, row: Any) -> TradeRecord:
        """A stored trade; a combo's with those of its legs, a leg's with its combo's, which has the ids before it."""
        record = TradeRecord.from_row(row, self.by_id(row[1]))
        trade_id = record.event.trade_id
        if record.listing.is_combo:
            rows = self.reader.trades_between(trade_id + 1, trade_id + len(record.listing.view.legs))
            record.legs = [TradeRecord.from_row(leg, self.by_id(leg[1])) for leg in rows]
            for leg in record.legs:
                leg.combo = record
        elif record.event.taker_flags & TradeFlag.COMBO_LEG:
            rows = self.reader.trades_between(trade_id - MAX_LEGS, trade_id - 1)
            combos = [one for one in rows if self.by_id(one[1]).is_combo]
            record.combo = TradeRecord.from_row(combos[-1], self.by_id(combos[-1][1])) if combos else None
        return record

    def trades_of_order(self, account_id: int, order_id: int, limit: int) -> list[UserTrade]:
        """Trades of one order, oldest first."""
        covered = self.covered[1]
        found: list[UserTrade] = []
        if self.reader is not None:
            rows = self.reader.fills_of_order(account_id, order_id, covered, limit)
            found = [self._user_trade(row) for row in rows]
        for record, as_maker in self._projection.account_trades(account_id, covered):
            event = record.event
            if order_id == (event.maker_order_id if as_maker else event.taker_order_id):
                found.append((record, as_maker))
        return found[:limit]

    def block(self, account_id: int, block_id: int) -> list[UserTrade]:
        """An account's trades of a block, oldest first."""
        covered = self.covered[1]
        found: list[UserTrade] = []
        if self.reader is not None:
            found = [self._user_trade(row) for row in self.reader.fills_of_block(account_id, block_id, covered)]
        return found + [
            one for one in self._projection.account_trades(account_id, covered) if one[0].block_id == block_id
        ]

    def blocks(self, account_id: int, currency: str, first: int, final: int, limit: int) -> list[int]:
        """Numbers of an account's blocks with a trade in a currency (empty: any), newest first."""
        covered = self.covered[1]
        fresh = {
            record.block_id
            for record, _ in self._projection.account_trades(account_id, covered)
            if record.block_id and first <= record.block_id <= final and currency in ("", record.listing.currency)
        }
        stored: list[int] = []
        if self.reader is not None:
            stored = self.reader.blocks(account_id, currency, first, final, covered, limit)
        return (sorted(fresh, reverse=True) + stored)[:limit]

    def transfers_after(self, account_id: int, currency: str, seq: int) -> list[TransferRecord]:
        """Transfers that only memory has."""
        return self._projection.transfers.after(account_id, currency, seq)

    # orders

    def order(self, account_id: int, order_id: int) -> OrderRecord | None:
        """An account's order, live or closed."""
        record = self._projection.order(order_id)
        if record is None and self.reader is not None:
            row = self.reader.closed_order(order_id, self.unfilled_ns, MAX)
            record = self._order(row) if row is not None else self._ended(order_id)
        return record if record is not None and record.account_id == account_id else None

    def _ended(self, order_id: int) -> WaitingOrder | None:
        row = self.reader.ended_trigger(order_id, MAX) if self.reader is not None else None
        return None if row is None else WaitingOrder.stored(row, self.by_id(row[2]))

    def triggers(self, account_id: int, selection: Selection, limit: int, before: int = MAX) -> list[WaitingOrder]:
        """Waiting orders of an account that ended, newest placement first, placed before an order id."""
        covered = rank_after(self.covered[0])
        found = [
            record
            for record in self._projection.waiting.ended(account_id)
            if covered < record.closed_rank and record.order_id < before and selection.holds(record.listing)
        ]
        if self.reader is not None:
            name = selection.listing.name if selection.listing is not None else ""
            rows = self.reader.ended_triggers(account_id, selection.currency, name, before, covered, limit)
            found += [WaitingOrder.stored(row, self.by_id(row[2])) for row in rows]
        return sorted(found, key=lambda record: -record.order_id)[:limit]

    def _order(self, row: Any) -> OrderRecord:
        return OrderRecord.from_row(row, self.by_id(row[2]))

    def closed_orders(
        self, account_id: int, selection: Selection, unfilled: bool, limit: int, before: int = MAX, label: str = ""
    ) -> list[OrderRecord]:
        """Closed orders, newest end first, whose end came before a rank; unfilled ones only where asked for."""
        covered, since = rank_after(self.covered[0]), self.unfilled_ns
        found = [
            record
            for record in self._projection.closed_orders(account_id)
            if covered < record.closed_rank < before
            and selection.holds(record.listing)
            and (record.filled_lots or (unfilled and record.updated_ns >= since))
            and label in ("", record.label)
        ][:limit]
        reader, wanted = self.reader, limit - len(found)
        if reader is None or wanted <= 0:
            return found
        last = min(covered, before - 1)
        name = selection.listing.name if selection.listing is not None else ""
        if label:
            rows = reader.labelled_orders(account_id, label, since, last, wanted)
        elif unfilled:
            rows = reader.closed_orders(account_id, selection.currency, selection.kind, name, since, last, wanted)
        else:
            rows = reader.filled_orders(account_id, *self.keys(selection), last, wanted)
        return found + [record for record in map(self._order, rows) if selection.holds(record.listing)]


def _joined(fresh: list[Any], stored: Any, ascending: bool, limit: int) -> list[Any]:
    """At most `limit` of what memory has (ascending) and the store has, in order."""
    if ascending:
        found = stored(limit)
        return found + fresh[: limit - len(found)]
    newest = fresh[::-1][:limit]
    return newest if len(newest) == limit else newest + stored(limit - len(newest))


def _within(record: TradeRecord, span: Span) -> bool:
    event = record.event
    return (
        span.start_ns <= event.time_ns <= span.end_ns
        and span.start_seq <= event.trade_seq <= span.end_seq
        and span.first_id <= event.trade_id <= span.last_id
    )
