"""Mass quotes: replacing, ending, refusing side by side; cancelling by filter; freezing."""

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, linear_perpetual, make_config, only, option, perpetual
from tests.quoting import BOTH, cancel_quotes, entry, in_group, mass_quote, protect, reset

NAME = "BTC-PERPETUAL"
EXPIRY = START_NS + 30 * DAY
CALL = option(100_000, "call", EXPIRY)
PUT = option(100_000, "put", EXPIRY)
QUOTE = OrderFlag.QUOTE | OrderFlag.PROTECTED


@pytest.fixture
def venue():
    made = Driver([perpetual(), CALL, PUT, linear_perpetual()])
    made.maker, made.taker = (made.account(name, btc=50, usdc=1_000_000) for name in ("maker", "taker"))
    made.marks(100_000)
    protect(made, made.maker)
    return made


def standing(venue, account=None):
    return [
        (o.instrument, o.side, o.price_units, o.remaining_lots)
        for o in venue.engine.open_orders(account or venue.maker)
    ]


def test_a_mass_quote_places_both_sides_and_says_how_many(venue):
    found = mass_quote(
        venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 12), b"set"), entry(venue, CALL.name, (600, 3))
    )
    assert kinds(found) == [EventKind.ORDER_ACCEPTED] * 3 + [EventKind.COMMAND_DONE]
    assert (found[-1].count, found[-1].command_kind) == (3, CommandKind.MASS_QUOTE)
    assert all(e.flags == QUOTE and e.terms_slots == 1 for e in found[:3])
    orders = venue.engine.open_orders(venue.maker)
    assert [o.label for o in orders] == ["q\0set", "q\0set", "q\0"]
    assert all(o.protection_group == 1 and o.order_type == OrderType.LIMIT for o in orders)
    venue.sound()


def test_a_quote_replaces_the_standing_one_and_keeps_its_id(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    ids = [o.order_id for o in venue.engine.open_orders(venue.maker)]
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 6), (200_200, 10), b"b"), quote_id=b"next")
    assert kinds(found) == [EventKind.ORDER_EDITED] * 2 + [EventKind.COMMAND_DONE]
    assert [(e.order_id, e.kept_priority) for e in found[:2]] == [(ids[0], 1), (ids[1], 0)]
    assert {o.label for o in venue.engine.open_orders(venue.maker)} == {"next\0b"}
    slot = venue.slot(NAME)
    assert standing(venue) == [(slot, 0, 199_900, 6), (slot, 1, 200_200, 10)]
    venue.sound()


def test_price_zero_and_lots_minus_one_keep_those_that_stand(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_800, -1), (0, 4)))
    slot = venue.slot(NAME)
    assert standing(venue) == [(slot, 0, 199_800, 10), (slot, 1, 200_100, 4)]
    # without a standing quote there is nothing to keep
    found = mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, -1), (0, 4)))
    assert [e.reason for e in found[:2]] == [Reason.QUANTITY_NOT_POSITIVE, Reason.PRICE_TOO_LOW]
    assert found[-1].count == 0


def test_lots_zero_end_a_quote_and_are_nothing_where_none_stands(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (0, 0)), entry(venue, CALL.name, (600, 0)))
    assert kinds(found) == [EventKind.ORDER_CANCELLED, EventKind.COMMAND_DONE]
    assert (found[0].reason, found[-1].count) == (Reason.USER_REQUEST, 1)
    assert [o.side for o in venue.engine.open_orders(venue.maker)] == [1]


def test_the_amount_of_a_quote_is_what_is_open_afterwards(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, ask=(200_100, 10)))
    venue.place(venue.taker, NAME, "buy", 200_100, 4)
    mass_quote(venue, venue.maker, entry(venue, NAME, ask=(200_100, 10)))
    order = venue.engine.open_orders(venue.maker)[0]
    assert (order.remaining_lots, order.quantity_lots) == (10, 14)
    venue.place(venue.taker, NAME, "buy", 200_100, 10)
    # the id ends with the fill; the next quote is a new order
    found = mass_quote(venue, venue.maker, entry(venue, NAME, ask=(200_100, 10)))
    assert only(found, EventKind.ORDER_ACCEPTED).order_id > order.order_id
    venue.sound()


def test_a_quote_refreshed_for_ever_is_never_too_large(venue):
    small = perpetual("BTC-SMALL", max_quantity_lots=20)
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((small,)))
    venue.marks(100_000)
    for _ in range(4):
        found = mass_quote(venue, venue.maker, entry(venue, small.name, ask=(200_000, 15)))
        assert found[-1].count == 1
        venue.place(venue.taker, small.name, "buy", 200_000, 9)
    assert venue.engine.open_orders(venue.maker)[0].quantity_lots == 42


def test_both_sides_may_move_through_the_own_standing_quote(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    for bid, ask in ((200_300, 200_500), (199_300, 199_500)):
        found = mass_quote(venue, venue.maker, entry(venue, NAME, (bid, 10), (ask, 10)))
        assert kinds(found) == [EventKind.ORDER_EDITED] * 2 + [EventKind.COMMAND_DONE]
    venue.sound()


def test_a_refused_side_leaves_its_quote_and_the_others(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    bid = venue.engine.open_orders(venue.maker)[0].order_id
    found = mass_quote(
        venue,
        venue.maker,
        entry(venue, NAME, (300_000, 10), (200_050, 10)),
        entry(venue, 999, (5, 5)),
        entry(venue, CALL.name, (600, -5)),
    )
    refused = [e for e in found if e.kind == EventKind.ORDER_REJECTED]
    assert [(e.reason, e.order_id) for e in refused] == [
        (Reason.PRICE_TOO_HIGH, bid),
        (Reason.UNKNOWN_INSTRUMENT, 0),
        (Reason.QUANTITY_NOT_POSITIVE, 0),
    ]
    assert found[-1].count == 1
    slot = venue.slot(NAME)
    assert standing(venue) == [(slot, 0, 199_900, 10), (slot, 1, 200_050, 10)]


def test_post_only_quotes_step_back_or_are_refused(venue):
    venue.place(venue.taker, NAME, "sell", 200_000, 5)
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (200_100, 5), bid_flags=OrderFlag.POST_ONLY))
    assert only(found, EventKind.ORDER_ACCEPTED).price_units == 199_999
    flags = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (200_100, 5), bid_flags=flags))
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.POST_ONLY_WOULD_CROSS
    # without the flag it takes, and rests with what is left
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (200_000, 8)))
    assert only(found, EventKind.TRADE_EXECUTED).quantity_lots == 5
    assert standing(venue) == [(venue.slot(NAME), 0, 200_000, 3)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quote_count": 0}, Reason.BAD_PAYLOAD),
        ({"quote_count": 2}, Reason.BAD_PAYLOAD),
        ({"group": 2}, Reason.UNKNOWN_GROUP),
        ({"group": 0}, Reason.UNKNOWN_GROUP),
        ({"group": 0xFFFF}, Reason.UNKNOWN_GROUP),
        ({"valid_until_ns": START_NS - 1}, Reason.VALID_UNTIL_PASSED),
        ({"account": 99}, Reason.UNKNOWN_ACCOUNT),
        ({"name": 999}, Reason.UNKNOWN_INSTRUMENT),
    ],
)
def test_what_refuses_the_whole_command(venue, change, reason):
    account = change.pop("account", venue.maker)
    found = mass_quote(venue, account, entry(venue, change.pop("name", NAME), (199_900, 10)), **change)
    assert only(found, EventKind.COMMAND_REJECTED).reason == reason
    assert len(found) == 1 and standing(venue) == []


def test_entries_of_two_underlyings_and_too_many_of_them_are_refused():
    configuration = make_config(
        underlyings=(config.Underlying("BTC", "btc_usd"), config.Underlying("ETH", "eth_usd")),
        limits=config.Limits(max_quotes_per_command=2),
    )
    venue = Driver([perpetual(), linear_perpetual("ETH_USDC", underlying="ETH")], configuration)
    maker = venue.account("maker", btc=5)
    venue.marks(100_000)
    protect(venue, maker)
    entries = [entry(venue, NAME, (199_900, 1)), entry(venue, "ETH_USDC", (1_000, 1))]
    assert only(mass_quote(venue, maker, *entries), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_GROUP
    assert only(mass_quote(venue, maker, *entries[:1] * 3), EventKind.COMMAND_REJECTED).reason == Reason.LIMIT_REACHED
    assert mass_quote(venue, maker, *entries[:1] * 2)[-1].count == 2


def test_quotes_are_not_edited_but_any_cancel_reaches_them(venue):
    mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), (200_100, 10)))
    bid, ask = (o.order_id for o in venue.engine.open_orders(venue.maker))
    edit = commands.record(CommandKind.EDIT_ORDER, venue.maker, order_id=bid, price_units=199_800, quantity_lots=5)
    assert only(venue.submit(edit), EventKind.ORDER_REJECTED).reason == Reason.QUOTE_NOT_EDITABLE
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.maker, order_id=bid, reason=60))
    assert [o.order_id for o in venue.engine.open_orders(venue.maker)] == [ask]
    found = mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10)))
    assert only(found, EventKind.ORDER_ACCEPTED).order_id > ask
    venue.sound()


def test_cancel_quotes_by_every_filter(venue):
    protect(venue, venue.maker, 2)

    def fill():
        mass_quote(venue, venue.maker, entry(venue, NAME, (199_900, 10), None, b"near"))
        mass_quote(
            venue, venue.maker, entry(venue, CALL.name, (500, 2)), entry(venue, PUT.name, (500, 2), None, b"n"), group=2
        )
        mass_quote(venue, venue.maker, entry(venue, "BTC_USDC-PERPETUAL", (999_000, 1)), group=2)
        if len(venue.engine.open_orders(venue.maker)) == 4:
            in_group(venue, venue.maker, NAME, "buy", 199_000, 1)

    call, put = venue.slot(CALL.name), venue.slot(PUT.name)
    usdc, perp = venue.slot("BTC_USDC-PERPETUAL"), venue.slot(NAME)
    cases = [
        ({}, {call, put, usdc, perp}),
        ({"instrument": perp}, {perp}),
        ({"currency": 1}, {usdc}),
        ({"instrument_kind": 2}, {call, put}),
        ({"protection_group": 1}, {perp}),
        ({"quote_set": b"near"}, {perp}),
        ({"quote_set": b"nea"}, set()),
        ({"min_delta_e6": 0, "max_delta_e6": 1_000_000}, {call}),
        ({"min_delta_e6": -600_000, "max_delta_e6": -300_000}, {put}),
    ]
    for filters, expected in cases:
        fill()
        before = {o.order_id: o.instrument for o in venue.engine.open_orders(venue.maker) if o.flags & OrderFlag.QUOTE}
        found = cancel_quotes(venue, venue.maker, **filters)
        cancelled = [e.order_id for e in found if e.kind == EventKind.ORDER_CANCELLED]
        assert {before[i] for i in cancelled} == expected, filters
        assert cancelled == sorted(cancelled) and found[-1].count == len(expected)
    assert [o.price_units for o in venue.engine.open_orders(venue.maker) if not o.flags & OrderFlag.QUOTE] == [199_000]
    found = cancel_quotes(venue, venue.maker, quote_set=b"x", set_bytes=500)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD
    assert only(cancel_quotes(venue, 99), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_ACCOUNT


def test_freezing_refuses_quotes_for_a_second(venue):
    cancel_quotes(venue, venue.maker, freeze=1)
    bid = entry(venue, NAME, (199_900, 10))
    assert only(mass_quote(venue, venue.maker, bid), EventKind.COMMAND_REJECTED).reason == Reason.QUOTES_FROZEN
    assert venue.engine.quotes_frozen_until(venue.maker) == venue.now + SECOND
    # ordinary orders of the group are taken all the same
    assert EventKind.ORDER_ACCEPTED in kinds(in_group(venue, venue.maker, NAME, "buy", 199_000, 1))
    venue.now += SECOND - 1
    assert kinds(mass_quote(venue, venue.maker, bid)) == [EventKind.COMMAND_REJECTED]
    venue.now += 1
    assert mass_quote(venue, venue.maker, bid)[-1].count == 1
    assert venue.engine.quotes_frozen_until(venue.maker) == 0


def test_garbage_is_refused_and_breaks_nothing(venue):
    huge = (1 << 63) - 1
    for price in (huge, -huge, 199_900, 0):
        for lots in (huge, -huge, 1 << 40):
            found = mass_quote(
                venue,
                venue.maker,
                entry(venue, NAME, (price, lots), (price, lots), b"\xff" * 24, bid_flags=255, ask_flags=255),
                entry(venue, CALL.name, (price, lots), (price, lots)),
                entry(venue, 0xFFFFFFFF, (price, lots), (price, lots)),
                quote_id=b"\xfe" * 24,
            )
            assert found[-1].count == 0
    reset(venue, venue.maker)
    assert BOTH == 3 and standing(venue) == []
    venue.sound()
