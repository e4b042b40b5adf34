"""Scenes of auctions, block trades and the kill switch."""

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderFlag, OrderType
from tests.driver import DAY, SECOND, START_NS, option, perpetual
from tests.golden.scenes import Recorder, Scene

NAME = "BTC-PERPETUAL"


def _venue() -> Recorder:
    """Three accounts with 20 BTC, a perpetual and an option, fees 0.01 % and 0.05 %."""
    listed = [
        perpetual(fees=config.Fees(maker_ppm=100, taker_ppm=500)),
        option(100_000, "call", START_NS + 30 * DAY, block_min_lots=10),
    ]
    venue = Recorder(listed)
    venue.alice, venue.bob, venue.carol = (venue.account(name, btc=20) for name in ("alice", "bob", "carol"))
    venue.marks(100_000)
    return venue


def _auction() -> Recorder:
    venue = _venue()
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 4)
    venue.action()
    state = config.InstrumentState(NAME, "auction", START_NS + 60 * SECOND)
    venue.cold(CommandKind.SET_INSTRUMENT_STATE, state)
    venue.place(venue.carol, NAME, "buy", 0, 5, order_type=OrderType.MARKET)
    venue.place(venue.carol, NAME, "buy", 200_000, 5, flags=OrderFlag.POST_ONLY)
    venue.place(venue.alice, NAME, "sell", 199_900, 9, flags=OrderFlag.REDUCE_ONLY)
    venue.place(venue.carol, NAME, "buy", 200_040, 10)
    venue.place(venue.bob, NAME, "sell", 200_020, 12)
    venue.place(venue.bob, NAME, "buy", 200_060, 3)
    venue.tick(59 * SECOND)
    venue.tick(SECOND)
    return venue


def _block() -> Recorder:
    venue = _venue()
    venue.action()
    legs = (payloads.BlockLeg(0, 1, 199_000, 100), payloads.BlockLeg(1, 0, 700, 12))
    agreed = payloads.BlockTrade(venue.alice, venue.bob, START_NS // 10**6, "Xy7", legs)
    venue.cold(CommandKind.BLOCK_TRADE, agreed)
    venue.cold(CommandKind.BLOCK_TRADE, agreed)
    small = payloads.BlockTrade(venue.alice, venue.bob, START_NS // 10**6, "Xy8", (payloads.BlockLeg(1, 0, 700, 9),))
    venue.cold(CommandKind.BLOCK_TRADE, small)
    return venue


def _kill_switch() -> Recorder:
    venue = _venue()
    venue.action()
    venue.place(venue.alice, NAME, "sell", 200_000, 5)
    terms = commands.order_terms(trigger_price_e8=98_000 * 10**8)
    fields = {"order_type": OrderType.STOP_MARKET, "terms_slots": 1, "quantity_lots": 5, "side": 1}
    venue.submit(commands.record(CommandKind.PLACE_ORDER, venue.alice, tail=terms, instrument=0, **fields))
    venue.place(venue.bob, NAME, "sell", 200_010, 5)
    venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("account", str(venue.alice)))
    venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("owner", str(venue.bob), cancel=False))
    venue.place(venue.alice, NAME, "sell", 200_000, 5)
    venue.place(venue.carol, NAME, "buy", 200_010, 5)
    venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("venue"))
    venue.place(venue.carol, NAME, "buy", 200_010, 5)
    venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch("venue", on=False))
    venue.place(venue.carol, NAME, "buy", 200_010, 5)
    return venue


SCENES: dict[str, Scene] = {"auction": _auction, "block_trade": _block, "kill_switch": _kill_switch}
