"""A whole venue for tests: the real engine, sequencer, journal and gateway, its loop on a thread of its own.

Plain synchronous clients (raw sockets, ccxt, `websockets.sync`) can then be used from a test as they are.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import LOGIC_VERSION, Engine, InvariantBroken
from exchange.sequencer import Sequencer
from gateway.admin_accounts import CreateAccount, Key, create_account
from gateway.credentials import FULL_SCOPES, CredentialStore
from gateway.gateway import Gateway
from gateway.recorder import Recorder
from gateway.settings import Settings
from persistence.history import History
from persistence.journal import Journal

E8 = 100_000_000
EXPIRY_NS = int(datetime(2030, 12, 27, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
PERPETUAL, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
FUTURE, CALL, PUT = "BTC-27DEC30", "BTC-27DEC30-100000-C", "BTC-27DEC30-100000-P"
INDEX = 100_000


def _option(name: str, option_type: str) -> config.Instrument:
    return config.Instrument(
        name=name,
        kind="option",
        underlying="BTC",
        settlement="BTC",
        inverse=True,
        price_unit_e8=10_000,
        lot_size_e8=10_000_000,
        tick_steps=(config.TickStep(0, 1), config.TickStep(50, 5)),
        expiry_ns=EXPIRY_NS,
        strike_e8=100_000 * E8,
        option_type=option_type,
        max_price_units=262_143,
        fees=config.Fees(maker_ppm=300, taker_ppm=300),
    )


def _future(name: str, settlement: str, expiry_ns: int, inverse: bool) -> config.Instrument:
    return config.Instrument(
        name=name,
        kind="future" if expiry_ns else "perpetual",
        underlying="BTC",
        settlement=settlement,
        inverse=inverse,
        price_unit_e8=50_000_000,
        lot_size_e8=10 * E8 if inverse else 100_000,
        expiry_ns=expiry_ns,
        fees=config.Fees(maker_ppm=0, taker_ppm=500),
    )


CONFIG = config.Config(
    currencies=(
        config.Currency("BTC", 10, underlying="BTC"),
        config.Currency("USDC", 6),
    ),
    underlyings=(config.Underlying("BTC", "btc_usd", mark_stale_ns=3_600 * 10**9, mark_halt_ns=3_600 * 10**9),),
    instruments=(
        _future(PERPETUAL, "BTC", 0, True),
        _future(FUTURE, "BTC", EXPIRY_NS, True),
        _future(LINEAR, "USDC", 0, False),
        _option(CALL, "call"),
        _option(PUT, "put"),
    ),
)


class Core:
    """Engine, sequencer and journal in a directory."""

    def __init__(self, directory: Path, clock: Callable[[], int] = time.time_ns, **journal: int):
        self.engine = Engine()
        (directory / "journal").mkdir(parents=True, exist_ok=True)
        self.journal = Journal(directory / "journal", commands.RECORD_VERSION, LOGIC_VERSION, 1, **journal)
        self.sequencer = Sequencer(self.engine, self.journal, clock)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop pass on what the journal made durable."""
        loop.add_reader(self.journal.fileno(), self._durable)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have nobody notice what becomes durable."""
        loop.remove_reader(self.journal.fileno())

    def _durable(self) -> None:
        self.journal.on_durable()
        self.sequencer.release()

    def close(self) -> None:
        """Stop the journal's writer."""
        self.journal.close()


def build_gateway(
    core: Core,
    directory: Path,
    settings: Settings,
    wall_ns: Callable[[], int] = time.time_ns,
    recorder: Recorder | None = None,
) -> Gateway:
    """A gateway on a fresh engine with the instruments of CONFIG and marks around INDEX."""
    core.sequencer.submit(commands.cold(CommandKind.GENESIS, CONFIG))
    gateway = Gateway(
        core.engine,
        core.sequencer,
        CredentialStore(directory),
        settings,
        wall_ns,
        fatal_errors=(InvariantBroken,),
        recorder=recorder,
    )
    publish(gateway, INDEX)
    return gateway


def publish(gateway: Gateway, index: float, vol_e6: int = 600_000, also: int = 0) -> None:
    """Marks around an index: forwards at the index (for the expiry `also` too), one volatility."""
    price_e8 = round(index * E8)
    vols = np.array([(slot, vol_e6) for slot, _, _ in gateway.engine.pairs(0)], dtype=commands.VOL_ENTRY)
    forwards = [(expiry_ns, price_e8) for expiry_ns in sorted({EXPIRY_NS, also} - {0})]
    source_ns = gateway.sequencer.clock()
    gateway.submit(commands.update_marks(0, price_e8, source_ns, forwards, vols))


def open_account(
    gateway: Gateway, name: str, btc: str = "10", usdc: str = "1000000", scopes: tuple[str, ...] = FULL_SCOPES
) -> "Account":
    """Create and fund an account with a key."""
    deposits = {currency: amount for currency, amount in (("BTC", btc), ("USDC", usdc)) if amount != "0"}
    return Account(create_account(gateway, CreateAccount(name=name, deposits=deposits, key=Key(scopes=scopes))))


class Account:
    """A funded account with its key."""

    def __init__(self, made: dict[str, Any]):
        self.account_id = made["account_id"]
        self.client_id, self.secret = made["keys"][0]["client_id"], made["keys"][0]["client_secret"]


class Venue:
    """A running gateway on a free port of the loopback, with accounts alice and bob."""

    def __init__(self, directory: Path, settings: Settings | None = None, tls: ssl.SSLContext | None = None):
        self._directory, self._settings, self._tls = directory, settings or Settings(), tls
        self._loop = uvloop.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        """What the event loop had to report: nobody's code may fail unnoticed."""
        self._loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.core: Core
        self.gateway: Gateway
        self.port = self._await(self._start())
        self.http, self.ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}/ws/api/v2"
        self.alice, self.bob = self.account("alice"), self.account("bob")

    async def _start(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.core = core = Core(self._directory)
        core.attach(asyncio.get_running_loop())
        self.recorder = Recorder(core.engine, History.open(self._directory))
        self.recorder.follow(core.sequencer)
        self.gateway = build_gateway(core, self._directory, self._settings, recorder=self.recorder)
        return await self.gateway.start("127.0.0.1", 0, self._tls)

    def publish(self, index: float) -> None:
        """New marks around an index."""
        self.run(lambda: publish(self.gateway, index))

    def account(self, name: str, **funding: Any) -> Account:
        """Create and fund an account."""
        return self.run(lambda: open_account(self.gateway, name, **funding))

    def run(self, action: Callable[[], Any]) -> Any:
        """Call `action` on the loop's thread and return what it returns."""
        done: Future[Any] = Future()

        def call() -> None:
            try:
                done.set_result(action())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return done.result(30)

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stall(self, stalled: bool) -> None:
        """Whether completions of the journal go unnoticed."""
        change = self.core.detach if stalled else self.core.attach
        self.run(lambda: change(self._loop))

    def digest(self) -> bytes:
        """The engine's state digest."""
        return self.run(self.core.engine.state_digest)

    def close(self) -> None:
        """Stop everything."""
        self._await(self.gateway.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.recorder.close()
        self.core.close()
        if self.faults:
            raise RuntimeError(f"unhandled errors on the loop: {self.faults}")

    def __enter__(self) -> "Venue":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
