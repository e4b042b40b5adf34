"""The naive choice of a slice: on each path the fewest lots that restore, found by halving; of those that cost about
the least share of the money (a tenth more at most) the least size.

Rules: docs/liquidation.md, "Slices". `slicing.py` tries every count of lots instead; where what is left crosses its
target once, the two agree. Shares are in parts per million, rounded up.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from exchange.config import Liquidation
from tests.oracles.account import Account
from tests.oracles.margin import Margin
from tests.oracles.worth import Worth

PPM = 1_000_000
MOST_LEGS = 8
SMALLEST, PROPORTIONAL, FUTURES_FIRST, OPTIONS_FIRST = range(4)
Legs = dict[int, int]
Path = tuple[int, ...]


class Part(NamedTuple):
    """What is sold: signed lots by slot, and the share of the money that goes with them."""

    legs: Legs
    share: int


def first(size: int, holds: Callable[[int], bool], known: tuple[int, ...] = ()) -> int:
    """The smallest of 1 .. size for which something holds, 0 where not even for `size`, by halving; counts `known` to
    be near are tried first."""
    if not holds(size):
        return 0
    below, above = 0, size
    for count in known:
        if below < count < above:
            below, above = (below, count) if holds(count) else (count, above)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


class Selling:
    """Slices of one account at a price for all that remains, in the entity's unit."""

    def __init__(
        self, worth: Worth, account: Account, entity: int, currency: int, price: int, terms: Liquidation
    ) -> None:
        self.worth, self.account, self.entity, self.currency = worth, account, entity, currency
        self.price, self.terms = price, terms
        self.held = worth.held(account, entity)
        self.equities = worth.equities(account, entity)
        self.before = worth.margin(account, entity)
        self.value = worth.worth(account, entity)
        self.everything: Path = tuple(self.held)

    # ------------------------------------------------------------------ one slice

    def lots(self, path: Path) -> int:
        """Of the path's largest leg."""
        return max(abs(self.held[slot]) for slot in path)

    def legs(self, path: Path, count: int) -> Legs:
        """To the nearest lot, half up."""
        parts = {slot: floor(Fraction(abs(self.held[slot]) * count, self.lots(path)) + Fraction(1, 2)) for slot in path}
        return {slot: part if self.held[slot] > 0 else -part for slot, part in parts.items() if part}

    def part(self, path: Path, count: int) -> Part:
        """A share of everything takes as much of the money; else it is that of the requirement released."""
        legs = self.legs(path, count)
        if path == self.everything:
            return Part(legs, ceil(Fraction(count, self.lots(path)) * PPM))
        need = self.need(self.before)
        if need <= 0:
            return Part(legs, PPM)
        left = self.need(self.worth.margin(self.worth.supposing(self.account, opposite(legs), {}), self.entity))
        return Part(legs, min(PPM, ceil(Fraction(max(0, need - left), need) * PPM)))

    def need(self, m: Margin) -> int:
        """What the account must be worth to stand at maintenance, where its margin is `m`; a sale at the marks does not
        change what it is worth."""
        return self.value + m.maintenance - m.equity

    def payments(self, share: int) -> dict[int, int]:
        """What the buyer is paid by currency: the share of the equity less the price."""
        found = {c: amount * share // PPM for c, amount in self.equities.items()}
        paid = self.worth.minor(self.account, self.currency, self.price * share // PPM)
        return found | {self.currency: found.get(self.currency, 0) - paid}

    def fee(self, share: int) -> int:
        rate = self.terms.fee_ppm
        return self.worth.minor(self.account, self.currency, max(0, self.price) * share // PPM * rate // PPM)

    def restores(self, path: Path, count: int) -> bool:
        """Whether what is left reaches the buffer, a unit for each leg to spare."""
        part = self.part(path, count)
        if part.share == 0:
            return False
        paid = {c: -amount for c, amount in self.payments(part.share).items()}
        paid[self.currency] -= self.fee(part.share)
        left = self.worth.supposing(self.account, opposite(part.legs), paid)
        short = len(part.legs)
        return self.worth.margin(left, self.entity).equity - short >= self.worth.target(left, self.entity, self.terms)

    # ------------------------------------------------------------------ how much

    def guesses(self) -> tuple[int, ...]:
        """Counts beside the closed form of everything."""
        missing = self.before.maintenance * (PPM + self.terms.buffer_ppm) // PPM - self.before.equity
        whole = missing + self.price - self.price * self.terms.fee_ppm // PPM
        share = PPM
        if self.price > 0 and whole > 0:
            share = max(1, min(PPM, ceil(Fraction(missing, whole) * PPM)))
        count = ceil(Fraction(share * self.lots(self.everything), PPM))
        return count - 1, count + 1

    def needed(self, path: Path) -> int:
        known = self.guesses() if path == self.everything else ()
        return first(self.lots(path), lambda count: self.restores(path, count), known)

    def within(self, path: Path, most: int) -> int:
        """The most lots of a path for a share."""
        size = self.lots(path)
        if path == self.everything:
            return floor(Fraction(size * most, PPM))
        below, above = 0, size + 1
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (middle, above) if self.part(path, middle).share <= most else (below, middle)
        return below

    def size(self, legs: Legs) -> int:
        return sum(self.worth.size_e16(slot, lots) for slot, lots in legs.items())

    def paths(self, preference: int) -> list[Path]:
        """In the order in which equals are preferred."""
        whole, contracts = self.everything, self.worth.state.contracts
        if len(whole) == 1 or preference == PROPORTIONAL:
            return [whole]
        if preference in (FUTURES_FIRST, OPTIONS_FIRST):
            kind = tuple(s for s in whole if contracts[s].is_option == (preference == OPTIONS_FIRST))
            return [kind, whole] if 0 < len(kind) < len(whole) else [whole]
        underlyings = sorted({contracts[s].underlying for s in whole})
        groups = [tuple(s for s in whole if contracts[s].underlying == u) for u in underlyings]
        several = [group for group in groups if len(group) > 1] if len(groups) > 1 else []
        legs = sorted(whole, key=lambda s: (-self.size({s: self.held[s]}), s))[:MOST_LEGS]
        return [whole, *several, *[(slot,) for slot in legs]]

    def choose(self, preference: int) -> Path:
        """The path that is sold along."""
        found = [(path, self.needed(path)) for path in self.paths(preference)]
        fitting = [(path, count) for path, count in found if count]
        if not fitting:
            return self.everything
        if preference != SMALLEST:
            return fitting[0][0]
        parts = [(path, self.part(path, count)) for path, count in fitting]
        least = min(part.share for _, part in parts)
        about = [(path, part) for path, part in parts if Fraction(part.share, least) <= Fraction(11, 10)]
        return min(about, key=lambda one: self.size(one[1].legs))[0]

    def cut(self, path: Path | None, most: int, restoring: bool) -> Part | None:
        """What a bid for a share gets; None where that is not a lot."""
        if not self.held:
            return None
        if path is None or not set(path) <= set(self.held):
            path = self.everything
        count = self.within(path, most)
        needed = self.needed(path) if restoring else 0
        if restoring and not needed and path != self.everything:
            return self.cut(self.everything, most, restoring)
        count = min(count, needed or count)
        part = self.part(path, count) if count else None
        if path != self.everything and (part is None or part.share == 0):
            return self.cut(self.everything, most, restoring)
        return part


def opposite(legs: Legs) -> Legs:
    return {slot: -lots for slot, lots in legs.items()}
