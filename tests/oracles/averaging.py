"""Settlement averages in the naive venue: what of one is known, what of it still moves."""

from typing import NamedTuple

import numpy as np

from tests.oracles.contract import Contract

WINDOW_NS = 30 * 60 * 10**9
YEAR_NS = 365 * 86_400 * 10**9


class Fixing(NamedTuple):
    """What a contract settles at if the forward stays; the open part of the average, and its share of that price."""

    price_e8: int
    open: float
    share: float

    def moved(self, multiplier: np.ndarray) -> np.ndarray:
        """Of the price, where the forward is multiplied."""
        return 1.0 + self.share * (multiplier - 1.0)


def average_years(left_ns: int) -> float:
    """Over which the variance of an average accrues that is complete `left_ns` from now."""
    if left_ns >= WINDOW_NS:
        return (left_ns - 2 * WINDOW_NS // 3) / YEAR_NS
    return max(0, left_ns) / (3.0 * YEAR_NS)


def variance_years(c: Contract, time_ns: int) -> float:
    left = c.spec.expiry_ns - time_ns
    if c.averaged:
        return average_years(left)
    return left / YEAR_NS if left > 0 else 0.0


def known(samples: list[tuple[int, int]], expiry_ns: int, index_e8: int) -> int:
    """Mean of the samples of an expiry's half hour so far, the index where there is none."""
    window = [price for time_ns, price in samples if expiry_ns - WINDOW_NS <= time_ns <= expiry_ns]
    return sum(window) // len(window) if window else index_e8


def fixing_of(c: Contract, forward_e8: int) -> Fixing | None:
    """None where the contract's average has not begun."""
    if c.known_e8 is None or not forward_e8:
        return None
    left = max(0, c.spec.expiry_ns - c.priced_ns)
    price = c.known_e8 + (forward_e8 - c.known_e8) * left // WINDOW_NS
    open_part = left / WINDOW_NS
    return Fixing(price, open_part, open_part * forward_e8 / price)
