"""Liquidation auctions in the history: what was asked, sold and closed, without saying whose or to whom."""

from __future__ import annotations

from typing import Any

from exchange.events import EventKind

SCHEMA = """
CREATE TABLE auction_steps (
    rank INTEGER PRIMARY KEY, auction_id INTEGER, time_ns INTEGER, step TEXT, phase INTEGER, reason INTEGER,
    currency TEXT, value_minor INTEGER, requirement_minor INTEGER, price_minor INTEGER, share_ppm INTEGER,
    fee_minor INTEGER, compensation_minor INTEGER);
CREATE INDEX auction_steps_auction ON auction_steps (auction_id, rank);
"""
ADD_STEP = "INSERT OR REPLACE INTO auction_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
STEPS = "SELECT * FROM auction_steps WHERE rank < ? ORDER BY rank DESC LIMIT ?"
STEPS_OF_AUCTION = "SELECT * FROM auction_steps WHERE auction_id = ? AND rank < ? ORDER BY rank DESC LIMIT ?"
WORDS = {
    EventKind.AUCTION_OPENED: "opened",
    EventKind.AUCTION_PHASE_CHANGED: "changed",
    EventKind.AUCTION_LOT_SOLD: "sold",
    EventKind.AUCTION_CLOSED: "closed",
}


class AuctionRows:
    """Base of `persistence.history_rows.Rows`, which holds the rows until they are taken."""

    _rank: int
    _currencies: list[str]
    _auction_steps: list[Any]

    def _auction_step(self, fields: Any, record: bytes) -> None:
        """A step with the figures that its event has; a sale's price is what was paid."""
        word = WORDS[EventKind(fields.kind)]
        sold = word == "sold"
        self._auction_steps.append((
            self._rank, fields.auction_id, fields.time_ns, word, fields.phase, 0 if sold else fields.reason,
            self._currencies[fields.currency], 0 if sold else fields.value_minor,
            0 if sold else fields.requirement_minor, fields.price_minor, fields.share_ppm if sold else 0,
            fields.fee_minor if sold else 0, fields.compensation_minor if sold else 0,
        ))  # fmt: skip


class AuctionReads:
    """Part of the store's reader."""

    def _rows(self, sql: str, parameters: Any) -> list[Any]:
        raise NotImplementedError

    def auction_steps(self, auction_id: int, before: int, limit: int) -> list[Any]:
        """Steps of an auction, or (0) of all, newest first, before a rank."""
        if auction_id:
            return self._rows(STEPS_OF_AUCTION, (auction_id, before, limit))
        return self._rows(STEPS, (before, limit))
