"""Scenes of the marks themselves: what their age does."""

from tests.driver import SECOND, START_NS, perpetual
from tests.golden.scenes import Recorder

NAME = "BTC-PERPETUAL"


def mark_stages() -> Recorder:
    """Live, reduce-only, halt and live again, with an order that is refused, shrunk, refused and taken."""
    venue = Recorder([perpetual()], impatient=True)
    alice, bob = venue.account("alice", btc=10), venue.account("bob", btc=10)
    venue.marks(100_000)
    venue.trade(bob, alice, NAME, "buy", 200_000, 100)
    venue.action()
    for after in (11 * SECOND, 61 * SECOND):
        venue.now = START_NS + after
        venue.place(bob, NAME, "sell", 200_010, 10)
        venue.place(alice, NAME, "sell", 200_020, 500)
    venue.marks(100_000)
    venue.place(bob, NAME, "sell", 200_010, 10)
    return venue


SCENES = {"mark_stages": mark_stages}
