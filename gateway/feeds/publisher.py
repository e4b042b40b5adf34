"""From marks to commands: a MarkUpdate becomes one UPDATE_MARKS record of what is listed now."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from exchange.commands import VOL_ENTRY, update_marks
from exchange.views import InstrumentView
from gateway.feeds.chain import IntArray
from gateway.feeds.marks import MarkUpdate


class ListingView(Protocol):
    """What the publisher reads of the engine."""

    def underlying_index(self, name: str) -> int: ...
    def instruments(self) -> list[int]: ...
    def instrument(self, slot: int) -> InstrumentView: ...
    def pairs(self, underlying_index: int) -> list[tuple[int, int, int]]: ...


@dataclass(slots=True, eq=False)
class _Mapping:
    """Where a listing's pairs stand in a feed's arrays; valid while all it was made from is unchanged."""

    slots: list[int]
    pairs: list[tuple[int, int, int]]
    expiry_ns: IntArray
    strike_e8: IntArray
    gather: IntArray
    """Position in the update of each entry of `entries`."""
    entries: npt.NDArray[Any]
    expiries: frozenset[int]
    unmarked: int


class MarkPublisher:
    """Turns updates into records; where pairs stand in them is kept until the listing or the feed changes.

    Listed pairs that the feed does not quote get no vol (`unmarked` counts them); quotes and forwards of what
    is not listed are left out.
    """

    def __init__(self, engine: ListingView) -> None:
        self._engine = engine
        self._mappings: dict[str, _Mapping] = {}

    def record(self, update: MarkUpdate) -> bytearray:
        """The UPDATE_MARKS record of an update, unstamped. Raises ValueError on an unknown underlying."""
        underlying = self._engine.underlying_index(update.underlying)
        if underlying < 0:
            raise ValueError(f"the venue has no underlying {update.underlying}")
        mapping = self._mapping(underlying, update)
        mapping.entries["vol_e6"] = update.vol_e6[mapping.gather]
        forwards = [entry for entry in update.forwards if entry[0] in mapping.expiries]
        return update_marks(
            underlying, update.index_price_e8, update.time_ns, forwards, mapping.entries, update.sources
        )

    def unmarked(self, underlying: str) -> int:
        """Listed pairs of an underlying that its last update gave no vol for."""
        mapping = self._mappings.get(underlying)
        return 0 if mapping is None else mapping.unmarked

    def _mapping(self, underlying: int, update: MarkUpdate) -> _Mapping:
        slots, pairs = self._engine.instruments(), self._engine.pairs(underlying)
        known = self._mappings.get(update.underlying)
        if (
            known is not None
            and known.expiry_ns is update.expiry_ns
            and known.strike_e8 is update.strike_e8
            and known.pairs == pairs
            and known.slots == slots
        ):
            return known
        quoted = zip(update.expiry_ns.tolist(), update.strike_e8.tolist(), strict=True)
        places = {key: place for place, key in enumerate(quoted)}
        found = [(slot, places[key]) for slot, *terms in pairs if (key := (terms[0], terms[1])) in places]
        entries = np.zeros(len(found), dtype=VOL_ENTRY)
        entries["instrument"] = [slot for slot, _ in found]
        views = (self._engine.instrument(slot) for slot in slots)
        mapping = _Mapping(
            slots=slots,
            pairs=pairs,
            expiry_ns=update.expiry_ns,
            strike_e8=update.strike_e8,
            gather=np.array([place for _, place in found], dtype=np.int64),
            entries=entries,
            expiries=frozenset(view.expiry_ns for view in views if view.underlying == update.underlying),
            unmarked=len(pairs) - len(found),
        )
        self._mappings[update.underlying] = mapping
        return mapping
