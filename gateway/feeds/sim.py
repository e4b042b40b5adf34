"""A simulated market: seeded index paths, a chain by rule, and marks of it on a grid of venue time."""

from collections.abc import Sequence

import numpy as np

from exchange.config import Instrument, InstrumentKind, ListingRule
from gateway.feeds.chain import ChainSnapshot, UnderlyingChain, default_rules, listing
from gateway.feeds.marks import ChainMarks, MarkUpdate, conflate
from gateway.feeds.names import time_ns_of
from gateway.feeds.sim_chain import Terms, expiry_moment, generated_chain, terms
from gateway.feeds.sim_path import BLOCK, SimParameters, SimPath
from gateway.feeds.surface import FloatArray, SsviSurface

LINEAR_KINDS: tuple[InstrumentKind, ...] = ("perpetual", "option")
_Point = tuple[int, float, float]
"""Grid point, price in USD, vol shock."""


class SimFeed:
    """Marks that are a pure function of (parameters, start time, venue time).

    Grid point k stands at start_time_ns + k * interval_ns. A step tells every point that is due, up to
    `points_per_step` per underlying; beyond that (a fast clock, a venue that was down) the lowest, highest
    and newest. At 08:00 UTC each day the chain is extended by its rule: see `listings_due`.
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
        self._rules = default_rules([coin.name for coin in coins], LINEAR_KINDS) if rules is None else tuple(rules)
        self._points_per_step = points_per_step
        self._asked_ns = start_time_ns
        self._told = 0  # grid points told so far
        self._block_start = 0
        self._prices: FloatArray = np.empty((len(coins), 0))
        self._shocks: FloatArray = np.empty((len(coins), 0))
        self._terms: list[Terms] = [({}, set()) for _ in coins]
        self._listed: dict[str, Instrument] = {}
        self._due: dict[str, Instrument] = {}
        self._extend(start_time_ns, [coin.start_price for coin in coins])

    @property
    def finished(self) -> bool:
        """Never: a simulated market has no end."""
        return False

    def instruments(self) -> list[Instrument]:
        """The listing of the chain as it stands; linear options on the nearest dated expiries."""
        return list(self._live(self._listed).values())

    def listings_due(self) -> list[Instrument]:
        """Instruments that the steps since the last call added.

        A feed that catches up with a restarted venue tells those of all days since its start time: the venue
        lists the ones it does not know.
        """
        due, self._due = self._live(self._due), {}
        return list(due.values())

    def _live(self, instruments: dict[str, Instrument]) -> dict[str, Instrument]:
        return {
            name: one for name, one in instruments.items() if one.kind == "perpetual" or one.expiry_ns > self._asked_ns
        }

    def snapshot(self) -> list[MarkUpdate]:
        """Marks at the start, one update per underlying."""
        return [marks.update(self.start_time_ns, marks.start_price, 0.0) for marks in self._marks]

    def step(self, venue_time_ns: int) -> list[MarkUpdate]:
        """As `Feed.step`."""
        if venue_time_ns < self._asked_ns:
            raise ValueError(f"venue time went backwards: {venue_time_ns} after {self._asked_ns}")
        interval_ns = self._parameters.interval_ns
        target = (venue_time_ns - self.start_time_ns) // interval_ns
        told: list[list[_Point]] = [[] for _ in self._marks]
        while self._told < target:
            if self._told == self._block_start + self._prices.shape[1]:
                self._block_start = self._told
                self._prices, self._shocks = self._path.next_block()
            first = self._told - self._block_start
            last = min(target, self._next_extension) - self._block_start
            last = min(last, BLOCK)
            for row, points in enumerate(told):
                for offset in conflate(self._prices[row, first:last], self._points_per_step):
                    place = first + offset
                    number = self._block_start + place + 1
                    points.append((number, float(self._prices[row, place]), float(self._shocks[row, place])))
            self._told = self._block_start + last
            if self._told == self._next_extension:
                self._extend(self.start_time_ns + self._told * interval_ns, self._prices[:, last - 1].tolist())
        self._asked_ns = venue_time_ns
        updates = [
            marks.update(self.start_time_ns + number * interval_ns, price, shock)
            for marks, points in zip(self._marks, told, strict=True)
            for number, price, shock in _conflated(points, self._points_per_step)
        ]
        updates.sort(key=lambda update: update.time_ns)  # stable: underlyings keep their order
        return updates

    def _extend(self, now_ns: int, prices: Sequence[float]) -> None:
        """Add the expiries and strikes that the rule lists at this moment and at these index prices.

        What expired before the last step goes; a step that passes an expiry still marks it up to its end.
        """
        chains: dict[str, UnderlyingChain] = {}
        nearest: set[int] = set()
        for place, (coin, price) in enumerate(zip(self._parameters.underlyings, prices, strict=True)):
            kept, kept_pairs = self._terms[place]
            fresh, fresh_pairs = terms(now_ns, price, coin.carry_per_year, coin.smile.volatility, coin.chain)
            futures = {expiry: dated for expiry, dated in kept.items() if expiry > self._asked_ns} | fresh
            pairs = {pair for pair in kept_pairs if pair[0] in futures} | fresh_pairs
            self._terms[place] = (futures, pairs)
            # forwards stand as of the start: carry is constant, so the marks of any moment follow from there
            chains[coin.name] = generated_chain(
                coin.name,
                self.start_time_ns,
                coin.start_price,
                coin.carry_per_year,
                coin.smile,
                (futures, pairs),
            )
            nearest.update(
                sorted(expiry for expiry, dated in fresh.items() if dated)[: self._parameters.linear_expiries]
            )
        self._marks = [
            ChainMarks(chains[coin.name], self.start_time_ns, SsviSurface(coin.smile))
            for coin in self._parameters.underlyings
        ]
        snapshot = ChainSnapshot(self.start_time_ns, chains)
        listed = {one.name: one for one in listing(snapshot, self._rules, frozenset(nearest))}
        if self._listed:  # not at the start: those are `instruments`
            fresh_names = listed.keys() - self._listed.keys()
            self._due = self._live(self._due) | {name: listed[name] for name in listed if name in fresh_names}
        self._listed = self._live(self._listed) | listed
        following_ns = time_ns_of(expiry_moment(now_ns + 1))
        self._next_extension = -(-(following_ns - self.start_time_ns) // self._parameters.interval_ns)

    def venue_time_ns(self, elapsed_ns: int) -> int:
        """Venue time after `elapsed_ns` of real time."""
        return self.start_time_ns + int(elapsed_ns * self.speed)


def _conflated(points: list[_Point], limit: int) -> list[_Point]:
    """The blocks' lowest, highest and newest points hold those of the whole step."""
    return [points[index] for index in conflate([price for _, price, _ in points], limit)]
