"""How large leases are: by joint stress of what is insolvent, not by a sum of everybody's worst.

Each insolvent auction's entity is repriced at the moves of the stress ladder up to `lease_stress_ppm`, at the vols of
the marks and raised, each underlying alone and all together. Of the scenario in which all entities of one currency
together lack most, each lease is asked for what its own entity lacks there: the leases of a currency sum to what the
worst scenario costs, while the worst of a long and that of a short are never added. What an entity lacks at the marks
is always asked for, and the capped compensation comes on top.
"""

from typing import Any

from exchange.liquidation.auction import INSOLVENT, PPM, Auction


class LeaseSizing:
    """Sizes of one engine's leases. `auctions` are all that run; figures of one command are worked out once."""

    def __init__(self, desk: Any, stress_ppm: int, auctions: dict[int, Auction]) -> None:
        self.desk = desk
        self.auctions = auctions
        moves: list[int] = desk.stress_moves()
        self.columns = [(column, move) for column, move in enumerate(moves) if abs(move) <= stress_ppm]
        self.active = stress_ppm > 0
        self.seq = -1
        self.lacking: dict[int, list[int]] = {}
        self.totals: dict[int, list[int]] = {}

    def stressed(self, auction: Auction) -> int:
        """What the auction's entity lacks in its currency's worst joint scenario, minor units; 0 without stress."""
        if not self.active:
            return 0
        if self.seq != self.desk.seq:
            self.seq, self.lacking, self.totals = self.desk.seq, {}, {}
            self.desk.begin_stress()
            for _, other in sorted(self.auctions.items()):
                if other.phase == INSOLVENT:
                    self._add(other)
        if auction.auction_id not in self.lacking:
            self._add(auction)
        total = self.totals[auction.currency]
        return self.lacking[auction.auction_id][total.index(max(total))]

    def _add(self, auction: Auction) -> None:
        own = self._row(auction)
        self.lacking[auction.auction_id] = own
        total = self.totals.get(auction.currency)
        self.totals[auction.currency] = own if total is None else [a + b for a, b in zip(total, own, strict=True)]

    def _row(self, auction: Auction) -> list[int]:
        """What the entity lacks by set and column, in minor units of the auction's currency at the moved index."""
        wanted = [column for column, _ in self.columns]
        sets: list[list[int]] = self.desk.lacking(auction.account_id, auction.entity, wanted)
        coin = self.desk.underlying_of(auction.currency)
        row = []
        for number, found in enumerate(sets):
            moves_coin = coin >= 0 and (number == coin or number == len(sets) - 1)
            for (_, move), lacked in zip(self.columns, found, strict=True):
                if lacked:
                    # the ladder's dollars are at the moved index, of which a coin buys that much more or less
                    lacked = self.desk.to_currency(auction.currency, lacked)
                    if moves_coin:
                        lacked = -(-lacked * PPM // (PPM + move))
                row.append(int(lacked))
        return row
