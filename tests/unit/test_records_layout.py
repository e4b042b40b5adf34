"""The record layouts: what is on disk never moves. Formats here are written by hand, in `struct` notation."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from exchange import commands, events
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TradeFlag
from exchange.events import EventKind
from exchange.reasons import Reason

MIRROR = Path(commands.__file__).with_name("records.pxd")
HEADER = "HHIQq"

COMMAND_FORMATS = {
    "PLACE_ORDER": "I4BqqIHBBq",
    "CANCEL_ORDER": "QIH26s",
    "CANCEL_ALL": "IHBBIHH24s",
    "EDIT_ORDER": "QqqBB2sIq",
    "UPDATE_MARKS": "HHIqqII8s",
    "TICK": "I36s",
    "PLACE_BID": "QB3sIqI12s",
    "GRANT_FUND_LEASE": "QqHBBI16s",
    "SETTLE_FUND_LEASE": "QqHHI16s",
    "CHECKPOINT": "32sQ",
    "MASS_QUOTE": "IHHq24s",
    "CANCEL_QUOTES": "IHBBHHiiIH14s",
    "PAYLOAD": "II",
}
EVENT_FORMATS = {
    "ORDER_ACCEPTED": "QI4BqqIHH",
    "ORDER_REJECTED": "IHBBqqQq",
    "TRIGGER_PLACED": "QI4BqqIHHqqBBH4sqqQ16s",
    "ORDER_TRIGGERED": "QQI4Bqq",
    "TRADE_EXECUTED": "QIIQQqqqqqqqqI4B",
    "ORDER_CANCELLED": "QIHBBqqq",
    "ORDER_EDITED": "QI4Bqqq",
    "MARKS": "HHIqQq8s",
    "MARK_STAGE_CHANGED": "HBBH2sq24s",
    "MARK_JUMP": "HBBIqqq8s",
    "BREAKER_TRIPPED": "H6sqqq8s",
    "OVERRIDE_CHANGED": "IHBBIIqq8s",
    "MARGIN_ANNOUNCED": "HBBIIIq16s",
    "COMMAND": "HHIQq16s",
    "ACCOUNT_CREATED": "IB35s",
    "BALANCE_CHANGED": "HHIqqQ8s",
    "INSTRUMENT": "IBBHQq16s",
    "POSITION_SETTLED": "IIqqqq",
    "LEVEL_CHANGED": "BBHIqqI12s",
    "AUCTION": "QBBHHHqqq",
    "BID": "QQqIHBB8s",
    "AUCTION_LOT_SOLD": "QQIIqqqHB53s",
    "POSITION_TRANSFERRED": "IIqqQ8s",
    "FUND": "QqHHIQq",
    "POSITION_DELEVERAGED": "QIIqqqIIqq40s",
    "DEFAULT_COVERED": "QHHIqqqq56s",
    "ORDER_REPLENISHED": "QIB3sqqq",
    "ORDERS_LINKED": "QQQBB14s",
    "PROTECTION": "HHHHqqqq",
    "TRADING_STOPPED": "BB2sII28s",
    "AUCTION_UNCROSSED": "IIqqq8s",
    "BLOCK_TRADE_EXECUTED": "QIHHq16s",
    "MARGIN_MODE_CHANGED": "IIIB27s",
    "FUNDS_TRANSFERRED": "QIHHqI12s",
    "PORTFOLIO_OFFER": "QQqIHBB8s",
    "AUCTION_TERMS_CHANGED": "HHIIIIIIIqqqq40s",
}
PARTS = ("ORDER_TERMS", "QUOTE_ENTRY", "FORWARD_ENTRY", "VOL_ENTRY")
FORMATS = [(commands, name, body) for name, body in COMMAND_FORMATS.items()] + [
    (events, name, body) for name, body in EVENT_FORMATS.items()
]


def distinct_bytes(size: int) -> bytes:
    return bytes((7 * i + 1) % 251 for i in range(size))


@pytest.mark.parametrize(("module", "name", "body"), FORMATS, ids=[name for _, name, _ in FORMATS])
def test_layout_reads_as_the_written_format(module, name: str, body: str) -> None:
    layout = getattr(module, name)
    form = struct.Struct("<" + HEADER + body)
    assert layout.itemsize == form.size
    raw = distinct_bytes(form.size)
    record = np.frombuffer(raw, dtype=layout)[0]
    seen = [v.tobytes() if isinstance(v, np.void) else int(v) for v in (record[field] for field in layout.names)]
    assert seen == list(form.unpack(raw))


def test_every_hot_kind_has_a_layout_and_a_format() -> None:
    hot = [kind for kind in CommandKind if kind < commands.FIRST_COLD]
    assert set(commands.LAYOUTS) == set(hot)
    assert {kind.name for kind in hot} == set(COMMAND_FORMATS) - {"PAYLOAD"}
    assert set(events.LAYOUTS) == set(EventKind)
    used = {id(layout) for layout in events.LAYOUTS.values()}
    assert used == {id(getattr(events, name)) for name in EVENT_FORMATS}


def test_fixed_parts_fill_whole_slots_or_leave_room_for_a_tail() -> None:
    assert all(layout.itemsize == 64 for layout in commands.LAYOUTS.values())
    sizes = {name: getattr(events, name).itemsize for name in EVENT_FORMATS}
    assert all(size in (64, 128) for size in sizes.values()), sizes
    assert struct.calcsize("<" + HEADER) == commands.HEADER_BYTES


def test_a_record_is_padded_with_zeros_and_carries_its_tail() -> None:
    record = commands.record(
        CommandKind.PLACE_ORDER, account_id=7, tail=b"label", instrument=3, price_units=-1, label_bytes=5
    )
    assert len(record) == 128
    assert struct.unpack_from("<HHIQq", record) == (1, 2, 7, 0, 0)
    assert struct.unpack_from("<I4Bqq", record, 24) == (3, 0, 0, 0, 0, -1, 0)
    assert bytes(record[64:]) == b"label" + bytes(59)


def test_a_cold_record_returns_its_payload() -> None:
    body = {"a": [1, 2, 3], "text": "x" * 100}
    record = commands.cold(CommandKind.CREATE_ACCOUNT, body, account_id=9)
    assert len(record) % 64 == 0
    assert struct.unpack_from("<HHI", record) == (34, len(record) // 64, 9)
    assert commands.msgspec.msgpack.decode(commands.payload(record)) == body
    with pytest.raises(ValueError, match="exceeds"):
        commands.payload(record[:64])
    with pytest.raises(ValueError, match="exceeds one record"):
        commands.cold(CommandKind.LIST_INSTRUMENTS, b"x" * (64 * 0x10000))


def test_a_surface_is_one_record() -> None:
    record = commands.update_marks(2, 10**13, 5, [(1, 2), (3, 4)], [(7, 600_000), (8, 610_000), (9, 620_000)])
    assert struct.unpack_from("<HHIqq", record, 24) == (2, 2, 3, 10**13, 5)
    assert struct.unpack_from("<qqqq", record, 64) == (1, 2, 3, 4)
    assert struct.unpack_from("<IIIIII", record, 96) == (7, 600_000, 8, 610_000, 9, 620_000)


def test_events_are_walked_record_by_record() -> None:
    accepted = struct.pack("<HHIQqQI4BqqIHH", 1, 2, 11, 5, 6, 77, 3, 1, 0, 0, 0, 10, 20, 1, 3, 0) + b"abc"
    accepted += bytes(128 - len(accepted))
    trade = struct.pack("<HHIQq", 3, 2, 11, 5, 6) + bytes(104)
    walked = list(events.records(accepted + trade))
    assert [kind for kind, _, _ in walked] == [EventKind.ORDER_ACCEPTED, EventKind.TRADE_EXECUTED]
    _, fields, tail = walked[0]
    assert (fields["order_id"], fields["price_units"], fields["quantity_lots"]) == (77, 10, 20)
    assert bytes(tail[: fields["label_bytes"]]) == b"abc"


C_TYPES = {"int32_t": "<i4", "uint8_t": "u1", "uint16_t": "<u2", "uint32_t": "<u4", "uint64_t": "<u8", "int64_t": "<i8"}
MIRROR_ENUMS = {
    "EV_": EventKind,
    "CMD_": CommandKind,
    "FLAG_": OrderFlag,
    "TRADE_": TradeFlag,
    "TYPE_": OrderType,
    "R_": Reason,
}
SHORT_TIMES = {
    "GTC": "GOOD_TIL_CANCELLED",
    "IOC": "IMMEDIATE_OR_CANCEL",
    "FOK": "FILL_OR_KILL",
    "GTD": "GOOD_TIL_DAY",
}


def mirrored_structs() -> dict[str, np.dtype]:
    """The packed structs of records.pxd as dtypes, by the name of the layout they mirror."""
    found = {}
    source = MIRROR.read_text()
    for name, body in re.findall(r"cdef packed struct (\w+):\n((?:    .*\n)+)", source):
        fields = []
        for kind, field, length in re.findall(r"    (\w+) (\w+)(?:\[(\d+)\])?", body):
            if kind == "Header":
                fields += commands.HEADER
            elif length:
                fields.append((field, f"V{length}"))
            else:
                fields.append((field, C_TYPES[kind]))
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Event")).upper()
        found[snake] = np.dtype(fields)
    return found


def test_compiled_structs_mirror_the_layouts() -> None:
    mirrored = mirrored_structs()
    header = mirrored.pop("HEADER")
    assert header == np.dtype(commands.HEADER)
    expected = {
        name: getattr(module, name)
        for module, name in [
            (commands, n) for n in [*COMMAND_FORMATS, "ORDER_TERMS", "QUOTE_ENTRY", "FORWARD_ENTRY", "VOL_ENTRY"]
        ]
        + [(events, n) for n in EVENT_FORMATS]
    }
    del expected["TICK"]  # header only: nothing to mirror
    assert mirrored.keys() - {"TICK"} == expected.keys()
    for name, layout in expected.items():
        assert mirrored[name] == layout, name


def test_compiled_numbers_mirror_the_enums() -> None:
    numbers = dict(re.findall(r"^    ([A-Z][A-Z0-9_]+) = (\d+)$", MIRROR.read_text(), re.MULTILINE))
    compared = 0
    for name, number in numbers.items():
        if name == "CMD_FIRST_COLD":
            assert int(number) == commands.FIRST_COLD
        elif name.startswith("TIF_"):
            assert int(number) == TimeInForce[SHORT_TIMES[name.removeprefix("TIF_")]]
        elif name == "SLOT_BYTES":
            assert int(number) == commands.SLOT_BYTES
        else:
            enum = next(e for prefix, e in MIRROR_ENUMS.items() if name.startswith(prefix))
            assert int(number) == enum[name.split("_", 1)[1]], name
        compared += 1
    assert compared > 40


def test_journaled_numbers_are_unique() -> None:
    for enum in (CommandKind, EventKind, Reason):
        assert len(enum.__members__) == len(set(enum)), enum
