"""The history store by itself: rows from a random venue's events, its file, its queue, its bounds."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderType, TimeInForce
from exchange.engine import LOGIC_VERSION, Engine
from exchange.events import EventKind
from exchange.sequencer import Sequencer
from gateway import records
from gateway.recorder import Recorder
from gateway.records import decode
from gateway.venue_core import replay_into
from persistence import history as history_module
from persistence import history_reads
from persistence import history_schema as schema
from persistence.history import FILE_NAME, LONGEST_PAUSE, SHORTEST_PAUSE, History, Pace
from persistence.history_candles import Candles
from persistence.history_reads import MAX, HistoryReader, HistoryTimeout, Span
from persistence.history_schema import HOUR_NS, MINUTE_NS, RESOLUTIONS, UNFILLED_KEPT_NS
from persistence.history_spill import Spill
from persistence.journal import Journal
from tests.clients.venue import CALL, CONFIG, E8, EXPIRY_NS, INDEX, PERPETUAL

START_NS = 1_790_000_000 * 1_000_000_000
ACCOUNTS = 4


class Market:
    """An engine behind a journal, with a clock of its own and a store that follows it."""

    def __init__(self, root: Path, seed: int, queue_bytes: int = 64 << 20):
        self.root, self.rng = root, random.Random(seed)
        self.now_ns = START_NS
        self.engine = Engine()
        (root / "journal").mkdir(parents=True)
        (root / "history").mkdir()
        self.journal = Journal(root / "journal", commands.RECORD_VERSION, LOGIC_VERSION, 1)
        self.sequencer = Sequencer(self.engine, self.journal, lambda: self.now_ns)
        self.history = History.open(root / "history", root / "journal", queue_bytes)
        self.recorder = Recorder(self.engine, self.history)
        self.recorder.follow(self.sequencer)
        self.events: list[tuple[int, Any, bytes]] = []
        self.sequencer.subscribe(lambda seq, events: self.events.extend(decode(events)))
        self.sequencer.submit(commands.cold(CommandKind.GENESIS, CONFIG))
        self.marks()
        for number in range(1, ACCOUNTS + 1):
            made = config.CreateAccount(name=f"account-{number}")
            self.sequencer.submit(commands.cold(CommandKind.CREATE_ACCOUNT, made))
            money = config.Transfer(currency="BTC", amount_minor=10**13)
            self.sequencer.submit(commands.cold(CommandKind.DEPOSIT, money, number))

    def marks(self) -> None:
        vols = np.array([(slot, 600_000) for slot, _, _ in self.engine.pairs(0)], dtype=commands.VOL_ENTRY)
        price_e8 = INDEX * E8
        self.sequencer.submit(commands.update_marks(0, price_e8, self.now_ns, [(EXPIRY_NS, price_e8)], vols))

    def step(self) -> None:
        """One random command of a client; time moves on by up to half a minute."""
        rng, engine = self.rng, self.engine
        self.now_ns += rng.randrange(30_000_000_000)
        if rng.random() < 0.1:
            self.marks()
        account = rng.randrange(1, ACCOUNTS + 1)
        own = engine.open_orders(account)
        drawn = rng.random()
        if own and drawn < 0.2:
            one = rng.choice(own)
            self.sequencer.submit(records.cancel_order(account_id=account, order_id=one.order_id, reason=60))
        elif own and drawn < 0.35:
            one = rng.choice(own)
            self.sequencer.submit(
                records.edit_order(
                    account_id=account,
                    order_id=one.order_id,
                    price_units=one.price_units + rng.randrange(-3, 4),
                    quantity_lots=max(1, one.quantity_lots + rng.randrange(-3, 4)),
                )
            )
        else:
            name = rng.choice((PERPETUAL, PERPETUAL, CALL))
            slot = engine.instrument_slot(name)
            middle = INDEX * 2 if name == PERPETUAL else 4_500
            label = rng.choice((b"", b"", b"tag", "läbel".encode()))
            self.sequencer.submit(
                records.place_order(
                    tail=label,
                    label_bytes=len(label),
                    account_id=account,
                    instrument=slot,
                    side=rng.randrange(2),
                    order_type=int(OrderType.LIMIT),
                    time_in_force=int(rng.choice((TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.IMMEDIATE_OR_CANCEL))),
                    price_units=middle + rng.randrange(-10, 11) * (1 if name == PERPETUAL else 5),
                    quantity_lots=rng.randrange(1, 20),
                )
            )

    def run(self, steps: int) -> "Market":
        for number in range(steps):
            self.step()
            if number % 50 == 0:
                self.journal.sync()
                self.recorder.flush()
        return self.settle()

    def settle(self) -> "Market":
        self.journal.sync()
        self.recorder.flush()
        assert self.history.drain()
        return self

    def close(self) -> None:
        self.recorder.close()
        self.journal.close()

    def trades(self) -> list[Any]:
        return [fields for kind, fields, _ in self.events if kind == EventKind.TRADE_EXECUTED]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    opened = Market(tmp_path_factory.mktemp("market"), seed=11).run(3_000)
    yield opened
    opened.close()


@pytest.fixture
def reader(market: Market) -> Iterator[HistoryReader]:
    opened = HistoryReader(market.history.path)
    yield opened
    opened.close()


def dump(path: Path) -> dict[str, list[Any]]:
    """Every row of every table."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    found = {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}  # noqa: S608
    connection.close()
    return found


def test_trades_by_account_page_through_everything_in_both_directions(market: Market, reader: HistoryReader) -> None:
    instrument = market.engine.instrument(market.engine.instrument_slot(PERPETUAL))
    own = [
        fields.trade_id
        for fields in market.trades()
        if 1 in (fields.account_id, fields.maker_account_id) and fields.instrument == instrument.instrument
    ]
    assert len(own) > 100
    for ascending in (True, False):
        found: list[int] = []
        span = Span()
        while rows := reader.fills(1, [instrument.instrument_id], True, span, MAX, ascending, 7):
            found += [row[0] for row in rows]
            span = Span(first_id=found[-1] + 1) if ascending else Span(last_id=found[-1] - 1)
        assert found == (own if ascending else own[::-1])


def test_trades_of_several_groups_merge_in_order_and_by_time(market: Market, reader: HistoryReader) -> None:
    every = [fields.trade_id for fields in market.trades()]
    groups = reader.groups("BTC", "")
    assert len(groups) == 2
    assert [row[0] for row in reader.trades(groups, False, Span(), MAX, True, 10_000)] == every
    assert [row[0] for row in reader.trades(groups, False, Span(), MAX, False, 50)] == every[:-51:-1]
    middle = market.trades()[len(every) // 2]
    later = reader.trades(groups, False, Span(start_ns=middle.time_ns + 1), MAX, True, 10_000)
    assert [row[0] for row in later] == [
        fields.trade_id for fields in market.trades() if fields.time_ns > middle.time_ns
    ]
    until = reader.trades(groups, False, Span(end_ns=middle.time_ns), MAX, True, 10_000)
    assert len(later) + len(until) == len(every)
    assert reader.trades(groups, False, Span(start_ns=market.now_ns + 1), MAX, True, 10) == []
    assert reader.trades(groups, False, Span(end_ns=1), MAX, True, 10) == []
    options = reader.trades(reader.groups("", "option"), False, Span(), MAX, True, 10_000)
    assert 0 < len(options) < len(every)
    assert reader.trades(reader.groups("USDC", ""), False, Span(), MAX, True, 10) == []


def test_orders_agree_with_the_engine_and_the_events(market: Market) -> None:
    connection = sqlite3.connect(market.history.path)
    live = {
        row[0]: row[1:]
        for row in connection.execute(
            "SELECT order_id, price_units, quantity_lots, filled_lots, label FROM orders WHERE closed_rank IS NULL"
        )
    }
    views = [view for account in market.engine.account_ids() for view in market.engine.open_orders(account)]
    assert live == {
        view.order_id: (
            view.price_units,
            view.quantity_lots,
            view.quantity_lots - view.remaining_lots,
            view.label,
        )
        for view in views
    }
    fills: dict[int, list[int]] = {}
    for fields in market.trades():
        for order_id in (fields.taker_order_id, fields.maker_order_id):
            sums = fills.setdefault(order_id, [0, 0])
            sums[0] += fields.quantity_lots
            sums[1] += fields.quantity_lots * fields.price_units
    stored = {
        row[0]: list(row[1:])
        for row in connection.execute("SELECT order_id, filled_lots, filled_value FROM orders WHERE filled_lots > 0")
    }
    assert stored == fills
    states = dict(connection.execute("SELECT state, count(*) FROM orders GROUP BY state"))
    assert states[0] == len(views) and states[1] > 100 and states[2] > 100
    connection.close()


def test_transactions_of_a_position_carry_its_cash(market: Market, reader: HistoryReader) -> None:
    """Of an account without perpetuals in its log the changes add up to its cash: nothing else moves it."""
    option = market.engine.instrument(market.engine.instrument_slot(CALL)).instrument_id
    connection = sqlite3.connect(market.history.path)
    funding = {
        view.account_id: view.funding_realised_minor
        for a in range(1, ACCOUNTS + 1)
        for view in market.engine.positions(a)
        if view.instrument == market.engine.instrument_slot(PERPETUAL)
    }
    assert connection.execute("SELECT count(*) FROM transactions WHERE instrument_id = ?", (option,)).fetchone()[0]
    for account in range(1, ACCOUNTS + 1):
        rows = reader.transactions(account, "BTC", MAX, 0, MAX, "", 100_000)
        assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
        cash = next(one for one in market.engine.account(account).currencies if one.currency == "BTC").cash_minor
        # a position that was closed and opened again has forgotten what funding it had settled
        assert sum(row[6] for row in rows) == pytest.approx(cash - funding.get(account, 0), abs=0)
    assert [row[4] for row in reader.transactions(1, "BTC", MAX, 0, MAX, "deposit", 10)] == ["deposit"]
    connection.close()


def test_candles_are_the_trades(market: Market, reader: HistoryReader) -> None:
    view = market.engine.instrument(market.engine.instrument_slot(PERPETUAL))
    trades = [fields for fields in market.trades() if fields.instrument == view.instrument]
    for minutes in RESOLUTIONS:
        wanted: dict[int, list[int]] = {}
        for fields in trades:
            start = fields.time_ns // (minutes * MINUTE_NS) * minutes * MINUTE_NS
            price, lots = fields.price_units, fields.quantity_lots
            one = wanted.setdefault(start, [price, price, price, price, 0, 0, 0])
            one[1], one[2], one[3] = max(one[1], price), min(one[2], price), price
            one[4] += lots
            one[5] += lots * price
            one[6] += lots * 10 * E8 * 10**12 // (price * 50_000_000)
        rows, before, covered = reader.candles(view.instrument_id, minutes, 0, MAX, 100_000)
        assert {row[0]: list(row[1:]) for row in rows} == wanted
        assert before is None
        assert covered == trades[-1].trade_id or covered == market.trades()[-1].trade_id


def test_trades_outside_the_book_are_volume_without_a_price() -> None:
    """However batches cut them; a candle of nothing else has no prices."""
    rng = random.Random(5)
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.SCHEMA)
    wanted: dict[int, list[Any]] = {}
    time_ns, outside = 0, 0
    for _ in range(200):
        batch = Candles()
        for _ in range(rng.randrange(1, 6)):
            time_ns += rng.randrange(MINUTE_NS // 2)
            price, lots, in_book = rng.randrange(100, 200), rng.randrange(1, 9), rng.random() < 0.5
            batch.add(7, time_ns, price, lots, lots * 1_000 // price, in_book)
            one = wanted.setdefault(time_ns // MINUTE_NS * MINUTE_NS, [[], 0, 0, 0])
            one[0] += [price] * in_book
            for place, amount in ((1, lots), (2, lots * price), (3, lots * 1_000 // price)):
                one[place] += amount
        connection.executemany(schema.ADD_CANDLE, batch.rows())
    rows = connection.execute("SELECT * FROM candles WHERE resolution = 1 ORDER BY tick_ns").fetchall()
    for row, (start, (prices, *volume)) in zip(rows, sorted(wanted.items()), strict=True):
        shown = [prices[0], max(prices), min(prices), prices[-1]] if prices else [None] * 4
        assert list(row[2:]) == [start, *shown, *volume]
        outside += not prices
    assert outside > 10


def test_batches_do_not_change_rows(market: Market, tmp_path: Path) -> None:
    """A replay into an empty store gives what the live venue gave, however it was cut into batches."""
    market.settle()
    engine = Engine()
    history = History.open(tmp_path)
    recorder = Recorder(engine, history)
    replay_into(engine, market.root / "journal", on_events=recorder.replayed)
    recorder.end_replay()
    assert history.drain()
    assert engine.state_digest() == market.engine.state_digest()
    history.close()
    assert dump(tmp_path / FILE_NAME) == dump(market.history.path)


def test_a_queue_that_is_full_spills_and_catches_up(tmp_path: Path) -> None:
    """With no room in memory at all everything goes through the file, and nothing is lost or turned round."""
    tight = Market(tmp_path / "tight", seed=12, queue_bytes=0).run(800)
    roomy = Market(tmp_path / "roomy", seed=12).run(800)
    assert tight.engine.state_digest() == roomy.engine.state_digest()
    tight.close(), roomy.close()
    assert dump(tight.history.path) == dump(roomy.history.path)
    assert (tmp_path / "tight" / "history" / "history.spill").stat().st_size == 0


def test_the_spill_is_first_in_first_out(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill")
    assert not spill
    frames = [(seq, bytes([seq % 251]) * (seq % 700), b"n" * (seq % 3)) for seq in range(1, 20_000)]
    spill.add(frames[:15_000])
    taken = spill.take()
    spill.add(frames[15_000:])
    while spill:
        taken += spill.take()
    assert taken == frames
    assert (tmp_path / "spill").stat().st_size == 0
    spill.close()


def test_unfilled_orders_are_dropped_after_a_day(tmp_path: Path) -> None:
    market = Market(tmp_path / "m", seed=13).run(400)

    def unfilled() -> list[int]:
        connection = sqlite3.connect(market.history.path)
        found = connection.execute(
            "SELECT updated_ns FROM orders WHERE filled_lots = 0 AND closed_rank IS NOT NULL"
        ).fetchall()
        connection.close()
        return [time_ns for (time_ns,) in found]

    early = unfilled()
    assert len(early) > 20
    market.now_ns += UNFILLED_KEPT_NS + 2 * HOUR_NS
    market.sequencer.submit(commands.record(CommandKind.TICK))
    market.marks()
    market.run(60)
    kept = unfilled()
    assert min(kept) > max(early)
    connection = sqlite3.connect(market.history.path)
    assert connection.execute("SELECT count(*) FROM orders WHERE filled_lots > 0").fetchone()[0] > 50
    connection.close()
    market.close()


def test_a_store_that_does_not_fit_is_built_again(tmp_path: Path) -> None:
    market = Market(tmp_path / "m", seed=14).run(200)
    market.close()
    folder, journal = tmp_path / "m" / "history", tmp_path / "m" / "journal"
    covered = market.history.covered
    again = History.open(folder, journal)
    assert again.covered == covered
    again.close()
    other = Market(tmp_path / "other", seed=15)
    other.settle().close()
    stranger = History.open(folder, tmp_path / "other" / "journal")
    assert stranger.covered == (0, 0)
    stranger.close()
    (folder / FILE_NAME).write_bytes(b"this is no database" * 1_000)
    damaged = History.open(folder, journal)
    assert damaged.covered == (0, 0)
    damaged.close()
    connection = sqlite3.connect(folder / FILE_NAME)
    connection.execute("UPDATE meta SET version = version + 1, seq = 7")
    connection.commit()
    connection.close()
    newer = History.open(folder, journal)
    assert newer.covered == (0, 0)
    newer.close()


def test_a_failing_disk_stops_the_store_and_nothing_else(tmp_path: Path) -> None:
    market = Market(tmp_path / "m", seed=16).run(100)
    covered = market.history.covered
    connection = sqlite3.connect(market.history.path)
    connection.execute("DROP TABLE trades")
    connection.commit()
    connection.close()
    for _ in range(300):
        market.step()
    market.journal.sync()
    market.recorder.flush()
    assert market.history.drain() is False
    assert isinstance(market.history.failure, sqlite3.Error)
    assert market.history.covered == covered
    market.step()  # the venue goes on
    market.recorder.flush()
    assert not market.history.behind
    market.close()


def test_a_question_that_takes_too_long_is_given_up(market: Market, reader: HistoryReader, monkeypatch: Any) -> None:
    monkeypatch.setattr(history_reads, "READ_SECONDS", 0.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(HistoryTimeout):
        reader._rows(endless, (), 0.05)
    assert reader.groups("BTC", "option")  # and the connection still answers


def test_nothing_is_written_before_it_is_durable(tmp_path: Path) -> None:
    market = Market(tmp_path / "m", seed=17)
    market.settle()
    covered = market.history.covered
    for _ in range(50):
        market.step()
    market.recorder.flush()
    assert market.history.drain()
    assert market.history.covered[0] <= market.journal.durable_seq
    assert market.history.covered == covered or market.journal.durable_seq > covered[0]
    market.settle()
    assert market.history.covered[0] > covered[0]
    market.close()


def test_the_writer_steps_back_while_others_want_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Time:
        now, late = 0.0, 0.0
        slept: ClassVar[list[float]] = []

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            self.now += seconds + self.late

    clock = Time()
    monkeypatch.setattr(history_module, "time", clock)
    pace = Pace()
    clock.late = 0.004  # the loop kept the interpreter
    for _ in range(12):
        pace.rest()
    assert clock.slept[0] == SHORTEST_PAUSE
    assert clock.slept[-1] == LONGEST_PAUSE
    clock.late = 0.0
    for _ in range(12):
        pace.rest()
    assert clock.slept[-1] == SHORTEST_PAUSE
