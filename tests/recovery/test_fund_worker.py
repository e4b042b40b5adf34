"""The fund worker on a crash in the core: the fund's record ends equal to the ledger, whatever dies on the way."""

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange import commands
from exchange.commands import CommandKind
from exchange.engine import Engine
from gateway import population, records
from gateway.defaults import Setup, default_config
from gateway.feeds import SimFeed, SimParameters
from gateway.liquidator import FundWorker, operations, read_cursor
from gateway.records import EventKind, decode
from gateway.venue_clock import VenueClock
from gateway.venue_core import Core
from gateway.venue_feed import Pump
from persistence.data_dir import DataDirectory
from persistence.embedded_redis import EmbeddedRedis

pytestmark = pytest.mark.redis
START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


class Hand:
    """Venue time turned by hand."""

    def __init__(self, time_ns: int):
        self.time_ns = time_ns

    def __call__(self) -> int:
        return self.time_ns


class Crash:
    """A core with a population, an endowed fund, an index that can be moved, and a bidder for everything."""

    def __init__(self, root: Path):
        self.directory = DataDirectory.open(root)
        self.cursor = root / "fund.cursor"
        self.clock = Hand(START_NS)
        self.core = Core.open(self.directory, lambda last_ns: self.clock, durability="os")
        self.events: list[tuple[int, bytes]] = []
        self.core.sequencer.subscribe(lambda seq, events: self.events.append((seq, events)))
        self.feed = SimFeed(START_NS, SimParameters(seed=3))
        self.pump = Pump(self.core.engine, self.feed, VenueClock(START_NS, 2.0), self.core.submit)

    def begin(self) -> None:
        """A first start, small."""
        setup = Setup(config=default_config("worker-test"))
        self.core.genesis(setup.config)
        self.pump.list_instruments(self.feed.instruments())
        self.mark(1.0)
        house = population.create_house(self.core)
        population.endow_fund(self.core, {"BTC": 100, "ETH": 2_000, "USDC": 3_000_000})
        crowd = msgspec.structs.replace(setup.population, accounts=60, long_share=1.0)
        population.Populator(self.core, house[population.HOUSE], crowd, 11).run()

    def mark(self, factor: float) -> None:
        """Publish the start's marks with indices and forwards times a factor."""
        for update in self.feed.snapshot():
            self.pump.publish(
                dataclasses.replace(
                    update,
                    index_price_e8=int(update.index_price_e8 * factor),
                    forwards=[(expiry, int(forward * factor)) for expiry, forward in update.forwards],
                )
            )

    def advance(self, factor: float, seconds: float) -> None:
        """Venue time passes: marks, a tick, and a bid of the liquidator on every auction in its phase."""
        self.clock.time_ns += int(seconds * SECOND_NS)
        self.mark(factor)
        self.core.submit(commands.record(CommandKind.TICK))
        engine = self.core.engine
        for auction in engine.auctions():
            if auction.bids == 0:
                self.core.submit(
                    records.place_bid(
                        account_id=engine.account_id("liquidator"),
                        auction_id=auction.auction_id,
                        phase=auction.phase,
                        share_ppm=1_000_000,
                        limit_minor=0,  # takes it as soon as somebody is paid to
                    )
                )

    def worker(self, url: str, epoch: int, submit: Callable[[bytearray], bytes | None] | None = None) -> Any:
        return FundWorker(url, epoch, self.cursor, submit or self.core.submit)

    def close(self) -> None:
        self.core.close(checkpoint=False)


def crash_events(crash: Crash) -> list[tuple[int, Any]]:
    return [(kind, fields) for _, events in crash.events for kind, fields, _ in decode(events)]


async def work(crash: Crash, worker: FundWorker, steps: int, seen: int, factor: float = 0.62) -> int:
    """Let `steps` of two venue seconds pass with the worker beside; returns how many event batches it has seen."""
    for _ in range(steps):
        crash.advance(factor, 2.0)
        for seq, events in crash.events[seen:]:
            worker.observe(seq, events)
        seen = len(crash.events)
        crash.core.journal.sync()
        crash.core.sequencer.release()
        await asyncio.sleep(0.002)
    return seen


async def settle(crash: Crash, worker: FundWorker, seen: int) -> None:
    """Until nothing is in flight."""
    seen = await work(crash, worker, 5, seen)
    for _ in range(400):
        seen = await work(crash, worker, 1, seen)
        await worker.drained(5.0)
        if not crash.core.engine.auctions() and not crash.core.engine.leases() and not worker.waiting:
            return
    raise AssertionError(f"still in flight: {crash.core.engine.auctions()[:2]} {worker.waiting}")


def test_the_fund_and_the_ledger_agree_after_a_crash(tmp_path: Path) -> None:
    crash = Crash(tmp_path / "data")
    crash.begin()
    before = {name: crash.core.engine.ledger(name)["fund"] for name in ("BTC", "ETH", "USDC")}

    async def run() -> dict[str, int]:
        with EmbeddedRedis.start(tmp_path / "redis") as server:
            worker = crash.worker(server.url, 1)
            worker.attach(crash.core.engine, crash.core.sequencer)
            task = asyncio.create_task(worker.run())
            await settle(crash, worker, 0)
            difference = await worker.difference()
            assert worker.fund is not None
            assert await worker.fund.leases() == []
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return difference

    assert asyncio.run(run()) == {"BTC": 0, "ETH": 0, "USDC": 0}
    kinds = [kind for kind, _ in crash_events(crash)]
    assert kinds.count(EventKind.FUND_DRAWN) > 0
    assert kinds.count(EventKind.FUND_LEASE_GRANTED) > 0
    after = {name: crash.core.engine.ledger(name)["fund"] for name in before}
    assert any(after[name] < before[name] for name in before)
    assert crash.core.engine.audit() == []
    assert read_cursor(crash.cursor) > 0
    crash.close()


def test_lost_answers_dead_workers_and_an_absent_server(tmp_path: Path, rng: Any) -> None:
    """Workers die at random moments, with their cursor as it was or lost; the server stops in between."""
    crash = Crash(tmp_path / "data")
    crash.begin()

    async def run() -> None:
        epoch = interrupted = 0
        for life in range(12):
            epoch += 1
            worker = crash.worker("unix://" + str(tmp_path / "nowhere.sock"), epoch)
            away = life % 3 == 2  # no server in this life: operations wait, the core goes on
            server = None if away else EmbeddedRedis.start(tmp_path / "redis")
            if server is not None:
                if rng.random() < 0.5:
                    crash.cursor.unlink(missing_ok=True)
                worker = crash.worker(server.url, epoch)
            for seq, events in crash.events:
                if seq > worker.cursor:
                    worker.observe(seq, events)  # what a replay hands over
            worker.attach(crash.core.engine, crash.core.sequencer)
            task = asyncio.create_task(worker.run())
            seq_before = crash.core.sequencer.seq
            await work(crash, worker, int(rng.integers(1, 8)), len(crash.events))
            assert crash.core.sequencer.seq > seq_before
            if away:
                assert worker.waiting or not crash.core.engine.leases()
            interrupted += worker.waiting > 0
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if server is not None:
                server.stop()
        assert interrupted >= 2
        with EmbeddedRedis.start(tmp_path / "redis") as server:
            worker = crash.worker(server.url, epoch + 1)
            for seq, events in crash.events:
                if seq > worker.cursor:
                    worker.observe(seq, events)
            worker.attach(crash.core.engine, crash.core.sequencer)
            task = asyncio.create_task(worker.run())
            await settle(crash, worker, len(crash.events))
            assert await worker.difference() == {"BTC": 0, "ETH": 0, "USDC": 0}
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert crash.core.engine.audit() == []
    kinds = [kind for kind, _ in crash_events(crash)]
    assert kinds.count(EventKind.FUND_DRAWN) > 3
    crash.close()
    # the journal holds the grants and settlements as commands: replay needs no fund
    again = Core.open(DataDirectory.open(tmp_path / "data"), lambda last_ns: lambda: last_ns)
    assert again.engine.ledger("BTC") == crash.core.engine.ledger("BTC")
    again.close(checkpoint=False)


def test_every_movement_of_the_fund_in_the_ledger_is_an_operation(tmp_path: Path) -> None:
    crash = Crash(tmp_path / "data")
    crash.begin()
    total: dict[int, int] = {}
    for seq, events in crash.events:
        for one in operations(seq, [(kind, fields) for kind, fields, _ in decode(events)]):
            assert one.kind == "endow"
            total[one.currency] = total.get(one.currency, 0) + one.amount_minor
    config = crash.core.engine.config
    funds = [crash.core.engine.ledger(currency.name)["fund"] for currency in config.currencies]
    assert [total[number] for number in range(len(funds))] == funds
    crash.close()


def test_an_unreadable_cursor_repeats_everything(tmp_path: Path) -> None:
    path = tmp_path / "fund.cursor"
    assert read_cursor(path) == 0
    path.write_text("12")  # torn: no end of line
    assert read_cursor(path) == 0
    path.write_text("12\n")
    assert read_cursor(path) == 12
    assert Engine().config is None
