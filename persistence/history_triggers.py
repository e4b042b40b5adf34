"""Orders that wait for a trigger, and what became of them: rows from events, and questions to the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from exchange.commands import ORDER_TERMS, SLOT_BYTES, TriggerSource
from persistence.history_notes import Contract

UNTRIGGERED, TRIGGERED, CANCELLED, REJECTED = range(4)
TRIGGER_STATES = ("untriggered", "triggered", "cancelled", "rejected")
TRIGGER_COLUMNS = (
    "order_id", "account_id", "instrument_id", "group_id", "side", "order_type", "time_in_force", "flags",
    "price_units", "quantity_lots", "trigger_source", "trigger_price_e8", "trigger_offset_e8", "placed_lots",
    "became_id", "state", "cancel_reason", "replaced", "created_ns", "updated_ns", "label", "closed_rank",
)  # fmt: skip
(FLAGS, PRICE, QUANTITY, SOURCE, TRIGGER_PRICE, OFFSET, PLACED, BECAME, STATE, REASON, REPLACED, UPDATED, CLOSED) = map(
    TRIGGER_COLUMNS.index,
    (
        "flags", "price_units", "quantity_lots", "trigger_source", "trigger_price_e8", "trigger_offset_e8",
        "placed_lots", "became_id", "state", "cancel_reason", "replaced", "updated_ns", "closed_rank",
    ),
)  # fmt: skip


class TriggerRows:
    """Base of `persistence.history_rows.Rows`: waiting orders, live ones in memory until they end."""

    _rank: int
    _instruments: dict[int, Contract]
    _waiting: dict[int, list[Any]]
    _dirty_triggers: dict[int, list[Any]]
    _announced: dict[int, list[Any]]
    """What fired in this command and of whose placing nothing was said yet, by its new id."""

    def _waits(self, fields: Any, record: bytes) -> None:
        known = self._instruments[fields.instrument]
        label = record[2 * SLOT_BYTES : 2 * SLOT_BYTES + fields.label_bytes].decode("utf-8", "replace")
        self._became(fields.order_id)
        self._waiting[fields.order_id] = self._dirty_triggers[fields.order_id] = [
            fields.order_id, fields.account_id, known.instrument_id, known.group_id, fields.side, fields.order_type,
            fields.time_in_force, fields.flags, fields.price_units, fields.quantity_lots, fields.trigger_source,
            fields.trigger_price_e8, fields.trigger_offset_e8, 0, 0, UNTRIGGERED, 0, 0, fields.time_ns,
            fields.time_ns, label, None,
        ]  # fmt: skip

    def _triggered(self, fields: Any, record: bytes) -> None:
        order_id = fields.trigger_order_id
        order = self._dirty_triggers[order_id] = self._announced[fields.order_id] = self._waiting[order_id]
        order[UPDATED], order[TRIGGER_PRICE] = fields.time_ns, fields.trigger_price_e8
        if order[SOURCE] == TriggerSource.PRIMARY_ORDER:  # a secondary order may be placed in parts
            order[PLACED] += fields.value_e8
            if order[PLACED] < order[QUANTITY]:
                return
        order[STATE] = TRIGGERED
        self._end(order_id, order)

    def _became(self, order_id: int) -> None:
        """An order was placed; it may be what a waiting one became."""
        order = self._announced.pop(order_id, None)
        if order is not None:
            order[BECAME] = order_id

    def _refused(self, fields: Any, record: bytes) -> None:
        """Where something has fired in this command, that was refused; else a client's order, which leaves no row."""
        order = self._announced.pop(fields.order_id or next(iter(self._announced), 0), None)
        if order is not None and order[STATE] == TRIGGERED:
            order[STATE], order[REASON] = REJECTED, fields.reason

    def _withdrawn(self, fields: Any) -> bool:
        """Whether a waiting order was cancelled."""
        order = self._waiting.get(fields.order_id)
        if order is None:
            return False
        self._dirty_triggers[fields.order_id] = order
        order[STATE], order[REASON], order[UPDATED] = CANCELLED, fields.reason, fields.time_ns
        self._end(fields.order_id, order)
        return True

    def _changed(self, fields: Any, record: bytes) -> bool:
        """Whether a waiting order was edited."""
        order = self._waiting.get(fields.order_id)
        if order is None:
            return False
        self._dirty_triggers[fields.order_id] = order
        terms = np.frombuffer(record, ORDER_TERMS, 1, SLOT_BYTES)[0]
        order[PRICE], order[QUANTITY] = fields.price_units, fields.quantity_lots
        order[TRIGGER_PRICE], order[OFFSET] = int(terms["trigger_price_e8"]), int(terms["trigger_offset_e8"])
        order[FLAGS] = fields.flags | order[FLAGS] & ~0xFF
        order[REPLACED], order[UPDATED] = 1, fields.time_ns
        return True

    def _end(self, order_id: int, order: list[Any]) -> None:
        order[CLOSED] = self._rank
        del self._waiting[order_id]


_ENDED = """
SELECT t.* FROM triggers t JOIN instruments i ON i.instrument_id = t.instrument_id
    JOIN groups g ON g.group_id = t.group_id
    WHERE closed_rank IS NOT NULL AND account_id = :account AND closed_rank <= :last AND order_id < :before
    AND (:name = '' OR i.name = :name) AND (:currency = '' OR g.currency = :currency)
    ORDER BY order_id DESC LIMIT :limit
"""
_ENDED_ORDER = "SELECT * FROM triggers WHERE order_id = ? AND closed_rank <= ?"


class TriggerReads:
    """Part of the store's reader."""

    def _rows(self, sql: str, parameters: Any) -> list[Any]:
        raise NotImplementedError

    def ended_triggers(
        self, account_id: int, currency: str, name: str, before: int, last: int, limit: int
    ) -> list[Any]:
        """Waiting orders of an account that ended, newest placement first, placed before an order id; `last`: up to
        that rank. Empty words for any currency or instrument."""
        named = {"account": account_id, "currency": currency, "name": name, "before": before, "last": last}
        return self._rows(_ENDED, named | {"limit": limit})

    def ended_trigger(self, order_id: int, last: int) -> Any | None:
        """One waiting order that ended."""
        found = self._rows(_ENDED_ORDER, (order_id, last))
        return found[0] if found else None
