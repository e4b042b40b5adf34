"""Scenes of the plain order types: what rests, what takes, what is adjusted or refused, edits, cancels, self-trades."""

from exchange import commands, config
from exchange.commands import ANY_CURRENCY, ANY_KIND, NO_INSTRUMENT, CommandKind, OrderFlag, OrderType, TimeInForce
from tests.driver import DAY, SECOND, START_NS, future, perpetual
from tests.golden.scenes import Recorder, Scene
from tests.unit.test_order_types import wait

NAME = "BTC-PERPETUAL"
E8 = 10**8
USER, ANY_TYPE = 60, 255
GTC, IOC, FOK, DAY_ORDER = (
    TimeInForce.GOOD_TIL_CANCELLED, TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL, TimeInForce.GOOD_TIL_DAY,
)  # fmt: skip


def market(*more: config.Instrument) -> Recorder:
    """Carol's bids at 199,990 and 199,900 and her asks at 200,010 and 200,100, 50 lots each."""
    made = Recorder([perpetual(), *more])
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    made.tick()
    for side, price in (("buy", 199_990), ("buy", 199_900), ("sell", 200_010), ("sell", 200_100)):
        made.place(made.carol, NAME, side, price, 50)
    made.action()
    return made


def cancel_all(venue: Recorder, account: int, **filters: int) -> None:
    whole = {"instrument": NO_INSTRUMENT, "currency": ANY_CURRENCY, "instrument_kind": ANY_KIND, "order_type": ANY_TYPE}
    venue.submit(commands.record(CommandKind.CANCEL_ALL, account, reason=USER, **whole | filters))


def edit(venue: Recorder, account: int, order_id: int, price_units: int, lots: int) -> None:
    fields = {"order_id": order_id, "price_units": price_units, "quantity_lots": lots}
    venue.submit(commands.record(CommandKind.EDIT_ORDER, account, **fields))


def limit_orders() -> Recorder:
    """Price, then time; trades at the maker's price; less keeps the place, more or a move does not."""
    made = market()
    sellers = (made.alice, made.bob, made.alice)
    first, second, third = (made.place(who, NAME, "sell", 200_000, 10)[0].order_id for who in sellers)
    edit(made, made.alice, first, 200_000, 6)
    edit(made, made.bob, second, 200_000, 12)
    made.place(made.carol, NAME, "buy", 200_005, 20)
    edit(made, made.bob, second, 200_002, 12)
    made.place(made.alice, NAME, "buy", 200_050, 60, valid_until_ns=made.now)
    made.place(made.alice, NAME, "buy", 200_050, 5, valid_until_ns=made.now - 1)
    edit(made, made.alice, third, 200_000, 1)
    return made


def market_orders() -> Recorder:
    """A market order, market-limit that rests, one that empties its side and ends, nobody on the other side."""
    made = market()
    made.place(made.alice, NAME, "buy", 0, 60, order_type=OrderType.MARKET)
    made.place(made.bob, NAME, "sell", 0, 70, order_type=OrderType.MARKET_LIMIT)
    made.place(made.alice, NAME, "sell", 0, 200, order_type=OrderType.MARKET)
    made.place(made.bob, NAME, "buy", 280_000, 1)
    cancel_all(made, made.carol)
    cancel_all(made, made.bob)
    made.place(made.alice, NAME, "buy", 0, 5, order_type=OrderType.MARKET)
    made.place(made.alice, NAME, "buy", 0, 5, order_type=OrderType.MARKET_LIMIT)
    return made


def times_in_force() -> Recorder:
    """Immediate-or-cancel in part, fill-or-kill both ways, good-til-day to 08:00 UTC."""
    made = market()
    made.place(made.alice, NAME, "buy", 200_010, 80, time_in_force=IOC)
    made.place(made.alice, NAME, "buy", 200_100, 51, time_in_force=FOK)
    made.place(made.alice, NAME, "buy", 200_100, 50, time_in_force=FOK)
    made.place(made.alice, NAME, "buy", 199_000, 5, time_in_force=DAY_ORDER)
    made.place(made.alice, NAME, "buy", 198_000, 5, time_in_force=GTC)
    to_eight = (8 * 3600 * SECOND - START_NS) % DAY
    made.tick(to_eight - SECOND)
    made.tick(2 * SECOND)
    return made


def post_only() -> Recorder:
    """Moved to a tick off the other side, refused where asked for, left alone where it does not cross."""
    made = market()
    made.place(made.alice, NAME, "buy", 200_500, 5, flags=OrderFlag.POST_ONLY)
    made.place(made.alice, NAME, "sell", 199_000, 5, flags=OrderFlag.POST_ONLY)
    made.place(made.alice, NAME, "buy", 200_500, 5, flags=OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY)
    made.place(made.bob, NAME, "buy", 199_800, 5, flags=OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY)
    return made


def reduce_only() -> Recorder:
    """Cut to the position on arrival; less of the position cuts what rests, none of it ends it."""
    made = market()
    made.place(made.alice, NAME, "buy", 200_010, 30)
    made.place(made.alice, NAME, "sell", 200_050, 100, flags=OrderFlag.REDUCE_ONLY)
    made.place(made.alice, NAME, "buy", 199_000, 5, flags=OrderFlag.REDUCE_ONLY)
    made.place(made.alice, NAME, "sell", 199_990, 20)
    made.place(made.bob, NAME, "buy", 200_060, 100)
    made.place(made.bob, NAME, "sell", 200_050, 1, flags=OrderFlag.REDUCE_ONLY)
    made.place(made.alice, NAME, "sell", 200_060, 5, flags=OrderFlag.REDUCE_ONLY)
    return made


def self_trades() -> Recorder:
    """The resting order gives way, or the incoming one; the owner's other account; accounts by themselves."""
    made = market()
    twin = made.account("twin", btc=50, owner=made.alice)
    for mode, extended in (("cancel_maker", True), ("reject_taker", True), ("cancel_maker", False)):
        made.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade(mode, extended), made.alice)
        for who in (made.alice, twin):
            made.place(who, NAME, "sell", 200_000, 4)
        made.place(made.alice, NAME, "buy", 200_010, 10)
        cancel_all(made, twin)
        cancel_all(made, made.alice)
    return made


def cancels() -> Recorder:
    """By id, instrument, currency, kind, type and all; waiting orders too; what is not the account's."""
    made = market(future(START_NS + 30 * DAY))
    other = f"BTC-{(START_NS + 30 * DAY) // DAY}"
    kinds = {"instrument": {"instrument": made.slot(NAME)}, "kind": {"instrument_kind": 1}, "currency": {"currency": 0}}
    for filters in (*kinds.values(), {"order_type": OrderType.LIMIT}, {"currency": 1}, {}):
        made.place(made.alice, NAME, "buy", 199_000, 5)
        made.place(made.alice, other, "buy", 199_000, 5)
        wait(made, made.alice, "sell", OrderType.STOP_MARKET, trigger_price_e8=90_000 * E8)
        cancel_all(made, made.alice, **filters)
    mine = made.place(made.alice, NAME, "buy", 199_000, 5)[0].order_id
    for account in (made.bob, made.alice, made.alice):
        made.submit(commands.record(CommandKind.CANCEL_ORDER, account, order_id=mine, reason=USER))
    return made


SCENES: dict[str, Scene] = {
    "limit_orders": limit_orders,
    "market_orders": market_orders,
    "times_in_force": times_in_force,
    "post_only": post_only,
    "reduce_only": reduce_only,
    "self_trades": self_trades,
    "cancels": cancels,
}
