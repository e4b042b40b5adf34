"""Closed forms of an isolated position: where it is bankrupt, and where it is liquidated.

Signed lots with signed cost and their collateral, minor units; scale_minor: minor units of a lot per USD of price
(inverse: per 1 / USD). Prices in 1e-8 USD, rounded to the side that is reached first, 0 where no price does it.
Derivation: docs/margin.md.
"""

from collections.abc import Sequence

from exchange.parameters import LeverageTier

E8, PPM = 10**8, 10**6
COIN_MINOR_PER_USD_E8 = 100
"""A coin's minor units are 1e-10: USD at 1e-8, over a price in USD, are so many of them."""


def _price(top: int, bottom: int, long: bool) -> int:
    """top / bottom in 1e-8, upwards for a long position, downwards for a short one; 0 where it is not positive."""
    if bottom < 0:
        top, bottom = -top, -bottom
    if bottom == 0 or top <= 0:
        return 0
    return -(-top * E8 // bottom) if long else top * E8 // bottom


def bankruptcy_price_e8(inverse: bool, lots: int, scale_minor: int, cost_minor: int, collateral_minor: int) -> int:
    """Where equity is zero: collateral + lots x scale x P = cost, inverse collateral - lots x scale / P = cost."""
    if lots == 0:
        return 0
    if inverse:
        return _price(lots * scale_minor, collateral_minor - cost_minor, lots > 0)
    return _price(cost_minor - collateral_minor, lots * scale_minor, lots > 0)


def deductions(tiers: Sequence[LeverageTier]) -> list[int]:
    """USD x ppm per tier: maintenance margin = rate x notional - deduction, continuous where tiers meet."""
    found, total, before = [], 0, tiers[0].maintenance_ppm
    for tier in tiers:
        total += tier.above_usd * (tier.maintenance_ppm - before)
        before = tier.maintenance_ppm
        found.append(total)
    return found


def liquidation_price_e8(
    inverse: bool, lots: int, scale_minor: int, cost_minor: int, collateral_minor: int,
    tiers: Sequence[LeverageTier], usd: int,
) -> int:  # fmt: skip
    """Where equity is the maintenance margin. usd: of a linear position minor units per USD, of an inverse one the
    size of a lot in 1e-8 USD."""
    if lots == 0:
        return 0
    taken = deductions(tiers)
    if inverse:
        notional_e8 = abs(lots) * usd
        place = max(i for i, tier in enumerate(tiers) if tier.above_usd <= notional_e8 // E8)
        need = -(-notional_e8 * tiers[place].maintenance_ppm // PPM) - taken[place] * E8 // PPM
        return _price(lots * scale_minor + need * COIN_MINOR_PER_USD_E8, collateral_minor - cost_minor, lots > 0)
    ends = [tier.above_usd * usd for tier in tiers[1:]] + [1 << 127]
    for tier, deduction, end in zip(tiers, taken, ends, strict=True):
        top = PPM * (cost_minor - collateral_minor) - deduction * usd
        kept = PPM - tier.maintenance_ppm if lots > 0 else PPM + tier.maintenance_ppm
        price = _price(top, lots * scale_minor * kept, lots > 0)
        # equity less requirement is monotone in the price, so the first tier that holds its own answer is right
        if price * abs(lots) * scale_minor // E8 < end:
            return price
    return 0
