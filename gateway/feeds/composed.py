"""A feed whose index is composed of several sources; forwards and vols are those of the feed beneath it.

Simulated sources are pure functions of (seed, source, underlying, venue time); prices of sockets come in at any time
and count from the next update of the feed on. Forwards move in proportion to the index. While there is no index the
feed says nothing, and the marks grow old.
"""

import hashlib
from dataclasses import replace
from typing import Any

from exchange.config import Instrument
from gateway.feeds.composer import PPM, ComposerTerms, IndexComposer, Source
from gateway.feeds.marks import Feed, MarkUpdate

SPREAD = 1 << 32


def _draw(*what: object) -> int:
    """A number below SPREAD, the same for the same words."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def simulated(source: Source, seed: int, update: MarkUpdate) -> int | None:
    """What a simulated source says at an update of the feed, 1e-8 USD; None while it is silent."""
    window = update.time_ns // source.window_ns
    who = (seed, source.name, update.underlying)
    if _draw("silent", *who, window) * PPM < source.silent_ppm * SPREAD:
        return None
    off_ppm = source.bias_ppm
    if _draw("jump", *who, window) * PPM < source.jump_ppm * SPREAD:
        off_ppm += source.jump_size_ppm
    off_ppm += (2 * _draw("noise", *who, update.time_ns) - SPREAD) * source.noise_ppm // SPREAD
    return max(1, update.index_price_e8 * (PPM + off_ppm) // PPM)


class ComposedFeed:
    """A gateway.feeds.marks.Feed over another."""

    def __init__(self, feed: Feed, terms: ComposerTerms, seed: int = 1) -> None:
        self._feed, self.terms, self._seed = feed, terms, seed
        self.start_time_ns = feed.start_time_ns
        self._time_ns = feed.start_time_ns
        self._numbers = {one.name: number for number, one in enumerate(terms.sources)}
        self._composers: dict[str, IndexComposer] = {
            update.underlying: IndexComposer(terms) for update in feed.snapshot()
        }
        self.missing: dict[str, int] = dict.fromkeys(self._composers, 0)
        """Updates by underlying for which there was no index."""

    @property
    def finished(self) -> bool:
        """As the feed beneath."""
        return self._feed.finished

    def instruments(self) -> list[Instrument]:
        """As the feed beneath."""
        return self._feed.instruments()

    def listings_due(self) -> list[Instrument]:
        """As the feed beneath."""
        return self._feed.listings_due()

    def snapshot(self) -> list[MarkUpdate]:
        """The first marks are those of the feed beneath: no source has spoken yet."""
        return self._feed.snapshot()

    def venue_time_ns(self, elapsed_ns: int) -> int:
        """As the feed beneath."""
        return self._feed.venue_time_ns(elapsed_ns)

    def step(self, venue_time_ns: int) -> list[MarkUpdate]:
        """As `Feed.step`, of those updates for which there is an index."""
        found = []
        for update in self._feed.step(venue_time_ns):
            composed = self._composed(update)
            if composed is not None:
                found.append(composed)
        self._time_ns = venue_time_ns
        return found

    def _composed(self, update: MarkUpdate) -> MarkUpdate | None:
        composer = self._composers[update.underlying]
        for number, source in enumerate(self.terms.sources):
            price = simulated(source, self._seed, update) if source.kind == "simulated" else None
            if price is not None:
                composer.take(number, price, update.time_ns)
        index = composer.compose(update.time_ns)
        if index is None:
            self.missing[update.underlying] += 1
            return None
        forwards = [(at, max(1, price * index.price_e8 // update.index_price_e8)) for at, price in update.forwards]
        return replace(update, index_price_e8=index.price_e8, forwards=forwards, sources=index.sources)

    # ------------------------------------------------------------------ sockets

    def say(self, underlying: str, source: str, price_e8: int, time_ns: int) -> None:
        """A price of a `socket` source, at a venue time. ValueError names what is wrong."""
        number = self._numbers.get(source)
        if number is None or self.terms.sources[number].kind != "socket":
            raise ValueError(f"there is no socket source {source!r}")
        if underlying not in self._composers:
            raise ValueError(f"there is no underlying {underlying!r}")
        self._composers[underlying].take(number, price_e8, time_ns)

    def states(self, time_ns: int) -> list[dict[str, Any]]:
        """Every source of every underlying: its newest price in USD, how old it is, and what it is worth."""
        found = []
        for underlying, composer in self._composers.items():
            for number, source in enumerate(self.terms.sources):
                said = composer.newest(number)
                found.append(
                    {
                        "underlying": underlying,
                        "source": source.name,
                        "kind": source.kind,
                        "price": None if said is None else said[0] / 1e8,
                        "age_seconds": None if said is None else max(0, time_ns - said[1]) / 1e9,
                        "state": composer.state(number, time_ns),
                    }
                )
        return found
