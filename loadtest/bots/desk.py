"""One instrument as a maker quotes it, and the maker's settings."""

import msgspec

from loadtest.bots.contracts import Contract
from loadtest.bots.quoting import Market, Resting, Style

MAX_PAUSE_S = 30.0


class MakerSettings(msgspec.Struct, frozen=True):
    """Sizes in USD (cut down to shares of the account's equity), rates per second."""

    style: Style = Style()
    order_usd: float = 25_000.0
    order_equity: float = 0.004
    option_usd: float = 25_000.0
    option_equity: float = 0.002
    inventory_equity: float = 1.0
    """Delta, as a share of equity, at which the inventory counts as full."""
    option_inventory_orders: float = 20.0
    """Options: the inventory is full at this many orders of one contract."""
    futures: int = 2
    expiries: int = 2
    strikes: int = 6
    orders_per_second: float = 200.0
    burst: int = 100
    refresh_s: float = 1.0
    choose_s: float = 5.0


class Desk:
    """One quoted instrument: its market, its resting orders, and until when it rests after a refusal."""

    def __init__(self, contract: Contract):
        self.contract = contract
        self.market: Market | None = None
        self.resting: dict[tuple[str, int], Resting] = {}
        self.dirty = self.retired = False
        self.quoted_s = 0.0
        self.pause_s, self.paused_until_s = 0.0, 0.0

    def refused(self, now_s: float) -> None:
        """Leave the instrument alone for a while, longer each time."""
        self.pause_s = min(MAX_PAUSE_S, max(0.5, 2.0 * self.pause_s))
        self.paused_until_s = now_s + self.pause_s
