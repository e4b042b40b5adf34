"""Market-limit, good-til-day, self-trade settings, and orders that wait for a trigger."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TriggerSource
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, future, kinds, only, patient, perpetual

NAME = "BTC-PERPETUAL"
E8 = 10**8


@pytest.fixture
def venue():
    made = Driver([perpetual()], patient())
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def wait(venue, account, side, order_type, lots=10, label=b"", **terms):
    """Place a triggered order; returns its events."""
    price = terms.pop("price_units", 0)
    fields = {"flags": terms.pop("flags", 0), "time_in_force": terms.pop("time_in_force", 0)}
    name = terms.pop("name", NAME)
    record = commands.record(
        CommandKind.PLACE_ORDER,
        account,
        tail=commands.order_terms(**terms) + label,
        terms_slots=1,
        instrument=venue.slot(name),
        side=0 if side == "buy" else 1,
        order_type=order_type,
        price_units=price,
        quantity_lots=lots,
        label_bytes=len(label),
        **fields,
    )
    return venue.submit(record)


def quote(venue, bid=199_900, ask=200_100, lots=100):
    venue.place(venue.bob, NAME, "buy", bid, lots)
    venue.place(venue.bob, NAME, "sell", ask, lots)


def test_market_limit_takes_the_best_price_and_rests_there(venue):
    quote(venue, lots=30)
    venue.place(venue.bob, NAME, "sell", 200_200, 100)
    found = venue.place(venue.alice, NAME, "buy", 0, 50, order_type=OrderType.MARKET_LIMIT)
    trade = only(found, EventKind.TRADE_EXECUTED)
    assert (trade.price_units, trade.quantity_lots) == (200_100, 30)
    rest = venue.engine.open_orders(venue.alice)[0]
    assert (rest.price_units, rest.remaining_lots) == (200_100, 20)
    venue.sound()


def test_market_limit_needs_somebody_on_the_other_side(venue):
    found = venue.place(venue.alice, NAME, "buy", 0, 50, order_type=OrderType.MARKET_LIMIT)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NO_LIQUIDITY


def test_good_til_day_ends_at_eight(venue):
    venue.tick()
    venue.place(venue.alice, NAME, "buy", 199_000, 5, time_in_force=TimeInForce.GOOD_TIL_DAY)
    venue.place(venue.alice, NAME, "buy", 198_000, 5)
    wait(venue, venue.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=90_000 * E8, time_in_force=3)
    to_eight = (8 * 3600 * SECOND - START_NS) % DAY
    assert kinds(venue.tick(to_eight - SECOND)) == []
    found = venue.tick(2 * SECOND)
    assert [(e.kind, e.reason) for e in found] == [(EventKind.ORDER_CANCELLED, Reason.DAY_ENDED)] * 2
    assert [o.price_units for o in venue.engine.open_orders(venue.alice)] == [198_000]
    venue.place(venue.alice, NAME, "buy", 197_000, 5, time_in_force=TimeInForce.GOOD_TIL_DAY)
    assert len(venue.engine.open_orders(venue.alice)) == 2
    assert kinds(venue.tick(DAY)) == [EventKind.ORDER_CANCELLED]
    venue.sound()


def test_self_trade_cancels_the_maker_unless_the_taker_is_to_be_refused(venue):
    twin = venue.account("alice2", btc=50, owner=venue.alice)
    venue.place(twin, NAME, "sell", 200_000, 5)
    found = venue.place(venue.alice, NAME, "buy", 200_000, 5)
    assert only(found, EventKind.ORDER_CANCELLED).account_id == twin
    resting = venue.engine.open_orders(venue.alice)[0].order_id
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=resting, reason=60))
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("reject_taker"), venue.alice)
    assert venue.engine.self_trade(venue.alice) == ("reject_taker", True)
    venue.place(venue.bob, NAME, "sell", 199_990, 3)
    venue.place(twin, NAME, "sell", 200_000, 5)
    found = venue.place(venue.alice, NAME, "buy", 200_000, 10)
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 3
    cancelled = only(found, EventKind.ORDER_CANCELLED)
    assert (cancelled.account_id, cancelled.reason, cancelled.remaining_lots) == (venue.alice, Reason.SELF_TRADE, 7)
    assert venue.engine.open_orders(twin)[0].remaining_lots == 5
    # not extended: the owner's other account is a stranger
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("cancel_maker", False), venue.alice)
    assert EventKind.TRADE_EXECUTED in kinds(venue.place(venue.alice, NAME, "buy", 200_000, 5))
    venue.sound()


def test_reject_taker_makes_fill_or_kill_fail_before_its_own_order(venue):
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("reject_taker"), venue.alice)
    venue.place(venue.alice, NAME, "sell", 200_000, 5)
    venue.place(venue.bob, NAME, "sell", 200_010, 50)
    found = venue.place(venue.alice, NAME, "buy", 200_100, 5, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("cancel_maker"), venue.alice)
    found = venue.place(venue.alice, NAME, "buy", 200_100, 5, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 5


@pytest.mark.parametrize(
    ("side", "order_type", "trigger", "path"),
    [
        ("sell", OrderType.STOP_MARKET, 98_000, (99_000, 98_500, 98_000)),
        ("buy", OrderType.STOP_MARKET, 102_000, (101_000, 101_900, 102_100)),
        ("buy", OrderType.TAKE_MARKET, 98_000, (99_000, 98_500, 97_900)),
        ("sell", OrderType.TAKE_MARKET, 102_000, (101_000, 101_900, 102_000)),
    ],
)
@pytest.mark.parametrize("source", [TriggerSource.INDEX_PRICE, TriggerSource.MARK_PRICE])
def test_stops_and_takes_fire_when_their_price_is_reached(venue, side, order_type, trigger, path, source):
    placed = only(
        wait(
            venue, venue.alice, side, order_type, label=b"guard", trigger_price_e8=trigger * E8, trigger_source=source
        ),
        EventKind.TRIGGER_PLACED,
    )
    assert venue.engine.open_orders(venue.alice) == []
    view = venue.engine.trigger_order(placed.order_id)
    assert (view.label, view.trigger_price_e8, view.quantity_lots) == ("guard", trigger * E8, 10)
    # waiting costs no margin
    assert venue.view(venue.alice).initial_margin_minor == 0
    quote(venue, bid=190_000, ask=210_000)
    for index in path[:-1]:
        assert kinds(venue.marks(index)) == [EventKind.MARKS_UPDATED]
    found = venue.marks(path[-1])
    fired = only(found, EventKind.ORDER_TRIGGERED)
    assert fired.trigger_order_id == placed.order_id
    assert only(found, EventKind.ORDER_ACCEPTED).order_id == fired.order_id > placed.order_id
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 10
    assert venue.engine.trigger_orders(venue.alice) == []
    venue.sound()


def test_a_stop_limit_rests_at_its_price(venue):
    wait(
        venue, venue.alice, "sell", OrderType.STOP_LIMIT, price_units=195_000, label=b"sl", trigger_price_e8=98_000 * E8
    )
    found = venue.marks(97_500)
    assert only(found, EventKind.ORDER_ACCEPTED).price_units == 195_000
    resting = venue.engine.open_orders(venue.alice)[0]
    assert (resting.price_units, resting.label) == (195_000, "sl")


def test_last_price_triggers_come_with_the_trade(venue):
    quote(venue)
    venue.place(venue.carol, NAME, "buy", 200_100, 1)
    wait(
        venue,
        venue.alice,
        "buy",
        OrderType.STOP_MARKET,
        trigger_price_e8=100_100 * E8,
        trigger_source=TriggerSource.LAST_PRICE,
        lots=3,
    )
    venue.place(venue.bob, NAME, "sell", 200_200, 50)
    assert venue.marks(101_000)[-1].kind == EventKind.MARKS_UPDATED
    found = venue.place(venue.carol, NAME, "buy", 200_200, 100)
    assert only(found, EventKind.ORDER_TRIGGERED).value_e8 == 100_100 * E8
    assert [t.account_id for t in found if t.kind == EventKind.TRADE_EXECUTED][-1] == venue.alice
    venue.sound()


def test_a_trailing_stop_follows_the_high_and_never_retreats(venue):
    quote(venue, bid=190_000, ask=210_000)
    wait(venue, venue.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1_000 * E8)
    prices = []
    for index in (100_500, 102_000, 101_500, 103_000, 102_100):
        venue.marks(index)
        prices.append(venue.engine.trigger_orders(venue.alice)[0].trigger_price_e8 // E8)
    assert prices == [99_500, 101_000, 101_000, 102_000, 102_000]
    assert only(venue.marks(101_999), EventKind.ORDER_TRIGGERED).trigger_price_e8 == 102_000 * E8


@pytest.mark.parametrize(
    ("side", "order_type", "terms", "reason"),
    [
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": 101_000 * E8}, Reason.TRIGGER_PRICE_TOO_HIGH),
        ("buy", OrderType.STOP_MARKET, {"trigger_price_e8": 99_000 * E8}, Reason.TRIGGER_PRICE_TOO_LOW),
        ("buy", OrderType.TAKE_MARKET, {"trigger_price_e8": 101_000 * E8}, Reason.TRIGGER_PRICE_TOO_HIGH),
        ("sell", OrderType.TAKE_MARKET, {"trigger_price_e8": 99_000 * E8}, Reason.TRIGGER_PRICE_TOO_LOW),
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": 0}, Reason.BAD_TRIGGER),
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": -5}, Reason.BAD_TRIGGER),
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": 5, "trigger_source": 9}, Reason.BAD_TRIGGER),
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": 5, "trigger_source": 2}, Reason.BAD_TRIGGER),
        ("sell", OrderType.TRAILING_STOP, {"trigger_offset_e8": 0}, Reason.BAD_TRIGGER),
        ("sell", OrderType.TRAILING_STOP, {"trigger_offset_e8": 200_000 * E8}, Reason.BAD_TRIGGER),
        ("sell", OrderType.STOP_LIMIT, {"trigger_price_e8": 98_000 * E8, "price_units": 0}, Reason.PRICE_TOO_LOW),
        ("sell", OrderType.STOP_MARKET, {"trigger_price_e8": 98_000 * E8, "lots": 0}, Reason.QUANTITY_NOT_POSITIVE),
    ],
)
def test_bad_triggers_are_refused_and_leave_nothing(venue, side, order_type, terms, reason):
    before = venue.engine.triggers.export()
    assert only(wait(venue, venue.alice, side, order_type, **terms), EventKind.ORDER_REJECTED).reason == reason
    assert venue.engine.triggers.export() == before
    assert venue.engine.trigger_orders(venue.alice) == []


def test_waiting_orders_are_edited_and_cancelled_by_their_owner_only(venue):
    placed = only(
        wait(venue, venue.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=98_000 * E8),
        EventKind.TRIGGER_PLACED,
    )
    stranger = commands.record(CommandKind.CANCEL_ORDER, venue.bob, order_id=placed.order_id, reason=60)
    assert only(venue.submit(stranger), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_ORDER
    edit = {"order_id": placed.order_id, "quantity_lots": 25}
    bad = commands.record(CommandKind.EDIT_ORDER, venue.alice, trigger_price_e8=101_000 * E8, **edit)
    assert only(venue.submit(bad), EventKind.ORDER_REJECTED).reason == Reason.TRIGGER_PRICE_TOO_HIGH
    good = commands.record(CommandKind.EDIT_ORDER, venue.alice, trigger_price_e8=97_000 * E8, **edit)
    assert only(venue.submit(good), EventKind.ORDER_EDITED).quantity_lots == 25
    view = venue.engine.trigger_order(placed.order_id)
    assert (view.trigger_price_e8, view.quantity_lots) == (97_000 * E8, 25)
    own = commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=placed.order_id, reason=60)
    assert only(venue.submit(own), EventKind.ORDER_CANCELLED).remaining_lots == 25
    assert venue.engine.trigger_order(placed.order_id) is None


def test_cancel_all_takes_waiting_orders_by_type(venue):
    quote(venue)
    wait(venue, venue.bob, "sell", OrderType.STOP_MARKET, trigger_price_e8=98_000 * E8)
    wait(venue, venue.bob, "buy", OrderType.TAKE_MARKET, trigger_price_e8=98_000 * E8)
    everything = {"instrument": 0xFFFFFFFF, "currency": 0xFFFF, "instrument_kind": 0xFF, "reason": 60}
    record = commands.record(CommandKind.CANCEL_ALL, venue.bob, order_type=OrderType.STOP_MARKET, **everything)
    assert only(venue.submit(record), EventKind.COMMAND_DONE).count == 1
    record = commands.record(CommandKind.CANCEL_ALL, venue.bob, order_type=0xFF, **everything)
    assert only(venue.submit(record), EventKind.COMMAND_DONE).count == 3
    venue.sound()


def test_one_mark_places_a_bounded_number_and_ticks_the_rest(venue):
    for _ in range(100):
        wait(
            venue, venue.alice, "buy", OrderType.STOP_LIMIT, lots=1, price_units=199_000, trigger_price_e8=101_000 * E8
        )
    found = venue.marks(101_500)
    assert kinds(found).count(EventKind.ORDER_TRIGGERED) == 64
    found = venue.tick()
    assert kinds(found).count(EventKind.ORDER_TRIGGERED) == 36
    ids = [e.trigger_order_id for e in found if e.kind == EventKind.ORDER_TRIGGERED]
    assert ids == sorted(ids)
    venue.sound()


def test_a_reduce_only_stop_without_a_position_is_refused_when_it_fires(venue):
    wait(venue, venue.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=98_000 * E8, flags=OrderFlag.REDUCE_ONLY)
    found = venue.marks(97_000)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.REDUCE_ONLY_WOULD_INCREASE


def test_triggers_end_with_their_instrument_and_replay_to_the_same_state():
    spec = future(START_NS + DAY)
    venue = Driver([perpetual(), spec])
    venue.alice = venue.account("alice", btc=5)
    venue.marks(100_000)
    wait(venue, venue.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=98_000 * E8, name=spec.name)
    wait(venue, venue.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1_000 * E8)
    venue.marks(101_000)
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()
    venue.now = START_NS + DAY
    venue.marks(101_000)
    cancelled = only(venue.tick(), EventKind.ORDER_CANCELLED)
    assert cancelled.reason == Reason.INSTRUMENT_SETTLED
    assert len(venue.engine.trigger_orders(venue.alice)) == 1


def test_a_fired_order_stands_in_the_queue_once_and_an_edit_takes_it_out(venue):
    ids = [
        only(
            wait(
                venue,
                venue.alice,
                "buy",
                OrderType.STOP_LIMIT,
                lots=1,
                price_units=199_000,
                trigger_price_e8=101_000 * E8,
            ),
            EventKind.TRIGGER_PLACED,
        ).order_id
        for _ in range(200)
    ]
    for index in (101_500, 101_600, 101_700):
        venue.marks(index)
    queued = venue.engine.triggers.export()[2]
    assert len(queued) == len({order_id for order_id, _ in queued}) == 200 - 64
    edit = commands.record(
        CommandKind.EDIT_ORDER, venue.alice, order_id=ids[-1], quantity_lots=1, price_units=199_000,
        trigger_price_e8=105_000 * E8,
    )  # fmt: skip
    assert kinds(venue.submit(edit)) == [EventKind.ORDER_EDITED]
    for _ in range(3):
        venue.tick()
    assert [view.order_id for view in venue.engine.trigger_orders(venue.alice)] == [ids[-1]]
    assert only(venue.marks(105_100), EventKind.ORDER_TRIGGERED).trigger_order_id == ids[-1]


def test_an_announced_id_is_not_given_again(venue):
    wait(venue, venue.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=98_000 * E8, flags=OrderFlag.REDUCE_ONLY)
    found = venue.marks(97_000)
    announced = only(found, EventKind.ORDER_TRIGGERED).order_id
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.REDUCE_ONLY_WOULD_INCREASE
    accepted = only(venue.place(venue.bob, NAME, "buy", 190_000, 1), EventKind.ORDER_ACCEPTED)
    assert accepted.order_id == announced + 1


def test_a_fill_that_a_mark_caused_fires_last_price_stops(venue):
    venue.place(venue.bob, NAME, "sell", 201_000, 5)
    venue.place(venue.bob, NAME, "sell", 201_500, 50)
    venue.place(venue.bob, NAME, "buy", 199_000, 5)
    venue.place(venue.carol, NAME, "sell", 199_000, 1)
    wait(venue, venue.carol, "buy", OrderType.STOP_MARKET, lots=5, trigger_price_e8=100_400 * E8)
    wait(
        venue, venue.alice, "buy", OrderType.STOP_MARKET, lots=2, trigger_price_e8=100_400 * E8,
        trigger_source=TriggerSource.LAST_PRICE,
    )  # fmt: skip
    found = venue.marks(100_450)
    fired = [e.account_id for e in found if e.kind == EventKind.ORDER_TRIGGERED]
    assert fired == [venue.carol, venue.alice]
    venue.sound()
