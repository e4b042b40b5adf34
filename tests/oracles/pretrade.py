"""What an order must pass in the naive venue; each check raises Refused with its reason."""

from typing import Any

from exchange.commands import OrderFlag
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.bands import coins_value_e16, edges, vega_e8
from tests.oracles.book import BUY, SELL, Order, crosses
from tests.oracles.combo import Combo
from tests.oracles.contract import Contract, ceil_div
from tests.oracles.state import State

ROW_BUDGET = 1 << 52


def sign(side: int) -> int:
    return 1 if side == BUY else -1


MOST_LOTS = 1_000_000
"""Where money is no object, a larger order's margin is looked at all the same."""


class Refused(Exception):
    """A command is answered with a reason."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


def require(condition: bool, reason: Reason) -> None:
    if not condition:
        raise Refused(reason)


class Checks:
    """Checks over a State."""

    isolating: Any = None
    """What isolated positions draw (tests.oracles.isolating)."""

    def __init__(self, state: State) -> None:
        self.state = state

    def check_static(self, account_id: int, slot: int, side: int, price: int, lots: int, market: bool) -> None:
        s = self.state
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        require(not s.accounts[account_id].in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        require(slot in s.contracts, Reason.UNKNOWN_INSTRUMENT)
        c = s.contracts[slot]
        isolated = [part for part in (slot, *(leg.slot for leg, _ in c.legs)) if s.bucket_of(account_id, part)]
        require(not isolated, Reason.ISOLATED_POSITION)
        require(not s.stopped(account_id, c.underlying), Reason.TRADING_STOPPED)
        require(not c.spec.expiry_ns or s.time_ns < c.spec.expiry_ns, Reason.INSTRUMENT_EXPIRED)
        require(c.state in ("open", "close_only", "auction"), Reason.INSTRUMENT_NOT_OPEN)
        require(c.marked, Reason.NO_MARK)
        self.check_stage(s.accounts[account_id], c, side)
        require(lots > 0, Reason.QUANTITY_NOT_POSITIVE)
        require(lots >= c.spec.min_quantity_lots, Reason.QUANTITY_TOO_SMALL)
        require(lots <= c.spec.max_quantity_lots, Reason.QUANTITY_TOO_LARGE)
        if not market:
            self.check_form(slot, price)
        if isinstance(c, Combo):
            require(all(leg.state == "open" for leg, _ in c.legs), Reason.INSTRUMENT_NOT_OPEN)
            low, high = c.reach()
            require(market or price >= low, Reason.PRICE_TOO_LOW)
            require(market or price <= high, Reason.PRICE_TOO_HIGH)
        if market:
            return
        require(side != BUY or price <= self.band_edge(slot, BUY), Reason.PRICE_TOO_HIGH)
        require(side == BUY or price >= self.band_edge(slot, side), Reason.PRICE_TOO_LOW)

    def check_stage(self, account: Account, c: Contract, side: int) -> None:
        """Old marks let in what can reduce a position, very old ones nothing."""
        stage = self.state.stages[c.underlying]
        can = stage == 1 and not c.legs and self.reducible(account, c.slot, side) > 0
        require(stage == 0 or can, Reason.MARK_STALE)

    def closes_only(self, slot: int) -> bool:
        c = self.state.contracts[slot]
        return c.state == "close_only" or self.state.stages[c.underlying] == 1

    def check_form(self, slot: int, price: int) -> None:
        """A price that exists."""
        c = self.state.contracts[slot]
        require(price > 0, Reason.PRICE_TOO_LOW)
        require(price <= c.spec.max_price_units, Reason.PRICE_TOO_HIGH)
        require(price % c.tick(price) == 0, Reason.PRICE_OFF_TICK)

    def band_edge(self, slot: int, side: int) -> int:
        """Highest price of a buy, lowest of a sell."""
        c = self.state.contracts[slot]
        if isinstance(c, Combo):
            return self.combo_edge(c, side)
        if c.edges is None:
            u = c.underlying
            c.edges = edges(self.state.grids[u], c, self.state.config.limits, self.state.index_e8[u])
        return c.edges[0 if side == BUY else 1]

    def combo_edge(self, c: Combo, side: int) -> int:
        """What the legs come to at the edges of their own bands, within what can be booked."""
        units = c.spec.zero_units
        for leg, ratio in c.legs:
            units += ratio * self.band_edge(leg.slot, side if ratio > 0 else 1 - side)
        low, high = c.reach()
        units, tick = min(max(units, low), high), c.spec.tick_steps[0].tick_units
        if side == BUY:
            return max(units // tick * tick, tick)
        return min(ceil_div(units, tick) * tick, c.spec.max_price_units // tick * tick)

    def opening(self, account: Account, slot: int, side: int) -> int:
        """Lots of an instrument that a side's open orders may take, those of combos with it as a leg included."""
        total = 0
        for order in account.orders.values():
            c = self.state.contracts[order.instrument]
            if order.instrument == slot:
                total += order.remaining_lots if order.side == side else 0
            elif c.legs:
                parts = c.parts(sign(order.side) * order.remaining_lots)
                total += sum(abs(n) for part, n in parts if part.slot == slot and (n > 0) == (side == BUY))
        return total

    def check_limits(self, account: Account, slot: int, side: int, lots: int, new: bool) -> None:
        """Limits beside the account's other orders."""
        s = self.state
        c = s.contracts[slot]
        if new:
            full = len(account.orders) >= s.config.limits.max_open_orders_per_account
            require(not full, Reason.OPEN_ORDER_LIMIT)
        held = account.holdings[slot].lots if slot in account.holdings else 0
        same = self.opening(account, slot, side)
        require(held * sign(side) + same + lots <= c.spec.max_position_lots, Reason.POSITION_LIMIT)
        for leg, moved in c.parts(sign(side) * lots) if c.legs else ():
            way = BUY if moved > 0 else SELL
            own = account.holdings[leg.slot].lots * sign(way) if leg.slot in account.holdings else 0
            total = own + self.opening(account, leg.slot, way) + abs(moved)
            require(total <= leg.spec.max_position_lots, Reason.POSITION_LIMIT)
        if held * sign(side) + same + lots > 0:
            self.check_size(c, lots)
            self.check_owner(account, slot, side, lots, new)
        gross = self.gross_rows(account, c.chain)
        closing = held * sign(side) + same + lots <= 0
        budget = ROW_BUDGET + ROW_BUDGET // 2 if closing else ROW_BUDGET
        require(lots * c.row_cap <= budget - gross, Reason.ROW_LIMIT)

    def check_size(self, c: Contract, lots: int) -> None:
        """The largest order by value, delta and vega."""
        limits, index = self.state.config.limits, self.state.index_e8[c.underlying]
        if limits.max_order_notional_usd:
            most = limits.max_order_notional_usd * 10**16
            require(lots * coins_value_e16(c, index) <= most, Reason.ORDER_NOTIONAL_LIMIT)
        if limits.max_order_delta_e8:
            require(lots * abs(c.delta_e10) <= limits.max_order_delta_e8 * 100, Reason.ORDER_DELTA_LIMIT)
        if limits.max_order_vega_usd:
            require(lots * abs(vega_e8(c)) <= limits.max_order_vega_usd * 10**8, Reason.ORDER_VEGA_LIMIT)

    def check_owner(self, account: Account, slot: int, side: int, lots: int, new: bool) -> None:
        """Open orders and position over all accounts of the owner."""
        s = self.state
        mine = [a for a in s.accounts.values() if a.owner_id == account.owner_id]
        if new:
            count = sum(len(a.orders) for a in mine)
            require(count < s.config.limits.max_open_orders_per_owner, Reason.OWNER_ORDER_LIMIT)
        moved = [(s.contracts[slot], side, lots)]
        for leg, part in s.contracts[slot].parts(sign(side) * lots) if s.contracts[slot].legs else ():
            moved.append((leg, BUY if part > 0 else SELL, abs(part)))
        for c, way, amount in moved:
            held = sum(a.holdings[c.slot].lots for a in mine if c.slot in a.holdings) * sign(way)
            total = held + sum(self.opening(a, c.slot, way) for a in mine) + amount
            most = c.spec.max_owner_position_lots
            require(not most or total <= most, Reason.OWNER_POSITION_LIMIT)

    def gross_rows(self, account: Account, chain: tuple[int, int]) -> int:
        """Lots times row cap over an account's positions and orders of a chain."""
        contracts = self.state.contracts
        amounts = [(slot, h.lots) for slot, h in account.holdings.items()]
        amounts += [(o.instrument, o.remaining_lots) for o in account.orders.values()]
        return sum(abs(n) * contracts[i].row_cap for i, n in amounts if contracts[i].chain == chain)

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
        if self.state.ample and order.remaining_lots <= MOST_LOTS and not account.holder:
            return
        currency = self.state.contracts[order.instrument].currency
        m = self.state.model.margin(account, currency, True)
        if m.equity >= m.initial:
            return
        others = [o for o in account.orders.values() if o.flags & OrderFlag.RISK_REDUCING and o is not order]
        if self.state.model.lane_allows(account, order, others):
            order.flags |= OrderFlag.RISK_REDUCING
            return
        missing = m.initial - m.equity
        require(account.holder > 0 and self.isolating.cover(account, currency, missing), Reason.NOT_ENOUGH_FUNDS)

    def reduce_only(self, account: Account, slot: int, side: int, lots: int, flags: int) -> tuple[int, int]:
        """(lots, flags): at most the position, where the order or the instrument asks for it."""
        if not flags & OrderFlag.REDUCE_ONLY and not self.closes_only(slot):
            return lots, flags
        allowed = self.reducible(account, slot, side)
        require(allowed > 0, Reason.REDUCE_ONLY_WOULD_INCREASE)
        return min(lots, allowed), flags | OrderFlag.REDUCE_ONLY
