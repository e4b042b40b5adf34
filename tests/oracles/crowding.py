"""What an owner holds beyond what the market carries, in Python integers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from exchange.parameters import Concentration
from tests.oracles.account import Account
from tests.oracles.book import Order
from tests.oracles.contract import PPM, Contract, ceil_div

if TYPE_CHECKING:
    from tests.oracles.charges import Open
    from tests.oracles.margin import MarginModel

E18 = 10**18
Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]


def others_of(accounts: Iterable[Account], account: Account) -> list[Account]:
    """The owner's other accounts."""
    return [a for a in accounts if a.owner_id == account.owner_id and a.account_id != account.account_id]


class Crowding:
    """Sizes of the market as of the last marks, and owners against them."""

    def __init__(self, model: "MarginModel") -> None:
        self.model = model
        self.others: Callable[[Account], list[Account]] = lambda account: []
        self.interest_e10: dict[int, int] = {}
        self.depth_e10: dict[int, int] = {}

    def asked(self, underlying: int) -> Concentration | None:
        own = getattr(self.model.grids[underlying].parameters, "concentration", None)
        return own if isinstance(own, Concentration) else None

    def note(self, u: int, index: int, lots: dict[int, int], depth: Callable[[Contract], Depth]) -> None:
        """After marks: `lots` are open by slot."""
        asked = self.asked(u)
        if asked is None:
            return
        mine = [c for c in self.model.contracts.values() if c.underlying == u and not c.legs and c.marked]
        interest = sum(lots.get(c.slot, 0) * abs(c.delta_e10) for c in mine)
        sides = [0, 0]
        for c in (c for c in mine if not c.is_option):
            for side, levels in enumerate(depth(c)):
                for price, shown in levels:
                    moved = (c.mark_price_e8 - price * c.spec.price_unit_e8) * (1 - 2 * side)
                    if moved * PPM <= c.mark_price_e8 * asked.depth_move_ppm:
                        sides[side] += shown * abs(c.delta_e10)
        self.interest_e10[u] = max(interest, asked.open_interest_floor_usd * E18 // index)
        self.depth_e10[u] = max(min(sides), asked.depth_floor_usd * E18 // index)

    def rate_e12(self, u: int, size: int) -> int:
        asked = self.asked(u)
        assert asked is not None
        share = self.interest_e10[u] * asked.open_interest_share_ppm // PPM
        rate = ceil_div(asked.open_interest_rate_ppm * PPM * max(0, size - share), max(1, size))
        if asked.depth_move_ppm == 0:
            return rate
        cap, depth = asked.depth_cap_ppm * PPM, self.depth_e10[u]
        return rate + (min(cap, ceil_div(asked.depth_move_ppm * PPM * size, 2 * depth)) if depth else cap)

    def charge(
        self, account: Account, orders: Iterable[Order], u: int, currency: int | None, held: list["Open"], lane: bool
    ) -> int:
        """1e-10 coin, of what is `held` of the account in an underlying, with its orders there."""
        if self.asked(u) is None:
            return 0

        def ends(opens: Iterable["Open"]) -> tuple[int, int]:
            pairs = [sorted(lots * o.contract.delta_e10 for lots in o.ends) for o in opens]
            return sum(low for low, _ in pairs), sum(high for _, high in pairs)

        beside, whole = self.model.beside, 0
        counted = any(o.buys or o.sells for o in held)
        if currency is not None:
            counted = any(self.model.contracts[o.instrument].underlying == u for o in orders if o.remaining_lots)
        counted = counted and not lane
        low, high = ends(held)
        own = max(abs(low), abs(high))
        beyond, beside.beyond = beside.beyond, False
        elsewhere: list[Open] = []
        for other in self.others(account):
            elsewhere += beside.held(other, other.orders.values() if counted else (), u, None)
        if currency is not None:
            for c in range(len(self.model.unit)):
                if c != currency:
                    elsewhere += beside.held(account, account.orders.values() if counted else (), u, c)
        beside.beyond = beyond
        more = ends(elsewhere)
        whole = max(abs(low + more[0]), abs(high + more[1]))
        return ceil_div(min(own, whole) * self.rate_e12(u, whole), 10**12) if whole else 0
