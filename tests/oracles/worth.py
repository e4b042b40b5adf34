"""What entities of the naive venue are worth, and their money in other currencies. Rules: docs/liquidation.md.

An entity is a currency of an account, 0 for all of a cross account; its unit is a minor unit, where it is cross 1e-4
USD.
"""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from exchange.config import Liquidation
from tests.oracles.account import Account, Holding, accrued
from tests.oracles.margin import Margin
from tests.oracles.state import State

E8 = 10**8
PPM = 1_000_000


def is_cross(account: Account) -> bool:
    return account.model.startswith("cross")


class Worth:
    """Reads of a State."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.model = state.model

    def margin(self, account: Account, entity: int) -> Margin:
        """Of the positions alone."""
        return self.model.margin(account, entity, False)

    def currencies(self, account: Account, entity: int) -> list[int]:
        return list(range(len(account.cash))) if is_cross(account) else [entity]

    def held(self, account: Account, entity: int) -> dict[int, int]:
        """Lots by slot of the entity's positions, ascending."""
        mine = self.currencies(account, entity)
        found = {slot: h.lots for slot, h in sorted(account.holdings.items())}
        return {slot: lots for slot, lots in found.items() if lots and self.state.contracts[slot].currency in mine}

    def equities(self, account: Account, entity: int) -> dict[int, int]:
        """By currency, options included, where there is any."""
        found = {c: self.model.equity(account, c) for c in self.currencies(account, entity)}
        return {c: amount for c, amount in found.items() if amount}

    def options(self, account: Account, currency: int) -> int:
        held = ((self.state.contracts[slot], h.lots) for slot, h in account.holdings.items())
        return sum(lots * c.mark_minor for c, lots in held if c.is_option and c.currency == currency)

    def worth(self, account: Account, entity: int) -> int:
        """Equity at the marks, options included whatever the model."""
        if not is_cross(account):
            return self.model.equity(account, entity)
        total = self.margin(account, entity).equity
        if account.model == "cross_sm":
            total += sum(self.model.usd(c, self.options(account, c)) for c in range(len(account.cash)))
        return total

    def robust(self, account: Account, entity: int) -> int:
        """`worth` with perpetuals at the index."""
        total = self.worth(account, entity)
        for slot, lots in self.held(account, entity).items():
            c = self.state.contracts[slot]
            if c.spec.kind != "perpetual":
                continue
            index = self.state.index_e8[c.underlying]
            lot = -(c.lot_scale_minor * E8 // index) if c.spec.inverse else c.lot_scale_minor * index // E8
            premium = lots * (lot - c.mark_minor)
            total += self.model.usd(c.currency, premium) if is_cross(account) else premium
        return total

    def size_e16(self, slot: int, lots: int) -> int:
        """At the index, 1e-16 USD."""
        c = self.state.contracts[slot]
        dollars = c.spec.inverse and not c.is_option
        return abs(lots) * c.spec.lot_size_e8 * (E8 if dollars else self.state.index_e8[c.underlying])

    def target(self, account: Account, entity: int, terms: Liquidation) -> int:
        """Equity that restores: maintenance margin and a share of it, or what a move of the net futures costs."""
        need = self.margin(account, entity).maintenance
        net: dict[int, int] = {}
        for slot, lots in self.held(account, entity).items():
            c = self.state.contracts[slot]
            if not c.is_option:
                size = self.size_e16(slot, lots)
                net[c.underlying] = net.get(c.underlying, 0) + (size if lots > 0 else -size)
        dollars = sum(abs(size) for size in net.values()) // 10**12
        size = self.minor_of_usd(entity, dollars) if not is_cross(account) else dollars
        return need + max(need * terms.buffer_ppm // PPM, size * terms.buffer_move_ppm // PPM)

    # ------------------------------------------------------------------ currencies

    def dollar(self) -> int:
        """The first currency that is one, else the first of all."""
        return next((c for c, coin in enumerate(self.model.coin_of) if coin is None), 0)

    def price(self, currency: int) -> Fraction:
        """1e-4 USD per minor unit, in steps of 2**-40."""
        coin = self.model.coin_of[currency]
        if coin is None:
            return Fraction((1 << 40) // self.model.unit[currency], 1 << 40)
        return Fraction(self.model.grids[coin].coin_base_q40, 1 << 40)

    def changed(self, source: int, target: int, amount: int, up: bool = False) -> int:
        """An amount of one currency in another at the index."""
        exact = amount * self.price(source) / self.price(target)
        return ceil(exact) if up else floor(exact)

    def minor(self, account: Account, currency: int, amount: int) -> int:
        """The entity's unit in minor units of a currency, away from zero."""
        return self.minor_of_usd(currency, amount) if is_cross(account) else amount

    def minor_of_usd(self, currency: int, amount: int) -> int:
        """1e-4 USD in minor units, away from zero."""
        coin = self.model.coin_of[currency]
        per = 1 / self.price(currency) if coin is not None else Fraction(self.model.unit[currency])
        return ceil(amount * per) if amount >= 0 else floor(amount * per)

    def remainder(self, account: Account, entity: int, currency: int) -> int:
        """All that there is as one currency, each other rounded down."""
        found = self.equities(account, entity).items()
        return sum(amount if c == currency else self.changed(c, currency, amount) for c, amount in found)

    # ------------------------------------------------------------------ supposing

    def supposing(self, account: Account, legs: dict[int, int], paid: dict[int, int]) -> Account:
        """The account once it has taken signed lots at the mark and was paid; its orders stand."""
        holdings, cash = {slot: replace(h) for slot, h in account.holdings.items()}, list(account.cash)
        made = replace(account, cash=cash, holdings=holdings)
        for slot, lots in legs.items():
            c = self.state.contracts[slot]
            h = holdings.setdefault(slot, Holding(funding_entry=c.funding_index))
            cash[c.currency] += accrued(c, h)
            h.funding_entry = c.funding_index
            h.lots += lots
            if c.is_option:
                cash[c.currency] -= lots * c.mark_minor
            else:
                h.cost += lots * c.mark_minor
        for currency, amount in paid.items():
            cash[currency] += amount
        return made
