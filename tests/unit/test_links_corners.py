"""Linked orders: the end of the command, labels, formula margin, shares of an order that shrank on firing."""

import pytest

from exchange import commands
from exchange.commands import CommandKind, FillCondition, LinkType, OrderFlag, OrderType, TriggerSource
from exchange.config import InstrumentState, SetMarginMode
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import Driver, kinds, only, perpetual
from tests.unit.test_links import E8, NAME, link, mine, order, stop

OCO, OTO, OTOCO = LinkType
FIRST, COMPLETE, INCREMENTAL = FillCondition
LAST = {"trigger_source": TriggerSource.LAST_PRICE}


@pytest.fixture
def venue():
    made = Driver([perpetual()])
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def test_the_command_is_done_last_though_what_it_caused_reaches_more_prices(venue):
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 10)
    for price in (200_100, 200_200, 200_300, 200_400, 200_500):
        venue.place(venue.bob, NAME, "sell", price, 10)
    market = order("buy", 0, 10, OrderType.MARKET)
    link(venue, OTO, COMPLETE, stop("buy", 100_100, 10, **LAST), market, account=venue.carol)
    terms = commands.order_terms(trigger_price_e8=100_200 * E8, **LAST)
    venue.submit(
        commands.record(
            CommandKind.PLACE_ORDER, venue.alice, terms, terms_slots=1, instrument=0, side=0,
            order_type=OrderType.STOP_MARKET, quantity_lots=10,
        )
    )  # fmt: skip
    found = link(venue, OTO, COMPLETE, market, market)
    assert kinds(found).count(EventKind.ORDER_TRIGGERED) == 3
    assert kinds(found)[-1] == EventKind.COMMAND_DONE
    assert only(venue.tick(), EventKind.TRADE_EXECUTED).price_units == 200_500
    venue.sound()


def test_a_unique_label_is_held_against_the_first_of_two(venue):
    second = order("sell", 202_000, 10, label="one", flags=OrderFlag.UNIQUE_LABEL)
    found = link(venue, OCO, FIRST, order("buy", 198_000, 10, label="one"), second)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.DUPLICATE_LABEL
    assert mine(venue) == ([], [])
    venue.sound()


def initial(model, linked):
    """Initial margin of two orders that lose against the mark, linked or each alone."""
    made = Driver([perpetual()])
    made.alice = made.account("alice", btc=50, model=model)
    made.marks(100_000)
    both = order("buy", 201_000, 1_000), order("buy", 203_000, 1_000)
    if linked:
        link(made, OCO, FIRST, *both)
    else:
        for one in both:
            made.place(made.alice, NAME, ("buy", "sell")[one.side], one.price_units, one.quantity_lots)
    made.sound()
    return made.view(made.alice).initial_margin_minor


def test_formula_margin_counts_what_both_may_cost():
    made = initial("segregated_sm", False)
    assert initial("segregated_sm", True) == made > 0
    assert initial("segregated_pm", True) < initial("segregated_pm", False)


def test_shares_are_of_the_quantity_accepted_on_firing(venue):
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 50)
    venue.place(venue.carol, NAME, "buy", 199_000, 25)
    reduces = stop("sell", 99_900, 100, flags=OrderFlag.REDUCE_ONLY)
    link(venue, OTO, INCREMENTAL, reduces, order("buy", 190_000, 40))
    found = venue.marks(99_800)
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 25  # of 50, the position
    placed = [e for e in found if e.kind == EventKind.ORDER_TRIGGERED and e.trigger_source == 3]
    assert [e.value_e8 for e in placed] == [20]
    venue.sound()


def sold(found, account_id):
    """Lots that an account's resting orders have traded."""
    return sum(
        e.quantity_lots for e in found if e.kind == EventKind.TRADE_EXECUTED and e.maker_account_id == account_id
    )


@pytest.mark.parametrize(
    ("condition", "first", "second", "lots"), [(FIRST, 10, 30, 10), (INCREMENTAL, 10, 30, 10), (COMPLETE, 10, 30, 10)]
)
def test_one_sweep_fills_no_more_than_one_of_two(venue, condition, first, second, lots):
    link(venue, OCO, condition, order("sell", 200_100, first), order("sell", 200_200, second))
    venue.place(venue.carol, NAME, "sell", 200_300, 100)
    found = venue.place(venue.bob, NAME, "buy", 200_300, 60)
    assert sold(found, venue.alice) == lots
    assert sold(found, venue.carol) == 60 - lots
    assert [e.reason for e in found if e.kind == EventKind.ORDER_CANCELLED] == [Reason.OTHER_CLOSED]
    assert mine(venue) == ([], [])
    venue.sound()


def test_one_sweep_leaves_the_second_of_two_its_share(venue):
    first, second = order("sell", 200_100, 40), order("sell", 200_200, 40)
    link(venue, OCO, INCREMENTAL, first, second)
    venue.place(venue.carol, NAME, "sell", 200_100, 30)
    found = venue.place(venue.bob, NAME, "buy", 200_100, 70)  # carol's, and all 40 of the first
    assert sold(found, venue.alice) == 40
    assert mine(venue) == ([], [])
    link(venue, OCO, INCREMENTAL, order("sell", 200_100, 40), order("sell", 200_100, 40))
    found = venue.place(venue.bob, NAME, "buy", 200_100, 50)
    assert sold(found, venue.alice) == 40  # 40 of the first, nothing is left of the second
    venue.sound()


def test_fill_or_kill_counts_one_of_two(venue):
    link(venue, OCO, FIRST, order("sell", 200_100, 10), order("sell", 200_200, 30))
    kill = {"time_in_force": 2}
    assert only(venue.place(venue.bob, NAME, "buy", 200_300, 40, **kill), EventKind.ORDER_REJECTED)
    assert len(mine(venue)[0]) == 2
    venue.place(venue.carol, NAME, "sell", 200_200, 30)
    found = venue.place(venue.bob, NAME, "buy", 200_300, 40, **kill)
    assert sold(found, venue.alice) == 10
    assert sold(found, venue.carol) == 30
    venue.sound()


def test_a_stop_is_gone_before_it_fires_when_its_other_was_filled_first(venue):
    """A mark fires two stops: carol's takes alice's limit order, whose own stop must then not sell as well."""
    venue.trade(venue.bob, venue.carol, NAME, "buy", 200_000, 50)
    sells = order("sell", 200_200, 20)
    terms = commands.order_terms(trigger_price_e8=100_050 * E8, trigger_source=TriggerSource.MARK_PRICE)
    venue.submit(
        commands.record(
            CommandKind.PLACE_ORDER, venue.carol, terms, terms_slots=1, instrument=0, side=0,
            order_type=OrderType.STOP_MARKET, quantity_lots=20,
        )
    )  # fmt: skip
    link(venue, OCO, FIRST, sells, order("sell", 0, 20, OrderType.TAKE_MARKET, trigger_price_e8=100_060 * E8,
                                         trigger_source=TriggerSource.MARK_PRICE))  # fmt: skip
    venue.place(venue.bob, NAME, "buy", 199_900, 100)
    found = venue.marks(100_070)
    assert sold(found, venue.alice) == 20
    assert [e.reason for e in found if e.kind == EventKind.ORDER_CANCELLED] == [Reason.OTHER_CLOSED]
    assert kinds(found).count(EventKind.ORDER_TRIGGERED) == 1
    assert mine(venue) == ([], [])
    venue.sound()


def test_an_uncrossing_fills_one_of_two(venue):
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, InstrumentState(NAME, "auction"))
    link(venue, OCO, FIRST, order("sell", 199_900, 10), order("sell", 199_950, 30))
    venue.place(venue.carol, NAME, "sell", 199_950, 30)
    venue.place(venue.bob, NAME, "buy", 200_100, 60)
    found = venue.cold(CommandKind.SET_INSTRUMENT_STATE, InstrumentState(NAME, "open"))
    traded = sum(e.quantity_lots for e in found if e.kind == EventKind.TRADE_EXECUTED)
    assert traded == 40
    assert (venue.alice, Reason.OTHER_CLOSED) in [
        (e.account_id, e.reason) for e in found if e.kind == EventKind.ORDER_CANCELLED
    ]
    venue.sound()


def test_what_an_isolated_order_drew_is_not_taken_from_who_gets_its_slot(venue):
    """The taker's order is gone when the other account's first order takes its place in the pool and is taken back."""
    venue.cold(CommandKind.SET_MARGIN_MODE, SetMarginMode(NAME, "isolated", 1_000), venue.carol)
    untakeable = stop("sell", 150_000, 10)
    link(venue, OTOCO, COMPLETE, order("buy", 198_000, 10), order("sell", 202_000, 10), untakeable)
    before = venue.cash(venue.alice)
    found = venue.place(venue.carol, NAME, "sell", 198_000, 10)
    assert [e.reason for e in found if e.kind == EventKind.ORDER_REJECTED] == [
        Reason.TRIGGER_PRICE_TOO_HIGH, Reason.OTHER_CLOSED,
    ]  # fmt: skip
    moved = [e.account_id for e in found if e.kind == EventKind.BALANCE_CHANGED]
    assert moved and venue.alice not in moved
    assert venue.cash(venue.alice) == before
    venue.sound()
