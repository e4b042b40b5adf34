"""What combos cost: net margin, limits of their legs, makers that do not stand, and how a combo ends."""

import itertools

import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderFlag, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.combos import (
    BUTTERFLY,
    CALENDAR,
    CALLS,
    FAR_FUTURE,
    NEAR,
    NEAR_FUTURE,
    PERPETUAL,
    SPREAD,
    STRADDLE,
    combo,
    fair,
    held,
    mark_units,
    venue,
)  # fmt: skip
from tests.driver import DAY, SECOND, START_NS, kinds, only, option

ALL = (SPREAD, STRADDLE, BUTTERFLY, CALENDAR)
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")


def margins(made, account_id):
    return made.engine.exposure.margins(account_id, 0)


def test_a_spread_costs_less_than_its_legs():
    made = venue(SPREAD)
    made.place(made.alice, "BTC-CS", "sell", fair(made, SPREAD) + 1, 100)
    together = margins(made, made.alice)[1]
    for leg in SPREAD.legs:
        name, side = leg.instrument, "sell" if leg.ratio > 0 else "buy"
        made.place(made.bob, name, side, mark_units(made, name) // 5 * 5 + 5 * (side == "sell"), 100)
    assert 0 < together < 0.75 * margins(made, made.bob)[1]


@pytest.mark.parametrize("model", MODELS)
def test_open_combos_cover_every_subset_of_their_fills(model):
    """The excess with orders open is no more than the excess after any of them is filled at its limit."""
    orders = [(SPREAD, "buy", 3), (SPREAD, "sell", 7), (BUTTERFLY, "sell", -4), (CALENDAR, "buy", 30)]
    for chosen in itertools.product((False, True), repeat=len(orders)):
        made = venue(*ALL)
        account = made.account("dora", btc=20, model=model)
        for spec, side, away in orders:
            found = made.place(account, spec.name, side, fair(made, spec) + away, 20)
            assert kinds(found) == [EventKind.ORDER_ACCEPTED]
        equity, initial, _ = margins(made, account)
        made.sound()
        for order in made.engine.open_orders(account):
            made.submit(commands.record(CommandKind.CANCEL_ORDER, account, order_id=order.order_id))
        for (spec, side, away), filled in zip(orders, chosen, strict=True):
            if filled:
                made.place(account, spec.name, side, fair(made, spec) + away, 20)
                other = "sell" if side == "buy" else "buy"
                only(made.place(made.carol, spec.name, other, fair(made, spec) + away, 20), EventKind.TRADE_EXECUTED)
        after_equity, after_initial, _ = margins(made, account)
        assert equity - initial <= after_equity - after_initial
        made.sound()


@pytest.mark.parametrize("model", MODELS)
def test_cancelling_gives_back_to_the_unit(model):
    made = venue(*ALL)
    account = made.account("dora", btc=20, model=model)
    made.place(made.carol, CALLS[0], "sell", 700, 5)
    made.place(account, CALLS[0], "buy", 700, 5)
    before = margins(made, account)
    for number, spec in enumerate(ALL):
        made.place(account, spec.name, ("buy", "sell")[number % 2], fair(made, spec) + number, 12)
        made.marks(100_000 + 500 * number)
    for order in made.engine.open_orders(account):
        made.submit(commands.record(CommandKind.CANCEL_ORDER, account, order_id=order.order_id))
    made.marks(100_000)
    assert margins(made, account) == before
    made.sound()


def test_an_account_short_of_funds_may_take_off_risk_with_a_combo():
    made = venue(CALENDAR)
    account = made.account("dora", btc=1)
    for name, side in ((NEAR_FUTURE, "buy"), (PERPETUAL, "sell")):
        made.trade(made.bob, account, name, side, 200_000, 40_000)
    made.now += SECOND
    made.marks(99_000, forward=80_000)
    equity, initial, _ = margins(made, account)
    assert equity < initial
    found = made.place(account, "BTC-FS", "buy", fair(made, CALENDAR), 100)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    found = made.place(account, "BTC-FS", "sell", fair(made, CALENDAR), 10_000)
    assert only(found, EventKind.ORDER_ACCEPTED).flags & OrderFlag.RISK_REDUCING
    made.sound()


def test_position_limits_hold_for_each_leg():
    made = venue()
    tight = option(115_000, "call", NEAR, name="TIGHT", max_position_lots=50)
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((tight,)))
    made.marks(100_000)
    spec = combo("X", [(CALLS[0], 1), ("TIGHT", -2)])
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    price = fair(made, spec)
    made.place(made.alice, "TIGHT", "sell", mark_units(made, "TIGHT") // 5 * 5 + 50, 10)
    made.place(made.alice, "X", "buy", price - 9, 15)
    found = made.place(made.alice, "X", "buy", price - 9, 6)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.POSITION_LIMIT
    assert kinds(made.place(made.alice, "X", "buy", price - 9, 5)) == [EventKind.ORDER_ACCEPTED]
    found = made.place(made.alice, "TIGHT", "sell", mark_units(made, "TIGHT") // 5 * 5 + 50, 1)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.POSITION_LIMIT
    view = next(p for p in made.engine.positions(made.alice) if p.instrument == made.slot("TIGHT"))
    assert (view.open_sell_lots, view.combo_sell_lots) == (10, 40)
    made.sound()


def poor_maker(made, spec, lots):
    """An account whose order, once filled, is below its maintenance margin."""
    account = made.account("poor", btc=1.0)
    found = made.place(account, spec.name, "buy", fair(made, spec), lots)
    assert kinds(found) == [EventKind.ORDER_ACCEPTED]
    made.trade(made.carol, account, PERPETUAL, "buy", 200_000, 20_000)
    made.now += SECOND
    made.marks(80_500)
    return account


@pytest.mark.parametrize("force", [TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL])
def test_a_maker_that_would_fall_below_maintenance_is_passed_over(force):
    made = venue(SPREAD)
    account = poor_maker(made, SPREAD, 100)
    price = made.engine.open_orders(account)[0].price_units
    made.place(made.bob, "BTC-CS", "buy", fair(made, SPREAD), 100)
    assert price > fair(made, SPREAD)
    found = made.place(made.alice, "BTC-CS", "sell", fair(made, SPREAD), 100, time_in_force=force)
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.MAINTENANCE_WOULD_BREACH
    assert only(found, EventKind.TRADE_EXECUTED).maker_account_id == made.bob
    made.sound()


def test_protection_counts_the_combo():
    made = venue(SPREAD)
    limits = payloads.Protection("BTC", 1, interval_ns=SECOND, quantity_limit_e8=50_000_000)
    made.cold(CommandKind.SET_PROTECTION, limits, made.bob)
    for away in (1, 2):
        made.submit(
            commands.record(
                CommandKind.PLACE_ORDER, made.bob, tail=commands.order_terms(protection_group=1), terms_slots=1,
                instrument=made.slot("BTC-CS"), side=1, price_units=fair(made, SPREAD) + away, quantity_lots=6,
            )
        )  # fmt: skip
    found = made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD) + 2, 12)
    assert only(found, EventKind.PROTECTION_TRIGGERED).quantity_e8 == 60_000_000
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.PROTECTION_TRIGGERED
    made.sound()


# ---------------------------------------------------------------------- the end, and the same again


def test_a_combo_ends_with_its_first_leg():
    made = venue(SPREAD, CALENDAR, combo("BTC-FF", [(FAR_FUTURE, 1), (NEAR_FUTURE, -1)]))
    for name in ("BTC-CS", "BTC-FF"):
        found = made.place(made.alice, name, "buy", fair(made, made.engine.listing.spec(made.slot(name))) - 20, 10)
        assert kinds(found) == [EventKind.ORDER_ACCEPTED]
    made.place(made.bob, "BTC-CS", "sell", fair(made, SPREAD), 10)
    only(made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD), 10), EventKind.TRADE_EXECUTED)
    made.now = NEAR - SECOND
    made.marks(105_000)
    found = made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD) - 20, 10)
    assert kinds(found) == [EventKind.ORDER_ACCEPTED]
    found = made.tick(2 * SECOND)
    ended = [event for event in found if event.kind == EventKind.INSTRUMENT_SETTLED]
    assert [event.reason for event in ended].count(Reason.COMBO_ENDED) == 3
    cancelled = [event for event in found if event.kind == EventKind.ORDER_CANCELLED]
    assert {event.reason for event in cancelled} == {Reason.COMBO_ENDED}
    assert len(cancelled) == 3
    assert made.engine.listing.combo_slots() == []
    assert set(held(made, made.alice)) == set()
    assert made.engine.instrument_slot(FAR_FUTURE) >= 0
    made.sound()


def test_a_replay_gives_the_same_state():
    made = venue(*ALL, max_combos=4)
    for number in range(40):
        spec = ALL[number % 4]
        maker, taker = (made.alice, made.bob) if number % 3 else (made.bob, made.carol)
        price = fair(made, spec) + (number * 7) % 11 - 5
        made.place(maker, spec.name, "sell", price, 5 + number)
        made.place(taker, spec.name, "buy", price, 3 + number, time_in_force=number % 3)
        if number % 10 == 0:
            made.now += SECOND
            made.marks(100_000 + 300 * number, vol=0.6 + number / 200)
    made.tick(NEAR - START_NS + DAY)
    made.sound()
    engine = Engine()
    for record in made.journal.records:
        engine.apply(record)
    assert engine.state_digest() == made.engine.state_digest()
    assert engine.event_chain() == made.engine.event_chain()
