"""Linked orders: what one-cancels-other, one-triggers-other and their combination do."""

import pytest

from exchange import commands
from exchange.commands import CommandKind, FillCondition, LinkType, OrderFlag, OrderType, TriggerSource
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.payloads import LinkedOrder, PlaceLinked
from exchange.reasons import Reason
from tests.driver import Driver, kinds, only, perpetual

NAME = "BTC-PERPETUAL"
E8 = 10**8
OCO, OTO, OTOCO = LinkType
FIRST, COMPLETE, INCREMENTAL = FillCondition


@pytest.fixture
def venue():
    made = Driver([perpetual()])
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def order(side, price_units=0, lots=100, order_type=OrderType.LIMIT, **fields):
    return LinkedOrder(
        instrument=0, side=0 if side == "buy" else 1, quantity_lots=lots, price_units=price_units,
        order_type=order_type, **fields,
    )  # fmt: skip


def stop(side, trigger, lots=100, order_type=OrderType.STOP_MARKET, **fields):
    return order(side, 0, lots, order_type, trigger_price_e8=trigger * E8, **fields)


def link(venue, link_type, condition, *orders, account=None):
    return venue.cold(
        CommandKind.PLACE_LINKED, PlaceLinked(link_type, condition, 7, tuple(orders)), account or venue.alice
    )


def cancel(venue, order_id, account=None):
    return venue.submit(commands.record(CommandKind.CANCEL_ORDER, account or venue.alice, order_id=order_id, reason=60))


def mine(venue):
    """(id, remaining) of the account's open orders, and of its waiting ones."""
    live = [(o.order_id, o.remaining_lots) for o in venue.engine.open_orders(venue.alice)]
    waiting = [(w.order_id, w.quantity_lots - w.placed_lots) for w in venue.engine.trigger_orders(venue.alice)]
    return live, waiting


def ends(found):
    return [(e.order_id, e.reason, e.remaining_lots) for e in found if e.kind == EventKind.ORDER_CANCELLED]


# ------------------------------------------------------------------ one cancels other


def test_both_are_placed_and_name_each_other(venue):
    found = link(venue, OCO, FIRST, order("buy", 198_000), order("sell", 202_000))
    assert kinds(found) == [
        EventKind.ORDER_ACCEPTED, EventKind.ORDER_ACCEPTED, EventKind.ORDERS_LINKED, EventKind.COMMAND_DONE,
    ]  # fmt: skip
    linked = only(found, EventKind.ORDERS_LINKED)
    assert (linked.primary_order_id, linked.first_order_id, linked.second_order_id) == (1, 2, 0)
    assert (linked.link_type, linked.fill_condition) == (OCO, FIRST)
    views = venue.engine.open_orders(venue.alice)
    assert [v.linked_order_id for v in views] == [2, 1]
    assert all(v.flags & OrderFlag.LINKED for v in views)
    assert only(found, EventKind.COMMAND_DONE).count == 2
    venue.sound()


@pytest.mark.parametrize("which", [0, 1])
def test_the_end_of_one_is_the_end_of_the_other(venue, which):
    link(venue, OCO, COMPLETE, order("buy", 198_000), order("sell", 202_000))
    assert ends(cancel(venue, 1 + which)) == [(1 + which, 60, 100), (2 - which, Reason.OTHER_CLOSED, 100)]
    assert mine(venue) == ([], [])
    assert venue.engine.links.listed() == []
    venue.sound()


def test_first_hit_cancels_at_the_first_lot(venue):
    link(venue, OCO, FIRST, order("buy", 198_000), order("sell", 202_000))
    found = venue.place(venue.bob, NAME, "buy", 202_000, 1)
    assert ends(found) == [(1, Reason.OTHER_CLOSED, 100)]
    assert mine(venue) == ([(2, 99)], [])
    view = venue.engine.open_orders(venue.alice)[0]
    assert view.linked_order_id == 0 and not view.flags & OrderFlag.LINKED
    venue.sound()


def test_complete_fill_waits_for_the_last_lot(venue):
    link(venue, OCO, COMPLETE, order("buy", 198_000), order("sell", 202_000))
    assert ends(venue.place(venue.bob, NAME, "buy", 202_000, 99)) == []
    assert mine(venue) == ([(1, 100), (2, 1)], [])
    assert ends(venue.place(venue.bob, NAME, "buy", 202_000, 1)) == [(1, Reason.OTHER_CLOSED, 100)]
    venue.sound()


def test_incremental_shrinks_the_other_by_the_share_filled(venue):
    link(venue, OCO, INCREMENTAL, order("buy", 198_000, 50), order("sell", 202_000, 100))
    found = venue.place(venue.bob, NAME, "buy", 202_000, 33)
    edited = only(found, EventKind.ORDER_EDITED)
    assert (edited.order_id, edited.quantity_lots, edited.remaining_lots, edited.kept_priority) == (1, 33, 33, 1)
    assert mine(venue) == ([(1, 33), (2, 67)], [])
    # what both have filled counts against each other: 33 % and 40 % leave 27 %
    found = venue.place(venue.bob, NAME, "sell", 198_000, 20)
    assert only(found, EventKind.ORDER_EDITED).order_id == 2
    assert mine(venue) == ([(1, 13), (2, 27)], [])
    venue.sound()
    venue.place(venue.bob, NAME, "buy", 202_000, 27)
    assert mine(venue) == ([], [])
    venue.sound()


def test_incremental_cancels_what_is_too_small_and_lets_the_first_go_on():
    venue = Driver([perpetual(min_quantity_lots=5)])
    venue.alice, venue.bob = (venue.account(name, btc=50) for name in ("alice", "bob"))
    venue.marks(100_000)
    link(venue, OCO, INCREMENTAL, order("buy", 198_000, 50), order("sell", 202_000, 100))
    assert ends(venue.place(venue.bob, NAME, "buy", 202_000, 93)) == [(1, Reason.OTHER_CLOSED, 50)]
    assert mine(venue) == ([(2, 7)], [])
    venue.sound()


def test_an_edit_changes_what_shares_are_taken_of(venue):
    link(venue, OCO, INCREMENTAL, order("buy", 198_000, 100), order("sell", 202_000, 100))
    venue.place(venue.bob, NAME, "buy", 202_000, 50)
    venue.submit(
        commands.record(CommandKind.EDIT_ORDER, venue.alice, order_id=1, price_units=198_000, quantity_lots=200)
    )
    # half of the second is filled, so half of the first's new quantity is left
    assert mine(venue) == ([(1, 100), (2, 50)], [])
    venue.sound()


def test_an_order_that_fires_takes_its_place_in_the_link(venue):
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 100)
    stop_limit = order("sell", 199_000, 60, OrderType.STOP_LIMIT, trigger_price_e8=99_000 * E8)
    found = link(venue, OCO, COMPLETE, order("sell", 204_000, 60), stop_limit)
    limit, waiting = (
        only(found, EventKind.ORDER_ACCEPTED).order_id, only(found, EventKind.TRIGGER_PLACED).order_id
    )  # fmt: skip
    assert only(found, EventKind.TRIGGER_PLACED).linked_order_id == limit
    found = venue.marks(98_900)
    fired = only(found, EventKind.ORDER_TRIGGERED)
    assert fired.trigger_order_id == waiting
    assert only(found, EventKind.ORDERS_LINKED).first_order_id == fired.order_id
    views = {v.order_id: v.linked_order_id for v in venue.engine.open_orders(venue.alice)}
    assert views == {limit: fired.order_id, fired.order_id: limit}
    venue.sound()
    found = venue.place(venue.bob, NAME, "buy", 199_000, 60)
    assert ends(found) == [(limit, Reason.OTHER_CLOSED, 60)]
    venue.sound()


def test_an_order_refused_on_firing_ends_the_other(venue):
    found = link(
        venue, OCO, COMPLETE, order("sell", 204_000, 60),
        stop("sell", 99_000, 60, flags=OrderFlag.REDUCE_ONLY),
    )  # fmt: skip
    limit = only(found, EventKind.ORDER_ACCEPTED).order_id
    found = venue.marks(98_900)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.REDUCE_ONLY_WOULD_INCREASE
    assert ends(found) == [(limit, Reason.OTHER_CLOSED, 60)]
    venue.sound()


def test_the_second_trades_on_arrival_only_as_far_as_the_first_leaves_it(venue):
    venue.place(venue.bob, NAME, "sell", 200_000, 30)
    venue.place(venue.carol, NAME, "buy", 199_900, 100)
    found = link(venue, OCO, FIRST, order("buy", 200_000, 40), order("sell", 199_900, 40))
    assert ends(found) == [(4, Reason.OTHER_CLOSED, 40)]
    assert mine(venue) == ([(3, 10)], [])
    venue.sound()
    cancel(venue, 3)
    venue.place(venue.bob, NAME, "sell", 200_000, 30)
    found = link(venue, OCO, INCREMENTAL, order("buy", 200_000, 40), order("sell", 199_900, 40))
    traded = [e.quantity_lots for e in found if e.kind == EventKind.TRADE_EXECUTED]
    assert traded == [30, 10]
    assert mine(venue) == ([], [])
    venue.sound()


# ------------------------------------------------------------------ one triggers other


def test_the_secondary_waits_for_the_primary(venue):
    found = link(venue, OTO, FIRST, order("buy", 198_000), order("sell", 205_000))
    placed = only(found, EventKind.TRIGGER_PLACED)
    assert (placed.order_id, placed.linked_order_id, placed.trigger_source) == (2, 1, TriggerSource.PRIMARY_ORDER)
    assert venue.engine.trigger_orders(venue.alice)[0].primary_order_id == 1
    found = venue.place(venue.bob, NAME, "sell", 198_000, 1)
    fired = only(found, EventKind.ORDER_TRIGGERED)
    assert (fired.trigger_order_id, fired.trigger_source, fired.value_e8) == (2, TriggerSource.PRIMARY_ORDER, 100)
    assert mine(venue) == ([(1, 99), (fired.order_id, 100)], [])
    assert venue.engine.links.listed() == []
    venue.sound()


def test_complete_fill_places_it_when_the_primary_is_filled(venue):
    link(venue, OTO, COMPLETE, order("buy", 198_000), stop("sell", 97_000, 80))
    venue.place(venue.bob, NAME, "sell", 198_000, 60)
    assert mine(venue) == ([(1, 40)], [(2, 80)])
    found = venue.place(venue.bob, NAME, "sell", 198_000, 40)
    fired = only(found, EventKind.ORDER_TRIGGERED)
    waits = only(found, EventKind.TRIGGER_PLACED)
    assert (waits.order_id, waits.trigger_source) == (fired.order_id, TriggerSource.INDEX_PRICE)
    assert mine(venue) == ([], [(fired.order_id, 80)])
    assert EventKind.ORDER_TRIGGERED in kinds(venue.marks(96_900))
    venue.sound()


def test_incremental_places_the_share_filled(venue):
    link(venue, OTO, INCREMENTAL, order("buy", 198_000, 90), order("sell", 205_000, 30))
    assert EventKind.ORDER_TRIGGERED not in kinds(venue.place(venue.bob, NAME, "sell", 198_000, 2))
    found = venue.place(venue.bob, NAME, "sell", 198_000, 29)
    assert only(found, EventKind.ORDER_TRIGGERED).value_e8 == 10
    assert mine(venue)[1] == [(2, 20)]
    found = venue.place(venue.bob, NAME, "sell", 198_000, 20)
    assert only(found, EventKind.ORDER_TRIGGERED).value_e8 == 7
    venue.sound()
    found = cancel(venue, 1)
    assert ends(found) == [(1, 60, 39), (2, Reason.PRIMARY_CLOSED, 13)]
    assert [lots for _, lots in mine(venue)[0]] == [10, 7]
    venue.sound()


def test_a_primary_that_ends_untraded_takes_the_secondary_with_it(venue):
    link(venue, OTO, FIRST, order("buy", 198_000), order("sell", 205_000))
    assert ends(cancel(venue, 1)) == [(1, 60, 100), (2, Reason.PRIMARY_CLOSED, 100)]
    # a waiting primary, refused when it fires
    link(venue, OTO, FIRST, stop("sell", 99_000, flags=OrderFlag.REDUCE_ONLY), order("buy", 190_000))
    found = venue.marks(98_900)
    assert ends(found) == [(4, Reason.PRIMARY_CLOSED, 100)]
    assert mine(venue) == ([], [])
    venue.sound()


def test_a_market_primary_triggers_at_once(venue):
    venue.place(venue.bob, NAME, "sell", 200_000, 100)
    found = link(venue, OTO, COMPLETE, order("buy", 0, 100, OrderType.MARKET), order("sell", 205_000))
    assert kinds(found)[-3:] == [
        EventKind.ORDER_TRIGGERED, EventKind.ORDER_ACCEPTED, EventKind.COMMAND_DONE,
    ]  # fmt: skip
    venue.sound()


def test_a_cancelled_secondary_is_not_placed(venue):
    link(venue, OTO, FIRST, order("buy", 198_000), order("sell", 205_000))
    cancel(venue, 2)
    assert EventKind.ORDER_TRIGGERED not in kinds(venue.place(venue.bob, NAME, "sell", 198_000, 1))
    venue.sound()


# ------------------------------------------------------------------ one triggers one cancels other


def test_a_bracket(venue):
    found = link(venue, OTOCO, FIRST, order("buy", 198_000), order("sell", 204_000), stop("sell", 97_000))
    linked = only(found, EventKind.ORDERS_LINKED)
    assert (linked.primary_order_id, linked.first_order_id, linked.second_order_id) == (1, 2, 3)
    found = venue.place(venue.bob, NAME, "sell", 198_000, 100)
    pair = only(found, EventKind.ORDERS_LINKED)
    assert (pair.link_type, pair.primary_order_id, pair.first_order_id) == (OCO, 5, 6)
    assert mine(venue) == ([(5, 100)], [(6, 100)])
    venue.sound()
    found = venue.marks(96_900)
    assert ends(found)[-1] == (5, Reason.OTHER_CLOSED, 100) or (5, Reason.OTHER_CLOSED, 100) in ends(found)
    assert mine(venue) == ([], [])
    venue.sound()


def test_an_incremental_bracket_makes_pairs(venue):
    link(venue, OTOCO, INCREMENTAL, order("buy", 198_000, 100), order("sell", 204_000, 100), stop("sell", 97_000, 50))
    venue.place(venue.bob, NAME, "sell", 198_000, 40)
    venue.place(venue.bob, NAME, "sell", 198_000, 60)
    assert [lots for _, lots in mine(venue)[0]] == [40, 60]
    assert [lots for _, lots in mine(venue)[1]] == [20, 30]
    assert len(venue.engine.links.listed()) == 2
    venue.place(venue.bob, NAME, "buy", 204_000, 20)
    assert [lots for _, lots in mine(venue)[1]] == [10, 30]
    venue.sound()


def test_a_pair_that_cannot_be_placed_whole_is_refused_whole(venue):
    link(venue, OTOCO, FIRST, order("buy", 198_000), order("sell", 204_000), stop("sell", 101_000))
    found = venue.place(venue.bob, NAME, "sell", 198_000, 100)
    assert [e.reason for e in found if e.kind == EventKind.ORDER_REJECTED] == [
        Reason.TRIGGER_PRICE_TOO_HIGH, Reason.OTHER_CLOSED,
    ]  # fmt: skip
    assert mine(venue) == ([], [])
    venue.sound()


# ------------------------------------------------------------------ refusals, bounds, replay


def test_where_one_is_refused_none_is_placed(venue):
    before = venue.engine.positions(venue.alice)
    cases = [
        (OCO, order("buy", 198_000), order("sell", 202_001 * 100), Reason.PRICE_TOO_HIGH),
        (OCO, order("buy", 198_000), order("sell", 202_000, 0), Reason.QUANTITY_NOT_POSITIVE),
        (OCO, order("buy", 198_000), stop("sell", 101_000), Reason.TRIGGER_PRICE_TOO_HIGH),
        (OCO, order("buy", 198_000, 4 * 10**6), order("sell", 202_000), Reason.NOT_ENOUGH_FUNDS),
        (OCO, order("buy", 198_000), order("sell", 0, 10, OrderType.MARKET), Reason.BAD_LINK),
        (OCO, order("buy", 198_000), order("sell", 202_000, time_in_force=1), Reason.BAD_LINK),
        (OCO, order("buy", 198_000), order("sell", 202_000, order_type=99), Reason.BAD_LINK),
        (OTO, order("buy", 198_000), order("sell", 0), Reason.PRICE_TOO_LOW),
        (OTO, order("buy", 198_000), order("sell", 202_000, order_type=8), Reason.BAD_ORDER_TYPE),
        (OTO, order("buy", 198_000), stop("sell", -5), Reason.BAD_TRIGGER),
        (OTO, order("buy", 198_000), order("sell", 202_000, label="x" * 65), Reason.LABEL_TOO_LONG),
    ]
    for link_type, first, second, reason in cases:
        found = link(venue, link_type, FIRST, first, second)
        assert kinds(found) == [EventKind.ORDER_REJECTED], reason
        assert found[0].reason == reason
        assert mine(venue) == ([], [])
        venue.sound()
    assert [p for p in venue.engine.positions(venue.alice) if p.open_buy_lots or p.open_sell_lots] == before


@pytest.mark.parametrize(
    ("link_type", "condition", "count", "changes", "reason"),
    [
        (9, 0, 2, {}, Reason.BAD_LINK),
        (1, 3, 2, {}, Reason.BAD_LINK),
        (1, -1, 2, {}, Reason.BAD_LINK),
        (1, 0, 3, {}, Reason.BAD_LINK),
        (3, 0, 2, {}, Reason.BAD_LINK),
        (2, 0, 0, {}, Reason.BAD_LINK),
        (1, 0, 2, {"price_units": 2**63}, Reason.BAD_PAYLOAD),
        (1, 0, 2, {"side": -1}, Reason.BAD_PAYLOAD),
        (1, 0, 2, {"instrument": 2**40}, Reason.BAD_PAYLOAD),
        (1, 0, 2, {"label": "x" * 70_000}, Reason.BAD_PAYLOAD),
    ],
)
def test_what_cannot_be_a_link(venue, link_type, condition, count, changes, reason):
    wrong = LinkedOrder(**{"instrument": 0, "side": 0, "quantity_lots": 10, "price_units": 198_000, **changes})
    found = link(venue, link_type, condition, *[wrong] * count)
    assert only(found, EventKind.COMMAND_REJECTED).reason == reason


def test_what_one_command_causes_is_bounded_and_goes_on_with_ticks(venue):
    for i in range(70):
        link(venue, OCO, FIRST, order("buy", 190_000 + i, 1), order("sell", 202_000, 1))
    found = venue.place(venue.bob, NAME, "buy", 202_000, 70)
    gone = [order_id for order_id, reason, _ in ends(found) if reason == Reason.OTHER_CLOSED]
    assert gone == [1 + 2 * i for i in range(64)]
    venue.sound()
    assert len(ends(venue.tick())) == 6
    assert mine(venue) == ([], [])
    venue.sound()


def requirement(condition, *placed):
    """Initial margin of an account with nothing but these orders: linked on the condition, or each alone (None)."""
    made = Driver([perpetual()])
    made.alice = made.account("alice", btc=50)
    made.marks(100_000)
    if condition is not None:
        assert only(link(made, OCO, condition, *placed), EventKind.COMMAND_DONE).count == 2
    else:
        for one in placed:
            made.place(made.alice, NAME, ("buy", "sell")[one.side], one.price_units, one.quantity_lots)
    made.sound()
    made.marks(101_000)
    made.sound()
    made.marks(100_000)
    return made.view(made.alice).initial_margin_minor


def test_margin_counts_the_worse_of_two_that_cancel_each_other():
    buy, more, sell = order("buy", 198_000, 1000), order("buy", 197_000, 3000), order("sell", 199_500, 3000)
    rounding = 1000
    for condition in (FIRST, INCREMENTAL):
        assert abs(requirement(condition, buy, sell) - requirement(None, sell)) <= rounding
        assert abs(requirement(condition, buy, more) - requirement(None, more)) <= rounding
    # both could be filled but for the last lot
    assert requirement(COMPLETE, buy, more) == requirement(None, buy, more) > requirement(None, more) + 10 * rounding


def test_replay_gives_the_same_state_whatever_is_linked():
    venue = Driver([perpetual()])
    accounts = [venue.account(name, btc=50) for name in ("a", "b", "c")]
    venue.marks(100_000)
    number = 1
    for step in range(300):
        number = number * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        venue.alice = accounts[step % 3]
        price = 200_000 + (number >> 10) % 21 - 10
        side, other = ("buy", "sell") if number >> 7 & 1 else ("sell", "buy")
        first = order(side, price, 5 + (number >> 12) % 40)
        second = order(other, price + (30 if other == "sell" else -30), 5 + (number >> 18) % 40)
        rising = stop("buy", 100_050 + (number >> 9) % 200, 20)
        kind = LinkType(1 + step % 3)
        orders = [first, (second, rising)[number >> 5 & 1], second][: 3 if kind == OTOCO else 2]
        link(venue, kind, FillCondition(step // 3 % 3), *orders)
        if step % 7 == 0:
            venue.marks(100_000 + (number >> 11) % 300 - 100)
            for account in accounts:
                for view in venue.engine.open_orders(account)[:3]:
                    cancel(venue, view.order_id, account)
        if step % 11 == 0:
            venue.tick(10**9)
            venue.sound()
    assert venue.engine.counters().trades > 100
    again = Engine()
    again.apply_many(b"".join(bytes(record) for record in venue.journal.records))
    assert again.state_digest() == venue.engine.state_digest()
