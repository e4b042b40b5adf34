"""What a feed says: marks of one underlying at one moment, made of its chain, index price and vol shock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exchange.config import Instrument
from gateway.feeds.chain import IntArray, UnderlyingChain
from gateway.feeds.names import E8
from gateway.feeds.surface import FloatArray, Grid, Surface, years_between

VOL_MIN_E6 = 10_000
VOL_MAX_E6 = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class MarkUpdate:
    """Index, forwards and vols of one underlying at `time_ns` (venue time of the source).

    The pair arrays have shape (pairs,), hold live expiries only and ascend by (expiry, strike). `expiry_ns`
    and `strike_e8` are the same objects from update to update until an expiry passes: receivers may key on
    identity.
    """

    underlying: str
    time_ns: int
    index_price_e8: int
    forwards: list[tuple[int, int]]
    """(expiry_ns, forward_e8), ascending."""
    expiry_ns: IntArray
    strike_e8: IntArray
    vol_e6: IntArray
    sources: int = 0
    """A bit for each source that agrees on the index; 0: there is one."""


class Feed(Protocol):
    """A source of marks: a pure function of its inputs and of the venue time it is asked about."""

    start_time_ns: int

    @property
    def finished(self) -> bool:
        """True when the recorded path has ended (its last price is held from then on)."""
        ...

    def instruments(self) -> list[Instrument]:
        """What the venue lists at the start."""
        ...

    def listings_due(self) -> list[Instrument]:
        """Instruments that became due since the last call; list them unless they are."""
        ...

    def snapshot(self) -> list[MarkUpdate]:
        """The first marks, at `start_time_ns`, one update per underlying."""
        ...

    def step(self, venue_time_ns: int) -> list[MarkUpdate]:
        """Updates due after the last step and up to `venue_time_ns`, in order of time.

        Raises ValueError where `venue_time_ns` goes backwards.
        """
        ...

    def venue_time_ns(self, elapsed_ns: int) -> int:
        """Venue time after `elapsed_ns` of real time at the feed's speed."""
        ...


class ChainMarks:
    """Marks of one underlying's chain from its index price and vol shock.

    Forwards keep the carry that the chain shows at `time_ns`: F = I exp(c_e T) with c_e = ln(F_0 / I_0) /
    T_0, so the basis decays to nothing at expiry.
    """

    def __init__(self, chain: UnderlyingChain, time_ns: int, surface: Surface) -> None:
        self.underlying = chain.underlying
        self.start_price = chain.index_price_e8 / E8
        self.grid = Grid(chain)
        self._surface = surface
        forwards = np.array([expiry.forward_e8 for expiry in chain.expiries], dtype=np.float64) / E8
        years = years_between(time_ns, self.grid.expiry_ns)
        self._carry: FloatArray = np.log(forwards / self.start_price) / years

    def update(self, time_ns: int, index_price: float, vol_shock: float) -> MarkUpdate:
        """Marks at `time_ns` for an index price in USD and a shock of log vol."""
        live = self.grid.live(time_ns)
        years = years_between(time_ns, live.expiry_ns)
        forwards = index_price * np.exp(self._carry[live.first_expiry :] * years)
        vols = self._surface.vols(live, years, forwards, vol_shock)
        forward_e8 = np.rint(forwards * E8).astype(np.int64)
        return MarkUpdate(
            underlying=self.underlying,
            time_ns=time_ns,
            index_price_e8=round(index_price * E8),
            forwards=list(zip(live.expiry_ns.tolist(), forward_e8.tolist(), strict=True)),
            expiry_ns=live.pair_expiry_ns,
            strike_e8=live.pair_strike_e8,
            vol_e6=np.clip(np.rint(vols * 1e6), VOL_MIN_E6, VOL_MAX_E6).astype(np.int64),
        )


def conflate(prices: Sequence[float] | npt.NDArray[np.float64], limit: int) -> list[int]:
    """Indices of the points a step passes on: all of them up to `limit`, else lowest, highest and newest."""
    count = len(prices)
    if count <= limit:
        return list(range(count))
    return sorted({int(np.argmin(prices)), int(np.argmax(prices)), count - 1})
