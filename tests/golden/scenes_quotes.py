"""Scenes of mass quotes and market-maker protection."""

from exchange.commands import OrderFlag
from tests.driver import DAY, SECOND, START_NS, option, perpetual
from tests.golden.scenes import Recorder, Scene
from tests.quoting import COINS, cancel_quotes, entry, in_group, mass_quote, protect, reset

NAME = "BTC-PERPETUAL"
CALL, PUT = (option(100_000, kind, START_NS + 30 * DAY) for kind in ("call", "put"))


def _venue() -> Recorder:
    """A maker and a taker with 20 BTC, a perpetual and two options; the maker has group 1."""
    venue = Recorder([perpetual(), CALL, PUT])
    venue.maker, venue.taker = (venue.account(name, btc=20) for name in ("maker", "taker"))
    venue.marks(100_000)
    protect(venue, venue.maker, quantity_limit_e8=COINS // 4, max_quote_e8=COINS, frozen_ns=5 * SECOND, name="desk")
    venue.action()
    return venue


def _quotes() -> Recorder:
    venue = _venue()
    perpetual_quote = entry(venue, NAME, (199_900, 100), (200_100, 100), b"near")
    mass_quote(venue, venue.maker, perpetual_quote, entry(venue, CALL.name, (600, 3), (720, 3)))
    moved = entry(venue, NAME, (200_200, -1), (200_300, 40), b"far", ask_flags=OrderFlag.POST_ONLY)
    mass_quote(venue, venue.maker, moved, entry(venue, CALL.name, (0, 2), (0, 0)), quote_id=b"second")
    mass_quote(venue, venue.maker, entry(venue, NAME, (300_000, 5), (200_250, 10_001)), entry(venue, 77, (1, 1)))
    mass_quote(venue, venue.maker, perpetual_quote, group=2)
    cancel_quotes(venue, venue.maker, quote_set=b"far", freeze=1)
    mass_quote(venue, venue.maker, perpetual_quote)
    return venue


def _protection() -> Recorder:
    venue = _venue()
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 2), (690, 2)), entry(venue, PUT.name, None, (690, 2)))
    in_group(venue, venue.maker, NAME, "sell", 200_000, 1_000)
    in_group(venue, venue.maker, NAME, "sell", 200_010, 1_000)
    venue.place(venue.taker, CALL.name, "buy", 690, 1)
    venue.place(venue.taker, NAME, "buy", 200_100, 3_000)
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 2)))
    venue.tick(5 * SECOND)
    mass_quote(venue, venue.maker, entry(venue, CALL.name, (600, 2)))
    reset(venue, venue.maker)
    in_group(venue, venue.maker, NAME, "sell", 200_000, 4_000)
    protect(venue, venue.maker, interval_ns=0)
    return venue


SCENES: dict[str, Scene] = {"mass_quotes": _quotes, "protection": _protection}
