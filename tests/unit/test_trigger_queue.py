"""In which order waiting orders fire, what an edit does to one that stands in the queue, when the first day ends."""

import pytest

from exchange import commands
from exchange.commands import CommandKind, OrderType, TimeInForce, TriggerSource
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, future, kinds, only, option, patient, perpetual

E8 = 10**8
FUTURE = future(START_NS + 30 * DAY)
PERPETUAL = perpetual()


@pytest.fixture
def venue():
    made = Driver([PERPETUAL, FUTURE], patient())
    made.alice = made.account("alice", btc=50)
    made.marks(100_000)
    return made


def test_a_mark_of_nothing_is_a_price_too():
    venue = Driver([option(100_000, "put", START_NS + DAY)])
    venue.alice = venue.account("alice", btc=50)
    name = venue.engine.instrument(0).name
    venue.marks(100_000)
    record = commands.record(
        CommandKind.PLACE_ORDER,
        venue.alice,
        tail=commands.order_terms(trigger_price_e8=10_000, trigger_source=TriggerSource.MARK_PRICE),
        terms_slots=1,
        instrument=venue.slot(name),
        side=1,
        order_type=OrderType.STOP_MARKET,
        quantity_lots=1,
    )
    waiting = only(venue.submit(record), EventKind.TRIGGER_PLACED)
    assert fired(venue.marks(119_000, vol=0.1)) == [(waiting.order_id, 0)]
    assert venue.engine.market(0).mark_price_e8 == 0


def wait(venue, name, trigger_price, time_in_force=TimeInForce.GOOD_TIL_CANCELLED):
    """A stop limit buy of one lot that would rest when it fires; its id."""
    record = commands.record(
        CommandKind.PLACE_ORDER,
        venue.alice,
        tail=commands.order_terms(trigger_price_e8=trigger_price * E8),
        terms_slots=1,
        instrument=venue.slot(name),
        order_type=OrderType.STOP_LIMIT,
        time_in_force=time_in_force,
        price_units=199_000,
        quantity_lots=1,
    )
    return only(venue.submit(record), EventKind.TRIGGER_PLACED).order_id


def fired(found):
    return [(e.trigger_order_id, e.value_e8) for e in found if e.kind == EventKind.ORDER_TRIGGERED]


def test_one_mark_fires_in_ascending_id_whatever_the_instrument(venue):
    ids = [wait(venue, name, 101_000) for name in (PERPETUAL.name, FUTURE.name, PERPETUAL.name, FUTURE.name)]
    assert [order_id for order_id, _ in fired(venue.marks(101_500))] == ids


def test_the_order_of_firing_follows_from_the_state_and_not_from_what_was_cancelled_before(venue):
    gone = wait(venue, FUTURE.name, 101_000)
    ids = [wait(venue, name, 101_000) for name in (PERPETUAL.name, FUTURE.name)]
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=gone, reason=Reason.USER_REQUEST))
    assert [order_id for order_id, _ in fired(venue.marks(101_500))] == ids


def test_an_order_that_waits_again_fires_at_the_end_of_the_queue_with_what_it_then_saw(venue):
    ids = [wait(venue, PERPETUAL.name, 101_000) for _ in range(70)]
    assert len(fired(venue.marks(101_500))) == 64
    edit = commands.record(
        CommandKind.EDIT_ORDER,
        venue.alice,
        order_id=ids[64],
        price_units=199_000,
        quantity_lots=1,
        trigger_price_e8=102_000 * E8,
    )
    assert kinds(venue.submit(edit)) == [EventKind.ORDER_EDITED]
    found = fired(venue.marks(102_500))
    assert found == [(order_id, 101_500 * E8) for order_id in ids[65:]] + [(ids[64], 102_500 * E8)]
    assert venue.engine.triggers.export()[2] == []


def test_the_first_day_ends_at_eight_waiting_orders_first(venue):
    waiting = wait(venue, PERPETUAL.name, 105_000, TimeInForce.GOOD_TIL_DAY)
    placed = venue.place(venue.alice, PERPETUAL.name, "buy", 190_000, 1, time_in_force=TimeInForce.GOOD_TIL_DAY)
    to_eight = (8 * 3600 * SECOND - START_NS) % DAY
    assert venue.tick(to_eight - 1) == []
    found = venue.tick(1)
    assert [(e.order_id, e.reason) for e in found] == [
        (waiting, Reason.DAY_ENDED),
        (only(placed, EventKind.ORDER_ACCEPTED).order_id, Reason.DAY_ENDED),
    ]


def test_a_venue_whose_first_tick_comes_after_eight_ends_the_day_then(venue):
    venue.place(venue.alice, PERPETUAL.name, "buy", 190_000, 1, time_in_force=TimeInForce.GOOD_TIL_DAY)
    assert [e.reason for e in venue.tick(DAY)] == [Reason.DAY_ENDED]
