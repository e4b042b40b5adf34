"""An index out of several sources: the median of those that are recent and agree.

Sources are places in a list; an update of the marks names those that agree with a bit each, so that the engine can ask
for more than one before it believes a jump (docs/marks.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

PPM = 1_000_000
MAX_SOURCES = 32
SourceState = Literal["agrees", "apart", "stale", "silent"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where prices come from. `socket`: by `source_price` on the administration socket; `simulated`: the feed's own
    index, perturbed. All shares are of windows of `window_ns` of venue time."""

    name: str
    kind: Literal["simulated", "socket"] = "simulated"
    noise_ppm: int = 50
    """Each price is off by up to this, either way."""
    bias_ppm: int = 0
    silent_ppm: int = 0
    """Share of windows in which it says nothing."""
    jump_ppm: int = 0
    """Share of windows in which it is off by `jump_size_ppm`, alone."""
    jump_size_ppm: int = 300_000
    window_ns: int = 20_000_000_000


class ComposerTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[index]` of a configuration file."""

    sources: tuple[Source, ...]
    least: int = 1
    """So many sources must agree, or there is no index."""
    stale_ns: int = 5_000_000_000
    """A source that has said nothing for longer does not count."""
    apart_ppm: int = 10_000
    """A source further than this from the median does not agree."""

    def faults(self) -> list[str]:
        """What is wrong with the terms."""
        names = [one.name for one in self.sources]
        found = []
        if not 1 <= len(names) <= MAX_SOURCES or len(set(names)) != len(names) or not all(names):
            found.append(f"index.sources: 1 to {MAX_SOURCES} sources with different names are needed")
        if not 1 <= self.least <= len(names):
            found.append("index.least: must be 1 to the number of sources")
        if self.stale_ns <= 0 or not 0 < self.apart_ppm < PPM:
            found.append("index: stale_ns must be positive, apart_ppm 1 to 999,999")
        for one in self.sources:
            shares = (one.noise_ppm, one.silent_ppm, one.jump_ppm)
            if min(shares) < 0 or max(shares) > PPM or one.window_ns <= 0:
                found.append(f"index.sources.{one.name}: shares must be 0 to 1,000,000 ppm, window_ns positive")
            if not -PPM < one.bias_ppm < PPM or not -PPM < one.jump_size_ppm <= 10 * PPM:
                found.append(f"index.sources.{one.name}: bias and jump must leave a positive price")
        return found


@dataclass(frozen=True, slots=True)
class Composed:
    """An index and who agrees with it, a bit each."""

    price_e8: int
    sources: int


def median(prices: Sequence[int]) -> int:
    """The middle price; of an even number the mean of the two in the middle, rounded down."""
    ordered = sorted(prices)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


class IndexComposer:
    """The newest price of every source of one underlying."""

    def __init__(self, terms: ComposerTerms) -> None:
        self._terms = terms
        self._newest: dict[int, tuple[int, int]] = {}
        self._last: Composed | None = None

    def take(self, source: int, price_e8: int, time_ns: int) -> None:
        """A source's price at a venue time; an older one than its newest is passed over."""
        if price_e8 <= 0:
            raise ValueError("a price is positive")
        if source not in self._newest or self._newest[source][1] <= time_ns:
            self._newest[source] = (price_e8, time_ns)

    def _recent(self, time_ns: int) -> dict[int, int]:
        stale_ns = self._terms.stale_ns
        return {source: price for source, (price, at) in self._newest.items() if time_ns - at <= stale_ns}

    def _near(self, price_e8: int, middle_e8: int) -> bool:
        return abs(price_e8 - middle_e8) * PPM <= self._terms.apart_ppm * middle_e8

    def compose(self, time_ns: int) -> Composed | None:
        """The index now; None where fewer than `least` sources are recent and agree.

        What is too far from the median of all is left out, and the index is the median of the rest."""
        recent = self._recent(time_ns)
        self._last = None
        if not recent:
            return None
        middle = median(list(recent.values()))
        kept = {source: price for source, price in recent.items() if self._near(price, middle)}
        if not kept:
            return None
        index = median(list(kept.values()))
        agreeing = [source for source, price in kept.items() if self._near(price, index)]
        if len(agreeing) < self._terms.least:
            return None
        self._last = Composed(index, sum(1 << source for source in agreeing))
        return self._last

    def newest(self, source: int) -> tuple[int, int] | None:
        """(price in 1e-8 USD, venue time) that a source said last."""
        return self._newest.get(source)

    def state(self, source: int, time_ns: int) -> SourceState:
        """What a source is worth now, beside the last composition."""
        if source not in self._newest:
            return "silent"
        if source not in self._recent(time_ns):
            return "stale"
        near = self._last is not None and self._near(self._newest[source][0], self._last.price_e8)
        return "agrees" if near else "apart"
