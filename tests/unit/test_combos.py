"""Combos: listing, prices, fills, fees, margin, limits and their end."""

import msgspec
import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TradeFlag
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.combos import (
    BUTTERFLY,
    CALENDAR,
    CALLS,
    FAR,
    NEAR,
    NEAR_FUTURE,
    PERPETUAL,
    PUT,
    SPREAD,
    STRADDLE,
    ZERO,
    combo,
    fair,
    held,
    mark_units,
    venue,
)  # fmt: skip
from tests.driver import DAY, SECOND, kinds, only, option

PERFECT = [SPREAD, STRADDLE, BUTTERFLY, CALENDAR]


def legs_of(found):
    return [event for event in found if event.kind == EventKind.LEG_TRADE_EXECUTED]


def refusal(made, spec):
    found = made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    return Reason(found[-1].reason) if found[-1].kind == EventKind.COMMAND_REJECTED else None


# ---------------------------------------------------------------------- listing


@pytest.mark.parametrize(
    "legs",
    [
        [(CALLS[0], 1)],
        [(CALLS[0], 1), (CALLS[0], -1)],
        [(CALLS[0], -1), (CALLS[1], 1)],
        [(CALLS[0], 2), (CALLS[1], -2)],
        [(CALLS[0], 2), (CALLS[1], -3)],
        [(CALLS[0], 1), (CALLS[1], 0)],
        [(CALLS[0], 1), (CALLS[1], -11)],
        [(CALLS[0], 1), (PERPETUAL, -1)],
        [(NEAR_FUTURE, 1), (CALLS[0], -1)],
        [(CALLS[0], 1), ("BTC-NOTHING", -1)],
        [(CALLS[0], 1), (CALLS[1], 1), (CALLS[2], 1), (PUT, 1), (CALLS[0], 2)],
    ],
    ids=str,
)
def test_legs_that_make_no_combo(legs):
    assert refusal(venue(), combo("X", legs)) == Reason.COMBO_LEGS


@pytest.mark.parametrize(
    "changes",
    [
        {"expiry_ns": FAR},
        {"zero_units": 0},
        {"zero_units": 2 * ZERO + 1},
        {"lot_size_e8": 20_000_000},
        {"price_unit_e8": 20_000},
        {"max_quantity_lots": 10_000_001},
        {"tick_steps": (config.TickStep(0, 1), config.TickStep(50, 5))},
        {"tick_steps": (config.TickStep(0, 3),)},
    ],
    ids=str,
)
def test_terms_that_fit_no_combo(changes):
    assert refusal(venue(), combo("X", [(CALLS[0], 1), (CALLS[1], -1)], **changes)) == Reason.COMBO_LEGS


def test_a_combo_is_listed_once_and_is_no_leg_itself():
    made = venue(SPREAD)
    assert refusal(made, combo("OTHER", [(CALLS[0], 1), (CALLS[1], -1)])) == Reason.DUPLICATE_NAME
    assert refusal(made, combo("X", [(PUT, 1), ("BTC-CS", 1)])) == Reason.COMBO_LEGS
    plain = msgspec.structs.replace(SPREAD, name="X", kind="option", option_type="call", strike_e8=1)
    assert refusal(made, plain) == Reason.BAD_CONFIGURATION
    view = made.engine.instrument(made.slot("BTC-CS"))
    assert view.kind == "option_combo"
    assert view.legs == ((CALLS[0], 1), (CALLS[1], -1))
    assert view.zero_units == ZERO


def test_the_oldest_idle_combo_makes_room():
    made = venue(SPREAD, STRADDLE, max_combos=2)
    made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD) - 10, 1)
    found = made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((BUTTERFLY,)))
    assert kinds(found) == [EventKind.INSTRUMENT_SETTLED, EventKind.INSTRUMENT_LISTED, EventKind.COMMAND_DONE]
    assert found[0].reason == Reason.COMBO_LIMIT
    assert made.engine.instrument_slot("BTC-STRD") == -1
    made.place(made.alice, "BTC-CBUT", "buy", fair(made, BUTTERFLY) - 10, 1)
    assert refusal(made, STRADDLE) == Reason.COMBO_LIMIT
    made.sound()


# ---------------------------------------------------------------------- marks and prices


def test_mark_row_and_delta_are_the_sums_of_the_legs():
    made = venue(*PERFECT)
    for spec in PERFECT:
        slot = made.slot(spec.name)
        legs = [(made.slot(leg.instrument), leg.ratio) for leg in spec.legs]
        market = made.engine.market(slot)
        assert market.mark_price_e8 == sum(r * made.engine.market(s).mark_price_e8 for s, r in legs)
        for usd in (False, True):
            rows = [[r * x for x in made.engine.rows.row(s, usd)] for s, r in legs]
            assert made.engine.rows.row(slot, usd) == [sum(column) for column in zip(*rows, strict=True)]
        assert made.engine.greeks(slot)[0] == pytest.approx(sum(r * made.engine.greeks(s)[0] for s, r in legs))
    made.marks(103_000, vol=0.7)
    made.sound()


def test_a_combo_has_no_mark_before_all_its_legs():
    made = venue()
    made.now += SECOND
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((
        msgspec.structs.replace(made.engine.listing.spec(made.slot(CALLS[0])), name="NEW", strike_e8=130_000 * 10**8),
    )))  # fmt: skip
    spec = combo("X", [(CALLS[0], 1), ("NEW", -1)])
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    found = made.place(made.alice, "X", "buy", ZERO, 1)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NO_MARK
    made.marks(100_000)
    assert kinds(made.place(made.alice, "X", "buy", fair(made, spec), 1)) == [EventKind.ORDER_ACCEPTED]


def test_bands_are_those_of_the_legs():
    made = venue(SPREAD)
    market = made.engine.market(made.slot("BTC-CS"))
    bought, sold = (made.engine.market(made.slot(leg.instrument)) for leg in SPREAD.legs)
    assert market.max_price_units == ZERO + bought.max_price_units - sold.min_price_units
    assert market.min_price_units == ZERO + bought.min_price_units - sold.max_price_units
    found = made.place(made.alice, "BTC-CS", "buy", market.max_price_units + 1, 1)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.PRICE_TOO_HIGH
    found = made.place(made.alice, "BTC-CS", "sell", market.min_price_units - 1, 1)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.PRICE_TOO_LOW


def test_a_price_that_no_leg_can_take_is_refused():
    made = venue(STRADDLE)
    # both legs are bought: no price below the other leg's mark can be booked
    lowest = ZERO + 1 + min(mark_units(made, CALLS[0]), mark_units(made, PUT))
    assert kinds(made.place(made.alice, "BTC-STRD", "buy", lowest, 1)) == [EventKind.ORDER_ACCEPTED]
    found = made.place(made.alice, "BTC-STRD", "buy", lowest - 1, 1)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.PRICE_TOO_LOW
    for price in (0, -1, -(1 << 62), 1 << 62, 2 * ZERO + 1):
        found = made.place(made.alice, "BTC-STRD", "buy", price, 1)
        assert kinds(found) == [EventKind.ORDER_REJECTED]


# ---------------------------------------------------------------------- fills


def fill(made, spec, price, lots=10, side="buy"):
    """Bob makes, alice takes; the events of alice's order."""
    made.place(made.bob, spec.name, "sell" if side == "buy" else "buy", price, lots)
    return made.place(made.alice, spec.name, side, price, lots)


@pytest.mark.parametrize("spec", PERFECT, ids=lambda spec: spec.name)
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_fill_books_the_legs(spec, side):
    made = venue(*PERFECT)
    price = fair(made, spec) + 7
    found = fill(made, spec, price, side=side)
    trade, legs = only(found, EventKind.TRADE_EXECUTED), legs_of(found)
    sign = 1 if side == "buy" else -1
    assert (trade.price_units, trade.quantity_lots, trade.taker_fee_minor) == (price, 10, 0)
    assert [leg.trade_id - trade.trade_id for leg in legs] == list(range(1, len(legs) + 1))
    assert all(leg.taker_flags & TradeFlag.COMBO_LEG and not leg.maker_flags for leg in legs)
    assert sum(leg.ratio * event.price_units for leg, event in zip(spec.legs, legs, strict=True)) == price - ZERO * (
        4 if spec is CALENDAR else 1
    )
    marks = [mark_units(made, leg.instrument) for leg in spec.legs]
    assert [event.price_units for event in legs] == [marks[0] + 7, *marks[1:]]
    wanted = {leg.instrument: sign * 10 * leg.ratio for leg in spec.legs}
    assert held(made, made.alice) == wanted
    assert held(made, made.bob) == {name: -lots for name, lots in wanted.items()}
    for leg in spec.legs:
        market = made.engine.market(made.slot(leg.instrument))
        assert (market.last_price_units, market.volume_lots) == (None, 10 * abs(leg.ratio))
    assert made.engine.market(made.slot(spec.name)).last_price_units == price
    assert made.engine.market(made.slot(spec.name)).open_interest_lots == 0
    made.sound()


def test_the_cheaper_side_of_the_fees_is_waived():
    made = venue(*PERFECT)
    legs = legs_of(fill(made, SPREAD, fair(made, SPREAD)))
    # 3 bp of a coin a leg on both sides: the sold leg goes free
    assert [(leg.taker_fee_minor, leg.maker_fee_minor) for leg in legs] == [(3_000_000, 3_000_000), (0, 0)]
    legs = legs_of(fill(made, BUTTERFLY, fair(made, BUTTERFLY)))
    assert [bool(leg.taker_fee_minor) for leg in legs] == [True, False, True]
    legs = legs_of(fill(made, STRADDLE, fair(made, STRADDLE)))
    assert all(leg.taker_fee_minor for leg in legs)
    legs = legs_of(fill(made, CALENDAR, fair(made, CALENDAR) + 2_000))
    values = [10**11 * 10 * 2 // leg.price_units for leg in legs]
    assert legs[0].taker_fee_minor == 0, "the leg at the higher price is worth fewer coins"
    assert legs[1].taker_fee_minor == pytest.approx(values[1] * 500 / 10**6, abs=1)
    assert legs[1].maker_fee_minor == pytest.approx(values[1] * 100 / 10**6, abs=1)
    made.sound()


def test_the_difference_goes_to_the_first_leg_that_can_take_it():
    made = venue(SPREAD)
    dear, cheap = (mark_units(made, name) for name in CALLS[:2])
    found = fill(made, SPREAD, ZERO - cheap - 10)
    assert [leg.price_units for leg in legs_of(found)] == [dear, dear + cheap + 10], (
        "the first leg would be bought below zero"
    )
    made.sound()


def low_ceilings():
    """Calls and puts that go no higher than 900 price units, and their straddle."""
    made = venue()
    names = []
    for kind in ("call", "put"):
        names.append(f"LOW-{kind}")
        spec = option(105_000, kind, NEAR, name=names[-1], max_price_units=900)
        made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    made.marks(105_000)
    spec = combo("STRD", [(names[0], 1), (names[1], 1)], kind="option_combo", price_unit_e8=10_000,
                 lot_size_e8=10_000_000, max_price_units=2 * ZERO, zero_units=ZERO)  # fmt: skip
    made.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spec,)))
    return made, spec


@pytest.mark.parametrize("time_in_force", [TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.FILL_OR_KILL])
def test_a_maker_whose_price_can_no_longer_be_booked_is_cancelled(time_in_force):
    made, spec = low_ceilings()
    marks = [mark_units(made, leg.instrument) for leg in spec.legs]
    price = fair(made, spec) + 150
    assert max(marks) + 150 < 900
    made.place(made.bob, "STRD", "buy", price, 10)
    made.marks(105_000, vol=0.1)
    made.place(made.carol, "STRD", "buy", fair(made, spec), 10)
    found = made.place(made.alice, "STRD", "sell", fair(made, spec), 10, time_in_force=time_in_force)
    ended = [(e.account_id, e.reason) for e in found if e.kind == EventKind.ORDER_CANCELLED]
    assert ended == [(made.bob, Reason.BAND_PASSED)]
    assert only(found, EventKind.TRADE_EXECUTED).maker_account_id == made.carol
    made.sound()


# ---------------------------------------------------------------------- order types


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"flags": OrderFlag.REDUCE_ONLY}, Reason.BAD_TERMS),
        ({"order_type": OrderType.STOP_LIMIT, "terms": {"trigger_price_e8": 1, "trigger_source": 1}},
         Reason.BAD_ORDER_TYPE),
        ({"terms": {"display_lots": 1}}, Reason.BAD_TERMS),
        ({"terms": {"advanced": 2, "advanced_value_e8": 60_000_000}}, Reason.BAD_TERMS),
        ({"terms": {"protection_group": 1}}, Reason.UNKNOWN_GROUP),
    ],
)  # fmt: skip
def test_terms_that_combos_do_not_have(fields, reason):
    made = venue(SPREAD)
    terms = fields.pop("terms", None)
    record = commands.record(
        CommandKind.PLACE_ORDER, made.alice, tail=commands.order_terms(**terms) if terms else b"",
        terms_slots=1 if terms else 0, instrument=made.slot("BTC-CS"), price_units=fair(made, SPREAD) - 1,
        quantity_lots=10, **fields,
    )  # fmt: skip
    assert only(made.submit(record), EventKind.ORDER_REJECTED).reason == reason
    made.sound()


def test_immediate_fill_or_kill_post_only_and_day_orders():
    made = venue(SPREAD)
    price = fair(made, SPREAD)
    made.place(made.bob, "BTC-CS", "sell", price, 10)
    found = made.place(made.alice, "BTC-CS", "buy", price, 11, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    found = made.place(made.alice, "BTC-CS", "buy", price, 5, flags=OrderFlag.POST_ONLY)
    assert only(found, EventKind.ORDER_ACCEPTED).price_units == price - 1
    found = made.place(made.alice, "BTC-CS", "buy", price, 4, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 4
    found = made.place(made.alice, "BTC-CS", "buy", price, 9, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert only(found, EventKind.ORDER_CANCELLED).remaining_lots == 3
    found = made.place(made.alice, "BTC-CS", "sell", 0, 2, order_type=OrderType.MARKET)
    assert kinds(found)[-1] == EventKind.ORDER_CANCELLED, "her own bid is the only one"
    made.place(made.carol, "BTC-CS", "buy", price - 3, 2, time_in_force=TimeInForce.GOOD_TIL_DAY)
    made.tick(DAY)
    assert made.engine.open_orders(made.carol) == []
    made.sound()


def test_a_combo_trades_while_its_legs_are_open():
    made = venue(SPREAD)
    made.place(made.bob, "BTC-CS", "sell", fair(made, SPREAD), 10)
    for state in ("halted", "close_only"):
        made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(CALLS[1], state))
        found = made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD), 10)
        assert only(found, EventKind.ORDER_REJECTED).reason == Reason.INSTRUMENT_NOT_OPEN
    made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(CALLS[1], "open"))
    assert legs_of(made.place(made.alice, "BTC-CS", "buy", fair(made, SPREAD), 10))


def test_edits_move_and_shrink():
    made = venue(SPREAD)
    price = fair(made, SPREAD)
    order = only(made.place(made.bob, "BTC-CS", "sell", price + 9, 10), EventKind.ORDER_ACCEPTED).order_id
    for new_price, lots, kept in ((price + 9, 6, 1), (price + 3, 8, 0)):
        found = made.submit(commands.record(CommandKind.EDIT_ORDER, made.bob, order_id=order, price_units=new_price,
                                            quantity_lots=lots))  # fmt: skip
        assert only(found, EventKind.ORDER_EDITED).kept_priority == kept
        made.sound()
    assert only(made.place(made.alice, "BTC-CS", "buy", price + 3, 8), EventKind.TRADE_EXECUTED).quantity_lots == 8
