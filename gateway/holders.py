"""Isolated positions as clients know them: what belongs to a bucket shows under the account that it belongs to.

Order ids, trade ids and amounts stay as they are; only account numbers in events are replaced.
"""

from typing import Any

import msgspec

from exchange.commands import SLOT_BYTES
from exchange.events import LAYOUTS, BalanceCause, EventKind

NAMES = ("account_id", "maker_account_id", "buyer_account_id", "to_account_id", "from_account_id")
_FIELDS: dict[int, tuple[int, ...]] = {
    int(kind): tuple(layout.fields[name][1] for name in NAMES if name in layout.names)  # type: ignore[index, operator]
    for kind, layout in LAYOUTS.items()
}
_CAUSE = LAYOUTS[EventKind.BALANCE_CHANGED].fields["cause"][1]  # type: ignore[index]
_BALANCE, _COLLATERAL = int(EventKind.BALANCE_CHANGED), int(BalanceCause.COLLATERAL)


class Holders:
    """Over one engine; costs nothing while it has no buckets."""

    def __init__(self, engine: Any):
        self._engine = engine

    def shown(self, events: bytes) -> tuple[bytes, dict[int, int]]:
        """A command's events with buckets' numbers replaced, and {number of an event: the bucket it is of}."""
        return self._replaced(events, keep_collateral=True) if self._engine.bucket_count else (events, {})

    def recorded(self, events: bytes) -> bytes:
        """The same for the history, where collateral moves once, out of the holder's cash or into it."""
        return self._replaced(events, keep_collateral=False)[0] if self._engine.bucket_count else events

    def view(self, view: Any) -> Any:
        """An order's or position's view under the holder."""
        return msgspec.structs.replace(view, account_id=self._engine.holder(view.account_id))

    def _replaced(self, events: bytes, keep_collateral: bool) -> tuple[bytes, dict[int, int]]:
        out, buckets = bytearray(events), {}
        offset = number = 0
        holder = self._engine.holder
        while offset < len(out):
            kind = out[offset] | out[offset + 1] << 8
            for place in _FIELDS[kind]:
                at = offset + place
                account_id = int.from_bytes(out[at : at + 4], "little")
                owner = holder(account_id)
                if owner != account_id:
                    if place == 4:
                        buckets[number] = account_id
                    cause = int.from_bytes(out[offset + _CAUSE : offset + _CAUSE + 2], "little")
                    if not keep_collateral and kind == _BALANCE and cause == _COLLATERAL:
                        owner = 0  # the venue's own
                    out[at : at + 4] = owner.to_bytes(4, "little")
            offset += (out[offset + 2] | out[offset + 3] << 8) * SLOT_BYTES
            number += 1
        return bytes(out), buckets
