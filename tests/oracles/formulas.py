"""Naive formula margin (the `_sm` models) in Python integers: every figure from positions and orders, nothing kept."""

from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from tests.oracles.account import Account, Holding, accrued
from tests.oracles.book import BUY, Order
from tests.oracles.contract import E8, PPM, Contract, ceil_div

if TYPE_CHECKING:
    from tests.oracles.margin import MarginModel


def is_formula(model: str) -> bool:
    return model.endswith("_sm") or model == "isolated"


class Formulas:
    """Balances and requirements of formula accounts, by currency."""

    def __init__(self, model: "MarginModel") -> None:
        self.model = model

    def parameters(self, c: Contract):
        return self.model.config.underlyings[c.underlying].standard

    def index_e8(self, c: Contract) -> int:
        return self.model.index_e8[c.underlying]

    # ------------------------------------------------------------------ one position

    def future(self, c: Contract, lots: int, rate_ppm: int) -> int:
        """Value at the mark times a rate that grows with the size in coins, at most the value."""
        lots = abs(lots)
        size_e8 = lots * c.spec.lot_size_e8
        if c.spec.inverse:
            size_e8 = ceil_div(size_e8 * E8, self.index_e8(c))
        rate_e12 = rate_ppm * PPM + ceil_div(size_e8 * self.parameters(c).per_coin_ppm, 100)
        return ceil_div(lots * abs(c.mark_minor) * min(rate_e12, 10**12), 10**12)

    def isolated(self, c: Contract, lots: int, leverage_e2: int | None) -> int:
        """Initial margin at a leverage; maintenance (None): each part of the notional at the rate of its own tier."""
        tiers = self.model.config.underlyings[c.underlying].isolated.tiers
        exponent = self.model.config.currencies[c.currency].exponent
        usd = Fraction(abs(lots) * c.spec.lot_size_e8, E8)
        if not c.spec.inverse:
            usd = Fraction(abs(lots) * abs(c.mark_minor), 10**exponent)
        step = E8 if c.spec.inverse else 10**exponent
        if leverage_e2 is None:
            ends = [tier.above_usd for tier in tiers[1:]] + [usd]
            parts = [
                max(0, min(usd, end) - tier.above_usd) * Fraction(tier.maintenance_ppm, PPM)
                for tier, end in zip(tiers, ends, strict=True)
            ]
            need = ceil(sum(parts) * step)
        else:
            rate = [tier.initial_ppm for tier in tiers if tier.above_usd <= usd][-1]
            need = max(ceil(usd * rate / PPM * step), ceil(usd * 100 / leverage_e2 * step))
        return ceil_div(need * 10**exponent, c.mark_price_e8) if c.spec.inverse else need

    def short_option(self, c: Contract) -> tuple[int, int]:
        """(initial, maintenance) of one short lot."""
        p, index = self.parameters(c), self.index_e8(c)
        coin = c.lot_scale_minor if c.spec.inverse else ceil_div(c.lot_scale_minor * index, E8)
        call = c.spec.option_type == "call"
        out_of_money = max(0, c.spec.strike_e8 - index if call else index - c.spec.strike_e8)
        share = max(p.short_initial_ppm * 1000 - out_of_money * 10**9 // index, p.short_floor_ppm * 1000)
        maintenance = ceil_div(coin * p.short_maintenance_ppm, PPM)
        if not call:
            maintenance = max(maintenance, ceil_div(c.mark_minor * p.put_mark_ppm, PPM))
        maintenance += c.mark_minor
        return max(ceil_div(coin * share, 10**9) + c.mark_minor, maintenance), maintenance

    def most_to_lose(self, expiry: list[tuple[Contract, int]]) -> int | None:
        """Largest loss by payoff at expiry, None where there is no bound."""
        if sum(lots for c, lots in expiry if c.spec.option_type == "call") < 0:
            return None

        def payoff(price: int) -> int:
            total = 0
            for c, lots in expiry:
                inside = price - c.spec.strike_e8 if c.spec.option_type == "call" else c.spec.strike_e8 - price
                total += max(0, inside) * lots * c.lot_scale_minor // E8
            return total

        return max(0, *(-payoff(price) for price in (0, *(c.spec.strike_e8 for c, _ in expiry))))

    def options(self, held: list[tuple[Contract, int]], which: int) -> int:
        """All options, `which` 0 initial, 1 maintenance."""
        groups: dict[tuple, list[tuple[Contract, int]]] = {}
        for c, lots in held:
            if c.is_option:
                groups.setdefault((c.chain, c.spec.expiry_ns), []).append((c, lots))
        total = 0
        for group in groups.values():
            alone = sum(-lots * self.short_option(c)[which] for c, lots in group if lots < 0)
            if alone and not group[0][0].spec.inverse:
                bound = self.most_to_lose(group)
                alone = alone if bound is None else min(alone, bound)
            total += alone
        return total

    def share_cap(self, c: Contract, other: Contract) -> bool:
        """Whether two instruments are linear options of one expiry."""
        linear = c.is_option and other.is_option and not c.spec.inverse
        return linear and c.chain == other.chain and c.spec.expiry_ns == other.spec.expiry_ns

    # ------------------------------------------------------------------ an account

    def order_cost(self, order: Order) -> int:
        """What an order's fill may cost in cash: a premium, or what it loses against the mark; and the taker fee."""
        c = self.model.contracts[order.instrument]
        lots = order.remaining_lots
        cost, fee = c.fill(order.price_units, lots, True, self.index_e8(c))
        if c.is_option:
            return max(0, (cost if order.side == BUY else 0) + fee)
        if c.legs and c.legs[0][0].is_option:
            return max(0, cost if order.side == BUY else -cost) + fee
        against = cost - lots * c.mark_minor
        return max(0, (against if order.side == BUY else -against) + fee)

    def currency(self, account: Account, currency: int, orders: Iterable[Order]) -> tuple[int, int, int, int]:
        """(balance, initial, maintenance, what orders may cost in cash) in minor units."""
        contracts = self.model.contracts
        moves = [
            (part.slot, lots)
            for o in orders
            for part, lots in contracts[o.instrument].parts(o.remaining_lots if o.side == BUY else -o.remaining_lots)
        ]
        mine = [o for o in orders if contracts[o.instrument].currency == currency]
        slots = sorted({*account.holdings, *(slot for slot, _ in moves)})
        balance, maintenance = account.cash[currency], 0
        initial, cost = 0, sum(self.order_cost(o) for o in mine)
        alone, worst = [], []
        for slot in slots:
            c = contracts[slot]
            if c.currency != currency:
                continue
            holding = account.holdings.get(slot, Holding())
            buys = sum(lots for moved, lots in moves if moved == slot and lots > 0)
            sells = -sum(lots for moved, lots in moves if moved == slot and lots < 0)
            if c.is_option:
                alone.append((c, holding.lots))
                worst.append((c, holding.lots - sells))
                continue
            balance += holding.lots * c.mark_minor - holding.cost + accrued(c, holding)
            p = self.parameters(c)
            ends = (holding.lots + buys, holding.lots - sells)
            if account.holder:
                maintenance += self.isolated(c, holding.lots, None)
                initial += max(self.isolated(c, lots, account.leverage_e2) for lots in ends)
                continue
            maintenance += self.future(c, holding.lots, p.future_maintenance_ppm)
            initial += max(self.future(c, lots, p.future_initial_ppm) for lots in ends)
        return balance, initial + self.options(worst, 0), maintenance + self.options(alone, 1), cost

    def entity(self, account: Account, currency: int, orders: Iterable[Order]) -> tuple[int, int, int]:
        orders = list(orders)
        if not account.model.startswith("cross"):
            balance, need, keep, cost = self.currency(account, currency, orders)
            return balance, need + cost, keep
        equity = initial = maintenance = 0
        for c in range(len(account.cash)):
            balance, need, keep, cost = self.currency(account, c, orders)
            held, left = (self.model.collateral(c, self.model.usd(c, value)) for value in (balance, balance - cost))
            equity += held
            initial += held - left - self.model.usd(c, -need)
            maintenance -= self.model.usd(c, -keep)
        return equity, initial, maintenance

    def lane_allows(self, account: Account, order: Order, others: Iterable[Order]) -> bool:
        """Only taking off a position, the requirement falling by what the fills may cost: alone, and with its like."""
        c = self.model.contracts[order.instrument]
        holding = account.holdings.get(order.instrument, Holding())
        sign = 1 if order.side == BUY else -1
        before = self.entity(account, c.currency, ())[1]
        same = [o for o in others if o.instrument == order.instrument and o.side == order.side]
        if any(self.share_cap(c, self.model.contracts[o.instrument]) for o in others if o not in (order, *same)):
            return False
        for filled in ([order], [order, *same]):
            lots = sum(o.remaining_lots for o in filled)
            if lots > -sign * holding.lots:
                return False
            left = Holding(holding.lots + sign * lots, holding.cost, holding.funding_entry)
            trial = Account(**(vars(account) | {"holdings": {**account.holdings, order.instrument: left}}))
            cost = sum(self.order_cost(o) for o in filled)
            if account.model.startswith("cross"):
                cost = ceil_div(
                    -self.model.usd(c.currency, -cost) * self.model.config.currencies[c.currency].debt_ppm, PPM
                )
            if self.entity(trial, c.currency, ())[1] + cost > before:
                return False
        return True
