"""The history after a restart, after a kill, without its file, and of contracts that are no more."""

import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from gateway import methods
from gateway.gateway import Gateway
from gateway.recorder import Recorder
from gateway.settings import Settings
from gateway.venue_core import replay_into
from persistence.history import FILE_NAME, History
from tests.clients.venue import CALL, CONFIG, PERPETUAL, Core, build_gateway, open_account, publish
from tests.serving import Served, small_config
from tests.unit.test_history import dump
from tests.unit.test_session import Peer

SPAN = {"start_timestamp": 0, "end_timestamp": 4_000_000_000_000}
READS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("private/get_order_history_by_currency", {"currency": "BTC", "count": 1000, "include_unfilled": True}),
    ("private/get_user_trades_by_currency", {"currency": "BTC", "count": 1000}),
    ("public/get_last_trades_by_instrument", {"instrument_name": PERPETUAL, "count": 1000}),
    ("private/get_transaction_log", {"currency": "BTC", "count": 1000, **SPAN}),
    ("private/get_open_orders", {}),
)


def answers(venue: Served) -> list[Any]:
    return [venue.call(name, "demo", **params) for name, params in READS]


def settled(venue: Served) -> None:
    """Wait until the store has everything that the log is asked for."""
    last = venue.call("private/get_user_trades_by_currency", "demo", currency="BTC", count=1)["trades"][0]["trade_id"]
    deadline = time.monotonic() + 10
    while True:
        logs = venue.call("private/get_transaction_log", "demo", currency="BTC", count=1, query="trade", **SPAN)["logs"]
        if logs and logs[0]["trade_id"] == last:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def chart(venue: Served) -> dict[str, list[float]]:
    """Daily candles that have trades."""
    params = {"instrument_name": PERPETUAL, "resolution": "1D", **SPAN}
    found = venue.call("public/get_tradingview_chart_data", **params)
    columns = {name: values for name, values in found.items() if name != "status"}
    traded = [place for place, cost in enumerate(found["cost"]) if cost]
    return {name: [values[place] for place in traded] for name, values in columns.items()}


def trade(venue: Served) -> str:
    """Fills at several prices; returns the id of an order that remains, partly filled."""
    for name in ("demo", "maker"):
        venue.call("private/cancel_all", name)
    mark = round(venue.call("public/ticker", instrument_name=PERPETUAL)["mark_price"])
    for step in range(6):
        price = mark + step * 10
        venue.call("private/sell", "maker", instrument_name=PERPETUAL, amount=100, price=price)
    swept = venue.call("private/buy", "demo", instrument_name=PERPETUAL, amount=250, price=mark + 20, label="sweep")
    assert swept["order"]["average_price"] == pytest.approx((100 * mark + 100 * (mark + 10) + 50 * (mark + 20)) / 250)
    left = venue.call("private/buy", "demo", instrument_name=PERPETUAL, amount=900, price=mark + 40, label="left")
    assert left["order"]["order_state"] == "open"
    doomed = venue.call("private/buy", "demo", instrument_name=PERPETUAL, amount=10, price=round(mark * 0.9))
    venue.call("private/cancel", "demo", order_id=doomed["order"]["order_id"])
    return left["order"]["order_id"]


@pytest.mark.redis
def test_history_survives_kill_restart_and_the_loss_of_its_file(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = small_config(tmp_path / "venue.toml")
    with Served(data_dir, "--config", file) as venue:
        left = trade(venue)
        settled(venue)
        before, days = answers(venue), chart(venue)
        stats = venue.call("public/ticker", instrument_name=PERPETUAL)["stats"]
        venue.kill()
    assert len(before[0]) >= 2 and len(before[1]["trades"]) >= 5
    with Served(data_dir, "--config", file) as venue:
        assert answers(venue) == before
        assert chart(venue) == days
        assert venue.call("public/ticker", instrument_name=PERPETUAL)["stats"] == pytest.approx(stats)
        assert stats["volume_usd"] >= 500.0
        state = venue.call("private/get_order_state", "demo", order_id=left)
        assert (state["order_state"], state["filled_amount"]) == ("open", 250.0)
        assert state["average_price"] == next(
            order["average_price"] for order in before[4] if order["order_id"] == left
        )
        assert state["average_price"] != state["price"]
        trade(venue)
        settled(venue)
        later, days = answers(venue), chart(venue)
        assert len(later[1]["trades"]) > len(before[1]["trades"])
        assert venue.stop()[0] == 0
    shutil.rmtree(data_dir / "history")
    with Served(data_dir, "--config", file) as venue:
        assert answers(venue) == later
        assert chart(venue) == days
        assert venue.stop()[0] == 0
    store = sqlite3.connect(data_dir / "history" / FILE_NAME)
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # the trades of the population, which came before anything was served
    assert store.execute("SELECT count(*) FROM trades").fetchone()[0] > len(later[1]["trades"])
    store.close()


EXPIRY_NS = 1_790_000_000 * 1_000_000_000 // 86_400_000_000_000 * 86_400_000_000_000 + 32 * 3_600_000_000_000
HOUR_NS = 3_600_000_000_000
ENDING = "BTC-SOON-100000-C"


class Now:
    """Venue time that moves when told."""

    now_ns = EXPIRY_NS - HOUR_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def ended(tmp_path: Path) -> Any:
    """A venue whose option has been traded and has expired in the money; its gateway, core and recorder."""
    methods.load()
    now = Now()
    core = Core(tmp_path, now)
    recorder = Recorder(core.engine, History.open(tmp_path))
    recorder.follow(core.sequencer)
    gateway = build_gateway(core, tmp_path, Settings(), recorder=recorder)
    call = next(one for one in CONFIG.instruments if one.name == CALL)
    soon = msgspec.structs.replace(call, name=ENDING, expiry_ns=EXPIRY_NS)
    gateway.submit(commands.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments(instruments=(soon,))))
    publish(gateway, 100_000, also=EXPIRY_NS)
    accounts = open_account(gateway, "alice"), open_account(gateway, "bob")
    yield gateway, core, recorder, accounts, now
    recorder.close()
    core.close()


def peer(gateway: Gateway, account: Any) -> Peer:
    opened = Peer(gateway)
    secret = {"client_id": account.client_id, "client_secret": account.secret}
    opened.result("public/auth", grant_type="client_credentials", **secret)
    return opened


def test_contracts_that_are_no_more_are_remembered(ended: Any, tmp_path: Path) -> None:
    gateway, core, recorder, (alice, bob), now = ended
    one, two = peer(gateway, alice), peer(gateway, bob)
    mark = gateway.ticker(gateway.listing(ENDING))["mark_price"]
    price = round(mark, 4)
    one.result("private/sell", instrument_name=ENDING, amount=2, price=price, label="x")
    bought = two.result("private/buy", instrument_name=ENDING, amount=2, price=price)
    assert bought["order"]["order_state"] == "filled"
    now.now_ns = EXPIRY_NS - HOUR_NS // 2
    publish(gateway, 110_000, also=EXPIRY_NS)
    now.now_ns = EXPIRY_NS
    publish(gateway, 110_000)
    gateway.submit(commands.record(CommandKind.TICK))
    assert ENDING not in gateway.listings.by_name
    core.journal.sync()
    recorder.flush()
    assert recorder.history.drain()
    checks = (
        lambda: two.result("public/get_last_trades_by_instrument", instrument_name=ENDING)["trades"],
        lambda: two.result("private/get_user_trades_by_instrument", instrument_name=ENDING)["trades"],
        lambda: one.result("private/get_order_history_by_instrument", instrument_name=ENDING),
        lambda: two.result("private/get_settlement_history_by_currency", currency="BTC")["settlements"],
        lambda: two.result("private/get_settlement_history_by_instrument", instrument_name=ENDING)["settlements"],
        lambda: two.result("public/get_last_settlements_by_currency", currency="BTC")["settlements"],
        lambda: two.result("public/get_last_settlements_by_instrument", instrument_name=ENDING)["settlements"],
        lambda: two.result("public/get_delivery_prices", index_name="btc_usd")["data"],
        lambda: two.result("private/get_transaction_log", currency="BTC", query="delivery", **SPAN)["logs"],
    )
    found = [check() for check in checks]
    assert [len(one) for one in found] == [1] * len(checks)
    (own,) = found[3]
    delivered = found[7][0]["delivery_price"]
    assert 100_000 < delivered <= 110_000
    worth = 2 * (delivered - 100_000) / delivered
    assert own["position"] == 2.0
    assert own["cashflow"] == pytest.approx(worth, abs=1e-8)
    assert own["session_profit_loss"] == pytest.approx(worth - 2 * price, abs=1e-8)
    assert found[8][0]["change"] == own["cashflow"]
    assert found[2][0]["label"] == "x"
    assert own["instrument_name"] == found[5][0]["instrument_name"] == ENDING
    later = two.result("private/get_settlement_history_by_currency", currency="BTC", search_start_timestamp=1 << 42)
    assert later["settlements"] == []
    rebuilt(tmp_path, recorder)


def rebuilt(root: Path, recorder: Recorder) -> None:
    """A replay of the journal gives the same file, contracts that ended included."""
    folder = root / "again"
    folder.mkdir()
    engine = Engine()
    again = Recorder(engine, History.open(folder))
    replay_into(engine, root / "journal", on_events=again.replayed)
    again.end_replay()
    assert again.history.drain()
    again.close()
    assert dump(folder / FILE_NAME) == dump(recorder.history.path)


def test_a_store_that_lags_is_completed_by_the_replay(ended: Any, tmp_path: Path) -> None:
    gateway, core, recorder, (alice, bob), _ = ended
    one, two = peer(gateway, alice), peer(gateway, bob)
    one.result("private/sell", instrument_name=PERPETUAL, amount=100, price=100_000)
    core.journal.sync()
    recorder.flush()
    assert recorder.history.drain()
    folder = tmp_path / "lagging"
    folder.mkdir()
    covered = recorder.history.covered
    copy = sqlite3.connect(folder / FILE_NAME)
    sqlite3.connect(recorder.history.path).backup(copy)
    copy.close()
    two.result("private/buy", instrument_name=PERPETUAL, amount=40, price=100_000)
    core.journal.sync()
    recorder.flush()
    assert recorder.history.drain()
    history = History.open(folder, tmp_path / "journal")
    assert history.covered == covered
    engine = Engine()
    lagging = Recorder(engine, history)
    replay_into(engine, tmp_path / "journal", on_events=lagging.replayed, events_from_seq=covered[0] + 1)
    lagging.end_replay()
    assert history.drain()
    assert history.covered[1] == 1
    resumed = Gateway(engine, core.sequencer, gateway.credentials, Settings(), recorder=lagging)
    order = peer(resumed, alice).result("private/get_open_orders")[0]
    assert (order["filled_amount"], order["average_price"]) == (40.0, 100_000.0)
    resumed.archive.close()
    lagging.close()
    assert dump(folder / FILE_NAME) == dump(recorder.history.path)
