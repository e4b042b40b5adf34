"""What an order must pass in the naive venue; each check raises Refused with its reason."""

from exchange.commands import OrderFlag
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.book import BUY, Order, crosses
from tests.oracles.state import State

ROW_BUDGET = 1 << 52


def sign(side: int) -> int:
    return 1 if side == BUY else -1


class Refused(Exception):
    """A command is answered with a reason."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


def require(condition: bool, reason: Reason) -> None:
    if not condition:
        raise Refused(reason)


class Checks:
    """Checks over a State."""

    def __init__(self, state: State) -> None:
        self.state = state

    def check_static(self, account_id: int, slot: int, side: int, price: int, lots: int, market: bool) -> None:
        s = self.state
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        require(slot in s.contracts, Reason.UNKNOWN_INSTRUMENT)
        c = s.contracts[slot]
        require(not c.spec.expiry_ns or s.time_ns < c.spec.expiry_ns, Reason.INSTRUMENT_EXPIRED)
        require(c.state in ("open", "close_only"), Reason.INSTRUMENT_NOT_OPEN)
        require(c.marked, Reason.NO_MARK)
        require(lots > 0, Reason.QUANTITY_NOT_POSITIVE)
        require(lots >= c.spec.min_quantity_lots, Reason.QUANTITY_TOO_SMALL)
        require(lots <= c.spec.max_quantity_lots, Reason.QUANTITY_TOO_LARGE)
        if market:
            return
        self.check_form(slot, price)
        require(side != BUY or price <= self.band_edge(slot, BUY), Reason.PRICE_TOO_HIGH)
        require(side == BUY or price >= self.band_edge(slot, side), Reason.PRICE_TOO_LOW)

    def check_form(self, slot: int, price: int) -> None:
        """A price that exists."""
        c = self.state.contracts[slot]
        require(price > 0, Reason.PRICE_TOO_LOW)
        require(price <= c.spec.max_price_units, Reason.PRICE_TOO_HIGH)
        require(price % c.tick(price) == 0, Reason.PRICE_OFF_TICK)

    def band_edge(self, slot: int, side: int) -> int:
        limits = self.state.config.limits
        c = self.state.contracts[slot]
        edge = c.highest if side == BUY else c.lowest
        return edge(limits.price_band_ppm, limits.option_band_coin_ppm, self.state.index_e8[c.underlying])

    def check_limits(self, account: Account, slot: int, side: int, lots: int, new: bool) -> None:
        """Limits beside the account's other orders."""
        s = self.state
        c = s.contracts[slot]
        if new:
            full = len(account.orders) >= s.config.limits.max_open_orders_per_account
            require(not full, Reason.OPEN_ORDER_LIMIT)
        held = account.holdings[slot].lots if slot in account.holdings else 0
        beside = [o for o in account.orders.values() if o.instrument == slot and o.side == side]
        same = sum(o.remaining_lots for o in beside)
        require(held * sign(side) + same + lots <= c.spec.max_position_lots, Reason.POSITION_LIMIT)
        amounts = [(slot, h.lots) for slot, h in account.holdings.items()]
        amounts += [(o.instrument, o.remaining_lots) for o in account.orders.values()]
        gross = sum(abs(n) * s.contracts[i].row_cap for i, n in amounts if s.contracts[i].chain == c.chain)
        closing = held * sign(side) + same + lots <= 0
        budget = ROW_BUDGET + ROW_BUDGET // 2 if closing else ROW_BUDGET
        require(lots * c.row_cap <= budget - gross, Reason.ROW_LIMIT)

    def reducible(self, account: Account, slot: int, side: int) -> int:
        """Lots that a side could take off the position."""
        held = account.holdings[slot].lots if slot in account.holdings else 0
        return max(0, -held * sign(side))

    def post_only(self, slot: int, side: int, price: int, flags: int) -> tuple[int, int]:
        """(price, flags), moved one tick off the other side where it would cross."""
        if not flags & OrderFlag.POST_ONLY:
            return price, flags
        c = self.state.contracts[slot]
        best = self.state.books[slot].best_price(1 - side)
        if best is None or not crosses(side, price, best):
            return price, flags
        moved = best - c.tick(best - 1) if side == BUY else best + c.tick(best)
        possible = 0 < moved <= c.spec.max_price_units and not flags & OrderFlag.REJECT_POST_ONLY
        require(possible, Reason.POST_ONLY_WOULD_CROSS)
        return moved, flags | OrderFlag.PRICE_ADJUSTED

    def fund(self, account: Account, order: Order) -> None:
        """Initial margin with the order (already among the account's), else the risk-reducing lane."""
        if self.state.ample:
            return
        currency = self.state.contracts[order.instrument].currency
        m = self.state.model.margin(account, currency, True)
        if m.equity >= m.initial:
            return
        others = [o for o in account.orders.values() if o.flags & OrderFlag.RISK_REDUCING and o is not order]
        require(self.state.model.lane_allows(account, order, others), Reason.NOT_ENOUGH_FUNDS)
        order.flags |= OrderFlag.RISK_REDUCING

    def reduce_only(self, account: Account, slot: int, side: int, lots: int, flags: int) -> tuple[int, int]:
        """(lots, flags): at most the position, where the order or the instrument asks for it."""
        if not flags & OrderFlag.REDUCE_ONLY and self.state.contracts[slot].state != "close_only":
            return lots, flags
        allowed = self.reducible(account, slot, side)
        require(allowed > 0, Reason.REDUCE_ONLY_WOULD_INCREASE)
        return min(lots, allowed), flags | OrderFlag.REDUCE_ONLY
