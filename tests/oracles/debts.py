"""Naive interest on and conversion of cross accounts' debts. Rules: docs/margin.md, "Debts"."""

from fractions import Fraction
from math import ceil, floor

from exchange.events import BalanceCause, EventKind
from tests.oracles.account import Account
from tests.oracles.marking import Marking
from tests.oracles.state import State

HOUR_NS = 3_600 * 10**9


class Debts:
    """Looks at every account in every Tick."""

    def __init__(self, state: State, marking: Marking) -> None:
        self.state = state
        self.marking = marking
        self.hour = 0

    def tick(self) -> None:
        hours, self.hour = (
            (self.state.time_ns // HOUR_NS - self.hour if self.hour else 0),
            self.state.time_ns // HOUR_NS,
        )
        for _, account in sorted(self.state.accounts.items()):
            if account.model.startswith("cross") and min(account.cash) < 0 and not account.in_liquidation:
                said = len(self.state.events)
                for currency in range(len(account.cash)):
                    self.interest(account, currency, hours)
                for currency in range(len(account.cash)):
                    self.convert(account, currency)
                if len(self.state.events) > said:
                    self.state.check_level(account)

    def say(self, account: Account, currency: int, cause: BalanceCause, amount: int) -> None:
        self.state.emit(
            EventKind.BALANCE_CHANGED, account.account_id, currency=currency, cause=cause, instrument=0xFFFFFFFF,
            amount_minor=amount, balance_minor=account.cash[currency], reference=0,
        )  # fmt: skip

    def interest(self, account: Account, currency: int, hours: int) -> None:
        rate = Fraction(self.state.config.currencies[currency].debt_interest_ppm, 10**6 * 365 * 24)
        due = ceil(max(0, -account.cash[currency]) * rate * hours)
        if due:
            self.state.pay(account, "fees", 0, currency, -due)
            self.say(account, currency, BalanceCause.INTEREST, -due)

    def price(self, currency: int) -> Fraction | None:
        """1e-4 USD per minor unit, in steps of 2**-40; None without a fresh index."""
        c = self.state.config.currencies[currency]
        if c.underlying is None:
            return Fraction((1 << 40) // 10 ** (c.exponent - 4), 1 << 40)
        u = [one.name for one in self.state.config.underlyings].index(c.underlying)
        updated = self.marking.updated_ns[u]
        if updated is None or self.state.time_ns - updated > self.state.config.underlyings[u].mark_stale_ns:
            return None
        return Fraction(self.state.grids[u].coin_base_q40, 1 << 40)

    def convert(self, account: Account, currency: int) -> None:
        c = self.state.config.currencies[currency]
        price = self.price(currency)
        debt = -account.cash[currency]
        if not c.debt_limit_minor or debt <= c.debt_limit_minor or price is None:
            return
        share = Fraction(c.conversion_spread_ppm, 10**6)
        bought = 0
        for other, held in enumerate(account.cash):
            worth = self.price(other)
            if other == currency or held <= 0 or worth is None or bought == debt:
                continue
            want = debt - bought
            spent = ceil(want * price / worth)
            if spent + ceil(spent * share) > held:
                spent = floor(held / (1 + share))
                want = min(want, floor(spent * worth / price))
                fee = held - spent
            else:
                fee = ceil(spent * share)
            if want <= 0:
                continue
            self.state.pay(account, "outside", 0, other, -spent)
            self.state.pay(account, "outside", 0, currency, want)
            self.state.pay(account, "fees", 0, other, -fee)
            self.say(account, other, BalanceCause.CONVERSION, -spent - fee)
            bought += want
        if bought:
            self.say(account, currency, BalanceCause.CONVERSION, bought)
