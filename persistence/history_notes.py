"""What is handed to the history store: events as the engine wrote them, and what it alone can tell."""

from __future__ import annotations

import msgspec

from exchange.events import EventKind
from exchange.views import InstrumentView

Frame = tuple[int, bytes, bytes]
"""One command's (seq, events, encoded Notes; empty: none)."""

RECORDED = frozenset(
    map(
        int,
        (
            EventKind.ORDER_ACCEPTED,
            EventKind.TRADE_EXECUTED,
            EventKind.BLOCK_TRADE_EXECUTED,
            EventKind.LEG_TRADE_EXECUTED,
            EventKind.ORDER_CANCELLED,
            EventKind.ORDER_EDITED,
            EventKind.TRIGGER_PLACED,
            EventKind.ORDER_TRIGGERED,
            EventKind.BALANCE_CHANGED,
            EventKind.AUCTION_OPENED,
            EventKind.AUCTION_PHASE_CHANGED,
            EventKind.AUCTION_CLOSED,
            EventKind.INSTRUMENT_LISTED,
            EventKind.INSTRUMENT_SETTLED,
            EventKind.POSITION_SETTLED,
            EventKind.POSITION_TRANSFERRED,
            EventKind.AUCTION_LOT_SOLD,
            EventKind.POSITION_DELEVERAGED,
            EventKind.POSITION_TORN_UP,
            EventKind.FUNDS_TRANSFERRED,
        ),
    )
)
"""Kinds of event that leave a row."""


class Funding(msgspec.Struct, frozen=True, array_like=True):
    """A perpetual's funding rate at the first marks of a minute."""

    slot: int
    time_ns: int
    rate_e12: int
    index_e8: int


class Notes(msgspec.Struct, frozen=True, array_like=True):
    """What the rows of a command need beside its events, read from the engine right after it."""

    currencies: tuple[tuple[str, int], ...] = ()
    """(name, exponent) of each currency, with the first command."""
    listed: tuple[InstrumentView, ...] = ()
    funding: tuple[Funding, ...] = ()


decode_notes = msgspec.msgpack.Decoder(Notes).decode
encode_notes = msgspec.msgpack.Encoder().encode
decode_view = msgspec.msgpack.Decoder(InstrumentView).decode


class Contract:
    """What rows need to know of a contract."""

    __slots__ = ("currency", "group_id", "instrument_id", "is_combo", "is_option", "lot_e8", "unit_e8", "view")

    def __init__(self, view: InstrumentView, group_id: int):
        self.view, self.group_id = view, group_id
        self.instrument_id, self.currency = view.instrument_id, view.settlement
        self.is_option, self.is_combo = view.kind == "option", bool(view.legs)
        self.unit_e8, self.lot_e8 = view.price_unit_e8, view.lot_size_e8


def group_of(view: InstrumentView) -> tuple[str, str]:
    """(settlement currency, kind on the wire) of a contract."""
    return view.settlement, "future" if view.kind == "perpetual" else view.kind
