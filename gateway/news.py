"""What one command changed, gathered from its events."""

from typing import Any

from gateway.history import OrderRecord, TradeRecord
from gateway.listing import Listing
from gateway.transfer_records import TransferRecord


class News:
    """What one command changed; valid until the next command is applied."""

    __slots__ = (
        "accepted",
        "accounts",
        "auctions",
        "block_id",
        "buckets",
        "count",
        "created_account",
        "detail",
        "edited",
        "facts",
        "firing",
        "levels",
        "linked",
        "marks",
        "orders",
        "refused",
        "rejected",
        "rejected_order",
        "seq",
        "settled",
        "states",
        "time_ns",
        "trades",
        "transfer",
        "user_trades",
    )

    def __init__(self, seq: int):
        self.seq, self.time_ns = seq, 0
        self.accepted: OrderRecord | None = None
        self.edited: OrderRecord | None = None
        self.rejected = 0
        """Reason number of a refusal of the command itself."""
        self.firing = False
        """Whether a waiting order has fired: what follows belongs to fired orders, not to the command."""
        self.linked: OrderRecord | None = None
        """The primary of the orders that the command linked."""
        self.rejected_order = 0
        self.refused: list[Any] = []
        """ORDER_REJECTED of the command itself, all of them."""
        self.count = self.detail = 0
        """Of COMMAND_DONE."""
        self.created_account = 0
        self.block_id = 0
        """Of a block trade: the command's trades are its."""
        self.transfer: TransferRecord | None = None
        self.levels: dict[int, set[tuple[int, int]]] = {}
        """instrument slot -> touched (side, price_units)"""
        self.trades: list[TradeRecord] = []
        self.user_trades: list[tuple[int, TradeRecord, bool]] = []
        """(account_id, trade, whether as maker)"""
        self.orders: dict[int, OrderRecord] = {}
        self.marks: set[int] = set()
        self.accounts: set[int] = set()
        self.states: list[tuple[Any, int]] = []
        """(listing, state number)"""
        self.settled: list[Listing] = []
        """Contracts that ended; their slots are free."""
        self.auctions: list[tuple[int, Any]] = []
        self.facts: list[tuple[int, Any]] = []
        """Every other event."""
        self.buckets: dict[int, int] = {}
        """By place in `facts`: the isolated position's bucket that the event is of."""

    def touch(self, slot: int, side: int, price_units: int) -> None:
        """Note a book level whose quantity may have changed."""
        levels = self.levels.get(slot)
        if levels is None:
            levels = self.levels[slot] = set()
        levels.add((side, price_units))
