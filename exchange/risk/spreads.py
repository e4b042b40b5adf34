"""Calendar spreads and credits of `span16` as the compiled room takes them, with the bounds of their rounding.

A node is one side of a tier: 2 x tier, and one more for the short side. Spreads are steps between two nodes, in the
order in which they are served. Per unit of delta added to a node (`up`) or taken from it (`down`) the charge grows by
at most these rates: backwards over the steps, a node that is the scarcer leg of a spread adds the spread's rate and
takes delta from the other node, a node that is not leaves the spread as it is. Definitions: docs/margin.md.
"""

from fractions import Fraction
from math import ceil

import msgspec

from exchange.parameters_span import DAY_NS, PPM, SpanCredits, SpanParameters


class Step(msgspec.Struct, frozen=True):
    """A spread between two nodes: deltas of each in one spread, and the charge for it, in ppm."""

    first: int
    second: int
    first_ratio: int
    second_ratio: int
    rate: int


class Spreads(msgspec.Struct, frozen=True):
    """All steps of a set. Rates in ppm of a delta, rounding in 1e-6 of a delta's unit."""

    steps: list[Step]
    up: list[int]
    down: list[int]
    slack: int
    """What rounding leftovers could take from a charge at most: always added."""
    noise: int
    """What rounding could add to a charge at most, slack included."""
    tier_ns: list[tuple[int, int]]


def steps(p: SpanParameters) -> list[Step]:
    """By priority; a spread takes the long side of its first tier first, then the other way round."""
    tier = {one.name: place for place, one in enumerate(p.tiers)}
    found = []
    for spread in sorted(p.calendar, key=lambda one: one.priority):
        first, second = 2 * tier[spread.first], 2 * tier[spread.second]
        terms = (spread.first_ratio_ppm, spread.second_ratio_ppm, spread.rate_ppm)
        found.append(Step(first, second + 1, *terms))
        if first != second:
            found.append(Step(first + 1, second, *terms))
    return found


def spreads(p: SpanParameters) -> Spreads:
    """The steps of a set with their bounds."""
    served = steps(p)
    up = [Fraction(0)] * (2 * len(p.tiers))
    down = list(up)
    slack = noise = Fraction(0)
    for step in reversed(served):
        a, b = step.first, step.second
        if step.first_ratio != step.second_ratio:
            slack += max(down[a], down[b])
            noise += max(up[a], up[b]) + 1
        elif step.first_ratio != PPM:
            noise += 1
        grown = []
        for own, other, ratio, others in (
            (a, b, step.first_ratio, step.second_ratio),
            (b, a, step.second_ratio, step.first_ratio),
        ):
            rate, taken = Fraction(step.rate * PPM, ratio), Fraction(others, ratio)
            grown.append((max(up[own], rate + down[other] * taken), max(down[own], up[other] * taken - rate)))
        (up[a], down[a]), (up[b], down[b]) = grown
    days = [(tier.from_days * DAY_NS, tier.to_days * DAY_NS) for tier in p.tiers]
    return Spreads(served, [ceil(x) for x in up], [ceil(x) for x in down], ceil(slack), ceil(slack + noise), days)


def credit_rounding(terms: SpanCredits, names: list[str]) -> list[int]:
    """By underlying: how much delta (1e-10 coin, times a rate of at most one) whole units of spreads could credit too
    much, at most."""
    error = dict.fromkeys(names, Fraction(0))
    found = dict.fromkeys(names, Fraction(0))
    for credit in sorted(terms.credits, key=lambda one: one.priority):
        broken = any(leg.ratio_ppm != PPM for leg in credit.legs)
        count = (
            max((error[leg.underlying] * Fraction(PPM, leg.ratio_ppm) for leg in credit.legs), default=Fraction(0))
            + broken
        )
        for leg in credit.legs:
            used = count * Fraction(leg.ratio_ppm, PPM) + broken
            error[leg.underlying] += used
            found[leg.underlying] += used * Fraction(credit.rate_ppm, PPM)
    return [ceil(found[name]) for name in names]
