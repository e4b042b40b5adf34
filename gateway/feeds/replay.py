"""Replay: the marks of a recorded chain, driven by the returns of a recorded index path."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from exchange.config import Instrument, ListingRule
from gateway.feeds.chain import ChainSnapshot, IntArray, default_rules, listing
from gateway.feeds.chain_file import read_chain
from gateway.feeds.index_path import IndexPath, Points, read_index_path
from gateway.feeds.marks import ChainMarks, MarkUpdate, conflate
from gateway.feeds.surface import FloatArray, ShockRule, Stickiness, StickySurface

REFRESH_NS = 2_000_000_000


class _Track:
    """One underlying's course: times, prices and vol shocks of its points, and how far it has been told."""

    def __init__(self, marks: ChainMarks, time_ns: IntArray, ratios: FloatArray, rule: ShockRule) -> None:
        self.marks = marks
        self.time_ns = time_ns
        self.prices: FloatArray = marks.start_price * ratios
        self.rule = rule
        self.shocks = rule.along(time_ns, self.prices)
        self.told = 0
        self.told_ns = 0

    @property
    def finished(self) -> bool:
        return self.told == len(self.time_ns)

    def due(self, venue_time_ns: int, limit: int, refresh_ns: int) -> list[MarkUpdate]:
        """Updates of the points up to `venue_time_ns`; the last price again where the newest one is old."""
        end = int(np.searchsorted(self.time_ns, venue_time_ns, side="right"))
        points = [self.told + offset for offset in conflate(self.prices[self.told : end], limit)]
        updates = [
            self.marks.update(int(self.time_ns[point]), float(self.prices[point]), float(self.shocks[point]))
            for point in points
        ]
        self.told = end
        if updates:
            self.told_ns = updates[-1].time_ns
        if venue_time_ns - self.told_ns >= refresh_ns:
            updates.append(self.held(venue_time_ns))
            self.told_ns = venue_time_ns
        return updates

    def held(self, venue_time_ns: int) -> MarkUpdate:
        """The last told price at a later time: vols have decayed, forwards have converged."""
        if self.told == 0:
            return self.marks.update(venue_time_ns, self.marks.start_price, 0.0)
        last = self.told - 1
        shock = self.rule.decay(float(self.shocks[last]), venue_time_ns - int(self.time_ns[last]))
        return self.marks.update(venue_time_ns, float(self.prices[last]), shock)


class ReplayFeed:
    """A chain snapshot whose indices follow recorded returns.

    Venue time starts at the snapshot and runs with the files' time, from the first point of all paths on;
    `speed` is how many seconds of it pass in a real second. Each underlying moves by the returns of its own
    path or, having none, by those of the leading path (the first of `paths`) to the power of its beta
    (default 1). Between points the last price holds and is told again every `refresh_ns` of venue time, at
    most once a step, so that marks do not go stale; after the last point (`finished`) likewise. A step tells
    every point that is due, up to `points_per_step`; beyond that the lowest, highest and newest.
    """

    def __init__(
        self,
        chain: ChainSnapshot,
        paths: Mapping[str, IndexPath],
        *,
        rules: Sequence[ListingRule] | None = None,
        betas: Mapping[str, float] | None = None,
        stickiness: Stickiness = "moneyness",
        shock_rule: ShockRule | None = None,
        speed: float = 1.0,
        refresh_ns: int = REFRESH_NS,
        points_per_step: int = 64,
    ) -> None:
        unknown = sorted((set(paths) | set(betas or {})) - set(chain.underlyings))
        if unknown or not paths:
            raise ValueError(f"paths or betas of underlyings that the chain lacks: {unknown}" if unknown else "no path")
        if speed <= 0 or refresh_ns <= 0 or points_per_step < 3:
            raise ValueError("speed and refresh_ns must be positive, points_per_step at least 3")
        self.start_time_ns = chain.time_ns
        self.speed = speed
        self._chain = chain
        self._rules = default_rules(sorted(chain.underlyings)) if rules is None else tuple(rules)
        self._refresh_ns = refresh_ns
        self._points_per_step = points_per_step
        self._asked_ns = chain.time_ns
        origin_ns = min(int(path.time_ns[0]) for path in paths.values())
        leader = next(iter(paths.values()))
        rule = shock_rule or ShockRule()
        self._tracks: list[_Track] = []
        for name, underlying in chain.underlyings.items():
            path = paths.get(name, leader)
            beta = 1.0 if name in paths else (betas or {}).get(name, 1.0)
            marks = ChainMarks(underlying, chain.time_ns, StickySurface(underlying, chain.time_ns, stickiness))
            times: IntArray = chain.time_ns + (path.time_ns - origin_ns)
            track = _Track(marks, times, path.ratios() ** beta, rule)
            if times[0] == chain.time_ns:
                track.told = 1  # the snapshot itself
            track.told_ns = chain.time_ns
            self._tracks.append(track)

    @property
    def end_time_ns(self) -> int:
        """Venue time of the last recorded point."""
        return max(int(track.time_ns[-1]) for track in self._tracks)

    @property
    def finished(self) -> bool:
        """True when every path has been told to its end."""
        return all(track.finished for track in self._tracks)

    def instruments(self) -> list[Instrument]:
        """The listing of the chain by the feed's rules."""
        return listing(self._chain, self._rules)

    def listings_due(self) -> list[Instrument]:
        """Nothing: a recorded chain does not grow."""
        return []

    def snapshot(self) -> list[MarkUpdate]:
        """Marks at the snapshot: recorded index, forwards and vols."""
        return [track.marks.update(self.start_time_ns, track.marks.start_price, 0.0) for track in self._tracks]

    def step(self, venue_time_ns: int) -> list[MarkUpdate]:
        """As `Feed.step`."""
        if venue_time_ns < self._asked_ns:
            raise ValueError(f"venue time went backwards: {venue_time_ns} after {self._asked_ns}")
        self._asked_ns = venue_time_ns
        updates: list[MarkUpdate] = []
        for track in self._tracks:
            updates.extend(track.due(venue_time_ns, self._points_per_step, self._refresh_ns))
        updates.sort(key=lambda update: update.time_ns)  # stable: underlyings keep their order
        return updates

    def venue_time_ns(self, elapsed_ns: int) -> int:
        """Venue time after `elapsed_ns` of real time."""
        return self.start_time_ns + int(elapsed_ns * self.speed)


def open_replay(
    chain_file: Path | str,
    index_files: Mapping[str, Path | str | Iterable[Path | str]],
    *,
    snapshot: str | None = None,
    points: Points = "close",
    rules: Sequence[ListingRule] | None = None,
    betas: Mapping[str, float] | None = None,
    stickiness: Stickiness = "moneyness",
    speed: float = 1.0,
) -> ReplayFeed:
    """A replay from files: a chain, and per underlying its index files. Raises ChainError, PathError."""
    return ReplayFeed(
        read_chain(chain_file, snapshot),
        {name: read_index_path(files, points) for name, files in index_files.items()},
        rules=rules,
        betas=betas,
        stickiness=stickiness,
        speed=speed,
    )
