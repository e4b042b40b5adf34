"""Scenes of icebergs, linked orders and orders that wait in a halt."""

from exchange import commands, config
from exchange.commands import CommandKind, FillCondition, LinkType, OrderType
from tests.driver import perpetual
from tests.golden.scenes import Recorder, Scene
from tests.unit.test_icebergs import edit, iceberg
from tests.unit.test_links import cancel, link, order, stop
from tests.unit.test_order_types import wait

NAME = "BTC-PERPETUAL"
E8 = 10**8
OCO, OTO, OTOCO = LinkType
FIRST, COMPLETE, INCREMENTAL = FillCondition


def market() -> Recorder:
    made = Recorder([perpetual()])
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    made.action()
    return made


def iceberg_scene() -> Recorder:
    """Tranches between other orders, a taker that comes to it twice, edits, the end."""
    made = market()
    order_id = iceberg(made, made.alice, "sell", 200_000, 60, 10)[0].order_id
    made.place(made.carol, NAME, "sell", 200_000, 5)
    made.place(made.bob, NAME, "buy", 200_000, 27)
    edit(made, made.alice, order_id, 200_000, 50, 4)
    made.place(made.bob, NAME, "buy", 200_000, 9)
    edit(made, made.alice, order_id, 200_010, 55)
    cancel(made, order_id)
    return made


def one_cancels_other() -> Recorder:
    """Each condition, and a stop that fires."""
    made = market()
    for condition, lots in ((FIRST, 1), (COMPLETE, 100), (INCREMENTAL, 40)):
        link(made, OCO, condition, order("buy", 198_000), order("sell", 202_000))
        made.place(made.bob, NAME, "buy", 202_000, lots)
        made.submit(
            commands.record(CommandKind.CANCEL_ALL, made.alice, instrument=0, currency=0xFFFF, instrument_kind=255,
                            order_type=255, reason=60)
        )  # fmt: skip
    made.place(made.bob, NAME, "buy", 199_000, 500)
    link(made, OCO, COMPLETE, order("sell", 204_000), stop("sell", 99_000))
    made.marks(98_900)
    return made


def one_triggers_other() -> Recorder:
    """In parts, until the primary is cancelled."""
    made = market()
    primary = link(made, OTO, INCREMENTAL, order("buy", 198_000, 90), order("sell", 205_000, 30))[0].order_id
    made.place(made.bob, NAME, "sell", 198_000, 40)
    cancel(made, primary)
    return made


def bracket() -> Recorder:
    """One triggers one cancels other: entry, then a target and a stop of which one is left to fire."""
    made = market()
    link(made, OTOCO, COMPLETE, order("buy", 198_000), order("sell", 204_000), stop("sell", 97_000))
    made.place(made.bob, NAME, "sell", 198_000, 60)
    made.place(made.bob, NAME, "sell", 198_000, 40)
    made.place(made.carol, NAME, "buy", 190_000, 500)
    made.marks(96_900)
    return made


def waiting_in_a_halt() -> Recorder:
    """A stop whose price passes in a halt, and a trailing stop with a new distance."""
    made = market()
    wait(made, made.alice, "buy", OrderType.STOP_MARKET, trigger_price_e8=101_000 * E8)
    trailing = wait(made, made.alice, "sell", OrderType.TRAILING_STOP, trigger_offset_e8=1000 * E8)[0].order_id
    made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "halted"))
    made.marks(103_000)
    made.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, "open"))
    made.submit(
        commands.record(CommandKind.EDIT_ORDER, made.alice, order_id=trailing, quantity_lots=10, terms_slots=1,
                        tail=commands.order_terms(trigger_offset_e8=500 * E8))
    )  # fmt: skip
    return made


SCENES: dict[str, Scene] = {
    "iceberg": iceberg_scene,
    "one_cancels_other": one_cancels_other,
    "one_triggers_other": one_triggers_other,
    "one_triggers_one_cancels_other": bracket,
    "waiting_in_a_halt": waiting_in_a_halt,
}
