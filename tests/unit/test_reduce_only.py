"""Resting reduce-only orders shrink with their positions, whatever makes those smaller."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, FillCondition, LinkType, OrderFlag
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.payloads import BlockLeg
from exchange.reasons import Reason
from tests.driver import Driver, kinds, only, patient, perpetual
from tests.unit.test_block_trades import block
from tests.unit.test_icebergs import iceberg
from tests.unit.test_links import link, order

NAME = "BTC-PERPETUAL"
PRICE = 200_000
REDUCE = {"flags": OrderFlag.REDUCE_ONLY}


@pytest.fixture
def venue() -> Driver:
    made = Driver([perpetual()], patient())
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def less(venue: Driver, account: int, lots: int) -> list:
    """A trade with carol that takes lots off a long position; its last command's events."""
    venue.place(venue.carol, NAME, "buy", PRICE - 10, lots)
    return venue.place(account, NAME, "sell", PRICE - 10, lots)


def remaining(venue: Driver, account: int) -> list[int]:
    return [one.remaining_lots for one in venue.engine.open_orders(account)]


def test_an_order_is_cut_in_the_command_that_shrinks_the_position_and_keeps_its_place(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 30)
    first = only(venue.place(venue.alice, NAME, "sell", PRICE + 10, 30, **REDUCE), EventKind.ORDER_ACCEPTED).order_id
    venue.place(venue.bob, NAME, "sell", PRICE + 10, 5)
    found = less(venue, venue.alice, 12)
    assert kinds(found) == [EventKind.ORDER_ACCEPTED, EventKind.TRADE_EXECUTED, EventKind.ORDER_EDITED]
    cut = found[-1]
    assert (cut.order_id, cut.quantity_lots, cut.remaining_lots, cut.kept_priority) == (first, 18, 18, 1)
    assert venue.engine.depth(venue.slot(NAME), 5)[1] == [(PRICE + 10, 23)]
    taken = venue.place(venue.carol, NAME, "buy", PRICE + 10, 20)
    assert [(e.maker_order_id == first, e.quantity_lots) for e in taken if e.kind == EventKind.TRADE_EXECUTED] == [
        (True, 18), (False, 2),
    ]  # fmt: skip
    venue.sound()


def test_a_partly_filled_order_counts_what_it_filled(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 30)
    venue.place(venue.alice, NAME, "sell", PRICE + 10, 30, **REDUCE)
    venue.place(venue.alice, NAME, "sell", PRICE + 20, 25, **REDUCE)
    found = venue.place(venue.carol, NAME, "buy", PRICE + 10, 10)
    cut = only(found, EventKind.ORDER_EDITED)
    assert (cut.price_units, cut.quantity_lots, cut.remaining_lots) == (PRICE + 20, 20, 20)
    first = venue.engine.open_orders(venue.alice)[0]
    assert (first.quantity_lots, first.remaining_lots) == (30, 20)
    venue.sound()


def test_it_ends_with_the_position_and_when_the_position_turns(venue: Driver) -> None:
    for lots in (10, 14):
        venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 10)
        resting = only(venue.place(venue.alice, NAME, "sell", PRICE + 10, 10, **REDUCE), EventKind.ORDER_ACCEPTED)
        gone = only(less(venue, venue.alice, lots), EventKind.ORDER_CANCELLED)
        assert (gone.order_id, gone.reason) == (resting.order_id, Reason.REDUCE_ONLY_POSITION_GONE)
        assert remaining(venue, venue.alice) == []
        if lots > 10:
            assert venue.engine.positions(venue.alice)[0].quantity_lots == -4
    venue.sound()


def test_only_reduce_only_orders_of_the_contract_are_cut_and_nothing_grows_back(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 20)
    venue.place(venue.alice, NAME, "sell", PRICE + 10, 20, **REDUCE)
    venue.place(venue.alice, NAME, "sell", PRICE + 20, 20)
    less(venue, venue.alice, 5)
    assert remaining(venue, venue.alice) == [15, 20]
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 50)
    assert remaining(venue, venue.alice) == [15, 20]
    venue.sound()


def test_one_sweep_cuts_account_by_account_in_ascending_id(venue: Driver) -> None:
    for who in (venue.carol, venue.alice):
        venue.trade(venue.bob, who, NAME, "buy", PRICE, 10)
        for price in (PRICE + 40, PRICE + 30):
            venue.place(who, NAME, "sell", price, 10, **REDUCE)
        venue.place(who, NAME, "sell", PRICE + 10, 4)
    found = venue.place(venue.bob, NAME, "buy", PRICE + 10, 8)
    edited = [e for e in found if e.kind == EventKind.ORDER_EDITED]
    assert [e.account_id for e in edited] == [venue.alice] * 2 + [venue.carol] * 2
    assert [e.order_id for e in edited] == sorted(e.order_id for e in edited[:2]) + sorted(
        e.order_id for e in edited[2:]
    )
    assert {e.remaining_lots for e in edited} == {6}
    venue.sound()


def test_hidden_lots_of_an_iceberg_go_first(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 30)
    iceberg(venue, venue.alice, "sell", PRICE + 10, 30, 10, **REDUCE)
    less(venue, venue.alice, 12)
    (one,) = venue.engine.open_orders(venue.alice)
    assert (one.remaining_lots, one.shown_lots) == (18, 10)
    less(venue, venue.alice, 11)
    (one,) = venue.engine.open_orders(venue.alice)
    assert (one.remaining_lots, one.shown_lots) == (7, 7)
    venue.sound()


def test_a_block_cuts_too(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 300)
    venue.place(venue.alice, NAME, "sell", PRICE + 10, 300, **REDUCE)
    found = block(venue, BlockLeg(venue.slot(NAME), 1, PRICE, 200))
    assert only(found, EventKind.ORDER_EDITED).remaining_lots == 100
    venue.sound()


def test_the_other_of_two_goes_with_one_that_ends(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 100)
    pair = (order("sell", PRICE + 40, flags=OrderFlag.REDUCE_ONLY), order("buy", PRICE - 400))
    link(venue, LinkType.ONE_CANCELS_OTHER, FillCondition.FIRST_HIT, *pair)
    found = less(venue, venue.alice, 100)
    assert [e.reason for e in found if e.kind == EventKind.ORDER_CANCELLED] == [
        Reason.REDUCE_ONLY_POSITION_GONE, Reason.OTHER_CLOSED,
    ]  # fmt: skip
    venue.sound()


def test_an_edit_that_makes_an_order_reduce_only_is_watched(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 20)
    number = only(venue.place(venue.alice, NAME, "sell", PRICE + 10, 20), EventKind.ORDER_ACCEPTED).order_id
    less(venue, venue.alice, 3)
    assert remaining(venue, venue.alice) == [20]
    fields = {"order_id": number, "price_units": PRICE + 10, "quantity_lots": 20, **REDUCE}
    venue.submit(commands.record(CommandKind.EDIT_ORDER, venue.alice, **fields))
    assert remaining(venue, venue.alice) == [17]
    less(venue, venue.alice, 4)
    assert remaining(venue, venue.alice) == [13]
    venue.sound()


def test_a_halted_contract_changes_nothing_about_it_and_a_replay_agrees(venue: Driver) -> None:
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 100)
    venue.place(venue.alice, NAME, "sell", PRICE + 10, 100, **REDUCE)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "close_only"))
    found = venue.place(venue.bob, NAME, "buy", PRICE - 20, 30)
    assert kinds(found) == [EventKind.ORDER_ACCEPTED]
    found = venue.place(venue.alice, NAME, "sell", PRICE - 20, 30)
    assert only(found, EventKind.ORDER_EDITED).remaining_lots == 70
    again = Engine()
    for record in venue.journal.records:
        again.apply(record)
    again.take_events()
    assert again.state_digest() == venue.engine.state_digest()
    venue.sound()
