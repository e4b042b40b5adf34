"""The venue's feed: which one, made the same at every start, and the pump that turns it into commands."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from exchange import commands
from exchange.commands import Actor, CommandKind
from exchange.config import Instrument, ListInstruments
from gateway.adaptive import AdaptiveMargins
from gateway.feeds import (
    ComposedFeed,
    Feed,
    MarkPublisher,
    MarkUpdate,
    ReplayFeed,
    SimFeed,
    SimParameters,
    read_chain,
    read_index_path,
)
from gateway.feeds.replay import REFRESH_NS
from gateway.venue_clock import VenueClock
from gateway.venue_core import FeedRecord, VenueError

PUMP_SECONDS = 0.1
FAST_PUMP_SECONDS = 0.02
FAST_SPEED = 10.0
TICK_NS = 250_000_000
MAX_TICKS_PER_SECOND = 1_000
"""Of real time; what an accelerated venue spends on auctions at most."""
LISTING_BATCH = 500
REFRESH_REAL_NS = 250_000_000
"""A replay tells held prices again so often in real time, however fast it is."""


def open_feed(record: FeedRecord, speed: float) -> Feed:
    """The feed that a record describes, its index composed where several sources are asked for. VenueError where its
    files cannot be used."""
    feed = _open_plain(record, speed)
    return feed if record.composer is None else ComposedFeed(feed, record.composer, record.seed)


def _open_plain(record: FeedRecord, speed: float) -> Feed:
    if record.kind == "sim":
        return SimFeed(record.start_time_ns, record.parameters, rules=record.rules, speed=speed)
    if record.chain is None or not record.index:
        raise VenueError("a replay needs --chain FILE and --index FILE (or UNDERLYING=FILE)")
    try:
        return ReplayFeed(
            read_chain(record.chain, record.snapshot),
            {name: read_index_path(files) for name, files in _index_files(record.index).items()},
            rules=record.rules,
            speed=speed,
            refresh_ns=max(REFRESH_NS, int(speed * REFRESH_REAL_NS)),
        )
    except (ValueError, OSError) as error:
        raise VenueError(f"the replay cannot be opened: {error}") from None


def _index_files(words: tuple[str, ...]) -> dict[str, list[Path]]:
    """`FILE` or `UNDERLYING=FILE`, several per underlying in order; a bare name belongs to BTC."""
    found: dict[str, list[Path]] = {}
    for word in words:
        name, sign, file = word.partition("=")
        underlying, path = (name, file) if sign and "/" not in name else ("BTC", word)
        found.setdefault(underlying, []).append(Path(path))
    return found


def sim_record(start_time_ns: int, seed: int, speed: float, parameters: SimParameters) -> FeedRecord:
    """A simulated feed's record; at speed N its grid is N times coarser, so that marks come as often."""
    interval_ns = int(parameters.interval_ns * max(1.0, speed))
    chosen = msgspec.structs.replace(parameters, seed=seed, interval_ns=interval_ns)
    return FeedRecord(
        kind="sim",
        start_time_ns=start_time_ns,
        seed=seed,
        speed=speed,
        parameters=chosen,
    )


class Pump:
    """Publishes due marks and ticks, lists what the feed lists, and steps venue time at speed != 1."""

    def __init__(
        self,
        engine: Any,
        feed: Feed,
        clock: VenueClock,
        submit: Callable[[bytearray], bytes | None],
        adaptive: AdaptiveMargins | None = None,
    ):
        self._engine, self._feed, self._clock, self._submit = engine, feed, clock, submit
        self.publisher = MarkPublisher(engine)
        self.adaptive = adaptive or AdaptiveMargins(engine)
        """Margin rates that follow volatility, where the configuration names any."""
        self.seconds = FAST_PUMP_SECONDS if clock.speed > FAST_SPEED else PUMP_SECONDS
        self.lost = 0
        """Marks and ticks not published because the journal was full."""

    @property
    def feed(self) -> Feed:
        """What is pumped."""
        return self._feed

    @property
    def finished(self) -> bool:
        """Whether a recorded path has ended."""
        return self._feed.finished

    def use(self, submit: Callable[[bytearray], bytes | None]) -> None:
        """Submit through this from now on."""
        self._submit = submit

    def list_instruments(self, instruments: list[Instrument]) -> int:
        """List those that the venue does not know; returns how many."""
        known = {self._engine.instrument(slot).name for slot in self._engine.instruments()}
        fresh = [
            one
            for one in instruments
            if one.name not in known and (one.kind == "perpetual" or one.expiry_ns > self._clock())
        ]
        for start in range(0, len(fresh), LISTING_BATCH):
            batch = ListInstruments(instruments=tuple(fresh[start : start + LISTING_BATCH]))
            self._submit(commands.by(Actor.FEED, commands.cold(CommandKind.LIST_INSTRUMENTS, batch)))
        return len(fresh)

    def publish(self, update: MarkUpdate) -> None:
        """One underlying's marks."""
        if self._submit(commands.by(Actor.FEED, self.publisher.record(update))) is None:
            self.lost += 1

    def tick(self) -> None:
        """Let due work run."""
        if self._submit(commands.record(CommandKind.TICK, actor_id=Actor.CLOCK)) is None:
            self.lost += 1
        else:
            self.adaptive.sample()

    def resume(self, time_ns: int) -> None:
        """Bring the feed to where a replayed venue stands and publish its newest marks there."""
        newest = {update.underlying: update for update in [*self._feed.snapshot(), *self._feed.step(time_ns)]}
        self._clock.set(time_ns)
        # a tick may step any distance; what expired while the venue was down settles before anything else
        self.tick()
        self.list_instruments([*self._feed.instruments(), *self._feed.listings_due()])
        for update in newest.values():
            self.publish(update)

    def advance(self, target_ns: int) -> None:
        """Everything due up to a venue time, in order of time, then one tick."""
        updates = self._feed.step(target_ns)
        due = self._feed.listings_due()
        if due:
            self.list_instruments(due)
        stepped = self._clock.stepped
        left = int(MAX_TICKS_PER_SECOND * self.seconds) if stepped else 0
        for update in updates:
            left = self._ticks_until(update.time_ns, left)
            self._clock.set(update.time_ns)
            self.publish(update)
        self._ticks_until(target_ns, left)
        self._clock.set(target_ns)
        self.tick()
        for underlying, record in self.adaptive.due():
            if self._submit(record) is not None:
                self.adaptive.announced(underlying)

    def _ticks_until(self, time_ns: int, left: int) -> int:
        """While liquidations run, time passes in steps no longer than a batch of bids, as far as `left`."""
        counters = self._engine.counters()
        if left <= 0 or not (counters.auctions_open or counters.below_maintenance):
            return left
        start_ns = self._engine.time_ns
        steps = min(left, (time_ns - start_ns) // TICK_NS)
        for step in range(1, steps + 1):
            self._clock.set(start_ns + step * (time_ns - start_ns) // (steps + 1))
            self.tick()
        return left - max(0, steps)

    async def run(self) -> None:
        """Pump until cancelled."""
        due = time.monotonic()
        while True:
            due = max(due + self.seconds, time.monotonic())  # what was missed is not made up in a burst
            await asyncio.sleep(due - time.monotonic())
            self.advance(self._clock.target_ns())
