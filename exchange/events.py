"""Events: past facts, the only way out of the engine. Layout as in `exchange/commands.py`: 64-byte slots.

`account_id` in the header is the account the event belongs to (the taker of a trade; 0 for public facts).
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import numpy as np

from exchange.commands import HEADER, SLOT_BYTES, TERMS
from exchange.control_events import (
    AUCTION_TERMS_CHANGED,
    AUCTION_UNCROSSED,
    BLOCK_TRADE_EXECUTED,
    FUNDS_TRANSFERRED,
    MARGIN_MODE_CHANGED,
    PORTFOLIO_OFFER,
    PROTECTION,
    TRADING_STOPPED,
)
from exchange.mark_events import BREAKER_TRIPPED, MARGIN_ANNOUNCED, MARK_JUMP, MARK_STAGE_CHANGED, OVERRIDE_CHANGED


class EventKind(IntEnum):
    ORDER_ACCEPTED = 1
    ORDER_REJECTED = 2
    TRADE_EXECUTED = 3
    ORDER_CANCELLED = 4
    ORDER_EDITED = 5
    MARKS_UPDATED = 6
    MARKS_REJECTED = 7
    COMMAND_REJECTED = 8
    COMMAND_DONE = 9
    ACCOUNT_CREATED = 10
    BALANCE_CHANGED = 11
    INSTRUMENT_LISTED = 12
    INSTRUMENT_STATE_CHANGED = 13
    INSTRUMENT_SETTLED = 14
    POSITION_SETTLED = 15
    LEVEL_CHANGED = 16
    ORDER_TRIGGERED = 17
    TRIGGER_PLACED = 18
    ORDER_REPLENISHED = 19
    LIQUIDATION_STARTED = 20
    AUCTION_OPENED = 21
    BID_ACCEPTED = 22
    BID_REJECTED = 23
    AUCTION_LOT_SOLD = 24
    AUCTION_PHASE_CHANGED = 25
    AUCTION_CLOSED = 26
    LIQUIDATION_ENDED = 27
    FUND_LEASE_REQUESTED = 28
    FUND_LEASE_GRANTED = 29
    FUND_DRAWN = 30
    FUND_LEASE_SETTLED = 31
    POSITION_TRANSFERRED = 32
    ORDERS_LINKED = 33
    PROTECTION_CHANGED = 34
    PROTECTION_TRIGGERED = 35
    TRADING_STOPPED = 36
    AUCTION_UNCROSSED = 37
    BLOCK_TRADE_EXECUTED = 38
    LEG_TRADE_EXECUTED = 39
    POSITION_DELEVERAGED = 40
    MARGIN_MODE_CHANGED = 41
    POSITION_TORN_UP = 42
    AUCTION_TERMS_CHANGED = 50
    CAPITAL_DRAWN = 90
    DEFAULT_COVERED = 91
    MARK_STAGE_CHANGED = 61
    MARK_JUMP = 62
    BREAKER_TRIPPED = 63
    OVERRIDE_CHANGED = 70
    MARGIN_ANNOUNCED = 71
    FUNDS_TRANSFERRED = 86
    PORTFOLIO_OFFERED = 87
    PORTFOLIO_BID = 88
    PORTFOLIO_OFFER_ENDED = 89


class BalanceCause(IntEnum):
    DEPOSIT = 1
    WITHDRAWAL = 2
    FUND_ENDOWMENT = 3
    DUST_SWEEP = 4
    FUNDING = 5
    AUCTION_PAYMENT = 6
    LIQUIDATION_FEE = 7
    FUND_COVER = 8
    COLLATERAL = 9
    CONVERSION = 18
    """Debts settled with the account's money in other currencies, at the index; outside liquidation with a spread."""
    INTEREST = 60
    CAPITAL_ENDOWMENT = 58
    CAPITAL_RELEASE = 59
    TRANSFER = 86
    """Between two accounts of an owner; `reference` is the transfer's id."""


class ProtectionCause(IntEnum):
    """Why a PROTECTION_CHANGED or PROTECTION_TRIGGERED came."""

    CONFIGURED = 1
    REMOVED = 2
    RESET = 3
    QUANTITY = 4
    """The sum of that name passed its limit."""
    DELTA = 5
    VEGA = 6


class Level(IntEnum):
    """Margin level of an account, from calm to breach; `LEVEL_CHANGED` comes on transitions only."""

    HEALTHY = 0
    WARNING = 1
    MAINTENANCE_BREACHED = 2


ACCEPTED = [
    ("order_id", "<u8"),
    ("instrument", "<u4"),
    ("side", "u1"),
    ("order_type", "u1"),
    ("time_in_force", "u1"),
    ("terms_slots", "u1"),
    ("price_units", "<i8"),
    ("quantity_lots", "<i8"),
    ("key_id", "<u4"),
    ("label_bytes", "<u2"),
    ("flags", "<u2"),
]
ORDER_ACCEPTED = np.dtype([*HEADER, *ACCEPTED])
"""terms_slots 1: a slot of commands.ORDER_TERMS stands before the label (`label`, `terms`)."""
TRIGGER_PLACED = np.dtype([*HEADER, *ACCEPTED, *TERMS])
"""terms_slots is 0: the terms are part of the layout."""
ORDER_TRIGGERED = np.dtype(
    [
        *HEADER,
        ("order_id", "<u8"),
        ("trigger_order_id", "<u8"),
        ("instrument", "<u4"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("trigger_source", "u1"),
        ("reserved0", "u1"),
        ("trigger_price_e8", "<i8"),
        ("value_e8", "<i8"),
    ]
)
ORDER_REJECTED = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("reason", "<u2"),
        ("side", "u1"),
        ("flags", "u1"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("order_id", "<u8"),
        ("detail", "<i8"),
    ]
)
TRADE_EXECUTED = np.dtype(
    [
        *HEADER,
        ("trade_id", "<u8"),
        ("instrument", "<u4"),
        ("maker_account_id", "<u4"),
        ("taker_order_id", "<u8"),
        ("maker_order_id", "<u8"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("taker_fee_minor", "<i8"),
        ("maker_fee_minor", "<i8"),
        ("taker_realised_minor", "<i8"),
        ("maker_realised_minor", "<i8"),
        ("mark_price_e8", "<i8"),
        ("index_price_e8", "<i8"),
        ("trade_seq", "<u4"),
        ("side", "u1"),
        ("tick_direction", "u1"),
        ("taker_flags", "u1"),
        ("maker_flags", "u1"),
    ]
)
ORDER_CANCELLED = np.dtype(
    [
        *HEADER,
        ("order_id", "<u8"),
        ("instrument", "<u4"),
        ("reason", "<u2"),
        ("side", "u1"),
        ("flags", "u1"),
        ("price_units", "<i8"),
        ("remaining_lots", "<i8"),
        ("quantity_lots", "<i8"),
    ]
)
ORDER_EDITED = np.dtype(
    [
        *HEADER,
        ("order_id", "<u8"),
        ("instrument", "<u4"),
        ("side", "u1"),
        ("flags", "u1"),
        ("kept_priority", "u1"),
        ("terms_slots", "u1"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("remaining_lots", "<i8"),
    ]
)
"""terms_slots 1: a slot of terms follows; of a quote then a slot with its new label, zero-padded (`quote_label`)."""
ORDER_REPLENISHED = np.dtype(
    [
        *HEADER,
        ("order_id", "<u8"),
        ("instrument", "<u4"),
        ("side", "u1"),
        ("reserved0", "V3"),
        ("price_units", "<i8"),
        ("shown_lots", "<i8"),
        ("remaining_lots", "<i8"),
    ]
)
"""An iceberg's shown tranche was used up: the next one stands last at its price."""
ORDERS_LINKED = np.dtype(
    [
        *HEADER,
        ("primary_order_id", "<u8"),
        ("first_order_id", "<u8"),
        ("second_order_id", "<u8"),
        ("link_type", "u1"),
        ("fill_condition", "u1"),
        ("reserved", "V14"),
    ]
)
"""one_cancels_other: primary and first; second 0. Otherwise the primary triggers first (and second)."""
POSITION_DELEVERAGED = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("instrument", "<u4"),
        ("from_account_id", "<u4"),
        ("quantity_lots", "<i8"),
        ("cost_minor", "<i8"),
        ("loss_minor", "<i8"),
        ("rank", "<u4"),
        ("leverage_ppm", "<u4"),
        ("added_requirement_usd_e4", "<i8"),
        ("mark_price_e8", "<i8"),
        ("reserved", "V40"),
    ]
)
"""A receipt, for the account that was closed: signed lots it took over (which close its own), what it paid for them,
how much of that is loss against the mark, its rank, its owner group's requirement / equity, what closing adds to its
requirement."""
MARKS = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("reason", "<u2"),
        ("repriced", "<u4"),
        ("index_price_e8", "<i8"),
        ("revision", "<u8"),
        ("detail", "<i8"),
        ("reserved", "V8"),
    ]
)
COMMAND = np.dtype(
    [
        *HEADER,
        ("command_kind", "<u2"),
        ("reason", "<u2"),
        ("count", "<u4"),
        ("order_id", "<u8"),
        ("detail", "<i8"),
        ("reserved", "V16"),
    ]
)
ACCOUNT_CREATED = np.dtype([*HEADER, ("owner_id", "<u4"), ("margin_model", "u1"), ("reserved", "V35")])
BALANCE_CHANGED = np.dtype(
    [
        *HEADER,
        ("currency", "<u2"),
        ("cause", "<u2"),
        ("instrument", "<u4"),
        ("amount_minor", "<i8"),
        ("balance_minor", "<i8"),
        ("reference", "<u8"),
        ("reserved", "V8"),
    ]
)
INSTRUMENT = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("state", "u1"),
        ("previous_state", "u1"),
        ("reason", "<u2"),
        ("instrument_id", "<u8"),
        ("settlement_price_e8", "<i8"),
        ("reserved", "V16"),
    ]
)
POSITION_SETTLED = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("reserved0", "<u4"),
        ("quantity_lots", "<i8"),
        ("payout_minor", "<i8"),
        ("realised_minor", "<i8"),
        ("settlement_price_e8", "<i8"),
    ]
)
LEVEL_CHANGED = np.dtype(
    [
        *HEADER,
        ("level", "u1"),
        ("previous_level", "u1"),
        ("currency", "<u2"),
        ("warning_ppm", "<u4"),
        ("equity_minor", "<i8"),
        ("requirement_minor", "<i8"),
        ("previous_warning_ppm", "<u4"),
        ("reserved", "V12"),
    ]
)
"""At WARNING, `warning_ppm` is the ratio of equity to maintenance margin that was passed last, else 0."""
AUCTION = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("phase", "u1"),
        ("reserved0", "u1"),
        ("reason", "<u2"),
        ("currency", "<u2"),
        ("reserved1", "<u2"),
        ("value_minor", "<i8"),
        ("requirement_minor", "<i8"),
        ("price_minor", "<i8"),
    ]
)
BID = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("bid_id", "<u8"),
        ("limit_minor", "<i8"),
        ("share_ppm", "<u4"),
        ("reason", "<u2"),
        ("phase", "u1"),
        ("reserved0", "u1"),
        ("reserved", "V8"),
    ]
)
AUCTION_LOT_SOLD = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("bid_id", "<u8"),
        ("buyer_account_id", "<u4"),
        ("share_ppm", "<u4"),
        ("price_minor", "<i8"),
        ("fee_minor", "<i8"),
        ("compensation_minor", "<i8"),
        ("currency", "<u2"),
        ("phase", "u1"),
        ("reserved", "V53"),
    ]
)
POSITION_TRANSFERRED = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("to_account_id", "<u4"),
        ("quantity_lots", "<i8"),
        ("cost_minor", "<i8"),
        ("auction_id", "<u8"),
        ("reserved", "V8"),
    ]
)
FUND = np.dtype(
    [
        *HEADER,
        ("lease_id", "<u8"),
        ("amount_minor", "<i8"),
        ("currency", "<u2"),
        ("reason", "<u2"),
        ("reserved0", "<u4"),
        ("auction_id", "<u8"),
        ("remaining_minor", "<i8"),
    ]
)
DEFAULT_COVERED = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("currency", "<u2"),
        ("reason", "<u2"),
        ("reserved0", "<u4"),
        ("equity_minor", "<i8"),
        ("capital_minor", "<i8"),
        ("fund_minor", "<i8"),
        ("deleveraged_minor", "<i8"),
        ("reserved", "V56"),
    ]
)
"""After AUCTION_CLOSED, where somebody else paid: the waterfall in its order. equity_minor is what the defaulter had
when the auction opened (it pays first, with all of it; negative: it had nothing), then the venue's capital, the fund,
and what the other side bore by deleveraging. Minor units of the auction's currency; reason is how it closed."""

LAYOUTS: dict[EventKind, np.dtype[Any]] = {
    EventKind.ORDER_ACCEPTED: ORDER_ACCEPTED,
    EventKind.ORDER_REJECTED: ORDER_REJECTED,
    EventKind.TRADE_EXECUTED: TRADE_EXECUTED,
    EventKind.ORDER_CANCELLED: ORDER_CANCELLED,
    EventKind.ORDER_EDITED: ORDER_EDITED,
    EventKind.MARKS_UPDATED: MARKS,
    EventKind.MARKS_REJECTED: MARKS,
    EventKind.COMMAND_REJECTED: COMMAND,
    EventKind.COMMAND_DONE: COMMAND,
    EventKind.ACCOUNT_CREATED: ACCOUNT_CREATED,
    EventKind.BALANCE_CHANGED: BALANCE_CHANGED,
    EventKind.INSTRUMENT_LISTED: INSTRUMENT,
    EventKind.INSTRUMENT_STATE_CHANGED: INSTRUMENT,
    EventKind.INSTRUMENT_SETTLED: INSTRUMENT,
    EventKind.POSITION_SETTLED: POSITION_SETTLED,
    EventKind.LEVEL_CHANGED: LEVEL_CHANGED,
    EventKind.ORDER_TRIGGERED: ORDER_TRIGGERED,
    EventKind.TRIGGER_PLACED: TRIGGER_PLACED,
    EventKind.ORDER_REPLENISHED: ORDER_REPLENISHED,
    EventKind.LIQUIDATION_STARTED: AUCTION,
    EventKind.AUCTION_OPENED: AUCTION,
    EventKind.BID_ACCEPTED: BID,
    EventKind.BID_REJECTED: BID,
    EventKind.AUCTION_LOT_SOLD: AUCTION_LOT_SOLD,
    EventKind.AUCTION_PHASE_CHANGED: AUCTION,
    EventKind.AUCTION_CLOSED: AUCTION,
    EventKind.LIQUIDATION_ENDED: AUCTION,
    EventKind.FUND_LEASE_REQUESTED: FUND,
    EventKind.FUND_LEASE_GRANTED: FUND,
    EventKind.FUND_DRAWN: FUND,
    EventKind.FUND_LEASE_SETTLED: FUND,
    EventKind.POSITION_TRANSFERRED: POSITION_TRANSFERRED,
    EventKind.ORDERS_LINKED: ORDERS_LINKED,
    EventKind.PROTECTION_CHANGED: PROTECTION,
    EventKind.PROTECTION_TRIGGERED: PROTECTION,
    EventKind.TRADING_STOPPED: TRADING_STOPPED,
    EventKind.AUCTION_UNCROSSED: AUCTION_UNCROSSED,
    EventKind.BLOCK_TRADE_EXECUTED: BLOCK_TRADE_EXECUTED,
    EventKind.LEG_TRADE_EXECUTED: TRADE_EXECUTED,
    EventKind.POSITION_DELEVERAGED: POSITION_DELEVERAGED,
    EventKind.POSITION_TORN_UP: POSITION_DELEVERAGED,
    EventKind.MARGIN_MODE_CHANGED: MARGIN_MODE_CHANGED,
    EventKind.AUCTION_TERMS_CHANGED: AUCTION_TERMS_CHANGED,
    EventKind.CAPITAL_DRAWN: FUND,
    EventKind.DEFAULT_COVERED: DEFAULT_COVERED,
    EventKind.MARK_STAGE_CHANGED: MARK_STAGE_CHANGED,
    EventKind.MARK_JUMP: MARK_JUMP,
    EventKind.BREAKER_TRIPPED: BREAKER_TRIPPED,
    EventKind.OVERRIDE_CHANGED: OVERRIDE_CHANGED,
    EventKind.MARGIN_ANNOUNCED: MARGIN_ANNOUNCED,
    EventKind.FUNDS_TRANSFERRED: FUNDS_TRANSFERRED,
    EventKind.PORTFOLIO_OFFERED: PORTFOLIO_OFFER,
    EventKind.PORTFOLIO_BID: PORTFOLIO_OFFER,
    EventKind.PORTFOLIO_OFFER_ENDED: PORTFOLIO_OFFER,
}


def records(buffer: bytes | bytearray | memoryview) -> Iterator[tuple[EventKind, Any, memoryview]]:
    """(kind, fields, tail) of each event; fields is a numpy record, tail what follows the fixed layout."""
    view = memoryview(buffer)
    offset = 0
    while offset < len(view):
        kind = EventKind(int.from_bytes(view[offset : offset + 2], "little"))
        size = int.from_bytes(view[offset + 2 : offset + 4], "little") * SLOT_BYTES
        layout = LAYOUTS[kind]
        fields = np.frombuffer(view, dtype=layout, count=1, offset=offset)[0]
        yield kind, fields, view[offset + layout.itemsize : offset + size]
        offset += size


def label(fields: Any, tail: bytes | memoryview) -> bytes:
    """The label of ORDER_ACCEPTED or TRIGGER_PLACED, from the record's tail."""
    start = int(fields["terms_slots"]) * SLOT_BYTES
    return bytes(tail[start : start + int(fields["label_bytes"])])


def quote_label(terms_slots: int, tail: bytes | memoryview) -> bytes:
    """The label that an ORDER_EDITED of a quote carries in its tail: quote id, a zero byte, quote set; else empty."""
    start = terms_slots * SLOT_BYTES
    quote_id, _, quote_set = bytes(tail[start:]).partition(b"\0")
    return quote_id + b"\0" + quote_set.rstrip(b"\0") if len(tail) > start else b""
