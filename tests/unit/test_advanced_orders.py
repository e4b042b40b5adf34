"""Option orders that follow the market: their prices, new prices with marks, edits, bounds, ends."""

from fractions import Fraction

import pytest

from exchange import commands, config
from exchange.commands import Advanced, CommandKind, OrderFlag, OrderType, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, make_config, only, option, perpetual

E8 = 10**8
MINUTE = 60 * SECOND
EXPIRY_NS = START_NS + 30 * DAY
CALL, PUT = (option(100_000, kind, EXPIRY_NS) for kind in ("call", "put"))
LINEAR = option(100_000, "call", EXPIRY_NS, settlement="USDC")


@pytest.fixture
def venue():
    made = Driver([perpetual(), CALL, PUT, LINEAR])
    made.alice, made.bob = (made.account(name, btc=50, usdc=5_000_000) for name in ("alice", "bob"))
    made.marks(100_000)
    return made


def put_in(venue, account, name, side, kind, value_e8, lots=10, **fields):
    terms = commands.order_terms(advanced=kind, advanced_value_e8=value_e8, **fields.pop("terms", {}))
    return venue.place(account, name, side, 0, lots, terms_slots=1, tail=terms, **fields)


def edit(venue, account, order_id, lots, kind=0, value_e8=0, flags=0):
    tail = commands.order_terms(advanced=kind, advanced_value_e8=value_e8) if kind else b""
    fields = {"order_id": order_id, "quantity_lots": lots, "flags": flags, "terms_slots": int(bool(kind))}
    return venue.submit(commands.record(CommandKind.EDIT_ORDER, account, tail=tail, **fields))


def refused(found):
    return only(found, EventKind.ORDER_REJECTED).reason


@pytest.mark.parametrize("name", [CALL.name, PUT.name, LINEAR.name])
@pytest.mark.parametrize("vol", [0.45, 0.6, 0.8])
def test_at_mark_vol_the_price_is_the_mark_on_tick(venue, name, vol):
    venue.marks(101_234.5, vol=vol, forward=101_500)
    slot = venue.slot(name)
    mark_e8 = venue.engine.market(slot).mark_price_e8
    unit = venue.engine.instrument(slot).price_unit_e8
    value = round(vol * E8)
    buy = only(put_in(venue, venue.alice, name, "buy", Advanced.IMPLIED_VOL, value), EventKind.ORDER_ACCEPTED)
    sell = only(put_in(venue, venue.bob, name, "sell", Advanced.IMPLIED_VOL, value), EventKind.ORDER_ACCEPTED)
    assert (buy.price_units, sell.price_units) == (mark_e8 // unit, -(-mark_e8 // unit))
    view = venue.engine.order(buy.order_id)
    assert (view.advanced, view.advanced_value_e8) == (Advanced.IMPLIED_VOL, value)
    assert view.flags & OrderFlag.ADVANCED
    # a later mark at the same surface, an hour on: the price follows the mark's own time to expiry
    venue.now += 3600 * SECOND
    venue.marks(101_234.5, vol=vol, forward=101_500)
    mark_e8 = venue.engine.market(slot).mark_price_e8
    assert venue.engine.order(buy.order_id).price_units == mark_e8 // unit
    venue.sound()


def test_a_dollar_value_is_exact_over_the_index(venue):
    value_e8 = 6_543 * E8 + 21
    put_in(venue, venue.alice, CALL.name, "buy", Advanced.USD, value_e8, lots=1)
    put_in(venue, venue.bob, CALL.name, "sell", Advanced.USD, value_e8 + 500 * E8, lots=1)
    bid, ask = (venue.engine.open_orders(account)[0].order_id for account in (venue.alice, venue.bob))
    for index in (100_000, 99_999.99, 97_531.2468, 103_000.00000001):
        venue.marks(index)
        exact = Fraction(value_e8, E8) / Fraction(round(index * E8), E8) * 10_000
        above = Fraction(value_e8 + 500 * E8, E8) / Fraction(round(index * E8), E8) * 10_000
        assert venue.engine.order(bid).price_units == exact // 1
        assert venue.engine.order(ask).price_units == -(-above // 1)
    assert refused(put_in(venue, venue.alice, LINEAR.name, "buy", Advanced.USD, value_e8)) == Reason.BAD_TERMS


def test_a_new_price_loses_the_place_may_trade_and_one_that_stays_is_left(venue):
    first = only(
        put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000), EventKind.ORDER_ACCEPTED
    )
    rest = only(venue.place(venue.bob, CALL.name, "sell", 750, 4), EventKind.ORDER_ACCEPTED)
    assert kinds(venue.marks(100_000, vol=0.7)) == [EventKind.MARKS_UPDATED]
    found = venue.marks(102_000)
    edited = only(found, EventKind.ORDER_EDITED)
    assert (edited.order_id, edited.kept_priority, edited.terms_slots) == (first.order_id, 0, 1)
    trade = only(found, EventKind.TRADE_EXECUTED)
    assert (trade.taker_order_id, trade.maker_order_id, trade.price_units) == (first.order_id, rest.order_id, 750)
    view = venue.engine.order(first.order_id)
    assert (view.remaining_lots, view.price_units) == (6, edited.price_units)
    venue.place(venue.bob, CALL.name, "sell", view.price_units, 6)
    assert venue.engine.order(first.order_id) is None
    assert venue.engine.advanced.live() == [[]]
    venue.sound()


@pytest.mark.parametrize(
    ("name", "kind", "value", "fields"),
    [
        ("BTC-PERPETUAL", Advanced.USD, 5_000 * E8, {}),
        (CALL.name, 3, 5_000 * E8, {}),
        (CALL.name, Advanced.USD, 0, {}),
        (CALL.name, Advanced.USD, -1, {}),
        (CALL.name, Advanced.USD, 2**62, {}),
        (CALL.name, Advanced.IMPLIED_VOL, 2_000_000_001, {}),
        (CALL.name, Advanced.IMPLIED_VOL, -(2**63), {}),
        (CALL.name, Advanced.IMPLIED_VOL, 60_000_000, {"flags": OrderFlag.POST_ONLY}),
        (CALL.name, Advanced.IMPLIED_VOL, 60_000_000, {"order_type": OrderType.MARKET}),
        (CALL.name, Advanced.IMPLIED_VOL, 60_000_000, {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}),
        (CALL.name, Advanced.IMPLIED_VOL, 60_000_000, {"time_in_force": TimeInForce.FILL_OR_KILL}),
        (CALL.name, Advanced.IMPLIED_VOL, 60_000_000, {"terms": {"display_lots": 5}}),
    ],
)
def test_terms_that_no_order_can_have_are_refused(venue, name, kind, value, fields):
    assert refused(put_in(venue, venue.alice, name, "buy", kind, value, **fields)) == Reason.BAD_TERMS
    assert venue.engine.open_orders(venue.alice) == []
    assert venue.engine.advanced.live() == [[]]
    venue.sound()


def test_prices_stay_within_the_bands_and_a_tick():
    venue = Driver([CALL, PUT], make_config(limits=config.Limits(option_band_vol_ppm=100_000)))
    alice, bob = (venue.account(name, btc=50) for name in ("alice", "bob"))
    venue.marks(100_000)
    high = only(put_in(venue, alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 200_000_000), EventKind.ORDER_ACCEPTED)
    low = only(put_in(venue, bob, PUT.name, "sell", Advanced.IMPLIED_VOL, 1), EventKind.ORDER_ACCEPTED)
    cheap = only(put_in(venue, alice, PUT.name, "buy", Advanced.USD, 1), EventKind.ORDER_ACCEPTED)
    market = venue.engine.market
    assert high.price_units == market(0).max_price_units
    assert low.price_units == market(1).min_price_units
    assert cheap.price_units == 1
    dear = only(put_in(venue, bob, PUT.name, "sell", Advanced.USD, 10**17), EventKind.ORDER_ACCEPTED)
    assert dear.price_units == PUT.max_price_units
    venue.marks(97_000)
    assert venue.engine.order(high.order_id).price_units == market(0).max_price_units < high.price_units
    venue.sound()


def test_edits_repeat_the_kind_and_change_value_and_quantity(venue):
    placed = only(
        put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000), EventKind.ORDER_ACCEPTED
    )
    for kind, value, flags in (
        (0, 0, 0),
        (Advanced.USD, 6_000 * E8, 0),
        (2, 0, 0),
        (2, 55_000_000, OrderFlag.POST_ONLY),
    ):
        assert refused(edit(venue, venue.alice, placed.order_id, 10, kind, value, flags)) == Reason.BAD_TERMS
        assert venue.engine.order(placed.order_id).advanced_value_e8 == 60_000_000
    shrunk = only(edit(venue, venue.alice, placed.order_id, 7, 2, 60_000_000), EventKind.ORDER_EDITED)
    assert (shrunk.kept_priority, shrunk.remaining_lots, shrunk.price_units) == (1, 7, placed.price_units)
    moved = only(edit(venue, venue.alice, placed.order_id, 9, 2, 55_000_000), EventKind.ORDER_EDITED)
    assert moved.kept_priority == 0
    assert moved.price_units < placed.price_units
    common = only(venue.place(venue.alice, CALL.name, "buy", 600, 5), EventKind.ORDER_ACCEPTED)
    assert refused(edit(venue, venue.alice, common.order_id, 5, 2, 55_000_000)) == Reason.BAD_TERMS
    venue.sound()


def test_what_is_not_funded_any_more_ends(venue):
    poor = venue.account("poor", btc=0.09)
    placed = only(
        put_in(venue, poor, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000, lots=12), EventKind.ORDER_ACCEPTED
    )
    found = venue.marks(115_000)
    cancelled = only(found, EventKind.ORDER_CANCELLED)
    assert (cancelled.order_id, cancelled.reason) == (placed.order_id, Reason.NOT_ENOUGH_FUNDS)
    assert EventKind.ORDER_EDITED not in kinds(found)
    venue.sound()


def test_reduce_only_shrinks_with_the_position_and_ends_without_one(venue):
    venue.trade(venue.bob, venue.alice, CALL.name, "buy", 700, 10)
    flags = {"flags": OrderFlag.REDUCE_ONLY}
    put_in(venue, venue.alice, CALL.name, "sell", Advanced.IMPLIED_VOL, 62_000_000, **flags)
    (before,) = venue.engine.open_orders(venue.alice)
    venue.trade(venue.bob, venue.alice, CALL.name, "sell", 650, 4)
    (cut,) = venue.engine.open_orders(venue.alice)
    assert (cut.remaining_lots, cut.price_units) == (6, before.price_units)
    edited = only(venue.marks(99_000), EventKind.ORDER_EDITED)
    assert (edited.quantity_lots, edited.remaining_lots) == (6, 6)
    venue.trade(venue.bob, venue.alice, CALL.name, "sell", 600, 6)
    assert venue.engine.open_orders(venue.alice) == []
    assert venue.marks(98_000)[-1].kind == EventKind.MARKS_UPDATED
    venue.sound()


def test_a_halt_keeps_the_price_until_the_marks_that_follow(venue):
    placed = only(
        put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000), EventKind.ORDER_ACCEPTED
    )
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(CALL.name, "halted"))
    assert kinds(venue.marks(102_000)) == [EventKind.MARKS_UPDATED]
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(CALL.name, "open"))
    assert venue.engine.order(placed.order_id).price_units == placed.price_units
    assert only(venue.marks(102_000), EventKind.ORDER_EDITED).price_units > placed.price_units


def test_they_end_a_quarter_of_an_hour_before_expiry(venue):
    put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000)
    plain = only(venue.place(venue.alice, CALL.name, "buy", 600, 5), EventKind.ORDER_ACCEPTED)
    venue.now = EXPIRY_NS - 15 * MINUTE - 1
    venue.marks(100_000)
    assert kinds(venue.tick()) == []
    found = venue.tick(1)
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.INSTRUMENT_SETTLED
    assert [order.order_id for order in venue.engine.open_orders(venue.alice)] == [plain.order_id]
    assert refused(put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000)) == Reason.BAD_TERMS
    venue.sound()


def test_one_mark_gives_a_bounded_number_of_prices_and_none_waits_for_ever(venue):
    for _ in range(150):
        put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 60_000_000, lots=1)
    ids = [order.order_id for order in venue.engine.open_orders(venue.alice)]

    def edited(found):
        return [event.order_id for event in found if event.kind == EventKind.ORDER_EDITED]

    assert edited(venue.marks(101_000)) == ids[:64]
    assert edited(venue.marks(102_000)) == ids[64:128]
    assert edited(venue.tick()) == ids[128:] + ids[:42]
    assert edited(venue.tick()) == ids[42:64]
    assert len({order.price_units for order in venue.engine.open_orders(venue.alice)}) == 1
    assert kinds(venue.tick()) == []
    venue.sound()


def test_a_replay_comes_to_the_same_state(venue):
    for value in (55_000_000, 60_000_000, 65_000_000):
        put_in(venue, venue.alice, CALL.name, "buy", Advanced.IMPLIED_VOL, value, lots=1)
        put_in(venue, venue.bob, PUT.name, "sell", Advanced.USD, 70 * value, lots=1)
    for index in (100_500, 99_000, 101_700):
        venue.marks(index, vol=0.63)
    for _ in range(150):
        put_in(venue, venue.alice, PUT.name, "buy", Advanced.IMPLIED_VOL, 50_000_000, lots=1)
    venue.marks(99_300)
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()
    assert any(twin.advanced.export()[0])
