"""Naive portfolio margin in Python integers: every figure from positions and orders, nothing kept.

Per underlying and settlement currency ("chain"), scenario j has the P&L of the positions, sum of lots x row,
and what open orders could take away at most. A segregated account has one requirement per currency, in its
minor units (USD currencies: 1e-4 USD scaled up), a cross account one in 1e-4 USD with each currency's net value
haircut once.
"""

from collections.abc import Callable, Iterable
from operator import add, sub
from typing import NamedTuple

from exchange.config import Config
from exchange.parameters_span import SpanCredits
from tests.oracles import span, span_credits
from tests.oracles.account import Account, holding_value
from tests.oracles.beyond import any_soon, risk_beyond
from tests.oracles.book import BUY, Order
from tests.oracles.charges import Charges
from tests.oracles.contract import PPM, Contract, ceil_div
from tests.oracles.formulas import Formulas, is_formula
from tests.oracles.grid import Grid, usd_of_coin
from tests.oracles.grid_charges import GridCharges, slippage
from tests.oracles.protection import Group, Key
from tests.oracles.risk import Risk
from tests.oracles.span import Part
from tests.oracles.span_grid import SpanGrid

CROSS = "cross_pm"


class Margin(NamedTuple):
    """Of one entity, in minor units of its currency, or 1e-4 USD."""

    equity: int
    initial: int
    maintenance: int


OrderRule = Callable[[Risk, Order], None]


class MarginModel(GridCharges):
    """Requirements of accounts at the marks that contracts and grids carry."""

    def __init__(self, config: Config, contracts: dict[int, Contract], grids: list[Grid], index_e8: list[int]) -> None:
        self.config = config
        self.contracts = contracts
        self.grids = grids
        self.index_e8 = index_e8
        self.time_ns = [0] * len(grids)
        names = [u.name for u in config.underlyings]
        self.coin_of = [names.index(c.underlying) if c.underlying else None for c in config.currencies]
        self.unit = [1 if c.underlying else 10 ** (c.exponent - 4) for c in config.currencies]
        self.size = len(grids[0].columns)
        self.formulas = Formulas(self)
        self.beside = Charges(self)
        self.groups: dict[Key, Group] = {}
        self.excluded = 0  # of the last requirement under span16: option value that ratios leave out
        self.names = names
        self.credits = config.span_credits if isinstance(config.span_credits, SpanCredits) else None
        self.calendars = {u: span.Calendar(g.span) for u, g in enumerate(grids) if isinstance(g, SpanGrid)}

    # ------------------------------------------------------------------ one account, one chain

    def rows(self, account: Account, contract: Contract) -> list[int]:
        """The row in the account's numeraire: the coin in coin currencies of a segregated account, else USD."""
        coin = account.model != CROSS and self.coin_of[contract.currency] is not None
        return contract.rows_coin if coin else contract.rows_usd

    def risks(
        self, account: Account, orders: Iterable[Order], rule: OrderRule, currency: int | None = None
    ) -> dict[tuple[int, int], Risk]:
        """By chain, of one currency where given: the positions, and `orders` by `rule`."""
        found: dict[tuple[int, int], Risk] = {}
        for slot, holding in account.holdings.items():
            contract = self.contracts[slot]
            if holding.lots == 0 or currency not in (None, contract.currency):
                continue
            risk = found.setdefault(contract.chain, Risk(self.size))
            lots = holding.lots
            risk.pnl = [p + lots * r for p, r in zip(risk.pnl, self.rows(account, contract), strict=True)]
            expiry = contract.spec.expiry_ns
            risk.delta[expiry] = risk.delta.get(expiry, 0) + lots * contract.charged_e10
            risk.held_lots += abs(lots)
            risk.held[slot] = lots
        for order in orders:
            contract = self.contracts[order.instrument]
            if order.remaining_lots and currency in (None, contract.currency):
                rule(found.setdefault(contract.chain, Risk(self.size)), order)
        for chain, risk in found.items():
            usd = account.model == CROSS or self.coin_of[chain[1]] is None
            for number, quotes in risk.quotes.items():
                self.cap(account.account_id, usd, chain, risk, number, quotes)
        return found

    def counted(self, account: Account) -> OrderRule:
        """Open orders: adverse P&L from the mark in each scenario, slippage and fee apart, a unit per lot."""

        def rule(risk: Risk, order: Order) -> None:
            rival = self.rival(account, order)
            if rival is None:
                alone(risk, order)
            elif rival.order_id > order.order_id:
                either = [Risk(self.size), Risk(self.size)]
                alone(either[0], order)
                alone(either[1], rival)
                risk.add_worse(*either)

        def alone(risk: Risk, order: Order) -> None:
            contract = self.contracts[order.instrument]
            lots = order.remaining_lots
            signed = lots if order.side == BUY else -lots
            into = self.quotes_of(account.account_id, risk, order) or risk
            moves = zip(into.hurt, self.rows(account, contract), strict=True)
            into.hurt = [h + min(0, signed * r) for h, r in moves]
            if isinstance(self.grids[contract.underlying], SpanGrid):
                more = span_credits.beyond_of([signed * r for r in self.rows(account, contract)])
                into.beyond = [b + max(0, m) for b, m in zip(into.beyond, more, strict=True)]
            for part, moved in contract.parts(signed):
                into.add_delta(part.spec.expiry_ns, moved * part.charged_e10)
            risk.order_cost += max(0, slippage(contract, order, self.index_e8[contract.underlying]))
            risk.open_lots += sum(abs(moved) for _, moved in contract.parts(lots))
            risk.add_options(contract.parts(signed))
            risk.ordered = True

        return rule

    def rival(self, account: Account, order: Order) -> Order | None:
        """The other order of a one-cancels-other, where one alone can trade whole and both are open in one chain."""
        other = account.orders.get(order.linked_order_id)
        if not other or other.linked_order_id != order.order_id or other.both_count or not other.remaining_lots:
            return None
        same = self.contracts[other.instrument].chain == self.contracts[order.instrument].chain
        return other if same else None

    def taken(self, account: Account, order: Order) -> list[int]:
        """What a fill loses against the mark, in row units of each scenario."""
        contract = self.contracts[order.instrument]
        lost = slippage(contract, order, self.index_e8[contract.underlying])
        if account.model == CROSS and self.coin_of[contract.currency] is not None:
            return [-usd_of_coin(-lost, price) for price in self.grids[contract.underlying].coin_price_q40]
        units = abs(lost) // self.unit[contract.currency]
        return [(units if lost > 0 else -units) + 1] * self.size

    def lane(self, account: Account) -> OrderRule:
        """Risk-reducing orders: the whole value of the fill, slippage and fee in it, where it hurts."""

        def rule(risk: Risk, order: Order) -> None:
            contract = self.contracts[order.instrument]
            signed = order.remaining_lots if order.side == BUY else -order.remaining_lots
            terms = zip(risk.hurt, self.rows(account, contract), self.taken(account, order), strict=True)
            risk.hurt = [h + min(0, signed * r - t) for h, r, t in terms]
            risk.ordered = True
            risk.add_options(contract.parts(signed))
            for part, moved in contract.parts(signed):
                risk.add_delta(part.spec.expiry_ns, moved * part.charged_e10)

        return rule

    # ------------------------------------------------------------------ entities

    def equity(self, account: Account, currency: int) -> int:
        """Cash and the value of everything settled in the currency."""
        held = ((self.contracts[slot], h) for slot, h in account.holdings.items())
        return account.cash[currency] + sum(holding_value(c, h) for c, h in held if c.currency == currency)

    def margin(self, account: Account, currency: int, with_orders: bool) -> Margin:
        """Of the entity that a currency belongs to."""
        self.excluded = 0
        orders = account.orders.values() if with_orders else ()
        if is_formula(account.model):
            return Margin(*self.formulas.entity(account, currency, orders))
        rule = self.counted(account)
        if account.model == CROSS:
            return self._cross(account, orders, rule)
        return self._segregated(account, currency, orders, rule)

    def lane_allows(self, account: Account, order: Order, others: Iterable[Order]) -> bool:
        """Whether the order with the account's other risk-reducing orders can never raise the requirement."""
        currency = self.contracts[order.instrument].currency
        if is_formula(account.model):
            return self.formulas.lane_allows(account, order, others)
        alone = self.margin(account, currency, False)
        rule = self.lane(account)
        underlying, own = self.contracts[order.instrument].chain
        together = [order]
        for other in others:
            moved, settlement = self.contracts[other.instrument].chain
            if moved == underlying and (account.model == CROSS or settlement == own):
                together.append(other)
        self.beside.lane = True
        if account.model == CROSS:
            found = self._cross(account, together, rule)
        else:
            found = self._segregated(account, currency, together, rule)
        self.beside.lane = False
        return found.initial <= alone.initial

    def _lot_units(self, underlying: int) -> tuple[int, int]:
        """Rounding units a lot of (maintenance, initial): a factor above one carries a row's rounding along."""
        p = self.grids[underlying].parameters
        return max(1, ceil_div(p.maintenance_factor_ppm, PPM)), max(1, ceil_div(p.initial_factor_ppm, PPM))

    def _factors(self, underlying: int, alone: int, whole: int) -> tuple[int, int]:
        p = self.grids[underlying].parameters
        return ceil_div(alone * p.maintenance_factor_ppm, PPM), ceil_div(whole * p.initial_factor_ppm, PPM)

    def _chain_figures(self, underlying: int, coin: bool, risk: Risk) -> tuple[list[list[int]], list[int]]:
        """(losses by column, charges on deltas) without and, where there are any, with orders."""
        losses, charges = [], []
        for ordered in (False, True) if risk.ordered else (False,):
            charge = self.charges(underlying, [risk], [ordered])
            charges.append(charge if coin else self.charges_usd(underlying, charge))
            losses.append([-(p + (h if ordered else 0)) for p, h in zip(risk.pnl, risk.hurt, strict=True)])
        return losses, charges

    def _chain_need(
        self, account: Account, orders: Iterable[Order], chain: tuple[int, int], risk: Risk,
        losses: list[list[int]], charges: list[int],
    ) -> tuple[int, int]:  # fmt: skip
        """(initial, maintenance) of a chain in row units, without what orders may cost."""
        underlying, currency = chain
        grid = self.grids[underlying]
        dampener = grid.dampener_coin if self.coin_of[currency] is not None else grid.dampener_usd
        counted = ((), orders)[: len(losses)]
        rivals = [max(self.beside.rival(account, some, underlying, currency)) for some in counted]
        sums = [max(r, *map(sub, v, dampener)) + c for v, c, r in zip(losses, charges, rivals, strict=True)]
        held, whole = self._factors(underlying, sums[0], sums[-1])
        added = self.beside.sums(account, orders, underlying, currency)
        more, most = self._lot_units(underlying)
        return whole + (risk.held_lots + risk.open_lots) * most + added[0], held + risk.held_lots * more + added[1]

    def _segregated(self, account: Account, currency: int, orders: Iterable[Order], rule: OrderRule) -> Margin:
        coin = self.coin_of[currency] is not None
        unit = self.unit[currency]
        initial = maintenance = 0
        parts: list[Part] = []
        for (underlying, _), risk in self.risks(account, orders, rule, currency).items():
            grid = self.grids[underlying]
            losses, charges = self._chain_figures(underlying, coin, risk)
            initial += risk.order_cost
            if isinstance(grid, SpanGrid):
                more = span_credits.of_chain(risk) if risk.ordered and not self.beside.lane else None
                crowd = [self.beside.crowd(account, some, underlying, currency) for some in ((), orders)]
                part = self.span_part(underlying, {currency: risk}, losses, charges, crowd, coin, unit, beyond=more)
                parts.append(part)
                continue
            need = self._chain_need(account, orders, (underlying, currency), risk, losses, charges)
            if any_soon(self, account, orders, underlying, currency):
                later = risk_beyond(self, account, orders, (underlying, currency), risk)
                figures = self._chain_figures(underlying, coin, later)
                self.beside.beyond = True
                beyond = self._chain_need(account, orders, (underlying, currency), later, *figures)
                self.beside.beyond = False
                need = max(need[0], beyond[0]), max(need[1], beyond[1])
            initial, maintenance = initial + need[0] * unit, maintenance + need[1] * unit
        self.excluded = unit * sum(max(0, part.alone.value) for part in parts)
        more = span.total(self.credits, self.names, parts)
        return Margin(self.equity(account, currency), initial + more[0] * unit, maintenance + more[1] * unit)

    def usd(self, currency: int, minor: int) -> int:
        """Minor units in 1e-4 USD at the index, rounded down."""
        coin = self.coin_of[currency]
        if coin is None:
            return minor // self.unit[currency]
        return usd_of_coin(minor, self.grids[coin].coin_base_q40)

    def collateral(self, currency: int, usd: int) -> int:
        """Haircut of a positive net value, surcharge on a debt."""
        c = self.config.currencies[currency]
        return usd - ceil_div(usd * c.haircut_ppm, PPM) if usd >= 0 else usd * c.debt_ppm // PPM

    def _cross(self, account: Account, orders: Iterable[Order], rule: OrderRule) -> Margin:
        equity = [self.equity(account, c) for c in range(len(self.unit))]
        base = [self.collateral(c, self.usd(c, value)) for c, value in enumerate(equity)]
        risks = self.risks(account, orders, rule)
        costs = [sum(r.order_cost for (_, settled), r in risks.items() if settled == c) for c in range(len(self.unit))]
        after = [value - cost for value, cost in zip(equity, costs, strict=True)]
        left = [self.collateral(c, self.usd(c, value)) for c, value in enumerate(after)]
        initial, maintenance = sum(base) - sum(left), 0
        parts: list[Part] = []
        for u in range(len(self.grids)):
            own = {c: Risk(self.size) for c, coin in enumerate(self.coin_of) if coin == u and (equity[c] or after[c])}
            mine = own | {c: risk for (underlying, c), risk in risks.items() if underlying == u}
            worth = [(equity, base), (after, left)][: 2 if any(r.ordered for r in risks.values()) else 1]
            losses, charges = self._underlying_figures(u, mine, worth)
            if isinstance(self.grids[u], SpanGrid):
                rests = [self.rest(held, risks, place > 0) for place, (held, _) in enumerate(worth)]
                ordered = len(worth) > 1 and not self.beside.lane
                more = span_credits.of_cross(self, u, mine, after) if ordered else None
                crowd = [self.beside.crowd(account, some, u, None) for some in ((), orders)]
                parts.append(self.span_part(u, mine, losses, charges, crowd, False, 0, rests, more))
                continue
            need = self._underlying_need(account, orders, u, mine, worth, losses, charges)
            if any_soon(self, account, orders, u, None):
                later = {c: risk_beyond(self, account, orders, (u, c), risk) for c, risk in mine.items()}
                later = {c: r for c, r in later.items() if c in own or r.held_lots or r.ordered or self.coin_of[c] == u}
                figures = self._underlying_figures(u, later, worth)
                self.beside.beyond = True
                beyond = self._underlying_need(account, orders, u, later, worth, *figures)
                self.beside.beyond = False
                need = max(need[0], beyond[0]), max(need[1], beyond[1])
            initial, maintenance = initial + need[0], maintenance + need[1]
        self.excluded = sum(max(0, part.alone.value) for part in parts)
        more = span.total(self.credits, self.names, parts)
        return Margin(sum(base), initial + more[0], maintenance + more[1])

    def _underlying_figures(
        self, u: int, mine: dict[int, Risk], worth: list[tuple[list[int], list[int]]]
    ) -> tuple[list[list[int]], list[int]]:
        """(losses by column, charges on deltas) without and, where there are any, with orders."""
        losses, charges = [], []
        for ordered, values in zip((False, True), worth, strict=False):
            charge = self.charges(u, list(mine.values()), [ordered and r.ordered for r in mine.values()])
            losses.append(self._cross_losses(u, *values, mine, ordered))
            charges.append(self.charges_usd(u, charge))
        return losses, charges

    def _underlying_need(
        self, account: Account, orders: Iterable[Order], u: int, mine: dict[int, Risk],
        worth: list[tuple[list[int], list[int]]], losses: list[list[int]], charges: list[int],
    ) -> tuple[int, int]:  # fmt: skip
        """(initial, maintenance) of an underlying in 1e-4 USD."""
        dampener = self.grids[u].dampener_usd
        rivals = [
            self.borne(account, some, u, mine, *values) for some, values in zip(((), orders), worth, strict=False)
        ]
        sums = [max(r, *map(sub, v, dampener)) + c for v, c, r in zip(losses, charges, rivals, strict=True)]
        held, whole = self._factors(u, sums[0], sums[-1])
        lots = sum(r.held_lots for r in mine.values())
        added = self.beside.sums(account, orders, u, None)
        more, most = self._lot_units(u)
        opened = sum(r.open_lots for r in mine.values())
        return whole + (lots + opened) * most + added[0], held + lots * more + added[1]

    def borne(
        self,
        account: Account,
        orders: Iterable[Order],
        u: int,
        risks: dict[int, Risk],
        equity: list[int],
        base: list[int],
    ) -> int:
        """Fall of collateral value where the worst loss beside the columns falls on the currency that it costs most."""
        loss = max(self.beside.rival(account, orders, u, None))
        bearers = [c for c, r in risks.items() if r.held_lots or (orders and r.ordered)] if loss else []
        return max((base[c] - self.collateral(c, self.usd(c, equity[c]) - loss) for c in bearers), default=0)

    def _cross_losses(
        self, u: int, equity: list[int], base: list[int], risks: dict[int, Risk], ordered: bool
    ) -> list[int]:
        """Fall of collateral value in each of the underlying's scenarios, 1e-4 USD.

        `equity` and its collateral value `base` by currency, less what orders may cost where they count; `risks` by
        currency: those left out are worth the same in every scenario.
        """
        grid = self.grids[u]
        total = [0] * self.size
        for c, risk in risks.items():
            if self.coin_of[c] == u:
                values = [usd_of_coin(equity[c], price) for price in grid.coin_price_q40]
            else:
                values = [self.usd(c, equity[c])] * self.size
            nets = map(sum, zip(values, risk.pnl, risk.hurt, strict=True)) if ordered else map(add, values, risk.pnl)
            total = [t + base[c] - self.collateral(c, net) for t, net in zip(total, nets, strict=True)]
        return total
