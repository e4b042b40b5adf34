"""Naive `span16` requirement: calendar spreads, short options, option value and credits, in Python integers.

Charges are added up in 1e-16 coin and rounded up once. Where orders are open, a charge is bounded by its steepest
growth over what they may move, and by every delta standing in the dearest spread that it can reach.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from exchange.parameters_span import CalendarSpread, SpanCredits, SpanParameters
from tests.oracles.contract import PPM, Contract, ceil_div
from tests.oracles.grid import DAY_NS
from tests.oracles.risk import Risk
from tests.oracles.span_credits import Shares, bounded

Node = tuple[str, str]
OTHER = {"long": "short", "short": "long"}


class Spread(NamedTuple):
    """One way round of a calendar spread: two nodes, their ratios, the rate."""

    nodes: tuple[Node, Node]
    ratios: tuple[int, int]
    rate: int


@dataclass
class Figures:
    """Of one underlying in one entity; row units, deltas apart."""

    scan: int
    price_risk: int
    charge: int
    minimum: int
    value: int


@dataclass
class Part:
    """One underlying of an entity: its positions, and with open orders."""

    underlying: int
    span: SpanParameters
    delta: int
    held_lots: int
    open_lots: int
    ordered: bool
    alone: Figures
    whole: Figures
    losses: list[int]
    beyond: list[int | None] | None
    """With orders, where fills are bounded; see span_credits."""
    reach: tuple[int, int]
    """Of the delta, whatever fills."""
    crowd: list[int]
    """Charge on concentration, without and with orders."""


def served(p: SpanParameters) -> list[Spread]:
    found = []
    for s in sorted(p.calendar, key=lambda s: s.priority):
        found += [way(s, side) for side in (("long",) if s.first == s.second else ("long", "short"))]
    return found


def way(s: CalendarSpread, side: str) -> Spread:
    return Spread(((s.first, side), (s.second, OTHER[side])), (s.first_ratio_ppm, s.second_ratio_ppm), s.rate_ppm)


class Calendar:
    """The calendar charge of a set and its bounds."""

    def __init__(self, p: SpanParameters) -> None:
        self.p = p
        self.spreads = served(p)
        self.steepest = lru_cache(maxsize=None)(self._steepest)
        self.slack, self.noise = self._rounding()

    def tier(self, expiry_ns: int, time_ns: int) -> str | None:
        left = max(expiry_ns - time_ns, 0)
        for tier in self.p.tiers:
            if tier.from_days * DAY_NS <= left < tier.to_days * DAY_NS:
                return tier.name
        return None

    def _steepest(self, k: int, node: Node, more: bool) -> Fraction:
        """The most that the charge of spreads from the k-th on grows by, per unit of delta more (or less) in a node."""
        if k == len(self.spreads):
            return Fraction(0)
        later, spread = self.steepest(k + 1, node, more), self.spreads[k]
        if node not in spread.nodes:
            return later
        own = spread.nodes.index(node)
        per_unit = Fraction(spread.rate * PPM, spread.ratios[own])
        partner = self.steepest(k + 1, spread.nodes[1 - own], not more)
        partner *= Fraction(spread.ratios[1 - own], spread.ratios[own])
        return max(later, partner + per_unit if more else partner - per_unit)

    def rate(self, node: Node, more: bool) -> int:
        return ceil(self.steepest(0, node, more))

    def _rounding(self) -> tuple[int, int]:
        slack = noise = Fraction(0)
        for k, spread in enumerate(self.spreads):
            if spread.ratios[0] != spread.ratios[1]:
                slack += max(self.steepest(k + 1, node, False) for node in spread.nodes)
                noise += 1 + max(self.steepest(k + 1, node, True) for node in spread.nodes)
            elif spread.ratios[0] != PPM:
                noise += 1
        return ceil(slack), ceil(slack + noise)

    def serve(self, amounts: dict[Node, int]) -> int:
        """Charge in 1e-16 coin; amounts are consumed."""
        total, formed = 0, False
        for (first, second), (r, q), rate in self.spreads:
            a, b = amounts.get(first, 0), amounts.get(second, 0)
            if not a or not b:
                continue
            formed = True
            scarce_first = Fraction(a, r) <= Fraction(b, q)
            total += ceil(Fraction(a * rate * PPM, r) if scarce_first else Fraction(b * rate * PPM, q))
            amounts[first] = 0 if scarce_first else a - b * r // q
            amounts[second] = b - a * q // r if scarce_first else 0
        return total + self.slack * formed

    def charge(self, risks: list[Risk], live: list[Risk], time_ns: int) -> int:
        """1e-10 coin; `live`: the risks whose open orders count."""
        amounts: dict[Node, int] = {}
        reach: dict[Node, int] = {}
        grown = 0
        for expiry in {e for r in risks for e in r.delta} | {e for r in live for e in (*r.delta_up, *r.delta_down)}:
            tier = self.tier(expiry, time_ns)
            if tier is None:
                continue
            held = sum(r.delta.get(expiry, 0) for r in risks)
            high = held + sum(r.delta_up.get(expiry, 0) for r in live)
            low = held - sum(r.delta_down.get(expiry, 0) for r in live)
            side = (tier, "long" if held > 0 else "short")
            amounts[side] = amounts.get(side, 0) + abs(held)
            for node, most in (((tier, "long"), high), ((tier, "short"), -low)):
                reach[node] = reach.get(node, 0) + max(0, most)
            rise = self.moved(tier, "long", held, high) + self.moved(tier, "short", -held, -high)
            fall = self.moved(tier, "long", held, low) + self.moved(tier, "short", -held, -low)
            grown += max(rise, fall)
        total = self.serve(amounts)
        if live:
            rates = [self.rate((t.name, s), more) for t in self.p.tiers for s in OTHER for more in (True, False)]
            capped = sum(most for r in live for most, _ in r.capped)
            total = min(total + grown + self.noise, self.dearest(reach)) + capped * max(rates, default=0)
        return ceil_div(total, PPM)

    def moved(self, tier: str, side: str, start: int, end: int) -> int:
        """Growth at most where a node goes from max(0, start) to max(0, end)."""
        change = max(0, end) - max(0, start)
        return abs(change) * self.rate((tier, side), change > 0)

    def dearest(self, reach: dict[Node, int]) -> int:
        rates: dict[Node, int] = {}
        for nodes, ratios, rate in self.spreads:
            if all(reach.get(node) for node in nodes):
                for node, ratio in zip(nodes, ratios, strict=True):
                    rates[node] = max(rates.get(node, 0), ceil_div(rate * PPM, ratio))
        if not rates:
            return 0
        sides = [sum(reach[n] * rate for n, rate in rates.items() if n[1] == side) for side in OTHER]
        return min(sides) + self.noise


def short_minimum(p: SpanParameters, contracts: dict[int, Contract], risks: list[Risk], live: list[Risk]) -> int:
    """1e-10 coin."""
    sizes = {"call": 0, "put": 0}
    for r in risks:
        for slot in {*r.held, *r.sells}:
            c = contracts[slot]
            if c.is_option:
                sells = r.sells.get(slot, 0) if any(r is one for one in live) else 0
                sizes[c.spec.option_type] += max(0, sells - r.held.get(slot, 0)) * c.spec.lot_size_e8 * 100
    count = max(sizes.values()) if p.short_option_method == "maximum" else sum(sizes.values())
    return ceil_div(count * p.short_option_minimum_ppm, PPM)


def option_minor(contracts: dict[int, Contract], risk: Risk, ordered: bool) -> int:
    held = sum(lots * contracts[slot].mark_minor for slot, lots in risk.held.items() if contracts[slot].is_option)
    return held + (risk.option_up if ordered else 0)


def scan(losses: list[int]) -> tuple[int, int]:
    """(scan risk, price risk) of sixteen losses."""
    worst = max(losses[:16])
    if worst <= 0:
        return 0, 0
    place = losses.index(worst)
    pair = place + 1 - 2 * (place % 2) if place < 14 else place
    return worst, max(0, worst + losses[pair] - losses[0] - losses[1]) // 2


def credited(terms: SpanCredits | None, names: list[str], parts: list[Part], orders: bool) -> list[int]:
    """What each part is credited with."""
    left = {names[p.underlying]: 0 if orders and p.ordered else p.delta for p in parts}
    risk = {names[p.underlying]: (p.whole if orders else p.alone).price_risk for p in parts}
    used = dict.fromkeys(left, 0)
    error = dict.fromkeys(left, Fraction(0))
    over = dict.fromkeys(left, Fraction(0))
    listed = sorted(terms.credits, key=lambda c: c.priority) if terms else []
    for c in listed:
        broken = int(any(leg.ratio_ppm != PPM for leg in c.legs))
        most = max(error.get(leg.underlying, Fraction(0)) * PPM / leg.ratio_ppm for leg in c.legs) + broken
        for leg in c.legs:
            off = most * leg.ratio_ppm / PPM + broken
            error[leg.underlying] = error.get(leg.underlying, Fraction(0)) + off
            over[leg.underlying] = over.get(leg.underlying, Fraction(0)) + off * c.rate_ppm / PPM
        if any(not left.get(leg.underlying) for leg in c.legs):
            continue
        turned = {(left[leg.underlying] > 0) == (leg.side == "long") for leg in c.legs}
        if len(turned) > 1:
            continue
        n = min(abs(left[leg.underlying]) * PPM // leg.ratio_ppm for leg in c.legs)
        for leg in c.legs:
            taken = n * leg.ratio_ppm // PPM
            left[leg.underlying] -= taken if left[leg.underlying] > 0 else -taken
            used[leg.underlying] += taken * c.rate_ppm // PPM
    found = []
    open_shares = None
    if terms and orders and len(parts) > 1 and any(p.beyond is not None for p in parts):
        open_shares = Shares(terms, {names[p.underlying]: p.reach for p in parts})
    for p in parts:
        name = names[p.underlying]
        if open_shares:
            share = open_shares.of(name, ceil(over[name]))
            found.append(risk[name] * share >> 40 if p.beyond is None else p.whole.scan - bounded(p, share))
            continue
        sure = used[name] - ceil(over[name])
        found.append(risk[name] * ((sure << 40) // abs(p.delta)) >> 40 if sure > 0 else 0)
    return found


def requirement(f: Figures, credit: int, factor_ppm: int, lots: int, crowd: int) -> int:
    risk = max(0, f.scan + f.charge - credit, f.minimum)
    return max(ceil_div(risk * factor_ppm, PPM) + lots * max(1, ceil_div(factor_ppm, PPM)) + crowd, f.value)


def total(terms: SpanCredits | None, names: list[str], parts: list[Part]) -> tuple[int, int]:
    """(initial, maintenance) of an entity's parts, row units."""
    initial = maintenance = 0
    alone, whole = credited(terms, names, parts, False), credited(terms, names, parts, True)
    for p, held, ordered in zip(parts, alone, whole, strict=True):
        lots = p.held_lots + p.open_lots
        maintenance += requirement(p.alone, held, p.span.maintenance_factor_ppm, p.held_lots, p.crowd[0])
        initial += requirement(p.whole, ordered, p.span.initial_factor_ppm, lots, p.crowd[1])
    return initial, maintenance
