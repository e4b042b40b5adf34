"""The book beyond the horizon in the naive venue: an account's figures without what expires soon."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.oracles.account import Account
from tests.oracles.book import BUY, Order
from tests.oracles.risk import Risk

if TYPE_CHECKING:
    from tests.oracles.margin import MarginModel


def any_soon(
    model: "MarginModel", account: Account, orders: Iterable[Order], underlying: int, currency: int | None
) -> bool:
    held = model.beside.held(account, orders, underlying, currency)
    return any(model.beside.soon(o.contract) for o in held if o.lots or o.buys or o.sells)


def risk_beyond(
    model: "MarginModel", account: Account, orders: Iterable[Order], chain: tuple[int, int], whole: Risk
) -> Risk:
    """Positions and orders of a chain, each order by itself; costs and open lots are those of the whole."""
    found = Risk(model.size)
    found.ordered, found.order_cost, found.open_lots = whole.ordered, whole.order_cost, whole.open_lots
    lane = whole.ordered and whole.open_lots == 0
    for slot, holding in account.holdings.items():
        c = model.contracts[slot]
        if c.chain == chain and not model.beside.soon(c):
            found.pnl = [p + holding.lots * r for p, r in zip(found.pnl, model.rows(account, c), strict=True)]
            expiry = c.spec.expiry_ns
            found.delta[expiry] = found.delta.get(expiry, 0) + holding.lots * c.charged_e10
            found.held_lots += abs(holding.lots)
    for order in orders:
        c = model.contracts[order.instrument]
        if c.chain != chain or not order.remaining_lots:
            continue
        signed = order.remaining_lots if order.side == BUY else -order.remaining_lots
        parts = [(part, moved) for part, moved in c.parts(signed) if not model.beside.soon(part)]
        taken = model.taken(account, order) if lane else [0] * model.size
        for j in range(model.size):
            value = sum(moved * model.rows(account, part)[j] for part, moved in parts)
            found.hurt[j] += min(0, value - taken[j])
        for part, moved in parts:
            found.add_delta(part.spec.expiry_ns, moved * part.charged_e10)
    return found
