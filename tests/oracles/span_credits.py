"""Credits of `span16` with open orders, in Python integers: what no fill leaves smaller.

Twice the loss beyond price risk in a column: its loss, less that at the same price with the other vol, and those of
the first two scenarios. Scan risk less a share of its price risk lies between that and the loss.
"""

from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from exchange.parameters_span import SpanCredits
from tests.oracles.contract import PPM, ceil_div
from tests.oracles.grid import usd_of_coin
from tests.oracles.risk import Risk

if TYPE_CHECKING:
    from tests.oracles.margin import MarginModel
    from tests.oracles.span import Part

ONE = 2**40
OTHER = {"long": "short", "short": "long"}


def beyond_of(pnl: list[int]) -> list[int]:
    """Of a P&L vector."""
    twins = [j + 1 - 2 * (j % 2) if j < 14 else j for j in range(16)]
    return [pnl[twin] - pnl[j] - pnl[0] - pnl[1] for j, twin in enumerate(twins)]


def of_chain(risk: Risk) -> list[int | None]:
    """The most that fills can make of it."""
    return [held + more for held, more in zip(beyond_of(risk.pnl), risk.beyond, strict=True)]


def of_cross(model: "MarginModel", u: int, risks: dict[int, Risk], equity: list[int]) -> list[int | None]:
    """The same of collateral value; None where a surcharge on debts could weigh on one column alone."""
    total: list[int | None] = [0] * 16
    for c, risk in risks.items():
        if not (equity[c] or risk.held_lots or risk.ordered):
            continue
        worth = [model.usd(c, equity[c])] * 16
        if model.coin_of[c] == u:
            worth = [usd_of_coin(equity[c], price) for price in model.grids[u].coin_price_q40[:16]]
        nets = [w + p + h for w, p, h in zip(worth, risk.pnl, risk.hurt, strict=False)]
        terms = model.config.currencies[c]
        bent = terms.haircut_ppm > 0 or terms.debt_ppm != PPM
        for j, value in enumerate(of_chain(risk)):
            so_far = total[j]
            if so_far is None or value is None or (bent and min(nets[0], nets[1], nets[j]) < 0):
                total[j] = None
            else:
                total[j] = so_far + ceil_div(value * (PPM - terms.haircut_ppm), PPM) + 3
    return total


class Shares:
    """The least share of each underlying's price risk that is credited, 2**-40, over all deltas that fills can make."""

    def __init__(self, terms: SpanCredits, ranges: dict[str, tuple[int, int]]) -> None:
        self.ranges = ranges
        self.least = {n: Fraction(1) for n in ranges}
        self.share = dict.fromkeys(ranges, 0)
        self.lost = dict.fromkeys(ranges, 0)
        self.span = {
            (n, side): span
            for n, (low, high) in ranges.items()
            for side, span in (("long", (max(0, low), max(0, high))), ("short", (max(0, -high), max(0, -low))))
        }
        for credit in sorted(terms.credits, key=lambda c: c.priority):
            if all(leg.underlying in ranges for leg in credit.legs):
                for turn in (lambda side: side, OTHER.__getitem__):
                    self.serve([(leg.underlying, turn(leg.side)) for leg in credit.legs], credit)

    def serve(self, sides, credit) -> None:
        found = {}
        for place, (side, leg) in enumerate(zip(sides, credit.legs, strict=True)):
            others = [
                [amount * PPM // other.ratio_ppm for amount in self.span[s]]
                for k, (s, other) in enumerate(zip(sides, credit.legs, strict=True))
                if k != place
            ]
            few, many = (min(units) * leg.ratio_ppm // PPM for units in zip(*others, strict=True))
            broken = 0 if leg.ratio_ppm == PPM else ceil_div(leg.ratio_ppm, PPM)
            low, high = self.span[side]
            found[side] = max(0, low - many), min(high, max(high - few, broken))
            self.own(side, few, many, broken, credit.rate_ppm)
        self.span |= found

    def own(self, side: tuple[str, str], few: int, many: int, broken: int, rate_ppm: int) -> None:
        """A leg's own delta, where it surely stands on that side: the part of it that is taken."""
        name, way = side
        low, high = self.ranges[name]
        smallest, largest = (low, high) if way == "long" else (-high, -low)
        if smallest <= 0:
            return
        part = self.least[name] - Fraction(ceil(Fraction(min(broken, smallest) * ONE, smallest)), ONE)
        taken = max(0, min(part * ONE, floor(Fraction(min(few, largest) * ONE, largest))))
        self.share[name] += floor(taken) * rate_ppm // PPM
        self.lost[name] += 1
        left = self.least[name] - Fraction(ceil(Fraction(min(many, smallest) * ONE, smallest)), ONE)
        self.least[name] = max(Fraction(0), left)

    def of(self, name: str, rounding: int) -> int:
        low, high = self.ranges[name]
        smallest = max(low, -high)
        if smallest <= 0:
            return 0
        lost = min(self.lost[name] + rounding, smallest)
        return max(0, self.share[name] - ceil_div(lost * ONE, smallest) - 1)


def bounded(part: "Part", share: int) -> int:
    """The most that scan risk less its credit can be."""
    most = 0
    for loss, twice in zip(part.losses, part.beyond or [], strict=True):
        risk = 0 if twice is None else 2 * loss - twice
        most = max(most, min(loss, loss - (risk * share >> 41) + 1) if risk > 0 else loss)
    return most
