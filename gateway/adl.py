"""Deleveraging ranks as positions show them: the engine's own order, asked for when read and kept for a while."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from exchange.views import PositionView
from gateway.listing import Listing

FRESH_SECONDS = 1.0
COST_FACTOR = 100.0
"""A queue that took long to find is kept that many times as long: reads take a hundredth of the time at most."""
MAX_KEPT = 1_024
STEPS = 5
PPM = 1_000_000


class Place(NamedTuple):
    """An account's place in a queue. `ahead_lots`: what others would lose before it."""

    rank: int
    ahead_lots: int
    leverage_ppm: int
    added_usd_e4: int


class _Queue(NamedTuple):
    seq: int
    until: float
    total_lots: int
    places: dict[int, Place]


class AdlRanks:
    """Queues by instrument and side; stale ones are asked for again."""

    def __init__(self, engine: Any, clock: Callable[[], float] = time.monotonic):
        self._engine, self._clock = engine, clock
        self._kept: dict[tuple[int, bool], _Queue] = {}

    def shown(self, listing: Listing, view: PositionView) -> dict[str, Any]:
        """`adl` 0 without a position, else 5 for the first fifth of the lots on its side to 1 for the last; and the
        exact figures."""
        if not view.quantity_lots:
            return {"adl": 0, "adl_rank": None}
        queue = self._queue(listing.slot, view.quantity_lots > 0)
        place = queue.places.get(view.account_id)
        if place is None:  # taken up since the queue was found
            return {"adl": 0, "adl_rank": None}
        return {
            "adl": STEPS - STEPS * place.ahead_lots // queue.total_lots,
            "adl_rank": place.rank,
            "adl_of": len(queue.places),
            "adl_ahead": listing.amount(place.ahead_lots),
            "adl_ratio": place.leverage_ppm / PPM,
            "adl_raises_requirement": place.added_usd_e4 > 0,
        }

    def _queue(self, slot: int, long: bool) -> _Queue:
        known, now = self._kept.get((slot, long)), self._clock()
        if known is not None and (known.seq == self._engine.seq or now < known.until):
            return known
        places: dict[int, Place] = {}
        ahead = 0
        for rank, one in enumerate(self._engine.liquidation.deleveraging.queue(slot, -1 if long else 1), 1):
            places[one.account_id] = Place(rank, ahead, one.leverage_ppm, one.added_usd_e4)
            ahead += one.lots
        done = self._clock()
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        until = done + max(FRESH_SECONDS, COST_FACTOR * (done - now))
        found = self._kept[slot, long] = _Queue(self._engine.seq, until, ahead, places)
        return found
