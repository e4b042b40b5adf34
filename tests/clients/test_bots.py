"""The house bots as a process of their own against a real venue: calm, crash, liquidation, lost links."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from exchange import commands
from exchange.commands import CommandKind, OrderType, Side, TimeInForce
from loadtest import bench_gateway
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, PUT, Account, Venue, publish

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 30.0


class Market:
    """A venue whose clock ticks and whose index follows `index`, with an account for each bot."""

    def __init__(self, directory: Path):
        self.venue = Venue(directory)
        self.index = float(INDEX)
        self.bots = {name: self.venue.account(name, btc="100") for name in ("maker", "taker", "liquidator")}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        while not self._stop.wait(0.1):
            self.venue.run(self._step)

    def _step(self) -> None:
        publish(self.venue.gateway, self.index)
        self.venue.gateway.submit(commands.record(CommandKind.TICK))

    @property
    def engine(self) -> Any:
        return self.venue.core.engine

    def read(self, question: Callable[[Any], Any]) -> Any:
        """Ask the engine on its own thread."""
        return self.venue.run(lambda: question(self.engine))

    def wait(self, what: str, question: Callable[[Any], Any], seconds: float = WAIT_S) -> Any:
        """Until the engine's answer is true; returns it."""
        deadline = time.monotonic() + seconds
        while not (answer := self.read(question)):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.05)
        return answer

    def orders_of(self, name: str) -> list[Any]:
        return self.read(lambda engine: engine.open_orders(self.bots[name].account_id))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert self.read(lambda engine: engine.audit()) == []
        self.venue.close()


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    opened = Market(tmp_path)
    yield opened
    opened.close()


class Bots:
    """The process of the house bots; its progress lines are kept."""

    def __init__(self, market: Market, *arguments: str):
        keys = [
            {"name": name, "client_id": one.client_id, "client_secret": one.secret} for name, one in market.bots.items()
        ]
        command = [
            sys.executable,
            "-m",
            "loadtest.bots",
            "--url",
            market.venue.ws,
            "--report",
            "0.5",
            *arguments,
        ]
        environment = os.environ | {"MARGRAVE_BOT_KEYS": json.dumps(keys)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def progress(self) -> dict[str, Any]:
        """The last line of progress."""
        return json.loads(next(line for line in reversed(self.lines) if line.startswith("{")))

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10)
        self._reader.join(5)
        return status

    def __enter__(self) -> "Bots":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self.process.stderr is not None:
            self._reader.join(5)
            self.process.stderr.close()


def two_sided(name: str) -> Callable[[Any], bool]:
    """Whether an instrument has a best bid and a best ask."""

    def question(engine: Any) -> bool:
        view = engine.market(engine.instrument_slot(name))
        return view.best_bid_units is not None and view.best_ask_units is not None

    return question


def spread_units(name: str) -> Callable[[Any], int]:
    def question(engine: Any) -> int:
        view = engine.market(engine.instrument_slot(name))
        return view.best_ask_units - view.best_bid_units

    return question


def held_lots(engine: Any, account_id: int, name: str) -> int:
    slot = engine.instrument_slot(name)
    return sum(view.quantity_lots for view in engine.positions(account_id) if view.instrument == slot)


def take(market: Market, account: Account, name: str, side: Side, lots: int) -> None:
    """A market order of an account."""

    def place() -> None:
        market.venue.gateway.submit(
            commands.record(
                CommandKind.PLACE_ORDER,
                account_id=account.account_id,
                instrument=market.engine.instrument_slot(name),
                side=int(side),
                order_type=int(OrderType.MARKET),
                time_in_force=int(TimeInForce.IMMEDIATE_OR_CANCEL),
                quantity_lots=lots,
            )
        )

    market.venue.run(place)


def test_bots_make_a_market_trade_and_leave_it_clean(market: Market) -> None:
    """A combo among the instruments does not concern them."""
    with connect(market.venue.ws) as connection:
        client = Client(connection).login(market.venue.alice)
        legs = [{"instrument_name": name, "direction": "buy", "amount": 1} for name in (CALL, PUT)]
        combo = client.result("private/create_combo", trades=legs)["id"]
    with Bots(market, "--take-rate", "20") as bots:
        for name in (PERPETUAL, LINEAR, CALL, PUT):
            market.wait(f"{name} is quoted on both sides", two_sided(name))
        for step in range(20):
            market.index = INDEX * (1.0 + 0.0005 * (step % 3 - 1))
            time.sleep(0.1)
        market.wait("trades", lambda engine: engine.counters().trades >= 20)
        for slot_name in (PERPETUAL, CALL):
            view = market.read(lambda engine, name=slot_name: engine.market(engine.instrument_slot(name)))
            levels = market.read(lambda engine, name=slot_name: engine.depth(engine.instrument_slot(name), 10))
            assert all(view.min_price_units <= price for price, _ in levels[1])
            assert all(price <= view.max_price_units for price, _ in levels[0])
        time.sleep(0.6)
        shown = bots.progress()
        assert shown["maker1"]["trades"] > 0 and shown["maker1"]["edits"] > 0
        assert shown["maker1"]["refusals"] <= 0.05 * shown["maker1"]["calls"], shown
        assert shown["taker1"]["trades"] >= 10, shown
        assert bots.stop() == 0
    assert market.orders_of("maker") == market.orders_of("taker") == []
    assert market.read(lambda engine: engine.market(engine.instrument_slot(combo)).change_id) == 0


def test_the_maker_widens_in_a_crash_and_the_liquidator_takes_over(market: Market) -> None:
    alice = market.venue.account("leveraged", btc="1", usdc="0")
    with Bots(market, "--takers", "0") as bots:
        market.wait("the perpetual is quoted", two_sided(PERPETUAL))
        while market.read(lambda engine: held_lots(engine, alice.account_id, PERPETUAL)) < 35_000:
            take(market, alice, PERPETUAL, Side.BUY, 5_000)
            time.sleep(0.2)
        held = market.read(lambda engine: held_lots(engine, alice.account_id, PERPETUAL))
        calm = market.read(spread_units(PERPETUAL))
        for step in range(20):
            market.index = INDEX * (1.0 - 0.006 * (step + 1))
            time.sleep(0.1)
        market.wait(
            "the maker still quotes, wider",
            lambda e: two_sided(PERPETUAL)(e) and spread_units(PERPETUAL)(e) > 2 * calm,
        )
        market.wait("liquidation", lambda engine: engine.counters().liquidations)
        liquidator = market.bots["liquidator"].account_id
        bought = market.wait("a share is bought", lambda engine: held_lots(engine, liquidator, PERPETUAL))
        left = market.read(lambda engine: held_lots(engine, alice.account_id, PERPETUAL))
        assert 0 < bought <= held and left < held
        market.wait("the auction is over", lambda engine: not engine.auctions())
        most = market.read(lambda engine: held_lots(engine, liquidator, PERPETUAL))
        market.wait("inventory is worked off", lambda e: held_lots(e, liquidator, PERPETUAL) < 0.9 * most)
        assert bots.stop() == 0
        assert bots.progress()["liquidator1"]["bids"] >= 1


def test_a_cut_connection_takes_the_orders_with_it_and_the_maker_comes_back(market: Market) -> None:
    with Bots(market, "--takers", "0", "--liquidators", "0"):
        market.wait("the perpetual is quoted", two_sided(PERPETUAL))
        maker = market.bots["maker"].account_id
        before = {order.order_id for order in market.orders_of("maker")}
        assert before

        def cut() -> int:
            for session in market.venue.gateway.server.sessions():
                session.close(1012, "cut by the test")
            return 0

        market.venue.run(cut)
        market.wait("old orders are gone", lambda e: not before & {o.order_id for o in e.open_orders(maker)})
        market.wait("and new ones there", lambda engine: two_sided(PERPETUAL)(engine) and engine.open_orders(maker))


def test_bots_end_when_the_venue_is_gone_or_refuses_them(market: Market) -> None:
    with Bots(market, "--give-up", "1") as bots:
        market.wait("the perpetual is quoted", two_sided(PERPETUAL))
        market.venue._await(market.venue.gateway.stop())
        assert bots.process.wait(20) == 1
    assert any("is gone" in line for line in bots.lines)
    assert market.orders_of("maker") == []


@pytest.mark.full
def test_the_gateway_bench_measures_a_served_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOSED_S", "OPEN_S", "SATURATED_S", "FANOUT_S"):
        monkeypatch.setattr(bench_gateway, name, 0.5)
    own = os.sched_getaffinity(0)
    try:
        found = bench_gateway.figures()
    finally:
        os.sched_setaffinity(0, own)
    assert set(found) == {"gateway.ack.p50", "gateway.ack.p99", "gateway.saturated", "gateway.fanout"}
    floor_us = found["gateway.ack.p50"].peers["floor: echo"]
    assert 0 < floor_us < found["gateway.ack.p50"].value, "nothing is faster than the bare library"
    assert 0 < found["gateway.saturated"].value < found["gateway.saturated"].peers["floor: echo"]
    assert found["gateway.fanout"].value > 0
