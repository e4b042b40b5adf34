"""A simulated market: seeded index paths, a chain by rule, and marks of it on a grid of venue time."""

from collections.abc import Sequence

import numpy as np

from exchange.config import Instrument, InstrumentKind, ListingRule
from gateway.feeds.chain import ChainSnapshot, default_rules, listing
from gateway.feeds.marks import ChainMarks, MarkUpdate, conflate
from gateway.feeds.sim_chain import generated_chain
from gateway.feeds.sim_path import BLOCK, SimParameters, SimPath
from gateway.feeds.surface import FloatArray, SsviSurface

LINEAR_KINDS: tuple[InstrumentKind, ...] = ("perpetual", "option")


class SimFeed:
    """Marks that are a pure function of (parameters, start time, venue time).

    Grid point k stands at start_time_ns + k * interval_ns. A step tells every point that is due, up to
    `points_per_step` per underlying; beyond that (a fast clock, a venue that was down) the lowest, highest
    and newest.
    """

    def __init__(
        self,
        start_time_ns: int,
        parameters: SimParameters | None = None,
        *,
        rules: Sequence[ListingRule] | None = None,
        speed: float = 1.0,
        points_per_step: int = 4,
    ) -> None:
        if speed <= 0 or points_per_step < 3:
            raise ValueError("speed must be positive, points_per_step at least 3")
        self.start_time_ns = start_time_ns
        self.speed = speed
        self._parameters = parameters or SimParameters()
        self._path = SimPath(self._parameters)
        coins = self._parameters.underlyings
        chains = {
            coin.name: generated_chain(
                coin.name, start_time_ns, coin.start_price, coin.carry_per_year, coin.smile, coin.chain
            )
            for coin in coins
        }
        self._chain = ChainSnapshot(start_time_ns, chains)
        self._rules = (
            default_rules([coin.name for coin in coins], LINEAR_KINDS) if rules is None else tuple(rules)
        )
        self._marks = [
            ChainMarks(chains[coin.name], start_time_ns, SsviSurface(coin.smile)) for coin in coins
        ]
        self._points_per_step = points_per_step
        self._asked_ns = start_time_ns
        self._told = 0  # grid points told so far
        self._block_start = 0
        self._prices: FloatArray = np.empty((len(coins), 0))
        self._shocks: FloatArray = np.empty((len(coins), 0))

    @property
    def finished(self) -> bool:
        """Never: a simulated market has no end."""
        return False

    def instruments(self) -> list[Instrument]:
        """The listing of the generated chain; linear options on the nearest dated expiries."""
        dated = [
            expiry.expiry_ns
            for chain in self._chain.underlyings.values()
            for expiry in chain.expiries
            if expiry.has_future
        ]
        nearest = sorted(set(dated))[: self._parameters.linear_expiries]
        return listing(self._chain, self._rules, frozenset(nearest))

    def snapshot(self) -> list[MarkUpdate]:
        """Marks at the start, one update per underlying."""
        return [marks.update(self.start_time_ns, marks.start_price, 0.0) for marks in self._marks]

    def step(self, venue_time_ns: int) -> list[MarkUpdate]:
        """As `Feed.step`."""
        if venue_time_ns < self._asked_ns:
            raise ValueError(f"venue time went backwards: {venue_time_ns} after {self._asked_ns}")
        self._asked_ns = venue_time_ns
        target = (venue_time_ns - self.start_time_ns) // self._parameters.interval_ns
        told: list[list[tuple[int, float, float]]] = [[] for _ in self._marks]  # (point, price, shock)
        while self._told < target:
            if self._told == self._block_start + self._prices.shape[1]:
                self._block_start = self._told
                self._prices, self._shocks = self._path.next_block()
            first = self._told - self._block_start
            last = min(target - self._block_start, BLOCK)
            for row, points in enumerate(told):
                for offset in conflate(self._prices[row, first:last], self._points_per_step):
                    place = first + offset
                    number = self._block_start + place + 1
                    points.append((number, float(self._prices[row, place]), float(self._shocks[row, place])))
            self._told = self._block_start + last
        updates = [
            marks.update(self.start_time_ns + number * self._parameters.interval_ns, price, shock)
            for marks, points in zip(self._marks, told, strict=True)
            for number, price, shock in _conflated(points, self._points_per_step)
        ]
        updates.sort(
            key=lambda update: update.time_ns
        )  # stable: underlyings keep their order within an instant
        return updates

    def venue_time_ns(self, elapsed_ns: int) -> int:
        """Venue time after `elapsed_ns` of real time."""
        return self.start_time_ns + int(elapsed_ns * self.speed)


def _conflated(points: list[tuple[int, float, float]], limit: int) -> list[tuple[int, float, float]]:
    """The blocks' lowest, highest and newest points hold those of the whole step."""
    return [points[index] for index in conflate([price for _, price, _ in points], limit)]
