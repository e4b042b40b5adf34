"""Continuous stress figures: sweeps over the accounts in slices between other work, and their last complete result."""

from typing import TYPE_CHECKING, Any

from exchange.risk.stress import MOVES_PPM, VOLS, Stress, cover_two, reverse
from gateway.units import ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway

SLICE_ACCOUNTS = 500
SLICE_SECONDS = 0.25
REST_SLICES = 11
"""Between two sweeps: figures come every three seconds, later where there are many accounts."""
JOINT = "all"
USD_E4 = 10_000
PPM = 1_000_000


class StressWatch:
    """Owns the sweep of one gateway; `step` is called every SLICE_SECONDS."""

    def __init__(self, gateway: "Gateway"):
        self._gateway = gateway
        self._stress: Any = None
        self._rest = 0
        self.latest: list[dict[str, Any]] = []
        """One object per underlying, then the joint one; [] before the first sweep is complete."""

    def step(self) -> None:
        """Visit a slice; a complete sweep is kept and told."""
        engine = self._gateway.engine
        if engine.config is None or self._rest > 0:
            self._rest -= 1
            return
        if self._stress is None:
            self._stress = Stress(engine.accounts, engine.listing, engine.positions_room, engine.rows, engine.exposure)
        if self._stress.visit(SLICE_ACCOUNTS):
            self.latest = self._figures()
            self._stress.begin()
            self._rest = REST_SLICES
            self._gateway.channels.tell_stress(self.latest)

    def current(self) -> list[dict[str, Any]]:
        """The last result; where there is none yet, of a sweep that fits a slice."""
        if not self.latest:
            self._rest = 0
            self.step()
        return self.latest

    def _figures(self) -> list[dict[str, Any]]:
        engine = self._gateway.engine
        notional, sets = self._stress.result()
        fund = fund_usd_e4(engine)
        names = [one.name for one in engine.config.underlyings] + [JOINT]
        return [
            {
                "underlying": name,
                "timestamp": ms(engine.time_ns),
                "fund": fund / USD_E4,
                "open_notional": notional / USD_E4,
                "cover_2": _cover_two(found, fund),
                "reverse_stress": {
                    vol: None if ppm is None else ppm / PPM for vol, ppm in reverse(found, fund).items()
                },
                "map": [_rung(found, place) for place in range(len(MOVES_PPM))],
            }
            for name, found in zip(names, sets, strict=True)
        ]


def _cover_two(found: dict[str, list[int]], fund: int) -> dict[str, Any]:
    loss, column = cover_two(found)
    return {
        "loss": loss / USD_E4,
        "move": MOVES_PPM[column // len(VOLS)] / PPM,
        "vol": VOLS[column % len(VOLS)],
        "covered": loss <= fund,
    }


def _rung(found: dict[str, list[int]], place: int) -> dict[str, Any]:
    """A move: size of accounts below maintenance, and what all entities lack, at either vol."""
    rung: dict[str, Any] = {"move": MOVES_PPM[place] / PPM}
    for number, vol in enumerate(VOLS):
        at = place * len(VOLS) + number
        rung[vol] = {"below_maintenance": found["below"][at] / USD_E4, "deficit": found["deficit"][at] / USD_E4}
    return rung


def fund_usd_e4(engine: Any) -> int:
    """The venue's claim on the insurance fund at the indices, 1e-4 USD."""
    return sum(
        int(engine.exposure.usd_of(number, engine.ledger(currency.name)["fund"]))
        for number, currency in enumerate(engine.config.currencies)
        if currency.underlying is None or engine.index_price(engine.underlying_index(currency.underlying))
    )
