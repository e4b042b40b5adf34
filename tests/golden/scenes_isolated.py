"""Scenes of isolated positions: what orders draw and give back, and a tear-up before the fund."""

from exchange import commands, config
from exchange.commands import CommandKind
from tests.driver import COIN, SECOND, perpetual
from tests.golden.scenes import Recorder, Scene

NAME = "BTC-PERPETUAL"


def _venue() -> Recorder:
    """A maker, and two accounts of one owner; fees 0.05 %."""
    venue = Recorder([perpetual()])
    venue.maker = venue.account("maker", btc=1_000)
    venue.alice = venue.account("alice", btc=10)
    venue.other = venue.account("alice-2", btc=10, owner=venue.alice)
    venue.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", COIN))
    venue.marks(100_000)
    venue.action()
    return venue


def _isolate(venue: Recorder, account: int, leverage_e2: int) -> None:
    venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(NAME, "isolated", leverage_e2), account)


def _collateral() -> Recorder:
    venue = _venue()
    _isolate(venue, venue.alice, 1_000)
    venue.place(venue.maker, NAME, "sell", 200_000, 4_000)
    venue.place(venue.alice, NAME, "buy", 0, 5_000, order_type=1)
    (order,) = (e for e in venue.place(venue.alice, NAME, "buy", 199_000, 1_000) if e.kind.name == "ORDER_ACCEPTED")
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=order.order_id, reason=60))
    venue.cold(CommandKind.MOVE_COLLATERAL, config.MoveCollateral(NAME, COIN // 100), venue.alice)
    venue.cold(CommandKind.MOVE_COLLATERAL, config.MoveCollateral(NAME, -COIN), venue.alice)
    _isolate(venue, venue.alice, 500)
    venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(NAME, "cross"), venue.alice)
    venue.place(venue.maker, NAME, "buy", 200_000, 4_000)
    venue.place(venue.alice, NAME, "sell", 200_000, 4_000)
    venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(NAME, "cross"), venue.alice)
    return venue


def _tear_up() -> Recorder:
    venue = _venue()
    for account, side, lots in ((venue.alice, "buy", 10_000), (venue.other, "sell", 7_000)):
        _isolate(venue, account, 5_000)
        venue.trade(venue.maker, account, NAME, side, 200_000, lots)
    venue.action()
    venue.marks(97_000)
    venue.tick(SECOND)
    return venue


SCENES: dict[str, Scene] = {"isolated_collateral": _collateral, "isolated_tear_up": _tear_up}
