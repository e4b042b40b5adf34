"""The naive slice: every count of lots of every path tried, what is left margined by the naive model.

Rules: docs/liquidation.md. A path is (legs, everything or not); its slice of n lots takes n / largest of each leg to
the nearest lot, half up, and a share of the equity: of everything the share of the lots, else that of what the account
must be worth to stand at maintenance. Shares are in parts per million, rounded up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

from tests.oracles.account import Account
from tests.oracles.margin import Margin
from tests.oracles.state import State, copy_of
from tests.oracles.worth import Worth

PPM = 1_000_000
Legs = dict[int, int]


@dataclass(frozen=True)
class Found:
    """A slice that restores while one lot less of its largest leg does not."""

    legs: Legs
    share_ppm: int
    size: int
    """At the index, 1e-16 USD."""


class NaiveSlices:
    """Slices of one account at an asking price for all that remains, in the entity's unit."""

    def __init__(self, state: State, account: Account, entity: int, price: int, paid_in: int) -> None:
        self.state, self.account, self.entity, self.price, self.paid_in = state, account, entity, price, paid_in
        self.rules = state.config.liquidation
        self.cross = account.model.startswith("cross")
        self.held = {
            slot: h.lots
            for slot, h in account.holdings.items()
            if h.lots and (self.cross or state.contracts[slot].currency == entity)
        }

    def margin(self, account: Account) -> Margin:
        """Of the positions alone."""
        return self.state.model.margin(account, self.entity, False)

    def without(self, legs: Legs, paid: dict[int, int]) -> Account:
        """The account once it has sold the legs at the mark and has paid."""
        left = copy_of(self.account)
        for slot, lots in legs.items():
            contract, held = self.state.contracts[slot], left.holdings[slot]
            held.lots -= lots
            if contract.is_option:
                left.cash[contract.currency] += lots * contract.mark_minor
            else:
                held.cost -= lots * contract.mark_minor
        for currency, amount in paid.items():
            left.cash[currency] -= amount
        return left

    def minor(self, amount: int) -> int:
        """What is paid in the auction's currency, away from zero."""
        if not self.cross:
            return amount
        coin = self.state.model.coin_of[self.paid_in]
        sign = -1 if amount < 0 else 1
        if coin is None:
            return amount * self.state.model.unit[self.paid_in]
        return sign * -((-abs(amount) << 40) // self.state.model.grids[coin].coin_base_q40)

    def legs(self, path: Legs, count: int) -> Legs:
        largest = max(abs(lots) for lots in path.values())
        parts = {slot: floor((2 * abs(lots) * count + largest) / (2 * largest)) for slot, lots in path.items()}
        return {slot: part if path[slot] > 0 else -part for slot, part in parts.items() if part}

    def share(self, path: Legs, count: int, whole: bool) -> int:
        """In ppm."""
        if whole:
            return ceil(count * PPM / max(abs(lots) for lots in path.values()))
        before, left = self.margin(self.account), self.margin(self.without(self.legs(path, count), {}))
        worth = Worth(self.state).worth(self.account, self.entity)
        need, after = (worth + m.maintenance - m.equity for m in (before, left))
        return min(PPM, -(-max(0, need - after) * PPM // need)) if need > 0 else PPM

    def restores(self, legs: Legs, share: int) -> bool:
        """What is left reaches the buffer, a unit per leg to spare."""
        paid = {c: self.equity(c) * share // PPM for c in self.currencies() if self.equity(c)}
        taken = self.minor(self.price * share // PPM)
        fee = self.minor(self.price * share // PPM * self.rules.fee_ppm // PPM)
        paid[self.paid_in] = paid.get(self.paid_in, 0) - taken + fee
        left = self.margin(self.without(legs, paid))
        return share > 0 and left.equity - len(legs) >= left.maintenance * (PPM + self.rules.buffer_ppm) // PPM

    def currencies(self) -> list[int]:
        return list(range(len(self.account.cash))) if self.cross else [self.entity]

    def equity(self, currency: int) -> int:
        """With options, whatever the model."""
        return self.state.model.equity(self.account, currency)

    def edges(self, path: Legs, whole: bool) -> Iterator[Found]:
        """Where along a path the account is restored and was not a lot before."""
        before = False
        for count in range(1, max(abs(lots) for lots in path.values()) + 1):
            legs, share = self.legs(path, count), self.share(path, count, whole)
            now = self.restores(legs, share)
            if now and not before:
                yield Found(legs, share, sum(self.size(slot, lots) for slot, lots in legs.items()))
            before = now

    def size(self, slot: int, lots: int) -> int:
        contract = self.state.contracts[slot]
        spec = contract.spec
        index = self.state.index_e8[contract.underlying]
        return abs(lots) * spec.lot_size_e8 * (10**8 if spec.inverse and not contract.is_option else index)

    def paths(self) -> Iterator[tuple[Legs, bool]]:
        """Everything, the legs of each underlying, each leg."""
        yield self.held, True
        if len(self.held) == 1:
            return
        underlyings = sorted({self.state.contracts[slot].underlying for slot in self.held})
        for underlying in underlyings if len(underlyings) > 1 else ():
            group = {s: lots for s, lots in self.held.items() if self.state.contracts[s].underlying == underlying}
            if len(group) > 1:
                yield group, False
        for slot, lots in self.held.items():
            yield {slot: lots}, False

    def restoring(self) -> list[list[Found]]:
        """Of each path whose last lot restores, the slices that a search by halving may stop at."""
        found = []
        for path, whole in self.paths():
            count = max(abs(lots) for lots in path.values())
            if self.restores(self.legs(path, count), self.share(path, count, whole)):
                found.append(list(self.edges(path, whole)))
        return found
