"""A venue of one process for a script: the real engine, sequencer and journal on a data directory, the real fund on the
embedded server, and the real fund worker between them. Venue time is turned by the script."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exchange import commands
from exchange.config import Config
from exchange.engine import Engine
from exchange.sequencer import Sequencer
from gateway.liquidator import FundWorker
from gateway.venue_core import CURSOR_FILE, Core
from loadtest.scenarios.market import START_NS
from persistence.data_dir import DataDirectory
from persistence.embedded_redis import EmbeddedRedis

DRAIN_TURNS = 200_000


class Scratch:
    """An engine without a journal, to find out what the positions need."""

    durable_seq = 0

    def __init__(self, config: Config) -> None:
        self.now_ns = START_NS
        self.engine = Engine()
        self.sequencer = Sequencer(self.engine, self, lambda: self.now_ns)
        self.submit = self.sequencer.submit
        self.submit(commands.cold(commands.CommandKind.GENESIS, config))

    def append(self, record: bytes | bytearray | memoryview) -> None:
        """Forgets the record."""

    def kick(self) -> None:
        """Nothing waits."""


class ScenarioVenue:
    """Commands in, events out, with the fund answering between commands as soon as it is asked."""

    def __init__(self, directory: Path, config: Config, fund_server: EmbeddedRedis) -> None:
        self.now_ns = START_NS
        self._loop = asyncio.new_event_loop()
        self.core = Core.open(DataDirectory.open(directory), lambda last_ns: lambda: self.now_ns, durability="os")
        self.engine = self.core.engine
        self.core.genesis(config)
        self.worker = FundWorker(
            fund_server.url, self.core.directory.epoch, directory / CURSOR_FILE, self.submit, self._fenced
        )
        self.worker.attach(self.engine, self.core.sequencer)
        self.core.sequencer.subscribe(self.worker.observe)
        self.on_command: Callable[[bytearray], Callable[[bytes], None] | None] = lambda record: None
        """Sees each record before it is applied; what it returns sees the events."""
        self._task = self._loop.create_task(self.worker.run())

    @staticmethod
    def _fenced(error: Exception) -> None:
        raise error

    def submit(self, record: bytearray) -> bytes:
        """Apply one command now."""
        after = self.on_command(record)
        events = self.core.submit(record)
        if after is not None:
            after(events)
        return events

    def settle(self) -> None:
        """Make everything durable and let the fund worker work off what follows from it."""
        for _ in range(DRAIN_TURNS):
            self.core.journal.sync()
            self.core.sequencer.release()
            if not self.worker.waiting:
                return
            self._loop.run_until_complete(self._turn())
        raise RuntimeError("the insurance fund does not come to rest")

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self._task.done():
            self._task.result()
        if self.worker.waiting:
            await asyncio.sleep(0.0001)

    def fund_difference(self) -> dict[str, int]:
        """The fund's record of this venue less the ledger's, by currency."""
        return self._loop.run_until_complete(self.worker.difference())

    def close(self) -> None:
        """End the worker and close the journal."""
        self._task.cancel()
        self._loop.run_until_complete(asyncio.gather(self._task, return_exceptions=True))
        self._loop.close()
        self.core.close()


def fund_total_usd_e4(engine: Any, usd_e4: Callable[[int, int], int]) -> int:
    """The venue's claim on the fund over all currencies at the current index."""
    return sum(
        usd_e4(number, int(engine.ledger(currency.name)["fund"]))
        for number, currency in enumerate(engine.config.currencies)
    )
