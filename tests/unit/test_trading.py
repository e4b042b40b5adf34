"""The life of an order, rule by rule, as calls against expected events."""

import pytest

from exchange import commands
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce
from exchange.config import Limits
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, Event, only, reasons

PERPETUAL, LONG_FUTURE, SHORT_CALL, CALL, USDC_PERPETUAL = 0, 1, 2, 4, 6
ACCEPTED, REJECTED, TRADED, CANCELLED, EDITED = (
    EventKind.ORDER_ACCEPTED, EventKind.ORDER_REJECTED, EventKind.TRADE_EXECUTED, EventKind.ORDER_CANCELLED,
    EventKind.ORDER_EDITED,
)  # fmt: skip
FORWARDS = {world.LONG_EXPIRY_NS: 100_000.0, world.SHORT_EXPIRY_NS: 100_000.0}
RICH = {"BTC": 100 * world.COIN, "USDC": 10_000_000 * world.DOLLAR}


@pytest.fixture
def bench() -> Bench:
    """Accounts 1 to 3 rich, 4 belongs to the owner of 1, 5 has 0.02 BTC (2,000 USD)."""
    bench = Bench(world.configuration(limits=Limits(max_open_orders_per_account=8, max_open_orders=20)))
    for name in ("one", "two", "three"):
        bench.account(name, **RICH)
    bench.account("one-b", owner_id=1, **RICH)
    bench.account("poor", BTC=world.COIN // 50)
    bench.marks(100_000.0, FORWARDS, {2: 0.6, 4: 0.6, 7: 0.6})
    return bench


def kinds(happened: list[Event]) -> list[EventKind]:
    return [e.kind for e in happened if e.kind != EventKind.LEVEL_CHANGED]


def resting(
    bench: Bench, account_id: int, side: int, price: int, lots: int, slot: int = PERPETUAL, **more: object
) -> int:
    """Id of an order that rests."""
    happened = bench.place(account_id, slot, side, price, lots, **more)
    assert kinds(happened) == [ACCEPTED]
    return happened[0].order_id


def position(bench: Bench, account_id: int, side: int, price: int, lots: int, slot: int = PERPETUAL) -> None:
    """A position against account 3."""
    resting(bench, 3, 1 - side, price, lots, slot)
    assert kinds(bench.place(account_id, slot, side, price, lots)) == [ACCEPTED, TRADED]


# ---------------------------------------------------------------------- entry


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"side": 2}, Reason.BAD_ORDER_TYPE),
        ({"order_type": 200}, Reason.BAD_ORDER_TYPE),
        ({"time_in_force": 200}, Reason.BAD_TIME_IN_FORCE),
        ({"valid_until_ns": 1}, Reason.VALID_UNTIL_PASSED),
        ({"account_id": 77}, Reason.UNKNOWN_ACCOUNT),
        ({"instrument": 50}, Reason.UNKNOWN_INSTRUMENT),
        ({"instrument": 9}, Reason.NO_MARK),
        ({"quantity_lots": 0}, Reason.QUANTITY_NOT_POSITIVE),
        ({"quantity_lots": 9, "instrument": LONG_FUTURE}, Reason.QUANTITY_TOO_SMALL),
        ({"quantity_lots": 10_000_001}, Reason.QUANTITY_TOO_LARGE),
        ({"price_units": 0}, Reason.PRICE_TOO_LOW),
        ({"price_units": 4_000_001}, Reason.PRICE_TOO_HIGH),
        ({"price_units": 240_001}, Reason.PRICE_TOO_HIGH),
        ({"price_units": 159_999, "side": SELL}, Reason.PRICE_TOO_LOW),
        ({"price_units": 601, "instrument": CALL}, Reason.PRICE_OFF_TICK),
        ({"flags": OrderFlag.REDUCE_ONLY}, Reason.REDUCE_ONLY_WOULD_INCREASE),
        (
            {"flags": OrderFlag.POST_ONLY, "time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL},
            Reason.POST_ONLY_NOT_ALLOWED,
        ),
        ({"flags": OrderFlag.POST_ONLY, "order_type": OrderType.MARKET}, Reason.POST_ONLY_NOT_ALLOWED),
        ({"time_in_force": TimeInForce.FILL_OR_KILL}, Reason.FILL_OR_KILL_UNFILLABLE),
        ({"account_id": 5, "quantity_lots": 5_000}, Reason.NOT_ENOUGH_FUNDS),
        ({"quantity_lots": 150_000, "instrument": CALL, "price_units": 600}, Reason.ROW_LIMIT),
    ],
)
def test_a_refused_order_says_why_and_changes_nothing(bench: Bench, fields: dict, reason: Reason) -> None:
    order = {
        "account_id": 1,
        "instrument": PERPETUAL,
        "side": BUY,
        "price_units": 200_000,
        "quantity_lots": 100,
    } | fields
    before = bench.engine.export()
    happened = bench.send(commands.record(CommandKind.PLACE_ORDER, order.pop("account_id"), **order))
    assert kinds(happened) == [REJECTED]
    assert reasons(happened) == [reason]
    after = bench.engine.export()
    # seq, time and the count of placed orders move; nothing else does
    assert after[4:] == before[4:]


def test_bands_are_inclusive_and_on_tick(bench: Bench) -> None:
    market = bench.engine.market(PERPETUAL)
    assert (market.min_price_units, market.max_price_units) == (160_000, 240_000)
    resting(bench, 1, BUY, 160_001, 1)
    resting(bench, 2, SELL, 240_000, 1)
    view = bench.engine.market(CALL)
    band = view.mark_price_e8 // 5 + 5_000_000
    assert view.max_price_units == (view.mark_price_e8 + band) // 10**4 // 5 * 5
    assert view.min_price_units == max(1, -(-(view.mark_price_e8 - band) // 10**4))


def test_the_lowest_price_of_a_sell_rounds_up_to_its_tick(bench: Bench) -> None:
    """A deep option: mark - 20 % - 0.05 lies between two ticks."""
    bench.time_ns += 10**9
    bench.marks(124_321.0, dict.fromkeys(FORWARDS, 124_321.0), {2: 0.6, 4: 0.6, 7: 0.6})
    bench.marks(124_321.0, dict.fromkeys(FORWARDS, 124_321.0), {2: 0.6, 4: 0.6, 7: 0.6})
    view = bench.engine.market(SHORT_CALL)
    bottom_e8 = view.mark_price_e8 - view.mark_price_e8 // 5 - 5_000_000
    assert bottom_e8 % 50_000 != 0
    lowest = -(-bottom_e8 // 50_000) * 5
    assert view.min_price_units == lowest > 500
    assert reasons(bench.place(1, SHORT_CALL, SELL, lowest - 5, 1)) == [Reason.PRICE_TOO_LOW]
    resting(bench, 1, SELL, lowest, 1, SHORT_CALL)


def test_limits_on_open_orders(bench: Bench) -> None:
    orders = [resting(bench, 1, BUY, 190_000 - n, 1) for n in range(8)]
    assert reasons(bench.place(1, PERPETUAL, BUY, 180_000, 1)) == [Reason.OPEN_ORDER_LIMIT]
    # at the limit an order may still be moved
    assert kinds(bench.edit(1, orders[0], 191_000, 2)) == [EDITED]
    for n in range(8):
        resting(bench, 2, BUY, 190_000 - n, 1)
    for n in range(4):
        resting(bench, 3, BUY, 190_000 - n, 1)
    assert reasons(bench.place(3, PERPETUAL, BUY, 180_000, 1)) == [Reason.BOOK_FULL]


def test_labels_are_kept_and_unique_where_asked(bench: Bench) -> None:
    first = resting(bench, 1, BUY, 190_000, 1, label=b"grid-1", flags=OrderFlag.UNIQUE_LABEL)
    assert bench.engine.order(first).label == "grid-1"
    again = bench.place(1, PERPETUAL, BUY, 189_000, 1, label=b"grid-1", flags=OrderFlag.UNIQUE_LABEL)
    assert reasons(again) == [Reason.DUPLICATE_LABEL]
    resting(bench, 1, BUY, 189_000, 1, label=b"grid-1")
    resting(bench, 2, BUY, 189_000, 1, label=b"grid-1", flags=OrderFlag.UNIQUE_LABEL)
    resting(bench, 1, BUY, 189_000, 1, label=b"x" * 64)
    assert reasons(bench.place(1, PERPETUAL, BUY, 189_000, 1, label=b"x" * 65)) == [Reason.LABEL_TOO_LONG]


# ---------------------------------------------------------------------- post-only, time in force


def test_post_only_is_moved_a_tick_off_or_refused(bench: Bench) -> None:
    resting(bench, 2, SELL, 200_000, 10)
    (event,) = bench.place(1, PERPETUAL, BUY, 200_010, 5, flags=OrderFlag.POST_ONLY)
    assert (event.price_units, event.flags) == (199_999, OrderFlag.POST_ONLY | OrderFlag.PRICE_ADJUSTED)
    strict = OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY
    assert reasons(bench.place(1, PERPETUAL, BUY, 200_000, 5, flags=strict)) == [Reason.POST_ONLY_WOULD_CROSS]
    (event,) = bench.place(3, PERPETUAL, SELL, 199_000, 5, flags=OrderFlag.POST_ONLY)
    assert (event.kind, event.price_units) == (ACCEPTED, 200_000)


def test_immediate_or_cancel_ends_the_remainder(bench: Bench) -> None:
    resting(bench, 2, SELL, 200_000, 10)
    happened = bench.place(1, PERPETUAL, BUY, 200_000, 15, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert kinds(happened) == [ACCEPTED, TRADED, CANCELLED]
    assert (happened[-1].reason, happened[-1].remaining_lots) == (Reason.IMMEDIATE_OR_CANCEL, 5)


def test_fill_or_kill_is_all_or_nothing(bench: Bench) -> None:
    resting(bench, 2, SELL, 200_000, 10)
    resting(bench, 3, SELL, 200_001, 10)
    kill = TimeInForce.FILL_OR_KILL
    assert reasons(bench.place(1, PERPETUAL, BUY, 200_001, 21, time_in_force=kill)) == [Reason.FILL_OR_KILL_UNFILLABLE]
    assert bench.engine.depth(PERPETUAL, 5)[1] == [(200_000, 10), (200_001, 10)]
    assert kinds(bench.place(1, PERPETUAL, BUY, 200_001, 20, time_in_force=kill)) == [ACCEPTED, TRADED, TRADED]


def test_fill_or_kill_does_not_count_makers_that_would_be_cancelled(bench: Bench) -> None:
    resting(bench, 2, SELL, 200_000, 10)
    resting(bench, 4, SELL, 200_000, 10)
    kill = TimeInForce.FILL_OR_KILL
    assert reasons(bench.place(1, PERPETUAL, BUY, 200_000, 15, time_in_force=kill)) == [Reason.FILL_OR_KILL_UNFILLABLE]
    assert len(bench.engine.open_orders(4)) == 1
    assert kinds(bench.place(3, PERPETUAL, BUY, 200_000, 15, time_in_force=kill)) == [ACCEPTED, TRADED, TRADED]


def test_a_market_order_stops_at_the_band(bench: Bench) -> None:
    resting(bench, 2, SELL, 205_000, 10)
    resting(bench, 2, SELL, 260_000, 10)
    happened = bench.place(1, PERPETUAL, BUY, 0, 15, order_type=OrderType.MARKET)
    assert kinds(happened) == [ACCEPTED, TRADED, CANCELLED]
    assert happened[0].price_units == 240_000
    assert (happened[-1].reason, happened[-1].remaining_lots) == (Reason.MARKET_REMAINDER, 5)


# ---------------------------------------------------------------------- between two fills


def test_an_owner_never_trades_with_itself(bench: Bench) -> None:
    own = resting(bench, 4, SELL, 200_000, 10)
    resting(bench, 2, SELL, 200_000, 10)
    happened = bench.place(1, PERPETUAL, BUY, 200_000, 10)
    assert kinds(happened) == [ACCEPTED, CANCELLED, TRADED]
    assert (happened[1].order_id, happened[1].reason) == (own, Reason.SELF_TRADE)
    assert happened[2].maker_account_id == 2


def test_reduce_only_takes_at_most_the_position(bench: Bench) -> None:
    position(bench, 1, BUY, 200_000, 10)
    (event,) = bench.place(1, PERPETUAL, SELL, 201_000, 25, flags=OrderFlag.REDUCE_ONLY)
    assert event.quantity_lots == 10
    # two such orders in one sweep: the second trades what the first has left, and then goes
    bench.place(1, PERPETUAL, SELL, 201_010, 6, flags=OrderFlag.REDUCE_ONLY)
    resting(bench, 2, BUY, 200_000, 2)
    bench.place(1, PERPETUAL, SELL, 200_000, 2)
    happened = bench.place(2, PERPETUAL, BUY, 201_010, 14)
    assert kinds(happened) == [ACCEPTED, TRADED, CANCELLED]
    assert happened[1].quantity_lots == 8
    assert happened[2].reason == Reason.REDUCE_ONLY_POSITION_GONE


def test_a_maker_whose_fill_would_breach_maintenance_is_cancelled_instead(bench: Bench) -> None:
    doomed = resting(bench, 5, BUY, 199_000, 800)
    for index in (90_000.0, 84_000.0):
        bench.time_ns += 10**9
        bench.marks(index, FORWARDS, {2: 0.6, 4: 0.6, 7: 0.6})
    resting(bench, 2, BUY, 198_000, 800)
    happened = bench.place(1, PERPETUAL, SELL, 198_000, 800)
    assert kinds(happened) == [ACCEPTED, CANCELLED, TRADED]
    assert (happened[1].order_id, happened[1].reason) == (doomed, Reason.MAINTENANCE_WOULD_BREACH)
    assert happened[2].maker_account_id == 2


def test_the_risk_reducing_lane_stays_open_when_funds_are_short(bench: Bench) -> None:
    position(bench, 5, BUY, 200_000, 900)
    bench.time_ns += 10**9
    bench.marks(90_000.0, FORWARDS, {2: 0.6, 4: 0.6, 7: 0.6})
    equity, initial, _ = bench.margins(5)
    assert equity < initial
    assert reasons(bench.place(5, PERPETUAL, BUY, 180_000, 10)) == [Reason.NOT_ENOUGH_FUNDS]
    (event,) = bench.place(5, PERPETUAL, SELL, 180_100, 450)
    assert event.flags == OrderFlag.RISK_REDUCING
    (event,) = bench.place(5, PERPETUAL, SELL, 180_200, 450)
    assert event.flags == OrderFlag.RISK_REDUCING
    # closed twice over it would be a larger position the other way
    assert reasons(bench.place(5, PERPETUAL, SELL, 180_200, 1_800)) == [Reason.NOT_ENOUGH_FUNDS]


def test_the_lane_counts_slippage(bench: Bench) -> None:
    position(bench, 5, BUY, 200_000, 900)
    bench.time_ns += 10**9
    bench.marks(90_000.0, FORWARDS, {2: 0.6, 4: 0.6, 7: 0.6})
    # given away at 19 % below the mark it loses more than the position could
    assert reasons(bench.place(5, PERPETUAL, SELL, 146_000, 900)) == [Reason.NOT_ENOUGH_FUNDS]


# ---------------------------------------------------------------------- edit, cancel, states


def test_an_edit_counts_the_total_and_refuses_below_what_is_filled(bench: Bench) -> None:
    order = resting(bench, 1, BUY, 200_000, 10)
    bench.place(2, PERPETUAL, SELL, 200_000, 4)
    assert reasons(bench.edit(1, order, 200_000, 4)) == [Reason.EDIT_BELOW_FILLED]
    assert reasons(bench.edit(1, order, 200_000, 0)) == [Reason.QUANTITY_NOT_POSITIVE]
    (event,) = bench.edit(1, order, 199_000, 20)
    assert (event.quantity_lots, event.remaining_lots, event.kept_priority) == (20, 16, 0)


def test_an_edit_through_the_market_trades(bench: Bench) -> None:
    order = resting(bench, 1, BUY, 199_000, 10)
    resting(bench, 2, SELL, 200_000, 4)
    happened = bench.edit(1, order, 200_000, 10)
    assert kinds(happened) == [EDITED, TRADED]
    assert (happened[1].taker_order_id, happened[1].quantity_lots) == (order, 4)
    assert bench.engine.order(order).remaining_lots == 6


def test_a_refused_edit_leaves_the_order_as_it_was(bench: Bench) -> None:
    order = resting(bench, 5, BUY, 190_000, 100)
    before = bench.engine.export()[4:]
    assert reasons(bench.edit(5, order, 190_000, 5_000)) == [Reason.NOT_ENOUGH_FUNDS]
    assert reasons(bench.edit(1, order, 190_000, 50)) == [Reason.NOT_OWNER_OF_ORDER]
    assert reasons(bench.edit(1, 999, 190_000, 50)) == [Reason.UNKNOWN_ORDER]
    assert bench.engine.export()[4:] == before
    assert bench.engine.audit() == []


def test_cancel_all_takes_every_filter(bench: Bench) -> None:
    for slot, price in ((PERPETUAL, 190_000), (LONG_FUTURE, 190_000), (CALL, 500), (USDC_PERPETUAL, 190_000)):
        resting(bench, 1, BUY, price, 10, slot, label=b"keep" if slot == CALL else b"")
    resting(bench, 2, BUY, 190_000, 10)

    def cancelled(**filters: int) -> list[int]:
        everything = {
            "instrument": commands.NO_INSTRUMENT, "currency": commands.ANY_CURRENCY,
            "instrument_kind": commands.ANY_KIND, "order_type": commands.ANY_KIND, "reason": Reason.USER_REQUEST,
        }  # fmt: skip
        label = b"keep" if filters.pop("label", 0) else b""
        happened = bench.send(
            commands.record(CommandKind.CANCEL_ALL, 1, label, label_bytes=len(label), **(everything | filters))
        )
        assert happened[-1].count == len(happened) - 1
        return [e.instrument for e in happened[:-1]]

    assert cancelled(currency=1) == [USDC_PERPETUAL]
    assert cancelled(instrument_kind=1) == [LONG_FUTURE]
    assert cancelled(label=1, order_type=OrderType.MARKET) == []
    assert cancelled(label=1) == [CALL]
    assert cancelled(instrument=PERPETUAL, currency=1) == []
    assert cancelled() == [PERPETUAL]
    assert len(bench.engine.open_orders(2)) == 1


def test_close_only_lets_positions_shrink_and_nothing_else(bench: Bench) -> None:
    position(bench, 1, BUY, 200_000, 10)
    order = resting(bench, 1, SELL, 210_000, 4)
    other = resting(bench, 2, SELL, 211_000, 4)
    bench.state(PERPETUAL, "close_only")
    assert reasons(bench.place(2, PERPETUAL, BUY, 199_000, 5)) == [Reason.REDUCE_ONLY_WOULD_INCREASE]
    (event,) = bench.place(1, PERPETUAL, SELL, 205_000, 50)
    assert (event.quantity_lots, event.flags) == (10, OrderFlag.REDUCE_ONLY)
    # an edit opens no back door
    assert reasons(bench.edit(2, other, 211_000, 40)) == [Reason.REDUCE_ONLY_WOULD_INCREASE]
    (event,) = bench.edit(1, order, 206_000, 40)
    assert (event.remaining_lots, event.flags) == (10, OrderFlag.REDUCE_ONLY)
    bench.state(PERPETUAL, "halted")
    assert reasons(bench.place(1, PERPETUAL, SELL, 205_000, 1)) == [Reason.INSTRUMENT_NOT_OPEN]
    assert kinds(bench.cancel(1, order)) == [CANCELLED]


def test_an_expired_contract_takes_no_orders_and_settles_at_the_next_tick(bench: Bench) -> None:
    position(bench, 1, BUY, 700, 10, SHORT_CALL)
    order = resting(bench, 2, SELL, 900, 5, SHORT_CALL)
    bench.time_ns = world.SHORT_EXPIRY_NS
    refused = bench.place(1, SHORT_CALL, BUY, 700, 1)
    assert reasons(only(refused, EventKind.ORDER_REJECTED)) == [Reason.INSTRUMENT_EXPIRED]
    bench.marks(100_000.0, FORWARDS, {4: 0.6, 7: 0.6})
    happened = bench.tick()
    assert [e.order_id for e in only(happened, CANCELLED)] == [order]
    payouts = {e.account_id: e.payout_minor for e in only(happened, EventKind.POSITION_SETTLED)}
    # ten lots of 0.1 BTC, 5,000 over the strike at 100,000
    assert payouts == {1: world.COIN // 20, 3: -world.COIN // 20}
    assert bench.engine.instrument_slot("BTC-SHORT-95000-C") == -1
    assert bench.engine.audit() == []
