"""Marks: jump bands, perpetual mark and funding, refusals that change nothing."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, linear_perpetual, only, option, perpetual

HOUR = 3600 * SECOND
CALL = option(100_000, "call", START_NS + 30 * DAY)


def test_a_lone_jump_is_held_and_a_confirmed_one_is_taken():
    venue = Driver([perpetual()])
    venue.marks(100_000)
    held = only(venue.marks(150_000), EventKind.MARKS_REJECTED)
    assert held.reason == Reason.MARK_JUMP
    assert venue.engine.index_price(0) == 100_000 * 10**8
    assert kinds(venue.marks(101_000)) == [EventKind.MARK_JUMP, EventKind.MARKS_UPDATED]
    assert only(venue.marks(150_000), EventKind.MARKS_REJECTED).reason == Reason.MARK_JUMP
    assert kinds(venue.marks(151_000)) == [EventKind.MARK_JUMP, EventKind.MARKS_UPDATED]
    assert venue.engine.index_price(0) == 151_000 * 10**8


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"underlying": 7}, Reason.UNKNOWN_UNDERLYING),
        ({"index_price_e8": 0}, Reason.MARK_OUT_OF_RANGE),
        ({"index_price_e8": -5}, Reason.MARK_OUT_OF_RANGE),
        ({"forwards": [(CALL.expiry_ns, 0)]}, Reason.MARK_OUT_OF_RANGE),
        ({"vols": [(0, 500_000)]}, Reason.UNKNOWN_INSTRUMENT),
        ({"vols": [(900, 500_000)]}, Reason.UNKNOWN_INSTRUMENT),
        ({"vols": [(1, 0)]}, Reason.MARK_OUT_OF_RANGE),
    ],
)
def test_bad_marks_are_refused_whole(fields, reason):
    venue = Driver([perpetual(), CALL])
    venue.marks(100_000)
    before = venue.engine.rows.export(), venue.engine.marks.export()
    base = {"underlying": 0, "index_price_e8": 10**13, "forwards": [], "vols": []}
    merged = {**base, **fields}
    record = commands.update_marks(
        merged["underlying"], merged["index_price_e8"], venue.now, merged["forwards"], merged["vols"]
    )
    assert only(venue.submit(record), EventKind.MARKS_REJECTED).reason == reason
    assert (venue.engine.rows.export(), venue.engine.marks.export()) == before


def test_counts_that_reach_past_the_record_are_refused():
    venue = Driver([perpetual(), CALL])
    record = commands.record(
        CommandKind.UPDATE_MARKS, underlying=0, index_price_e8=10**13, vol_count=4_000_000, forward_count=9
    )
    assert only(venue.submit(record), EventKind.MARKS_REJECTED).reason == Reason.BAD_PAYLOAD


def test_no_orders_before_the_first_mark():
    venue = Driver([perpetual(), CALL])
    alice = venue.account("alice", btc=1)
    for name in ("BTC-PERPETUAL", CALL.name):
        assert only(venue.place(alice, name, "buy", 100, 1), EventKind.ORDER_REJECTED).reason == Reason.NO_MARK
    venue.marks(100_000)
    assert kinds(venue.place(alice, CALL.name, "buy", 100, 1)) == [EventKind.ORDER_ACCEPTED]


def test_perpetual_mark_follows_its_book_within_the_bound():
    venue = Driver([perpetual()])
    alice, bob = venue.account("alice", btc=5), venue.account("bob", btc=5)
    venue.marks(100_000)
    venue.place(alice, "BTC-PERPETUAL", "buy", 202_000, 10)
    venue.place(bob, "BTC-PERPETUAL", "sell", 202_400, 10)
    marks = []
    for _ in range(60):
        venue.now += 10 * SECOND
        venue.marks(100_000)
        marks.append(venue.engine.market(0).mark_price_e8 / 1e8)
    assert marks == sorted(marks)
    assert marks[0] < 100_200
    # the book's mid is 1.1 % above; the mark stops at the bound of 0.5 %
    assert marks[-1] == pytest.approx(100_500, abs=1)


@pytest.mark.parametrize("spec", [perpetual(), linear_perpetual()])
def test_funding_moves_cash_from_longs_to_shorts(spec):
    venue = Driver([spec])
    alice, bob = venue.account("alice", btc=5, usdc=500_000), venue.account("bob", btc=5, usdc=500_000)
    venue.marks(100_000)
    price = 100_000 * 10**8 // spec.price_unit_e8
    venue.trade(bob, alice, spec.name, "buy", price, 1_000)
    venue.place(alice, spec.name, "buy", price * 1003 // 1000, 10)
    venue.place(bob, spec.name, "sell", price * 1005 // 1000, 10)
    for _ in range(4 * 60):
        venue.now += 60 * SECOND
        venue.marks(100_000)
    rate = venue.engine.market(0).funding_rate_e12 / 1e12
    assert 0.002 < rate < 0.005
    long, short = (venue.engine.positions(a)[0] for a in (alice, bob))
    notional = 1_000 * 10 / 100_000 * 10**10 if spec.inverse else 1_000 * 0.001 * 100_000 * 10**6
    expected = rate * notional / 2
    assert long.funding_accrued_minor == pytest.approx(-expected, rel=0.05)
    dust = -(long.funding_accrued_minor + short.funding_accrued_minor)
    assert 0 <= dust <= 2
    currency = "BTC" if spec.inverse else "USDC"
    equity = venue.view(alice, 0 if spec.inverse else 1).equity_minor
    venue.cold(CommandKind.SWEEP_DUST, config.Transfer(currency))
    assert venue.view(alice, 0 if spec.inverse else 1).equity_minor == equity
    assert venue.engine.positions(alice)[0].funding_accrued_minor == 0
    ledger = venue.engine.ledger(currency)
    assert ledger["funding"] == ledger["rounding"] == 0
    assert ledger["fund"] == dust
    venue.sound()


def test_funding_does_not_run_on_over_an_outage():
    venue = Driver([perpetual()])
    alice, bob = venue.account("alice", btc=5), venue.account("bob", btc=5)
    venue.marks(100_000)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 1_000)
    venue.place(alice, "BTC-PERPETUAL", "buy", 200_600, 10)
    venue.place(bob, "BTC-PERPETUAL", "sell", 201_000, 10)
    for _ in range(10):
        venue.now += 60 * SECOND
        venue.marks(100_000)
    before = venue.engine.positions(alice)[0].funding_accrued_minor
    rate = venue.engine.market(0).funding_rate_e12 / 1e12
    venue.now += 3 * DAY
    venue.marks(100_000)
    accrued = before - venue.engine.positions(alice)[0].funding_accrued_minor
    assert accrued == pytest.approx(rate / 8 * 0.1 * 10**10, rel=0.01)
