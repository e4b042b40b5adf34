"""The `isolated` model: futures and perpetuals that each stand on a bucket of collateral of their own.

Prices in USD; size signed, in coins (linear) or USD (inverse); the bucket in USD (linear) or coins (inverse).
Equity of a long is bucket + size (P - E) linear, bucket + size (1/E - 1/P) inverse; a position is bankrupt where it is
0 and liquidated where it meets maintenance margin. The closed forms are derived in docs/margin.md.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from margin_ext.models.parameter_files import checked, identity
from margin_ext.models.parameters import PPM
from margin_ext.models.parameters_formula import IsolatedSet, LeverageTier
from margin_ext.models.portfolio import Portfolio, PortfolioError
from margin_ext.models.result import MarginResult, Requirement, totals


def deductions(tiers: Sequence[LeverageTier]) -> list[float]:
    """USD per tier: maintenance = rate x notional - deduction, continuous where tiers meet."""
    found, total, before = [], 0.0, tiers[0].maintenance_ppm
    for tier in tiers:
        total += tier.above_usd * (tier.maintenance_ppm - before) / PPM
        before = tier.maintenance_ppm
        found.append(total)
    return found


def tier_of(tiers: Sequence[LeverageTier], notional_usd: float) -> int:
    """Place of the tier that a notional lies in."""
    return max(0, sum(tier.above_usd <= notional_usd for tier in tiers) - 1)


def maintenance_usd(s: IsolatedSet, notional_usd: float) -> float:
    """Maintenance margin of a notional, in USD."""
    place = tier_of(s.tiers, notional_usd)
    return s.tiers[place].maintenance_ppm / PPM * notional_usd - deductions(s.tiers)[place]


def initial_usd(s: IsolatedSet, notional_usd: float, leverage: float | None = None) -> float:
    """Initial margin: the tier's rate of the whole notional, or one over the leverage chosen where that is more."""
    rate = s.tiers[tier_of(s.tiers, notional_usd)].initial_ppm / PPM
    return notional_usd * max(rate, 1.0 / leverage if leverage else 0.0)


def bankruptcy_price(entry: float, size: float, bucket: float, inverse: bool) -> float | None:
    """Where the bucket is used up; None where no price above 0 does that.

    Linear: E - M / q. Inverse: Q / (M + Q / E), Q signed; a short has none where M >= |Q| / E.
    """
    if size == 0.0:
        return None
    if not inverse:
        price = entry - bucket / size
        return price if price > 0.0 else None
    coins = bucket + size / entry
    return size / coins if size * coins > 0.0 else None


def liquidation_price(entry: float, size: float, bucket: float, inverse: bool, parameters: IsolatedSet) -> float | None:
    """Where equity meets maintenance margin; None where no price above 0 does that.

    With rate m and deduction c of the tier that the price falls in: linear long (E - M/q - c/q) / (1 - m), short
    (E + M/q + c/q) / (1 + m); inverse, whose notional is |Q| at any price, long (Q (1 + m) - c) / (M + Q/E), short
    (|Q| (1 - m) + c) / (|Q|/E - M). Where maintenance is of the entry notional: the bankruptcy price of the bucket
    less maintenance.
    """
    if size == 0.0:
        return None
    tiers, count = parameters.tiers, abs(size)
    if parameters.maintenance_basis == "entry":
        held = maintenance_usd(parameters, count if inverse else count * entry)
        return bankruptcy_price(entry, size, bucket - (held / entry if inverse else held), inverse)
    if inverse:
        needed = maintenance_usd(parameters, count)
        coins = bucket + size / entry
        top = count + needed if size > 0.0 else needed - count
        return top / coins if top * coins > 0.0 else None
    bounds = [float(tier.above_usd) for tier in tiers[1:]] + [np.inf]
    for tier, deduction, end in zip(tiers, deductions(tiers), bounds, strict=True):
        rate = tier.maintenance_ppm / PPM
        if size > 0.0:
            price = (entry - (bucket + deduction) / count) / (1.0 - rate)
        else:
            price = (entry + (bucket + deduction) / count) / (1.0 + rate)
        # equity less requirement is monotone in the price, so the first tier that holds its own answer is right
        if price * count < end:
            return price if price > 0.0 else None
    return None


def margin(p: Portfolio, s: IsolatedSet, buckets: ArrayLike, leverage: ArrayLike | None = None) -> MarginResult:
    """One requirement per position, in its settlement currency, with bankruptcy and liquidation prices.

    buckets [N] collateral in the settlement currency; leverage [N] or one for all: what the owner chose, at most
    the tier's. Entry prices are needed (else the mark counts). PortfolioError for an option: it has no closed form.
    """
    checked(s)
    if p.is_option.any():
        raise PortfolioError(f"kind[{int(np.argmax(p.is_option))}]: an option cannot be isolated")
    held = np.broadcast_to(np.asarray(buckets, dtype=np.float64), (len(p),))
    chosen = None if leverage is None else np.broadcast_to(np.asarray(leverage, dtype=np.float64), (len(p),))
    if not np.isfinite(held).all():
        raise PortfolioError(f"bucket[{int(np.argmin(np.isfinite(held)))}]: must be finite")
    if chosen is not None and not (chosen > 0.0).all():
        raise PortfolioError(f"leverage[{int(np.argmin(chosen > 0.0))}]: must be positive")
    found = []
    for row in range(len(p)):
        inverse, size = bool(p.inverse[row]), float(p.size[row])
        mark = float(p.fixing[row])
        entry = mark if np.isnan(p.entry[row]) else float(p.entry[row])
        notional = abs(size) * (1.0 if inverse else mark)
        basis = notional if inverse or s.maintenance_basis == "mark" else abs(size) * entry
        price = mark if s.maintenance_basis == "mark" else entry
        unit, bucket = p.currencies[int(p.settlement[row])].name, float(held[row])
        found.append(
            Requirement(
                scope=f"{p.underlyings[int(p.underlying[row])].name}/{unit}#{row}",
                unit=unit,
                parameter_set=identity(s),
                initial=initial_usd(s, notional, None if chosen is None else float(chosen[row]))
                / (mark if inverse else 1.0),
                maintenance=maintenance_usd(s, basis) / (price if inverse else 1.0),
                figures={"bucket": bucket, "notional_usd": notional},
                positions=(row,),
                bankruptcy_price=(bankruptcy_price(entry, size, bucket, inverse),),
                liquidation_price=(liquidation_price(entry, size, bucket, inverse, s),),
            )
        )
    return MarginResult(model="isolated", requirements=tuple(found), totals=totals(tuple(found)))
