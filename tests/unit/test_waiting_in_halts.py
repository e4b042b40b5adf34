"""Waiting orders while their instrument does not trade, and trailing stops that get a new distance."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderType, TriggerSource
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import Driver, kinds, only, perpetual
from tests.unit.test_order_types import NAME, wait

E8 = 10**8


@pytest.fixture
def venue():
    made = Driver([perpetual()])
    made.alice, made.bob = (made.account(name, btc=50) for name in ("alice", "bob"))
    made.marks(100_000)
    return made


def state(venue, name):
    return venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, name))


def distance(venue, order, offset_e8, **terms):
    return venue.submit(
        commands.record(
            CommandKind.EDIT_ORDER, venue.alice, order_id=order, quantity_lots=10, terms_slots=1,
            tail=commands.order_terms(trigger_offset_e8=offset_e8, **terms),
        )
    )  # fmt: skip


def stop(venue, trigger, source=TriggerSource.INDEX_PRICE):
    found = wait(venue, venue.alice, "buy", OrderType.STOP_MARKET, trigger_price_e8=trigger * E8, trigger_source=source)
    return only(found, EventKind.TRIGGER_PLACED).order_id


def test_nothing_fires_in_a_halt_and_what_is_beyond_then_fires_when_it_opens(venue):
    first, second = stop(venue, 101_000), stop(venue, 102_000)
    state(venue, "halted")
    assert EventKind.ORDER_TRIGGERED not in kinds(venue.marks(103_000))
    venue.marks(101_500)
    found = state(venue, "close_only")
    assert only(found, EventKind.ORDER_TRIGGERED).trigger_order_id == first
    assert [order.order_id for order in venue.engine.trigger_orders(venue.alice)] == [second]
    assert EventKind.ORDER_TRIGGERED not in kinds(state(venue, "open"))
    venue.sound()


def test_what_stood_in_the_queue_when_the_halt_came_waits_again(venue):
    for _ in range(70):
        stop(venue, 101_000)
    fired = [e for e in venue.marks(102_000) if e.kind == EventKind.ORDER_TRIGGERED]
    assert len(fired) == 64
    state(venue, "halted")
    assert kinds(venue.tick()) == []
    venue.marks(100_500)
    assert EventKind.ORDER_TRIGGERED not in kinds(state(venue, "open"))
    assert len(venue.engine.trigger_orders(venue.alice)) == 6
    assert len([e for e in venue.marks(101_000) if e.kind == EventKind.ORDER_TRIGGERED]) == 6


def test_a_trailing_stop_goes_on_trailing_in_a_halt(venue):
    wait(venue, venue.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1000 * E8)
    state(venue, "halted")
    venue.marks(105_000)
    assert venue.engine.trigger_orders(venue.alice)[0].trigger_price_e8 == 104_000 * E8
    venue.marks(103_500)
    found = state(venue, "open")
    assert only(found, EventKind.ORDER_TRIGGERED).value_e8 == 103_500 * E8


def test_a_new_distance_counts_from_the_current_value(venue):
    placed = wait(venue, venue.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1000 * E8)
    order = only(placed, EventKind.TRIGGER_PLACED).order_id
    venue.marks(105_000)
    venue.marks(104_500)
    assert only(distance(venue, order, 2000 * E8), EventKind.ORDER_EDITED).quantity_lots == 10
    view = venue.engine.trigger_orders(venue.alice)[0]
    assert (view.trigger_offset_e8, view.trigger_price_e8) == (2000 * E8, 102_500 * E8)
    venue.marks(105_000)
    assert venue.engine.trigger_orders(venue.alice)[0].trigger_price_e8 == 103_000 * E8


def test_a_distance_is_for_trailing_stops_and_below_the_value(venue):
    placed = wait(venue, venue.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1000 * E8)
    trailing = only(placed, EventKind.TRIGGER_PLACED).order_id
    plain = stop(venue, 101_000)
    before = venue.engine.trigger_orders(venue.alice)
    for order, offset in ((trailing, 100_000 * E8), (trailing, -1), (trailing, 2**62), (plain, 1000 * E8)):
        refused = only(distance(venue, order, offset), EventKind.ORDER_REJECTED)
        assert refused.reason == Reason.BAD_TRIGGER
    for terms in ({"display_lots": 5}, {"advanced": 1}, {"protection_group": 1}):
        assert only(distance(venue, trailing, 0, **terms), EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    assert venue.engine.trigger_orders(venue.alice) == before
