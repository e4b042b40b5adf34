"""Events to rows of the history store.

A function of what is fed: the same events give the same rows, whether they come live in small batches or from a
replay in large ones.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from typing import Any

import msgspec
import numpy as np

from exchange.commands import SLOT_BYTES, OrderFlag, OrderType, TradeFlag
from exchange.events import LAYOUTS, EventKind, quote_label
from persistence import history_schema as schema
from persistence.history_auctions import ADD_STEP, WORDS, AuctionRows
from persistence.history_candles import Candles
from persistence.history_money import MoneyRows
from persistence.history_notes import Contract, Notes, decode_notes, decode_view, group_of
from persistence.history_schema import HOUR_NS, MINUTE_NS, RANK_BITS, UNFILLED_KEPT_NS
from persistence.history_transfers import ADD_TRANSFER, TransferRows
from persistence.history_triggers import TriggerRows

E8, E12 = 10**8, 10**12
OPEN, FILLED, CANCELLED = 0, 1, 2
STATES = ("open", "filled", "cancelled")
ORDER_COLUMNS = (
    "order_id", "account_id", "instrument_id", "group_id", "side", "order_type", "time_in_force", "flags",
    "price_units", "quantity_lots", "filled_lots", "filled_value", "state", "cancel_reason", "replaced", "created_ns",
    "updated_ns", "label", "closed_rank",
)  # fmt: skip
(FLAGS, PRICE, QUANTITY, FILLED_LOTS, FILLED_VALUE, STATE, REASON, REPLACED, UPDATED, LABEL, CLOSED) = map(
    ORDER_COLUMNS.index,
    (
        "flags", "price_units", "quantity_lots", "filled_lots", "filled_value", "state", "cancel_reason", "replaced",
        "updated_ns", "label", "closed_rank",
    ),
)  # fmt: skip
ORDER_TYPE = ORDER_COLUMNS.index("order_type")
NO_ORDER: list[Any] = [0] * len(ORDER_COLUMNS)
"""What stands for the orders of a block trade."""
NO_ORDER[ORDER_TYPE], NO_ORDER[STATE], NO_ORDER[LABEL] = int(OrderType.LIMIT), FILLED, ""

_LAYOUTS = {
    int(kind): (layout, namedtuple(kind.name.title().replace("_", ""), layout.names or ())._make)
    for kind, layout in LAYOUTS.items()
}


class Rows(MoneyRows, AuctionRows, TriggerRows, TransferRows):
    """Gathers the rows of events, for the caller to write in one transaction."""

    def __init__(self, connection: sqlite3.Connection):
        """Take up the state that the store holds: contracts by slot and live orders."""
        self._groups: dict[tuple[str, str], int] = {
            (currency, kind): group_id
            for group_id, currency, kind in connection.execute("SELECT group_id, currency, kind FROM groups")
        }
        self._exponents: dict[str, int] = {}
        self._currencies: list[str] = []
        self._load_currencies(connection)
        self._instruments: dict[int, Contract] = {}
        for slot, _, view in connection.execute(schema.SLOTS):
            found = decode_view(view)
            self._instruments[slot] = Contract(found, self._groups[group_of(found)])
        self._live: dict[int, list[Any]] = {row[0]: list(row) for row in connection.execute(schema.LIVE_ORDERS)}
        self._waiting = {row[0]: list(row) for row in connection.execute(schema.LIVE_TRIGGERS)}
        self._announced = {}
        self.seq, self.time_ns, self.trade_id = connection.execute("SELECT seq, time_ns, trade_id FROM meta").fetchone()
        self._hour = self.time_ns // HOUR_NS
        self._prune = False
        self._block_id = 0
        self._clear()
        self._handlers = {
            int(EventKind.ORDER_ACCEPTED): self._accepted,
            int(EventKind.TRADE_EXECUTED): self._traded,
            int(EventKind.BLOCK_TRADE_EXECUTED): self._block,
            int(EventKind.LEG_TRADE_EXECUTED): self._leg_traded,
            int(EventKind.ORDER_CANCELLED): self._cancelled,
            int(EventKind.ORDER_EDITED): self._edited,
            int(EventKind.TRIGGER_PLACED): self._waits,
            int(EventKind.ORDER_TRIGGERED): self._triggered,
            int(EventKind.ORDER_REJECTED): self._refused,
            int(EventKind.BALANCE_CHANGED): self._balance,
            int(EventKind.INSTRUMENT_SETTLED): self._settled,
            int(EventKind.POSITION_SETTLED): self._position_settled,
            int(EventKind.POSITION_TRANSFERRED): self._moved,
            **{int(kind): self._auction_step for kind in WORDS},
            int(EventKind.AUCTION_LOT_SOLD): self._sold,
            int(EventKind.POSITION_DELEVERAGED): self._moved,
            int(EventKind.POSITION_TORN_UP): self._moved,
            int(EventKind.FUNDS_TRANSFERRED): self._transferred,
        }

    def _load_currencies(self, connection: sqlite3.Connection) -> None:
        for name, exponent in connection.execute("SELECT name, exponent FROM currencies ORDER BY number"):
            self._currencies.append(name)
            self._exponents[name] = exponent

    def _clear(self) -> None:
        self._new_groups: list[tuple[Any, ...]] = []
        self._new_currencies: list[tuple[Any, ...]] = []
        self._new_instruments: list[tuple[Any, ...]] = []
        self._dirty: dict[int, list[Any]] = {}
        self._dirty_triggers = {}
        self._trades: list[tuple[Any, ...]] = []
        self._fills: list[tuple[Any, ...]] = []
        self._transactions: list[tuple[Any, ...]] = []
        self._settlements: list[tuple[Any, ...]] = []
        self._transfers: list[tuple[Any, ...]] = []
        self._auction_steps: list[tuple[Any, ...]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._candles = Candles()
        self._funding: list[tuple[Any, ...]] = []

    # events

    def apply(self, seq: int, events: bytes, notes: bytes) -> None:
        """Take in one command's events."""
        if notes:
            self._noted(decode_notes(notes))
        self._announced.clear()
        offset, number, end = 0, 0, len(events)
        self._rank = seq << RANK_BITS
        while offset < end:
            kind = events[offset] | events[offset + 1] << 8
            size = (events[offset + 2] | events[offset + 3] << 8) * SLOT_BYTES
            handler = self._handlers.get(kind)
            if handler is not None:
                layout, make = _LAYOUTS[kind]
                fields = make(np.frombuffer(events, layout, 1, offset).item())
                self._rank = seq << RANK_BITS | number
                handler(fields, events[offset : offset + size])
            number += 1
            offset += size
        if events:
            self.time_ns = int.from_bytes(events[16:24], "little", signed=True)
        self.seq = seq
        if self.time_ns // HOUR_NS != self._hour:
            self._hour, self._prune = self.time_ns // HOUR_NS, True

    def _noted(self, notes: Notes) -> None:
        for name, exponent in notes.currencies:
            self._new_currencies.append((len(self._currencies), name, exponent))
            self._currencies.append(name)
            self._exponents[name] = exponent
        for view in notes.listed:
            key = group_of(view)
            group_id = self._groups.get(key)
            if group_id is None:
                group_id = self._groups[key] = len(self._groups) + 1
                self._new_groups.append((group_id, *key))
            self._instruments[view.instrument] = Contract(view, group_id)
            encoded = msgspec.msgpack.encode(view)
            self._new_instruments.append((view.instrument_id, view.instrument, view.name, group_id, encoded))
        for sample in notes.funding:
            known = self._instruments[sample.slot]
            minute = sample.time_ns // MINUTE_NS
            rate, index = sample.rate_e12, sample.index_e8
            hour_ns = sample.time_ns // HOUR_NS * HOUR_NS
            self._funding.append((known.instrument_id, hour_ns, rate, rate, index, index, minute))

    def _accepted(self, fields: Any, record: bytes) -> None:
        self._became(fields.order_id)
        known = self._instruments[fields.instrument]
        start = SLOT_BYTES * (1 + fields.terms_slots)
        label = record[start : start + fields.label_bytes].decode("utf-8", "replace")
        self._live[fields.order_id] = self._dirty[fields.order_id] = [
            fields.order_id, fields.account_id, known.instrument_id, known.group_id, fields.side, fields.order_type,
            fields.time_in_force, fields.flags, fields.price_units, fields.quantity_lots, 0, 0, OPEN, 0, 0,
            fields.time_ns, fields.time_ns, label, None,
        ]  # fmt: skip

    def _traded(self, fields: Any, record: bytes) -> None:
        known = self._instruments[fields.instrument]
        block_id = self._block_id if fields.taker_flags & TradeFlag.BLOCK else 0
        taker = maker = NO_ORDER
        if not block_id:
            taker, maker = self._fill(fields.taker_order_id, fields), self._fill(fields.maker_order_id, fields)
        base = self._trade(fields, record, taker, maker, block_id)
        self._count(known, fields, base, not block_id)

    def _leg_traded(self, fields: Any, record: bytes) -> None:
        """A combo's leg: a trade with money, of orders that its combo's trade has filled; no price of the market."""
        base = self._trade(fields, record, self._dirty[fields.taker_order_id], self._dirty[fields.maker_order_id])
        self._count(self._instruments[fields.instrument], fields, base, False)

    def _count(self, known: Contract, fields: Any, base_e12: int, in_book: bool) -> None:
        lots = fields.quantity_lots
        self._candles.add(known.instrument_id, fields.time_ns, fields.price_units, lots, base_e12, in_book)

    def _trade(self, fields: Any, record: bytes, taker: Any, maker: Any, block_id: int = 0) -> int:
        """Rows of a trade for the public and both sides; the coins behind an inverse future's dollars, 1e-12."""
        known = self._instruments[fields.instrument]
        instrument_id, group_id, trade_id = known.instrument_id, known.group_id, fields.trade_id
        self._trades.append((
            trade_id, instrument_id, group_id, fields.time_ns, fields.trade_seq, record, taker[ORDER_TYPE],
            maker[ORDER_TYPE], taker[STATE], maker[STATE], taker[LABEL], maker[LABEL], block_id,
        ))  # fmt: skip
        price_e8 = (fields.price_units - known.view.zero_units) * known.unit_e8
        lots, cash, base = fields.quantity_lots, 0, 0
        if known.is_option:
            cash = -(price_e8 * lots * known.lot_e8 * 10 ** self._exponents[known.currency] // (E8 * E8))
        elif known.view.inverse and known.view.kind != "option_combo":
            divisor = fields.index_price_e8 if known.is_combo else price_e8
            base = lots * known.lot_e8 * E12 // divisor if divisor > 0 else 0
        for account_id, order_id, as_maker, fee, realised, side in (
            (fields.account_id, fields.taker_order_id, 0, fields.taker_fee_minor, fields.taker_realised_minor,
             fields.side),
            (fields.maker_account_id, fields.maker_order_id, 1, fields.maker_fee_minor, fields.maker_realised_minor,
             1 - fields.side),
        ):  # fmt: skip
            self._fills.append((account_id, group_id, trade_id, instrument_id, order_id, as_maker))
            if known.is_combo:  # its legs move the money
                continue
            change = (cash if side == 0 else -cash) - fee if known.is_option else realised - fee
            self._transactions.append((
                self._rank, account_id, known.currency, fields.time_ns, "trade", instrument_id, change, fee, None,
                fields.quantity_lots, price_e8, fields.mark_price_e8, fields.index_price_e8, side, as_maker, order_id,
                trade_id, None,
            ))  # fmt: skip
        self.trade_id = trade_id
        return base

    def _block(self, fields: Any, record: bytes) -> None:
        """The trades that follow in the same command are the block's."""
        self._block_id = fields.block_id

    def _fill(self, order_id: int, fields: Any) -> list[Any]:
        order = self._dirty[order_id] = self._live[order_id]
        order[FILLED_LOTS] += fields.quantity_lots
        order[FILLED_VALUE] += fields.price_units * fields.quantity_lots
        order[UPDATED] = fields.time_ns
        if order[FILLED_LOTS] >= order[QUANTITY]:
            order[STATE] = FILLED
            self._close(order_id, order)
        return order

    def _close(self, order_id: int, order: list[Any]) -> None:
        order[CLOSED] = self._rank
        del self._live[order_id]

    def _cancelled(self, fields: Any, record: bytes) -> None:
        order = self._live.get(fields.order_id)
        if order is None:
            self._withdrawn(fields)
            return
        self._dirty[fields.order_id] = order
        order[STATE], order[REASON], order[UPDATED] = CANCELLED, fields.reason, fields.time_ns
        self._close(fields.order_id, order)

    def _edited(self, fields: Any, record: bytes) -> None:
        order = self._live.get(fields.order_id)
        if order is None:
            self._changed(fields, record)
            return
        self._dirty[fields.order_id] = order
        order[PRICE], order[QUANTITY] = fields.price_units, fields.quantity_lots
        order[FLAGS] = fields.flags | order[FLAGS] & ~0xFF  # the event has one byte for flags: those above stay
        if order[FLAGS] & OrderFlag.QUOTE:
            order[LABEL] = quote_label(fields.terms_slots, record[SLOT_BYTES:]).decode("utf-8", "replace")
        order[REPLACED], order[UPDATED] = 1, fields.time_ns

    # store

    def take(self) -> list[tuple[str, list[Any]]]:
        """(statement, rows) for everything gathered, the last of them how far the store then goes."""
        found: list[tuple[str, list[Any]]] = [
            (schema.ADD_CURRENCY, self._new_currencies),
            (schema.ADD_GROUP, self._new_groups),
            (schema.ADD_INSTRUMENT, self._new_instruments),
            (schema.ADD_ORDER, list(self._dirty.values())),
            (schema.ADD_TRIGGER, list(self._dirty_triggers.values())),
            (schema.ADD_TRADE, self._trades),
            (schema.ADD_FILL, self._fills),
            (schema.ADD_TRANSACTION, self._transactions),
            (schema.ADD_SETTLEMENT, self._settlements),
            (ADD_TRANSFER, self._transfers),
            (ADD_STEP, self._auction_steps),
            (schema.ADD_DELIVERY, self._deliveries),
            (schema.ADD_CANDLE, self._candles.rows()),
            (schema.ADD_FUNDING, self._funding),
        ]
        if self._prune:
            since = [(self._hour * HOUR_NS - UNFILLED_KEPT_NS,)]
            found += [(schema.DROP_UNFILLED, since), (schema.DROP_UNFIRED, since)]
            self._prune = False
        found.append((schema.SET_META, [(self.seq, self.time_ns, self.trade_id)]))
        self._clear()
        return found
