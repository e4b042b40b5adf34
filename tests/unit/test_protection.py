"""Market-maker protection: sums of fills, triggers between two fills, freezing, settings."""

import pytest

from exchange import commands, payloads
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind, ProtectionCause
from exchange.reasons import Reason
from tests.driver import DAY, SECOND, START_NS, Driver, kinds, only, option, perpetual
from tests.quoting import COINS, entry, in_group, mass_quote, protect, reset

NAME = "BTC-PERPETUAL"
EXPIRY = START_NS + 30 * DAY
CALL = option(100_000, "call", EXPIRY)
PUT = option(100_000, "put", EXPIRY)


@pytest.fixture
def venue():
    made = Driver([perpetual(), CALL, PUT])
    made.maker, made.taker, made.other = (made.account(name, btc=50) for name in ("maker", "taker", "other"))
    made.marks(100_000)
    return made


def ladder(venue, account=None, lots=1_000):
    """Five asks of the perpetual, in groups 1 (all but the third) and none (the third)."""
    account = account or venue.maker
    for step in range(5):
        price = 200_000 + step * 10
        if step == 2:
            venue.place(account, NAME, "sell", price, lots)
        else:
            in_group(venue, account, NAME, "sell", price, lots)


def view(venue, account=None):
    return venue.engine.protection_groups(account or venue.maker)[0]


def test_a_trigger_cancels_the_group_before_the_next_fill(venue):
    # 1,000 lots of 10 USD at 100,000 are 0.1 coins
    protect(venue, venue.maker, quantity_limit_e8=COINS * 15 // 100)
    ladder(venue)
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 3)))
    ids = [o.order_id for o in venue.engine.open_orders(venue.maker)]
    found = venue.place(venue.taker, NAME, "buy", 200_100, 4_000)
    trades = [e for e in found if e.kind == EventKind.TRADE_EXECUTED]
    # the first is within the limit, the second passes it; then only the order outside the group is left
    assert [t.maker_order_id for t in trades] == ids[:3]
    triggered = only(found, EventKind.PROTECTION_TRIGGERED)
    assert (triggered.cause, triggered.cancelled) == (ProtectionCause.QUANTITY, 3)
    assert (triggered.quantity_e8, triggered.delta_e8) == (COINS * 2 // 10, -COINS * 2 // 10)
    assert (triggered.account_id, triggered.protection_group, triggered.frozen_until_ns) == (venue.maker, 1, -1)
    cancelled = [e for e in found if e.kind == EventKind.ORDER_CANCELLED]
    assert [(e.order_id, e.reason) for e in cancelled] == [(i, Reason.PROTECTION_TRIGGERED) for i in ids[3:]]
    order = [e.kind for e in found if e.kind != EventKind.LEVEL_CHANGED]
    at = order.index(EventKind.PROTECTION_TRIGGERED)
    assert order[at - 1] == EventKind.TRADE_EXECUTED and order[at + 4] == EventKind.TRADE_EXECUTED
    # frozen until it is reset: neither quotes nor orders of the group
    found = mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 3)))
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.QUOTES_FROZEN
    found = in_group(venue, venue.maker, NAME, "sell", 200_200, 10)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.QUOTES_FROZEN
    venue.sound()
    found = reset(venue, venue.maker)
    assert (found[0].kind, found[0].cause) == (EventKind.PROTECTION_CHANGED, ProtectionCause.RESET)
    assert mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 3)))[-1].count == 1
    venue.sound()


def test_sums_start_anew_after_the_interval(venue):
    protect(venue, venue.maker, interval_ns=SECOND, quantity_limit_e8=COINS * 15 // 100)
    ladder(venue)
    for _ in range(2):
        venue.place(venue.taker, NAME, "buy", 200_000, 500)
    assert view(venue).quantity_e8 == COINS // 10
    venue.now += SECOND
    assert view(venue).quantity_e8 == COINS // 10
    venue.tick()
    assert view(venue).quantity_e8 == 0
    # as the interval runs from the first fill, the third fill begins another
    found = venue.place(venue.taker, NAME, "buy", 200_010, 1_000)
    assert EventKind.PROTECTION_TRIGGERED not in kinds(found)
    assert view(venue).quantity_e8 == COINS // 10
    venue.now += SECOND - 1
    in_group(venue, venue.maker, NAME, "sell", 200_005, 1_000)
    assert EventKind.PROTECTION_TRIGGERED in kinds(venue.place(venue.taker, NAME, "buy", 200_005, 1_000))
    venue.sound()


def test_a_taker_of_the_group_stops(venue):
    protect(venue, venue.maker, quantity_limit_e8=COINS * 15 // 100, frozen_ns=5 * SECOND)
    protect(venue, venue.other)
    ladder(venue, venue.other)
    resting = only(in_group(venue, venue.maker, NAME, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED).order_id
    found = in_group(venue, venue.maker, NAME, "buy", 200_100, 4_000)
    taker = only(found, EventKind.ORDER_ACCEPTED).order_id
    assert len([e for e in found if e.kind == EventKind.TRADE_EXECUTED]) == 2
    triggered = only(found, EventKind.PROTECTION_TRIGGERED)
    assert (triggered.cancelled, triggered.frozen_until_ns) == (2, venue.now + 5 * SECOND)
    cancelled = [(e.order_id, e.remaining_lots) for e in found if e.kind == EventKind.ORDER_CANCELLED]
    assert cancelled == [(resting, 10), (taker, 2_000)]
    venue.now += 5 * SECOND - 1
    assert only(in_group(venue, venue.maker, NAME, "buy", 1_000, 1), EventKind.ORDER_REJECTED)
    venue.now += 1
    assert only(in_group(venue, venue.maker, NAME, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED)
    venue.sound()


def test_a_quote_that_takes_and_triggers_freezes_the_rest_of_its_command(venue):
    protect(venue, venue.maker, quantity_limit_e8=COINS // 100)
    venue.place(venue.taker, NAME, "sell", 200_000, 1_000)
    found = mass_quote(
        venue, venue.maker, entry(venue, NAME, (200_000, 2_000), (200_100, 10)), entry(venue, CALL.name, (600, 1))
    )
    assert [e.reason for e in found if e.kind == EventKind.ORDER_REJECTED] == [Reason.QUOTES_FROZEN] * 2
    assert found[-1].count == 1 and venue.engine.open_orders(venue.maker) == []
    venue.sound()


def test_delta_and_vega_have_limits_of_their_own(venue):
    slot = venue.slot(CALL.name)
    delta, _, vega, _, _ = venue.engine.greeks(slot)
    protect(venue, venue.maker, delta_limit_e8=round(delta * 0.201 * COINS))
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (700, 5)), entry(venue, PUT.name, (700, 5)))
    # calls bought against puts bought: deltas net, vegas add up
    venue.place(venue.taker, CALL.name, "sell", 700, 2)
    assert view(venue).delta_e8 == pytest.approx(delta * 0.2 * COINS, rel=1e-6)
    venue.place(venue.taker, PUT.name, "sell", 700, 2)
    assert view(venue).delta_e8 == pytest.approx((2 * delta - 1) * 0.2 * COINS, rel=1e-6)
    assert view(venue).vega_e8 == pytest.approx(vega / 100 * 0.4 * COINS, rel=1e-6)
    assert view(venue).quantity_e8 == 4 * COINS // 10
    found = venue.place(venue.taker, CALL.name, "sell", 700, 3)
    assert only(found, EventKind.PROTECTION_TRIGGERED).cause == ProtectionCause.DELTA
    protect(venue, venue.maker, 2, vega_limit_e8=round(vega / 100 * 0.25 * COINS))
    mass_quote(venue, venue.maker, entry(venue, CALL.name, None, (720, 5)), group=2)
    assert EventKind.PROTECTION_TRIGGERED not in kinds(venue.place(venue.taker, CALL.name, "buy", 720, 2))
    found = venue.place(venue.taker, CALL.name, "buy", 720, 1)
    triggered = only(found, EventKind.PROTECTION_TRIGGERED)
    assert (triggered.cause, triggered.protection_group) == (ProtectionCause.VEGA, 2)
    assert triggered.vega_e8 < 0
    venue.sound()


def test_fill_or_kill_sees_what_protection_would_take_away(venue):
    protect(venue, venue.maker, quantity_limit_e8=COINS * 15 // 100)
    ladder(venue)
    before = venue.engine.state_digest()
    found = venue.place(venue.taker, NAME, "buy", 200_100, 4_000, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    assert view(venue).quantity_e8 == 0 and before != b""
    found = venue.place(venue.taker, NAME, "buy", 200_100, 3_000, time_in_force=TimeInForce.FILL_OR_KILL)
    assert sum(e.quantity_lots for e in found if e.kind == EventKind.TRADE_EXECUTED) == 3_000
    # a taker of a group that would be stopped half way
    protect(venue, venue.taker, quantity_limit_e8=COINS // 10)
    venue.place(venue.other, NAME, "sell", 200_000, 1_500)
    venue.place(venue.other, NAME, "sell", 200_010, 1_500)
    found = in_group(venue, venue.taker, NAME, "buy", 200_100, 3_000, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    found = in_group(venue, venue.taker, NAME, "buy", 200_100, 1_500, time_in_force=TimeInForce.FILL_OR_KILL)
    assert EventKind.PROTECTION_TRIGGERED in kinds(found)
    venue.sound()


def test_a_group_needs_a_limit_order_and_must_exist(venue):
    found = in_group(venue, venue.maker, NAME, "buy", 199_000, 10)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.UNKNOWN_GROUP
    protect(venue, venue.maker)
    found = in_group(venue, venue.maker, NAME, "buy", 0, 10, order_type=OrderType.MARKET)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.BAD_TERMS
    accepted = only(in_group(venue, venue.maker, NAME, "buy", 199_000, 10), EventKind.ORDER_ACCEPTED)
    assert accepted.flags == OrderFlag.PROTECTED
    # edited like an order, and still of the group
    edit = {"order_id": accepted.order_id, "price_units": 199_100, "quantity_lots": 20}
    found = venue.submit(commands.record(CommandKind.EDIT_ORDER, venue.maker, **edit))
    assert only(found, EventKind.ORDER_EDITED)
    order = venue.engine.open_orders(venue.maker)[0]
    assert (order.protection_group, order.flags) == (1, OrderFlag.PROTECTED)
    venue.sound()


def test_settings_keep_orders_and_removal_cancels_them(venue):
    found = protect(venue, venue.maker, quantity_limit_e8=COINS, name="desk")
    assert (found[0].kind, found[0].cause) == (EventKind.PROTECTION_CHANGED, ProtectionCause.CONFIGURED)
    in_group(venue, venue.maker, NAME, "buy", 199_000, 1_000)
    mass_quote(venue, venue.maker, entry(venue, NAME, None, (200_100, 2_000)), entry(venue, CALL.name, (600, 1)))
    protect(venue, venue.maker, quantity_limit_e8=2 * COINS)
    assert len(venue.engine.open_orders(venue.maker)) == 3
    # quotes larger than a new largest quote go: 2,000 lots are 0.2 coins, a call 0.1
    found = protect(venue, venue.maker, quantity_limit_e8=2 * COINS, max_quote_e8=COINS // 10)
    assert only(found, EventKind.PROTECTION_CHANGED).cancelled == 1
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.PROTECTION_CHANGED
    found = mass_quote(venue, venue.maker, entry(venue, NAME, None, (200_100, 1_001)))
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.QUANTITY_TOO_LARGE
    assert mass_quote(venue, venue.maker, entry(venue, NAME, None, (200_100, 1_000)))[-1].count == 1
    found = protect(venue, venue.maker, interval_ns=0)
    assert (found[0].cause, found[0].cancelled) == (ProtectionCause.REMOVED, 3)
    assert [e.reason for e in found[1:4]] == [Reason.PROTECTION_CHANGED] * 3
    assert venue.engine.protection_groups(venue.maker) == []
    venue.sound()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"underlying": "DOGE"}, Reason.UNKNOWN_UNDERLYING),
        ({"group": 0}, Reason.UNKNOWN_GROUP),
        ({"group": 65}, Reason.UNKNOWN_GROUP),
        ({"interval_ns": 0}, Reason.UNKNOWN_GROUP),
        ({"interval_ns": -1}, Reason.BAD_PAYLOAD),
        ({"frozen_ns": (1 << 63) - 1}, Reason.BAD_PAYLOAD),
        ({"quantity_limit_e8": -1}, Reason.BAD_PAYLOAD),
        ({"delta_limit_e8": 1 << 63}, Reason.BAD_PAYLOAD),
        ({"name": "x" * 65}, Reason.BAD_PAYLOAD),
    ],
)
def test_bad_settings_are_refused(venue, change, reason):
    fields = {"underlying": "BTC", "group": 1, "interval_ns": SECOND, **change}
    found = venue.cold(CommandKind.SET_PROTECTION, payloads.Protection(**fields), venue.maker)
    assert only(found, EventKind.COMMAND_REJECTED).reason == reason
    assert venue.engine.protection_groups(venue.maker) == []
    assert only(
        venue.cold(CommandKind.SET_PROTECTION, payloads.Protection("BTC", 1, 1), 77), EventKind.COMMAND_REJECTED
    )
    assert only(reset(venue, venue.maker), EventKind.COMMAND_REJECTED).reason == Reason.UNKNOWN_GROUP


def test_the_largest_figures_do_no_harm(venue):
    most = 10**18
    protect(venue, venue.maker, interval_ns=most, frozen_ns=most, quantity_limit_e8=most, delta_limit_e8=most,
            vega_limit_e8=most, max_quote_e8=most)  # fmt: skip
    ladder(venue)
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 30)))
    venue.place(venue.taker, NAME, "buy", 200_100, 4_000)
    assert view(venue).quantity_e8 == 3 * COINS // 10
    venue.sound()


def test_replay_gives_the_same_state(venue):
    protect(venue, venue.maker, quantity_limit_e8=COINS * 15 // 100, max_quote_e8=COINS)
    ladder(venue)
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 3), (700, 3)))
    venue.place(venue.taker, NAME, "buy", 200_100, 4_000)
    reset(venue, venue.maker)
    again = Engine()
    again.apply_many(b"".join(venue.journal.records))
    assert again.state_digest() == venue.engine.state_digest()
    assert again.event_chain() == venue.engine.event_chain()
