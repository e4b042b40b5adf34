"""Scenes of orders that wait for a price: stops and takes on each source, trailing stops."""

from exchange import commands
from exchange.commands import CommandKind, OrderType, TriggerSource
from tests.golden.scenes import Recorder, Scene
from tests.golden.scenes_orders import E8, NAME, market
from tests.unit.test_order_types import wait

SIDES = ("buy", "sell")


def waiting(order_types: tuple[OrderType, OrderType], above: str) -> Recorder:
    """Orders of both types on each source, `above` the side that waits for a higher price; then index and mark move,
    then the last price does."""
    made = market()
    below = SIDES[above == "buy"]
    for source in TriggerSource:
        if source == TriggerSource.PRIMARY_ORDER:
            continue
        for side, dollars in ((above, 100_400), (below, 99_600)):
            for order_type in order_types:
                price = 200_300 if side == "buy" else 199_700
                terms = {"price_units": price} if order_type in (OrderType.STOP_LIMIT, OrderType.TAKE_LIMIT) else {}
                terms |= {"trigger_source": source, "trigger_price_e8": dollars * E8}
                wait(made, made.alice, side, order_type, lots=3, **terms)
    wait(made, made.alice, above, order_types[1], trigger_price_e8=99_000 * E8)
    made.marks(100_500)
    made.marks(99_500)
    made.place(made.bob, NAME, "buy", 200_900, 60)
    made.place(made.carol, NAME, "sell", 200_900, 100)
    made.place(made.bob, NAME, "sell", 199_100, 300)
    made.place(made.carol, NAME, "buy", 199_100, 10)
    return made


def stops() -> Recorder:
    """Buys above, sells below; one that would fire at once is refused."""
    return waiting((OrderType.STOP_LIMIT, OrderType.STOP_MARKET), "buy")


def takes() -> Recorder:
    """Sells above, buys below; one that would fire at once is refused."""
    return waiting((OrderType.TAKE_LIMIT, OrderType.TAKE_MARKET), "sell")


def trailing_stops() -> Recorder:
    """They follow the best price and never retreat, then fire; an edit gives a new distance."""
    made = market()
    ids = {
        side: wait(made, made.alice, side, OrderType.TRAILING_STOP, lots=5, trigger_offset_e8=500 * E8)[0].order_id
        for side in SIDES
    }
    for dollars in (100_300, 100_200, 99_900):
        made.marks(dollars)
    tail = commands.order_terms(trigger_offset_e8=300 * E8)
    fields = {"order_id": ids["sell"], "quantity_lots": 4, "terms_slots": 1, "tail": tail}
    made.submit(commands.record(CommandKind.EDIT_ORDER, made.alice, **fields))
    made.marks(99_700)
    made.marks(99_550)
    made.marks(100_100)
    return made


SCENES: dict[str, Scene] = {"stops": stops, "takes": takes, "trailing_stops": trailing_stops}
