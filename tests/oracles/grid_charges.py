"""Naive charges of a grid on deltas, short options and option values, in Python integers."""

from abc import abstractmethod

from exchange.config import Config
from tests.oracles import span
from tests.oracles.book import BUY, Order
from tests.oracles.contract import Contract, ceil_div
from tests.oracles.grid import Grid
from tests.oracles.quote_caps import QuoteCaps
from tests.oracles.risk import Risk
from tests.oracles.span import Part
from tests.oracles.span_grid import SpanGrid

E10 = 10**10


def slippage(contract: Contract, order: Order, index_e8: int) -> int:
    """What filling an order at its limit loses against the mark, taker fee included."""
    lots = order.remaining_lots
    cost, fee = contract.fill(order.price_units, lots, True, index_e8)
    against_mark = cost - lots * contract.mark_minor
    return (against_mark if order.side == BUY else -against_mark) + fee


class GridCharges(QuoteCaps):
    """On deltas, short options and option values, for a margin model."""

    config: Config
    grids: list[Grid]
    time_ns: list[int]
    calendars: dict[int, span.Calendar]
    contracts: dict[int, Contract]

    @abstractmethod
    def usd(self, currency: int, minor: int) -> int: ...

    @abstractmethod
    def collateral(self, currency: int, usd: int) -> int: ...

    def charges(self, underlying: int, risks: list[Risk], ordered: list[bool]) -> int:
        """Roll shock per expiry plus delta shock, at the worst that orders can do to deltas; 1e-10 coin."""
        grid, p = self.grids[underlying], self.grids[underlying].parameters
        live = [r for r, counts in zip(risks, ordered, strict=True) if counts]
        expiries = {e for r in risks for e in r.delta}
        expiries |= {e for r in live for e in (*r.delta_up, *r.delta_down)}
        total = low = high = 0
        if isinstance(grid, SpanGrid):
            total = self.calendars[underlying].charge(risks, live, self.time_ns[underlying])
        for expiry in expiries:
            held = sum(r.delta.get(expiry, 0) for r in risks)
            top = held + sum(r.delta_up.get(expiry, 0) for r in live)
            bottom = held - sum(r.delta_down.get(expiry, 0) for r in live)
            move = grid.roll_move_q32(expiry, self.time_ns[underlying])
            total += ceil_div(max(abs(top), abs(bottom)) * move, 1 << 32)
            low += bottom
            high += top
        for most, quotes in (pair for r in live for pair in r.capped):
            moves = [grid.roll_move_q32(e, self.time_ns[underlying]) for e in quotes.expiries()]
            total += ceil_div(most * max(moves, default=0), 1 << 32)
            high += min(sum(quotes.delta_up.values()), most)
            low -= min(sum(quotes.delta_down.values()), most)
        if isinstance(grid, SpanGrid):
            return total
        worst = max(abs(low), abs(high))
        excess = worst - grid.delta_threshold_e10
        if excess > 0:
            rate_e9 = min(ceil_div(excess * p.delta_move_per_coin_e9, E10), p.delta_move_max_ppm * 1000)
            total += ceil_div(worst * rate_e9, 10**9)
        return total

    def charges_usd(self, underlying: int, coin_e10: int) -> int:
        """1e-10 coin in 1e-4 USD, rounded up."""
        return ceil_div(coin_e10 * self.index_e8[underlying], 10**14)

    def worth(self, currency: int, minor: int) -> int:
        return self.collateral(currency, self.usd(currency, minor))

    def added_by_options(self, currency: int, rest: int, minor: int) -> int:
        """To a cross account's collateral value, on top of what is left without options of value."""
        if minor > 0:
            return self.worth(currency, rest + minor) - self.worth(currency, rest) + 3
        owed = self.usd(currency, -minor)
        kept = owed - ceil_div(owed * self.config.currencies[currency].haircut_ppm, 10**6)
        return 1 - kept if minor else 0

    def rest(
        self, equity: list[int], risks: dict[tuple[int, int], Risk], ordered: bool
    ) -> list[int]:  # fmt: skip
        """Equity by currency without what options under `span16` are worth, where they are worth anything."""
        found = list(equity)
        for (u, c), risk in risks.items():
            if isinstance(self.grids[u], SpanGrid):
                found[c] -= max(0, span.option_minor(self.contracts, risk, ordered and risk.ordered))
        return found

    def span_part(
        self, underlying: int, risks: dict[int, Risk], losses: list[list[int]], charges: list[int], crowd: list[int],
        coin: bool, unit: int, rests: list[list[int]] | None = None, beyond: list[int | None] | None = None,
    ) -> Part:  # fmt: skip
        """Of one underlying under `span16`; `unit` 0: a cross account, `rests` what it has without options of value.
        Losses, charges, `crowd` (concentration) and rests without and with orders; `beyond` price risk with them,
        where fills are bounded."""
        mine, p = list(risks.values()), self.grids[underlying].span
        found = []
        for ordered, vector, charge in zip((False, True), losses, charges, strict=False):
            live = [r for r in mine if r.ordered] if ordered else []
            least = span.short_minimum(p, self.contracts, mine, live)
            worth = {c: span.option_minor(self.contracts, r, any(r is one for one in live)) for c, r in risks.items()}
            if rests:
                left = rests[1 if ordered else 0]
                value = sum(self.added_by_options(c, left[c], w) for c, w in worth.items())
            else:
                value = sum(ceil_div(w, unit) for w in worth.values())
            least = least if coin else self.charges_usd(underlying, least)
            found.append(span.Figures(*span.scan(vector), charge, least, value))
        delta = sum(sum(r.delta.values()) for r in mine)
        live = [r for r in mine if r.ordered]
        capped = sum(most for r in live for most, _ in r.capped)
        low = delta - sum(sum(r.delta_down.values()) for r in live) - capped
        high = delta + sum(sum(r.delta_up.values()) for r in live) + capped
        return Part(
            underlying, p, delta, sum(r.held_lots for r in mine), sum(r.open_lots for r in mine), bool(live), found[0],
            found[-1], losses[-1][:16], beyond, (low, high), crowd,
        )  # fmt: skip
