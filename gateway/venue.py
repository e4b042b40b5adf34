"""The composition root: data directory, engine, journal, gateway, feed and fund worker of one venue."""

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from exchange.engine import Engine
from exchange.ports import JournalFull
from gateway import population
from gateway.adaptive_replay import AdaptiveReplay
from gateway.admin import AdminServer, check_path
from gateway.credentials import Credential, CredentialStore
from gateway.defaults import load_setup
from gateway.feeds import ComposedFeed
from gateway.gateway import Gateway, require_secure
from gateway.liquidator import FundWorker
from gateway.news import News
from gateway.recorder import Recorder
from gateway.settings import DEFAULTS
from gateway.status import Status
from gateway.venue_bots import Bots
from gateway.venue_clock import VenueClock
from gateway.venue_commit import CommitLoop
from gateway.venue_core import (
    ADMIN_SOCKET,
    CURSOR_FILE,
    Core,
    InvariantBroken,
    VenueError,
    VenueRecord,
    write_venue_record,
)
from gateway.venue_feed import Pump, open_feed
from gateway.venue_fund import FundServer
from gateway.venue_setup import (
    Options,
    check_unchanged,
    complete_record,
    create_keys,
    find_record,
    first_start,
    is_loopback,
)
from persistence.data_dir import DataDirectory
from persistence.errors import JournalError
from persistence.history import History
from persistence.redis_access import RedisAccess

log = logging.getLogger("gateway.venue")
STOP_SECONDS = 10.0
FATAL = (InvariantBroken, JournalError)


class Venue:
    """Start, run, stop. `failure` says why a venue stopped by itself."""

    def __init__(self, options: Options, status: Status):
        self.options, self.status = options, status
        self.stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self.temporary = options.data_dir is None
        self.root = Path(tempfile.mkdtemp(prefix="margrave-")) if options.data_dir is None else options.data_dir
        self.ws = self.http = ""
        self.keys: list[dict[str, str]] = []
        self._starting = True
        self.fund_server: FundServer | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._closing = contextlib.AsyncExitStack()

    # start

    async def start(self) -> None:
        """Everything up to answering clients. VenueError, ConfigurationError, Insecure, PersistenceError."""
        options, say = self.options, self.status.progress
        try:
            admin_socket = check_path(self.root.absolute() / ADMIN_SOCKET)
        except ValueError as error:
            raise VenueError(f"{error}: choose a data directory with a shorter path") from None
        directory = DataDirectory.open(self.root)
        try:
            record, fresh = find_record(directory, options)
            setup = load_setup(options.config, record.venue_id, record.feed.speed)
            if fresh:
                record = complete_record(record, setup)
            speed = record.feed.speed if options.speed is None else options.speed
            feed = open_feed(record.feed, speed)
            wall_clock = record.feed.kind == "sim" and speed == 1.0
            access = self._fund_server(directory)
            self.worker = FundWorker(
                access, directory.epoch, directory.path / CURSOR_FILE, self.submit, on_fenced=self.fail
            )
            history = History.open(directory.history, directory.journal)
            self._closing.callback(history.close)
            self.recorder = Recorder(Engine(), history)
            adaptive = AdaptiveReplay(self.recorder.engine)
            core = Core.open(
                directory,
                lambda last_ns: VenueClock(max(last_ns or feed.start_time_ns, _wall_ns(wall_clock)), speed),
                durability=options.durability,
                progress=say,
                on_events=self._observe_replay,
                events_from_seq=min(self.worker.cursor, history.covered[0]) + 1,
                engine=self.recorder.engine,
                follow=adaptive,
            )
        except BaseException:
            await self._closing.aclose()
            directory.close()
            raise
        self._closing.callback(self._close_core, core)
        self.core, self.engine, self.sequencer = core, core.engine, core.sequencer
        core.sequencer.subscribe(self._observe_starting)
        self.recorder.end_replay()
        self.recorder.follow(core.sequencer)
        self._closing.callback(self.recorder.close)
        try:
            self.clock: VenueClock = core.sequencer.clock
            self.pump = Pump(core.engine, feed, self.clock, self._submit_starting, adaptive.margins)
            self.credentials = CredentialStore(directory.path)
            require_secure(options.host, self.credentials, options.tls)
            if fresh:
                first_start(core, self.pump, feed, setup, record.feed.seed, self.status.progress)
                create_keys(core, self.credentials, is_loopback(options.host))
            else:
                check_unchanged(core, setup, options, speed)
                self.pump.resume(max(self.clock(), core.engine.time_ns))
            core.journal.sync()
            self.recorder.flush()
            if self.recorder.history.behind:
                say("writing the history")
            self.recorder.history.drain()
            if fresh:
                record.populated = True
                write_venue_record(directory.path, record)
            self.clock.restart(max(core.engine.time_ns, _wall_ns(wall_clock)))
            await self._open_doors(record, admin_socket)
        except BaseException:
            await self._closing.aclose()
            raise

    def _fund_server(self, directory: DataDirectory) -> RedisAccess | None:
        """How the venue's own worker reaches the fund; None where another process does."""
        if self.options.redis is not None or self.options.liquidator == "process":
            return self.options.redis
        self.fund_server = FundServer(directory)
        self._closing.callback(self.fund_server.stop)
        return self.fund_server.access

    async def _open_doors(self, record: VenueRecord, admin_socket: Path) -> None:
        """Serve clients and administrators, then let time run."""
        options = self.options
        settings = msgspec.structs.replace(DEFAULTS, rate_profile=options.rate_limits)
        self.gateway = Gateway(
            self.engine,
            self.sequencer,
            self.credentials,
            settings,
            fatal_errors=FATAL,
            on_fatal=self.fail,
            recorder=self.recorder,
        )
        commit = CommitLoop(self.core.journal, self.sequencer, self.gateway.fail)
        commit.start()
        self._closing.callback(self._stop_commit, commit)
        self._starting = False
        self.worker.attach(self.engine, self.sequencer)
        self.gateway.projection.listeners.append(self._observe)
        self.pump.use(self.submit)
        port = await self.gateway.start(options.host, options.port, options.tls)
        self._closing.push_async_callback(self.gateway.stop)
        admin = AdminServer(self.gateway, admin_socket)
        await admin.start()
        self._closing.push_async_callback(admin.stop)
        secure = "s" if options.tls else ""
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.ws = f"ws{secure}://{host}:{port}/ws/api/v2"
        self.http = f"http{secure}://{host}:{port}"
        self.keys = [_key(one) for one in self.credentials.all() if one.name in population.KEYED]
        self.gateway.fund_books = self.worker.desk
        self.gateway.adaptive = self.pump.adaptive
        if isinstance(self.pump.feed, ComposedFeed):
            self.gateway.index_feed = self.pump.feed
        if options.liquidator == "process":
            self.gateway.fund_desk = self.worker.desk
        else:
            self._spawn(self.worker.run())
        if self.fund_server is not None:
            self._spawn(self.fund_server.run(self.worker.reach))
        self._spawn(self.pump.run())
        self._closing.push_async_callback(self._end_tasks)
        if options.bots:
            log_file = self.core.directory.path / "bots.log"
            self._spawn(Bots(self.ws, self.keys, record.feed.seed, log_file).run(), vital=False)

    # commands

    def _observe(self, news: News) -> None:
        if news.facts:
            self.worker.observe_facts(news.seq, news.facts)

    def _observe_replay(self, seq: int, events: bytes) -> None:
        if seq > self.worker.cursor:
            self.worker.observe(seq, events)
        self.recorder.replayed(seq, events)

    def _observe_starting(self, seq: int, events: bytes) -> None:
        """Until the gateway decodes events for everybody."""
        if self._starting:
            self.worker.observe(seq, events)

    def _submit_starting(self, record: bytearray) -> bytes:
        return self.core.submit(record)

    def submit(self, record: bytearray) -> bytes | None:
        """Apply a command of feed or worker; None where the journal is full or the venue has stopped."""
        if self.gateway.failure is not None:
            return None
        try:
            return self.sequencer.submit(record)
        except JournalFull:
            return None
        except FATAL as error:
            self.gateway.fail(error)
            return None

    # run and stop

    def _spawn(self, work: Any, vital: bool = True) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)

        def ended(done: asyncio.Task[Any]) -> None:
            if done.cancelled() or done.exception() is None:
                return
            log.error("a task of the venue failed", exc_info=done.exception())
            if vital:
                self.fail(done.exception() or RuntimeError("failed"))

        task.add_done_callback(ended)

    def fail(self, error: BaseException) -> None:
        """Stop the venue and say why."""
        if self.failure is None:
            self.failure = error
        self.stopping.set()

    async def run(self) -> None:
        """Show the status until told to stop."""
        told_end = False
        while not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.status.period_seconds):
                    await self.stopping.wait()
            if not self.stopping.is_set():
                self.status.show(self.engine, self.sequencer, self.worker.waiting)
            if self.pump.finished and not told_end:
                told_end = True
                self.status.say("the recorded path has ended: its last prices are held from now on")

    async def stop(self) -> None:
        """Close the doors, let the fund's operations finish, checkpoint, sync."""
        await self._closing.aclose()

    async def _end_tasks(self) -> None:
        if self.failure is None:
            await self.worker.drained(2.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        self.worker.desk.queue.close()

    def _stop_commit(self, commit: CommitLoop) -> None:
        if not isinstance(self.failure, JournalError):
            if self.engine.broken is None:
                self.sequencer.checkpoint()
            commit.stop()

    def _close_core(self, core: Core) -> None:
        try:
            core.close(checkpoint=False)
        except JournalError as error:
            self.fail(error)


def _wall_ns(use: bool) -> int:
    """Real time where the venue's clock is the wall's, else 0."""
    return time.time_ns() if use else 0


def _key(credential: Credential) -> dict[str, str]:
    return {"name": credential.name, "client_id": credential.client_id, "client_secret": credential.secret}
