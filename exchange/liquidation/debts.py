"""Debts of cross accounts that are not in liquidation: interest by the hour, conversion above a limit.

A debt is a negative balance in one currency, covered by collateral in others through haircuts. Rules and formulas:
docs/margin.md, "Debts". Everything happens in Ticks, ascending account, then currency; by default nothing does.
"""

from collections.abc import Sequence
from typing import Any

from exchange.config import Currency
from exchange.events import BalanceCause

PPM = 1_000_000
HOUR_NS = 3_600 * 10**9
HOURS_PER_YEAR = 8_760


class Debts:
    """Charges and converts. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any, currencies: Sequence[Currency]) -> None:
        self.desk = desk
        self.currencies = currencies
        self.charged_hour = 0
        self.configured = any(c.debt_interest_ppm or c.debt_limit_minor for c in currencies)

    def tick(self, now: int) -> None:
        """Interest of the full hours that have passed, then conversions."""
        if not self.configured:
            return
        hour = now // HOUR_NS
        hours = hour - self.charged_hour if self.charged_hour else 0
        self.charged_hour = hour
        for account_id in self.desk.debtors():
            changed = self._charge(account_id, hours)
            for currency in range(len(self.currencies)):
                changed = self._convert(account_id, currency, now) or changed
            if changed:
                self.desk.after(account_id)

    def _charge(self, account_id: int, hours: int) -> bool:
        """Interest on every debt, rounded up to a minor unit."""
        charged = False
        for currency, terms in enumerate(self.currencies):
            debt = -self.desk.cash(account_id, currency)
            due = -(-max(0, debt) * terms.debt_interest_ppm * hours // (PPM * HOURS_PER_YEAR))
            if due:
                self.desk.pay_fees(account_id, currency, due)
                self.desk.emit_balance(account_id, currency, BalanceCause.INTEREST, -due)
                charged = True
        return charged

    def _convert(self, account_id: int, currency: int, now: int) -> bool:
        """Buy what is owed in a currency, where that is above its limit, out of the others in the configuration's
        order; what has no fresh index neither buys nor is bought."""
        terms = self.currencies[currency]
        debt = -self.desk.cash(account_id, currency)
        if terms.debt_limit_minor == 0 or debt <= terms.debt_limit_minor or not self.desk.priced(currency, now):
            return False
        owed = debt
        for other in range(len(self.currencies)):
            held = self.desk.cash(account_id, other)
            if owed and other != currency and held > 0 and self.desk.priced(other, now):
                owed -= self._buy(account_id, currency, other, owed, held, terms.conversion_spread_ppm)
        if owed == debt:
            return False
        self.desk.emit_balance(account_id, currency, BalanceCause.CONVERSION, debt - owed)
        return True

    def _buy(self, account_id: int, currency: int, other: int, wanted: int, held: int, spread_ppm: int) -> int:
        """Buy at most `wanted` for at most `held` of another currency; how much that was."""
        spent = self.desk.converted_up(currency, other, wanted)
        spread = -(-spent * spread_ppm // PPM)
        bought = wanted
        if spent + spread > held:
            spent = held * PPM // (PPM + spread_ppm)
            spread = held - spent
            bought = min(wanted, self.desk.converted(other, currency, spent))
        if bought <= 0:
            return 0
        self.desk.exchange(account_id, other, -spent, currency, bought)
        self.desk.pay_fees(account_id, other, spread)
        self.desk.emit_balance(account_id, other, BalanceCause.CONVERSION, -spent - spread)
        return bought

    def export(self) -> list[Any]:
        """Canonical state: nothing where nothing is configured."""
        return [self.charged_hour] if self.configured else []
