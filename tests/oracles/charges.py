"""What a parameter set asks for beside the grid, in Python integers: every figure from positions and orders."""

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from tests.oracles.account import Account
from tests.oracles.book import BUY, Order
from tests.oracles.contract import PPM, Contract, ceil_div
from tests.oracles.crowding import Crowding
from tests.oracles.grid import DAY_NS

if TYPE_CHECKING:
    from tests.oracles.margin import MarginModel


class Open(NamedTuple):
    """An instrument of an account: lots held, and what its orders (a combo's with the legs) may buy and sell."""

    contract: Contract
    lots: int
    buys: int
    sells: int

    @property
    def ends(self) -> tuple[int, int]:
        return self.lots + self.buys, self.lots - self.sells


def coins_e10(c: Contract) -> int:
    """Coins of a lot at its mark, rounded up."""
    return ceil_div(c.spec.lot_size_e8 * 10**10, c.mark_price_e8) if c.is_inverse_future else c.spec.lot_size_e8 * 100


class Charges:
    """Charges of the requirements of a margin model, in their row units."""

    def __init__(self, model: "MarginModel") -> None:
        self.model = model
        self.beyond = self.lane = False
        self.crowding = Crowding(model)

    def soon(self, c: Contract) -> bool:
        """Whether it expires within its set's horizon."""
        days = getattr(self.model.grids[c.underlying].parameters, "horizon_days", 0)
        left = c.spec.expiry_ns - self.model.time_ns[c.underlying]
        return days > 0 and c.spec.expiry_ns != 0 and left <= days * DAY_NS

    def held(self, account: Account, orders: Iterable[Order], underlying: int, currency: int | None) -> list[Open]:
        """Beyond the horizon while `beyond` is set."""
        found: dict[int, list[int]] = {}
        for slot, holding in account.holdings.items():
            found.setdefault(slot, [0, 0, 0])[0] += holding.lots
        for order in orders:
            signed = order.remaining_lots if order.side == BUY else -order.remaining_lots
            for part, moved in self.model.contracts[order.instrument].parts(signed):
                found.setdefault(part.slot, [0, 0, 0])[1 if moved > 0 else 2] += abs(moved)
        every = (Open(self.model.contracts[slot], *lots) for slot, lots in found.items())
        mine = [o for o in every if o.contract.underlying == underlying and currency in (None, o.contract.currency)]
        return [o for o in mine if not (self.beyond and self.soon(o.contract))]

    def futures(self, held: list[Open]) -> int:
        return sum(max(map(abs, o.ends)) * coins_e10(o.contract) for o in held if not o.contract.is_option)

    def net_shorts(self, held: list[Open]) -> int:
        nets: dict[tuple[int, int], int] = {}
        for o in held:
            if o.contract.is_option:
                key = o.contract.spec.expiry_ns, o.contract.spec.strike_e8
                nets[key] = nets.get(key, 0) + min(o.ends) * coins_e10(o.contract)
        return -sum(min(0, net) for net in nets.values())

    def hedged(self, held: list[Open]) -> int:
        """The most that long and short deltas of different currencies can offset, 1e-10 coin."""
        spans: dict[int, list[int]] = {}
        for o in held:
            ends = [lots * o.contract.delta_e10 for lots in o.ends]
            span = spans.setdefault(o.contract.currency, [0, 0])
            spans[o.contract.currency] = [span[0] + min(ends), span[1] + max(ends)]
        corners = product(*spans.values())
        return max((min(sum(d for d in ends if d > 0), -sum(d for d in ends if d < 0)) for ends in corners), default=0)

    def peg(self, underlying: int, size: int) -> int:
        own = self.model.grids[underlying].parameters.peg
        tiers = own.tiers if own else ()
        tops = [tier.above_usd * 10_000 for tier in tiers[1:]] + [size] * bool(tiers)
        return sum(
            ceil_div(max(0, min(size, top) - tier.above_usd * 10_000) * tier.rate_ppm, PPM)
            for tier, top in zip(tiers, tops, strict=True)
        )

    def added(
        self, account: Account, orders: Iterable[Order], underlying: int, currency: int | None
    ) -> dict[str, tuple[int, int]]:
        """(initial, maintenance) by name; the latter means something without orders only."""
        p, model = self.model.grids[underlying].parameters, self.model
        held = self.held(account, orders, underlying, currency)
        coin = currency is not None and model.coin_of[currency] is not None
        futures, shorts = self.futures(held), self.net_shorts(held)

        def of(coins: int, *rates: int) -> tuple[int, int]:
            amounts = [ceil_div(coins * rate, PPM) for rate in rates]
            return tuple(amounts) if coin else tuple(model.charges_usd(underlying, a) for a in amounts)

        found = {
            "futures": of(futures, p.future_initial_ppm, p.future_maintenance_ppm),
            "short_options": of(shorts, p.short_option_initial_ppm, p.short_option_maintenance_ppm),
        }
        if currency is None:
            size = model.charges_usd(underlying, self.hedged(held))
            found["settlement_basis"] = (ceil_div(size * p.settlement_basis_ppm, PPM),) * 2
            found["peg"] = (self.peg(underlying, size),) * 2
        found["concentration"] = (self.crowd(account, orders, underlying, currency),) * 2
        return found

    def crowd(self, account: Account, orders: Iterable[Order], underlying: int, currency: int | None) -> int:
        """The part of its owner's charge on concentration that an account bears with some orders, in row units."""
        coin = currency is not None and self.model.coin_of[currency] is not None
        held = self.held(account, orders, underlying, currency)
        size = self.crowding.charge(account, orders, underlying, currency, held, self.lane)
        return size if coin else self.model.charges_usd(underlying, size)

    def rival(
        self, account: Account, orders: Iterable[Order], underlying: int, currency: int | None
    ) -> tuple[int, int, int]:
        """Losses where every expiry's smile tilts or bends, or its forward moves, the way that is worse for it."""
        model = self.model
        grid, time_ns = model.grids[underlying], model.time_ns[underlying]
        coin = currency is not None and model.coin_of[currency] is not None
        expiries: dict[int, list[Open]] = {}
        for o in self.held(account, orders, underlying, currency):
            expiries.setdefault(o.contract.spec.expiry_ns, []).append(o)
        tilt = bend = basis = 0
        for expiry, held in expiries.items():
            low, high = [0] * 4, [0] * 4
            for o in held:
                for j, row in enumerate(o.contract.shifts_coin if coin else o.contract.shifts_usd):
                    fills = [o.lots * row + buys * row - sells * row for buys in (0, o.buys) for sells in (0, o.sells)]
                    low[j] += min(fills)
                    high[j] += max(fills)
            tilt += max(abs(low[0]), abs(high[0]))
            bend += max(abs(low[1]), abs(high[1]))
            loss, scale = max(-low[2], -low[3]), grid.basis_scale_e9(expiry, time_ns)
            if loss > 0:
                gross = sum(max(map(abs, o.ends)) for o in held)
                basis += ceil_div(loss * scale, 10**9) + ceil_div(gross * max(0, scale - 10**9), 10**9)
        return tilt, bend, basis

    def sums(self, account: Account, orders: Iterable[Order], underlying: int, currency: int | None) -> tuple[int, int]:
        """(initial with the orders, maintenance of the positions)."""
        whole, alone = (self.added(account, some, underlying, currency) for some in (orders, ()))
        return sum(c[0] for c in whole.values()), sum(c[1] for c in alone.values())
