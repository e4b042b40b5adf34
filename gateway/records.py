"""Event and command records as tuples: `struct` codecs derived from the numpy layouts.

A numpy record scalar costs microseconds per event; the same layout read by `struct` costs a few hundred
nanoseconds. The layouts in `exchange/events.py` and `exchange/commands.py` stay the only definition.
"""

import struct
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np

from exchange import commands, events
from exchange.commands import SLOT_BYTES, CommandKind
from exchange.events import EventKind

_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i8": "q", "i4": "i"}


def _format(layout: np.dtype[Any]) -> tuple[str, list[str]]:
    """(struct format, names of the values) of a packed layout; void fields become padding."""
    codes, names, expected = ["<"], [], 0
    for name in layout.names or ():
        field, offset = layout.fields[name][:2]  # type: ignore[index]
        if offset != expected:
            raise ValueError(f"layout is not packed at {name}")
        expected += field.itemsize
        if field.kind == "V":
            codes.append(f"{field.itemsize}x")
        else:
            codes.append(_CODES[f"{field.kind}{field.itemsize}"])
            names.append(name)
    return "".join(codes), names


class Codec:
    """Packs and unpacks one record kind."""

    __slots__ = ("defaults", "make", "names", "size", "struct", "unpack_from")

    def __init__(self, kind: int, layout: np.dtype[Any], title: str):
        code, self.names = _format(layout)
        self.struct = struct.Struct(code)
        self.unpack_from = self.struct.unpack_from
        self.size = layout.itemsize
        self.make = namedtuple(title, self.names)._make
        self.defaults = dict.fromkeys(self.names, 0) | {"kind": kind}

    def pack(self, tail: bytes = b"", **fields: int) -> bytearray:
        """The record with `tail` after the fixed layout, padded to whole slots; seq and time left zero."""
        slots = commands.slots_for(self.size + len(tail))
        buffer = bytearray(slots * SLOT_BYTES)
        values = self.defaults | fields
        values["slots"] = slots
        self.struct.pack_into(buffer, 0, *values.values())
        buffer[self.size : self.size + len(tail)] = tail
        return buffer


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


EVENT_CODECS = {int(kind): Codec(kind, layout, _title(kind.name)) for kind, layout in events.LAYOUTS.items()}
COMMAND_CODECS = {
    kind: Codec(kind, layout, _title(kind.name))
    for kind, layout in commands.LAYOUTS.items()
    if kind is not CommandKind.CHECKPOINT
}


def decode(buffer: bytes) -> Iterator[tuple[int, Any, bytes]]:
    """(kind, fields, tail) of each event; fields is a named tuple, tail the bytes after the fixed layout."""
    offset, end = 0, len(buffer)
    while offset < end:
        kind = buffer[offset] | buffer[offset + 1] << 8
        size = (buffer[offset + 2] | buffer[offset + 3] << 8) * SLOT_BYTES
        codec = EVENT_CODECS[kind]
        fields = codec.make(codec.unpack_from(buffer, offset))
        yield kind, fields, buffer[offset + codec.size : offset + size]
        offset += size


def label_of(fields: Any, tail: bytes) -> str:
    """The label of ORDER_ACCEPTED or TRIGGER_PLACED; a slot of terms may stand before it."""
    start = fields.terms_slots * SLOT_BYTES
    return tail[start : start + fields.label_bytes].decode("utf-8", "replace")


_TERMS = Codec(0, commands.ORDER_TERMS, "OrderTerms")


def terms_of(fields: Any, tail: bytes) -> Any:
    """The special terms of an ORDER_ACCEPTED as a named tuple, None where it has none."""
    return _TERMS.make(_TERMS.unpack_from(tail)) if fields.terms_slots else None


place_order = COMMAND_CODECS[CommandKind.PLACE_ORDER].pack
cancel_order = COMMAND_CODECS[CommandKind.CANCEL_ORDER].pack
cancel_all = COMMAND_CODECS[CommandKind.CANCEL_ALL].pack


def cancel_every(account_id: int, reason: int, key_id: int = 0, label: bytes = b"", **named: int) -> bytearray:
    """CANCEL_ALL of an account: every order that `named` (instrument, currency, instrument_kind, order_type) and the
    label name, all where nothing is given."""
    fields = {
        "instrument": commands.NO_INSTRUMENT, "currency": commands.ANY_CURRENCY,
        "instrument_kind": commands.ANY_KIND, "order_type": commands.ANY_KIND, **named,
    }  # fmt: skip
    return cancel_all(tail=label, account_id=account_id, key_id=key_id, reason=reason, label_bytes=len(label), **fields)


edit_order = COMMAND_CODECS[CommandKind.EDIT_ORDER].pack
place_bid = COMMAND_CODECS[CommandKind.PLACE_BID].pack
cancel_quotes = COMMAND_CODECS[CommandKind.CANCEL_QUOTES].pack

_ENTRY = Codec(0, commands.QUOTE_ENTRY, "QuoteEntry")
_ENTRY_DEFAULTS = dict.fromkeys(_ENTRY.names, 0)
_QUOTE_ID = commands.MASS_QUOTE.fields["quote_id"][1]  # type: ignore[index]
_QUOTE_SET = commands.QUOTE_ENTRY.fields["quote_set"][1]  # type: ignore[index]


def mass_quote(quote_id: bytes, entries: list[bytes], **fields: int) -> bytearray:
    """A MASS_QUOTE with its entries."""
    pack = COMMAND_CODECS[CommandKind.MASS_QUOTE].pack
    record = pack(tail=b"".join(entries), quote_count=len(entries), **fields)
    record[_QUOTE_ID : _QUOTE_ID + len(quote_id)] = quote_id
    return record


def quote_entry(quote_set: bytes, **fields: int) -> bytes:
    """A slot of QUOTE_ENTRY."""
    values = _ENTRY_DEFAULTS | fields
    return _ENTRY.struct.pack(*values.values())[:_QUOTE_SET] + quote_set.ljust(SLOT_BYTES - _QUOTE_SET, b"\0")


__all__ = [
    "EventKind", "cancel_all", "cancel_order", "cancel_quotes", "decode", "edit_order", "label_of", "mass_quote",
    "place_bid", "place_order", "quote_entry", "terms_of",
]  # fmt: skip
