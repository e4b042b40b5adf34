"""Commands: imperatives, the only way into the engine.

A command is one record of 64-byte little-endian slots. The first 24 bytes are common (`HEADER`); hot commands
have a fixed layout given here as numpy dtypes (mirrored by `exchange/records.pxd`), longer data follows in
further slots. Cold commands carry a msgpack payload after an 8-byte length field.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np

from exchange.actors import Actor as Actor

RECORD_VERSION = 1
SLOT_BYTES = 64
HEADER_BYTES = 24
LABEL_MAX_BYTES = 64
NO_INSTRUMENT = 0xFFFFFFFF
ANY_CURRENCY = 0xFFFF
ANY_KIND = 0xFF


class CommandKind(IntEnum):
    PLACE_ORDER = 1
    CANCEL_ORDER = 2
    CANCEL_ALL = 3
    EDIT_ORDER = 4
    UPDATE_MARKS = 5
    TICK = 6
    PLACE_BID = 7
    GRANT_FUND_LEASE = 8
    SETTLE_FUND_LEASE = 9
    CHECKPOINT = 10
    MASS_QUOTE = 11
    CANCEL_QUOTES = 12
    # cold: msgpack payload
    GENESIS = 32
    LIST_INSTRUMENTS = 33
    CREATE_ACCOUNT = 34
    DEPOSIT = 35
    WITHDRAW = 36
    SET_INSTRUMENT_STATE = 37
    ENDOW_FUND = 38
    SWEEP_DUST = 39
    CHANGE_MARGIN_MODEL = 40
    UPGRADE = 41
    SET_SELF_TRADE = 42
    PLACE_LINKED = 43
    SET_PROTECTION = 44
    RESET_PROTECTION = 45
    KILL_SWITCH = 46
    BLOCK_TRADE = 47
    SET_MARGIN_MODE = 48
    MOVE_COLLATERAL = 49
    SET_AUCTION_TERMS = 57
    SET_UNWIND = 58
    SET_BACKSTOP = 59
    ENDOW_CAPITAL = 97
    RELEASE_CAPITAL = 98
    PROPOSE_OVERRIDE = 100
    DECIDE_OVERRIDE = 101
    ANNOUNCE_MARGIN = 102
    SUBMIT_TRANSFER = 116
    OFFER_PORTFOLIO = 117
    BID_PORTFOLIO = 118
    CLOSE_PORTFOLIO_OFFER = 119


class Side(IntEnum):
    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    LIMIT = 0
    MARKET = 1
    MARKET_LIMIT = 2
    """At the best opposite price; what is left rests there."""
    STOP_LIMIT = 3
    STOP_MARKET = 4
    TAKE_LIMIT = 5
    TAKE_MARKET = 6
    TRAILING_STOP = 7
    """A stop market order whose trigger follows the best price at `trigger_offset_e8`."""


class TimeInForce(IntEnum):
    GOOD_TIL_CANCELLED = 0
    IMMEDIATE_OR_CANCEL = 1
    FILL_OR_KILL = 2
    GOOD_TIL_DAY = 3
    """Until the next 08:00 UTC."""


class TriggerSource(IntEnum):
    INDEX_PRICE = 0
    MARK_PRICE = 1
    LAST_PRICE = 2
    PRIMARY_ORDER = 3
    """A secondary order of a one-triggers-other: it waits for fills of its primary."""


class Advanced(IntEnum):
    """How an advanced option order is priced (`advanced_value_e8`)."""

    NONE = 0
    USD = 1
    """In USD, 1e-8; inverse options only."""
    IMPLIED_VOL = 2
    """By implied volatility, 1e-8 of 1 (65 % is 65_000_000)."""


class OrderFlag(IntEnum):
    """The first eight fit every record; the rest stand where a layout has two bytes for flags."""

    POST_ONLY = 1
    REJECT_POST_ONLY = 2
    REDUCE_ONLY = 4
    UNIQUE_LABEL = 8
    PRICE_ADJUSTED = 16
    RISK_REDUCING = 32
    LINKED = 256
    QUOTE = 512
    PROTECTED = 1024
    """Counts towards a market-maker protection group (`protection_group`)."""
    ADVANCED = 2048
    ICEBERG = 4096


class TradeFlag(IntEnum):
    """Of TRADE_EXECUTED and LEG_TRADE_EXECUTED, beside the orders' own: in `taker_flags`, then in `maker_flags`."""

    BLOCK = 64
    COMBO_LEG = 128
    UNCROSSED = 64


class LinkType(IntEnum):
    ONE_CANCELS_OTHER = 1
    ONE_TRIGGERS_OTHER = 2
    ONE_TRIGGERS_ONE_CANCELS_OTHER = 3


class FillCondition(IntEnum):
    FIRST_HIT = 0
    COMPLETE_FILL = 1
    INCREMENTAL = 2


HEADER = [
    ("kind", "<u2"),
    ("slots", "<u2"),
    ("account_id", "<u4"),
    ("seq", "<u8"),
    ("time_ns", "<i8"),
]
PLACE_ORDER = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("flags", "u1"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("key_id", "<u4"),
        ("label_bytes", "<u2"),
        ("terms_slots", "u1"),
        ("reserved", "u1"),
        ("valid_until_ns", "<i8"),
    ]
)
"""terms_slots: 1 where a slot of ORDER_TERMS stands before the label (always for the triggered types), else 0."""
TERMS = [
    ("trigger_price_e8", "<i8"),
    ("trigger_offset_e8", "<i8"),
    ("trigger_source", "u1"),
    ("advanced", "u1"),
    ("protection_group", "<u2"),
    ("reserved_terms0", "V4"),
    ("display_lots", "<i8"),
    ("advanced_value_e8", "<i8"),
    ("linked_order_id", "<u8"),
    ("reserved_terms1", "V16"),
]
ORDER_TERMS = np.dtype(TERMS)
"""What an order has beyond the common terms; zero where it does not have it.

display_lots: an iceberg's shown tranche; 0: all is shown. protection_group: 0 none. linked_order_id is set in events
only: the primary of a secondary order, or the other order of a one-cancels-other."""
CANCEL_ORDER = np.dtype([*HEADER, ("order_id", "<u8"), ("key_id", "<u4"), ("reason", "<u2"), ("reserved", "V26")])
CANCEL_ALL = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("currency", "<u2"),
        ("instrument_kind", "u1"),
        ("order_type", "u1"),
        ("key_id", "<u4"),
        ("reason", "<u2"),
        ("label_bytes", "<u2"),
        ("reserved", "V24"),
    ]
)
EDIT_ORDER = np.dtype(
    [
        *HEADER,
        ("order_id", "<u8"),
        ("price_units", "<i8"),
        ("quantity_lots", "<i8"),
        ("flags", "u1"),
        ("terms_slots", "u1"),
        ("reserved0", "V2"),
        ("key_id", "<u4"),
        ("trigger_price_e8", "<i8"),
    ]
)
"""trigger_price_e8: 0 leaves an untriggered order's trigger as it is. A slot of ORDER_TERMS may follow: of it are read
trigger_offset_e8 (trailing stops), display_lots (icebergs), advanced and advanced_value_e8; 0 leaves each as it is."""
UPDATE_MARKS = np.dtype(
    [
        *HEADER,
        ("underlying", "<u2"),
        ("forward_count", "<u2"),
        ("vol_count", "<u4"),
        ("index_price_e8", "<i8"),
        ("source_time_ns", "<i8"),
        ("actor_id", "<u4"),
        ("sources", "<u4"),
        ("reserved", "V8"),
    ]
)
FORWARD_ENTRY = np.dtype([("expiry_ns", "<i8"), ("forward_e8", "<i8")])
VOL_ENTRY = np.dtype([("instrument", "<u4"), ("vol_e6", "<u4")])
TICK = np.dtype([*HEADER, ("actor_id", "<u4"), ("reserved", "V36")])
PLACE_BID = np.dtype(
    [
        *HEADER,
        ("auction_id", "<u8"),
        ("phase", "u1"),
        ("reserved0", "V3"),
        ("share_ppm", "<u4"),
        ("limit_minor", "<i8"),
        ("key_id", "<u4"),
        ("reserved1", "V12"),
    ]
)
GRANT_FUND_LEASE = np.dtype(
    [
        *HEADER,
        ("lease_id", "<u8"),
        ("amount_minor", "<i8"),
        ("currency", "<u2"),
        ("exhausted", "u1"),
        ("reserved0", "u1"),
        ("actor_id", "<u4"),
        ("reserved", "V16"),
    ]
)
SETTLE_FUND_LEASE = np.dtype(
    [
        *HEADER,
        ("lease_id", "<u8"),
        ("used_minor", "<i8"),
        ("currency", "<u2"),
        ("reserved0", "<u2"),
        ("actor_id", "<u4"),
        ("reserved", "V16"),
    ]
)
MASS_QUOTE = np.dtype(
    [
        *HEADER,
        ("key_id", "<u4"),
        ("protection_group", "<u2"),
        ("quote_count", "<u2"),
        ("valid_until_ns", "<i8"),
        ("quote_id", "V24"),
    ]
)
"""`quote_count` slots of QUOTE_ENTRY follow. quote_id and quote_set: bytes of UTF-8, zero-padded."""
QUOTE_ENTRY = np.dtype(
    [
        ("instrument", "<u4"),
        ("sides", "u1"),
        ("bid_flags", "u1"),
        ("ask_flags", "u1"),
        ("reserved", "u1"),
        ("bid_price_units", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_price_units", "<i8"),
        ("ask_lots", "<i8"),
        ("quote_set", "V24"),
    ]
)
"""sides: 1 bid given, 2 ask given. price 0: as the standing quote; lots -1: as the standing quote, 0: end it."""
CANCEL_QUOTES = np.dtype(
    [
        *HEADER,
        ("instrument", "<u4"),
        ("currency", "<u2"),
        ("instrument_kind", "u1"),
        ("freeze", "u1"),
        ("protection_group", "<u2"),
        ("reason", "<u2"),
        ("min_delta_e6", "<i4"),
        ("max_delta_e6", "<i4"),
        ("key_id", "<u4"),
        ("set_bytes", "<u2"),
        ("reserved", "V14"),
    ]
)
"""Filters as in CANCEL_ALL; protection_group 0xFFFF any; min_delta_e6 > max_delta_e6: no delta filter; the tail names
a quote set. freeze: refuse the account's quotes for a second."""
CHECKPOINT = np.dtype([*HEADER, ("chain_sha256", "V32"), ("event_count", "<u8")])
PAYLOAD = np.dtype([*HEADER, ("payload_bytes", "<u4"), ("actor_id", "<u4")])

LAYOUTS: dict[CommandKind, np.dtype[Any]] = {
    CommandKind.PLACE_ORDER: PLACE_ORDER,
    CommandKind.CANCEL_ORDER: CANCEL_ORDER,
    CommandKind.CANCEL_ALL: CANCEL_ALL,
    CommandKind.EDIT_ORDER: EDIT_ORDER,
    CommandKind.UPDATE_MARKS: UPDATE_MARKS,
    CommandKind.TICK: TICK,
    CommandKind.PLACE_BID: PLACE_BID,
    CommandKind.GRANT_FUND_LEASE: GRANT_FUND_LEASE,
    CommandKind.SETTLE_FUND_LEASE: SETTLE_FUND_LEASE,
    CommandKind.CHECKPOINT: CHECKPOINT,
    CommandKind.MASS_QUOTE: MASS_QUOTE,
    CommandKind.CANCEL_QUOTES: CANCEL_QUOTES,
}
FIRST_COLD = CommandKind.GENESIS


def slots_for(byte_count: int) -> int:
    """Whole 64-byte slots that hold `byte_count` bytes."""
    return -(-byte_count // SLOT_BYTES)


def record(kind: CommandKind, account_id: int = 0, tail: bytes = b"", **fields: Any) -> bytearray:
    """One hot command, seq and time still zero (the sequencer stamps them); `tail` follows the fixed layout."""
    layout = LAYOUTS[kind]
    slots = slots_for(layout.itemsize + len(tail))
    buffer = bytearray(slots * SLOT_BYTES)
    view = np.frombuffer(buffer, dtype=layout, count=1)[0]
    view["kind"] = kind
    view["slots"] = slots
    view["account_id"] = account_id
    for name, value in fields.items():
        view[name] = value
    buffer[layout.itemsize : layout.itemsize + len(tail)] = tail
    return buffer


def order_terms(**fields: int) -> bytes:
    """A slot of ORDER_TERMS: `record(PLACE_ORDER, ..., terms_slots=1, tail=order_terms(...) + label)`."""
    terms = np.zeros(1, dtype=ORDER_TERMS)
    for name, value in fields.items():
        terms[name] = value
    return terms.tobytes()


def quote_entry(**fields: Any) -> bytes:
    """A slot of QUOTE_ENTRY; `quote_set` as bytes."""
    entry = np.zeros(1, dtype=QUOTE_ENTRY)
    for name, value in fields.items():
        entry[name] = value
    return entry.tobytes()


def cold(kind: CommandKind, payload: Any, account_id: int = 0) -> bytearray:
    """One cold command: `payload` is any msgspec-encodable value."""
    body = msgspec.msgpack.encode(payload)
    slots = slots_for(PAYLOAD.itemsize + len(body))
    if slots > 0xFFFF:
        raise ValueError(f"payload of {len(body)} bytes exceeds one record")
    buffer = bytearray(slots * SLOT_BYTES)
    view = np.frombuffer(buffer, dtype=PAYLOAD, count=1)[0]
    view["kind"] = kind
    view["slots"] = slots
    view["account_id"] = account_id
    view["payload_bytes"] = len(body)
    buffer[PAYLOAD.itemsize : PAYLOAD.itemsize + len(body)] = body
    return buffer


def by(actor: Actor, buffer: bytearray) -> bytearray:
    """The same administrative command with its actor written in; a client's command is left as it is."""
    kind = int.from_bytes(buffer[:2], "little")
    layout = PAYLOAD if kind >= FIRST_COLD else LAYOUTS[CommandKind(kind)]
    if layout.names is not None and "actor_id" in layout.names:
        np.frombuffer(buffer, dtype=layout, count=1)[0]["actor_id"] = actor
    return buffer


def payload(buffer: bytes | bytearray | memoryview) -> bytes:
    """The msgpack bytes of a cold command."""
    size = int(np.frombuffer(buffer, dtype=PAYLOAD, count=1)[0]["payload_bytes"])
    if PAYLOAD.itemsize + size > len(buffer):
        raise ValueError("payload length exceeds the record")
    return bytes(buffer[PAYLOAD.itemsize : PAYLOAD.itemsize + size])


def update_marks(
    underlying: int,
    index_price_e8: int,
    source_time_ns: int,
    forwards: Iterable[tuple[int, int]],
    vols: Sequence[tuple[int, int]] | np.ndarray[Any, Any],
    sources: int = 0,
) -> bytearray:
    """A whole surface as one command: (expiry_ns, forward_e8) pairs, then (instrument, vol_e6) pairs.

    A vol quoted for either option of a (strike, expiry) pair applies to both; `sources` has a bit for each that agrees.
    """
    forward_array = np.array(list(forwards), dtype=FORWARD_ENTRY)
    vol_array = np.asarray(vols, dtype=VOL_ENTRY)
    return record(
        CommandKind.UPDATE_MARKS,
        tail=forward_array.tobytes() + vol_array.tobytes(),
        underlying=underlying,
        forward_count=len(forward_array),
        vol_count=len(vol_array),
        index_price_e8=index_price_e8,
        source_time_ns=source_time_ns,
        sources=sources,
    )
