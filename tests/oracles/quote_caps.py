"""What protection lets a group's quotes take away at most. Rules: docs/margin.md, "Quotes"."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exchange.commands import OrderFlag
from tests.oracles.book import Order
from tests.oracles.contract import E8, Contract, ceil_div
from tests.oracles.protection import Group, Key

if TYPE_CHECKING:
    from tests.oracles.risk import Risk

LARGEST = 2**53


@dataclass
class QuoteSum:
    """The open quotes of a group in a chain."""

    hurt: list[int]
    beyond: list[int] = field(default_factory=lambda: [0] * 16)
    delta_up: dict[int, int] = field(default_factory=dict)
    delta_down: dict[int, int] = field(default_factory=dict)

    def add_delta(self, expiry_ns: int, signed: int) -> None:
        into = self.delta_up if signed > 0 else self.delta_down
        into[expiry_ns] = into.get(expiry_ns, 0) + abs(signed)

    def expiries(self) -> set[int]:
        """Those in which the quotes have a delta."""
        return {e for into in (self.delta_up, self.delta_down) for e, delta in into.items() if delta}


def scaled(amount: int, by: int, over: int) -> int:
    return min(ceil_div(amount * by, over), LARGEST)


def per_coin(c: Contract, amount: int, index_e8: int) -> int:
    """A figure of a lot as one of a coin."""
    return scaled(abs(amount), index_e8 if c.is_inverse_future else E8, c.spec.lot_size_e8)


def worst_of(contracts: list[Contract], usd: bool, index_e8: int, size: int) -> tuple[list[int], int]:
    """(worst row, worst delta) per coin over a chain's contracts, combos left out."""
    worst, delta = [0] * size, 0
    for c in contracts:
        if c.legs or not c.marked:
            continue
        rows = c.rows_usd if usd else c.rows_coin
        worst = [max(w, per_coin(c, r, index_e8)) for w, r in zip(worst, rows, strict=True)]
        delta = max(delta, per_coin(c, c.charged_e10, index_e8))
    return worst, delta


class QuoteCaps:
    """Sums of quotes and their caps, for a margin model."""

    contracts: dict[int, Contract]
    groups: dict[Key, Group]
    index_e8: list[int]
    size: int

    def quotes_of(self, account_id: int, risk: "Risk", order: Order) -> QuoteSum | None:
        """Where a quote is added up: with its group's, if that lets through only so much."""
        c = self.contracts[order.instrument]
        group = self.groups.get((account_id, c.underlying, order.protection_group))
        if not order.flags & OrderFlag.QUOTE or c.legs or not (group.quantity_limit_e8 and group.max_quote_e8):
            return None
        return risk.quotes.setdefault(order.protection_group, QuoteSum([0] * self.size))

    def cap(
        self, account_id: int, usd: bool, chain: tuple[int, int], risk: "Risk", number: int, quotes: QuoteSum
    ) -> None:
        """Add a group's quotes to the order figures, up to what it lets through."""
        group = self.groups[account_id, chain[0], number]
        coins = group.quantity_limit_e8 + group.max_quote_e8
        mine = [c for c in self.contracts.values() if c.chain == chain]
        worst, delta = worst_of(mine, usd, self.index_e8[chain[0]], self.size)
        terms = zip(risk.hurt, quotes.hurt, worst, strict=True)
        risk.hurt = [h + max(q, -scaled(coins, w, E8)) for h, q, w in terms]
        caps = [scaled(coins, w, E8) for w in worst[:16]]
        for j, more in enumerate(quotes.beyond[: len(caps)]):
            twin = j if j > 13 else j + 1 - 2 * (j % 2)
            risk.beyond[j] += min(more, caps[j] + caps[twin] + caps[0] + caps[1])
        most = scaled(coins, delta, E8)
        expiries = quotes.expiries()
        if sum(max(quotes.delta_up.get(e, 0), quotes.delta_down.get(e, 0)) for e in expiries) > most:
            risk.capped.append((most, quotes))
            return
        for e in expiries:
            risk.delta_up[e] = risk.delta_up.get(e, 0) + quotes.delta_up.get(e, 0)
            risk.delta_down[e] = risk.delta_down.get(e, 0) + quotes.delta_down.get(e, 0)
