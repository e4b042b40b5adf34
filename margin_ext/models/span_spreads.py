"""Spreads of `span16`: between expiries of one underlying (a charge) and between underlyings (a credit)."""

from collections.abc import Mapping

import numpy as np

from margin_ext.models.parameters import PPM
from margin_ext.models.parameters_formula import CreditSet, SpanSet
from margin_ext.models.portfolio import Floats

OPPOSITE = {"long": "short", "short": "long"}


def calendar(s: SpanSet, days: Floats, delta: Floats, index: float) -> tuple[float, float]:
    """(charge in USD, spreads formed): per priority n = min(long / ratio, short / ratio), n x rate, deltas consumed.

    Deltas net within an expiry and stand long or short in its tier; a spread takes either side of its first tier
    against the other side of its second.
    """
    left = {tier.name: {"long": 0.0, "short": 0.0} for tier in s.tiers}
    expiry, rows = np.unique(days, return_inverse=True)
    for day, net in zip(expiry.tolist(), np.bincount(rows, delta, len(expiry)).tolist(), strict=True):
        tier = next((one.name for one in s.tiers if one.from_days <= day < one.to_days), None)
        if tier is not None:
            left[tier]["long" if net > 0.0 else "short"] += abs(net)
    charge = formed = 0.0
    for spread in sorted(s.calendar, key=lambda one: one.priority):
        first, second = spread.first_ratio_ppm / PPM, spread.second_ratio_ppm / PPM
        for side in ("long",) if spread.first == spread.second else ("long", "short"):
            a, b = left[spread.first], left[spread.second]
            count = min(a[side] / first, b[OPPOSITE[side]] / second)
            a[side] -= count * first
            b[OPPOSITE[side]] -= count * second
            charge += count * spread.rate_ppm / PPM * index
            formed += count
    return charge, formed


def price_risk(losses: Floats, active: int | None) -> tuple[float, float]:
    """(time risk, price risk) of a scenario vector: what the worst loss is beyond mere passing of time.

    Volatility-adjusted risk is the mean of the worst scenario and the one of the same price with the other vol;
    time risk the mean of scenarios 1 and 2; price risk their difference, not below 0.
    """
    time = float(losses[0] + losses[1]) / 2.0
    if active is None:
        return time, 0.0
    paired = active ^ 1 if active < 14 else active
    return time, max(0.0, float(losses[active] + losses[paired]) / 2.0 - time)


def intercommodity(s: CreditSet, legs: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """USD by underlying. legs: {name: (price risk per delta, net delta)}.

    Per priority n = the least |delta| / ratio over the legs, where their signs stand as the legs' sides do or all
    the other way; each leg is credited n x ratio x price risk per delta x rate, and its delta consumed.
    """
    left = {name: delta for name, (_, delta) in legs.items()}
    found = dict.fromkeys(legs, 0.0)
    for credit in sorted(s.credits, key=lambda one: one.priority):
        if any(left.get(leg.underlying, 0.0) == 0.0 for leg in credit.legs):
            continue
        signs = {(left[leg.underlying] > 0.0) == (leg.side == "long") for leg in credit.legs}
        if len(signs) > 1:
            continue
        count = min(abs(left[leg.underlying]) * PPM / leg.ratio_ppm for leg in credit.legs)
        for leg in credit.legs:
            used = count * leg.ratio_ppm / PPM
            found[leg.underlying] += used * legs[leg.underlying][0] * credit.rate_ppm / PPM
            rest = abs(left[leg.underlying]) - used
            left[leg.underlying] = max(0.0, rest) * (1.0 if left[leg.underlying] > 0.0 else -1.0)
    return found
