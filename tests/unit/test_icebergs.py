"""Icebergs: what the book shows, what trades, what margin counts, what edits do."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import Driver, kinds, make_config, only, perpetual

NAME = "BTC-PERPETUAL"
PRICE = 200_000


@pytest.fixture
def venue():
    made = Driver([perpetual()])
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def iceberg(venue, account, side, price, lots, display, **fields):
    return venue.place(
        account, NAME, side, price, lots, terms_slots=1, tail=commands.order_terms(display_lots=display), **fields
    )


def edit(venue, account, order_id, price, lots, display=None, flags=0):
    tail = b"" if display is None else commands.order_terms(display_lots=display)
    return venue.submit(
        commands.record(
            CommandKind.EDIT_ORDER, account, order_id=order_id, price_units=price, quantity_lots=lots, flags=flags,
            terms_slots=1 if tail else 0, tail=tail,
        )
    )  # fmt: skip


def trades(found):
    return [(e.maker_account_id, e.quantity_lots) for e in found if e.kind == EventKind.TRADE_EXECUTED]


def depth(venue, side=1):
    return venue.engine.depth(venue.slot(NAME), 10)[side]


def mine(venue):
    view = venue.engine.open_orders(venue.alice)[0]
    return view.shown_lots, view.remaining_lots, view.quantity_lots


def test_the_book_shows_a_tranche_and_the_account_owes_for_the_whole(venue):
    plain = venue.place(venue.bob, NAME, "sell", PRICE, 100)
    requirement = venue.view(venue.bob).initial_margin_minor
    assert requirement > 0
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.bob, order_id=plain[0].order_id, reason=60))
    accepted = only(iceberg(venue, venue.alice, "sell", PRICE, 100, 7), EventKind.ORDER_ACCEPTED)
    assert (accepted.quantity_lots, accepted.terms_slots, accepted.flags) == (100, 1, OrderFlag.ICEBERG)
    assert depth(venue) == [(PRICE, 7)]
    assert mine(venue) == (7, 100, 100)
    assert venue.view(venue.alice).initial_margin_minor == requirement
    assert venue.engine.positions(venue.alice)[0].open_sell_lots == 100
    venue.sound()
    venue.marks(101_000)
    venue.sound()


def test_a_used_up_tranche_is_followed_by_the_next_behind_the_others_at_the_price(venue):
    iceberg(venue, venue.alice, "sell", PRICE, 25, 10)
    venue.place(venue.carol, NAME, "sell", PRICE, 5)
    found = venue.place(venue.bob, NAME, "buy", PRICE, 12)
    assert trades(found) == [(venue.alice, 10), (venue.carol, 2)]
    assert kinds(found) == [
        EventKind.ORDER_ACCEPTED, EventKind.TRADE_EXECUTED, EventKind.ORDER_REPLENISHED, EventKind.TRADE_EXECUTED,
    ]  # fmt: skip
    again = only(found, EventKind.ORDER_REPLENISHED)
    assert (again.account_id, again.shown_lots, again.remaining_lots, again.price_units) == (
        venue.alice, 10, 15, PRICE,
    )  # fmt: skip
    assert depth(venue) == [(PRICE, 13)]
    assert mine(venue) == (10, 15, 25)
    venue.sound()
    # one taker may come to it again and again; the last tranche is what is left
    found = venue.place(venue.bob, NAME, "buy", PRICE, 18)
    assert trades(found) == [(venue.carol, 3), (venue.alice, 10), (venue.alice, 5)]
    assert only(found, EventKind.ORDER_REPLENISHED).shown_lots == 5
    assert venue.engine.open_orders(venue.alice) == []
    assert depth(venue) == []
    venue.sound()


def test_a_partly_used_tranche_keeps_its_place_and_size(venue):
    iceberg(venue, venue.alice, "sell", PRICE, 30, 10)
    venue.place(venue.carol, NAME, "sell", PRICE, 5)
    assert trades(venue.place(venue.bob, NAME, "buy", PRICE, 4)) == [(venue.alice, 4)]
    assert mine(venue) == (6, 26, 30)
    assert trades(venue.place(venue.bob, NAME, "buy", PRICE, 7)) == [(venue.alice, 6), (venue.carol, 1)]
    venue.sound()


def test_on_arrival_the_whole_may_trade(venue):
    venue.place(venue.bob, NAME, "sell", PRICE - 10, 30)
    found = iceberg(venue, venue.alice, "buy", PRICE, 100, 10)
    assert trades(found) == [(venue.bob, 30)]
    assert mine(venue) == (10, 70, 100)
    assert depth(venue, 0) == [(PRICE, 10)]
    venue.sound()


def test_fill_or_kill_sees_hidden_lots_in_the_order_of_the_match(venue):
    iceberg(venue, venue.alice, "sell", PRICE, 40, 10)
    venue.place(venue.carol, NAME, "sell", PRICE + 10, 10)
    kill = {"time_in_force": TimeInForce.FILL_OR_KILL}
    refused = venue.place(venue.bob, NAME, "buy", PRICE + 10, 51, **kill)
    assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    venue.sound()
    found = venue.place(venue.bob, NAME, "buy", PRICE + 10, 50, **kill)
    assert sum(lots for _, lots in trades(found)) == 50
    venue.sound()


def test_fill_or_kill_stops_counting_a_reduce_only_iceberg_at_its_position(venue):
    venue.trade(venue.bob, venue.alice, NAME, "buy", PRICE, 25)
    iceberg(venue, venue.alice, "sell", PRICE, 25, 10, flags=OrderFlag.REDUCE_ONLY)
    venue.place(venue.alice, NAME, "sell", PRICE - 20, 8)
    venue.place(venue.carol, NAME, "buy", PRICE - 20, 8)
    kill = {"time_in_force": TimeInForce.FILL_OR_KILL}
    refused = venue.place(venue.bob, NAME, "buy", PRICE, 18, **kill)
    assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    found = venue.place(venue.bob, NAME, "buy", PRICE, 17, **kill)
    assert sum(lots for _, lots in trades(found)) == 17
    venue.sound()


def test_cancel_says_the_whole_remainder(venue):
    order = only(iceberg(venue, venue.alice, "sell", PRICE, 100, 7), EventKind.ORDER_ACCEPTED).order_id
    venue.place(venue.bob, NAME, "buy", PRICE, 9)
    found = venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=order, reason=60))
    assert only(found, EventKind.ORDER_CANCELLED).remaining_lots == 91
    assert venue.engine.positions(venue.alice)[0].open_sell_lots == 0
    venue.sound()


def test_an_edit_takes_the_hidden_lots_first_and_keeps_the_place(venue):
    order = only(iceberg(venue, venue.alice, "sell", PRICE, 30, 10), EventKind.ORDER_ACCEPTED).order_id
    venue.place(venue.carol, NAME, "sell", PRICE, 5)
    for lots, after in ((15, (10, 15, 15)), (6, (6, 6, 6))):
        edited = only(edit(venue, venue.alice, order, PRICE, lots), EventKind.ORDER_EDITED)
        assert (edited.kept_priority, edited.remaining_lots, edited.terms_slots) == (1, lots, 1)
        assert mine(venue) == after
        venue.sound()
    assert trades(venue.place(venue.bob, NAME, "buy", PRICE, 8)) == [(venue.alice, 6), (venue.carol, 2)]


def test_a_larger_or_moved_iceberg_goes_to_the_end_with_a_fresh_tranche(venue):
    order = only(iceberg(venue, venue.alice, "sell", PRICE, 30, 10), EventKind.ORDER_ACCEPTED).order_id
    venue.place(venue.carol, NAME, "sell", PRICE, 5)
    venue.place(venue.bob, NAME, "buy", PRICE, 4)
    assert mine(venue)[0] == 6
    edited = only(edit(venue, venue.alice, order, PRICE, 40), EventKind.ORDER_EDITED)
    assert (edited.kept_priority, edited.remaining_lots) == (0, 36)
    assert mine(venue) == (10, 36, 40)
    venue.sound()
    assert trades(venue.place(venue.bob, NAME, "buy", PRICE, 6)) == [(venue.carol, 5), (venue.alice, 1)]
    venue.place(venue.bob, NAME, "buy", PRICE - 100, 50)
    found = edit(venue, venue.alice, order, PRICE - 100, 40)
    assert trades(found) == [(venue.bob, 35)]
    venue.sound()


def test_an_edit_that_cannot_be_paid_changes_nothing(venue):
    order = only(iceberg(venue, venue.alice, "sell", PRICE, 3000, 100), EventKind.ORDER_ACCEPTED).order_id
    poor = venue.account("dave", btc=0.01)
    other = only(iceberg(venue, poor, "sell", PRICE, 300, 10), EventKind.ORDER_ACCEPTED).order_id
    before = venue.engine.order(other)
    refused = edit(venue, poor, other, PRICE, 1000)
    assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    assert venue.engine.order(other) == before
    assert venue.engine.order(order).shown_lots == 100
    venue.sound()


def test_a_new_display_counts_from_the_next_tranche_on(venue):
    order = only(iceberg(venue, venue.alice, "sell", PRICE, 30, 10), EventKind.ORDER_ACCEPTED).order_id
    venue.place(venue.carol, NAME, "sell", PRICE, 5)
    edited = only(edit(venue, venue.alice, order, PRICE, 30, display=4), EventKind.ORDER_EDITED)
    assert edited.kept_priority == 1
    assert mine(venue) == (10, 30, 30)
    assert trades(venue.place(venue.bob, NAME, "buy", PRICE, 10)) == [(venue.alice, 10)]
    assert mine(venue) == (4, 20, 30)
    venue.sound()


@pytest.mark.parametrize(
    ("lots", "display", "fields"),
    [
        (100, 100, {}),
        (100, 101, {}),
        (100, -5, {}),
        (1001, 10, {}),
        (100, 2**62, {}),
        (100, -(2**63), {}),
        (100, 10, {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}),
        (100, 10, {"time_in_force": TimeInForce.FILL_OR_KILL}),
        (100, 10, {"order_type": OrderType.MARKET}),
        (100, 10, {"order_type": OrderType.MARKET_LIMIT}),
        (100, 10, {"order_type": OrderType.STOP_LIMIT}),
        (100, 10, {"flags": OrderFlag.POST_ONLY}),
    ],
)
def test_what_cannot_be_an_iceberg(venue, lots, display, fields):
    found = iceberg(venue, venue.alice, "sell", PRICE, lots, display, **fields)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    venue.sound()


def test_the_display_is_at_least_the_smallest_order():
    venue = Driver([perpetual(min_quantity_lots=5)])
    venue.alice = venue.account("alice", btc=50)
    venue.marks(100_000)
    found = iceberg(venue, venue.alice, "sell", PRICE, 100, 4)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    found = iceberg(venue, venue.alice, "sell", PRICE, 500, 5, flags=OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY)
    order = only(found, EventKind.ORDER_ACCEPTED).order_id
    for lots, display, flags in ((501, None, 0), (500, 4, 0), (500, 500, 0), (500, -9, 0), (500, None, 1)):
        refused = edit(venue, venue.alice, order, PRICE, lots, display, flags)
        assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    assert mine(venue) == (5, 500, 500)
    plain = only(venue.place(venue.alice, NAME, "sell", PRICE, 50), EventKind.ORDER_ACCEPTED).order_id
    refused = edit(venue, venue.alice, plain, PRICE, 50, 10)
    assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    venue.sound()


def test_replay_of_a_session_with_icebergs_gives_the_same_state():
    venue = Driver([perpetual()], make_config())
    accounts = [venue.account(name, btc=50) for name in ("a", "b", "c")]
    venue.marks(100_000)
    number = 1
    for step in range(120):
        number = number * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        account, side = accounts[step % 3], "sell" if number >> 8 & 1 else "buy"
        price = PRICE + (number >> 10) % 9 - 4
        iceberg(venue, account, side, price, 10 + (number >> 14) % 60, 2 + (number >> 20) % 7)
        if step % 7 == 0:
            for view in venue.engine.open_orders(account)[:2]:
                edit(venue, account, view.order_id, price, view.quantity_lots + step % 5 - 2, None)
        if step % 20 == 0:
            venue.sound()
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("reject_taker"), accounts[0])
    assert venue.engine.counters().trades > 50
    again = Engine()
    again.apply_many(b"".join(bytes(record) for record in venue.journal.records))
    assert again.state_digest() == venue.engine.state_digest()


def test_the_lane_of_a_formula_account_counts_what_is_hidden():
    venue = Driver([perpetual()])
    venue.bob = venue.account("bob", btc=500)
    venue.alice = venue.account("alice", btc=0.1, model="segregated_sm")
    venue.marks(100_000)
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 20_000)
    venue.marks(97_000)
    view = venue.view(venue.alice)
    assert view.equity_minor < view.initial_margin_minor
    order = only(iceberg(venue, venue.alice, "sell", 194_200, 12_000, 200), EventKind.ORDER_ACCEPTED)
    assert order.flags & OrderFlag.RISK_REDUCING
    found = venue.place(venue.alice, NAME, "sell", 194_200, 12_000)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    found = venue.place(venue.alice, NAME, "sell", 194_200, 8_000)
    assert only(found, EventKind.ORDER_ACCEPTED).flags & OrderFlag.RISK_REDUCING
    venue.sound()
