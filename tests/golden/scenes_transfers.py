"""A scene of transfers: between accounts of one owner, once by a nonce, and refused."""

from exchange.commands import CommandKind
from exchange.payloads import SubmitTransfer
from tests.driver import COIN, perpetual
from tests.golden.scenes import Recorder, Scene

NAME = "BTC-PERPETUAL"


def _transfers() -> Recorder:
    venue = Recorder([perpetual()])
    maker, main = venue.account("maker", btc=1_000), venue.account("alice", btc=10)
    other = venue.account("alice-2", owner=main)
    venue.marks(100_000)
    venue.trade(maker, main, NAME, "buy", 200_000, 20_000)
    venue.action()

    def submit(account: int, amount: int, destination: int, source: int = 0, nonce: str = "") -> None:
        payload = SubmitTransfer("BTC", amount, destination, source, nonce)
        venue.cold(CommandKind.SUBMIT_TRANSFER, payload, account)

    submit(main, 2 * COIN, other)
    submit(main, COIN, main, source=other, nonce="back-again")
    submit(main, COIN, main, source=other, nonce="back-again")
    submit(main, COIN + 1, main, source=other, nonce="back-again")
    submit(other, COIN, other, source=main)
    submit(main, 9 * COIN, other)
    submit(main, COIN, maker)
    submit(other, COIN, main)
    return venue


SCENES: dict[str, Scene] = {"transfers": _transfers}
