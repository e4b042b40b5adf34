"""Expiry: payoffs, canonical order, conservation, recycled slots."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import COIN, DAY, SECOND, START_NS, USDC, Driver, future, kinds, only, option

EXPIRY = START_NS + DAY


def sold_option(strike, option_type, settlement="BTC", price=0.02):
    """A venue where alice bought ten lots (one coin) of an option from bob."""
    spec = option(strike, option_type, EXPIRY, settlement)
    venue = Driver([spec])
    alice = venue.account("alice", btc=2, usdc=200_000)
    bob = venue.account("bob", btc=2, usdc=200_000)
    venue.marks(100_000)
    mark = venue.engine.market(venue.slot(spec.name)).mark_price_e8 // spec.price_unit_e8
    venue.trade(bob, alice, spec.name, "buy", max(1, mark), 10)
    return venue, spec, alice, bob


def settle_at(venue, index):
    """Walk the index to `index` for the last half hour and let the instrument expire."""
    venue.now = EXPIRY - 1800 * SECOND
    for _ in range(31):
        venue.marks(index, vol=0.6)
        venue.now += 60 * SECOND
    return venue.tick()


@pytest.mark.parametrize(
    ("strike", "option_type", "index", "payoff_coin"),
    [
        (100_000, "call", 110_000, 10_000 / 110_000),
        (100_000, "call", 90_000, 0),
        (100_000, "put", 90_000, 10_000 / 90_000),
        (100_000, "put", 110_000, 0),
    ],
)
def test_inverse_option_pays_its_payoff_in_coin(strike, option_type, index, payoff_coin):
    venue, spec, alice, bob = sold_option(strike, option_type)
    before = {a: venue.cash(a) for a in (alice, bob)}
    events = settle_at(venue, index)
    per_lot = int(payoff_coin * COIN / 10)
    paid = [e for e in events if e.kind == EventKind.POSITION_SETTLED]
    assert [(e.account_id, e.quantity_lots) for e in paid] == [(alice, 10), (bob, -10)]
    assert abs(paid[0].payout_minor - 10 * per_lot) <= 10
    assert paid[0].payout_minor == -paid[1].payout_minor
    fees = venue.engine.ledger("BTC")["fees"]
    assert venue.cash(alice) <= before[alice] + paid[0].payout_minor
    assert venue.cash(bob) <= before[bob] - paid[0].payout_minor
    assert fees > 0
    assert venue.engine.ledger("BTC")["clearing"] == 0
    assert venue.engine.instrument_slot(spec.name) == -1
    venue.sound()


def test_linear_option_pays_in_usdc():
    venue, _, alice, _ = sold_option(100_000, "call", "USDC")
    events = settle_at(venue, 112_500)
    paid = [e for e in events if e.kind == EventKind.POSITION_SETTLED]
    assert paid[0].account_id == alice
    assert paid[0].payout_minor == 12_500 * USDC
    assert paid[1].payout_minor == -12_500 * USDC
    venue.sound()


def test_inverse_future_settles_its_whole_profit():
    spec = future(EXPIRY)
    venue = Driver([spec])
    alice, bob = venue.account("alice", btc=2), venue.account("bob", btc=2)
    venue.marks(100_000)
    venue.trade(bob, alice, spec.name, "buy", 200_000, 10_000)
    before = venue.cash(alice)
    events = settle_at(venue, 105_000)
    paid = next(e for e in events if e.kind == EventKind.POSITION_SETTLED and e.account_id == alice)
    exact = 100_000 / 100_000 - 100_000 / 105_000
    assert abs(paid.realised_minor - exact * COIN) <= 10_000
    assert venue.cash(alice) - before <= paid.realised_minor
    ledger = venue.engine.ledger("BTC")
    assert ledger["clearing"] == 0
    venue.sound()


def test_price_is_the_mean_of_the_last_half_hour():
    venue, _, _, _ = sold_option(100_000, "call")
    venue.now = EXPIRY - 1700 * SECOND
    for index in (100_000, 110_000, 120_000):
        venue.marks(index)
        venue.now += 500 * SECOND
    venue.now = EXPIRY + SECOND
    venue.marks(150_000)
    settled = only(venue.tick(), EventKind.INSTRUMENT_SETTLED)
    assert settled.settlement_price_e8 == 110_000 * 10**8


def test_after_downtime_over_expiry_settlement_waits_for_a_fresh_index():
    venue, spec, alice, _ = sold_option(100_000, "call")
    venue.now = EXPIRY + 3600 * SECOND
    assert kinds(venue.tick()) == [EventKind.MARK_STAGE_CHANGED]
    assert venue.engine.instrument_slot(spec.name) >= 0
    rejected = only(venue.place(alice, spec.name, "buy", 100, 1), EventKind.ORDER_REJECTED)
    assert rejected.reason == Reason.INSTRUMENT_EXPIRED
    venue.marks(108_000)
    settled = only(venue.tick(), EventKind.INSTRUMENT_SETTLED)
    assert settled.settlement_price_e8 == 108_000 * 10**8
    venue.sound()


def test_open_orders_are_cancelled_in_ascending_id():
    venue, spec, alice, bob = sold_option(100_000, "call")
    for account, side, price in ((bob, "sell", 900), (alice, "buy", 20), (bob, "sell", 800), (alice, "buy", 30)):
        assert kinds(venue.place(account, spec.name, side, price, 1)) == [EventKind.ORDER_ACCEPTED]
    cancelled = [e for e in settle_at(venue, 100_000) if e.kind == EventKind.ORDER_CANCELLED]
    assert [e.order_id for e in cancelled] == sorted(e.order_id for e in cancelled)
    assert len(cancelled) == 4
    assert {e.reason for e in cancelled} == {Reason.INSTRUMENT_SETTLED}
    assert venue.engine.counters().open_orders == 0


def test_slots_are_recycled_and_ids_are_not():
    venue, spec, _, _ = sold_option(100_000, "call")
    slot = venue.slot(spec.name)
    number = venue.engine.instrument(slot).instrument_id
    settle_at(venue, 100_000)
    fresh = option(105_000, "put", EXPIRY + 7 * DAY)
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((fresh,)))
    assert venue.slot(fresh.name) == slot
    assert venue.engine.instrument(slot).instrument_id > number
    assert venue.engine.market(slot).trade_seq == 0
    venue.marks(100_000)
    venue.sound()
