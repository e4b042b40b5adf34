"""A small venue in default: real engine, journal, fund and worker, and faults at any step between them.

Three owners default under a falling index: one is taken by a bidder paid by capital and fund, one is sold while solvent
(its fee goes to the fund), one nobody wants and is deleveraged. Whatever dies on the way, the world goes on until
nothing is in flight.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from gateway import records
from gateway.fund_queue import operations
from gateway.liquidator import FundWorker
from gateway.reconcile import Books, audit, reconcile
from gateway.records import decode
from gateway.venue_core import Core
from persistence.data_dir import DataDirectory
from persistence.embedded_redis import EmbeddedRedis
from persistence.insurance_fund import FundUnavailable, InsuranceFund
from tests.driver import COIN, SECOND, START_NS, make_config, perpetual

NAME = "BTC-PERPETUAL"
PATH = ((0, 100_000), (4, 93_000), (8, 86_500), (12, 80_000), (20, 75_000), (60, 74_000), (90, 76_000))
"""(from second, index)."""
STEP_SECONDS = 2
STEPS_MAX = 600
VENUE = "crash-venue"
E = EventKind
WATCHED = frozenset(
    {
        E.LEVEL_CHANGED, E.LIQUIDATION_STARTED, E.AUCTION_OPENED, E.AUCTION_PHASE_CHANGED, E.BID_ACCEPTED,
        E.AUCTION_LOT_SOLD, E.FUND_LEASE_REQUESTED, E.FUND_LEASE_GRANTED, E.CAPITAL_DRAWN, E.FUND_DRAWN,
        E.POSITION_DELEVERAGED, E.DEFAULT_COVERED, E.AUCTION_CLOSED, E.LIQUIDATION_ENDED, E.FUND_LEASE_SETTLED,
    }
)  # fmt: skip
KINDS = (
    "worker", "venue", "venue after sync", "venue and server", "server", "lost reply", "twice", "away", "jump", "back",
)  # fmt: skip
"""worker: its task ends there. venue: it dies with what was not synced; or just after a sync; or with the server.
server: kill -9 and a new one. lost reply: the call fails after it was done. twice: every call reaches the fund twice.
away: no server for five minutes of venue time. jump, back: the clock leaps three hours ahead, two minutes back."""


class Died(BaseException):
    """A process is gone; nothing of it runs on."""


VENUE_DIES = ("venue", "venue after sync", "venue and server")
CALLS = ("endow", "credit", "reserve", "top_up", "settle")


@dataclass(frozen=True)
class Step:
    """A place between two things that must not be torn: `moment` is before or after `name`."""

    name: str
    moment: str

    def __str__(self) -> str:
        return f"{self.moment} {self.name}"

    def bears(self, kind: str) -> bool:
        """Whether a fault can strike here: a reply is lost after a call; the cursor is the venue's."""
        if kind == "lost reply":
            return self.moment == "after" and self.name in CALLS
        return kind != "worker" or self.name != "cursor"


class World:
    """One run. `steps` fills with every step passed; at the n-th (from 0) strikes what `faults` has for n."""

    def __init__(self, root: Path, faults: dict[int, str], venue_id: str = VENUE, shared: "World | None" = None):
        """`shared`: the world whose server this one uses."""
        self.root, self.faults, self.venue_id, self.shared = root, faults, venue_id, shared
        self.steps: list[Step] = []
        self.struck: list[str] = []
        """Which faults struck where."""
        self.counts: dict[str, int] = {}
        self.dying = False
        self.life = 0
        self.now_ns = START_NS
        self.redis_root: Path = shared.redis_root if shared else root / "redis"
        self.server: EmbeddedRedis | None = None if shared else EmbeddedRedis.start(self.redis_root)
        self.away_steps = 0
        self.core: Core
        self.worker: FundWorker
        self.task: asyncio.Task[Any] | None = None
        self.accounts: dict[str, int] = {}

    # the venue

    def directory(self) -> Path:
        return self.root / f"venue-{self.life}"

    def open(self) -> None:
        """A start: replay, worker behind its cursor."""
        directory = DataDirectory.open(self.directory())
        url = "unix://" + str(self.redis_root / "valkey.sock")
        self.worker = FundWorker(url, directory.epoch, self.directory() / "fund.cursor", self.submit, in_memory=2)
        self.core = Core.open(
            directory, lambda last_ns: lambda: self.now_ns, durability="os",
            on_events=self.worker.observe, events_from_seq=self.worker.cursor + 1,
        )  # fmt: skip
        self.core.sequencer.subscribe(self.worker.observe)

    def begin(self) -> None:
        """Genesis, accounts, positions, capital and a fund that will not do."""
        self.open()
        liquidation = config.Liquidation(
            insolvent_ns=40 * SECOND, lease_wait_ns=15 * SECOND, fast_ns=20 * SECOND, slow_ns=40 * SECOND,
            fund_event_cap_ppm=700_000, lease_stress_ppm=20_000,
        )  # fmt: skip
        self.core.genesis(make_config(venue_id=self.venue_id, liquidation=liquidation, checkpoint_every=40))
        self.core.demand(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((perpetual(),)))
        for name, coins in (("alice", 1), ("dora", 1), ("erin", 1), ("bob", 200), ("carol", 200)):
            self.core.demand(CommandKind.CREATE_ACCOUNT, config.CreateAccount(name))
            account = self.accounts[name] = self.core.engine.account_id(name)
            self.core.demand(CommandKind.DEPOSIT, config.Transfer("BTC", coins * COIN), account)
        self.core.demand(CommandKind.ENDOW_FUND, config.Transfer("BTC", round(0.45 * COIN)))
        self.core.demand(CommandKind.ENDOW_CAPITAL, config.Transfer("BTC", round(0.05 * COIN)))
        self.marks()
        for name, lots in (("alice", 45_000), ("dora", 41_000), ("erin", 45_000)):
            for account, side in ((self.accounts["bob"], 1), (self.accounts[name], 0)):
                fields = {"instrument": 0, "side": side, "price_units": 200_000, "quantity_lots": lots}
                self.core.submit(commands.record(CommandKind.PLACE_ORDER, account, **fields))
        self.flush()
        self.worker.attach(self.core.engine, self.core.sequencer)

    def submit(self, record: bytearray) -> bytes:
        """A command, with the steps that it makes of its events."""
        events = self.core.submit(record)
        names = dict.fromkeys(EventKind(kind).name for kind, _, _ in decode(events) if kind in WATCHED)
        if names and self.task is not None:
            self.step(" ".join(names), "after")
        return events

    def flush(self) -> None:
        """Make everything durable and let what waited for it go."""
        self.core.journal.sync()
        self.core.sequencer.release()

    def marks(self) -> None:
        second = (self.now_ns - START_NS) / SECOND
        index = next((price for start, price in reversed(PATH) if start <= second), PATH[0][1])
        self.submit(commands.update_marks(0, index * 10**8, self.now_ns, [], []))

    # faults

    def step(self, name: str, moment: str) -> None:
        """A step is passed; a fault may strike here."""
        step = Step(name, moment)
        self.steps.append(step)
        kind = self.faults.get(len(self.steps) - 1, "")
        if not kind or self.dying or not step.bears(kind):
            return
        self.struck.append(f"{kind} {step}")
        if kind in ("server", "venue and server", "away") and self.server is not None:
            self.kill_server()
            if kind == "server":
                self.server = EmbeddedRedis.start(self.redis_root)
            elif kind == "away":
                self.away_steps = 150
        if kind == "venue after sync":
            self.core.journal.sync()
        if kind in VENUE_DIES:  # what the next life finds is what is there at this moment
            shutil.copytree(self.directory(), self.root / f"venue-{self.life + 1}")
        if kind == "worker" or kind in VENUE_DIES:
            self.dying = True
            raise Died(kind)
        if kind == "lost reply":
            raise FundUnavailable("UNAVAILABLE", "the reply got lost")
        if kind == "jump":
            self.now_ns += 3 * 3_600 * SECOND
        if kind == "back":
            self.now_ns -= 120 * SECOND

    def kill_server(self) -> None:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()
        self.server = None

    def watch(self) -> None:
        """Put steps around whatever the worker does to the fund and to the venue."""
        worker, desk = self.worker, self.worker.desk

        def around(owner: Any, attribute: str, name: str) -> None:
            inner = getattr(owner, attribute)

            async def call(*arguments: Any) -> Any:
                self.step(name, "before")
                answer = await inner(*arguments)
                self.step(name, "after")
                return answer

            setattr(owner, attribute, call)

        for attribute in ("grant", "settled", "done"):
            around(desk, attribute, attribute)
        confirmed = type(desk.queue).confirmed

        def cursor(seq: int) -> None:
            self.step("cursor", "before")
            confirmed(desk.queue, seq)
            self.step("cursor", "after")

        desk.queue.confirmed = cursor
        opened = worker.open

        async def open_fund() -> InsuranceFund:
            fresh = worker.fund is None
            fund = await opened()
            if fresh:
                write = fund._write

                async def watched(function: str, *words: str) -> list[str]:
                    self.step(function, "before")
                    answer = await write(function, *words)
                    if "twice" in self.faults.values():
                        again = await write(function, *words)
                        assert again == answer, (function, words, again, answer)
                    self.step(function, "after")
                    return answer

                fund._write = watched
            return fund

        worker.open = open_fund

    # a run

    async def run(self) -> None:
        """From the first start until nothing is in flight, through whatever strikes."""
        self.begin()
        self.start_worker()
        try:
            for _ in range(STEPS_MAX):
                try:
                    await self.turn()
                except Died as gone:
                    await self.restart(gone)
                if self.quiet():
                    break
            else:
                raise AssertionError(f"still in flight: {self.core.engine.auctions()} {self.core.engine.leases()}")
        finally:
            await self.end_worker()

    def start_worker(self) -> None:
        self.watch()
        self.task = asyncio.get_running_loop().create_task(self.worker.run())

    async def end_worker(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Died):
                await self.task
            self.task = None

    async def turn(self) -> None:
        """Two venue seconds: marks, a tick, bids; then what became durable is worked off."""
        self.now_ns += STEP_SECONDS * SECOND
        if self.away_steps:
            self.away_steps -= 1
            if self.away_steps == 0:
                self.server = EmbeddedRedis.start(self.redis_root)
        self.marks()
        self.submit(commands.record(CommandKind.TICK))
        self.bids()
        self.flush()
        # as long as the worker gets on, or for a moment where the server is away
        for _ in range(3 if self.away_steps else 400):
            await asyncio.sleep(0.0005)
            self.flush()
            assert self.task is not None
            if self.task.done():
                self.task.result()
            if not self.worker.waiting:
                return

    def bids(self) -> None:
        """Carol takes dora's at a discount, and alice's when she is paid to; nobody wants erin's."""
        for auction in self.core.engine.auctions():
            alice, erin = self.accounts["alice"], self.accounts["erin"]
            if auction.bids or auction.account_id == erin or (auction.account_id == alice and auction.phase == 1):
                continue
            fields = {"auction_id": auction.auction_id, "phase": auction.phase, "share_ppm": 1_000_000}
            self.submit(records.place_bid(account_id=self.accounts["carol"], limit_minor=auction.price_minor, **fields))

    async def restart(self, gone: Died) -> None:
        """The worker alone, or the venue from what its directory held at that moment."""
        kind, self.dying = str(gone), False
        if kind == "worker":
            # its process is gone, the venue's queue and cursor are as they were
            await self.end_worker()
            desk = self.worker.desk
            for attribute in ("grant", "settled", "done"):
                desk.__dict__.pop(attribute, None)
            desk.attachment += 1
            del self.worker.__dict__["open"]
            self.worker.fund = None
        else:
            old, self.life = self.core, self.life + 1
            await self.end_worker()
            old.close(checkpoint=False)
            self.open()
            self.worker.attach(self.core.engine, self.core.sequencer)
        if self.server is None and not self.away_steps and not self.shared:
            self.server = EmbeddedRedis.start(self.redis_root)
        self.start_worker()

    def quiet(self) -> bool:
        """Nothing is in flight and the fall is over."""
        engine = self.core.engine
        past = self.now_ns - START_NS > (PATH[-1][0] + 10) * SECOND and not self.away_steps and not self.dying
        return bool(past and not engine.auctions() and not engine.leases() and not self.worker.waiting)

    # what must hold

    async def check(self) -> dict[str, int]:
        """Ledger, fund and auctions agree to the unit; nothing was drawn twice, nobody is stuck."""
        engine = self.core.engine
        assert engine.audit() == []
        stuck = [name for name, account in self.accounts.items() if engine.account(account).in_liquidation]
        assert stuck == []
        async with await InsuranceFund.open(f"unix://{self.redis_root / 'valkey.sock'}", "reader", 1) as fund:
            state = await fund.state("BTC")
            history = [entry async for entry in fund.history() if entry.venue_id == self.venue_id]
            assert await fund.leases() == [] and (await audit(fund)).faults == []
            report, _ = await reconcile(fund, self.books())
        assert report.faults == report.on_the_way == [] and report.agrees
        claim = engine.ledger("BTC")["fund"]
        assert state.claims_minor.get(self.venue_id) == claim
        assert (state.free_minor, state.leased_minor) == (sum(state.claims_minor.values()), 0)
        found = self.journal_says()
        assert found["asked"] == {(one.kind, one.operation_id): one.amount_minor for one in history if one.kind in KEPT}
        settled = {one.operation_id: one.amount_minor for one in history if one.kind == "settle"}
        assert settled == {name: used for name, used in found["settled"].items() if used or name in settled}
        assert {name: used for name, used in found["drawn"].items() if used} == {n: u for n, u in settled.items() if u}
        return found["counts"]

    def books(self) -> Books:
        """This venue's side."""
        desk = self.worker.desk
        waiting = desk.queue.waiting(10**6)
        return Books(self.venue_id, desk.currencies, desk.claims_now(), self.core.engine.leases(), waiting)

    def journal_says(self) -> dict[str, Any]:
        """What the journal alone tells of the fund: money put in, leases drawn and settled; counts of events."""
        asked: dict[tuple[str, str], int] = {}
        drawn: dict[str, int] = {}
        settled: dict[str, int] = {}
        counts: dict[str, int] = {}

        def seen(seq: int, events: bytes) -> None:
            facts = [(kind, fields) for kind, fields, _ in decode(events)]
            for one in operations(seq, facts):
                if one.kind in KEPT:
                    asked[one.kind, one.operation_id] = one.amount_minor
            for kind, fields in facts:
                counts[EventKind(kind).name] = counts.get(EventKind(kind).name, 0) + 1
                if kind == EventKind.FUND_DRAWN:
                    name = f"lease-{fields.lease_id}"
                    drawn[name] = drawn.get(name, 0) + fields.amount_minor
                if kind == EventKind.FUND_LEASE_SETTLED:
                    assert f"lease-{fields.lease_id}" not in settled
                    settled[f"lease-{fields.lease_id}"] = fields.amount_minor

        digest = self.core.engine.state_digest()
        self.core.close(checkpoint=False)
        again = Core.open(DataDirectory.open(self.directory()), lambda last_ns: lambda: last_ns, on_events=seen)
        assert again.engine.state_digest() == digest
        again.close(checkpoint=False)
        return {"asked": asked, "drawn": drawn, "settled": settled, "counts": counts}

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()


KEPT = ("endow", "credit")


def play(root: Path, faults: dict[int, str] | None = None) -> World:
    """One run, checked."""

    async def whole() -> None:
        await world.run()
        world.counts = await world.check()

    world = World(root, faults or {})
    try:
        asyncio.run(whole())
    finally:
        world.close()
    return world
