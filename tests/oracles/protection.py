"""Naive market-maker protection: sums of what a group traded in an interval. Rules: docs/orders.md."""

from dataclasses import dataclass
from typing import ClassVar

from exchange.events import ProtectionCause
from tests.oracles.bands import vega_e8
from tests.oracles.contract import E8, Contract, ceil_div

# account, underlying, number
Key = tuple[int, int, int]


@dataclass
class Group:
    """Settings and running sums; `began_ns` None: the interval has not begun. frozen_until_ns -1: until reset."""

    SETTINGS: ClassVar = (
        "interval_ns", "frozen_ns", "quantity_limit_e8", "delta_limit_e8", "vega_limit_e8", "max_quote_e8",
    )  # fmt: skip

    interval_ns: int
    frozen_ns: int
    quantity_limit_e8: int
    delta_limit_e8: int
    vega_limit_e8: int
    max_quote_e8: int
    frozen_until_ns: int = 0
    began_ns: int | None = None
    quantity_e8: int = 0
    delta_e10: int = 0
    vega_e8: int = 0

    def frozen(self, time_ns: int) -> bool:
        return self.frozen_until_ns < 0 or time_ns < self.frozen_until_ns

    def clear(self) -> None:
        self.began_ns = None
        self.quantity_e8 = self.delta_e10 = self.vega_e8 = 0

    def freeze(self, time_ns: int) -> None:
        self.frozen_until_ns = time_ns + self.frozen_ns if self.frozen_ns else -1

    def add(self, c: Contract, signed_lots: int, index_e8: int, time_ns: int) -> ProtectionCause | None:
        """Count a fill; the limit that the sums have passed."""
        if self.began_ns is None or time_ns - self.began_ns >= self.interval_ns:
            self.clear()
            self.began_ns = time_ns
        self.quantity_e8 += coins_e8(c, abs(signed_lots), index_e8)
        self.delta_e10 += signed_lots * c.delta_e10
        self.vega_e8 += signed_lots * vega_e8(c, time_ns)
        if self.quantity_limit_e8 and self.quantity_e8 > self.quantity_limit_e8:
            return ProtectionCause.QUANTITY
        if self.delta_limit_e8 and abs(self.delta_e10) > self.delta_limit_e8 * 100:
            return ProtectionCause.DELTA
        if self.vega_limit_e8 and abs(self.vega_e8) > self.vega_limit_e8:
            return ProtectionCause.VEGA
        return None

    def sums(self) -> dict[str, int]:
        """As events show them."""
        delta = abs(self.delta_e10) // 100
        return {
            "quantity_e8": self.quantity_e8,
            "delta_e8": delta if self.delta_e10 >= 0 else -delta,
            "vega_e8": self.vega_e8,
        }


def coins_e8(c: Contract, lots: int, index_e8: int) -> int:
    """Lots in coins, rounded up."""
    amount = lots * c.spec.lot_size_e8
    return ceil_div(amount * E8, index_e8) if c.is_inverse_future else amount
