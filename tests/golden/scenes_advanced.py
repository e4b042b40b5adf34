"""Scenes of advanced option orders and of limits on orders and owners."""

import msgspec

from exchange import commands, config
from exchange.commands import Advanced, CommandKind, OrderFlag
from tests.driver import DAY, SECOND, START_NS, make_config, option
from tests.golden.scenes import Recorder, Scene

E8 = 10**8
MINUTE = 60 * SECOND
EXPIRY_NS = START_NS + 30 * DAY
CALL, PUT = (option(100_000, kind, EXPIRY_NS) for kind in ("call", "put"))
OWNED = msgspec.structs.replace(CALL, max_owner_position_lots=30)


def advanced(
    venue: Recorder, account: int, name: str, side: str, kind: int, value: float, lots: int, **fields: int
) -> None:
    """Place an order at a USD value or a vol."""
    terms = commands.order_terms(advanced=kind, advanced_value_e8=round(value * E8))
    venue.place(account, name, side, 0, lots, terms_slots=1, tail=terms, **fields)


def edit(venue: Recorder, account: int, order_id: int, kind: int, value: float, lots: int) -> None:
    terms = commands.order_terms(advanced=kind, advanced_value_e8=round(value * E8)) if kind else b""
    fields = {"order_id": order_id, "quantity_lots": lots, "terms_slots": int(bool(kind))}
    venue.submit(commands.record(CommandKind.EDIT_ORDER, account, tail=terms, **fields))


def _advanced() -> Recorder:
    """By vol and by USD; new prices with marks, one of which trades; edits; the end before expiry."""
    venue = Recorder([CALL, PUT])
    alice, bob = (venue.account(name, btc=20) for name in ("alice", "bob"))
    venue.marks(100_000)
    venue.action()
    advanced(venue, alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 0.6, 10)
    advanced(venue, bob, CALL.name, "sell", Advanced.USD, 7_300, 8)
    advanced(venue, bob, PUT.name, "sell", Advanced.USD, 7_300, 8, flags=OrderFlag.POST_ONLY)
    first, second = (venue.engine.open_orders(account)[0].order_id for account in (alice, bob))
    edit(venue, bob, second, 0, 0, 9)
    edit(venue, bob, second, Advanced.USD, 7_200, 9)
    venue.marks(100_000, vol=0.61)
    venue.marks(102_000, vol=0.61)
    venue.marks(108_000, vol=0.61)
    edit(venue, alice, first, Advanced.IMPLIED_VOL, 0.55, 10)
    venue.now = EXPIRY_NS - 16 * MINUTE
    venue.marks(108_000)
    venue.tick()
    venue.tick(MINUTE)
    advanced(venue, alice, CALL.name, "buy", Advanced.IMPLIED_VOL, 0.6, 10)
    return venue


def _limits() -> Recorder:
    """The band in vol, the largest order by notional, delta and vega, and what an owner may hold over its accounts."""
    limits = config.Limits(
        option_band_vol_ppm=100_000,
        max_order_notional_usd=400_000,
        max_order_delta_e8=E8,
        max_order_vega_usd=200,
        max_open_orders_per_owner=3,
    )
    venue = Recorder([OWNED, PUT], make_config(limits=limits))
    alice = venue.account("alice", btc=50)
    second = venue.account("second", btc=50, owner=alice)
    venue.marks(100_000)
    venue.action()
    venue.place(alice, PUT.name, "buy", 800, 1)
    venue.place(alice, PUT.name, "sell", 600, 1)
    for lots in (41, 40, 20, 15):
        venue.place(alice, PUT.name, "buy", 600, lots)
    venue.place(alice, OWNED.name, "buy", 600, 15)
    venue.place(second, OWNED.name, "buy", 600, 16)
    venue.place(second, OWNED.name, "buy", 600, 5)
    venue.place(second, OWNED.name, "buy", 610, 5)
    return venue


SCENES: dict[str, Scene] = {"advanced_orders": _advanced, "order_limits": _limits}
