"""Slices: the fewest lots of an account that, sold at the asking price, put it back above its buffer.

A slice runs along a path: one leg, the legs of one underlying, or everything in proportion; its size is counted in
lots of the path's largest leg, the others follow to the nearest lot. With the lots goes a share of the money: on the
path of everything the share of the lots, on the others the share of the account's need that they release: what it must
be worth to stand at maintenance. That is its maintenance margin, in formula models and the value of its options, which
their margin balance leaves out.
Whether a slice restores the account is found by margining what is left exactly. A leg whose sale does not lower the
requirement enough, because it hedges the others, restores nothing and is not sold by itself.

Of the paths that restore the account the one is taken that moves the least size at the index among those that take
about the least share of the money, unless the owner prefers another (`Unwind`); where none does, everything is for sale
in proportion.
"""

from enum import IntEnum
from typing import Any, NamedTuple

from exchange.config import Liquidation as Parameters

PPM = 1_000_000
MAX_LEG_PATHS = 8
"""Single legs looked at, the largest by size at the index."""
ABOUT_PPM = 100_000
"""Shares of the money that differ by no more than this part of the least count as the same."""


class Unwind(IntEnum):
    """What an owner would rather have sold."""

    SMALLEST = 0
    """The least size at the index of what costs about the least."""
    PROPORTIONAL = 1
    """A share of everything."""
    FUTURES_FIRST = 2
    """Futures and perpetuals, in proportion, where they suffice."""
    OPTIONS_FIRST = 3


class Path(NamedTuple):
    """The legs that are sold, in proportion to each other; `whole`: all there are."""

    instruments: tuple[int, ...]
    whole: bool


class Terms(NamedTuple):
    """What a sale is reckoned with: the price for all that remains in the entity's unit, the fee and the buffer."""

    price: int
    fee_ppm: int
    buffer_ppm: int
    move_ppm: int = 0
    """The buffer is at least what a move of this much costs of the net size of the futures that are left."""


class Slice(NamedTuple):
    """Signed lots by instrument, and the share of the money that goes with them."""

    legs: list[tuple[int, int]]
    share_ppm: int


def target_of(maintenance: int, net: int, terms: Terms) -> int:
    """Equity that restores: maintenance margin and the buffer; `net` is the net size of futures."""
    return max(maintenance * (PPM + terms.buffer_ppm) // PPM, maintenance + net * terms.move_ppm // PPM)


def closed_form_ppm(equity: int, maintenance: int, terms: Terms) -> int:
    """Share of everything that restores the buffer where the requirement is proportional: with T = maintenance x (1 +
    buffer), (T - equity) / (T - equity + price - fee), rounded up; everything where no share does.
    """
    missing = maintenance * (PPM + terms.buffer_ppm) // PPM - equity
    proceeds = terms.price - terms.price * terms.fee_ppm // PPM
    if terms.price <= 0 or missing + proceeds <= 0:
        return PPM
    return max(1, min(PPM, -(-missing * PPM // (missing + proceeds))))


class Seller:
    """One account as a slice is sought: what it holds, and its margins supposing that a slice were sold."""

    def __init__(self, desk: Any, account_id: int, entity: int, currency: int, terms: Terms) -> None:
        self.desk, self.account_id, self.entity, self.currency, self.terms = desk, account_id, entity, currency, terms
        self.held: dict[int, int] = dict(desk.held(account_id, entity))
        self.equities: list[tuple[int, int]] = desk.equities(account_id, entity)
        self.equity, _, self.maintenance = desk.margins(account_id, entity)
        self.need = self.maintenance + int(desk.worth(account_id, entity)) - self.equity

    def minor(self, amount: int) -> int:
        """The entity's unit as minor units of the auction's currency."""
        return int(self.desk.to_currency(self.currency, amount)) if self.desk.is_cross(self.account_id) else amount

    def size(self, path: Path) -> int:
        """Lots of the path's largest leg."""
        return max(abs(self.held[i]) for i in path.instruments)

    def lots(self, path: Path, count: int) -> list[tuple[int, int]]:
        """The legs of `count` lots of the largest: to the nearest lot, half up."""
        size = self.size(path)
        legs = []
        for instrument in path.instruments:
            held = self.held[instrument]
            part = (2 * abs(held) * count + size) // (2 * size)
            if part:
                legs.append((instrument, part if held > 0 else -part))
        return legs

    def at(self, path: Path, count: int) -> Slice:
        """The slice of `count` lots of the path's largest leg."""
        legs = self.lots(path, count)
        if path.whole:
            return Slice(legs, -(-count * PPM // self.size(path)))
        away = [(instrument, -lots) for instrument, lots in legs]
        equity, _, maintenance = self.desk.margins_with(self.account_id, self.entity, away, {})
        # at the mark a sale does not change what the account is worth
        released = max(0, self.maintenance - self.equity - maintenance + equity)
        return Slice(legs, min(PPM, -(-released * PPM // self.need)) if self.need > 0 else PPM)

    def payments(self, share_ppm: int) -> dict[int, int]:
        """What the account pays the buyer per currency: the share of its equity less the price."""
        parts = {currency: equity * share_ppm // PPM for currency, equity in self.equities}
        paid = self.minor(self.terms.price * share_ppm // PPM)
        parts[self.currency] = parts.get(self.currency, 0) - paid
        return parts

    def fee(self, share_ppm: int) -> int:
        """Of a sale, in minor units of the auction's currency."""
        return self.minor(max(self.terms.price, 0) * share_ppm // PPM * self.terms.fee_ppm // PPM)

    def restores(self, part: Slice) -> bool:
        """Whether what is left stands above its buffer, margined exactly; a unit to spare for each leg, whose funding
        is rounded when it is paid."""
        if part.share_ppm == 0:
            return False
        away = {currency: -amount for currency, amount in self.payments(part.share_ppm).items()}
        away[self.currency] -= self.fee(part.share_ppm)
        legs = [(instrument, -lots) for instrument, lots in part.legs]
        equity, _, maintenance = self.desk.margins_with(self.account_id, self.entity, legs, away)
        net = self.desk.futures_net(self.account_id, self.entity, legs) if self.terms.move_ppm else 0
        return bool(equity - len(legs) >= target_of(maintenance, net, self.terms))

    def needed(self, path: Path) -> int:
        """The fewest lots of the path's largest leg that restore the account, found by halving; 0 where none do."""
        size = self.size(path)
        if not self.restores(self.at(path, size)):
            return 0
        low, high = 0, size
        if path.whole:
            # the closed form is right to a lot where the requirement is proportional
            guess = -(-closed_form_ppm(self.equity, self.maintenance, self.terms) * size // PPM)
            for count in (guess - 1, guess + 1):
                if low < count < high:
                    low, high = (low, count) if self.restores(self.at(path, count)) else (count, high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.restores(self.at(path, middle)) else (middle, high)
        return high

    def within(self, path: Path, most_ppm: int) -> int:
        """The most lots of the path's largest leg whose share is at most `most_ppm`."""
        low, high = 0, self.size(path) + 1
        if path.whole:
            return (high - 1) * most_ppm // PPM
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(path, middle).share_ppm <= most_ppm else (low, middle)
        return low

    # ------------------------------------------------------------------ paths

    def everything(self) -> Path:
        """The path of all legs."""
        return Path(tuple(sorted(self.held)), True)

    def _notional(self, legs: list[tuple[int, int]]) -> int:
        return sum(int(self.desk.notional_e16(instrument, lots)) for instrument, lots in legs)

    def _candidates(self, unwind: int) -> list[Path]:
        everything = self.everything()
        if unwind == Unwind.PROPORTIONAL or len(self.held) == 1:
            return [everything]
        if unwind != Unwind.SMALLEST:
            options = unwind == Unwind.OPTIONS_FIRST
            kind = tuple(i for i in everything.instruments if self.desk.is_option(i) == options)
            return [Path(kind, False), everything] if 0 < len(kind) < len(self.held) else [everything]
        found = [everything]
        groups: dict[int, list[int]] = {}
        for instrument in everything.instruments:
            groups.setdefault(self.desk.instrument_underlying(instrument), []).append(instrument)
        if len(groups) > 1:
            found += [Path(tuple(group), False) for _, group in sorted(groups.items()) if len(group) > 1]
        largest = sorted(everything.instruments, key=lambda i: (-self._notional([(i, self.held[i])]), i))
        return found + [Path((instrument,), False) for instrument in largest[:MAX_LEG_PATHS]]

    def choose(self, unwind: int) -> Path:
        """The path that the owner prefers where it restores the account; else, of those that cost about the least share
        of the money, that of the least size at the index, the first of equals; everything where none restores."""
        found: list[tuple[int, int, Path]] = []
        for path in self._candidates(unwind) if self.held else ():
            count = self.needed(path)
            if count and unwind != Unwind.SMALLEST:
                return path
            if count:
                part = self.at(path, count)
                found.append((part.share_ppm, self._notional(part.legs), path))
        dearest = min((share for share, _, _ in found), default=0) * (PPM + ABOUT_PPM)
        about = [(size, path) for share, size, path in found if share * PPM <= dearest]
        return min(about, key=lambda one: one[0])[1] if about else self.everything()

    def cut(self, path: Path, most_ppm: int, restoring: bool) -> Slice | None:
        """The slice of a path that restores the account, or all of it, within a share; None where that is not a lot."""
        if not self.held:  # what there was has gone another way, and a debt that waits for the fund is left
            return None
        if not set(path.instruments) <= self.held.keys():
            path = self.everything()
        count = self.within(path, most_ppm)
        if restoring:
            needed = self.needed(path)
            if not needed and not path.whole:
                path = self.everything()
                count, needed = self.within(path, most_ppm), self.needed(path)
            count = min(count, needed or count)
        part = self.at(path, count) if count > 0 else None
        if (part is None or part.share_ppm == 0) and not path.whole:
            # so small a part of the path releases nothing
            return self.cut(self.everything(), most_ppm, restoring)
        return part


def terms_of(parameters: Parameters, price: int) -> Terms:
    """The terms of a sale at a price for all that remains."""
    return Terms(price, parameters.fee_ppm, parameters.buffer_ppm, parameters.buffer_move_ppm)
