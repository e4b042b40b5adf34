"""Tear-up: before the fund pays anything for an isolated position, it is closed against the owner's opposite buckets.

It comes in the insolvent phase, ahead of the lease and again on every Tick. The position goes at its bankruptcy price,
the one that leaves its bucket with nothing: what it lacks at the mark is borne by the opposite bucket, what it has left
goes to it. Opposite buckets come by account, those in liquidation last; none is torn up further than its own equity
reaches. Each closing has its receipt (POSITION_TORN_UP).
"""

from typing import Any

from exchange.events import EventKind
from exchange.liquidation.auction import Auction


class TearUp:
    """Closes buckets against each other. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.closings = 0

    def run(self, auction: Auction) -> bool:
        """Close what opposite buckets can take; whether anything was closed."""
        account_id, entity = auction.account_id, auction.entity
        if not self.desk.is_bucket(account_id):
            return False
        closed = False
        for instrument, lots in self.desk.held(account_id, entity):
            closed = self._leg(auction, instrument, lots) or closed
        if closed:
            self.desk.after(account_id)
        return closed

    def _leg(self, auction: Auction, instrument: int, lots: int) -> bool:
        total = left = abs(lots)
        deficit = -self.desk.worth(auction.account_id, auction.entity)  # negative: what it has left
        given, rank = 0, 0
        for other in self.desk.opposite_buckets(auction.account_id, instrument, lots):
            part = min(left, abs(self.desk.lots(other, instrument)), self._room(other, auction.entity, total, deficit))
            if part <= 0:
                continue
            left -= part
            borne = deficit * (total - left) // total - given
            given += borne
            rank += 1
            signed = part if lots > 0 else -part
            cost = self.desk.close_against(auction.account_id, other, instrument, signed, borne)
            self.desk.emit_deleveraged(
                other, auction.auction_id, auction.account_id, instrument, signed, cost, borne, rank, 0, 0,
                EventKind.POSITION_TORN_UP,
            )  # fmt: skip
            self.closings += 1
            self.desk.after(other)
            if left == 0:
                break
        return rank > 0

    def _room(self, other: int, entity: int, total: int, deficit: int) -> int:
        """Lots of `total` whose part of the deficit an opposite bucket can bear (a unit is kept for rounding)."""
        if deficit <= 0:
            return total
        return max(0, int(self.desk.worth(other, entity)) - 1) * total // deficit

    def export(self) -> list[Any]:
        """Canonical state."""
        return [self.closings]
